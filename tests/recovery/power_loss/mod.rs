//! Power loss and damage: what is durable when, and what a ledger is after writes were lost, torn or overwritten.

mod disk;
mod trace;

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use espm::ledger::{Entry, Ledger, NodeOwner, create};
use espm::model::name::{ClientName, GroupName, NodeName};
use espm::model::node::{Assignment, Node};
use serde_json::json;

use self::disk::Disk;
use self::trace::{Act, acts, lines, options, traced};
use crate::harness::certificates::valid;
use crate::harness::strace::Request;
use crate::harness::{API, Plan, Site, USER, run};

fn add(name: &str) -> Request {
    let body = json!({"name": name, "groups": ["default"], "classes": ["ntp"], "parameters": {"role": "web"}});
    Request::new("POST", "/v1/nodes".into()).body(body)
}

/// A site without a gate whose lists are kept.
fn quiet(authority: &'static str) -> Site {
    let site = Site::prepare(&Plan { authority, ini: vec![("console", "cache = 3600")], ..Plan::default() });
    for path in ["/v1/classes", "/v1/groups"] {
        site.handle(&Request::new("GET", path.into())).expect(200);
    }
    site
}

/// That these happened in this order; each is told by a word of its path and what was done.
#[track_caller]
fn expect_order(acts: &[(String, Act)], order: &[(&str, &str)]) {
    let mut rest = acts.iter();
    let kind = |act: &Act| match act {
        Act::Create => "create",
        Act::Write { .. } => "write",
        Act::Cut(_) => "cut",
        Act::Sync => "sync",
        Act::Unlink => "unlink",
        Act::Rename(_) => "rename",
        Act::Start => "start",
        Act::Send => "send",
    };
    for (place, what) in order {
        let found = rest.any(|(path, act)| {
            kind(act) == *what
                && (path.ends_with(place)
                    || path.contains(&format!("{place}/"))
                    || (["pipe:", "socket:"].contains(place) && path.starts_with(place)))
        });
        let seen: Vec<_> = acts.iter().map(|(path, act)| format!("{} {path}", kind(act))).collect();
        assert!(found, "no {what} of {place:?} after the ones before it in {order:?}:\n{seen:#?}");
    }
}

#[test]
fn intent_is_durable_before_command_and_outcome_before_answer() {
    let site = quiet("puppet-cert");
    let (trace, answer) = traced(&site, &add("web01"));
    answer.expect(201);
    let commit = [
        ("/ledger.sqlite-journal", "sync"),
        ("/state", "sync"),
        ("/ledger.sqlite", "sync"),
        ("/ledger.sqlite-journal", "write"),
        ("/ledger.sqlite-journal", "sync"),
    ];
    let mut order = vec![("/state/proofs", "create"), ("/state/proofs", "sync"), ("/state/proofs", "sync")];
    order.extend(commit);
    order.push(("", "start"));
    // What the command printed is judged when it stays.
    order.push(("/state/proofs", "sync"));
    order.extend(commit);
    order.extend([("/state/proofs", "unlink"), ("pipe:", "write")]);
    expect_order(&acts(&trace), &order);
}

#[test]
fn helper_makes_output_and_its_end_durable() {
    let site = quiet("puppet-cert");
    let (to, output) = (site.dir.join("run/task"), site.dir.join("run/output"));
    let node = json!({"name": "web01", "groups": [], "classes": [], "parameters": {}});
    let order = site.write("run/order", &json!({"task": {"task": "add", "node": node}, "limit": 60}).to_string());
    let mut helper = Command::new("strace");
    helper.args(["-qq", "-u", USER]).args(options(to.to_str().unwrap()));
    helper.arg(site.bin("espm-helper")).arg("console").arg(site.ini()).env_clear();
    let printed = fs::File::create(&output).unwrap();
    helper.stdin(fs::File::open(order).unwrap()).stdout(printed.try_clone().unwrap()).stderr(printed);
    assert!(helper.status().unwrap().success());
    assert!(site.file("run/output").ends_with("\nespm: exit 0\n"), "{}", site.file("run/output"));
    expect_order(&acts(&lines(&to)), &[("", "start"), ("/run/output", "write"), ("/run/output", "sync")]);
}

