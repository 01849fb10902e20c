//! The warm console: what its worker may do, and what is when it is not there, dies or is lied to.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;

use serde_json::{Value, json};

use crate::shop::{Answer, Plan, Shop, USER, run, template, wait_until};
use crate::worker::{Client, Temperature, ask, output};

/// A shop with a worker, its lists asked for.
fn warm() -> Shop {
    with(vec![])
}

fn with(ini: Vec<(&'static str, &'static str)>) -> Shop {
    let shop = Shop::with(Plan { console: Temperature::Warm, ini, ..Plan::default() });
    for path in ["/v1/classes", "/v1/groups"] {
        shop.get(path).expect(200);
    }
    shop
}

fn web01() -> Value {
    json!({"name": "web01", "groups": ["web servers"], "classes": ["apache"], "parameters": {"role": "web"}})
}

fn add(shop: &Shop) -> Answer {
    shop.ask("POST", "/v1/nodes", Some(&web01().to_string()), &["Idempotency-Key: web01"])
}

/// Why rake was started for a request, as its records say; empty when the worker did it.
fn cold(shop: &Shop, answer: &Answer) -> String {
    let records = shop.records_of(answer);
    let result = records.iter().find(|record| record.contains("took_ms=")).unwrap();
    let causes = records.iter().filter(|record| record.contains("outcome=cause") && record.contains("console worker"));
    let cause = causes.cloned().collect::<String>();
    assert_eq!(result.contains("console=cold"), !cause.is_empty(), "{records:?}");
    cause
}

#[track_caller]
fn expect_warm(shop: &Shop, answer: &Answer) {
    assert_eq!(cold(shop, answer), "");
}

#[test]
fn a_worker_that_answers_runs_every_task_and_rake_is_not_started() {
    let shop = warm();
    let change = json!({"groups": ["databases"], "parameters": {"role": null}});
    let answers = [add(&shop), shop.patch("/v1/nodes/web01", &change), shop.delete("/v1/nodes/web01")];
    for (answer, status) in answers.iter().zip([201, 200, 204]) {
        expect_warm(&shop, answer.expect(status));
    }
    let runs = shop.runs("console");
    // A rake that is started has its own path and options before the tasks.
    assert!(runs.len() > 5 && runs.iter().all(|run| run["argv"][0].as_str().unwrap().starts_with("node")), "{runs:?}");
    let socket = fs::metadata(shop.worker_socket()).unwrap();
    assert!(socket.file_type().is_socket());
    assert_eq!(socket.mode() & 0o777, 0o660);
    let output = shop.desk(&["check"]);
    assert!(String::from_utf8_lossy(&output.stdout).contains("ok    console worker: answers at /"), "{output:?}");
}

