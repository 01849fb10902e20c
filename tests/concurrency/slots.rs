//! Slots of the console: each is taken for as long as its rake, or its worker's child, runs, and no longer.

use std::collections::BTreeSet;

use crate::harness::concurrency::{add, expect_busy, expect_nodes, most_at_once};
use crate::harness::worker::Temperature;
use crate::harness::{Answer, Plan, Site};

/// A site with one slot, its lists asked for.
fn single() -> Site {
    single_of(Temperature::Cold)
}

fn single_of(console: Temperature) -> Site {
    let ini = vec![("console", "concurrency = 1")];
    let site = Site::with(Plan { ini, console, ..Plan::default() });
    site.ask_for_lists();
    site
}

/// Those who wait for the slot wait in vain.
#[track_caller]
fn expect_taken(site: &Site, requests: &[&dyn Fn() -> Answer]) {
    site.configure("console", "queue_timeout = 1");
    for request in requests {
        expect_busy(&request());
    }
    site.configure("console", "queue_timeout = 60");
}

fn ask_anew(site: &Site) -> Answer {
    site.ask("GET", "/v1/classes", None, &["Cache-Control: no-cache"])
}

/// While the orphan's run is paused its slot is taken; when it has gone on, another is added.
#[track_caller]
fn slot_is_taken_until_rake_goes_on(site: &Site, orphan: &str, next: &str) {
    expect_taken(site, &[&|| add(site, next), &|| ask_anew(site)]);
    site.get("/v1/classes").expect(200);
    site.go_on();
    add(site, next).expect(201);
    // The orphan's node is ours, as its proof says.
    site.get(&format!("/v1/nodes/{orphan}")).expect(200);
}

#[test]
fn slot_stays_taken_while_rake_runs_after_handler_or_helper_died() {
    let site = single();
    let mut names = BTreeSet::new();
    for (number, victims) in [&["espm"][..], &["espm-helper"], &["espm-helper", "espm"]].into_iter().enumerate() {
        let (orphan, next) = (format!("orphan{number}"), format!("next{number}"));
        let failed = site.stopped_at(
            "before_node_add",
            || add(&site, &orphan),
            || {
                // Stopped, so that the handler does not hear of the first death before it dies itself.
                site.signal("-STOP", "espm");
                victims.iter().for_each(|victim| site.kill_one(victim));
                site.signal("-CONT", "espm");
            },
        );
        assert!(matches!(failed.status, 500 | 502));
        slot_is_taken_until_rake_goes_on(&site, &orphan, &next);
        names.extend([orphan, next]);
    }
    assert_eq!(most_at_once(&site), 1);
    expect_nodes(&site, &names);
}

#[test]
fn slot_stays_taken_while_list_is_made_after_handler_died() {
    let site = single();
    site.stopped_at("boot", || ask_anew(&site), || site.kill_one("espm")).expect(500);
    expect_taken(&site, &[&|| add(&site, "web")]);
    site.go_on();
    add(&site, "web").expect(201);
    assert_eq!(most_at_once(&site), 1);
}

#[test]
fn process_left_behind_by_rake_keeps_no_slot() {
    let site = single();
    for (number, group) in ["", "group"].into_iter().enumerate() {
        site.fault("console", "fork_child", group);
        add(&site, &format!("web{number}")).expect(201);
        // espm-helper gives the slot back although its handler has died.
        site.stopped_at("before_node_add", || add(&site, &format!("orphan{number}")), || site.kill_one("espm"))
            .expect(500);
        site.go_on();
        site.no_faults("console");
        add(&site, &format!("next{number}")).expect(201);
    }
    assert_eq!(most_at_once(&site), 1);
}

#[test]
fn slot_stays_taken_while_child_of_worker_runs_after_others_died() {
    let site = single_of(Temperature::Warm);
    let mut names = BTreeSet::new();
    for (number, worker_dies) in [false, true].into_iter().enumerate() {
        let (orphan, next) = (format!("orphan{number}"), format!("next{number}"));
        site.stopped_at(
            "before_node_add",
            || add(&site, &orphan),
            || {
                site.kill_one("espm");
                if worker_dies {
                    site.stop_worker("-9");
                }
            },
        )
        .expect(500);
        slot_is_taken_until_rake_goes_on(&site, &orphan, &next);
        names.extend([orphan, next]);
    }
    assert_eq!(most_at_once(&site), 1);
    expect_nodes(&site, &names);
}

#[test]
fn slot_of_killed_or_forking_child_of_worker_is_free() {
    let site = single_of(Temperature::Warm);
    for (number, group) in ["", "group"].into_iter().enumerate() {
        site.fault("console", "fork_child", group);
        site.paused("before_node_add", || add(&site, &format!("killed{number}")), || site.kill_one("rake")).expect(502);
        site.no_faults("console");
        add(&site, &format!("next{number}")).expect(201);
    }
}
