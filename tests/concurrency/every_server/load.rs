//! A thousand requests at the same moment over a console that answers at once: processes, memory and waiting
//! are bounded, everyone is answered, and no node is lost or made twice.
//!
//! A smaller number here, the whole one under `tests/run --long`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use serde_json::{Value, json};

use crate::harness::concurrency::{IDLE_THREADS, expect_busy, most_at_once};
use crate::harness::{Answer, Plan, Server, Site, is_long, run, wait_until, without_copies};

/// Transfers of one curl; it makes no more at a time.
const EACH: usize = 250;

/// Requests that wait for one of the two slots: one client's half of the queue.
const QUEUE: usize = 20;

/// What the gate may keep of a crowd, in KiB: the stacks of some threads and what its allocator holds ready.
const LEFT: usize = 4 * 1024;

/// A node to add, with the key of its request.
type Add = (String, Option<String>);

fn site() -> Site {
    let site = Site::prepare(&Plan {
        ini: vec![("console", "concurrency = 2"), ("console", "queue = 40"), ("console", "cache = 3600")],
        ..Plan::default()
    });
    let double = site.quick_rake();
    site.configure("console", &format!("command = {} {}", double.display(), site.dir.join("console").display()));
    run(Command::new("install").args(["-d", "-o", "www-data"]).arg(site.dir.join("console/nodes")));
    let mut site = site;
    site.start_gateway();
    site.start_server();
    site.ask_for_lists();
    site
}

/// Sends all of them at the same moment, each on a connection of its own.
fn all_at_once(site: &Site, adds: &[Add]) -> Vec<Answer> {
    let out = site.dir.join("answers");
    let _ = fs::remove_dir_all(&out);
    fs::create_dir(&out).unwrap();
    let mut curls = vec![];
    for (number, part) in adds.chunks(EACH).enumerate() {
        let mut config = String::new();
        for (at, (name, key)) in part.iter().enumerate() {
            let body = json!({"name": name, "groups": ["default"], "classes": ["ntp"], "parameters": {"role": "web"}});
            let body = body.to_string().replace('"', "\\\"");
            let (port, psk) = (site.port, &site.psk);
            let certificate = site.dir.join("etc/certs/espm.pem").display().to_string();
            let to = out.join((number * EACH + at).to_string()).display().to_string();
            config.push_str(&format!(
                "{}url = \"https://localhost:{port}/v1/nodes\"\nhttp1.1\ninclude\nmax-time = 300\noutput = \"{to}\"\n\
                 cacert = \"{certificate}\"\nheader = \"X-ESPM-PSK: {psk}\"\ndata-binary = \"{body}\"\n\
                 header = \"Content-Type: application/json\"\n",
                if at == 0 { "" } else { "next\n" }
            ));
            if let Some(key) = key {
                config.push_str(&format!("header = \"Idempotency-Key: {key}\"\n"));
            }
        }
        let mut curl = Command::new("curl");
        curl.args(["-sS", "--parallel", "--parallel-immediate", "--parallel-max", "300", "-K", "-"]);
        let mut child = curl.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(config.as_bytes()).unwrap();
        curls.push(child);
    }
    for curl in curls {
        let output = curl.wait_with_output().unwrap();
        assert!(output.status.success(), "{output:?}");
    }
    let read = |at| Answer::read(&fs::read_to_string(out.join(usize::to_string(&at))).unwrap());
    (0..adds.len()).map(read).collect()
}

/// The most that there was of some things while a crowd was served.
#[derive(Debug, Default)]
struct Most {
    handlers: AtomicUsize,
    helpers: AtomicUsize,
    answered: AtomicUsize,
    refused: AtomicUsize,
}

/// The helpers, but for those that have given their slot back and are about to end.
fn helpers(site: &Site) -> usize {
    let works = |pid: &u32| {
        let in_proc = |name: &str| format!("/proc/{pid}/{name}");
        fs::read_link(in_proc("fd/0")).is_ok_and(|input| {
            let locks = fs::read_to_string(in_proc("fdinfo/0")).unwrap_or_default();
            !input.to_string_lossy().contains("/locks/console.") || locks.contains("lock:")
        })
    };
    without_copies(site.pids("espm-helper")).iter().filter(|pid| works(pid)).count()
}

/// What the gate's process has needed at most, in KiB.
fn peak(site: &Site) -> usize {
    status(site, "VmHWM:")
}

/// A number in the gate's status (proc_pid_status(5)).
fn status(site: &Site, field: &str) -> usize {
    let status = fs::read_to_string(format!("/proc/{}/status", site.gateway_pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// The gate's threads and descriptors, and the processes of a site that serves nobody.
fn idle(site: &Site) -> [usize; 3] {
    let open = fs::read_dir(format!("/proc/{}/fd", site.gateway_pid())).unwrap().count();
    let processes = ["espm", "espm-helper"].map(|program| site.pids(program).len());
    [status(site, "Threads:"), open, processes.iter().sum()]
}

/// Serves a crowd, looks meanwhile at how much there is of everything, and asks for what must not wait.
fn serve(site: &Site, adds: &[Add]) -> (Vec<Answer>, Most) {
    let (most, done) = (Most::default(), AtomicBool::new(false));
    let answers = thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::SeqCst) {
                most.handlers.fetch_max(without_copies(site.pids("espm")).len(), Ordering::SeqCst);
                most.helpers.fetch_max(helpers(site), Ordering::SeqCst);
                thread::sleep(std::time::Duration::from_millis(20));
            }
        });
        scope.spawn(|| {
            while !done.load(Ordering::SeqCst) {
                let quick = [
                    (site.get("/v1/health"), 200),
                    (site.ask("GET", "/v1/classes", None, &["X-ESPM-PSK: wrong"]), 401),
                    (site.get("/v1/nodes/foreign.example.com"), 404),
                    (site.get("/v1/classes"), 200),
                ];
                for (answer, status) in quick {
                    if answer.status == status {
                        most.answered.fetch_add(1, Ordering::SeqCst);
                    } else {
                        // In the first moments there are more requests than places, whatever they ask for.
                        expect_busy(&answer);
                        most.refused.fetch_add(1, Ordering::SeqCst);
                    }
                }
            }
        });
        let answers = all_at_once(site, adds);
        done.store(true, Ordering::SeqCst);
        answers
    });
    (answers, most)
}