/// A request is done by a rake that is started, and the audit and `espm check` say why.
#[track_caller]
fn expect_cold(shop: &Shop, why: &str) {
    let answer = add(shop);
    let record = cold(shop, answer.expect(201));
    assert!(record.contains(why) && record.contains("worker.sock"), "{why}: {record}");
    let output = shop.desk(&["check"]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(!output.status.success() && text.contains("FAIL  console worker: ") && text.contains(why), "{text}");
    shop.delete("/v1/nodes/web01").expect(204);
}

#[test]
fn without_a_worker_rake_is_started_and_the_audit_says_why() {
    let shop = warm();
    let socket = shop.worker_socket();
    shop.stop_worker("-9");
    expect_cold(&shop, "Connection refused");
    fs::remove_file(&socket).unwrap();
    expect_cold(&shop, "No such file");
    for (hello, why) in
        [("", "failed to fill"), ("espm 2", "failed to fill"), ("espm 1\n", "is not the worker of this")]
    {
        let listener = UnixListener::bind(&socket).unwrap();
        fs::set_permissions(&socket, PermissionsExt::from_mode(0o666)).unwrap();
        let serving = thread::spawn(move || {
            for stream in listener.incoming() {
                let mut heard = String::new();
                let mut stream = stream.unwrap();
                // Who has heard enough is gone.
                let _ = stream.write_all(hello.as_bytes());
                let _ = stream.shutdown(Shutdown::Write);
                let _ = stream.read_to_string(&mut heard);
                if heard == "end" {
                    return;
                }
                assert_eq!(heard, "", "nothing is asked of who has not said that it is a worker");
            }
        });
        expect_cold(&shop, why);
        UnixStream::connect(&socket).unwrap().write_all(b"end").unwrap();
        serving.join().unwrap();
        fs::remove_file(&socket).unwrap();
    }
    shop.start_worker();
    expect_warm(&shop, add(&shop).expect(201));
}

#[test]
fn who_listens_and_says_nothing_delays_a_request_once() {
    let shop = warm();
    shop.stop_worker("-9");
    fs::remove_file(shop.worker_socket()).unwrap();
    let listener = UnixListener::bind(shop.worker_socket()).unwrap();
    fs::set_permissions(shop.worker_socket(), PermissionsExt::from_mode(0o666)).unwrap();
    let answer = shop.ask("GET", "/v1/classes", None, &["Cache-Control: no-cache"]);
    assert!(cold(&shop, answer.expect(200)).contains("temporarily unavailable"));
    // Three runs: the change's look at the nodes, the deletion, and the list before.
    shop.add("web02");
    shop.delete("/v1/nodes/web02").expect(204);
    listener.set_nonblocking(true).unwrap();
    let mut asked = 0;
    while listener.accept().is_ok() {
        asked += 1;
    }
    assert_eq!(asked, 3, "each request has asked once");
}

#[test]
fn a_worker_of_another_user_is_not_believed() {
    let shop = warm();
    shop.stop_worker("-9");
    let elsewhere = shop.dir.join("elsewhere");
    run(Command::new("install").args(["-d", "-m", "0777"]).arg(&elsewhere));
    let socket = elsewhere.join("worker.sock");
    shop.configure("console", &format!("worker = {}", socket.display()));
    let lies = "require 'socket'; File.umask(0); server = UNIXServer.open(ARGV[0]); \
                loop { client = server.accept; begin; client.write(\"espm 2\\n\"); heard = client.read; \
                File.write(ARGV[0] + '.asked', heard); client.write(\"ended 0\\n\"); rescue SystemCallError; end }";
    let mut liar = Command::new("setpriv")
        .args(["--reuid", "nobody", "--regid", "nogroup", "--clear-groups", "ruby", "-e", lies])
        .arg(&socket)
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    wait_until("the liar listens", || socket.exists());
    expect_cold(&shop, "want the console's user");
    liar.kill().unwrap();
    liar.wait().unwrap();
    assert_eq!(fs::read_to_string(elsewhere.join("worker.sock.asked")).unwrap_or_default(), "");
}

const ADD: [&str; 4] = ["node:add", "nodeclass:list", "node:groups", "nodegroup:list"];
const VARIABLES: [&str; 4] = ["name=web01", "groups=default", "classes=ntp", "parameters="];

/// Asks with these tasks and variables.
fn request(shop: &Shop, tasks: &[&str], variables: &[&[u8]]) -> (String, String) {
    let mut words: Vec<&[u8]> = vec![b"60"];
    words.extend(tasks.iter().map(|task| task.as_bytes()));
    words.extend(variables);
    words.push(b"end");
    ask(shop, &words)
}

#[track_caller]
fn expect_refused(shop: &Shop, tasks: &[&str], variables: &[&[u8]]) {
    let (answer, output) = request(shop, tasks, variables);
    let text: Vec<_> = variables.iter().map(|word| String::from_utf8_lossy(word)).collect();
    assert!(answer.starts_with("refused: "), "{tasks:?} {text:?}: {answer:?}");
    assert_eq!(output, "", "{tasks:?} {text:?}");
}

/// The worker has run nothing, and does what it is for.
#[track_caller]
fn expect_unharmed(shop: &Shop, worker: Option<u32>) {
    assert!(
        shop.runs("console").iter().all(|run| run["argv"].as_array().unwrap().len() == 1),
        "{:?}",
        shop.runs("console")
    );
    assert_eq!(shop.worker_pid(), worker);
    wait_until("no child is left", || shop.pids("rake").is_empty());
    let good: Vec<_> = VARIABLES.iter().map(|word| word.as_bytes()).collect();
    let (answer, output) = request(shop, &ADD, &good);
    assert_eq!(answer, "ended 0\n");
    assert!(output.starts_with("Node successfully created!\n"), "{output}");
    shop.expect_foreign_untouched();
}

#[test]
fn who_can_open_the_socket_has_no_other_task() {
    let shop = warm();
    let worker = shop.worker_pid();
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
        expect_refused(&shop, tasks, &[]);
        expect_refused(&shop, tasks, &good);
    }
    for list in ["node:list", "nodeclass:list", "nodegroup:list"] {
        expect_refused(&shop, &[list], &good);
        expect_refused(&shop, &[list], &[b"match=x"]);
    }
    expect_unharmed(&shop, worker);
}

