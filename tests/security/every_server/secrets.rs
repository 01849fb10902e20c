//! Places where a key or a value must not be, what a refusal must not tell, and what a record must not
//! hold.
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

use crate::harness::audit::check_records;
use crate::harness::raw_http::{Traces, judge, primed, wire};
use crate::harness::{Answer, Server, Site, as_user};

/// The processes whose file in /proc holds a text.
fn holders(file: &str, text: &str) -> Vec<u32> {
    let processes =
        fs::read_dir("/proc").unwrap().filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
    processes
        .filter(|pid: &u32| {
            let content = fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
            String::from_utf8_lossy(&content).contains(text)
        })
        .collect()
}

/// The files below a directory that hold a text.
fn files_with(dir: &Path, text: &str) -> Vec<PathBuf> {
    let mut found = vec![];
    for entry in fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            found.extend(files_with(&entry.path(), text));
        } else if entry.file_type().unwrap().is_file() {
            let content = fs::read(entry.path()).unwrap();
            if content.windows(text.len()).any(|window| window == text.as_bytes()) {
                found.push(entry.path());
            }
        }
    }
    found
}

/// No core file, and nothing of its memory or environment for processes of the same user.
fn check_private(pid: u32) {
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().skip(4).take(2).collect::<Vec<_>>(), ["0", "0"], "{limits}");
    for file in ["environ", "mem"] {
        let path = format!("/proc/{pid}/{file}");
        assert_eq!(fs::metadata(&path).unwrap().uid(), 0, "{path}");
        let read = as_user("head").args(["-c", "1", &path]).output().unwrap();
        assert!(String::from_utf8_lossy(&read.stderr).contains("Permission denied"), "{path}: {read:?}");
    }
}

#[test]
fn psk_is_in_environment_of_handler_alone_and_in_no_argv() {
    let site = Site::open();
    let body = json!({"name": "web01.example.com", "groups": ["default"]});
    let look = || {
        assert_eq!(holders("cmdline", &site.psk), [] as [u32; 0]);
        let handlers = holders("environ", &site.psk);
        assert_eq!(handlers.len(), 1, "{handlers:?}");
        let link = fs::read_link(format!("/proc/{}/exe", handlers[0])).unwrap();
        assert_eq!(link.file_name(), site.bin("espm").file_name());
        check_private(handlers[0]);
        if site.server != Server::ApacheCgi {
            check_private(site.gateway_pid());
        }
        let mut helpers = holders("cmdline", &site.ini().display().to_string());
        let helper = holders("cmdline", "espm-helper");
        helpers.retain(|pid| helper.contains(pid));
        assert_eq!(helpers.len(), 1, "{helpers:?}");
        check_private(helpers[0]);
    };
    site.paused("before_node_add", || site.post("/v1/nodes", &body), look).expect(201);
    for run in site.runs("console") {
        assert!(!run.to_string().contains(&site.psk), "{run}");
    }
}

#[test]
fn no_file_holds_psk_and_no_log_private_key_or_value() {
    let site = Site::open();
    let (value, wrong) = ("a-value-that-nobody-else-has", "wrong-key-WRONG-KEY-wrong-key-WRONG-KEY-wrong-ke");
    let body = json!({"name": "web01.example.com", "groups": ["default"], "parameters": {"role": value}});
    site.post("/v1/nodes", &body).expect(201);
    let certificate = site.ask("POST", "/v1/nodes/web01.example.com/certificate", None, &[]);
    let private_key = certificate.expect(201).json()["private_key"].as_str().unwrap().to_owned();
    let line_of_key = private_key.lines().nth(3).unwrap().to_owned();
    site.patch("/v1/nodes/web01.example.com", &json!({"parameters": {"role": format!("{value}2")}})).expect(200);
    site.post("/v1/nodes", &json!({"name": "web02", "parameters": {"role": format!("{value},")}})).expect(422);
    site.fault("console", "abort", "once");
    site.post("/v1/nodes", &json!({"name": "web02"})).expect(502);
    // Requests that web servers refuse by themselves, and may write to their logs.
    for psk in [site.psk.as_str(), wrong] {
        let header = format!("X-ESPM-PSK: {psk}");
        site.ask("GET", "/v1/groups", None, &[&header]);
        for bad in [
            format!("GET /v1/groups HTTP/1.1\r\nHost: localhost\r\n{header}\r\n{header}\0\r\n\r\n"),
            format!(
                "GET /v1/groups HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{header}{}\r\n\r\n",
                "k".repeat(20_000)
            ),
            format!(
                "GET /v1/groups HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{header}\r\n folded: {psk}\r\n\r\n"
            ),
            format!("GET /v1/groups HTTP/1.1\r\nConnection: close\r\n{header}\r\n\r\n"),
            format!("POST /v1/nodes HTTP/1.1\r\nHost: localhost\r\n{header}\r\nContent-Length: x\r\n\r\n"),
        ] {
            // Apache joins a folded line to the key.
            let folded = bad.contains("folded") && site.server != Server::Nginx;
            assert_eq!(site.raw_status(bad.as_bytes()), Some(if folded { 401 } else { 400 }), "{bad}");
        }
    }
    site.delete("/v1/nodes/web01.example.com").expect(204);
    let audit = site.audit().join("\n");
    for key in [site.psk.as_str(), wrong] {
        assert_eq!(files_with(&site.dir, key), [] as [PathBuf; 0]);
        assert!(!audit.contains(key));
    }
    let in_logs = |text: &str| {
        let console = [site.dir.join("console"), site.dir.join("ca"), site.dir.join("state")];
        let files = files_with(&site.dir, text);
        files.into_iter().filter(|file| !console.iter().any(|dir| file.starts_with(dir))).collect::<Vec<_>>()
    };
    for secret in [value, line_of_key.as_str()] {
        assert_eq!(in_logs(secret), [] as [PathBuf; 0]);
        assert!(!audit.contains(secret), "{audit}");
    }
    // The same look finds what is there: the name is in the audit, the digest in the configuration.
    assert!(audit.contains("web01.example.com") && audit.contains("role"));
    assert_eq!(files_with(&site.dir, "sha256:"), [site.ini()]);
    assert_eq!(files_with(&site.dir.join("state"), &line_of_key), [] as [PathBuf; 0]);
}

