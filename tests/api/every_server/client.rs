//! The client in `conf/examples`, as a provisioning system runs it.

mod cloud_init;
mod rights;
mod trusted_facts;

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use serde_json::{Value, json};

use crate::harness::processes::FOREIGN;
use crate::harness::{Plan, Site, run, wait_until};

fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("conf/examples").join(name)
}

/// The client with the site's address, certificate and key.
fn client(site: &Site, words: &[&str]) -> Command {
    let mut client = Command::new(example("espm-client"));
    client
        .args(words)
        .env_remove("ESPM_PSK_FILE")
        .env("ESPM_URL", format!("https://localhost:{}", site.port))
        .env("ESPM_TLS_CERT", site.dir.join("etc/certs/espm.pem"))
        .env("ESPM_PSK", &site.psk);
    client
}

const LAUNCH: [&str; 6] = ["--group", "web servers", "--class", "apache", "--parameter", "role=web"];

fn launch(site: &Site, name: &str, more: &[&str]) -> Command {
    client(site, &[&["launch", name], &LAUNCH[..], more].concat())
}

fn assigned() -> Value {
    json!({"groups": ["web servers"], "classes": ["apache"], "parameters": [["role", "web"]]})
}

fn says(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The certificate verifies against the CA's, and the key belongs to it.
#[track_caller]
fn expect_usable(ssldir: &Path, name: &str) {
    let at = |path: &str| ssldir.join(path).display().to_string();
    let (certificate, key) = (at(&format!("certs/{name}.pem")), at(&format!("private_keys/{name}.pem")));
    run(Command::new("openssl").args(["verify", "-CAfile", &at("certs/ca.pem"), &certificate]));
    let of_certificate = run(Command::new("openssl").args(["x509", "-noout", "-pubkey", "-in", &certificate]));
    assert_eq!(of_certificate, run(Command::new("openssl").args(["pkey", "-pubout", "-in", &key])));
}

#[test]
fn client_launches_and_terminates_server() {
    let site = Site::open();
    let known = run(&mut client(&site, &["classes"]));
    assert!(known.lines().any(|line| line == "apache"), "{known}");
    let known = run(&mut client(&site, &["groups"]));
    assert!(known.lines().any(|line| line == "web servers"), "{known}");

    // Puppet's ssldir as the agent will find it, the key from a file.
    let (ssldir, psk) = (site.dir.join("ssl"), site.write("psk", &format!("{}\n", site.psk)));
    let mut first = launch(&site, "web01.example.com", &["--ssldir", ssldir.to_str().unwrap()]);
    assert_eq!(run(first.env_remove("ESPM_PSK").env("ESPM_PSK_FILE", &psk)), "web01.example.com\n");
    assert_eq!(site.node_in_console("web01.example.com"), assigned());
    expect_usable(&ssldir, "web01.example.com");
    for (path, mode) in [
        ("private_keys", 0o750),
        ("private_keys/web01.example.com.pem", 0o600),
        ("certs", 0o755),
        ("certs/web01.example.com.pem", 0o644),
        ("certs/ca.pem", 0o644),
    ] {
        assert_eq!(fs::metadata(ssldir.join(path)).unwrap().permissions().mode() & 0o7777, mode, "{path}");
    }
    assert_eq!(run(Command::new("find").arg(&ssldir).args(["-type", "f"])).lines().count(), 3);

    for _ in 0..2 {
        run(&mut client(&site, &["terminate", "web01.example.com"]));
        assert!(site.node_in_console("web01.example.com").is_null());
    }
    assert_eq!(site.count("ca", "generate"), 1);
    let records = site.audit().join("\n");
    assert!(records.contains("event=certificate.revoke outcome=gone"), "{records}");
    assert!(records.contains("event=node.delete outcome=gone"), "{records}");
    site.expect_foreign_untouched();
}

#[test]
fn client_takes_another_name_when_one_is_taken() {
    let site = Site::open();
    let name = run(&mut launch(&site, FOREIGN, &[]));
    let (host, domain) = FOREIGN.split_once('.').unwrap();
    let appended =
        name.trim().strip_prefix(&format!("{host}-")).and_then(|rest| rest.strip_suffix(&format!(".{domain}")));
    assert!(appended.is_some_and(|time| time.len() == 13 && time.bytes().all(|b| b.is_ascii_digit())), "{name}");
    assert_eq!(site.node_in_console(name.trim()), assigned());
    site.expect_foreign_untouched();
}

#[test]
fn exact_launch_of_taken_name_fails_and_adds_nothing() {
    let site = Site::open();
    for how in ["--exact", "--resume"] {
        let output = launch(&site, FOREIGN, &[how]).output().unwrap();
        assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(1), &b""[..]), "{output:?}");
        assert!(says(&output).contains("409 a node of this name exists"), "{output:?}");
    }
    assert_eq!(site.states().len(), 0);
    assert_eq!(run(&mut launch(&site, "web01", &["--exact"])), "web01\n");
    site.expect_foreign_untouched();
}

