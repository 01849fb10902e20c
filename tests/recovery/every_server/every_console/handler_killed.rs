//! A handler or a helper is killed while rake runs on.

use crate::harness::worker::Temperature;
use crate::harness::{Plan, Site};
use crate::recovery::rake_stops::Verb::{self, Add, Change, Delete};
use crate::recovery::rake_stops::expect_settled;

/// A process is killed while rake stops at every point of a verb; rake then goes on to its end. The
/// same request, sent again, finds that it is done.
fn killed_everywhere(victim: &str, verb: Verb, console: Temperature, failure: u16, settles: u16) {
    let site = Site::with(Plan { release: verb.release(), console, ..Plan::default() });
    for (point, name) in verb.points() {
        verb.prepare(&site, &name);
        let failed = site.stopped_at(&point, || verb.ask(&site, &name), || site.kill_one(victim));
        failed.expect(failure);
        site.go_on();
        let again = verb.ask(&site, &name);
        again.expect(settles);
        expect_settled(&site, &name);
        verb.expect_done(&site, &name, &point);
    }
    assert!(site.unfinished().is_empty() && site.proofs() == 0);
    site.expect_foreign_untouched();
}

#[test]
fn run_of_rake_after_handler_was_killed_counts() {
    for (verb, settles) in
        [(Add("1.2.8"), 201), (Change("1.2.8"), 200), (Change("1.2.23"), 200), (Delete("1.2.8"), 404)]
    {
        killed_everywhere("espm", verb, Temperature::chosen(), 500, settles);
    }
}

#[test]
fn run_of_rake_after_helper_was_killed_counts() {
    for (verb, settles) in [(Add("3.0"), 201), (Change("1.2.8"), 200), (Change("3.0"), 200), (Delete("3.0"), 404)] {
        // A worker needs no espm-helper.
        killed_everywhere("espm-helper", verb, Temperature::Cold, 502, settles);
    }
}