#[test]
fn client_and_console_cannot_forge_audit_record() {
    let site = Site::open();
    let forged = "x\" event=node.add outcome=created request=1";
    site.rake(&["nodegroup:add", &format!("name={forged}")]);
    site.rake(&["nodegroup:add", "name=ev\\il \" event=x"]);
    let name = format!("{forged}\n<85>Nov 24 00:00:00 espm[1]: event=node.add");
    let id = |text: &str| format!("Idempotency-Key: {text}");
    let plain = r#"{"name":"web02","groups":["no such"]}"#;
    let answers = [
        site.post("/v1/nodes", &json!({"name": "web01", "groups": [forged, "ev\\il \" event=x"]})),
        site.post("/v1/nodes", &json!({"name": name, "groups": [name], "parameters": {name.clone(): name}})),
        site.ask("POST", "/v1/nodes", Some(plain), &[&id("x\"event=node.add")]),
        site.ask("POST", "/v1/nodes", Some(plain), &[&id("x\" event=node.add")]),
        site.ask("POST", "/v1/nodes", Some(plain), &["X-Forwarded-For: x\" event=node.add", "X-Request-Id: forged"]),
        site.ask("GET", "/v1/nodes/x\"%20event=node.add%0aevent=node.add", None, &[]),
        site.ask("EVENT=NODE.ADD", "/v1/groups", None, &[]),
        site.ask("DELETE", &format!("/v1/nodes/{}", "a.".repeat(1000)), None, &[]),
    ];
    let statuses: Vec<_> = answers.iter().map(|answer| answer.status).collect();
    assert_eq!(statuses[..7], [201, 422, 422, 400, 422, 404, 400]);
    site.fault("console", "garbage", "");
    site.fault("console", "abort", "");
    let failed = site.post("/v1/nodes", &json!({"name": "web03", "parameters": {"role": "x\" event=node.add"}}));
    assert_eq!(failed.expect(502).problem(), "command-failed");
    let records = site.records_of(&failed);
    assert!(records.iter().any(|record| record.contains("outcome=cause")), "{records:?}");
    check_records(&site.audit());
}

/// An answer without what differs from one request to the next.
fn lasting(answer: &Answer) -> (u16, BTreeMap<String, String>, String) {
    let mut headers = answer.headers.clone();
    for name in ["x-request-id", "date"] {
        assert!(headers.remove(name).is_some(), "{name}: {answer:?}");
    }
    // Apache frames a CGI program's answer by whether its end has come yet when the head is sent.
    for name in ["content-length", "transfer-encoding"] {
        headers.remove(name);
    }
    (answer.status, headers, answer.body.clone())
}