#[test]
fn resumed_launch_goes_on_with_node_and_certificate_of_interrupted_one() {
    let site = Site::open();
    site.fault("ca", "pause_after_generate.once", "");
    let mut first = launch(&site, "web01", &[]).stdout(Stdio::piped()).spawn().unwrap();
    wait_until("the certificate is made", || site.dir.join("ca/reached").exists());
    first.kill().unwrap();
    first.wait().unwrap();
    fs::write(site.dir.join("ca/continue"), "").unwrap();

    let ssldir = site.dir.join("ssl");
    let resumed = run(&mut launch(&site, "web01", &["--resume", "--ssldir", ssldir.to_str().unwrap()]));
    assert_eq!(resumed, "web01\n");
    expect_usable(&ssldir, "web01");
    assert_eq!((site.count("console", "node:add"), site.count("ca", "generate")), (1, 1));
    assert_eq!(site.states().into_keys().collect::<Vec<_>>(), ["web01"]);

    // A node that was launched as something else may be another server's.
    let mut other = client(&site, &["launch", "web01", "--class", "ntp", "--resume"]);
    let output = other.output().unwrap();
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(1), &b""[..]), "{output:?}");
    assert!(says(&output).contains("web01 has other groups, classes or parameters"), "{output:?}");
    // One that is not there yet is added.
    assert_eq!(run(&mut launch(&site, "web02", &["--resume"])), "web02\n");
}

#[test]
fn files_that_cannot_be_opened_leave_no_node() {
    let site = Site::open();
    let file = site.write("file", "");
    let below = format!("{file}/ssl");
    for (option, path) in [("--ssldir", below.as_str()), ("--user-data", "/nonexistent"), ("--ssldir", "/proc")] {
        let output = launch(&site, "web01", &[option, path]).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert!(says(&output).contains(path) && says(&output).lines().count() == 1, "{output:?}");
    }
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let output = launch(&site, "web02", &[]).stdout(full).output().unwrap();
    assert!(
        output.status.code() == Some(1) && says(&output).contains("web02 may be there: the same command"),
        "{output:?}"
    );
    assert_eq!(site.states().into_keys().collect::<Vec<_>>(), ["web02"]);
    assert_eq!(run(&mut launch(&site, "web02", &["--resume"])), "web02\n");
    let output = client(&site, &["classes"]).env("ESPM_TLS_CERT", "/nonexistent.pem").output().unwrap();
    assert!(says(&output).contains("ESPM_TLS_CERT: /nonexistent.pem: No such file"), "{output:?}");
}

#[test]
fn terminate_of_unknown_name_says_so() {
    let site = Site::open();
    site.add("web01");
    for name in ["web10", FOREIGN] {
        let output = client(&site, &["terminate", name]).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        assert!(
            says(&output).contains(&format!("{name}: espm has no such node, so nothing was deleted")),
            "{output:?}"
        );
    }
    let output = client(&site, &["terminate", "web01"]).output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    assert_eq!(site.states().len(), 0);
    site.expect_foreign_untouched();
}

#[test]
fn client_sends_same_name_again_after_502() {
    let site = Site::open();
    site.ask_for_lists();
    site.fault("console", "raise_before_node_add.once", "");
    let output = launch(&site, "web01", &[]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "web01\n", "{output:?}");
    assert!(says(&output).contains("502; the same again in 1 s"), "{output:?}");
    assert_eq!(site.states().into_keys().collect::<Vec<_>>(), ["web01"]);
    // Of a node that espm cannot prove to be its own no second one is made.
    site.fault("console", "raise_after_commit_node_add.once", "");
    let output = launch(&site, "web02", &[]).output().unwrap();
    assert!(output.status.code() == Some(1) && says(&output).contains("look at 'espm nodes'"), "{output:?}");
    assert!(site.espm(&["forget", "web02"]).status.success());
    // The certificate's requests too.
    site.fault("ca", "fail_after_key.once", "");
    let output = launch(&site, "web03", &[]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "web03\n", "{output:?}");
    assert!(says(&output).contains("502; the same again in 1 s"), "{output:?}");
    site.fault("ca", "raise_before_revoke.once", "");
    let output = client(&site, &["terminate", "web03"]).output().unwrap();
    assert!(output.status.success() && says(&output).contains("502; the same again"), "{output:?}");
    assert_eq!(site.states().into_keys().collect::<Vec<_>>(), ["web01"]);
}

