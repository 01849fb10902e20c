//! Attacks on the worker's socket: opening it gives no more than espm's own runs.

use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::process::Command;

use super::{add, cold, expect_warm, warm, with};
use crate::harness::worker::{Client, ask, output};
use crate::harness::{Site, run, wait_until};

const ADD: [&str; 4] = ["node:add", "nodeclass:list", "node:groups", "nodegroup:list"];
const VARIABLES: [&str; 4] = ["name=web01", "groups=default", "classes=ntp", "parameters="];

/// Asks with these tasks and variables.
fn request(site: &Site, tasks: &[&str], variables: &[&[u8]]) -> (String, String) {
    let mut words: Vec<&[u8]> = vec![b"60"];
    words.extend(tasks.iter().map(|task| task.as_bytes()));
    words.extend(variables);
    words.push(b"end");
    ask(site, &words)
}

#[track_caller]
fn expect_refused(site: &Site, tasks: &[&str], variables: &[&[u8]]) {
    let (answer, output) = request(site, tasks, variables);
    let text: Vec<_> = variables.iter().map(|word| String::from_utf8_lossy(word)).collect();
    assert!(answer.starts_with("refused: "), "{tasks:?} {text:?}: {answer:?}");
    assert_eq!(output, "", "{tasks:?} {text:?}");
}

/// The worker has run nothing, and does what it is for.
#[track_caller]
fn expect_unharmed(site: &Site) {
    assert!(
        site.runs("console").iter().all(|run| run["argv"].as_array().unwrap().len() == 1),
        "{:?}",
        site.runs("console")
    );
    site.expect_worker_alive();
    wait_until("no child is left", || site.pids("rake").is_empty());
    let good: Vec<_> = VARIABLES.iter().map(|word| word.as_bytes()).collect();
    let (answer, output) = request(site, &ADD, &good);
    assert_eq!(answer, "ended 0\n");
    assert!(output.starts_with("Node successfully created!\n"), "{output}");
    site.expect_foreign_untouched();
}

#[test]
fn task_outside_the_list_is_refused() {
    let site = warm();
    let good: Vec<_> = VARIABLES.iter().map(|word| word.as_bytes()).collect();
    for tasks in [
        &[][..],
        &[""],
        &["db:drop"],
        &["default"],
        &["environment"],
        &["espm:serve"],
        &["node:del"],
        &["node:add"],
        &["node:groups", "node:del"],
        &["node:variables"],
        &["nodeclass:add"],
        &["nodegroup:add"],
        &["node:generate_unresponsive"],
        &["node:list", "db:drop"],
        &["db:drop", "node:list"],
        &["node:list[x]"],
        &["node:list\ndb:drop"],
        &["node:add[web01]", "nodeclass:list", "node:groups", "nodegroup:list"],
        &["node:add", "nodeclass:list", "node:groups", "nodegroup:list", "node:del"],
        &["-T"],
    ] {
        expect_refused(&site, tasks, &[]);
        expect_refused(&site, tasks, &good);
    }
    for list in ["node:list", "nodeclass:list", "nodegroup:list"] {
        expect_refused(&site, &[list], &good);
        expect_refused(&site, &[list], &[b"match=x"]);
    }
    expect_unharmed(&site);
}

#[test]
fn member_of_group_who_is_not_espm_is_not_heard() {
    let site = warm();
    let ask = |user: u32, group: u32| {
        let script = "print UNIXSocket.open(ARGV[0]).read(7)";
        let mut client = Command::new("setpriv");
        client.args([format!("--reuid={user}"), format!("--regid={group}"), "--clear-groups".to_owned()]);
        run(client.args(["ruby", "-rsocket", "-e", script]).arg(site.worker_socket()))
    };
    let espm = fs::metadata(site.dir.join("state")).unwrap();
    // It can open the socket, which is its group's, and gets nothing.
    assert_eq!(ask(65534, espm.gid()), "");
    assert_eq!(ask(espm.uid(), espm.gid()), "espm 2\n");
    assert_eq!(cold(&site, add(&site).expect(201)), "");
}

#[test]
fn variable_or_value_that_espm_would_refuse_is_refused() {
    let site = warm();
    let with = |changed: &'static [u8]| {
        let name = changed.split(|byte| *byte == b'=').next().unwrap();
        let others = VARIABLES.iter().map(|word| word.as_bytes()).filter(|word| !word.starts_with(name));
        others.chain([changed]).collect::<Vec<_>>()
    };
    for changed in [
        b"match=x".as_slice(),
        b"RAILS_ENV=test",
        b"RUBYOPT=-rx",
        b"variables=a=b",
        b"=",
        b"=x",
        b"name=",
        b"name=WEB01",
        b"name=web01.",
        b"name=../web01",
        b"name=-web",
        b"name=web 01",
        b"name=web01,web02",
        b"name=ca",
        b"name=localhost",
        b"name=0xff",
        b"name=master.example.com",
        b"name=web01\n",
        b"name=web01\nx",
        b"name=aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffffggggg",
        b"groups=a,,b",
        b"groups= a",
        b"groups=a ",
        b"groups=a\nb",
        b"groups=a\xc2\x85b",
        b"groups=a\xff",
        b"groups=a\xe6\x97",
        b"groups=a\xc0\xafb",
        b"classes=,",
        b"classes=\x7f",
        b"classes=a\tb",
        b"parameters=a",
        b"parameters=a=",
        b"parameters==b",
        b"parameters=A=b",
        b"parameters=a= b",
        b"parameters=a=b ",
        b"parameters=a=b,",
        b"parameters=a=--- b",
        b"parameters=a=b\nc",
        b"parameters=a=b\rc",
        b"parameters=a=\xf0\x9f\x92\xa9",
        b"parameters=a=b,c",
    ] {
        expect_refused(&site, &ADD, &with(changed));
    }
    let good: Vec<_> = VARIABLES.iter().map(|word| word.as_bytes()).collect();
    for missing in 0..4 {
        let mut fewer = good.clone();
        let taken = fewer.remove(missing);
        expect_refused(&site, &ADD, &fewer);
        expect_refused(&site, &ADD, &[&fewer[..], &[taken, taken]].concat());
    }
    expect_unharmed(&site);
}