/// How often rake made each node.
fn made(site: &Site) -> BTreeMap<String, usize> {
    let mut made = BTreeMap::new();
    for line in site.file("console/log").lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        if let Some(name) = line["created"].as_str() {
            *made.entry(name.to_owned()).or_default() += 1;
        }
    }
    made
}

#[test]
fn thousand_adds_at_once_are_bounded_and_make_each_node_once() {
    let (different, same) = if is_long() { (1000, 200) } else { (200, 50) };
    let site = site();
    let mut adds: Vec<Add> = (0..different).map(|n| (format!("web{n}"), Some(format!("key{n}")))).collect();
    // Those that want one name stand among the others.
    for number in 0..same {
        adds.insert(number * (different / same), ("wanted".to_owned(), None));
    }
    let gate = site.server != Server::ApacheCgi;
    let before = gate.then(|| {
        wait_until("the gate serves nobody", || status(&site, "Threads:") == IDLE_THREADS);
        (idle(&site), status(&site, "VmRSS:"))
    });
    let (mut answers, most) = serve(&site, &adds);
    let first = answers.iter().filter(|answer| answer.status == 201).count();
    let (mut nodes, mut rounds, mut wanted) = (BTreeSet::new(), 0, 0);
    let peak_of_first = if site.server == Server::ApacheCgi { 0 } else { peak(&site) };
    loop {
        let mut again = vec![];
        for ((name, key), answer) in adds.iter().zip(&answers) {
            match answer.status {
                201 => {
                    wanted += usize::from(key.is_none());
                    assert_eq!(answer.json()["name"], json!(name));
                    nodes.insert(name.clone());
                }
                409 if key.is_none() => assert_eq!(answer.problem(), "name-taken"),
                _ => {
                    expect_busy(answer);
                    again.push((name.clone(), key.clone()));
                }
            }
        }
        if again.is_empty() {
            break;
        }
        // As many as have room, as clients that come back at different times.
        rounds += 1;
        let part = again.len().min(QUEUE);
        let mut next = all_at_once(&site, &again[..part]);
        next.extend(again[part..].iter().map(|_| busy()));
        (adds, answers) = (again, next);
    }
    eprintln!("{different} and {same} of one name: {first} made at once, {rounds} rounds of retries, {most:?}");
    assert_eq!(most_at_once(&site), 2);
    assert_eq!(wanted, 1);
    assert_eq!(nodes.len(), different + 1);
    let made = made(&site);
    assert!(made.values().all(|times| *times == 1), "{made:?}");
    assert_eq!(made.into_keys().collect::<BTreeSet<_>>(), nodes);
    let states = site.states();
    assert!(states.values().all(|state| state == "active"));
    assert_eq!(states.into_keys().collect::<BTreeSet<_>>(), nodes);
    assert_eq!(site.proofs(), 0);
    // The same requests once more are answered with the nodes that there are, and make none.
    let keyed: Vec<Add> = (0..QUEUE).map(|n| (format!("web{n}"), Some(format!("key{n}")))).collect();
    all_at_once(&site, &keyed).iter().for_each(|answer| assert_eq!(answer.status, 201));
    assert_eq!(made_in_all(&site), different + 1);

    let (answered, refused) = (most.answered.load(Ordering::SeqCst), most.refused.load(Ordering::SeqCst));
    assert!(answered >= 4 && answered > refused, "health and refusals are answered meanwhile: {most:?}");
    assert!(most.helpers.load(Ordering::SeqCst) <= 2, "{most:?}");
    if site.server != Server::ApacheCgi {
        // Slots, both queues, of which the console's is of two halves, and the reserve.
        assert!(most.handlers.load(Ordering::SeqCst) <= 2 + 2 * QUEUE + 1 + 64 + 32, "{most:?}");
        // Another such crowd needs no more.
        let (more, _) = serve(&site, &(0..different + same).map(|n| (format!("more{n}"), None)).collect::<Vec<_>>());
        for answer in more.iter().filter(|answer| answer.status != 201) {
            expect_busy(answer);
        }
        let peak_of_both = peak(&site);
        eprintln!("the gate at most: {peak_of_first} KiB, then {peak_of_both} KiB");
        assert!(peak_of_both < peak_of_first * 5 / 4 + 4096, "{peak_of_first} KiB, then {peak_of_both} KiB");
        assert!(peak_of_both < 128 * 1024, "{peak_of_both} KiB");
    }
    if let Some((before, resident)) = before {
        wait_until("all threads, descriptors and processes of the crowd are gone", || idle(&site) == before);
        let after = status(&site, "VmRSS:");
        eprintln!("the gate idle: {resident} KiB before, {after} KiB after");
        assert!(after <= resident + LEFT, "{resident} KiB before, {after} KiB after");
    }
}

fn made_in_all(site: &Site) -> usize {
    made(site).values().sum()
}

/// Of a request that has not been sent again yet.
fn busy() -> Answer {
    let headers = [("retry-after", "1"), ("content-type", "application/problem+json")];
    let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    Answer { status: 503, headers, body: json!({"status": 503, "type": "urn:espm:problem:busy"}).to_string() }
}
