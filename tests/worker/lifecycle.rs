//! The worker's start and end, and its children.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;

use serde_json::json;

use super::{add, add_at, cold, expect_warm, warm, web01};
use crate::harness::processes::limits;
use crate::harness::worker::Client;
use crate::harness::{run, wait_until};

#[test]
fn sigterm_of_worker_lets_child_end() {
    let site = warm();
    let answer = add_at(&site, "before_node_add", || {
        let pid = site.worker_pid().unwrap().to_string();
        run(Command::new("kill").args(["-TERM", &pid]));
        wait_until("nobody listens", || !site.worker_socket().exists());
    });
    expect_warm(&site, answer.expect(201));
    let mut worker = site.worker.lock().unwrap().take().unwrap();
    assert!(worker.wait().unwrap().success());
    site.expect_in_console(&web01());
}

#[test]
fn stopped_child_is_killed_with_its_processes() {
    let site = warm();
    let stopped = |limit: u64| {
        // A child has this long to come to the point where it stops; its worker kills it 6 s later.
        site.configure("console", &format!("timeout = {limit}"));
        site.restart_worker();
        site.fault("console", "fork_child", "");
        site.fault("console", "stop_before_node_add", "once");
        thread::scope(|scope| {
            let asked = scope.spawn(|| add(&site));
            let mut child = None;
            wait_until("a child has stopped itself or was too slow", || {
                child = site.pids("rake").into_iter().find(|pid| is_stopped(*pid));
                child.is_some() || asked.is_finished()
            });
            let child = child?.to_string();
            let group = || {
                let found = Command::new("pgrep").args(["-g", &child]).output().unwrap();
                String::from_utf8(found.stdout).unwrap().lines().count()
            };
            assert_eq!(group(), 2, "rake and what it has started");
            wait_until("its worker has killed both", || group() == 0);
            asked.join().ok()
        })
    };
    let timed_out = limits().find_map(stopped).unwrap();
    assert_eq!(timed_out.expect(504).problem(), "timed-out");
    Client::connect(&site);
    site.expect_worker_alive();
    site.no_faults("console");
    site.configure("console", "timeout = 60");
    site.restart_worker();
    add(&site).expect(201);
    site.expect_in_console(&web01());
}

fn is_stopped(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/status")).is_ok_and(|status| status.contains("\nState:\tT"))
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
fn processes_of_child_end_with_it() {
    let site = warm();
    site.fault("console", "fork_child", "once");
    let (mut child, mut started) = (0, String::new());
    let look = || {
        child = site.only("rake");
        started = run(Command::new("pgrep").args(["-x", "-g", &child.to_string(), "sleep"])).trim().to_owned();
        assert!(!is_killed(&started));
    };
    add_at(&site, "before_node_add", look).expect(201);
    let child = Path::new("/proc").join(child.to_string());
    wait_until("the worker has reaped its child", || !child.exists());
    // Who is served now is served after that.
    Client::connect(&site);
    assert!(is_killed(&started), "{started} would end by itself in five minutes");
}

#[test]
fn idle_worker_ends_and_removes_socket() {
    let site = warm();
    site.stop_worker("-TERM");
    assert!(!site.worker_socket().exists());
    site.start_worker_with(site.worker_command(&["ESPM_IDLE=1"]));
    let mut worker = site.worker.lock().unwrap().take().unwrap();
    assert!(worker.wait().unwrap().success());
    assert!(!site.worker_socket().exists());
    assert!(cold(&site, add(&site).expect(201)).contains("No such file"));
}

#[test]
fn socket_held_by_systemd_outlives_worker() {
    let site = warm();
    site.stop_worker("-TERM");
    let rake = site.worker_command(&["ESPM_IDLE=1"]);
    let mut activate = Command::new("systemd-socket-activate");
    activate
        .arg("-l")
        .arg(site.worker_socket())
        .arg("-E")
        .arg("LANG=C.UTF-8")
        .arg(rake.get_program())
        .args(rake.get_args());
    let log = site.append("worker.log");
    let mut activate = activate.current_dir(&site.dir).stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap();
    wait_until("the socket is there", || site.worker_socket().exists());
    fs::set_permissions(site.worker_socket(), PermissionsExt::from_mode(0o666)).unwrap();
    // The first request finds a console that boots, and may be done by rake; but the worker boots.
    site.ask("GET", "/v1/classes", None, &["Cache-Control: no-cache"]).expect(200);
    wait_until("the worker is ready", || site.file("worker.log").matches("espm: ready").count() == 2);
    add(&site).expect(201);
    assert!(activate.wait().unwrap().success());
    assert!(site.worker_socket().exists());
}

#[test]
fn worker_that_cannot_serve_ends_and_says_why() {
    let site = warm();
    let socket = site.worker_socket();
    let expect_end = |command: &mut Command, why: &str| {
        let output = command.stdout(Stdio::piped()).stderr(Stdio::piped()).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && text.contains(why), "{output:?}");
        assert!(output.stdout.is_empty(), "{output:?}");
    };
    expect_end(&mut site.worker_command(&[]), "another worker answers there");
    expect_warm(&site, add(&site).expect(201));
    site.stop_worker("-TERM");
    expect_end(&mut site.worker_command(&["RAILS_ENV=test"]), "test database is not configured");
    expect_end(site.worker_command(&[]).env("LANG", "C"), "LANG=C.UTF-8");
    expect_end(&mut site.worker_command(&["ESPM_CONFIG=/nonexistent"]), "No such file");
    fs::write(&socket, "a file of somebody's").unwrap();
    expect_end(&mut site.worker_command(&[]), "Address already in use");
    assert_eq!(fs::read_to_string(&socket).unwrap(), "a file of somebody's");
    fs::remove_file(&socket).unwrap();
    for line in ["worker = /tmp/x", "master = puppet"] {
        let section = if line.starts_with('m') { "authority" } else { "console" };
        let path = site.dir.join("other.ini");
        let key = line.split(' ').next().unwrap();
        let text = fs::read_to_string(site.ini()).unwrap();
        let without: Vec<_> = text.lines().filter(|row| !row.starts_with(key)).collect();
        fs::write(&path, without.join("\n")).unwrap();
        expect_end(
            &mut site.worker_command(&[&format!("ESPM_CONFIG={}", path.display())]),
            &format!("[{section}] {key}"),
        );
    }
    assert!(!socket.exists());
}

#[test]
fn socket_of_killed_worker_is_taken_over() {
    let site = warm();
    site.stop_worker("-9");
    assert!(site.worker_socket().exists());
    site.start_worker();
    expect_warm(&site, add(&site).expect(201));
}

#[test]
fn variable_of_environment_of_worker_reaches_no_task() {
    let site = warm();
    site.stop_worker("-TERM");
    let mut command = site.worker_command(&["groups=databases", "match=ntp"]);
    command.env("variables", "x=y").env("classes", "mysql");
    site.start_worker_with(command);
    let names = site.ask("GET", "/v1/classes", None, &["Cache-Control: no-cache"]).expect(200).json();
    assert_eq!(names["classes"].as_array().unwrap().len(), 4);
    let node = json!({"name": "web02", "groups": [], "classes": [], "parameters": {}});
    expect_warm(&site, site.post("/v1/nodes", &node).expect(201));
    site.expect_in_console(&node);
}
