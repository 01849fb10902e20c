//! Requests that read the CA's files: a few at once.

use std::fs::File;

use crate::harness::concurrency::expect_busy;
use crate::harness::{Plan, Site};

#[test]
fn fifth_reader_of_ca_waits_or_is_503() {
    let ini = vec![("authority", "queue = 0"), ("authority", "queue_timeout = 1")];
    let site = Site::with(Plan { ini, ..Plan::default() });
    site.add("web01");
    let path = "/v1/nodes/web01/certificate";
    site.ask("POST", path, None, &[]).expect(201);
    site.get(path).expect(200);
    let held: Vec<File> = (0..4)
        .map(|number| {
            let permit = site.append(&format!("state/locks/authority-read.{number}"));
            permit.lock().unwrap();
            permit
        })
        .collect();
    expect_busy(&site.get(path));
    // A queue that is open is waited in, here in vain.
    site.configure("authority", "queue = 1");
    expect_busy(&site.get(path));
    // Changes wait elsewhere.
    site.ask("POST", path, None, &[]).expect(200);
    drop(held);
    site.get(path).expect(200);
}
