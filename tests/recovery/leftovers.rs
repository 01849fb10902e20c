//! What a failure leaves behind can be ended by its client, is shown to the operator, and has nothing
//! that stays valid or taken unseen.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::process::Command;

use serde_json::json;

use crate::harness::certificates::{serial, valid};
use crate::harness::processes::is_there;
use crate::harness::processes::limits;
use crate::harness::strace::{Blow, Request, chosen, recording, steps};
use crate::harness::worker::Temperature;
use crate::harness::{Answer, Plan, Server, Shop, is_long, node, run, wait_until};

/// A request.
type Ask = dyn Fn(&Shop) -> Answer + Sync;

const WEB01: &str = "/v1/nodes/web01";
const CERTIFICATE: &str = "/v1/nodes/web01/certificate";

fn shop_of(release: &'static str) -> Shop {
    let shop = Shop::with(Plan { release, ini: vec![("console", "cache = 3600")], ..Plan::default() });
    shop.ask_for_lists();
    shop
}

fn generate(shop: &Shop) -> Answer {
    shop.ask("POST", CERTIFICATE, None, &[])
}

#[test]
fn node_lost_during_change_keeps_no_valid_certificate() {
    for (release, point, human) in [
        // Deleted by a human after a change that did not begin, in place or by rebuilding.
        ("1.2.8", "die_before_node_groups", &["node:del", "name=web01"][..]),
        ("1.2.23", "die_before_node_classes", &["node:del", "name=web01"]),
        // Made by a human between the two halves of a rebuilding.
        ("1.2.8", "die_after_node_del", &["node:add", "name=web01", "groups=", "classes="]),
        // Deleted after it was added again.
        ("1.2.8", "die_after_node_add", &["node:del", "name=web01"]),
    ] {
        let shop = shop_of(release);
        shop.add("web01");
        generate(&shop).expect(201);
        shop.fault("console", point, "once");
        shop.patch(WEB01, &json!({"groups": ["databases"]})).expect(502);
        shop.no_faults("console");
        shop.rake(human);
        shop.get(WEB01).expect(404);
        match shop.states().get("web01").map(String::as_str) {
            None => assert!(valid(&shop).is_empty(), "{release} {point}"),
            Some(state) => assert_eq!(state, "unproven", "{release} {point}"),
        }
    }
}

#[test]
fn change_refused_for_good_is_ended_by_other_change_or_deletion() {
    for release in ["1.2.8", "1.2.23"] {
        let shop = shop_of(release);
        shop.add("web01");
        // What a console whose tables are latin1 says of other letters.
        shop.fault("console", "refuse_value", "ж");
        for _ in 0..2 {
            shop.patch(WEB01, &json!({"parameters": {"role": "ж"}})).expect(502);
        }
        shop.patch(WEB01, &json!({"parameters": {"role": "db"}, "groups": ["databases"]})).expect(200);
        let node = json!({"name": "web01", "groups": ["databases"], "classes": ["ntp"], "parameters": {"role": "db"}});
        shop.expect_in_console(&node);
        shop.patch(WEB01, &json!({"parameters": {"role": "ж"}})).expect(502);
        shop.delete(WEB01).expect(204);
        assert!(shop.states().is_empty() && shop.node_in_console("web01").is_null(), "{release}");
    }
}

#[test]
fn node_is_deletable_when_console_fails_every_change() {
    // A console of another release than the configured one: node:classes fails always.
    let shop = shop_of("1.2.8");
    shop.configure("console", "release = 1.2.23");
    shop.add("web01");
    generate(&shop).expect(201);
    shop.patch(WEB01, &json!({"groups": ["databases"]})).expect(502);
    shop.get(WEB01).expect(502);
    shop.delete(WEB01).expect(204);
    assert!(shop.states().is_empty() && shop.node_in_console("web01").is_null() && valid(&shop).is_empty());
    // Or one that never comes to the end of a change.
    let shop = shop_of("1.2.23");
    shop.add("web01");
    generate(&shop).expect(201);
    shop.fault("console", "pause_before_node_classes", "");
    for limit in limits() {
        shop.configure("console", &format!("timeout = {limit}"));
        shop.patch(WEB01, &json!({"classes": ["apache"]})).expect(504);
        if shop.dir.join("console/reached").exists() {
            break;
        }
    }
    shop.get(WEB01).expect(504);
    shop.configure("console", "timeout = 100");
    shop.delete(WEB01).expect(204);
    assert!(shop.states().is_empty() && shop.node_in_console("web01").is_null() && valid(&shop).is_empty());
}

