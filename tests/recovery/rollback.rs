//! Commands that were never begun change nothing, and a rollback that was cut off is taken up again.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use serde_json::json;

use crate::harness::processes::is_there;
use crate::harness::worker::Temperature;
use crate::harness::{Answer, Plan, Site, node, wait_until};

fn site_of(release: &'static str) -> Site {
    // A worker is asked by espm itself, and refuses nothing.
    let site = Site::with(Plan { release, console: Temperature::Cold, ..Plan::default() });
    site.ask_for_lists();
    site
}

fn add(site: &Site) -> Answer {
    site.post("/v1/nodes", &node("web01"))
}

fn rebuild(site: &Site) -> Answer {
    site.patch("/v1/nodes/web01", &json!({"groups": ["databases"]}))
}

fn delete(site: &Site) -> Answer {
    site.delete("/v1/nodes/web01")
}

fn state(site: &Site) -> Option<String> {
    site.states().remove("web01")
}

/// Has espm-helper refuse a task, as it does when it cannot trust its configuration.
fn refuse(site: &Site, task: &str) {
    let real = site.bin("espm-helper").display().to_string();
    let script = format!(
        "#!/bin/sh\n\
         [ \"$1\" = console ] || exec {real} \"$@\"\n\
         case $(cat) in *'\"task\":\"'{task}'\"'*) exit 78 ;; esac\n\
         exec {real} \"$@\" </proc/self/fd/0\n"
    );
    let path = site.write("refusing-helper", &script);
    fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
    site.configure("espm", &format!("helper = {path}"));
}

fn refuse_nothing(site: &Site) {
    site.configure("espm", &format!("helper = {}", site.bin("espm-helper").display()));
}

#[test]
fn command_refused_before_start_changes_nothing() {
    let site = site_of("1.2.8");
    refuse(&site, "add");
    assert_eq!(add(&site).expect(502).problem(), "command-failed");
    assert_eq!((site.states().len(), site.proofs()), (0, 0));
    refuse_nothing(&site);
    add(&site).expect(201);
    let before = site.console();
    for (task, ask) in [("rebuild", rebuild as fn(&Site) -> Answer), ("delete", delete)] {
        refuse(&site, task);
        assert_eq!(ask(&site).expect(502).problem(), "command-failed", "{task}");
        assert_eq!((state(&site).as_deref(), site.proofs()), (Some("active"), 0), "{task}");
        refuse_nothing(&site);
        assert_eq!(site.get("/v1/nodes/web01").expect(200).json(), node("web01"), "{task}");
        assert_eq!(site.console(), before, "{task}");
    }
    rebuild(&site).expect(200);
    delete(&site).expect(204);
}

/// A handler and its rake are killed when the node is made and not more.
fn die_half_way(site: &Site) {
    site.stopped_at(
        "after_node_add",
        || add(site),
        || {
            site.kill_one("espm");
            let rakes = site.pids("rake");
            site.signal("-9", "rake");
            wait_until("rake is gone", || rakes.iter().all(|pid| !is_there(*pid)));
        },
    )
    .expect(500);
}

#[test]
fn node_whose_rollback_never_began_is_rolled_back_by_next_request() {
    let site = site_of("1.2.8");
    let lost = |site: &Site| {
        site.fault("console", "vanish_class.once", "apache");
        let with_apache = json!({"name": "web01", "classes": ["ntp", "apache"]});
        site.post("/v1/nodes", &with_apache).expect(502);
    };
    let partly = |site: &Site| {
        site.fault("console", "exit.once", "1");
        add(site).expect(502);
    };
    let killed = |site: &Site| {
        refuse_nothing(site);
        die_half_way(site);
        refuse(site, "delete");
        add(site).expect(502);
    };
    for (way, begin) in [("lost", &lost as &dyn Fn(&Site)), ("partly", &partly), ("killed", &killed)] {
        refuse(&site, "delete");
        begin(&site);
        // Nor does another attempt that is not begun make it one.
        for _ in 0..2 {
            assert_eq!(state(&site).as_deref(), Some("deleting"), "{way}");
            assert!(!site.node_in_console("web01").is_null(), "{way}");
            add(&site).expect(502);
        }
        refuse_nothing(&site);
        add(&site).expect(201);
        site.expect_in_console(&node("web01"));
        delete(&site).expect(204);
    }
    assert_eq!((site.states().len(), site.proofs()), (0, 0));
    site.expect_foreign_untouched();
}

#[test]
fn change_rolled_back_by_rebuild_that_dies_loses_no_node() {
    // Where a parameter is added in place and can only be taken away with the node.
    let site = site_of("1.2.23");
    add(&site).expect(201);
    site.fault("console", "vanish_class.once", "apache");
    site.fault("console", "die_after_node_del", "once");
    let change = json!({"classes": ["apache"], "parameters": {"zone": "x"}});
    site.patch("/v1/nodes/web01", &change).expect(502);
    assert!(site.node_in_console("web01").is_null());
    // To look at it is enough.
    assert_eq!(site.get("/v1/nodes/web01").expect(200).json(), node("web01"));
    site.expect_in_console(&node("web01"));
    assert_eq!((state(&site).as_deref(), site.proofs()), (Some("active"), 0));
}

#[test]
fn change_with_lost_proof_leaves_node_unproven() {
    let site = site_of("1.2.8");
    add(&site).expect(201);
    site.fault("console", "die_before_node_groups", "once");
    rebuild(&site).expect(502);
    for proof in fs::read_dir(site.dir.join("state/proofs")).unwrap() {
        fs::remove_file(proof.unwrap().path()).unwrap();
    }
    // Nothing tells that the node was not deleted, and made again by another.
    rebuild(&site).expect(404);
    assert_eq!(state(&site).as_deref(), Some("unproven"));
    assert!(site.espm(&["adopt", "web01"]).status.success());
    rebuild(&site).expect(200);
    assert_eq!(site.node_in_console("web01")["groups"], json!(["databases"]));
}

/// The handler is killed while its rake runs, which finishes.
fn killed_and_done(site: &Site, point: &str, ask: impl FnOnce() -> Answer + Send) {
    site.stopped_at(point, ask, || site.kill_one("espm")).expect(500);
    site.go_on();
}

#[test]
fn node_deleted_by_hand_after_handler_of_rebuild_died_is_added_again() {
    let site = site_of("1.2.8");
    add(&site).expect(201);
    killed_and_done(&site, "after_node_del", || rebuild(&site));
    site.rake(&["node:del", "name=web01"]);
    // While the change is open, its own deletion may be what is seen.
    assert_eq!(site.get("/v1/nodes/web01").expect(200).json()["groups"], json!(["databases"]));
    assert_eq!(state(&site).as_deref(), Some("active"));
}

#[test]
fn name_added_by_hand_after_proven_deletion_is_409() {
    let site = site_of("1.2.8");
    add(&site).expect(201);
    killed_and_done(&site, "after_node_del", || delete(&site));
    site.rake(&["node:add", "name=web01", "groups=web servers", "classes=mysql"]);
    site.get("/v1/nodes/web01").expect(404);
    assert!(site.states().is_empty());
    assert_eq!(add(&site).expect(409).problem(), "name-taken");
    assert_eq!(site.node_in_console("web01")["classes"], json!(["mysql"]));
}
