//! The gateway's start, its socket, its end, and requests that outlive it.

use std::fs::{self, Permissions};
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};

use serde_json::json;

use crate::gateway::{opening, plan, record, status};
use crate::harness::processes::is_there;
use crate::harness::worker::Temperature;
use crate::harness::{Answer, Plan, Site, as_user, run, wait_until};

/// A gate of the test's own, killed at the end.
struct Gateway(Child);

impl Gateway {
    fn stop(mut self) -> Option<i32> {
        run(Command::new("kill").arg("-TERM").arg(self.0.id().to_string()));
        self.0.wait().unwrap().code()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Asks for a node whose rake run stops before it changes anything; meanwhile, does something.
fn while_adding(site: &Site, name: &str, meanwhile: impl FnOnce()) -> Answer {
    let add = || site.post("/v1/nodes", &json!({"name": name, "groups": ["default"]}));
    site.paused("before_node_add", add, meanwhile)
}

#[test]
fn sigterm_lets_running_request_end() {
    let mut site = Site::with(plan());
    let socket = site.dir.join("run/espm.sock");
    let answer = while_adding(&site, "web01.example.com", || {
        run(Command::new("kill").arg("-TERM").arg(site.gateway_pid().to_string()));
        wait_until("the gate takes no more connections", || UnixStream::connect(&socket).is_err());
        assert_eq!(site.get("/v1/health").status, 503);
        assert!(is_there(site.gateway_pid()));
    });
    answer.expect(201);
    assert_eq!(site.stop_gateway("-0").code(), Some(0));
    site.start_gateway();
    site.get("/v1/nodes/web01.example.com").expect(200);
    assert!(!site.node_in_console("web01.example.com").is_null());
}

#[test]
fn sigkill_of_gateway_loses_no_running_request() {
    let mut site = Site::with(plan());
    let mut handlers = vec![];
    let answer = while_adding(&site, "web01.example.com", || {
        handlers = site.pids("espm");
        run(Command::new("kill").arg("-KILL").arg(site.gateway_pid().to_string()));
        wait_until("the gate has ended", || !is_there(site.gateway_pid()));
    });
    answer.expect(503);
    wait_until("the handler has ended", || handlers.len() == 1 && !is_there(handlers[0]));
    assert_eq!(site.stop_gateway("-0").signal(), Some(9));
    site.start_gateway();
    let node = json!({"name": "web01.example.com", "groups": ["default"], "classes": [], "parameters": {}});
    assert_eq!(site.get("/v1/nodes/web01.example.com").expect(200).json(), node);
    assert_eq!(site.node_in_console("web01.example.com")["groups"], json!(["default"]));
    assert_eq!(site.count("console", "node:add"), 1);
}

/// What the descriptors of a process lead to.
fn open_files(pid: u32) -> Vec<String> {
    let files = fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    files.filter_map(|file| Some(fs::read_link(file.unwrap().path()).ok()?.display().to_string())).collect()
}

#[test]
fn descriptors_of_gateway_and_caller_are_not_inherited() {
    let site = Site::with(Plan { console: Temperature::Cold, ..plan() });
    let has = |program: &str, what: &str| {
        let pids = site.pids(program);
        assert_eq!(pids.len(), 1, "{program}");
        open_files(pids[0]).iter().any(|file| file.contains(what))
    };
    // The connections that the gate has taken are not closed when it starts a program.
    let answer = while_adding(&site, "web01.example.com", || {
        assert!(has("espm", "socket:"));
        assert!(!has("espm-helper", "socket:") && !has("rake", "socket:"));
    });
    answer.expect(201);
    let order =
        r#"{"task":{"task":"add","node":{"name":"web02","groups":[],"classes":[],"parameters":{}}},"limit":60}"#;
    let order = site.write("order", order);
    let script =
        format!("exec 7<{order} <{order}; exec {} console {}", site.bin("espm-helper").display(), site.ini().display());
    site.pause_at("before_node_add");
    let mut helper = as_user("sh").args(["-c", &script]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    site.wait_for_pause();
    let held = |program: &str| open_files(site.pids(program)[0]).iter().filter(|file| **file == order).count();
    assert_eq!((held("espm-helper"), held("rake")), (2, 1), "as standard input alone");
    site.go_on();
    assert!(helper.wait().unwrap().success());
}

#[test]
fn connection_between_two_gateways_waits_in_passed_socket() {
    let mut site = Site::prepare(&plan());
    let path = site.dir.join("run/espm.sock");
    let listener = UnixListener::bind(&path).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o666)).unwrap();
    let start = |site: &Site| {
        let passed = OwnedFd::from(listener.try_clone().unwrap());
        let mut espm = as_user(site.bin("espm"));
        Gateway(espm.arg("-c").arg(site.ini()).stdin(passed).spawn().unwrap())
    };
    let gate = start(&site);
    site.start_server();
    site.add("web01.example.com");
    assert_eq!(gate.stop(), Some(0));
    // The socket has a queue although nobody takes from it.
    let mut early = UnixStream::connect(&path).unwrap();
    let health = opening(&[(b"REQUEST_METHOD", b"GET"), (b"REQUEST_URI", b"/v1/health"), (b"HTTPS", b"on")]);
    early.write_all(&[health, record(5, &[])].concat()).unwrap();
    // The socket's maker may have left it non-blocking.
    listener.set_nonblocking(true).unwrap();
    let passed = OwnedFd::from(listener.try_clone().unwrap());
    let mut espm = as_user("/bin/sh");
    espm.args(["-c", "LISTEN_FDS=1 LISTEN_PID=$$ exec \"$0\" \"$@\" 3<&0 </dev/null"]).arg(site.bin("espm"));
    let _gate = Gateway(espm.arg("-c").arg(site.ini()).stdin(passed).spawn().unwrap());
    let mut answer = Vec::new();
    early.read_to_end(&mut answer).unwrap();
    assert_eq!(status(&answer), Some(200));
    site.get("/v1/nodes/web01.example.com").expect(200);
}

#[test]
fn socket_passed_by_spawn_fcgi_is_served() {
    let mut site = Site::prepare(&plan());
    let mut spawn = Command::new("spawn-fcgi");
    spawn.args(["-n", "-u", "www-data", "-g", "www-data", "-M", "0660", "-s"]).arg(site.dir.join("run/espm.sock"));
    let gate = Gateway(spawn.arg("--").arg(site.bin("espm")).arg("-c").arg(site.ini()).spawn().unwrap());
    wait_until("it listens", || UnixStream::connect(site.dir.join("run/espm.sock")).is_ok());
    site.start_server();
    site.add("web01.example.com");
    assert_eq!(gate.stop(), Some(0));
}

#[test]
fn socket_passed_by_systemd_is_served() {
    let mut site = Site::prepare(&plan());
    let socket = site.dir.join("run/espm.sock");
    let mut activate = as_user("systemd-socket-activate");
    activate.arg("-l").arg(&socket).arg(site.bin("espm")).arg("-c").arg(site.ini());
    let gate = Gateway(activate.stdin(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    wait_until("it listens", || UnixStream::connect(&socket).is_ok());
    site.start_server();
    site.add("web01.example.com");
    assert_eq!(gate.stop(), Some(0));
}

#[test]
fn gateway_keeps_given_umask_after_making_socket() {
    let site = Site::with(plan());
    let mask = |pid: &str| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        status.lines().find(|line| line.starts_with("Umask:")).unwrap().to_owned()
    };
    assert_eq!(mask(&site.gateway_pid().to_string()), mask("self"));
    assert_eq!(fs::metadata(site.dir.join("run/espm.sock")).unwrap().permissions().mode() & 0o7777, 0o660);
}

#[test]
fn second_gateway_on_same_socket_fails_in_one_line() {
    let site = Site::with(plan());
    let second = as_user(site.bin("espm")).arg("-c").arg(site.ini()).stdin(Stdio::null()).output().unwrap();
    let line = format!(
        "espm: [espm] listen: {}: another gate listens there; stop it first\n",
        site.dir.join("run/espm.sock").display()
    );
    assert_eq!(String::from_utf8(second.stderr).unwrap(), line);
    assert_eq!((second.status.success(), second.stdout.is_empty()), (false, true));
    site.get("/v1/health").expect(200);
}
