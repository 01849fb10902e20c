//! Commands with useless, coloured or no output: only what they prove counts, they are reaped, and neither a
//! process nor a lock is left.

use std::fs;

use serde_json::{Value, json};

use crate::harness::certificates::{serial, valid};
use crate::harness::processes::is_there;
use crate::harness::{Plan, Site, wait_until};

/// What a command can say that does nothing and ends with success.
const SAYINGS: [&str; 4] = ["nothing", "newlines", "nul", "half"];

fn web01() -> Value {
    json!({"name": "web01", "groups": ["web servers"], "classes": ["apache"], "parameters": {"role": "web"}})
}

fn site_of(release: &'static str, authority: &'static str) -> Site {
    let site = Site::with(Plan {
        release,
        authority,
        ini: vec![("console", "concurrency = 1"), ("console", "cache = 3600")],
        ..Plan::default()
    });
    site.ask_for_lists();
    site
}

/// No process of a command is left, none waits to be reaped, and slot and CA are free.
#[track_caller]
fn expect_nothing_left(site: &Site) {
    wait_until("no process is left", || site.pids("rake").is_empty() && site.pids("espm-helper").is_empty());
    if site.server != crate::harness::Server::ApacheCgi {
        let gate = site.gateway_pid();
        // A handler is a child of the thread that serves its connection.
        let tasks = fs::read_dir(format!("/proc/{gate}/task")).unwrap().filter_map(Result::ok);
        for task in tasks {
            let of_task = fs::read_to_string(task.path().join("children")).unwrap_or_default();
            let dead = of_task.split_whitespace().filter(|pid| !is_there(pid.parse().unwrap())).count();
            assert_eq!(dead, 0, "zombies of the gate");
        }
    }
    for lock in ["state/locks/console.0", "state/locks/authority.0", "records/lock"] {
        let path = site.dir.join(lock);
        if path.exists() {
            let file = fs::File::open(&path).unwrap();
            wait_until("the lock is free", || file.try_lock().is_ok());
        }
    }
}

#[test]
fn rake_with_useless_output_has_done_nothing() {
    let site = site_of("1.2.8", "puppet-cert");
    for says in SAYINGS {
        site.fault("console", "says", says);
        site.post("/v1/nodes", &web01()).expect(502);
        site.no_faults("console");
        expect_nothing_left(&site);
        // What it did is found out, and the name is free.
        site.post("/v1/nodes", &web01()).expect(201);
        site.fault("console", "says", says);
        site.patch("/v1/nodes/web01", &json!({"groups": ["default"]})).expect(502);
        site.delete("/v1/nodes/web01").expect(502);
        assert!(!site.espm(&["check", "--settle"]).status.success());
        site.no_faults("console");
        expect_nothing_left(&site);
        site.get("/v1/nodes/web01").expect(200);
        site.expect_in_console(&web01());
        site.delete("/v1/nodes/web01").expect(204);
        assert!(site.node_in_console("web01").is_null(), "{says}");
        assert!(site.states().is_empty() && site.proofs() == 0, "{says}");
    }
    site.expect_foreign_untouched();
}

#[test]
fn colours_and_crlf_in_output_change_no_outcome() {
    for release in ["1.2.8", "3.0"] {
        let site = site_of(release, "puppet-cert");
        for fault in ["colours", "crlf"] {
            site.fault("console", fault, "");
            if fault == "crlf" {
                let fresh = site.ask("GET", "/v1/groups", None, &["Cache-Control: no-cache"]).json();
                assert_eq!(fresh["groups"].as_array().unwrap().len(), 5, "{fresh}");
            }
            let plain = json!({"name": "web01", "groups": [], "classes": [], "parameters": {"role": "web"}});
            let node = if fault == "crlf" { web01() } else { plain };
            site.post("/v1/nodes", &node).expect(201);
            site.expect_in_console(&node);
            site.post("/v1/nodes", &node).expect(409);
            site.post("/v1/nodes", &json!({"name": "foreign.example.com"})).expect(409);
            site.patch("/v1/nodes/web01", &json!({"parameters": {"tier": "x"}})).expect(200);
            site.delete("/v1/nodes/web01").expect(204);
            assert!(site.node_in_console("web01").is_null(), "{release} {fault}");
            site.no_faults("console");
            expect_nothing_left(&site);
        }
        assert!(site.states().is_empty() && site.proofs() == 0);
        site.expect_foreign_untouched();
    }
}

#[test]
fn hung_flooding_or_forking_rake_frees_its_slot() {
    let site = site_of("1.2.8", "puppet-cert");
    for (fault, text, status) in
        [("hang", "", 504), ("flood", "", 502), ("fork_child", "", 201), ("fork_child", "group", 201)]
    {
        site.configure("console", if fault == "hang" { "timeout = 1" } else { "timeout = 120" });
        site.fault("console", &format!("{fault}.once"), text);
        site.post("/v1/nodes", &web01()).expect(status);
        site.no_faults("console");
        site.configure("console", "timeout = 120");
        expect_nothing_left(&site);
        if status != 201 {
            site.post("/v1/nodes", &web01()).expect(201);
        }
        site.delete("/v1/nodes/web01").expect(204);
    }
    // 8 MiB and not the gibibyte.
    assert!(site.states().is_empty() && site.proofs() == 0);
}

#[test]
fn ca_command_is_judged_by_its_files_not_by_its_output() {
    for authority in ["puppet-cert", "puppetserver-ca"] {
        let site = site_of("1.2.8", authority);
        site.add("web01");
        let certificate = "/v1/nodes/web01/certificate";
        let generate = || site.ask("POST", certificate, None, &[]);
        for says in SAYINGS {
            site.fault("ca", "says", says);
            generate().expect(502);
            assert!(site.unfinished().is_empty() && valid(&site).is_empty(), "{says}");
            site.no_faults("ca");
            let made = generate();
            made.expect(201);
            site.fault("ca", "says", says);
            site.delete(certificate).expect(502);
            assert_eq!(valid(&site), [serial(&made)].into(), "{says}");
            site.no_faults("ca");
            site.delete(certificate).expect(204);
            assert!(valid(&site).is_empty());
            expect_nothing_left(&site);
        }
        for (fault, text) in [("colours", ""), ("crlf", ""), ("fork_child", ""), ("fork_child", "group")] {
            site.fault("ca", fault, text);
            generate().expect(201);
            generate().expect(200);
            site.delete(certificate).expect(204);
            assert!(valid(&site).is_empty(), "{fault}");
            site.no_faults("ca");
            expect_nothing_left(&site);
        }
    }
}
