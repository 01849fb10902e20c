//! The warm console: what its worker may do, and what is when it is not there, dies or is lied to.

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
use crate::harness::{Plan, Shop, USER, run, template, wait_until};

#[test]
fn answering_worker_runs_every_task_and_rake_is_not_started() {
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
fn missing_worker_starts_rake_and_audit_says_why() {
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
fn silent_listener_delays_request_once() {
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
fn worker_of_other_user_is_not_believed() {
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
    wait_until("the liar listens", || UnixStream::connect(&socket).is_ok());
    expect_cold(&shop, "want the console's user");
    liar.kill().unwrap();
    liar.wait().unwrap();
    assert_eq!(fs::read_to_string(elsewhere.join("worker.sock.asked")).unwrap_or_default(), "");
}

#[test]
fn killed_child_leaves_outcome_for_recovery() {
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
fn worker_killed_during_add_loses_no_result() {
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
fn run_of_child_after_handler_and_worker_were_killed_counts() {
    let shop = warm();
    shop.stopped_at(
        "after_commit_node_add",
        || add(&shop),
        || {
            shop.kill_one("espm");
            shop.stop_worker("-9");
        },
    )
    .expect(500);
    // The child holds the proof.
    assert_eq!(add(&shop).expect(503).problem(), "busy");
    shop.go_on();
    add(&shop).expect(201);
    shop.expect_in_console(&web01());
    assert_eq!(shop.count("console", "node:add"), 1);
}

#[test]
fn hundred_adds_at_once_stay_within_concurrency() {
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
    assert_eq!(crate::harness::concurrency::most_at_once(&shop), 2);
    assert_eq!(shop.states().len(), 100);
    wait_until("no child is left", || shop.pids("rake").is_empty());
}

#[test]
fn worker_file_has_grammar_and_words_of_ruby_1_8() {
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
fn worker_of_console_user_is_reached_through_group_and_writes_proof() {
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
