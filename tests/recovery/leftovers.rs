//! What a failure leaves behind: its client can end it, the operator sees it, and no certificate stays
//! valid unseen.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::process::Command;

use serde_json::json;

use crate::harness::certificates::{serial, valid};
use crate::harness::processes::{is_there, limits};
use crate::harness::strace::{Blow, Request, chosen, recording, steps};
use crate::harness::worker::Temperature;
use crate::harness::{API, Answer, Plan, Server, Site, is_long, node, run, wait_until};

/// A request.
type Ask = dyn Fn(&Site) -> Answer + Sync;

const WEB01: &str = "/v1/nodes/web01";
const CERTIFICATE: &str = "/v1/nodes/web01/certificate";

fn site_of(release: &'static str) -> Site {
    let site = Site::with(Plan { release, ini: vec![("console", "cache = 3600")], ..Plan::default() });
    site.ask_for_lists();
    site
}

fn generate(site: &Site) -> Answer {
    site.ask("POST", CERTIFICATE, None, &[])
}

#[test]
fn node_lost_during_change_keeps_no_valid_certificate() {
    for (release, point, human) in [
        // Deleted by a human after a change in place that did not begin.
        ("1.2.23", "die_before_node_classes", &["node:del", "name=web01"][..]),
        // Made by a human between the two halves of a rebuilding.
        ("1.2.8", "die_after_node_del", &["node:add", "name=web01", "groups=", "classes="]),
    ] {
        let site = site_of(release);
        site.add("web01");
        generate(&site).expect(201);
        site.fault("console", point, "once");
        site.patch(WEB01, &json!({"groups": ["databases"], "classes": ["mysql"]})).expect(502);
        site.no_faults("console");
        site.rake(human);
        site.get(WEB01).expect(404);
        match site.states().get("web01").map(String::as_str) {
            None => assert!(valid(&site).is_empty(), "{release} {point}"),
            Some(state) => assert_eq!(state, "unproven", "{release} {point}"),
        }
    }
}

#[test]
fn change_refused_for_good_is_ended_by_other_change_or_deletion() {
    for release in ["1.2.8", "1.2.23"] {
        let site = site_of(release);
        site.add("web01");
        // What a console whose tables are latin1 says of other letters.
        site.fault("console", "refuse_value", "ж");
        for _ in 0..2 {
            site.patch(WEB01, &json!({"parameters": {"role": "ж"}})).expect(502);
        }
        site.patch(WEB01, &json!({"parameters": {"role": "db"}, "groups": ["databases"]})).expect(200);
        let node = json!({"name": "web01", "groups": ["databases"], "classes": ["ntp"], "parameters": {"role": "db"}});
        site.expect_in_console(&node);
        site.patch(WEB01, &json!({"parameters": {"role": "ж"}})).expect(502);
        site.delete(WEB01).expect(204);
        assert!(site.states().is_empty() && site.node_in_console("web01").is_null(), "{release}");
    }
}

#[test]
fn node_is_deletable_when_console_fails_every_change() {
    // A console of another release than the configured one: node:classes fails always.
    let site = site_of("1.2.8");
    site.configure("console", "release = 1.2.23");
    site.add("web01");
    generate(&site).expect(201);
    site.patch(WEB01, &json!({"groups": ["databases"]})).expect(502);
    site.get(WEB01).expect(502);
    site.delete(WEB01).expect(204);
    assert!(site.states().is_empty() && site.node_in_console("web01").is_null() && valid(&site).is_empty());
    // Or one that never finishes a change.
    let site = site_of("1.2.23");
    site.add("web01");
    generate(&site).expect(201);
    site.fault("console", "pause_before_node_classes", "");
    for limit in limits() {
        site.configure("console", &format!("timeout = {limit}"));
        site.patch(WEB01, &json!({"classes": ["apache"]})).expect(504);
        if site.dir.join("console/reached").exists() {
            break;
        }
    }
    site.get(WEB01).expect(504);
    site.configure("console", "timeout = 100");
    site.delete(WEB01).expect(204);
    assert!(site.states().is_empty() && site.node_in_console("web01").is_null() && valid(&site).is_empty());
}

