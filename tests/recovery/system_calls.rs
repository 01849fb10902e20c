//! A handler or espm-helper dies at each system call that can change something, or has the call fail, under
//! strace. The same request, sent again, finds everything done or undone.
//!
//! A sample of the calls here, each one under `tests/run --long`.

use std::fs::{self};
use std::os::unix::process::ExitStatusExt;

use serde_json::{Value, json};

use crate::harness::certificates::{serial, valid};
use crate::harness::{API, Answer, Plan, Site, is_long};

/// A request that is walked through.
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
    fn prepare(self, site: &Site, name: &str) {
        if self != Add {
            site.handle(&Add.request(name)).expect(201);
        }
        if self == Revoke {
            site.handle(&Generate.request(name)).expect(201);
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
    Helper,
}

/// A site without a gate, whose espm-helper can be traced.
fn site_for(release: &'static str, authority: &'static str) -> Site {
    let ini = vec![("console", "cache = 3600"), ("console", "concurrency = 2")];
    let site = Site::prepare(&Plan { release, authority, ini, ..Plan::default() });
    site.handle(&Request::new("GET", "/v1/classes".into())).expect(200);
    site.handle(&Request::new("GET", "/v1/groups".into())).expect(200);
    site
}

/// Deals a blow at each step of a verb, sends the same request again, and holds console, CA and ledger
/// against each other at the end.
fn walk(site: &Site, verb: Verb, victim: Victim, blow: Blow) {
    let trace = site.dir.join("run/trace");
    let to = trace.display().to_string();
    verb.prepare(site, "model");
    let model = verb.request("model");
    match victim {
        Victim::Handler => {
            let output = site.handle_traced(&model, &recording(&to));
            let answer = Answer::from_cgi(&String::from_utf8(output.stdout).unwrap());
            assert!(verb.done().contains(&answer.status), "{answer:?}");
        }
        Victim::Helper => {
            trace_helper(site, Some(&recording(&to)));
            assert!(verb.done().contains(&site.handle(&model).status));
            trace_helper(site, None);
        }
    }
    let all = steps(&fs::read_to_string(&trace).unwrap());
    assert!(all.len() > 20, "{all:?}");
    let (count, chosen) = (all.len(), chosen(all, blow.sample()));
    let mut blows = 0;
    let mut names = vec!["model".to_owned()];
    for (number, step) in chosen.iter().enumerate() {
        let name = format!("{}{number}", format!("{verb:?}").to_lowercase());
        verb.prepare(site, &name);
        let request = verb.request(&name);
        let _ = fs::remove_file(&trace);
        let options = blow.at(step, &to);
        let died = match victim {
            Victim::Handler => site.handle_traced(&request, &options).status.signal() == Some(9),
            Victim::Helper => {
                trace_helper(site, Some(&options));
                let answer = site.handle(&request);
                trace_helper(site, None);
                !verb.done().contains(&answer.status)
            }
        };
        let failed = || site.file("run/trace").contains("(INJECTED)");
        blows += usize::from(if blow == Blow::Death { died } else { failed() });
        let known = site.states().contains_key(&name);
        assert!(known || site.node_in_console(&name).is_null(), "{verb:?}, {blow:?} at {step:?}: nothing shows it");
        let again = site.handle_at_last(&request);
        assert!(verb.done().contains(&again.status), "{verb:?}, {blow:?} at {step:?}: {again:?}");
        names.push(name);
    }
    eprintln!("{verb:?} {victim:?} {blow:?}: {count} steps, {} tried, {blows} blows", chosen.len());
    // How often a lock is tried depends on time, so that the last steps of some runs are not come to.
    assert!(blows * 10 >= chosen.len() * 8, "{blows} blows");
    expect_done(site, verb, &names);
}

/// Console, CA, ledger and answers are of one mind about all that was walked through.
fn expect_done(site: &Site, verb: Verb, names: &[String]) {
    let (console, states) = (site.console(), site.states());
    let mut serials = std::collections::BTreeSet::new();
    for name in names {
        let there = &console["nodes"][name];
        let wanted = match verb {
            Delete => None,
            Change => Some(changed(name)),
            _ => Some(node(name)),
        };
        let shown = site.handle(&Request::new("GET", format!("/v1/nodes/{name}")));
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
        let certificate = site.handle(&Request::new("GET", format!("/v1/nodes/{name}/certificate")));
        match verb {
            Generate => drop(serials.insert(serial(certificate.expect(200)))),
            _ => drop(certificate.expect(404)),
        }
    }
    assert_eq!(valid(site), serials, "no certificate is valid but those that are ours and shown");
    assert!(site.unfinished().is_empty());
    assert_eq!(site.count_double_parameters(), 0);
    site.expect_foreign_untouched();
}

impl Site {
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
    walk(&site_for("1.2.8", "puppet-cert"), Add, Victim::Handler, Death);
}

#[test]
fn handler_killed_at_any_call_of_change_leaves_it_done_or_undone() {
    for release in ["1.2.8", "1.2.23"] {
        walk(&site_for(release, "puppet-cert"), Change, Victim::Handler, Death);
    }
}

#[test]
fn handler_killed_at_any_call_of_delete_leaves_it_done_or_undone() {
    walk(&site_for("1.2.8", "puppet-cert"), Delete, Victim::Handler, Death);
}

#[test]
fn handler_killed_at_any_call_of_generate_leaves_certificate_made_or_not() {
    for authority in ["puppet-cert", "puppetserver-ca", API] {
        walk(&site_for("1.2.8", authority), Generate, Victim::Handler, Death);
    }
}

#[test]
fn handler_killed_at_any_call_of_revoke_leaves_certificate_valid_or_revoked() {
    for authority in ["puppet-cert", "puppetserver-ca", API] {
        walk(&site_for("1.2.8", authority), Revoke, Victim::Handler, Death);
    }
}

#[test]
fn helper_killed_at_any_call_of_generate_leaves_certificate_made_or_not() {
    for authority in ["puppet-cert", "puppetserver-ca", API] {
        walk(&site_for("1.2.8", authority), Generate, Victim::Helper, Death);
    }
}

#[test]
fn helper_killed_at_any_call_of_revoke_leaves_certificate_valid_or_revoked() {
    for authority in ["puppet-cert", "puppetserver-ca", API] {
        walk(&site_for("1.2.8", authority), Revoke, Victim::Helper, Death);
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
        walk(&site_for(release, "puppet-cert"), verb, Victim::Handler, Failure);
    }
}

#[test]
fn failed_call_of_helper_leaves_request_done_or_undone() {
    for (authority, verb) in walks(vec![
        ("puppet-cert", Generate),
        ("puppetserver-ca", Generate),
        (API, Generate),
        ("puppet-cert", Revoke),
        (API, Revoke),
    ]) {
        walk(&site_for("1.2.8", authority), verb, Victim::Helper, Failure);
    }
}