#[test]
fn every_wrong_key_gets_the_same_401() {
    let site = primed();
    let before = Traces::of(&site);
    let psk = &site.psk;
    let digest =
        site.file("etc/espm.ini").lines().find_map(|line| line.split_once("sha256:").map(|(_, hex)| hex.to_owned()));
    let digest = digest.unwrap();
    let refused = site.ask("GET", "/v1/groups", None, &["X-ESPM-PSK;"]);
    assert_eq!(refused.expect(401).problem(), "unauthorized");
    assert_eq!(refused.header("www-authenticate"), "ESPM-PSK");
    assert_eq!(refused.header("cache-control"), "no-store");
    let wrong = [
        "X-ESPM-PSK: wrong".to_owned(),
        "x-espm-psk: wrong".to_owned(),
        "X-ESPM-PSK:".to_owned(),
        format!("X-ESPM-PSK: {}", psk.to_lowercase()),
        format!("X-ESPM-PSK: {}", &psk[..47]),
        format!("X-ESPM-PSK: {psk}x"),
        format!("X-ESPM-PSK: \"{psk}\""),
        format!("X-ESPM-PSK: {psk},{psk}"),
        format!("X-ESPM-PSK: ESPM-PSK {psk}"),
        format!("X-ESPM-PSK: {digest}"),
        format!("X-ESPM-PSK: sha256:{digest}"),
        format!("X-ESPM-PSK: {}", "k".repeat(3 * 1024)),
        "X-ESPM-PSK: \u{fc}\u{20ac}".to_owned(),
        format!("X-ESPM-PSK;\nX_ESPM_PSK: {psk}"),
        format!("X-ESPM-PSK;\nAuthorization: ESPM-PSK {psk}"),
        format!("X-ESPM-PSK;\nHTTP-X-ESPM-PSK: {psk}"),
    ];
    let body = Some(r#"{"name":"web01.example.com"}"#);
    for (method, path, body) in [
        ("GET", "/v1/groups", None),
        ("POST", "/v1/nodes", body),
        ("POST", "/v1/nodes", Some("{")),
        ("DELETE", "/v1/nodes/foreign.example.com", None),
        ("BREW", "/v1/nodes", None),
        ("GET", "/elsewhere", None),
    ] {
        for header in &wrong {
            let headers: Vec<_> = header.split('\n').collect();
            let answer = site.ask(method, path, body, &headers);
            assert_eq!(lasting(&answer), lasting(&refused), "{method} {path} {header}");
        }
    }
    assert_eq!(Traces::of(&site), before);
    // Names of headers have no case.
    site.ask("GET", "/v1/groups", None, &[&format!("x-espm-psk: {psk}")]).expect(200);
}

#[test]
fn two_psk_headers_or_one_of_8_kib_are_refused() {
    let site = primed();
    let right = format!("X-ESPM-PSK: {}", site.psk);
    let long = format!("X-ESPM-PSK: {}", "k".repeat(8 * 1024));
    let ask = |fields: &[&str]| {
        wire(&site, "GET /v1/groups", &fields.iter().map(|field| field.as_bytes()).collect::<Vec<_>>(), b"")
    };
    let none = "401 unauthorized";
    // nginx before 1.23 hands over the first of equal headers alone; what comes later joins them, as Apache does.
    let first = if site.server == Server::Nginx && nginx_hides_second() { "200 espm" } else { none };
    judge(
        &site,
        &[
            ("the right one first", ask(&[&right, "X-ESPM-PSK: wrong"]), first),
            ("the right one last", ask(&["X-ESPM-PSK: wrong", &right]), none),
            ("an empty one first", ask(&["X-ESPM-PSK:", &right]), none),
            ("the right one twice", ask(&[&right, &right]), first),
            ("eight KiB", ask(&[&long]), "400 server"),
        ],
    );
}

fn nginx_hides_second() -> bool {
    let version = Command::new("nginx").arg("-v").output().unwrap().stderr;
    let version = String::from_utf8(version).unwrap();
    let minor = version.split('.').nth(1).unwrap().parse::<u32>().unwrap();
    version.contains("nginx/1.") && minor < 23
}

#[test]
fn foreign_node_is_indistinguishable_from_absent_one() {
    let site = primed();
    let before = Traces::of(&site);
    let absent = lasting(&site.get("/v1/nodes/absent.example.com"));
    assert_eq!((absent.0, absent.2.contains("urn:espm:problem:not-found")), (404, true));
    let long = "a".repeat(65);
    let names = [
        "foreign.example.com",
        "absent.example.com",
        "master.example.com",
        "Foreign.example.com",
        "-a",
        "ca",
        "0x1f",
        &long,
    ];
    let json = ["Content-Type: application/json"];
    let large = " ".repeat(70_000);
    let changes: [(Option<&str>, &[&str]); 7] = [
        (Some("{}"), &json),
        (Some(r#"{"groups":["default"]}"#), &json),
        (Some("{\"groups\":"), &json),
        (Some(r#"{"name":1,"groups":[1],"x":2}"#), &json),
        (Some("groups=default"), &["Content-Type: text/plain"]),
        (Some(&large), &json),
        (None, &[]),
    ];
    for name in names {
        let (node, certificate) = (format!("/v1/nodes/{name}"), format!("/v1/nodes/{name}/certificate"));
        for (body, headers) in changes {
            for (method, path) in [("PATCH", &node), ("DELETE", &node), ("POST", &certificate)] {
                assert_eq!(lasting(&site.ask(method, path, body, headers)), absent, "{method} {path} {body:?}");
            }
        }
        for (method, path) in [("GET", &node), ("GET", &certificate), ("DELETE", &certificate)] {
            assert_eq!(lasting(&site.ask(method, path, None, &[])), absent, "{method} {path}");
        }
        for path in [&node, &certificate] {
            let head = lasting(&site.ask("HEAD", path, None, &[]));
            assert_eq!((head.0, head.2.as_str()), (404, ""), "HEAD {path}");
        }
    }
    for name in &names[..3] {
        let put = lasting(&site.ask("PUT", &format!("/v1/nodes/{name}"), None, &[]));
        assert_eq!(put, lasting(&site.ask("PUT", "/v1/nodes/absent.example.com", None, &[])), "{name}");
        assert_eq!(put.0, 405);
    }
    assert_eq!(Traces::of(&site), before);
}
