//! Requests through a worker, and through rake where none answers.

use std::fs::{self};
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;

use serde_json::{Value, json};

use super::{add, add_at, cold, expect_warm, warm, web01, with};
use crate::harness::worker::Temperature;
use crate::harness::{Plan, Site, USER, run, template, wait_until};

#[test]
fn answering_worker_runs_every_task_and_rake_is_not_started() {
    let site = warm();
    let change = json!({"groups": ["databases"], "parameters": {"role": null}});
    let answers = [add(&site), site.patch("/v1/nodes/web01", &change), site.delete("/v1/nodes/web01")];
    for (answer, status) in answers.iter().zip([201, 200, 204]) {
        expect_warm(&site, answer.expect(status));
    }
    let runs = site.runs("console");
    // A rake that is started has its own path and options before the tasks.
    assert!(runs.len() > 5 && runs.iter().all(|run| run["argv"][0].as_str().unwrap().starts_with("node")), "{runs:?}");
    let socket = fs::metadata(site.worker_socket()).unwrap();
    assert!(socket.file_type().is_socket());
    assert_eq!(socket.mode() & 0o777, 0o660);
    let output = site.espm(&["check"]);
    assert!(String::from_utf8_lossy(&output.stdout).contains("ok    console worker: answers at /"), "{output:?}");
}

/// A request is done by a rake that is started, and the audit and `espm check` say why.
#[track_caller]
fn expect_cold(site: &Site, why: &str) {
    let answer = add(site);
    let record = cold(site, answer.expect(201));
    assert!(record.contains(why) && record.contains("worker.sock"), "{why}: {record}");
    let output = site.espm(&["check"]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(!output.status.success() && text.contains("FAIL  console worker: ") && text.contains(why), "{text}");
    site.delete("/v1/nodes/web01").expect(204);
}

#[test]
fn missing_worker_starts_rake_and_audit_says_why() {
    let site = warm();
    let socket = site.worker_socket();
    site.stop_worker("-9");
    expect_cold(&site, "Connection refused");
    fs::remove_file(&socket).unwrap();
    expect_cold(&site, "No such file");
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
        expect_cold(&site, why);
        UnixStream::connect(&socket).unwrap().write_all(b"end").unwrap();
        serving.join().unwrap();
        fs::remove_file(&socket).unwrap();
    }
    site.start_worker();
    expect_warm(&site, add(&site).expect(201));
}

#[test]
fn silent_listener_delays_request_once() {
    let site = warm();
    site.stop_worker("-9");
    fs::remove_file(site.worker_socket()).unwrap();
    let listener = UnixListener::bind(site.worker_socket()).unwrap();
    fs::set_permissions(site.worker_socket(), PermissionsExt::from_mode(0o666)).unwrap();
    let answer = site.ask("GET", "/v1/classes", None, &["Cache-Control: no-cache"]);
    assert!(cold(&site, answer.expect(200)).contains("temporarily unavailable"));
    // Three runs: the change's look at the nodes, the deletion, and the list before.
    site.add("web02");
    site.delete("/v1/nodes/web02").expect(204);
    listener.set_nonblocking(true).unwrap();
    let mut asked = 0;
    while listener.accept().is_ok() {
        asked += 1;
    }
    assert_eq!(asked, 3, "each request has asked once");
}

#[test]
fn worker_of_other_user_is_not_believed() {
    let site = warm();
    site.stop_worker("-9");
    let elsewhere = site.dir.join("elsewhere");
    run(Command::new("install").args(["-d", "-m", "0777"]).arg(&elsewhere));
    let socket = elsewhere.join("worker.sock");
    site.configure("console", &format!("worker = {}", socket.display()));
    let lies = "require 'socket'; File.umask(0); server = UNIXServer.open(ARGV[0]); \
                loop { client = server.accept; begin; client.write(\"espm 2\\n\"); heard = client.read; \
                File.write(ARGV[0] + '.asked', heard); client.write(\"ended 0\\n\"); rescue SystemCallError; end }";
    let mut liar = Command::new("setpriv")
        .args(["--reuid", "nobody", "--regid", "nogroup", "--clear-groups", "ruby", "-e", lies])
        .arg(&socket)
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    wait_until("the liar listens", || UnixStream::connect(&socket).is_ok());
    expect_cold(&site, "want the console's user");
    liar.kill().unwrap();
    liar.wait().unwrap();
    assert_eq!(fs::read_to_string(elsewhere.join("worker.sock.asked")).unwrap_or_default(), "");
}

#[test]
fn killed_child_leaves_outcome_for_recovery() {
    let site = warm();
    for point in ["before_node_add", "after_node_add", "after_commit_node_groups"] {
        let failed = add_at(&site, point, || site.kill_one("rake"));
        assert_eq!(failed.expect(502).problem(), "command-failed");
        assert_eq!(site.unfinished().get("web01").map(String::as_str), Some("creating"), "{point}");
        expect_warm(&site, add(&site).expect(201));
        site.expect_in_console(&web01());
        site.delete("/v1/nodes/web01").expect(204);
    }
    let failed = add_at(&site, "after_commit_node_add", || site.kill_one("rake"));
    failed.expect(502);
    add(&site).expect(409);
    assert_eq!(site.unfinished().get("web01").map(String::as_str), Some("unproven"));
    site.expect_foreign_untouched();
}

