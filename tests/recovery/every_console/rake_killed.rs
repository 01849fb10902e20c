//! rake dies at every point of a request.

use crate::harness::worker::Temperature;
use crate::recovery::rake_stops::Verb::{self, Add, Change, Delete};
use crate::recovery::rake_stops::{expect_settled, expect_unproven, site_of};

/// rake dies at every point of a verb. Of the points named here nothing can prove whose the node
/// is; at all others the same request, sent again, has the status `settles`.
fn rake_dies_everywhere(verb: Verb, unproven: &[&str], settles: u16) {
    let site = site_of(verb.release());
    for (point, name) in verb.points() {
        verb.prepare(&site, &name);
        site.fault("console", &format!("die_{point}"), "once");
        let failed = verb.ask(&site, &name);
        assert_eq!(failed.expect(502).problem(), "command-failed", "{point}");
        assert!(!site.dir.join("console/faults").join(format!("die_{point}")).exists(), "rake did not die at {point}");
        let again = verb.ask(&site, &name);
        if unproven.contains(&point.as_str()) {
            again.expect(if verb == Add(verb.release()) { 409 } else { 404 });
            expect_unproven(&site, &name);
            continue;
        }
        // espm-helper reports the death of a rake that had not begun: the node stays, and is deleted now.
        let stays =
            matches!(verb, Delete(_)) && point.ends_with("node_groups") && Temperature::chosen() == Temperature::Cold;
        again.expect(if stays { 204 } else { settles });
        expect_settled(&site, &name);
        verb.expect_done(&site, &name, &point);
    }
    assert_eq!(site.unfinished().len(), unproven.len());
    site.expect_foreign_untouched();
}

#[test]
fn add_whose_rake_dies_is_undone_and_can_be_repeated() {
    rake_dies_everywhere(Add("1.2.8"), &["after_commit_node_add"], 201);
}

#[test]
fn add_whose_rake_dies_is_undone_and_can_be_repeated_at_console_3_0() {
    rake_dies_everywhere(Add("3.0"), &["after_commit_node_add"], 201);
}

#[test]
fn change_in_place_whose_rake_dies_is_made_by_next_request() {
    rake_dies_everywhere(Change("1.2.23"), &[], 200);
}

#[test]
fn rebuild_whose_rake_dies_is_made_by_next_request() {
    let doubt = ["after_node_groups", "before_node_del", "after_commit_node_add"];
    rake_dies_everywhere(Change("1.2.8"), &doubt, 200);
}

#[test]
fn deletion_whose_rake_dies_is_made_by_next_request() {
    rake_dies_everywhere(Delete("1.2.8"), &["after_node_groups", "before_node_del"], 404);
}

#[test]
fn deletion_whose_rake_dies_is_made_by_next_request_at_console_3_0() {
    rake_dies_everywhere(Delete("3.0"), &["after_node_groups", "before_node_del"], 404);
}