#[test]
fn change_failing_with_words_of_taken_name_keeps_node() {
    let shop = shop_of("1.2.23");
    shop.add("web01");
    // A database quotes what it was given.
    for words in ["Duplicate entry", "Name has already been taken", "Node already exists!"] {
        shop.fault("console", "abort", "parameters");
        shop.patch(WEB01, &json!({"parameters": {"note": words}})).expect(502);
        shop.no_faults("console");
        assert!(shop.states().contains_key("web01"), "{words}");
        shop.get(WEB01).expect(200);
    }
}

#[test]
fn exit_code_of_rake_is_not_taken_for_one_of_helper() {
    let shop = shop_of("1.2.8");
    for code in ["64", "77", "124"] {
        // Added, and yet "not even started", or "not yet at its end".
        shop.fault("console", "exit.once", code);
        shop.post("/v1/nodes", &node("web01")).expect(502);
        assert!(shop.node_in_console("web01").is_null() && shop.states().is_empty(), "{code}");
    }
    shop.post("/v1/nodes", &node("web01")).expect(201);
}

#[test]
fn forget_and_adopt_fail_while_command_runs() {
    let shop = Shop::with(Plan { console: Temperature::Cold, ..Plan::default() });
    shop.stopped_at("before_node_add", || shop.post("/v1/nodes", &node("web01")), || shop.kill_one("espm"));
    for verb in ["forget", "adopt"] {
        let output = shop.desk(&[verb, "web01"]);
        assert!(!output.status.success(), "{output:?}");
    }
    shop.go_on();
    assert_eq!(shop.states().get("web01").map(String::as_str), Some("creating"));
    assert!(shop.desk(&["forget", "web01"]).status.success());
}

#[test]
fn certificate_with_revoked_serial_is_502() {
    for authority in ["puppet-cert", "puppetserver-ca"] {
        let shop = Shop::with(Plan { authority, ..Plan::default() });
        shop.add("web01");
        let next = shop.file("ca/ca/serial");
        generate(&shop).expect(201);
        shop.delete(CERTIFICATE).expect(204);
        // Half of the CA was restored from a backup.
        fs::write(shop.dir.join("ca/ca/serial"), next).unwrap();
        generate(&shop).expect(502);
        shop.get(CERTIFICATE).expect(404);
        let made = generate(&shop);
        assert_eq!(valid(&shop), [serial(made.expect(201))].into());
    }
}

#[test]
fn certificate_with_serial_of_another_is_502_and_the_other_stays_valid() {
    for (authority, human) in [
        ("puppet-cert", &["cert", "generate", "hand01"][..]),
        ("puppetserver-ca", &["ca", "generate", "--certname=hand01"]),
    ] {
        let shop = Shop::with(Plan { authority, ..Plan::default() });
        shop.add("web01");
        let next = shop.file("ca/ca/serial");
        shop.puppet(human);
        fs::write(shop.dir.join("ca/ca/serial"), next).unwrap();
        let humans = valid(&shop);
        generate(&shop).expect(502);
        shop.get(CERTIFICATE).expect(404);
        assert_eq!(valid(&shop), humans);
        let made = generate(&shop);
        made.expect(201);
        shop.delete(WEB01).expect(204);
        assert!(!humans.contains(&serial(&made)));
        assert_eq!(valid(&shop), humans);
    }
}