#[test]
fn list_whose_child_crashed_is_asked_cold() {
    let site = warm();
    expect_warm(&site, add(&site).expect(201));
    let crash = || site.fault("console", "die_boot.once", "");
    crash();
    let listed = site.ask("GET", "/v1/classes", None, &["Cache-Control: no-cache"]);
    assert!(cold(&site, listed.expect(200)).contains("its child has died"));
    // The list of nodes, too, before a change and in a recovery.
    crash();
    let changed = site.patch("/v1/nodes/web01", &json!({"groups": []}));
    assert!(cold(&site, changed.expect(200)).contains("its child has died"));
    let failed = site.paused("before_node_groups", || site.delete("/v1/nodes/web01"), || site.kill_one("rake"));
    failed.expect(502);
    crash();
    // The recovery finishes the deletion.
    assert!(cold(&site, site.delete("/v1/nodes/web01").expect(404)).contains("its child has died"));
    assert!(site.states().is_empty());
    expect_warm(&site, add(&site).expect(201));
    site.expect_worker_alive();
}

#[test]
fn worker_killed_during_add_loses_no_result() {
    let site = warm();
    for point in ["before_node_add", "after_commit_node_add", "after_node_groups"] {
        // The child goes on and answers.
        let answer = add_at(&site, point, || {
            site.stop_worker("-9");
        });
        expect_warm(&site, answer.expect(201));
        site.expect_in_console(&web01());
        site.start_worker();
        site.delete("/v1/nodes/web01").expect(204);
    }
    for point in ["before_node_add", "after_node_add", "after_node_groups"] {
        let failed = add_at(&site, point, || {
            site.stop_worker("-9");
            site.kill_one("rake");
        });
        failed.expect(502);
        let again = add(&site);
        assert!(cold(&site, again.expect(201)).contains("refused"), "{point}");
        site.expect_in_console(&web01());
        assert!(site.unfinished().is_empty() && site.proofs() == 0);
        site.start_worker();
        site.delete("/v1/nodes/web01").expect(204);
    }
    site.expect_foreign_untouched();
}

#[test]
fn run_of_child_after_handler_and_worker_were_killed_counts() {
    let site = warm();
    site.stopped_at(
        "after_commit_node_add",
        || add(&site),
        || {
            site.kill_one("espm");
            site.stop_worker("-9");
        },
    )
    .expect(500);
    // The child holds the proof.
    assert_eq!(add(&site).expect(503).problem(), "busy");
    site.go_on();
    add(&site).expect(201);
    site.expect_in_console(&web01());
    assert_eq!(site.count("console", "node:add"), 1);
}

#[test]
fn hundred_adds_at_once_stay_within_concurrency() {
    let site =
        with(vec![("console", "concurrency = 2"), ("console", "queue = 200"), ("console", "queue_timeout = 250")]);
    thread::scope(|scope| {
        for number in 0..100 {
            let site = &site;
            scope.spawn(move || {
                let answer = site.post("/v1/nodes", &json!({"name": format!("web{number}"), "classes": ["ntp"]}));
                expect_warm(site, answer.expect(201));
            });
        }
    });
    assert_eq!(crate::harness::concurrency::most_at_once(&site), 2);
    assert_eq!(site.states().len(), 100);
    wait_until("no child is left", || site.pids("rake").is_empty());
}

#[test]
fn worker_file_has_grammar_and_words_of_ruby_1_8() {
    let site = Site::prepare(&Plan::default());
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
        let path = site.dir.join("newer.rake");
        fs::write(&path, format!("{text}\n{newer}\n")).unwrap();
        let output = checked(&path);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains(why), "{newer}: {said}");
    }
}

/// The worker's user is not espm's, and can enter none of its directories: the proof comes as a descriptor.
#[test]
fn worker_of_console_user_is_reached_through_group_and_writes_proof() {
    let site = Site::with(Plan { console: Temperature::Cold, ..Plan::default() });
    let directory = site.dir.join("worker-run");
    run(Command::new("install").args(["-d", "-o", "backup", "-g", USER, "-m", "2750"]).arg(&directory));
    run(Command::new("chown").args(["-R", "backup"]).arg(site.dir.join("console")));
    // The test, too, puts its signs there.
    run(Command::new("chmod").args(["-R", "0777"]).arg(site.dir.join("console")));
    site.configure("console", "user = backup");
    site.configure("console", &format!("worker = {}", directory.join("worker.sock").display()));
    let mut readable = Command::new("install");
    run(readable.args(["-o", "backup", "-m", "0600"]).arg(site.ini()).arg(site.dir.join("backup.ini")));
    let usual = site.worker_command(&[&format!("ESPM_CONFIG={}", site.dir.join("backup.ini").display())]);
    let mut worker = Command::new("setpriv");
    worker.args(["--reuid", "backup", "--regid", "backup", "--clear-groups", "--"]).args(usual.get_args().skip(6));
    worker.env_clear().env("LANG", "C.UTF-8").stdout(site.append("worker.log")).stderr(site.append("worker.log"));
    worker.current_dir(&site.dir);
    site.start_worker_with(worker);
    let socket = fs::metadata(directory.join("worker.sock")).unwrap();
    let group = fs::metadata(&directory).unwrap().gid();
    assert_eq!((socket.mode() & 0o777, socket.gid()), (0o660, group));
    expect_warm(&site, add(&site).expect(201));
    site.expect_in_console(&web01());
    expect_warm(&site, site.patch("/v1/nodes/web01", &json!({"groups": []})).expect(200));
    let killed = site.paused(
        "after_commit_node_add",
        || site.patch("/v1/nodes/web01", &web01_changed()),
        || {
            site.kill_one("espm");
        },
    );
    killed.expect(500);
    site.patch("/v1/nodes/web01", &web01_changed()).expect(200);
    expect_warm(&site, site.delete("/v1/nodes/web01").expect(204));
    assert!(site.states().is_empty() && site.proofs() == 0);
}

fn web01_changed() -> Value {
    json!({"groups": ["databases"], "parameters": {"role": "db"}})
}