#[test]
fn change_failing_with_words_of_taken_name_keeps_node() {
    let site = site_of("1.2.23");
    site.add("web01");
    // A database quotes what it was given.
    for words in ["Duplicate entry", "Name has already been taken", "Node already exists!"] {
        site.fault("console", "abort", "parameters");
        site.patch(WEB01, &json!({"parameters": {"note": words}})).expect(502);
        site.no_faults("console");
        assert!(site.states().contains_key("web01"), "{words}");
        site.get(WEB01).expect(200);
    }
}

#[test]
fn exit_code_of_rake_is_not_taken_for_one_of_helper() {
    let site = site_of("1.2.8");
    for code in ["64", "77", "124"] {
        // Added, and yet "not even started", or "not yet at its end".
        site.fault("console", "exit.once", code);
        site.post("/v1/nodes", &node("web01")).expect(502);
        assert!(site.node_in_console("web01").is_null() && site.states().is_empty(), "{code}");
    }
    site.post("/v1/nodes", &node("web01")).expect(201);
}

#[test]
fn forget_and_adopt_fail_while_command_runs() {
    let site = Site::with(Plan { console: Temperature::Cold, ..Plan::default() });
    site.stopped_at("before_node_add", || site.post("/v1/nodes", &node("web01")), || site.kill_one("espm"));
    for verb in ["forget", "adopt"] {
        let output = site.espm(&[verb, "web01"]);
        assert!(!output.status.success(), "{output:?}");
    }
    site.go_on();
    assert_eq!(site.states().get("web01").map(String::as_str), Some("creating"));
    assert!(site.espm(&["forget", "web01"]).status.success());
}

#[test]
fn certificate_with_revoked_serial_is_502() {
    for authority in ["puppet-cert", "puppetserver-ca", API] {
        let site = Site::with(Plan { authority, ..Plan::default() });
        site.add("web01");
        let next = site.file("ca/ca/serial");
        generate(&site).expect(201);
        site.delete(CERTIFICATE).expect(204);
        // Half of the CA was restored from a backup.
        fs::write(site.dir.join("ca/ca/serial"), next).unwrap();
        generate(&site).expect(502);
        site.get(CERTIFICATE).expect(404);
        let made = generate(&site);
        assert_eq!(valid(&site), [serial(made.expect(201))].into());
    }
}

#[test]
fn certificate_with_serial_of_another_is_502_and_the_other_stays_valid() {
    for (authority, human) in [
        ("puppet-cert", &["cert", "generate", "hand01"][..]),
        ("puppetserver-ca", &["ca", "generate", "--certname=hand01"]),
        (API, &["ca", "generate", "--certname=hand01"]),
    ] {
        let site = Site::with(Plan { authority, ..Plan::default() });
        site.add("web01");
        let next = site.file("ca/ca/serial");
        site.puppet(human);
        fs::write(site.dir.join("ca/ca/serial"), next).unwrap();
        let humans = valid(&site);
        generate(&site).expect(502);
        site.get(CERTIFICATE).expect(404);
        assert_eq!(valid(&site), humans);
        let made = generate(&site);
        if authority == "puppet-cert" {
            assert!(!humans.contains(&serial(made.expect(201))));
        } else {
            // A server may revoke all certificates of a name, the one with the other's number among them.
            assert_eq!(made.expect(409).problem(), "certificate-exists");
        }
        site.delete(WEB01).expect(204);
        assert_eq!(valid(&site), humans);
    }
}

