//! Slots of the console: each is taken for as long as its rake, or its worker's child, runs, and no longer.

use std::collections::BTreeSet;

use crate::harness::concurrency::{add, expect_busy, expect_nodes, most_at_once};
use crate::harness::worker::Temperature;
use crate::harness::{Answer, Plan, Shop};

/// A shop with one slot, its lists asked for.
fn single() -> Shop {
    single_of(Temperature::Cold)
}

fn single_of(console: Temperature) -> Shop {
    let ini = vec![("console", "concurrency = 1")];
    let shop = Shop::with(Plan { ini, console, ..Plan::default() });
    shop.ask_for_lists();
    shop
}

/// Those who wait for the slot wait in vain.
#[track_caller]
fn expect_taken(shop: &Shop, requests: &[&dyn Fn() -> Answer]) {
    shop.configure("console", "queue_timeout = 1");
    for request in requests {
        expect_busy(&request());
    }
    shop.configure("console", "queue_timeout = 60");
}

fn ask_anew(shop: &Shop) -> Answer {
    shop.ask("GET", "/v1/classes", None, &["Cache-Control: no-cache"])
}

/// While the orphan's run is paused its slot is taken; when it has gone on, another is added.
#[track_caller]
fn slot_is_taken_until_rake_goes_on(shop: &Shop, orphan: &str, next: &str) {
    expect_taken(shop, &[&|| add(shop, next), &|| ask_anew(shop)]);
    shop.get("/v1/classes").expect(200);
    shop.go_on();
    add(shop, next).expect(201);
    // The orphan's node is ours, as its proof says.
    shop.get(&format!("/v1/nodes/{orphan}")).expect(200);
}

#[test]
fn slot_stays_taken_while_rake_runs_after_handler_or_helper_died() {
    let shop = single();
    let mut names = BTreeSet::new();
    for (number, victims) in [&["espm"][..], &["espm-helper"], &["espm-helper", "espm"]].into_iter().enumerate() {
        let (orphan, next) = (format!("orphan{number}"), format!("next{number}"));
        let failed = shop.stopped_at(
            "before_node_add",
            || add(&shop, &orphan),
            || {
                // Stopped, so that the handler does not hear of the first death before it dies itself.
                shop.signal("-STOP", "espm");
                victims.iter().for_each(|victim| shop.kill_one(victim));
                shop.signal("-CONT", "espm");
            },
        );
        assert!(matches!(failed.status, 500 | 502));
        slot_is_taken_until_rake_goes_on(&shop, &orphan, &next);
        names.extend([orphan, next]);
    }
    assert_eq!(most_at_once(&shop), 1);
    expect_nodes(&shop, &names);
}

#[test]
fn slot_stays_taken_while_list_is_made_after_handler_died() {
    let shop = single();
    shop.stopped_at("boot", || ask_anew(&shop), || shop.kill_one("espm")).expect(500);
    expect_taken(&shop, &[&|| add(&shop, "web")]);
    shop.go_on();
    add(&shop, "web").expect(201);
    assert_eq!(most_at_once(&shop), 1);
}

#[test]
fn process_left_behind_by_rake_keeps_no_slot() {
    let shop = single();
    for (number, group) in ["", "group"].into_iter().enumerate() {
        shop.fault("console", "fork_child", group);
        add(&shop, &format!("web{number}")).expect(201);
        // espm-helper gives the slot back, whoever has died.
        shop.stopped_at("before_node_add", || add(&shop, &format!("orphan{number}")), || shop.kill_one("espm"))
            .expect(500);
        shop.go_on();
        shop.no_faults("console");
        add(&shop, &format!("next{number}")).expect(201);
    }
    assert_eq!(most_at_once(&shop), 1);
}

#[test]
fn slot_stays_taken_while_child_of_worker_runs_after_others_died() {
    let shop = single_of(Temperature::Warm);
    let mut names = BTreeSet::new();
    for (number, worker_dies) in [false, true].into_iter().enumerate() {
        let (orphan, next) = (format!("orphan{number}"), format!("next{number}"));
        shop.stopped_at(
            "before_node_add",
            || add(&shop, &orphan),
            || {
                shop.kill_one("espm");
                if worker_dies {
                    shop.stop_worker("-9");
                }
            },
        )
        .expect(500);
        slot_is_taken_until_rake_goes_on(&shop, &orphan, &next);
        names.extend([orphan, next]);
    }
    assert_eq!(most_at_once(&shop), 1);
    expect_nodes(&shop, &names);
}

#[test]
fn slot_of_killed_or_forking_child_of_worker_is_free() {
    let shop = single_of(Temperature::Warm);
    for (number, group) in ["", "group"].into_iter().enumerate() {
        shop.fault("console", "fork_child", group);
        shop.paused("before_node_add", || add(&shop, &format!("killed{number}")), || shop.kill_one("rake")).expect(502);
        shop.no_faults("console");
        add(&shop, &format!("next{number}")).expect(201);
    }
}
