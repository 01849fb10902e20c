//! The HTTP interface: nodes, lists, retries, the description, the audit, the client.

mod published_nodes;
mod published_values;

use std::path::PathBuf;

use crate::harness::{Plan, Site};

/// A site that publishes nodes, whose check has nothing to leave out.
fn site_of(catalogue: &str) -> Site {
    let site = Site::without_console(&Plan::default(), catalogue);
    site.write("etc/enc.ini", &format!("[enc]\npublished = {}\n", site.dir.join("nodes").display()));
    site
}

/// A node's published file.
fn file(site: &Site, name: &str) -> PathBuf {
    site.dir.join(format!("nodes/{name}.yaml"))
}

/// Behind each web server (tests/run).
mod every_server {
    mod audit;
    mod client;
    mod clients;
    mod openapi;
    mod schemathesis;

    /// With a cold console and with a warm one (tests/run).
    mod every_console {
        mod idempotency_keys;
        mod lists;
        mod nodes;
    }
}