/// Takes from the output of the one unfinished change what no sync has made durable, as a power loss does, and lets
/// another boot begin.
fn lose_output(site: &Site) {
    let proofs = fs::read_dir(site.dir.join("state/proofs")).unwrap();
    let proof = proofs.map(|entry| entry.unwrap().path()).next().unwrap();
    let output = fs::read_to_string(&proof).unwrap();
    assert!(output.starts_with("espm: boot "), "{output}");
    let head = output.lines().take_while(|line| line.starts_with("espm: "));
    let head =
        head.map(|line| if line.contains(" boot ") { "espm: boot another\n".into() } else { format!("{line}\n") });
    fs::write(&proof, head.collect::<String>()).unwrap();
}

#[test]
fn node_deleted_by_rebuild_is_added_again_after_its_output_is_lost() {
    let site = Site::open();
    site.add("web01");
    site.ask("POST", "/v1/nodes/web01/certificate", None, &[]).expect(201);
    let valid_before = valid(&site);
    let rebuild = || site.patch("/v1/nodes/web01", &json!({"groups": ["databases"], "classes": ["mysql"]}));
    site.fault("console", "die_after_node_del", "once");
    rebuild().expect(502);
    lose_output(&site);
    rebuild().expect(200);
    assert_eq!(site.node_in_console("web01")["groups"], json!(["databases"]));
    assert_eq!(valid(&site), valid_before);
}

#[test]
fn node_of_another_is_left_alone_after_output_is_lost() {
    for (verb, lost) in [("PATCH", true), ("DELETE", true), ("PATCH", false), ("DELETE", false)] {
        let site = Site::open();
        site.add("web01");
        site.ask("POST", "/v1/nodes/web01/certificate", None, &[]).expect(201);
        let valid_before = valid(&site);
        site.fault("console", "die_after_node_del", "once");
        if verb == "PATCH" {
            site.patch("/v1/nodes/web01", &json!({"groups": ["databases"], "classes": ["mysql"]})).expect(502);
        } else {
            site.delete("/v1/nodes/web01").expect(502);
        }
        if lost {
            lose_output(&site);
        }
        site.rake(&["node:add", "name=web01", "groups=web servers", "classes=mysql"]);
        let humans = site.node_in_console("web01");
        site.get("/v1/nodes/web01").expect(404);
        site.delete("/v1/nodes/web01").expect(404);
        assert_eq!(site.node_in_console("web01"), humans, "{verb} {lost}");
        assert_eq!(site.unfinished()["web01"], "unproven", "{verb} {lost}");
        let kept = if verb == "PATCH" { valid_before } else { [].into() };
        assert_eq!(valid(&site), kept, "{verb} {lost}");
    }
}

/// What espm-helper does for a verb about web01.
fn verb(site: &Site, verb: &str) -> Vec<(String, Act)> {
    let to = site.dir.join("run/verb").display().to_string();
    let mut helper = Command::new("strace");
    helper.args(["-qq", "-u", USER]).args(options(&to)).arg(site.bin("espm-helper")).arg("authority").arg(site.ini());
    let mut child = helper.env_clear().stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let order = json!({"verb": verb, "name": "web01", "limit": 60});
    child.stdin.take().unwrap().write_all(order.to_string().as_bytes()).unwrap();
    let answer = child.wait_with_output().unwrap();
    let answer: serde_json::Value = serde_json::from_slice(&answer.stdout).unwrap();
    assert!(["generated", "revoked"].contains(&answer["answer"].as_str().unwrap()), "{answer}");
    acts(&lines(Path::new(&to)))
}