#[test]
fn incomplete_or_too_long_request_runs_nothing() {
    let site = warm();
    let whole = format!("60\0{}\0{}\0end\0", ADD.join("\0"), VARIABLES.join("\0"));
    let long = format!("60\0{}\0{}{}\0end\0", ADD.join("\0"), VARIABLES.join("\0"), "x".repeat(300 * 1024));
    let cuts = (0..whole.len()).step_by(7).chain([whole.len() - 1]).map(|length| whole.as_bytes()[..length].to_vec());
    let not_the_end = whole.replace("\0end\0", "\0fin\0").into_bytes();
    // Whole, and one byte longer than may be.
    let (head, tail) = whole.split_at(whole.len() - 5);
    let longer = format!("{head}a={}{tail}", "x".repeat(256 * 1024 + 1 - whole.len() - 2)).into_bytes();
    assert_eq!(longer.len(), 256 * 1024 + 1);
    let garbage =
        [b"GET / HTTP/1.1\r\n\r\n".to_vec(), vec![0; 1000], vec![0xff; 1000], b"end\0".to_vec(), long.into_bytes()];
    for bytes in cuts.chain([not_the_end, longer]).chain(garbage) {
        let output = output(&site);
        let mut client = Client::connect(&site);
        client.pass_files([&output, &output, &output]);
        client.send(&bytes);
        let answer = client.end();
        assert!(!answer.contains("ended"), "{answer:?}: {:?}", String::from_utf8_lossy(&bytes));
        assert_eq!(output.metadata().unwrap().len(), 0);
    }
    expect_unharmed(&site);
}

#[test]
fn output_or_slot_not_locked_by_client_gets_nothing() {
    let site = warm();
    let path = site.dir.join("locked");
    fs::write(&path, "").unwrap();
    let holder = File::open(&path).unwrap();
    holder.lock().unwrap();
    let locked = File::options().write(true).open(&path).unwrap();
    let read_only = File::open(site.dir.join("log.conf")).or_else(|_| File::open("/etc/passwd")).unwrap();
    let directory = File::open(&site.dir).unwrap();
    let device = File::options().write(true).open("/dev/null").unwrap();
    let (_reader, writer) = std::io::pipe().unwrap();
    let pipe = File::from(OwnedFd::from(writer));
    let good = output(&site);
    let request = format!("60\0{}\0{}\0end\0", ADD.join("\0"), VARIABLES.join("\0"));
    let outputs = [[&locked; 3], [&read_only; 3], [&directory; 3], [&device; 3], [&pipe; 3], [&good, &pipe, &good]];
    let slots = [&locked, &directory, &device, &pipe].map(|slot| vec![&good, &good, slot]);
    let fewer = [vec![&good, &good], vec![&good], vec![]];
    for files in outputs.map(Vec::from).into_iter().chain(slots).chain(fewer) {
        let mut client = Client::connect(&site);
        for file in &files {
            client.pass(b".", &[*file]);
        }
        client.send(request.as_bytes());
        let answer = client.end();
        assert!(!answer.contains("ended"), "{answer:?}: {files:?}");
    }
    // A hundred descriptors at once are not kept.
    let mut client = Client::connect(&site);
    client.pass(b".", &[&good; 100]);
    client.send(request.as_bytes());
    assert!(!client.end().contains("ended"));
    assert_eq!(fs::read_to_string(&path).unwrap(), "");
    expect_unharmed(&site);
}

#[test]
fn silent_clients_are_bounded_and_block_nobody() {
    let site = with(vec![("console", "concurrency = 1")]);
    let silent: Vec<_> = (0..40).map(|_| UnixStream::connect(site.worker_socket()).unwrap()).collect();
    wait_until("there are as many children as may be", || site.pids("rake").len() == 9);
    let answer = add(&site);
    assert!(site.pids("rake").len() <= 9 + 1);
    // A request that is not served is made by rake.
    let record = cold(&site, answer.expect(201));
    assert!(record.is_empty() || record.contains("temporarily unavailable"), "{record}");
    // Each child gives its client up; the worker goes on.
    drop(silent);
    wait_until("no child is left", || site.pids("rake").is_empty());
    site.expect_worker_alive();
    expect_warm(&site, site.delete("/v1/nodes/web01").expect(204));
}

#[test]
fn slow_client_is_given_up() {
    let site = warm();
    let mut client = Client::connect(&site);
    client.pass(b".", &[&output(&site)]);
    wait_until("its child is gone", || site.pids("rake").is_empty());
    assert_eq!(client.end(), "");
    expect_warm(&site, add(&site).expect(201));
}
