//! Death and doubt: whatever dies wherever, a node is done or undone, and a human's node stays as it is.

use serde_json::{Value, json};

use crate::shop::{Answer, Plan, Shop};
use crate::worker::Temperature;

fn shop_of(release: &'static str) -> Shop {
    Shop::with(Plan { release, ..Plan::default() })
}

fn node(name: &str) -> Value {
    json!({"name": name, "groups": ["web servers"], "classes": ["apache", "ntp"], "parameters": {"role": "web"}})
}

fn change() -> Value {
    json!({"groups": ["databases"], "classes": ["mysql"], "parameters": {"role": "db", "zone": "x"}})
}

fn changed(name: &str) -> Value {
    let mut node = change();
    node["name"] = json!(name);
    node
}

fn path(name: &str) -> String {
    format!("/v1/nodes/{name}")
}

/// Adds with a key, as a client does that wants to try again.
fn add(shop: &Shop, name: &str) -> Answer {
    shop.ask("POST", "/v1/nodes", Some(&node(name).to_string()), &[&format!("Idempotency-Key: {name}")])
}

/// A verb of the console, with the release whose rake tasks it is tried with.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Verb {
    Add(&'static str),
    Change(&'static str),
    Delete(&'static str),
}

use Verb::{Add, Change, Delete};

impl Verb {
    fn release(self) -> &'static str {
        let (Add(release) | Change(release) | Delete(release)) = self;
        release
    }

    /// What has to be there before.
    fn prepare(self, shop: &Shop, name: &str) {
        if !matches!(self, Add(_)) {
            add(shop, name).expect(201);
        }
    }

    fn ask(self, shop: &Shop, name: &str) -> Answer {
        match self {
            Add(_) => add(shop, name),
            Change(_) => shop.patch(&path(name), &change()),
            Delete(_) => shop.delete(&path(name)),
        }
    }

    /// The tasks in whose course a run can stop.
    fn tasks(self) -> &'static [&'static str] {
        match self {
            Add("3.0") => &["node_add", "node_variables", "node_groups"],
            Add(_) => &["node_add", "node_parameters", "node_groups"],
            Change("1.2.8") => &["node_groups", "node_del", "node_add", "node_parameters"],
            Change("3.0") => &["node_classes", "node_variables", "node_groups"],
            Change(_) => &["node_classes", "node_parameters", "node_groups"],
            Delete(_) => &["node_groups", "node_del"],
        }
    }

    /// The console has what the verb asked for.
    fn expect_done(self, shop: &Shop, name: &str, point: &str) {
        match self {
            Add(_) => shop.expect_in_console(&node(name)),
            Change(_) => shop.expect_in_console(&changed(name)),
            Delete(_) => assert!(shop.node_in_console(name).is_null(), "{point}"),
        }
    }

    /// Every point at which a run can stop, each with a name for a node.
    fn points(self) -> Vec<(String, String)> {
        let points = self.tasks().iter().flat_map(|task| ["before", "after_commit", "after"].map(|at| (at, task)));
        points.map(|(at, task)| (format!("{at}_{task}"), format!("{at}-{task}").replace('_', "-"))).collect()
    }
}

/// The ledger, the console and the answers tell the same of a node, and nothing is left half done.
#[track_caller]
fn expect_settled(shop: &Shop, name: &str) {
    let there = shop.node_in_console(name);
    match shop.states().get(name).map(String::as_str) {
        None => {
            assert!(there.is_null(), "{name}: in the console, not in the ledger");
            shop.get(&path(name)).expect(404);
        }
        Some("active") => shop.expect_in_console(&shop.get(&path(name)).expect(200).json()),
        Some(other) => panic!("{name} is {other}"),
    }
}

/// A node of which it cannot be known whose it is: shown to the operator, not there for clients, left alone.
#[track_caller]
fn expect_unproven(shop: &Shop, name: &str) {
    let before = shop.node_in_console(name);
    assert!(!before.is_null(), "{name}");
    shop.get(&path(name)).expect(404);
    shop.patch(&path(name), &change()).expect(404);
    shop.delete(&path(name)).expect(404);
    shop.post("/v1/nodes", &node(name)).expect(409);
    assert_eq!(shop.node_in_console(name), before);
    assert_eq!(shop.unfinished().get(name).map(String::as_str), Some("unproven"));
}