#[test]
fn published_node_matches_ledger_after_death_or_failure_at_any_call() {
    let site = Site::without_console(&Plan::default(), "[classes]\nnames = ntp, apache\n");
    let published = || fs::read_to_string(site.dir.join("nodes/web01.yaml")).ok();
    let add = Request::new("POST", "/v1/nodes".into()).body(json!({"name": "web01", "classes": ["ntp"]})).key("k");
    let change = Request::new("PATCH", WEB01.into()).body(json!({"classes": ["apache"]}));
    let delete = Request::new("DELETE", WEB01.into());
    let trace = site.dir.join("run/trace").display().to_string();
    for (request, before, done) in
        [(&add, None, &[201][..]), (&change, Some(&add), &[200]), (&delete, Some(&add), &[204, 404])]
    {
        let prepare = || before.map(|before| site.handle(before).expect(201).clone());
        prepare();
        site.handle_traced(request, &recording(&trace));
        let all = steps(&site.file("run/trace"));
        assert!(all.len() > 20, "{all:?}");
        let mut blows: Vec<_> = chosen(all.clone(), 6).into_iter().map(|step| (Blow::Death, step)).collect();
        // A change that is made and not yet durable is the most easily taken for not made.
        blows
            .extend(all.into_iter().filter(|step| is_long() || step.call == "fsync").map(|step| (Blow::Failure, step)));
        for (blow, step) in blows {
            site.handle_at_last(&delete);
            prepare();
            site.handle_traced(request, &blow.at(&step, &trace));
            let at = format!("{request:?}, {blow:?} at {step:?}");
            assert!(published().is_none() || site.states().contains_key("web01"), "{at}: nothing shows it");
            let shown = site.handle_at_last(&Request::new("GET", WEB01.into()));
            let class = || shown.json()["classes"][0].as_str().unwrap().to_owned();
            assert_eq!(published().is_some(), shown.status == 200, "{at}: {shown:?}");
            assert!(published().is_none_or(|yaml| yaml.contains(&class())), "{at}: {shown:?}");
            let again = site.handle_at_last(request);
            assert!(done.contains(&again.status), "{at}: {again:?}");
        }
        site.handle_at_last(&delete);
        assert!(site.states().is_empty() && published().is_none());
    }
}

#[test]
fn adopted_unproven_deletion_shows_node_as_before() {
    let site = site_of("1.2.8");
    site.post("/v1/nodes", &node("web01")).expect(201);
    site.fault("console", "die_before_node_del", "once");
    site.delete(WEB01).expect(502);
    site.delete(WEB01).expect(404);
    assert_eq!(site.unfinished()["web01"], "unproven");
    assert!(site.espm(&["adopt", "web01"]).status.success());
    assert_eq!(site.get(WEB01).expect(200).json(), node("web01"));
    site.expect_in_console(&node("web01"));
    site.delete(WEB01).expect(204);
}

#[test]
fn aborted_deletion_leaves_node_unproven() {
    for release in ["1.2.8", "3.0"] {
        // What rake says of its abort follows the message before, as the list of nodes does that are left.
        for (fault, status) in [("raise_before_node_del", 502), ("pause_before_node_del", 504)] {
            let aborted = |limit: u64| {
                let site = site_of(release);
                site.add("web01");
                site.configure("console", &format!("timeout = {limit}"));
                site.fault("console", fault, "once");
                site.delete(WEB01).expect(status);
                (!site.dir.join("console/faults").join(fault).exists()).then_some(site)
            };
            let site = if status == 504 { limits().find_map(aborted) } else { aborted(100) }.unwrap();
            site.configure("console", "timeout = 100");
            site.delete(WEB01).expect(404);
            assert!(!site.node_in_console("web01").is_null());
            assert_eq!(site.states().get("web01").map(String::as_str), Some("unproven"), "{release} {fault}");
            assert!(site.espm(&["adopt", "web01"]).status.success());
            site.delete(WEB01).expect(204);
            assert!(site.node_in_console("web01").is_null() && site.states().is_empty());
        }
    }
}

#[test]
fn adopted_unproven_add_answers_its_retry_with_201() {
    let site = Site::open();
    let body = node("web01").to_string();
    let add = || site.ask("POST", "/v1/nodes", Some(&body), &["Idempotency-Key: launch-1"]);
    site.fault("console", "die_after_commit_node_add", "once");
    add().expect(502);
    add().expect(409);
    assert_eq!(site.unfinished()["web01"], "unproven");
    assert!(site.espm(&["adopt", "web01"]).status.success());
    // Told that the name is taken, the client would take another and leave this one behind.
    assert_eq!(add().expect(201).json(), node("web01"));
}

