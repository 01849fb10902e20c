//! `espm check` beside requests: it never alarms about one that is under way.

use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use serde_json::json;

use crate::harness::check::{all_is_well, check};
use crate::harness::{Plan, Site, is_long, run};

/// Adds, changes and deletes nodes with their certificates until it is told to stop; how many.
fn work(site: &Site, client: usize, stop: &AtomicBool) -> usize {
    let mut done = 0;
    while !stop.load(Ordering::SeqCst) {
        let node = format!("web{client}-{done}");
        let path = format!("/v1/nodes/{node}");
        site.post("/v1/nodes", &json!({"name": node, "groups": ["default"], "parameters": {"a": "1"}})).expect(201);
        site.ask("POST", &format!("{path}/certificate"), None, &[]).expect(201);
        site.patch(&path, &json!({"parameters": {"a": "2"}})).expect(200);
        site.delete(&path).expect(204);
        done += 1;
    }
    done
}

#[test]
fn check_on_a_busy_master_has_no_false_alarm() {
    let ini = vec![("console", "concurrency = 2"), ("console", "queue = 1"), ("authority", "queue = 1")];
    let site = Site::with(Plan { ini, ..Plan::default() });
    let (checks, stop) = (if is_long() { 200 } else { 20 }, AtomicBool::new(false));
    thread::scope(|scope| {
        let clients: Vec<_> = (0..2)
            .map(|client| {
                scope.spawn({
                    let (site, stop) = (&site, &stop);
                    move || work(site, client, stop)
                })
            })
            .collect();
        let alarms: Vec<_> = (0..checks).map(|_| check(&site)).filter(|(failed, _)| !failed.is_empty()).collect();
        stop.store(true, Ordering::SeqCst);
        let done: usize = clients.into_iter().map(|client| client.join().unwrap()).sum();
        assert!(alarms.is_empty(), "{} of {checks}: {alarms:?}", alarms.len());
        assert!(done > 2, "the master was not busy: {done}");
    });
}

/// Puts that many nodes into ledger and console alike, or into the ledger alone.
fn fill(site: &Site, count: usize, databases: usize) {
    let numbers = format!("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count})");
    let name = "'web' || i || '.example.com'";
    let assignment = r#"'{"groups":["default"],"classes":[],"parameters":{}}'"#;
    for (database, row) in [
        ("state/ledger.sqlite", format!("node SELECT {name}, 'active', {assignment}, NULL, NULL, 'r', 0, 'cloud'")),
        ("console/console.sqlite3", format!("nodes (name) SELECT {name}")),
    ]
    .into_iter()
    .take(databases)
    {
        let statement = format!("{numbers} INSERT INTO {row} FROM n");
        run(Command::new("sqlite3").arg(site.dir.join(database)).arg(statement));
    }
}

#[test]
fn check_of_100_000_nodes_is_ok() {
    let site = Site::open();
    fill(&site, 100_000, 2);
    all_is_well(&site);
}

#[test]
fn check_takes_no_lock_for_each_node_that_is_not_published() {
    let locks = [10, 200].map(|nodes| {
        let site = Site::without_console(&Plan::default(), "[classes]\nnames = ntp\n");
        fill(&site, nodes, 1);
        let trace = site.dir.join("trace");
        let mut check = Command::new("strace");
        check.args(["-f", "-qq", "-e", "trace=flock", "-o"]).arg(&trace).arg(site.bin("espm"));
        let said = check.arg("-c").arg(site.ini()).arg("check").output().unwrap();
        let missing = format!("{} more", nodes - 20.min(nodes));
        let said = String::from_utf8(said.stdout).unwrap();
        assert!(said.contains("web1.example.com is missing"), "{said}");
        assert!(nodes <= 20 || said.contains(&missing), "{said}");
        std::fs::read_to_string(trace).unwrap().lines().count()
    });
    assert_eq!(locks[0], locks[1]);
}
