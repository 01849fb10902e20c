//! The gateway by itself, without a web server before it.

/// Behind each web server (tests/run).
mod every_server {
    mod fastcgi;
    mod lifecycle;
}

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use crate::harness::{Plan, Server, Site};

/// A plan with a gate: under CGI there is none.
fn plan() -> Plan {
    let plan = Plan::default();
    let server = if plan.server == Server::ApacheCgi { Server::Apache } else { plan.server };
    Plan { server, ..plan }
}

/// A record (FastCGI 1.0, section 3.3) of request 1.
fn record(kind: u8, content: &[u8]) -> Vec<u8> {
    let [high, low] = u16::try_from(content.len()).unwrap().to_be_bytes();
    [&[1, kind, 0, 1, high, low, 0, 0], content].concat()
}

fn begin() -> Vec<u8> {
    record(1, &[0, 1, 0, 0, 0, 0, 0, 0])
}

/// Names and values (section 3.4), all with lengths of four bytes.
fn pairs(pairs: &[(&[u8], &[u8])]) -> Vec<u8> {
    let length = |bytes: &[u8]| (u32::try_from(bytes.len()).unwrap() | 1 << 31).to_be_bytes();
    pairs.iter().flat_map(|(name, value)| [&length(name), &length(value), *name, *value].concat()).collect()
}

/// The start of a request and its parameters, their end included.
fn opening(parameters: &[(&[u8], &[u8])]) -> Vec<u8> {
    [begin(), record(4, &pairs(parameters)), record(4, &[])].concat()
}

/// What comes back for these bytes until the gate closes.
fn speak(site: &Site, bytes: &[u8]) -> Vec<u8> {
    let mut socket = UnixStream::connect(site.dir.join("run/espm.sock")).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    // A gate that has heard enough closes early.
    let _ = socket.write_all(bytes).and_then(|()| socket.shutdown(Shutdown::Write));
    let mut answer = Vec::new();
    match socket.read_to_end(&mut answer) {
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => panic!("the gate neither answers nor closes"),
        _ => answer,
    }
}

/// The status in what a handler wrote.
fn status(answer: &[u8]) -> Option<u16> {
    let text = String::from_utf8_lossy(answer);
    text.split_once("Status: ").map(|(_, rest)| rest[..3].parse().unwrap())
}

/// The gate's complaints about connections that did not speak the protocol.
fn dropped(site: &Site) -> usize {
    site.file("gate.err").lines().filter(|line| line.contains("did not speak the protocol")).count()
}
