//! Death and failure at every step: strace kills a handler, or espm-helper, at each system call
//! that can change something, or has the call fail; the same request, sent again, finds everything done or
//! undone.
//!
//! Every so manyth call here, each one under `tests/run --long`.

use std::fs::{self};
use std::os::unix::process::ExitStatusExt;

use serde_json::{Value, json};

use crate::harness::certificates::{serial, valid};
use crate::harness::{Answer, Plan, Shop, is_long};

/// What is walked through.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Verb {
    Add,
    Change,
    Delete,
    Generate,
    Revoke,
}

use crate::harness::strace::{Blow, Request, chosen, recording, steps, trace_helper};
use Blow::{Death, Failure};
use Verb::{Add, Change, Delete, Generate, Revoke};

fn node(name: &str) -> Value {
    json!({"name": name, "groups": ["web servers"], "classes": ["ntp"], "parameters": {"role": "web"}})
}

fn changed(name: &str) -> Value {
    json!({"name": name, "groups": ["databases"], "classes": ["mysql"], "parameters": {"role": "db"}})
}

impl Verb {
    fn request(self, name: &str) -> Request {
        let (node_path, certificate) = (format!("/v1/nodes/{name}"), format!("/v1/nodes/{name}/certificate"));
        match self {
            Add => Request::new("POST", "/v1/nodes".into()).body(node(name)).key(name),
            Change => {
                let mut change = changed(name);
                change.as_object_mut().unwrap().remove("name");
                Request::new("PATCH", node_path).body(change)
            }
            Delete => Request::new("DELETE", node_path),
            Generate => Request::new("POST", certificate),
            Revoke => Request::new("DELETE", certificate),
        }
    }

    /// What has to be there before.
    fn prepare(self, shop: &Shop, name: &str) {
        if self != Add {
            shop.handle(&Add.request(name)).expect(201);
        }
        if self == Revoke {
            shop.handle(&Generate.request(name)).expect(201);
        }
    }

    /// The statuses that say that it is done.
    fn done(self) -> &'static [u16] {
        match self {
            Add => &[201],
            Change => &[200],
            // Done by the one that died.
            Delete => &[204, 404],
            Generate => &[200, 201],
            Revoke => &[204],
        }
    }
}

/// Where the walked program dies.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Victim {
    Handler,
    Raise,
}

/// A shop without a gate, whose espm-helper can be traced.
fn shop_for(release: &'static str, authority: &'static str) -> Shop {
    let ini = vec![("console", "cache = 3600"), ("console", "concurrency = 2")];
    let shop = Shop::prepare(&Plan { release, authority, ini, ..Plan::default() });
    shop.handle(&Request::new("GET", "/v1/classes".into())).expect(200);
    shop.handle(&Request::new("GET", "/v1/groups".into())).expect(200);
    shop
}

/// Deals a blow at each step of a verb, sends the same request again, and holds console, CA and ledger
/// against each other at the end.
fn walk(shop: &Shop, verb: Verb, victim: Victim, blow: Blow) {
    let trace = shop.dir.join("run/trace");
    let to = trace.display().to_string();
    verb.prepare(shop, "model");
    let model = verb.request("model");
    match victim {
        Victim::Handler => {
            let output = shop.handle_traced(&model, &recording(&to));
            let answer = Answer::from_cgi(&String::from_utf8(output.stdout).unwrap());
            assert!(verb.done().contains(&answer.status), "{answer:?}");
        }
        Victim::Raise => {
            trace_helper(shop, Some(&recording(&to)));
            assert!(verb.done().contains(&shop.handle(&model).status));
            trace_helper(shop, None);
        }
    }
    let all = steps(&fs::read_to_string(&trace).unwrap());
    assert!(all.len() > 20, "{all:?}");
    let (count, chosen) = (all.len(), chosen(all, blow.sample()));
    let mut blows = 0;
    let mut names = vec!["model".to_owned()];
    for (number, step) in chosen.iter().enumerate() {
        let name = format!("{}{number}", format!("{verb:?}").to_lowercase());
        verb.prepare(shop, &name);
        let request = verb.request(&name);
        let _ = fs::remove_file(&trace);
        let options = blow.at(step, &to);
        let died = match victim {
            Victim::Handler => shop.handle_traced(&request, &options).status.signal() == Some(9),
            Victim::Raise => {
                trace_helper(shop, Some(&options));
                let answer = shop.handle(&request);
                trace_helper(shop, None);
                !verb.done().contains(&answer.status)
            }
        };
        let failed = || shop.file("run/trace").contains("(INJECTED)");
        blows += usize::from(if blow == Blow::Death { died } else { failed() });
        let known = shop.states().contains_key(&name);
        assert!(known || shop.node_in_console(&name).is_null(), "{verb:?}, {blow:?} at {step:?}: nothing shows it");
        let again = shop.handle_at_last(&request);
        assert!(verb.done().contains(&again.status), "{verb:?}, {blow:?} at {step:?}: {again:?}");
        names.push(name);
    }
    eprintln!("{verb:?} {victim:?} {blow:?}: {count} steps, {} tried, {blows} blows", chosen.len());
    // How often a lock is tried depends on time, so that the last steps of some runs are not come to.
    assert!(blows * 10 >= chosen.len() * 8, "{blows} blows");
    expect_done(shop, verb, &names);
}

