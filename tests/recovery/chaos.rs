//! Clients and a human work on the same few names at once while processes are killed at random. The human's
//! nodes stay as the human left them, and everything that is espm's is shown.
//!
//! `ESPM_TEST_SEED` repeats the choices of a run, though not its course.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::harness::certificates::{serial, valid};
use crate::harness::{Plan, Site, USER, is_long, template, wait_until, without_copies};

/// How many clients ask at once.
const CLIENTS: usize = 3;

/// How many requests each client sends when time is short.
const REQUESTS: usize = 6;

/// A stream of choices (xorshift64).
struct Choices(u64);

impl Choices {
    fn new(stream: u64) -> Self {
        let now = || -> u64 { SystemTime::now().duration_since(UNIX_EPOCH).unwrap().subsec_nanos().into() };
        let seed = std::env::var("ESPM_TEST_SEED").map_or_else(|_| now(), |seed| seed.parse().unwrap());
        eprintln!("ESPM_TEST_SEED={seed} for stream {stream}");
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(stream + 1))
    }

    fn below(&mut self, bound: usize) -> usize {
        for shift in [13_i32, -7, 17] {
            self.0 ^= if shift > 0 { self.0 << shift } else { self.0 >> -shift };
        }
        usize::try_from(self.0 >> 33).unwrap() % bound
    }

    fn of<'a, T: ?Sized>(&mut self, all: &[&'a T]) -> &'a T {
        all[self.below(all.len())]
    }
}

const NAMES: [&str; 4] = ["web01", "web02", "db01", "db02"];

/// What nodes of the human's have, and no node of espm's.
const HUMANS: &str = "databases";

/// The processes that can be killed: handlers, helpers, rakes and commands of the CA, but for those
/// that revoke: they write the revocation list in its place, and one cut short is for the operator to repair.
fn victims(site: &Site, humans: &Mutex<BTreeSet<u32>>) -> Vec<u32> {
    let root = format!("--root\0{}/ca\0", site.dir.display());
    let is_ca = |pid: &u32| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line);
        line.contains(&root) && !line.contains("\0revoke\0")
    };
    let all = fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let mut pids: Vec<_> = all.filter(is_ca).collect();
    for program in ["espm", "espm-helper", "rake"] {
        // A child of one may be about to become a command that revokes.
        pids.extend(without_copies(site.pids(program)));
    }
    let humans = humans.lock().unwrap();
    pids.retain(|pid| !humans.contains(pid));
    pids
}

fn client(site: &Site, choices: &mut Choices) {
    let name = choices.of(&NAMES);
    let (node, certificate) = (format!("/v1/nodes/{name}"), format!("/v1/nodes/{name}/certificate"));
    let class = choices.of(&["ntp", "apache"]);
    let value = choices.of(&["a", "b"]);
    let answer = match choices.below(9) {
        0..3 => {
            let body = json!({"name": name, "groups": ["default"], "classes": [class], "parameters": {"role": value}});
            let key = format!("Idempotency-Key: {}", choices.below(40));
            site.ask("POST", "/v1/nodes", Some(&body.to_string()), &[key.as_str()][..choices.below(2)])
        }
        3 | 4 => site.patch(&node, &json!({"classes": [class], "parameters": {"role": value}})),
        5 => site.delete(&node),
        6 | 7 => site.ask("POST", &certificate, None, &[]),
        _ => site.delete(&certificate),
    };
    assert!([200, 201, 204, 404, 409, 422, 500, 502, 503, 504].contains(&answer.status), "{answer:?}");
}

/// The human adds nodes and deletes own ones; `own` are those that are there for certain.
fn human(site: &Site, choices: &mut Choices, pids: &Mutex<BTreeSet<u32>>, own: &mut BTreeSet<&'static str>) {
    let rake = |words: &[&str]| {
        let mut rake = Command::new("setpriv");
        rake.args(["--reuid", USER, "--regid", USER, "--clear-groups", "--", "/usr/bin/rake", "-s", "-f"]);
        rake.arg(template().join("console/Rakefile")).arg("RAILS_ENV=production");
        rake.arg(format!("CONSOLE={}", site.dir.join("console").display())).args(words).current_dir(&site.dir);
        rake.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // Who kills waits for the lock before it takes its pick, and so knows whose this is.
        let mut pids = pids.lock().unwrap();
        let child = rake.spawn().unwrap();
        pids.insert(child.id());
        drop(pids);
        child.wait_with_output().unwrap()
    };
    let name = choices.of(&NAMES);
    if own.contains(name) {
        if choices.below(3) == 0 {
            let deleted = rake(&["node:del", &format!("name={name}")]);
            assert!(deleted.status.success(), "the human's {name} is gone: {deleted:?}");
            own.remove(name);
        } else {
            assert_eq!(site.node_in_console(name), humans_node(), "{name}");
        }
    } else {
        let words = ["node:add", &format!("name={name}"), &format!("groups={HUMANS}"), "classes=mysql"];
        if rake(&words).status.success() {
            own.insert(name);
        }
    }
}

/// What the operator has decided about nodes in doubt.
#[derive(Default)]
struct Decided {
    forgotten: bool,
    adopted: BTreeSet<String>,
}

