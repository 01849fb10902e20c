//! Requests as bytes, and what the answers to them have to be.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::harness::{Answer, Server, Site};

/// What would differ if something had been run or remembered.
#[derive(Debug, PartialEq)]
pub struct Traces {
    runs: [usize; 2],
    console: Value,
    ledger: String,
}

impl Traces {
    pub fn of(site: &Site) -> Self {
        let ledger = site.espm(&["nodes"]);
        assert!(ledger.status.success(), "{ledger:?}");
        Self {
            runs: ["console", "ca"].map(|double| site.runs(double).len()),
            console: site.console(),
            ledger: String::from_utf8(ledger.stdout).unwrap(),
        }
    }

    /// What lasts, without the runs that only looked.
    pub fn lasting(&self) -> (&Value, &str) {
        (&self.console, &self.ledger)
    }
}

/// A site whose console has told its names, so that a refusal has no reason to ask it again.
pub fn primed() -> Site {
    let site = Site::open();
    site.ask_for_lists();
    site
}

/// A request as it goes over the wire: a target without a key of its own gets the right one.
pub fn wire(site: &Site, line: &str, fields: &[&[u8]], body: &[u8]) -> Vec<u8> {
    let mut bytes = format!("{line} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n").into_bytes();
    if !fields.iter().any(|field| field.to_ascii_lowercase().starts_with(b"x-espm-psk")) {
        bytes.extend_from_slice(format!("X-ESPM-PSK: {}\r\n", site.psk).as_bytes());
    }
    for field in fields {
        bytes.extend_from_slice(field);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"\r\n");
    bytes.extend_from_slice(body);
    bytes
}

pub fn parsed(bytes: &[u8]) -> Option<Answer> {
    let text = String::from_utf8_lossy(bytes);
    let (head, body) = text.split_once("\r\n\r\n")?;
    let mut lines = head.lines();
    let status = lines.next()?.split_whitespace().nth(1)?.parse().ok()?;
    let fields = lines.filter_map(|line| line.split_once(':'));
    let headers: BTreeMap<String, String> =
        fields.map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned())).collect();
    Some(Answer { status, headers, body: body.to_owned() })
}

/// An answer in two words: the status, and `espm`'s problem, `espm` itself or the web `server`.
pub fn verdict(answer: Option<&Answer>) -> String {
    let Some(Answer { status, headers, body }) = answer else { return "no answer".to_owned() };
    assert!(!headers.contains_key("x-injected") && !headers.contains_key("set-cookie"), "{answer:?}");
    let server = headers.get("server").map_or("", String::as_str);
    assert!(!server.contains(|c: char| c.is_ascii_digit()), "the server tells its version: {answer:?}");
    if !headers.contains_key("x-request-id") {
        assert!(!body.contains("nginx/") && !body.contains("Apache/"), "the page tells a version: {body}");
        return format!("{status} server");
    }
    match body.split_once("urn:espm:problem:").and_then(|(_, rest)| rest.split('"').next()) {
        Some(word) => format!("{status} {word}"),
        None => format!("{status} espm"),
    }
}

/// What the chosen web server leads to: nginx, Apache with FastCGI, Apache with CGI.
pub fn by(site: &Site, nginx: &'static str, apache: &'static str, cgi: &'static str) -> &'static str {
    match site.server {
        Server::Nginx => nginx,
        Server::Apache => apache,
        Server::ApacheCgi => cgi,
    }
}

/// Sends each request and compares all verdicts at once; nothing may have been run or changed.
#[track_caller]
pub fn judge(site: &Site, cases: &[(&str, Vec<u8>, &str)]) {
    let before = Traces::of(site);
    let differ = cases.iter().filter_map(|(what, bytes, want)| {
        let got = verdict(parsed(&site.raw(bytes)).as_ref());
        (got != *want).then(|| format!("{what}: want {want}, got {got}"))
    });
    let differ: Vec<_> = differ.collect();
    assert!(differ.is_empty(), "{differ:#?}");
    assert_eq!(Traces::of(site), before);
    site.get("/v1/groups").expect(200);
}