#[test]
fn a_member_of_espms_group_who_is_not_espm_is_not_heard_by_the_worker() {
    let shop = warm();
    let ask = |user: u32, group: u32| {
        let script = "print UNIXSocket.open(ARGV[0]).read(7)";
        let mut client = Command::new("setpriv");
        client.args([format!("--reuid={user}"), format!("--regid={group}"), "--clear-groups".to_owned()]);
        run(client.args(["ruby", "-rsocket", "-e", script]).arg(shop.worker_socket()))
    };
    let espm = fs::metadata(shop.dir.join("state")).unwrap();
    // It can open the socket, which is its group's, and gets nothing.
    assert_eq!(ask(65534, espm.gid()), "");
    assert_eq!(ask(espm.uid(), espm.gid()), "espm 2\n");
    assert_eq!(cold(&shop, add(&shop).expect(201)), "");
}

#[test]
fn who_can_open_the_socket_has_no_other_variable_and_no_value_that_espm_would_refuse() {
    let shop = warm();
    let worker = shop.worker_pid();
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
        expect_refused(&shop, &ADD, &with(changed));
    }
    let good: Vec<_> = VARIABLES.iter().map(|word| word.as_bytes()).collect();
    for missing in 0..4 {
        let mut fewer = good.clone();
        let taken = fewer.remove(missing);
        expect_refused(&shop, &ADD, &fewer);
        expect_refused(&shop, &ADD, &[&fewer[..], &[taken, taken]].concat());
    }
    expect_unharmed(&shop, worker);
}

#[test]
fn a_request_that_is_not_whole_or_too_long_is_none() {
    let shop = warm();
    let worker = shop.worker_pid();
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
        let output = output(&shop);
        let mut client = Client::connect(&shop);
        client.pass_files([&output, &output, &output]);
        client.send(&bytes);
        let answer = client.end();
        assert!(!answer.contains("ended"), "{answer:?}: {:?}", String::from_utf8_lossy(&bytes));
        assert_eq!(output.metadata().unwrap().len(), 0);
    }
    expect_unharmed(&shop, worker);
}

#[test]
fn an_output_or_a_slot_that_is_no_file_of_the_clients_own_lock_gets_nothing() {
    let shop = warm();
    let worker = shop.worker_pid();
    let path = shop.dir.join("locked");
    fs::write(&path, "").unwrap();
    let holder = File::open(&path).unwrap();
    holder.lock().unwrap();
    let locked = File::options().write(true).open(&path).unwrap();
    let read_only = File::open(shop.dir.join("log.conf")).or_else(|_| File::open("/etc/passwd")).unwrap();
    let directory = File::open(&shop.dir).unwrap();
    let device = File::options().write(true).open("/dev/null").unwrap();
    let (_reader, writer) = std::io::pipe().unwrap();
    let pipe = File::from(OwnedFd::from(writer));
    let good = output(&shop);
    let request = format!("60\0{}\0{}\0end\0", ADD.join("\0"), VARIABLES.join("\0"));
    let outputs = [[&locked; 3], [&read_only; 3], [&directory; 3], [&device; 3], [&pipe; 3], [&good, &pipe, &good]];
    let slots = [&locked, &directory, &device, &pipe].map(|slot| vec![&good, &good, slot]);
    let fewer = [vec![&good, &good], vec![&good], vec![]];
    for files in outputs.map(Vec::from).into_iter().chain(slots).chain(fewer) {
        let mut client = Client::connect(&shop);
        for file in &files {
            client.pass(b".", &[*file]);
        }
        client.send(request.as_bytes());
        let answer = client.end();
        assert!(!answer.contains("ended"), "{answer:?}: {files:?}");
    }
    // A hundred descriptors at once are not kept.
    let mut client = Client::connect(&shop);
    client.pass(b".", &[&good; 100]);
    client.send(request.as_bytes());
    assert!(!client.end().contains("ended"));
    assert_eq!(fs::read_to_string(&path).unwrap(), "");
    expect_unharmed(&shop, worker);
}