/// Console, CA, ledger and answers are of one mind about all that was walked through.
fn expect_done(shop: &Shop, verb: Verb, names: &[String]) {
    let (console, states) = (shop.console(), shop.states());
    let mut serials = std::collections::BTreeSet::new();
    for name in names {
        let there = &console["nodes"][name];
        let wanted = match verb {
            Delete => None,
            Change => Some(changed(name)),
            _ => Some(node(name)),
        };
        let shown = shop.handle(&Request::new("GET", format!("/v1/nodes/{name}")));
        match wanted {
            None => {
                assert!(there.is_null() && !states.contains_key(name), "{name}");
                shown.expect(404);
            }
            Some(wanted) => {
                assert_eq!(states.get(name).map(String::as_str), Some("active"), "{name}");
                assert_eq!(shown.expect(200).json(), wanted, "{name}");
                let parameters: Vec<_> = wanted["parameters"].as_object().unwrap().iter().collect();
                let (groups, classes) = (&wanted["groups"], &wanted["classes"]);
                assert_eq!(*there, json!({"groups": groups, "classes": classes, "parameters": parameters}), "{name}");
            }
        }
        let certificate = shop.handle(&Request::new("GET", format!("/v1/nodes/{name}/certificate")));
        match verb {
            Generate => drop(serials.insert(serial(certificate.expect(200)))),
            _ => drop(certificate.expect(404)),
        }
    }
    assert_eq!(valid(shop), serials, "no certificate is valid but those that are ours and shown");
    assert!(shop.unfinished().is_empty());
    assert_eq!(shop.count_double_parameters(), 0);
    shop.expect_foreign_untouched();
}

impl Shop {
    /// Nodes in the console with one parameter twice.
    fn count_double_parameters(&self) -> usize {
        let console = self.console();
        let twice = |node: &&Value| {
            let keys: Vec<_> = node["parameters"].as_array().unwrap().iter().map(|pair| &pair[0]).collect();
            keys.iter().enumerate().any(|(at, key)| keys[..at].contains(key))
        };
        console["nodes"].as_object().unwrap().values().filter(twice).count()
    }
}

#[test]
fn handler_killed_at_any_call_of_add_leaves_it_done_or_undone() {
    walk(&shop_for("1.2.8", "puppet-cert"), Add, Victim::Handler, Death);
}

#[test]
fn handler_killed_at_any_call_of_change_leaves_it_done_or_undone() {
    for release in ["1.2.8", "1.2.23"] {
        walk(&shop_for(release, "puppet-cert"), Change, Victim::Handler, Death);
    }
}

#[test]
fn handler_killed_at_any_call_of_delete_leaves_it_done_or_undone() {
    walk(&shop_for("1.2.8", "puppet-cert"), Delete, Victim::Handler, Death);
}

#[test]
fn handler_killed_at_any_call_of_generate_leaves_certificate_made_or_not() {
    for authority in ["puppet-cert", "puppetserver-ca"] {
        walk(&shop_for("1.2.8", authority), Generate, Victim::Handler, Death);
    }
}

#[test]
fn handler_killed_at_any_call_of_revoke_leaves_certificate_valid_or_revoked() {
    for authority in ["puppet-cert", "puppetserver-ca"] {
        walk(&shop_for("1.2.8", authority), Revoke, Victim::Handler, Death);
    }
}

#[test]
fn helper_killed_at_any_call_of_generate_leaves_certificate_made_or_not() {
    for authority in ["puppet-cert", "puppetserver-ca"] {
        walk(&shop_for("1.2.8", authority), Generate, Victim::Raise, Death);
    }
}

#[test]
fn helper_killed_at_any_call_of_revoke_leaves_certificate_valid_or_revoked() {
    for authority in ["puppet-cert", "puppetserver-ca"] {
        walk(&shop_for("1.2.8", authority), Revoke, Victim::Raise, Death);
    }
}

/// The first of these walks when time is short: no step is particular to a verb in how it fails.
fn walks<T>(all: Vec<T>) -> impl Iterator<Item = T> {
    let most = if is_long() { all.len() } else { 1 };
    all.into_iter().take(most)
}

#[test]
fn failed_call_of_handler_leaves_request_done_or_undone() {
    let all = vec![
        ("1.2.23", Change),
        ("1.2.8", Change),
        ("1.2.8", Add),
        ("1.2.8", Delete),
        ("1.2.8", Generate),
        ("1.2.8", Revoke),
    ];
    for (release, verb) in walks(all) {
        walk(&shop_for(release, "puppet-cert"), verb, Victim::Handler, Failure);
    }
}

#[test]
fn failed_call_of_helper_leaves_request_done_or_undone() {
    for (authority, verb) in
        walks(vec![("puppet-cert", Generate), ("puppetserver-ca", Generate), ("puppet-cert", Revoke)])
    {
        walk(&shop_for("1.2.8", authority), verb, Victim::Raise, Failure);
    }
}
