//! `espm delete`, `espm revoke` and `espm nodes --json`: the operator is judged as a client is.

use std::fs;
use std::process::Output;

use serde_json::{Value, json};

use super::state_belongs_to_espm;
use crate::harness::Site;
use crate::harness::certificates::{revoked, serial, valid};
use crate::harness::check::{all_is_well, text};
use crate::harness::processes::FOREIGN;

fn generate(site: &Site, name: &str) -> String {
    let answer = site.ask("POST", &format!("/v1/nodes/{name}/certificate"), None, &[]);
    answer.expect(201);
    serial(&answer)
}

/// The command does nothing, and says why in one sentence.
#[track_caller]
fn refused(output: &Output, sentence: &str) {
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(1), &b""[..]), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stderr), format!("espm: {sentence}\n"));
}

#[track_caller]
fn done(output: &Output) {
    assert!(output.status.success() && output.stdout.is_empty() && output.stderr.is_empty(), "{output:?}");
}

/// The records of an event, each of the operator's.
#[track_caller]
fn audited(site: &Site, event: &str, name: &str, outcomes: &[&str]) {
    let all = site.audit().into_iter().filter(|record| record.contains(&format!("event={event} ")));
    let of_name: Vec<_> = all.filter(|record| record.contains(&format!("node={name}"))).collect();
    assert!(of_name.iter().all(|record| record.contains("client=operator addr=- ")), "{of_name:?}");
    let found: Vec<_> =
        of_name.iter().map(|record| record.split_once(" outcome=").unwrap().1.split(' ').next().unwrap()).collect();
    assert_eq!(found, outcomes, "{of_name:?}");
}

#[test]
fn operator_revokes_certificate_and_deletes_node_with_its_certificate() {
    let site = Site::open();
    for name in ["web01", "web02", "web03"] {
        site.add(name);
    }
    let (first, second, third) = (generate(&site, "web01"), generate(&site, "web02"), generate(&site, "web03"));
    done(&site.espm(&["revoke", "web01"]));
    assert!(revoked(&site).contains(&first));
    site.get("/v1/nodes/web01").expect(200);
    site.get("/v1/nodes/web01/certificate").expect(404);
    done(&site.espm(&["revoke", "web01"]));
    audited(&site, "operator.revoke", "web01", &["attempt", "ok", "ok"]);

    done(&site.espm(&["delete", "web02"]));
    assert!(revoked(&site).contains(&second));
    assert!(site.node_in_console("web02").is_null());
    site.get("/v1/nodes/web02").expect(404);
    audited(&site, "operator.delete", "web02", &["attempt", "ok"]);
    assert_eq!(site.states().into_keys().collect::<Vec<_>>(), ["web01", "web03"]);
    assert_eq!(valid(&site), [third].into());
    state_belongs_to_espm(&site);
    site.expect_foreign_untouched();
    all_is_well(&site);
}

#[test]
fn operator_deletes_and_revokes_nothing_that_is_not_espms() {
    let site = Site::open();
    site.add("web01");
    let before = (site.changing_runs(), site.runs("ca").len());
    for (name, why) in [
        (FOREIGN, "not in the ledger; 'espm nodes' lists all that are"),
        ("nothing01", "not in the ledger; 'espm nodes' lists all that are"),
        ("master.example.com", "the master's own name, which is never espm's"),
    ] {
        for command in ["delete", "revoke"] {
            let sentence = format!("{name} is {why}");
            refused(&site.espm(&[command, name]), &sentence);
            audited(&site, &format!("operator.{command}"), name, &["not-found"]);
        }
    }
    refused(&site.espm(&["revoke", "web01"]), "web01 has no certificate of espm's");
    // rake has added it and does not say so: it may be another's.
    site.ask_for_lists();
    site.fault("console", "raise_after_commit_node_add.once", "");
    let added = site.post("/v1/nodes", &json!({"name": "web02", "groups": ["default"]}));
    assert_eq!(added.expect(502).problem(), "command-failed");
    assert_eq!(site.states()["web02"], "unproven");
    for command in ["delete", "revoke"] {
        let sentence =
            "web02 may be espm's or not; look at it in the console, then 'espm adopt web02' or 'espm forget web02'";
        refused(&site.espm(&[command, "web02"]), sentence);
    }
    assert_eq!((site.changing_runs(), site.runs("ca").len()), (before.0 + 1, before.1));
    assert!(!site.node_in_console("web02").is_null());
    assert!(site.espm(&["adopt", "web02"]).status.success());
    done(&site.espm(&["delete", "web02"]));
    assert!(site.node_in_console("web02").is_null());
    site.expect_foreign_untouched();
}