#[test]
fn clients_that_say_nothing_bound_the_children_and_stop_nobody() {
    let shop = with(vec![("console", "concurrency = 1")]);
    let worker = shop.worker_pid();
    let silent: Vec<_> = (0..40).map(|_| UnixStream::connect(shop.worker_socket()).unwrap()).collect();
    wait_until("there are as many children as may be", || shop.pids("rake").len() == 9);
    let answer = add(&shop);
    assert!(shop.pids("rake").len() <= 9 + 1);
    // Whoever is not served is done by rake.
    let record = cold(&shop, answer.expect(201));
    assert!(record.is_empty() || record.contains("temporarily unavailable"), "{record}");
    // Each child gives its client up; the worker goes on.
    drop(silent);
    wait_until("no child is left", || shop.pids("rake").is_empty());
    assert_eq!(shop.worker_pid(), worker);
    expect_warm(&shop, shop.delete("/v1/nodes/web01").expect(204));
}

#[test]
fn a_client_that_is_slow_is_given_up() {
    let shop = warm();
    let mut client = Client::connect(&shop);
    client.pass(b".", &[&output(&shop)]);
    wait_until("its child is gone", || shop.pids("rake").is_empty());
    assert_eq!(client.end(), "");
    expect_warm(&shop, add(&shop).expect(201));
}

/// An add whose run stops at a point, where something is done; the answer, once it has gone on.
fn add_at(shop: &Shop, point: &str, meanwhile: impl FnOnce()) -> Answer {
    shop.paused(point, || add(shop), meanwhile)
}

#[test]
fn a_child_that_is_killed_leaves_an_outcome_that_recovery_finds() {
    let shop = warm();
    for point in ["before_node_add", "after_node_add", "after_commit_node_groups"] {
        let failed = add_at(&shop, point, || shop.kill_one("rake"));
        assert_eq!(failed.expect(502).problem(), "command-failed");
        assert_eq!(shop.unfinished().get("web01").map(String::as_str), Some("creating"), "{point}");
        expect_warm(&shop, add(&shop).expect(201));
        shop.expect_in_console(&web01());
        shop.delete("/v1/nodes/web01").expect(204);
    }
    let failed = add_at(&shop, "after_commit_node_add", || shop.kill_one("rake"));
    failed.expect(502);
    add(&shop).expect(409);
    assert_eq!(shop.unfinished().get("web01").map(String::as_str), Some("unproven"));
    shop.expect_foreign_untouched();
}

#[test]
fn a_worker_that_is_killed_in_the_middle_of_an_add_takes_no_result_with_it() {
    let shop = warm();
    for point in ["before_node_add", "after_commit_node_add", "after_node_groups"] {
        // The child goes on and answers.
        let answer = add_at(&shop, point, || {
            shop.stop_worker("-9");
        });
        expect_warm(&shop, answer.expect(201));
        shop.expect_in_console(&web01());
        shop.start_worker();
        shop.delete("/v1/nodes/web01").expect(204);
    }
    for point in ["before_node_add", "after_node_add", "after_node_groups"] {
        let failed = add_at(&shop, point, || {
            shop.stop_worker("-9");
            shop.kill_one("rake");
        });
        failed.expect(502);
        let again = add(&shop);
        assert!(cold(&shop, again.expect(201)).contains("refused"), "{point}");
        shop.expect_in_console(&web01());
        assert!(shop.unfinished().is_empty() && shop.proofs() == 0);
        shop.start_worker();
        shop.delete("/v1/nodes/web01").expect(204);
    }
    shop.expect_foreign_untouched();
}