#[test]
fn published_node_matches_ledger_after_death_or_failure_at_any_call() {
    let shop = Shop::without_console(&Plan::default(), "[classes]\nnames = ntp, apache\n");
    let published = || fs::read_to_string(shop.dir.join("nodes/web01.yaml")).ok();
    let add = Request::new("POST", "/v1/nodes".into()).body(json!({"name": "web01", "classes": ["ntp"]})).key("k");
    let change = Request::new("PATCH", WEB01.into()).body(json!({"classes": ["apache"]}));
    let delete = Request::new("DELETE", WEB01.into());
    let trace = shop.dir.join("run/trace").display().to_string();
    for (request, before, done) in
        [(&add, None, &[201][..]), (&change, Some(&add), &[200]), (&delete, Some(&add), &[204, 404])]
    {
        let prepare = || before.map(|before| shop.handle(before).expect(201).clone());
        prepare();
        shop.handle_traced(request, &recording(&trace));
        let all = steps(&shop.file("run/trace"));
        assert!(all.len() > 20, "{all:?}");
        let mut blows: Vec<_> = chosen(all.clone(), 6).into_iter().map(|step| (Blow::Death, step)).collect();
        // What is done and only not durable is the most easily taken for not done.
        blows
            .extend(all.into_iter().filter(|step| is_long() || step.call == "fsync").map(|step| (Blow::Failure, step)));
        for (blow, step) in blows {
            shop.handle_at_last(&delete);
            prepare();
            shop.handle_traced(request, &blow.at(&step, &trace));
            let at = format!("{request:?}, {blow:?} at {step:?}");
            assert!(published().is_none() || shop.states().contains_key("web01"), "{at}: nothing shows it");
            let shown = shop.handle_at_last(&Request::new("GET", WEB01.into()));
            let class = || shown.json()["classes"][0].as_str().unwrap().to_owned();
            assert_eq!(published().is_some(), shown.status == 200, "{at}: {shown:?}");
            assert!(published().is_none_or(|yaml| yaml.contains(&class())), "{at}: {shown:?}");
            let again = shop.handle_at_last(request);
            assert!(done.contains(&again.status), "{at}: {again:?}");
        }
        shop.handle_at_last(&delete);
        assert!(shop.states().is_empty() && published().is_none());
    }
}

#[test]
fn adopted_unproven_deletion_shows_node_as_before() {
    let shop = shop_of("1.2.8");
    shop.post("/v1/nodes", &node("web01")).expect(201);
    shop.fault("console", "die_before_node_del", "once");
    shop.delete(WEB01).expect(502);
    shop.delete(WEB01).expect(404);
    assert_eq!(shop.unfinished()["web01"], "unproven");
    assert!(shop.desk(&["adopt", "web01"]).status.success());
    assert_eq!(shop.get(WEB01).expect(200).json(), node("web01"));
    shop.expect_in_console(&node("web01"));
    shop.delete(WEB01).expect(204);
}

#[test]
fn aborted_deletion_leaves_node_unproven() {
    for release in ["1.2.8", "3.0"] {
        // What rake says of its abort follows the message before, as the list of nodes does that are left.
        for (fault, status) in [("raise_before_node_del", 502), ("pause_before_node_del", 504)] {
            let aborted = |limit: u64| {
                let shop = shop_of(release);
                shop.add("web01");
                shop.configure("console", &format!("timeout = {limit}"));
                shop.fault("console", fault, "once");
                shop.delete(WEB01).expect(status);
                (!shop.dir.join("console/faults").join(fault).exists()).then_some(shop)
            };
            let shop = if status == 504 { limits().find_map(aborted) } else { aborted(100) }.unwrap();
            shop.configure("console", "timeout = 100");
            shop.delete(WEB01).expect(404);
            assert!(!shop.node_in_console("web01").is_null());
            assert_eq!(shop.states().get("web01").map(String::as_str), Some("unproven"), "{release} {fault}");
            assert!(shop.desk(&["adopt", "web01"]).status.success());
            shop.delete(WEB01).expect(204);
            assert!(shop.node_in_console("web01").is_null() && shop.states().is_empty());
        }
    }
}

#[test]
fn adopted_unproven_add_answers_its_retry_with_201() {
    let shop = Shop::open();
    let body = node("web01").to_string();
    let add = || shop.ask("POST", "/v1/nodes", Some(&body), &["Idempotency-Key: launch-1"]);
    shop.fault("console", "die_after_commit_node_add", "once");
    add().expect(502);
    add().expect(409);
    assert_eq!(shop.unfinished()["web01"], "unproven");
    assert!(shop.desk(&["adopt", "web01"]).status.success());
    // Told that the name is taken, the client would take another and leave this one behind.
    assert_eq!(add().expect(201).json(), node("web01"));
}