#[test]
fn ca_command_killed_at_any_point_leaves_certificate_made_or_not() {
    for authority in ["puppet-cert", "puppetserver-ca"] {
        let site = Site::with(Plan { authority, ..Plan::default() });
        site.add("web01");
        // Before it did anything, between its steps, after the last.
        for (point, done) in [("boot", false), ("after_key", false), ("before_publish", true), ("after_generate", true)]
        {
            site.fault("ca", &format!("die_{point}.once"), "");
            let first = generate(&site);
            assert_eq!(first.status, if done { 201 } else { 502 }, "{authority} {point}: {first:?}");
            let made = generate(&site);
            made.expect(if done { 200 } else { 201 });
            assert_eq!(valid(&site), [serial(&made)].into(), "{authority} {point}");
            site.delete(CERTIFICATE).expect(204);
        }
        for (point, done) in [("boot", false), ("before_revoke", false), ("after_crl", true), ("after_revoke", true)] {
            let made = generate(&site);
            made.expect(201);
            site.fault("ca", &format!("die_{point}.once"), "");
            let first = site.delete(CERTIFICATE);
            assert_eq!(first.status, if done { 204 } else { 502 }, "{authority} {point}: {first:?}");
            let still: BTreeSet<_> = (!done).then(|| serial(&made)).into_iter().collect();
            assert_eq!(valid(&site), still, "{authority} {point}");
            assert_eq!(site.unfinished().contains_key("web01"), !done, "{authority} {point}");
            site.delete(CERTIFICATE).expect(204);
            site.get(CERTIFICATE).expect(404);
            assert!(valid(&site).is_empty() && site.unfinished().is_empty(), "{authority} {point}");
        }
        assert_eq!(site.states()["web01"], "active");
    }
}

#[test]
fn gateway_killed_during_any_request_loses_nothing_and_repeat_settles() {
    let server = if Server::chosen() == Server::ApacheCgi { Server::Apache } else { Server::chosen() };
    let mut site = Site::with(Plan { server, release: "1.2.23", ..Plan::default() });
    let change = |site: &Site| site.patch(WEB01, &json!({"groups": ["databases"]}));
    let all: [(&str, [&str; 2], &Ask, u16); 5] = [
        ("console", ["before_node_add", "after_node_groups"], &|site| site.post("/v1/nodes", &node("web01")), 201),
        ("console", ["before_node_classes", "after_node_groups"], &change, 200),
        ("ca", ["after_key", "after_generate"], &generate, 200),
        ("ca", ["before_revoke", "after_revoke"], &|site| site.delete(CERTIFICATE), 204),
        ("console", ["before_node_groups", "after_node_del"], &|site| site.delete(WEB01), 404),
    ];
    for late in [0, 1] {
        for (double, points, ask, settles) in &all {
            let point = points[late];
            let mut handler = vec![];
            let kill = || {
                handler = site.pids("espm");
                run(Command::new("kill").args(["-KILL", &site.gateway_pid().to_string()]));
            };
            let answer = site.paused_in(double, point, || ask(&site), kill);
            wait_until("the handler has ended", || handler.iter().all(|pid| !is_there(*pid)));
            answer.expect(503);
            assert_eq!(site.stop_gateway("-0").signal(), Some(9));
            site.start_gateway();
            let again = ask(&site);
            // A node that was added without a key is told from one that was not by asking for it.
            let added = *settles == 201 && again.status == 409 && site.get(WEB01).status == 200;
            assert!(added || again.status == *settles, "{point}: {again:?}");
            assert!(site.unfinished().is_empty(), "{point}");
        }
        assert!(site.states().is_empty() && site.console()["nodes"]["web01"].is_null() && valid(&site).is_empty());
    }
    site.expect_foreign_untouched();
}

#[test]
fn certificate_newer_than_restored_backup_can_be_revoked() {
    for before in ["none", "revoked"] {
        let site = Site::open();
        site.add("web01");
        if before == "revoked" {
            generate(&site).expect(201);
            site.delete(CERTIFICATE).expect(204);
        }
        let backup = site.dir.join("run/backup.sqlite");
        assert!(site.espm(&["backup", backup.to_str().unwrap()]).status.success());
        generate(&site).expect(201);
        fs::copy(&backup, site.dir.join("state/ledger.sqlite")).unwrap();
        site.delete(CERTIFICATE).expect(204);
        assert!(valid(&site).is_empty(), "{before}");
        site.delete(CERTIFICATE).expect(204);
    }
}