#[test]
fn ca_record_is_durable_before_command_and_before_answer() {
    for authority in ["puppet-cert", "puppetserver-ca"] {
        let site = quiet(authority);
        site.handle(&add("web01")).expect(201);
        let (written, proof, beside) = ("/records/web01.json", "/records/web01.proof", "/records/web01.json.new");
        let record = [(beside, "create"), (beside, "sync"), (beside, "rename"), ("/records", "sync")];
        let acts = verb(&site, "generate");
        let mut order = record.to_vec();
        order.extend([(proof, "create"), (proof, "sync"), ("/records", "sync"), ("", "start")]);
        order.extend(record);
        order.push(("pipe:", "write"));
        expect_order(&acts, &order);
        let acts = verb(&site, "revoke");
        let mut order = record.to_vec();
        order.extend([(proof, "create"), (proof, "sync"), ("/records", "sync"), ("", "start")]);
        // The record is the claim: it goes when the files are gone, durably.
        order.extend([("/ca/signed/web01.pem", "unlink"), ("/ca/signed", "sync"), (written, "unlink")]);
        order.extend([("/records", "sync"), ("pipe:", "write")]);
        expect_order(&acts, &order);
    }
}

#[test]
fn ca_record_and_key_are_durable_before_server_is_asked_and_before_answer() {
    let site = quiet(API);
    site.handle(&add("web01")).expect(201);
    let (written, beside) = ("/records/web01.json", "/records/web01.json.new");
    let record = [(beside, "create"), (beside, "sync"), (beside, "rename"), ("/records", "sync")];
    let acts = verb(&site, "generate");
    let key = acts.iter().position(|(path, act)| path.contains("/private_keys") && *act == Act::Sync).unwrap();
    let sent = acts.iter().position(|(_, act)| *act == Act::Send).unwrap();
    assert!(key < sent, "{acts:#?}");
    let mut order = record.to_vec();
    // The key, then its name.
    order.extend([("/ssl/private_keys", "sync"), ("/ssl/private_keys", "sync"), ("socket:", "send")]);
    order.extend(record);
    order.push(("pipe:", "write"));
    expect_order(&acts, &order);
    let mut order = record.to_vec();
    order.extend([
        ("socket:", "send"),
        ("/ca/signed/web01.pem", "unlink"),
        ("/ca/signed", "sync"),
        (written, "unlink"),
    ]);
    order.extend([("/records", "sync"), ("pipe:", "write")]);
    expect_order(&verb(&site, "revoke"), &order);
}

/// What the ledger in these files says of a node: nothing, or its state.
fn word(directory: &Path, files: &BTreeMap<PathBuf, Vec<u8>>, name: &str) -> String {
    let _ = fs::remove_dir_all(directory);
    fs::create_dir_all(directory.join("proofs")).unwrap();
    for (path, bytes) in files {
        fs::write(directory.join(path), bytes).unwrap();
    }
    let ledger = Ledger::open(directory, "test").unwrap_or_else(|error| panic!("{error}"));
    ledger.check_integrity().unwrap_or_else(|error| panic!("{error}"));
    let entries: Vec<Entry> = ledger.entries(false).unwrap_or_else(|error| panic!("{error}"));
    assert!(entries.iter().any(|entry| entry.node.name.as_str() == "before"), "an empty ledger");
    let entry = entries.iter().find(|entry| entry.node.name.as_str() == name);
    let Some(entry) = entry else { return "none".to_owned() };
    if let Some(proof) = &entry.output {
        assert!(directory.join("proofs").join(proof).exists(), "{name} has no proof");
    }
    entry.state.word().to_owned()
}

