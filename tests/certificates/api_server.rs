//! The stand-in of the CA's HTTP API.

use std::path::Path;
use std::process::Command;

use crate::harness::{Site, run};

#[test]
fn stand_in_answers_as_real_server_did() {
    let mut site = Site::ca_server_alone();
    let port = site.ca_server().port().to_string();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/authority/exchanges");
    let printed = run(Command::new(script).arg(port).arg(site.dir.join("ca/ssl")).arg("master.example.com"));
    assert!(printed.lines().filter(|line| line.starts_with("ok ")).count() > 80, "{printed}");
}