#[test]
fn deletion_by_operator_says_that_another_certificate_stays() {
    let site = Site::open();
    site.add("web01");
    site.puppet(&["cert", "generate", "web01"]);
    let before = valid(&site);
    let output = site.espm(&["delete", "web01"]);
    let said = "espm: the CA has a certificate of web01 that espm did not have made; it stays valid\n";
    assert_eq!((output.status.code(), String::from_utf8_lossy(&output.stderr).as_ref()), (Some(0), said));
    assert_eq!((valid(&site), before.len()), (before, 1));
}

#[test]
fn failed_deletion_by_operator_says_why_and_can_be_repeated() {
    let site = Site::open();
    site.add("web01");
    let serial = generate(&site, "web01");
    let ini = fs::read(site.ini()).unwrap();
    site.configure("console", "command = /nonexistent/rake");
    let output = site.espm(&["delete", "web01"]);
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(1) && complaint.contains("/nonexistent/rake cannot be started"), "{output:?}");
    assert!(revoked(&site).contains(&serial), "the certificate is revoked all the same");
    audited(&site, "operator.delete", "web01", &["attempt", "command-failed"]);
    fs::write(site.ini(), ini).unwrap();
    // The audit's socket is gone: nothing is done unseen.
    let (socket, away) = (site.dir.join("log.sock"), site.dir.join("log.away"));
    fs::rename(&socket, &away).unwrap();
    assert_eq!(site.espm(&["delete", "web01"]).status.code(), Some(1));
    assert!(!site.node_in_console("web01").is_null());
    fs::rename(&away, &socket).unwrap();
    done(&site.espm(&["delete", "web01"]));
    assert!(site.node_in_console("web01").is_null());
}

#[test]
fn nodes_are_listed_as_json() {
    let site = Site::open();
    let listed = |words: &[&str]| -> Value { serde_json::from_str(&text(&site.espm(words))).unwrap() };
    assert_eq!(listed(&["nodes", "--json"]), json!([]));
    let node = json!({"name": "web01", "groups": ["Größe"], "classes": ["ntp"], "parameters": {"role": "\"é\""}});
    site.post("/v1/nodes", &node).expect(201);
    site.add("web02");
    generate(&site, "web02");
    let nodes = listed(&["nodes", "--json"]);
    assert_eq!(nodes.as_array().unwrap().len(), 2);
    let mut first = nodes[0].clone();
    let since = first.as_object_mut().unwrap().remove("since").unwrap();
    assert!(since.as_str().unwrap().ends_with('Z'), "{since}");
    let mut expected = node;
    expected["state"] = json!("active");
    expected["certificate"] = json!(null);
    expected["client"] = json!("cloud");
    assert_eq!(first, expected);
    assert_eq!((&nodes[1]["name"], &nodes[1]["certificate"]), (&json!("web02"), &json!("issued")));
    assert_eq!(listed(&["nodes", "--json", "--unfinished"]), json!([]));
    // A reader that has seen enough, and a disk that is full.
    for (words, to, complaint) in [
        ("nodes", "/dev/full", "espm: standard output: No space left on device (os error 28)\n"),
        ("nodes --json", "/dev/full", "espm: standard output: No space left on device (os error 28)\n"),
    ] {
        let line = format!("{} -c {} {words} >{to}", site.bin("espm").display(), site.ini().display());
        let output = std::process::Command::new("sh").args(["-c", &line]).output().unwrap();
        assert_eq!((output.status.code(), String::from_utf8_lossy(&output.stderr).as_ref()), (Some(1), complaint));
    }
}
