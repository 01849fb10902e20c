//! What was not begun leaves all as it was; what takes an act back is itself taken up again where it ended.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use serde_json::json;

use crate::harness::processes::is_there;
use crate::harness::worker::Temperature;
use crate::harness::{Answer, Plan, Shop, node, wait_until};

fn shop_of(release: &'static str) -> Shop {
    // A worker is asked by espm itself, and refuses nothing.
    let shop = Shop::with(Plan { release, console: Temperature::Cold, ..Plan::default() });
    shop.ask_for_lists();
    shop
}

fn add(shop: &Shop) -> Answer {
    shop.post("/v1/nodes", &node("web01"))
}

fn rebuild(shop: &Shop) -> Answer {
    shop.patch("/v1/nodes/web01", &json!({"groups": ["databases"]}))
}

fn delete(shop: &Shop) -> Answer {
    shop.delete("/v1/nodes/web01")
}

fn state(shop: &Shop) -> Option<String> {
    shop.states().remove("web01")
}

/// Has espm-helper refuse a task, as it does when it cannot trust its configuration.
fn refuse(shop: &Shop, task: &str) {
    let real = shop.bin("espm-helper").display().to_string();
    let script = format!(
        "#!/bin/sh\n\
         [ \"$1\" = console ] || exec {real} \"$@\"\n\
         case $(cat) in *'\"task\":\"'{task}'\"'*) exit 78 ;; esac\n\
         exec {real} \"$@\" </proc/self/fd/0\n"
    );
    let path = shop.write("refusing-helper", &script);
    fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
    shop.configure("espm", &format!("helper = {path}"));
}

fn refuse_nothing(shop: &Shop) {
    shop.configure("espm", &format!("helper = {}", shop.bin("espm-helper").display()));
}

#[test]
fn command_refused_before_start_changes_nothing() {
    let shop = shop_of("1.2.8");
    refuse(&shop, "add");
    assert_eq!(add(&shop).expect(502).problem(), "command-failed");
    assert_eq!((shop.states().len(), shop.proofs()), (0, 0));
    refuse_nothing(&shop);
    add(&shop).expect(201);
    let before = shop.console();
    for (task, ask) in [("rebuild", rebuild as fn(&Shop) -> Answer), ("delete", delete)] {
        refuse(&shop, task);
        assert_eq!(ask(&shop).expect(502).problem(), "command-failed", "{task}");
        assert_eq!((state(&shop).as_deref(), shop.proofs()), (Some("active"), 0), "{task}");
        refuse_nothing(&shop);
        assert_eq!(shop.get("/v1/nodes/web01").expect(200).json(), node("web01"), "{task}");
        assert_eq!(shop.console(), before, "{task}");
    }
    rebuild(&shop).expect(200);
    delete(&shop).expect(204);
}

/// A handler and its rake are killed when the node is made and not more.
fn die_half_way(shop: &Shop) {
    shop.stopped_at(
        "after_node_add",
        || add(shop),
        || {
            shop.kill_one("espm");
            let rakes = shop.pids("rake");
            shop.signal("-9", "rake");
            wait_until("rake is gone", || rakes.iter().all(|pid| !is_there(*pid)));
        },
    )
    .expect(500);
}

#[test]
fn node_whose_rollback_never_began_is_rolled_back_by_next_request() {
    let shop = shop_of("1.2.8");
    let lost = |shop: &Shop| {
        shop.fault("console", "vanish_class.once", "apache");
        let with_apache = json!({"name": "web01", "classes": ["ntp", "apache"]});
        shop.post("/v1/nodes", &with_apache).expect(502);
    };
    let partly = |shop: &Shop| {
        shop.fault("console", "exit.once", "1");
        add(shop).expect(502);
    };
    let killed = |shop: &Shop| {
        refuse_nothing(shop);
        die_half_way(shop);
        refuse(shop, "delete");
        add(shop).expect(502);
    };
    for (way, begin) in [("lost", &lost as &dyn Fn(&Shop)), ("partly", &partly), ("killed", &killed)] {
        refuse(&shop, "delete");
        begin(&shop);
        // Nor does another attempt that is not begun make it one.
        for _ in 0..2 {
            assert_eq!(state(&shop).as_deref(), Some("deleting"), "{way}");
            assert!(!shop.node_in_console("web01").is_null(), "{way}");
            add(&shop).expect(502);
        }
        refuse_nothing(&shop);
        add(&shop).expect(201);
        shop.expect_in_console(&node("web01"));
        delete(&shop).expect(204);
    }
    assert_eq!((shop.states().len(), shop.proofs()), (0, 0));
    shop.expect_foreign_untouched();
}

#[test]
fn change_rolled_back_by_rebuild_that_dies_loses_no_node() {
    // Where a parameter is added in place and can only be taken away with the node.
    let shop = shop_of("1.2.23");
    add(&shop).expect(201);
    shop.fault("console", "vanish_class.once", "apache");
    shop.fault("console", "die_after_node_del", "once");
    let change = json!({"classes": ["apache"], "parameters": {"zone": "x"}});
    shop.patch("/v1/nodes/web01", &change).expect(502);
    assert!(shop.node_in_console("web01").is_null());
    // To look at it is enough.
    assert_eq!(shop.get("/v1/nodes/web01").expect(200).json(), node("web01"));
    shop.expect_in_console(&node("web01"));
    assert_eq!((state(&shop).as_deref(), shop.proofs()), (Some("active"), 0));
}

#[test]
fn change_with_lost_proof_is_made_by_next_request() {
    let shop = shop_of("1.2.8");
    add(&shop).expect(201);
    shop.fault("console", "die_before_node_groups", "once");
    rebuild(&shop).expect(502);
    for proof in fs::read_dir(shop.dir.join("state/proofs")).unwrap() {
        fs::remove_file(proof.unwrap().path()).unwrap();
    }
    rebuild(&shop).expect(200);
    assert_eq!(shop.node_in_console("web01")["groups"], json!(["databases"]));
}

/// The handler is killed in the course of its rake, which comes to its end.
fn killed_and_done(shop: &Shop, point: &str, ask: impl FnOnce() -> Answer + Send) {
    shop.stopped_at(point, ask, || shop.kill_one("espm")).expect(500);
    shop.go_on();
}

#[test]
fn node_deleted_by_hand_after_handler_of_rebuild_died_is_404() {
    let shop = shop_of("1.2.8");
    add(&shop).expect(201);
    killed_and_done(&shop, "after_node_del", || rebuild(&shop));
    shop.rake(&["node:del", "name=web01"]);
    shop.get("/v1/nodes/web01").expect(404);
    assert!(shop.states().is_empty());
}

#[test]
fn name_added_by_hand_after_proven_deletion_is_409() {
    let shop = shop_of("1.2.8");
    add(&shop).expect(201);
    killed_and_done(&shop, "after_node_del", || delete(&shop));
    shop.rake(&["node:add", "name=web01", "groups=web servers", "classes=mysql"]);
    shop.get("/v1/nodes/web01").expect(404);
    assert!(shop.states().is_empty());
    assert_eq!(add(&shop).expect(409).problem(), "name-taken");
    assert_eq!(shop.node_in_console("web01")["classes"], json!(["mysql"]));
}