/// Plays what a handler did, lets the power go after each act in every way, and looks at the ledger.
/// `before`, `intent` and `outcome` are the words for the node that it was about.
fn lose_power(site: &Site, request: &Request, name: &str, [before, intent, outcome]: [&str; 3]) -> usize {
    let state = site.dir.join("state");
    let mut disk = Disk::of(&state);
    let (trace, answer) = traced(site, request);
    assert!(answer.status < 300, "{answer:?}");
    let acts = acts(&trace);
    // A commit overwrites the head of the journal with zeros.
    let commits = |(path, act): &(String, Act)| {
        path.ends_with("-journal")
            && matches!(act, Act::Write { at: Some(0), bytes } if bytes.iter().all(|byte| *byte == 0))
    };
    let committed = acts.iter().position(commits).unwrap();
    let started = committed + acts[committed..].iter().position(|(_, act)| *act == Act::Start).unwrap();
    let told = |(path, act): &(String, Act)| {
        path.starts_with("pipe:") && matches!(act, Act::Write { bytes, .. } if bytes.starts_with(b"Status: "))
    };
    let answered = acts.iter().position(told).unwrap();
    assert!(committed < started && started < answered);
    let (mut losses, mut words) = (0, BTreeMap::new());
    // The ledger, its journal and the proofs.
    let of_state = |path: &str| {
        let relative = Path::new(path).strip_prefix(&state).ok()?;
        (!relative.starts_with("locks")).then(|| relative.to_owned())
    };
    // Thousands of ledgers, each opened once: in memory.
    let memory = Path::new("/dev/shm").join(site.dir.file_name().unwrap());
    for (number, (path, act)) in acts.iter().enumerate() {
        disk.act(path, act);
        let allowed: &[&str] = match number {
            _ if number >= answered => &[outcome],
            _ if number >= started => &[intent, outcome],
            _ => &[before, intent],
        };
        for remains in disk.remains() {
            let remains: BTreeMap<_, _> =
                remains.into_iter().filter_map(|(path, bytes)| Some((of_state(&path)?, bytes))).collect();
            let left = memory.join("left");
            let word = words.entry(remains.clone()).or_insert_with(|| word(&left, &remains, name)).clone();
            assert!(allowed.contains(&word.as_str()), "{word} after {act:?} of {path}, want one of {allowed:?}");
            losses += 1;
        }
    }
    fs::remove_dir_all(&memory).unwrap();
    losses
}

#[test]
fn power_loss_at_any_moment_leaves_ledger_that_knows_every_command() {
    let site = quiet("puppet-cert");
    site.handle(&add("before")).expect(201);
    let path = "/v1/nodes/web01".to_owned();
    let change = Request::new("PATCH", path.clone()).body(json!({"groups": ["databases"]}));
    let losses = lose_power(&site, &add("web01").key("k"), "web01", ["none", "creating", "active"])
        + lose_power(&site, &change, "web01", ["active", "changing", "active"])
        + lose_power(&site, &Request::new("DELETE", path), "web01", ["active", "deleting", "none"]);
    assert!(losses > 1000, "{losses}");
    eprintln!("{losses} power losses");
}