/// rake dies at every point of a verb. Of the points named here nothing can prove whose the node
/// is; at all others the same request, sent again, has the status `settles`.
fn rake_dies_everywhere(verb: Verb, unproven: &[&str], settles: u16) {
    let shop = shop_of(verb.release());
    for (point, name) in verb.points() {
        verb.prepare(&shop, &name);
        shop.fault("console", &format!("die_{point}"), "once");
        let failed = verb.ask(&shop, &name);
        assert_eq!(failed.expect(502).problem(), "command-failed", "{point}");
        assert!(!shop.dir.join("console/faults").join(format!("die_{point}")).exists(), "rake did not die at {point}");
        let again = verb.ask(&shop, &name);
        if unproven.contains(&point.as_str()) {
            again.expect(if verb == Add(verb.release()) { 409 } else { 404 });
            expect_unproven(&shop, &name);
            continue;
        }
        again.expect(settles);
        expect_settled(&shop, &name);
        verb.expect_done(&shop, &name, &point);
    }
    assert_eq!(shop.unfinished().len(), unproven.len());
    shop.expect_foreign_untouched();
}

#[test]
fn an_add_whose_rake_dies_is_undone_and_can_be_made_again() {
    rake_dies_everywhere(Add("1.2.8"), &["after_commit_node_add"], 201);
}

#[test]
fn an_add_whose_rake_dies_is_undone_and_can_be_made_again_at_console_3_0() {
    rake_dies_everywhere(Add("3.0"), &["after_commit_node_add"], 201);
}

#[test]
fn a_change_in_place_whose_rake_dies_is_made_by_the_next_request() {
    rake_dies_everywhere(Change("1.2.23"), &[], 200);
}

#[test]
fn a_change_by_rebuilding_whose_rake_dies_is_made_by_the_next_request() {
    let doubt = ["after_node_groups", "before_node_del", "after_commit_node_add"];
    rake_dies_everywhere(Change("1.2.8"), &doubt, 200);
}

#[test]
fn a_deletion_whose_rake_dies_is_made_by_the_next_request() {
    rake_dies_everywhere(Delete("1.2.8"), &["after_node_groups", "before_node_del"], 404);
}

#[test]
fn a_deletion_whose_rake_dies_is_made_by_the_next_request_at_console_3_0() {
    rake_dies_everywhere(Delete("3.0"), &["after_node_groups", "before_node_del"], 404);
}

/// A process is killed while rake stops at every point of a verb; rake then goes on to its end. The
/// same request, sent again, finds that it is done.
fn killed_everywhere(victim: &str, verb: Verb, console: Temperature, failure: u16, settles: u16) {
    let shop = Shop::with(Plan { release: verb.release(), console, ..Plan::default() });
    for (point, name) in verb.points() {
        verb.prepare(&shop, &name);
        shop.pause_at(&point);
        let failed = std::thread::scope(|scope| {
            let asked = scope.spawn(|| verb.ask(&shop, &name));
            shop.wait_for_pause();
            shop.kill_one(victim);
            asked.join().unwrap()
        });
        failed.expect(failure);
        shop.go_on();
        let again = verb.ask(&shop, &name);
        again.expect(settles);
        expect_settled(&shop, &name);
        verb.expect_done(&shop, &name, &point);
    }
    assert!(shop.unfinished().is_empty() && shop.proofs() == 0);
    shop.expect_foreign_untouched();
}

#[test]
fn what_rake_did_after_the_handler_was_killed_counts() {
    for (verb, settles) in
        [(Add("1.2.8"), 201), (Change("1.2.8"), 200), (Change("1.2.23"), 200), (Delete("1.2.8"), 404)]
    {
        killed_everywhere("espm", verb, Temperature::chosen(), 500, settles);
    }
}

#[test]
fn what_rake_did_after_the_raising_program_was_killed_counts() {
    for (verb, settles) in [(Add("3.0"), 201), (Change("1.2.8"), 200), (Change("3.0"), 200), (Delete("3.0"), 404)] {
        // A worker needs no espm-helper.
        killed_everywhere("espm-helper", verb, Temperature::Cold, 502, settles);
    }
}
