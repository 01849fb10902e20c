//! A database that gives up a statement: where it says that it rolled back, the node is espm's as before.

use serde_json::json;

use crate::harness::worker::Temperature;
use crate::harness::{Plan, Site};
use crate::recovery::rake_stops::Verb::{self, Add, Change, Delete};
use crate::recovery::rake_stops::{expect_settled, expect_unproven, path, site_of};

/// The database gives up in each task of a verb; the same request, sent again, has the status `settles`.
fn given_up_everywhere(verb: Verb, settles: u16) {
    let site = site_of(verb.release());
    for task in verb.tasks() {
        for fault in ["deadlock", "lock_wait"] {
            let name = format!("{fault}-{task}").replace('_', "-");
            verb.prepare(&site, &name);
            let fault = format!("{fault}_{task}");
            site.fault("console", &fault, "once");
            assert_eq!(verb.ask(&site, &name).expect(502).problem(), "command-failed", "{fault}");
            assert!(!site.dir.join("console/faults").join(&fault).exists(), "{fault} was not reached");
            if matches!(verb, Delete(_)) {
                assert_eq!(site.states().get(&name).map(String::as_str), Some("active"), "{fault}");
            }
            verb.ask(&site, &name).expect(settles);
            expect_settled(&site, &name);
            verb.expect_done(&site, &name, &fault);
        }
    }
    assert!(site.unfinished().is_empty() && site.proofs() == 0);
    site.expect_foreign_untouched();
}

#[test]
fn add_given_up_by_database_can_be_repeated() {
    for release in ["1.2.8", "1.2.23", "3.0"] {
        given_up_everywhere(Add(release), 201);
    }
}

#[test]
fn change_given_up_by_database_is_made_by_next_request() {
    for release in ["1.2.8", "1.2.23", "3.0"] {
        given_up_everywhere(Change(release), 200);
    }
}

#[test]
fn deletion_given_up_by_database_leaves_node_active() {
    for release in ["1.2.8", "1.2.23", "3.0"] {
        // A deletion whose groups could not be set again has not begun, and the node stays as it was.
        given_up_everywhere(Delete(release), 204);
    }
}

#[test]
fn parameter_whose_removal_is_given_up_is_removed_by_next_request() {
    for fault in ["deadlock_node_del", "lock_wait_node_del", "deadlock_node_add"] {
        let site = site_of("3.0");
        site.add("web01");
        let remove = || site.patch("/v1/nodes/web01", &json!({"parameters": {"role": null}}));
        site.fault("console", fault, "once");
        remove().expect(502);
        assert_eq!(remove().expect(200).json()["parameters"], json!({}));
        expect_settled(&site, "web01");
    }
}

#[test]
fn rollback_counts_after_handler_was_killed() {
    for (verb, settles) in [(Change("1.2.8"), 200), (Delete("1.2.8"), 404), (Delete("3.0"), 404)] {
        let site = site_of(verb.release());
        verb.prepare(&site, "web01");
        site.fault("console", "deadlock_node_del", "once");
        site.stopped_at("before_node_del", || verb.ask(&site, "web01"), || site.kill_one("espm")).expect(500);
        site.go_on();
        verb.ask(&site, "web01").expect(settles);
        expect_settled(&site, "web01");
        verb.expect_done(&site, "web01", "before_node_del");
    }
}

#[test]
fn rollback_without_end_of_rake_proves_nothing() {
    // A worker needs no espm-helper.
    let site = Site::with(Plan { console: Temperature::Cold, ..Plan::default() });
    site.add("web01");
    site.fault("console", "deadlock_node_del", "once");
    let delete = || site.delete("/v1/nodes/web01");
    site.stopped_at("before_node_del", delete, || site.kill_one("espm-helper")).expect(502);
    site.go_on();
    delete().expect(404);
    expect_unproven(&site, "web01");
}

#[test]
fn lost_connection_leaves_node_unproven() {
    for verb in [Change("1.2.8"), Delete("1.2.8"), Delete("3.0")] {
        let site = site_of(verb.release());
        verb.prepare(&site, "web01");
        site.fault("console", "gone_away_node_del", "once");
        verb.ask(&site, "web01").expect(502);
        site.get(&path("web01")).expect(404);
        expect_unproven(&site, "web01");
    }
}