#[test]
fn what_a_child_did_after_handler_and_worker_were_killed_counts_and_is_waited_for() {
    let shop = warm();
    shop.pause_at("after_commit_node_add");
    thread::scope(|scope| {
        let asked = scope.spawn(|| add(&shop));
        shop.wait_for_pause();
        shop.kill_one("espm");
        shop.stop_worker("-9");
        asked.join().unwrap().expect(500);
    });
    // The child holds the proof.
    assert_eq!(add(&shop).expect(503).problem(), "busy");
    shop.go_on();
    add(&shop).expect(201);
    shop.expect_in_console(&web01());
    assert_eq!(shop.count("console", "node:add"), 1);
}

#[test]
fn a_worker_that_is_told_to_end_lets_its_child_end() {
    let shop = warm();
    let answer = add_at(&shop, "before_node_add", || {
        let pid = shop.worker_pid().unwrap().to_string();
        run(Command::new("kill").args(["-TERM", &pid]));
        wait_until("nobody listens", || !shop.worker_socket().exists());
    });
    expect_warm(&shop, answer.expect(201));
    let mut worker = shop.worker.lock().unwrap().take().unwrap();
    assert!(worker.wait().unwrap().success());
    shop.expect_in_console(&web01());
}

#[test]
fn a_child_that_cannot_end_itself_is_killed_with_all_that_it_has_started() {
    let shop = with(vec![("console", "timeout = 1")]);
    shop.fault("console", "fork_child", "once");
    let timed_out = add_at(&shop, "before_node_add", || {
        let child = shop.pids("rake")[0];
        let group = || {
            let found = Command::new("pgrep").args(["-g", &child.to_string()]).output().unwrap();
            String::from_utf8(found.stdout).unwrap().lines().count()
        };
        assert_eq!(group(), 2, "rake and what it has started");
        run(Command::new("kill").args(["-STOP", &child.to_string()]));
        wait_until("its worker has killed both", || group() == 0);
    });
    assert_eq!(timed_out.expect(504).problem(), "timed-out");
    shop.no_faults("console");
    shop.configure("console", "timeout = 60");
    add(&shop).expect(201);
    shop.expect_in_console(&web01());
}

/// Whether a process is gone, or on its way since it was killed (proc(5), status: State, SigPnd).
fn is_killed(pid: &str) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let field =
        |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().trim().to_owned();
    let pending = |name: &str| u64::from_str_radix(&field(name), 16).unwrap_or(0) & 1 << 8 != 0;
    status.is_empty() || field("State:").starts_with(['Z', 'X']) || pending("SigPnd:") || pending("ShdPnd:")
}

#[test]
fn what_a_child_has_started_is_ended_with_it() {
    let shop = warm();
    shop.fault("console", "fork_child", "once");
    let (mut child, mut started) = (0, String::new());
    let look = || {
        child = shop.pids("rake")[0];
        started = run(Command::new("pgrep").args(["-x", "-g", &child.to_string(), "sleep"])).trim().to_owned();
        assert!(!is_killed(&started));
    };
    add_at(&shop, "before_node_add", look).expect(201);
    let child = Path::new("/proc").join(child.to_string());
    wait_until("the worker has reaped its child", || !child.exists());
    // Who is served now is served after that.
    Client::connect(&shop);
    assert!(is_killed(&started), "{started} would end by itself in half a minute");
}

#[test]
fn a_worker_that_nobody_needs_ends_and_takes_its_socket_with_it() {
    let shop = warm();
    shop.stop_worker("-TERM");
    assert!(!shop.worker_socket().exists());
    shop.start_worker_with(shop.worker_command(&["ESPM_IDLE=1"]));
    let mut worker = shop.worker.lock().unwrap().take().unwrap();
    assert!(worker.wait().unwrap().success());
    assert!(!shop.worker_socket().exists());
    assert!(cold(&shop, add(&shop).expect(201)).contains("No such file"));
}