#[test]
fn client_that_gives_up_says_how_to_go_on() {
    let site = Site::open();
    let text = fs::read_to_string(example("espm-client")).unwrap();
    let impatient = site.write("impatient", &text.replace("\nPATIENCE = 900\n", "\nPATIENCE = 2\n"));
    fs::set_permissions(&impatient, fs::Permissions::from_mode(0o755)).unwrap();
    site.ask_for_lists();
    for (double, fault, name) in [("console", "raise_before_node_add", "web01"), ("ca", "fail_after_key", "web02")] {
        site.fault(double, fault, "");
        let mut client = launch(&site, name, &[]);
        let mut impatiently = Command::new(&impatient);
        impatiently.args(client.get_args()).envs(client.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let output = impatiently.env_remove("ESPM_PSK_FILE").output().unwrap();
        let said = says(&output);
        assert!(output.status.code() == Some(1) && output.stdout.is_empty(), "{output:?}");
        assert!(said.contains("given up: 502, X-Request-Id "), "{said}");
        let advice = format!("{name} may be there: the same command with --resume and this name goes on");
        assert!(said.contains(&advice), "{said}");
        site.no_faults(double);
        assert_eq!(run(client.arg("--resume")), format!("{name}\n"));
    }
    assert_eq!(site.states().into_keys().collect::<Vec<_>>(), ["web01", "web02"]);
}

#[test]
fn client_prints_every_error_of_refused_request() {
    let site = Site::open();
    let output = client(&site, &["launch", "Web01", "--class", "nothing"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = says(&output);
    assert!(said.contains("espm-client: name: ") && said.contains("espm-client: classes[0]: "), "{said}");
    let output = client(&site, &["classes"]).env("ESPM_PSK", "wrong").output().unwrap();
    assert!(output.status.code() == Some(1) && says(&output).contains("401"), "{output:?}");
    for variable in ["ESPM_URL", "ESPM_TLS_CERT", "ESPM_PSK"] {
        let output = client(&site, &["classes"]).env_remove(variable).output().unwrap();
        assert!(says(&output).contains(&format!("{variable} is not set")), "{output:?}");
    }
}

#[test]
fn client_refuses_another_certificate() {
    let site = Site::open();
    let (pem, key) = (site.dir.join("other.pem"), site.dir.join("other.key"));
    let subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"];
    run(Command::new("openssl")
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"])
        .args(subject)
        .arg("-out")
        .arg(&pem)
        .arg("-keyout")
        .arg(&key));
    let before = site.audit().len();
    let output = client(&site, &["classes"]).env("ESPM_TLS_CERT", &pem).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(says(&output).contains("not the certificate of ESPM_TLS_CERT"), "{output:?}");
    // Neither does it trust those that the system trusts, nor go without TLS.
    let plain =
        client(&site, &["classes"]).env("ESPM_URL", format!("http://localhost:{}", site.port)).output().unwrap();
    assert!(says(&plain).contains("want https://"), "{plain:?}");
    assert_eq!(site.audit().len(), before);
    // Strict verification, which Python 3.13 does, takes espm's certificate too.
    let own = site.dir.join("etc/certs/espm.pem");
    run(Command::new("openssl").args(["verify", "-x509_strict", "-CAfile"]).arg(&own).arg(&own));
}

#[test]
fn client_retries_while_espm_is_busy() {
    let ini = vec![("console", "concurrency = 1"), ("console", "queue = 0")];
    let site = Site::with(Plan { ini, ..Plan::default() });
    site.ask_for_lists();
    site.pause_at("before_node_add");
    let name = thread::scope(|scope| {
        let slow = scope.spawn(|| site.add("slow01"));
        site.wait_for_pause();
        let launched = scope.spawn(|| run(&mut launch(&site, "web01", &[])));
        let busy =
            || site.audit().iter().any(|record| record.contains("node=web01") && record.contains("outcome=busy"));
        wait_until("the client is told to wait", busy);
        site.go_on();
        slow.join().unwrap();
        launched.join().unwrap()
    });
    assert_eq!(name, "web01\n");
    assert_eq!(site.node_in_console("web01"), assigned());
}

#[test]
fn timeout_is_settled_by_next_request_of_client() {
    let site = Site::with(Plan { ini: vec![("console", "timeout = 5")], ..Plan::default() });
    site.ask_for_lists();
    site.fault("console", "hang.once", "");
    let output = thread::scope(|scope| {
        let launched = scope.spawn(|| launch(&site, "web01", &[]).output().unwrap());
        wait_until("rake hangs", || !site.dir.join("console/faults/hang.once").exists());
        // The runs after the one that hangs have time on any machine.
        site.configure("console", "timeout = 120");
        launched.join().unwrap()
    });
    assert_eq!(String::from_utf8_lossy(&output.stdout), "web01\n", "{output:?}");
    assert!(says(&output).contains("504; the same again"), "{output:?}");
    assert_eq!(site.node_in_console("web01"), assigned());
    assert_eq!(site.states().len(), 1);
}

/// Passes connections on, and cuts the first of them when its answer comes: when `answered` holds.
fn cut_first_answer<'scope, 'env>(
    scope: &'scope thread::Scope<'scope, 'env>,
    port: u16,
    done: &'env AtomicBool,
    answered: &'env (impl Fn() -> bool + Sync),
) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let own = listener.local_addr().unwrap().port();
    scope.spawn(move || {
        for (number, client) in listener.incoming().enumerate() {
            if done.load(Ordering::SeqCst) {
                return;
            }
            let (client, server) = (client.unwrap(), TcpStream::connect(("127.0.0.1", port)).unwrap());
            let (from_client, to_server) = (client.try_clone().unwrap(), server.try_clone().unwrap());
            scope.spawn(move || pass_on(from_client, to_server, || false));
            scope.spawn(move || pass_on(server, client, || number == 0 && answered()));
        }
    });
    own
}

fn pass_on(mut from: TcpStream, mut to: TcpStream, cut: impl Fn() -> bool) {
    let mut bytes = [0; 4096];
    while let Ok(length) = from.read(&mut bytes) {
        if length == 0 || cut() || to.write_all(&bytes[..length]).is_err() {
            break;
        }
    }
    for stream in [&from, &to] {
        let _ = stream.shutdown(Shutdown::Both);
    }
}

#[test]
fn lost_answer_makes_no_second_node() {
    let site = Site::open();
    let done = AtomicBool::new(false);
    let there = || !site.node_in_console("web01").is_null();
    let output = thread::scope(|scope| {
        let port = cut_first_answer(scope, site.port, &done, &there);
        let mut client = launch(&site, "web01", &[]);
        let output = client.env("ESPM_URL", format!("https://localhost:{port}")).output().unwrap();
        done.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(("127.0.0.1", port)));
        output
    });
    assert_eq!(String::from_utf8_lossy(&output.stdout), "web01\n", "{output:?}");
    assert!(says(&output).contains("no answer: "), "{output:?}");
    assert_eq!(site.count("console", "node:add"), 1);
    assert_eq!(site.states().into_keys().collect::<Vec<_>>(), ["web01"]);
}

#[test]
fn client_launches_node_with_environment_and_typed_values() {
    let catalogue = "[environments]\nnames = staging\n[classes]\n[class apache::mod::ssl]\nparameters = ports\n";
    let site = Site::without_console(&Plan::default(), catalogue);
    let typed = ["--json", "list=[1, \"2\"]", "--json", "apache::mod::ssl::ports={\"tls\": 443}"];
    let words = [&["launch", "web01", "--class", "apache::mod::ssl", "--environment", "staging"], &typed[..]].concat();
    run(&mut client(&site, &words));
    let node = json!({
        "name": "web01", "groups": [], "classes": ["apache::mod::ssl"], "parameters": {"list": [1, "2"]},
        "environment": "staging", "class_parameters": {"apache::mod::ssl": {"ports": {"tls": 443}}},
    });
    assert_eq!(site.get("/v1/nodes/web01").expect(200).json(), node);
    // The same launch goes on, another one does not.
    run(&mut client(&site, &[&words[..], &["--resume"]].concat()));
    let other = client(&site, &[&words[..4], &["--resume"]].concat()).output().unwrap();
    assert!(!other.status.success() && says(&other).contains("has other groups, classes or parameters"), "{other:?}");
    let bad = client(&site, &["launch", "web02", "--json", "a=[1"]).output().unwrap();
    assert!(!bad.status.success() && says(&bad).contains("a: want JSON"), "{bad:?}");
}
