//! `espm assign`: a node is given to a client.

use serde_json::{Value, json};

use crate::harness::Site;
use crate::harness::check::{all_is_well, one_fault, text};

#[test]
fn node_given_to_another_client_is_its_own_with_all_it_has() {
    let site = Site::open();
    let body = json!({"name": "web01", "classes": ["ntp"]}).to_string();
    let keyed = || site.ask("POST", "/v1/nodes", Some(&body), &["Idempotency-Key: k"]);
    let shown = keyed().expect(201).json();
    site.ask("POST", "/v1/nodes/web01/certificate", None, &[]).expect(201);
    let runs = (site.runs("console").len(), site.runs("ca").len());
    let output = site.espm(&["assign", "web01", "other"]);
    assert!(output.status.success() && output.stdout.is_empty() && output.stderr.is_empty(), "{output:?}");
    assert_eq!((site.runs("console").len(), site.runs("ca").len()), runs);
    site.get("/v1/nodes/web01").expect(404);
    // Its first client's answer is not kept.
    assert_eq!(keyed().expect(409).problem(), "name-taken");
    assert_eq!(site.ask_as_other("GET", "/v1/nodes/web01", None, &[]).expect(200).json(), shown);
    site.ask_as_other("GET", "/v1/nodes/web01/certificate", None, &[]).expect(200);
    let listed: Value = serde_json::from_str(&text(&site.espm(&["nodes", "--json"]))).unwrap();
    assert_eq!(listed[0]["client"], "other");
    assert!(text(&site.espm(&["nodes"])).contains(" other      web01\n"));
    let records = site.audit();
    let of: Vec<_> = records.iter().filter(|record| record.contains("event=operator.assign ")).collect();
    assert_eq!(of.len(), 2);
    assert!(of.iter().all(|record| record.contains("client=operator addr=- node=web01 to=other")), "{of:?}");
    site.ask_as_other("DELETE", "/v1/nodes/web01", None, &[]).expect(204);
}

#[test]
fn node_is_given_to_no_client_that_is_not_there() {
    let site = Site::open();
    site.add("web01");
    for (words, why) in [
        (
            ["web01", "nobody"],
            "there is no client nobody; 'espm-setup client add nobody' adds it, or name one of cloud, other",
        ),
        (["web99", "other"], "web99 is not in the ledger; 'espm nodes' lists all that are"),
        (["web01", "Other"], "a client's name is"),
    ] {
        let output = site.espm(&[&["assign"], &words[..]].concat());
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains(why), "{said}");
    }
    site.get("/v1/nodes/web01").expect(200);
}

#[test]
fn node_of_ledger_from_before_is_nobodys_until_it_is_given() {
    let site = Site::open();
    site.add("web01");
    // As the upgrade of a ledger of version 1 leaves it.
    let ledger = site.dir.join("state/ledger.sqlite");
    crate::harness::run(std::process::Command::new("sqlite3").arg(ledger).arg("UPDATE node SET client = NULL"));
    site.get("/v1/nodes/web01").expect(404);
    let again = site.post("/v1/nodes", &json!({"name": "web01"}));
    assert_eq!(again.expect(409).problem(), "name-taken");
    assert!(text(&site.espm(&["nodes"])).contains(" -          web01\n"));
    one_fault(&site, &["FAIL  clients: 1 node belongs to no client, so no client sees them; 'espm nodes' lists them"]);
    assert!(site.espm(&["assign", "web01", "cloud"]).status.success());
    site.get("/v1/nodes/web01").expect(200);
    all_is_well(&site);
    site.delete("/v1/nodes/web01").expect(204);
}