#[test]
fn a_socket_that_systemd_holds_outlives_the_worker() {
    let shop = warm();
    shop.stop_worker("-TERM");
    let rake = shop.worker_command(&["ESPM_IDLE=1"]);
    let mut activate = Command::new("systemd-socket-activate");
    activate
        .arg("-l")
        .arg(shop.worker_socket())
        .arg("-E")
        .arg("LANG=C.UTF-8")
        .arg(rake.get_program())
        .args(rake.get_args());
    let log = shop.append("worker.log");
    let mut activate = activate.current_dir(&shop.dir).stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap();
    wait_until("the socket is there", || shop.worker_socket().exists());
    fs::set_permissions(shop.worker_socket(), PermissionsExt::from_mode(0o666)).unwrap();
    // The first request finds a console that boots, and may be done by rake; but the worker boots.
    shop.ask("GET", "/v1/classes", None, &["Cache-Control: no-cache"]).expect(200);
    wait_until("the worker is ready", || shop.file("worker.log").matches("espm: ready").count() == 2);
    add(&shop).expect(201);
    assert!(activate.wait().unwrap().success());
    assert!(shop.worker_socket().exists());
}

#[test]
fn a_worker_that_cannot_serve_ends_and_says_why() {
    let shop = warm();
    let socket = shop.worker_socket();
    let expect_end = |command: &mut Command, why: &str| {
        let output = command.stdout(Stdio::piped()).stderr(Stdio::piped()).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && text.contains(why), "{output:?}");
        assert!(output.stdout.is_empty(), "{output:?}");
    };
    expect_end(&mut shop.worker_command(&[]), "another worker answers there");
    expect_warm(&shop, add(&shop).expect(201));
    shop.stop_worker("-TERM");
    expect_end(&mut shop.worker_command(&["RAILS_ENV=test"]), "test database is not configured");
    expect_end(shop.worker_command(&[]).env("LANG", "C"), "LANG=C.UTF-8");
    expect_end(&mut shop.worker_command(&["ESPM_CONFIG=/nonexistent"]), "No such file");
    fs::write(&socket, "a file of somebody's").unwrap();
    expect_end(&mut shop.worker_command(&[]), "Address already in use");
    assert_eq!(fs::read_to_string(&socket).unwrap(), "a file of somebody's");
    fs::remove_file(&socket).unwrap();
    for line in ["worker = /tmp/x", "master = puppet"] {
        let section = if line.starts_with('m') { "authority" } else { "console" };
        let path = shop.dir.join("other.ini");
        let key = line.split(' ').next().unwrap();
        let text = fs::read_to_string(shop.ini()).unwrap();
        let without: Vec<_> = text.lines().filter(|row| !row.starts_with(key)).collect();
        fs::write(&path, without.join("\n")).unwrap();
        expect_end(
            &mut shop.worker_command(&[&format!("ESPM_CONFIG={}", path.display())]),
            &format!("[{section}] {key}"),
        );
    }
    assert!(!socket.exists());
}

#[test]
fn the_socket_of_a_worker_that_was_killed_is_taken_over() {
    let shop = warm();
    shop.stop_worker("-9");
    assert!(shop.worker_socket().exists());
    shop.start_worker();
    expect_warm(&shop, add(&shop).expect(201));
}

#[test]
fn a_variable_of_who_started_the_worker_reaches_no_task() {
    let shop = warm();
    shop.stop_worker("-TERM");
    let mut command = shop.worker_command(&["groups=databases", "match=ntp"]);
    command.env("variables", "x=y").env("classes", "mysql");
    shop.start_worker_with(command);
    let names = shop.ask("GET", "/v1/classes", None, &["Cache-Control: no-cache"]).expect(200).json();
    assert_eq!(names["classes"].as_array().unwrap().len(), 4);
    let node = json!({"name": "web02", "groups": [], "classes": [], "parameters": {}});
    expect_warm(&shop, shop.post("/v1/nodes", &node).expect(201));
    shop.expect_in_console(&node);
}

#[test]
fn a_hundred_adds_at_once_are_made_by_no_more_children_than_may_be() {
    let shop =
        with(vec![("console", "concurrency = 2"), ("console", "queue = 200"), ("console", "queue_timeout = 250")]);
    thread::scope(|scope| {
        for number in 0..100 {
            let shop = &shop;
            scope.spawn(move || {
                let answer = shop.post("/v1/nodes", &json!({"name": format!("web{number}"), "classes": ["ntp"]}));
                expect_warm(shop, answer.expect(201));
            });
        }
    });
    assert_eq!(crate::many::most_at_once(&shop), 2);
    assert_eq!(shop.states().len(), 100);
    wait_until("no child is left", || shop.pids("rake").is_empty());
}