#[test]
fn ca_command_killed_at_any_point_leaves_certificate_made_or_not() {
    for authority in ["puppet-cert", "puppetserver-ca"] {
        let shop = Shop::with(Plan { authority, ..Plan::default() });
        shop.add("web01");
        // Before it did anything, between its steps, after the last.
        for (point, done) in [("boot", false), ("after_key", false), ("before_publish", true), ("after_generate", true)]
        {
            shop.fault("ca", &format!("die_{point}.once"), "");
            let first = generate(&shop);
            assert_eq!(first.status, if done { 201 } else { 502 }, "{authority} {point}: {first:?}");
            let made = generate(&shop);
            made.expect(if done { 200 } else { 201 });
            assert_eq!(valid(&shop), [serial(&made)].into(), "{authority} {point}");
            shop.delete(CERTIFICATE).expect(204);
        }
        for (point, done) in [("boot", false), ("before_revoke", false), ("after_crl", true), ("after_revoke", true)] {
            let made = generate(&shop);
            made.expect(201);
            shop.fault("ca", &format!("die_{point}.once"), "");
            let first = shop.delete(CERTIFICATE);
            assert_eq!(first.status, if done { 204 } else { 502 }, "{authority} {point}: {first:?}");
            let still: BTreeSet<_> = (!done).then(|| serial(&made)).into_iter().collect();
            assert_eq!(valid(&shop), still, "{authority} {point}");
            assert_eq!(shop.unfinished().contains_key("web01"), !done, "{authority} {point}");
            shop.delete(CERTIFICATE).expect(204);
            shop.get(CERTIFICATE).expect(404);
            assert!(valid(&shop).is_empty() && shop.unfinished().is_empty(), "{authority} {point}");
        }
        assert_eq!(shop.states()["web01"], "active");
    }
}

#[test]
fn gateway_killed_during_any_request_loses_nothing_and_repeat_settles() {
    let server = if Server::chosen() == Server::ApacheCgi { Server::Apache } else { Server::chosen() };
    let mut shop = Shop::with(Plan { server, release: "1.2.23", ..Plan::default() });
    let change = |shop: &Shop| shop.patch(WEB01, &json!({"groups": ["databases"]}));
    let all: [(&str, [&str; 2], &Ask, u16); 5] = [
        ("console", ["before_node_add", "after_node_groups"], &|shop| shop.post("/v1/nodes", &node("web01")), 201),
        ("console", ["before_node_classes", "after_node_groups"], &change, 200),
        ("ca", ["after_key", "after_generate"], &generate, 200),
        ("ca", ["before_revoke", "after_revoke"], &|shop| shop.delete(CERTIFICATE), 204),
        ("console", ["before_node_groups", "after_node_del"], &|shop| shop.delete(WEB01), 404),
    ];
    for late in [0, 1] {
        for (double, points, ask, settles) in &all {
            let point = points[late];
            for name in ["reached", "continue"] {
                let _ = fs::remove_file(shop.dir.join(double).join(name));
            }
            shop.fault(double, &format!("pause_{point}.once"), "");
            let answer = std::thread::scope(|scope| {
                let asked = scope.spawn(|| ask(&shop));
                wait_until("the command comes to the point", || shop.dir.join(double).join("reached").exists());
                let handler = shop.pids("espm");
                run(Command::new("kill").args(["-KILL", &shop.gate_pid().to_string()]));
                shop.write(&format!("{double}/continue"), "");
                wait_until("the handler has ended", || handler.iter().all(|pid| !is_there(*pid)));
                asked.join().unwrap()
            });
            answer.expect(503);
            assert_eq!(shop.stop_gate("-0").signal(), Some(9));
            shop.start_gate();
            let again = ask(&shop);
            // A node that was added without a key is told from one that was not by asking for it.
            let added = *settles == 201 && again.status == 409 && shop.get(WEB01).status == 200;
            assert!(added || again.status == *settles, "{point}: {again:?}");
            assert!(shop.unfinished().is_empty(), "{point}");
        }
        assert!(shop.states().is_empty() && shop.console()["nodes"]["web01"].is_null() && valid(&shop).is_empty());
    }
    shop.expect_foreign_untouched();
}

#[test]
fn certificate_newer_than_restored_backup_can_be_revoked() {
    for before in ["none", "revoked"] {
        let shop = Shop::open();
        shop.add("web01");
        if before == "revoked" {
            generate(&shop).expect(201);
            shop.delete(CERTIFICATE).expect(204);
        }
        let backup = shop.dir.join("run/backup.sqlite");
        assert!(shop.desk(&["backup", backup.to_str().unwrap()]).status.success());
        generate(&shop).expect(201);
        fs::copy(&backup, shop.dir.join("state/ledger.sqlite")).unwrap();
        shop.delete(CERTIFICATE).expect(204);
        assert!(valid(&shop).is_empty(), "{before}");
        shop.delete(CERTIFICATE).expect(204);
    }
}