/// The operator decides about a node in doubt by what is in the console.
fn operator(site: &Site, decided: &mut Decided) {
    for (name, state) in site.unfinished() {
        if state == "unproven" {
            let there = site.node_in_console(&name);
            let verb = if there.is_null() || there == humans_node() { "forget" } else { "adopt" };
            // A client may have been faster.
            if site.espm(&[verb, &name]).status.success() {
                decided.forgotten |= verb == "forget";
                decided.adopted.extend(Some(name).filter(|_| verb == "adopt"));
            }
        }
    }
}

fn humans_node() -> Value {
    json!({"groups": [HUMANS], "classes": ["mysql"], "parameters": []})
}

fn round(release: &'static str, authority: &'static str) {
    let site = Site::with(Plan {
        release,
        authority,
        ini: vec![("console", "cache = 3600"), ("console", "concurrency = 2")],
        ..Plan::default()
    });
    site.ask_for_lists();
    let (done, pids, kills) = (AtomicBool::new(false), Mutex::new(BTreeSet::new()), AtomicUsize::new(0));
    let (mut own, mut decided) = (BTreeSet::new(), Decided::default());
    std::thread::scope(|scope| {
        let (site, done, pids) = (&site, &done, &pids);
        let clients: Vec<_> = (0..CLIENTS)
            .map(|number| {
                scope.spawn(move || {
                    let mut choices = Choices::new(number as u64);
                    let until = Instant::now() + Duration::from_secs(if is_long() { 120 } else { 0 });
                    let mut sent = 0;
                    while sent < REQUESTS || Instant::now() < until {
                        client(site, &mut choices);
                        sent += 1;
                    }
                    sent
                })
            })
            .collect();
        let (own, decided) = (&mut own, &mut decided);
        scope.spawn(move || {
            let mut choices = Choices::new(10);
            while !done.load(Ordering::SeqCst) {
                human(site, &mut choices, pids, own);
                operator(site, decided);
            }
        });
        scope.spawn(|| {
            let mut choices = Choices::new(11);
            while !done.load(Ordering::SeqCst) {
                std::thread::sleep(Duration::from_millis(choices.below(700) as u64));
                if let Some(pid) = victims(site, pids).get(choices.below(6)) {
                    let killed = Command::new("kill").args(["-9", &pid.to_string()]).stderr(Stdio::null()).status();
                    kills.fetch_add(usize::from(killed.unwrap().success()), Ordering::SeqCst);
                }
            }
        });
        let sent: usize = clients.into_iter().map(|client| client.join().unwrap_or(0)).sum();
        done.store(true, Ordering::SeqCst);
        eprintln!("{release} {authority}: {sent} requests");
    });
    eprintln!("{release} {authority}: {} kills", kills.into_inner());
    wait_until("nothing is left unfinished", || {
        site.espm(&["check", "--settle"]);
        site.unfinished().values().all(|state| state == "unproven")
    });
    expect_all_shown(&site, &own, &decided);
}

/// With a node that was forgotten in doubt, a certificate may stay valid. One that was adopted may have been
/// made in part, until it is changed.
fn expect_all_shown(site: &Site, own: &BTreeSet<&str>, decided: &Decided) {
    for name in decided.adopted.iter().filter(|name| site.states().get(*name).is_some_and(|state| state == "active")) {
        site.patch(&format!("/v1/nodes/{name}"), &json!({})).expect(200);
    }
    let (console, states): (Value, BTreeMap<String, String>) = (site.console(), site.states());
    let mut shown = BTreeSet::new();
    for name in NAMES {
        let (there, state) = (&console["nodes"][name], states.get(name).map(String::as_str));
        eprintln!("{name}: {state:?} {there}");
        if own.contains(name) {
            assert_eq!(*there, humans_node(), "{name} is the human's");
            assert_ne!(state, Some("active"), "{name} is the human's");
        }
        match state {
            Some("active") => {
                site.expect_in_console(&site.get(&format!("/v1/nodes/{name}")).expect(200).json());
                let certificate = site.get(&format!("/v1/nodes/{name}/certificate"));
                if certificate.status == 200 {
                    shown.insert(serial(&certificate));
                }
            }
            Some(state) => assert_eq!(state, "unproven"),
            None => assert!(there.is_null() || *there == humans_node(), "{name} is shown by nothing: {there}"),
        }
    }
    let unproven = states.values().any(|state| state == "unproven");
    // A command that was killed after its line in the inventory has given nobody a certificate.
    let (mut valid, saved) = (valid(site), site.file("ca/saved"));
    valid.retain(|serial| shown.contains(serial) || saved.lines().any(|line| line == serial));
    assert!(unproven || decided.forgotten || valid == shown, "valid {valid:?}, shown {shown:?}");
    assert!(shown.is_subset(&valid), "valid {valid:?}, shown {shown:?}");
    site.expect_foreign_untouched();
}

#[test]
fn random_kills_leave_nodes_of_human_alone_and_show_all_of_espm() {
    round("1.2.8", "puppet-cert");
    if is_long() {
        round("1.2.23", "puppetserver-ca");
    }
}