#[test]
fn the_workers_file_is_ruby_1_8_as_far_as_its_grammar_and_its_words_tell() {
    let shop = Shop::prepare(&Plan::default());
    let checked = |path: &Path| Command::new(template().join("console/old_ruby")).arg(path).output().unwrap();
    let worker = template().join("worker/espm.rake");
    let output = checked(&worker);
    assert!(output.status.success(), "{output:?}");
    let text = fs::read_to_string(&worker).unwrap();
    for (newer, why) in [
        ("x = ->(a) { a }", "is not Ruby 1.8"),
        ("task(serve: :environment) { 1 }", "is not Ruby 1.8"),
        ("x&.size", "is not Ruby 1.8"),
        ("def f(a:) a end", "is not Ruby 1.8"),
        ("def f(a, *b, c) a end", "is not Ruby 1.8"),
        ("%i[a b].size", "is not Ruby 1.8"),
        ("Process.spawn('true')", "Rails 2.3: spawn"),
        ("STDOUT.close_on_exec = true", "Rails 2.3: close_on_exec="),
        ("Socket.unix('x')", "Rails 2.3: unix"),
        ("[1].each_with_object([])", "Rails 2.3: each_with_object"),
        ("'x'.b", "Rails 2.3: b"),
    ] {
        let path = shop.dir.join("newer.rake");
        fs::write(&path, format!("{text}\n{newer}\n")).unwrap();
        let output = checked(&path);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains(why), "{newer}: {said}");
    }
}

/// The worker's user is not espm's, and can enter none of its directories: the proof comes as a descriptor.
#[test]
fn a_worker_of_another_user_than_espms_is_opened_through_the_group_and_writes_the_proof() {
    let shop = Shop::with(Plan { console: Temperature::Cold, ..Plan::default() });
    let directory = shop.dir.join("worker-run");
    run(Command::new("install").args(["-d", "-o", "backup", "-g", USER, "-m", "2750"]).arg(&directory));
    run(Command::new("chown").args(["-R", "backup"]).arg(shop.dir.join("console")));
    // The test, too, puts its signs there.
    run(Command::new("chmod").args(["-R", "0777"]).arg(shop.dir.join("console")));
    shop.configure("console", "user = backup");
    shop.configure("console", &format!("worker = {}", directory.join("worker.sock").display()));
    let mut readable = Command::new("install");
    run(readable.args(["-o", "backup", "-m", "0600"]).arg(shop.ini()).arg(shop.dir.join("backup.ini")));
    let usual = shop.worker_command(&[&format!("ESPM_CONFIG={}", shop.dir.join("backup.ini").display())]);
    let mut worker = Command::new("setpriv");
    worker.args(["--reuid", "backup", "--regid", "backup", "--clear-groups", "--"]).args(usual.get_args().skip(6));
    worker.env_clear().env("LANG", "C.UTF-8").stdout(shop.append("worker.log")).stderr(shop.append("worker.log"));
    worker.current_dir(&shop.dir);
    shop.start_worker_with(worker);
    let socket = fs::metadata(directory.join("worker.sock")).unwrap();
    let group = fs::metadata(&directory).unwrap().gid();
    assert_eq!((socket.mode() & 0o777, socket.gid()), (0o660, group));
    expect_warm(&shop, add(&shop).expect(201));
    shop.expect_in_console(&web01());
    expect_warm(&shop, shop.patch("/v1/nodes/web01", &json!({"groups": []})).expect(200));
    let killed = shop.paused(
        "after_commit_node_add",
        || shop.patch("/v1/nodes/web01", &web01_changed()),
        || {
            shop.kill_one("espm");
        },
    );
    killed.expect(500);
    shop.patch("/v1/nodes/web01", &web01_changed()).expect(200);
    expect_warm(&shop, shop.delete("/v1/nodes/web01").expect(204));
    assert!(shop.states().is_empty() && shop.proofs() == 0);
}

fn web01_changed() -> Value {
    json!({"groups": ["databases"], "parameters": {"role": "db"}})
}