#[test]
fn ledger_cut_or_overwritten_anywhere_is_refused() {
    let directory = Path::new("/dev/shm").join(format!("espm-test-damage-{}", std::process::id()));
    // One of this number may have been killed here.
    let _ = fs::remove_dir_all(&directory);
    fs::create_dir(&directory).unwrap();
    create(&directory).unwrap();
    let ledger = Ledger::open(&directory, "test").unwrap();
    let client = ClientName::parse("cloud").unwrap();
    for number in 0..150 {
        let name = NodeName::parse(&format!("web{number}.example.com")).unwrap();
        let groups = vec![GroupName::parse("web servers").unwrap()];
        let node = Node { name, assignment: Assignment { groups, ..Assignment::default() } };
        ledger.intend_to_add(&node, "proof", NodeOwner { client: &client, most: None }, None).unwrap();
        if number % 10 != 0 {
            ledger.settle(&node).unwrap();
        }
    }
    let read =
        |ledger: &Ledger| ledger.entries(false).map(|entries| entries.iter().map(|e| format!("{e:?}")).collect());
    let whole: Vec<String> = read(&ledger).unwrap();
    drop(ledger);
    let path = directory.join("ledger.sqlite");
    let good = fs::read(&path).unwrap();
    let (mut refused, mut tried) = (0, 0);
    let mut try_out = |bytes: &[u8], what: &str| {
        tried += 1;
        fs::write(&path, bytes).unwrap();
        let opened = Ledger::open(&directory, "test");
        let sound = opened.as_ref().is_ok_and(|ledger| ledger.check_integrity().is_ok());
        let found = opened.and_then(|ledger| read(&ledger));
        match found {
            Err(error) => {
                refused += 1;
                assert!(error.to_string().contains("restore it from a backup and run 'espm check'"), "{what}: {error}");
            }
            Ok(found) => {
                assert!(found.iter().all(|entry| whole.contains(entry)), "{what}: an entry that never was");
                assert!(found == whole || !sound, "{what}: entries are lost and 'espm check' finds nothing");
            }
        }
    };
    for length in (0..good.len()).step_by(512) {
        try_out(&good[..length], &format!("cut at {length}"));
    }
    for start in (0..good.len()).step_by(512) {
        // A sector, and the page from there on.
        for (length, with) in [(512, 0), (512, 0x5a), (4096, 0), (4096, 0xff)] {
            let mut bytes = good.clone();
            let end = good.len().min(start + length);
            bytes[start..end].fill(with);
            if bytes != good {
                try_out(&bytes, &format!("{length} bytes of {with} at {start}"));
            }
        }
    }
    for (to, from) in
        (0..good.len()).step_by(4096).flat_map(|to| (0..good.len()).step_by(4096).map(move |from| (to, from)))
    {
        let mut bytes = good.clone();
        bytes.copy_within(from..from + 4096, to);
        if bytes != good {
            try_out(&bytes, &format!("the page at {from} written at {to}"));
        }
    }
    eprintln!("{tried} damages, {refused} refused");
    assert!(refused > tried / 2, "{refused} of {tried}");
    fs::remove_dir_all(&directory).unwrap();
}

#[test]
fn handler_killed_during_commit_is_rolled_back() {
    let site = quiet("puppet-cert");
    site.handle(&add("before")).expect(201);
    let to = site.dir.join("run/trace").display().to_string();
    site.handle_traced(&add("model"), &["-o", &to, "-y", "-e", "trace=fsync"].map(str::to_owned));
    let trace = fs::read_to_string(&to).unwrap();
    let syncs = trace.lines().position(|line| line.contains("/ledger.sqlite>")).unwrap();
    // All is written into the ledger, whose journal is durable, and the commit is still to come.
    let inject = format!("inject=fsync:signal=KILL:when={}", syncs + 1);
    site.handle_traced(&add("web01"), &["-o", "/dev/null", "-e", "trace=fsync", "-e", &inject].map(str::to_owned));
    let journal = site.dir.join("state/ledger.sqlite-journal");
    assert!(fs::metadata(&journal).unwrap().len() > 512, "a hot journal is there");
    assert_eq!(site.states().into_keys().collect::<Vec<_>>(), ["before", "model"]);
    assert!(!journal.exists(), "it is rolled back");
    site.handle(&add("web01")).expect(201);
    assert!(site.unfinished().is_empty());
    // The proof that no row names goes at some time after any request has ended.
    assert_eq!(site.proofs(), 1);
    assert!(site.espm(&["check", "--settle"]).status.success());
    assert_eq!(site.proofs(), 1, "a young one may be about to be named");
    let proof = fs::read_dir(site.dir.join("state/proofs")).unwrap().next().unwrap().unwrap().path();
    run(Command::new("touch").args(["-d", "3 hours ago"]).arg(proof));
    assert!(site.espm(&["check", "--settle"]).status.success());
    assert_eq!(site.proofs(), 0);
}
