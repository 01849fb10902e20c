//! Mad commands: whatever rake or the CA's command says, and however it ends, it is judged by what it
//! has proven, it is reaped, and it leaves neither a process nor a lock behind.

use std::fs;

use serde_json::{Value, json};

use crate::harness::certificates::{serial, valid};
use crate::harness::processes::is_there;
use crate::harness::{Plan, Shop, wait_until};

/// What a command can say that does nothing and ends with success.
const SAYINGS: [&str; 4] = ["nothing", "newlines", "nul", "half"];

fn web01() -> Value {
    json!({"name": "web01", "groups": ["web servers"], "classes": ["apache"], "parameters": {"role": "web"}})
}

fn shop_of(release: &'static str, authority: &'static str) -> Shop {
    let shop = Shop::with(Plan {
        release,
        authority,
        ini: vec![("console", "concurrency = 1"), ("console", "cache = 3600")],
        ..Plan::default()
    });
    shop.ask_for_lists();
    shop
}

/// No process of a command is left, none waits to be reaped, and slot and CA are free.
#[track_caller]
fn expect_nothing_left(shop: &Shop) {
    wait_until("no process is left", || shop.pids("rake").is_empty() && shop.pids("espm-helper").is_empty());
    if shop.server != crate::harness::Server::ApacheCgi {
        let gate = shop.gate_pid();
        // A handler is a child of the thread that serves its connection.
        let tasks = fs::read_dir(format!("/proc/{gate}/task")).unwrap().filter_map(Result::ok);
        for task in tasks {
            let of_task = fs::read_to_string(task.path().join("children")).unwrap_or_default();
            let dead = of_task.split_whitespace().filter(|pid| !is_there(pid.parse().unwrap())).count();
            assert_eq!(dead, 0, "zombies of the gate");
        }
    }
    for lock in ["state/locks/console.0", "state/locks/authority.0", "records/lock"] {
        let path = shop.dir.join(lock);
        if path.exists() {
            let file = fs::File::open(&path).unwrap();
            wait_until("the lock is free", || file.try_lock().is_ok());
        }
    }
}

#[test]
fn rake_with_useless_output_has_done_nothing() {
    let shop = shop_of("1.2.8", "puppet-cert");
    for says in SAYINGS {
        shop.fault("console", "says", says);
        shop.post("/v1/nodes", &web01()).expect(502);
        shop.no_faults("console");
        expect_nothing_left(&shop);
        // What it did is found out, and the name is free.
        shop.post("/v1/nodes", &web01()).expect(201);
        shop.fault("console", "says", says);
        shop.patch("/v1/nodes/web01", &json!({"groups": ["default"]})).expect(502);
        shop.delete("/v1/nodes/web01").expect(502);
        assert!(!shop.desk(&["check", "--settle"]).status.success());
        shop.no_faults("console");
        expect_nothing_left(&shop);
        shop.get("/v1/nodes/web01").expect(200);
        shop.expect_in_console(&web01());
        shop.delete("/v1/nodes/web01").expect(204);
        assert!(shop.node_in_console("web01").is_null(), "{says}");
        assert!(shop.states().is_empty() && shop.proofs() == 0, "{says}");
    }
    shop.expect_foreign_untouched();
}

#[test]
fn colours_and_crlf_in_output_change_no_outcome() {
    for release in ["1.2.8", "3.0"] {
        let shop = shop_of(release, "puppet-cert");
        for fault in ["colours", "crlf"] {
            shop.fault("console", fault, "");
            if fault == "crlf" {
                let fresh = shop.ask("GET", "/v1/groups", None, &["Cache-Control: no-cache"]).json();
                assert_eq!(fresh["groups"].as_array().unwrap().len(), 5, "{fresh}");
            }
            let plain = json!({"name": "web01", "groups": [], "classes": [], "parameters": {"role": "web"}});
            let node = if fault == "crlf" { web01() } else { plain };
            shop.post("/v1/nodes", &node).expect(201);
            shop.expect_in_console(&node);
            shop.post("/v1/nodes", &node).expect(409);
            shop.post("/v1/nodes", &json!({"name": "foreign.example.com"})).expect(409);
            shop.patch("/v1/nodes/web01", &json!({"parameters": {"tier": "x"}})).expect(200);
            shop.delete("/v1/nodes/web01").expect(204);
            assert!(shop.node_in_console("web01").is_null(), "{release} {fault}");
            shop.no_faults("console");
            expect_nothing_left(&shop);
        }
        assert!(shop.states().is_empty() && shop.proofs() == 0);
        shop.expect_foreign_untouched();
    }
}

#[test]
fn hung_flooding_or_forking_rake_frees_its_slot() {
    let shop = shop_of("1.2.8", "puppet-cert");
    for (fault, text, status) in
        [("hang", "", 504), ("flood", "", 502), ("fork_child", "", 201), ("fork_child", "group", 201)]
    {
        shop.configure("console", if fault == "hang" { "timeout = 1" } else { "timeout = 120" });
        shop.fault("console", &format!("{fault}.once"), text);
        shop.post("/v1/nodes", &web01()).expect(status);
        shop.no_faults("console");
        shop.configure("console", "timeout = 120");
        expect_nothing_left(&shop);
        if status != 201 {
            shop.post("/v1/nodes", &web01()).expect(201);
        }
        shop.delete("/v1/nodes/web01").expect(204);
    }
    // 8 MiB and not the gibibyte.
    assert!(shop.states().is_empty() && shop.proofs() == 0);
}

#[test]
fn ca_command_is_judged_by_its_files_not_by_its_output() {
    for authority in ["puppet-cert", "puppetserver-ca"] {
        let shop = shop_of("1.2.8", authority);
        shop.add("web01");
        let certificate = "/v1/nodes/web01/certificate";
        let generate = || shop.ask("POST", certificate, None, &[]);
        for says in SAYINGS {
            shop.fault("ca", "says", says);
            generate().expect(502);
            assert!(shop.unfinished().is_empty() && valid(&shop).is_empty(), "{says}");
            shop.no_faults("ca");
            let made = generate();
            made.expect(201);
            shop.fault("ca", "says", says);
            shop.delete(certificate).expect(502);
            assert_eq!(valid(&shop), [serial(&made)].into(), "{says}");
            shop.no_faults("ca");
            shop.delete(certificate).expect(204);
            assert!(valid(&shop).is_empty());
            expect_nothing_left(&shop);
        }
        for (fault, text) in [("colours", ""), ("crlf", ""), ("fork_child", ""), ("fork_child", "group")] {
            shop.fault("ca", fault, text);
            generate().expect(201);
            generate().expect(200);
            shop.delete(certificate).expect(204);
            assert!(valid(&shop).is_empty(), "{fault}");
            shop.no_faults("ca");
            expect_nothing_left(&shop);
        }
    }
}
