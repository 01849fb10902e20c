//! Audit records of requests, with syslog and without.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;

use serde_json::json;

use crate::harness::{Answer, Plan, Site, wait_until};

/// The value of a field of a record.
fn field(record: &str, name: &str) -> String {
    let at = record.find(&format!(" {name}=")).unwrap_or_else(|| panic!("{name}: {record}"));
    let value = &record[at + name.len() + 2..];
    match value.strip_prefix('"') {
        Some(quoted) => quoted.split('"').next().unwrap().to_owned(),
        None => value.split(' ').next().unwrap().to_owned(),
    }
}

/// The one record of an answer's request.
#[track_caller]
fn only_record(site: &Site, answer: &Answer) -> String {
    let records = site.records_of(answer);
    assert_eq!(records.len(), 1, "{records:?}");
    records[0].clone()
}

impl Site {
    fn syslog_goes(&self) {
        fs::rename(self.dir.join("log.sock"), self.dir.join("log.away")).unwrap();
    }

    fn syslog_comes_back(&self) {
        fs::rename(self.dir.join("log.away"), self.dir.join("log.sock")).unwrap();
    }

    fn kept_records(&self) -> usize {
        fs::read_dir(self.dir.join("state/unsent")).unwrap().count()
    }
}

#[test]
fn change_is_recorded_before_and_after() {
    let site = Site::open();
    let added = site.paused(
        "before_node_add",
        || {
            let body =
                json!({"name": "web01", "groups": ["web servers"], "classes": ["ntp"], "parameters": {"role": "x"}});
            site.post("/v1/nodes", &body)
        },
        || {
            let so_far = site.audit();
            assert!(so_far.iter().any(|record| record.contains("event=node.add outcome=attempt")), "{so_far:?}");
            assert!(!so_far.iter().any(|record| record.contains("outcome=created")), "{so_far:?}");
        },
    );
    let changed = site.patch("/v1/nodes/web01", &json!({"classes": []}));
    let deleted = site.delete("/v1/nodes/web01");
    for (answer, event, outcome, status) in [
        (added, "node.add", "created", "201"),
        (changed, "node.change", "ok", "200"),
        (deleted, "node.delete", "gone", "204"),
    ] {
        let records = site.records_of(&answer);
        assert_eq!(records.len(), 2, "{records:?}");
        for (record, outcome, status) in [(&records[0], "attempt", "-"), (&records[1], outcome, status)] {
            // Facility authpriv (10), severity notice (5): RFC 5424, section 6.2.1.
            assert!(record.starts_with("<85>"), "{record}");
            assert_eq!(
                ["event", "outcome", "status", "client", "addr", "node", "request"].map(|name| field(record, name)),
                [event, outcome, status, "cloud", "127.0.0.1", "web01", answer.header("x-request-id")]
            );
        }
        let words = |name: &str| records.iter().map(|record| field(record, name)).collect::<Vec<_>>();
        match event {
            "node.add" => {
                assert_eq!(words("groups"), ["web servers"; 2]);
                assert_eq!(words("classes"), ["ntp"; 2]);
                assert_eq!(words("parameters"), ["role"; 2]);
            }
            "node.change" => assert_eq!(words("classes"), [""; 2]),
            _ => {}
        }
        assert!(field(&records[1], "took_ms").parse::<u64>().is_ok() && !records[0].contains("took_ms"));
    }
}

#[test]
fn read_and_refusal_are_one_record_and_health_is_none() {
    let site = Site::open();
    site.add("web01");
    let answers = [
        (site.get("/v1/classes"), "class.list", "ok", "cloud"),
        (site.get("/v1/groups"), "group.list", "ok", "cloud"),
        (site.get("/v1/nodes/web01"), "node.show", "ok", "cloud"),
        (site.get("/v1/nodes/none"), "node.show", "not-found", "cloud"),
        (site.delete("/v1/nodes/none"), "node.delete", "not-found", "cloud"),
        (site.post("/v1/nodes", &json!({"name": "web01"})), "node.add", "name-taken", "cloud"),
        (site.post("/v1/nodes", &json!({"name": "WEB01"})), "node.add", "invalid", "cloud"),
        (site.ask("POST", "/v1/nodes", Some("{"), &[]), "node.add", "bad-json", "cloud"),
        (site.get("/v1/nothing"), "request", "not-found", "cloud"),
        (site.ask("GET", "/v1/classes", None, &["X-ESPM-PSK: wrong"]), "request", "unauthorized", "-"),
    ];
    for (answer, event, outcome, client) in answers {
        let records = site.records_of(&answer);
        // The cause of a failure is a record of its own kind.
        let records: Vec<_> = records.iter().filter(|record| !record.contains("outcome=cause")).collect();
        assert_eq!(records.len(), 1, "{records:?}");
        let status = answer.status.to_string();
        assert_eq!(
            ["event", "outcome", "client", "status"].map(|name| field(records[0], name)),
            [event, outcome, client, status.as_str()]
        );
    }
    let records = site.audit().len();
    site.get("/v1/health").expect(200);
    only_record(&site, &site.get("/v1/classes"));
    assert_eq!(site.audit().len(), records + 1);
}

#[test]
fn missing_syslog_makes_changes_503_and_reads_200() {
    let site = Site::open();
    for name in ["web01", "unfinished", "missing", "certified"] {
        site.add(name);
    }
    let change = |name: &str| site.patch(&format!("/v1/nodes/{name}"), &json!({"groups": []}));
    site.ask("POST", "/v1/nodes/certified/certificate", None, &[]).expect(201);
    site.rake(&["node:del", "name=missing"]);
    site.fault("console", "die_before_node_groups", "once");
    change("unfinished").expect(502);
    let seen = || (site.console(), site.changing_runs(), site.runs("ca"), site.states());
    let before = seen();
    site.syslog_goes();
    let refused = [
        site.post("/v1/nodes", &json!({"name": "web02"})),
        change("web01"),
        site.delete("/v1/nodes/web01"),
        site.ask("POST", "/v1/nodes/web01/certificate", None, &[]),
        site.delete("/v1/nodes/certified/certificate"),
        // Nor is an earlier change settled, or forgotten what somebody has deleted.
        change("unfinished"),
        change("missing"),
    ];
    for answer in &refused {
        assert_eq!(answer.expect(503).problem(), "unavailable");
        assert_ne!(answer.header("retry-after"), "");
    }
    assert_eq!(seen(), before);
    for path in ["/v1/nodes/web01", "/v1/classes", "/v1/health"] {
        site.get(path).expect(200);
    }
    assert_eq!(site.unfinished().into_keys().collect::<Vec<_>>(), ["unfinished"]);
    // No one without a key, and nobody who only looks, can fill the disk meanwhile.
    site.ask("DELETE", "/v1/nodes/web01", None, &["X-ESPM-PSK: wrong"]).expect(401);
    assert_eq!(site.kept_records(), refused.len());

    site.syslog_comes_back();
    site.get("/v1/health").expect(200);
    for answer in &refused {
        assert_eq!(field(&only_record(&site, answer), "status"), "503");
    }
    wait_until("all kept records are sent", || site.kept_records() == 0);
    site.delete("/v1/nodes/web01").expect(204);
    for (name, status, note) in [("unfinished", 200, "recovered"), ("missing", 404, "missing-in-console")] {
        let records = site.records_of(change(name).expect(status));
        assert_eq!(field(records.last().unwrap(), "note"), note);
    }
}

#[test]
fn stuck_syslog_delays_no_request_for_good() {
    let site = Site::open();
    site.get("/v1/classes").expect(200);
    site.syslog_goes();
    let deaf = UnixDatagram::bind(site.dir.join("log.sock")).unwrap();
    fs::set_permissions(site.dir.join("log.sock"), fs::Permissions::from_mode(0o666)).unwrap();
    let filler = UnixDatagram::unbound().unwrap();
    filler.set_nonblocking(true).unwrap();
    while filler.send_to(b"x", site.dir.join("log.sock")).is_ok() {}
    site.get("/v1/classes").expect(200);
    assert_eq!(site.post("/v1/nodes", &json!({"name": "web01"})).expect(503).problem(), "unavailable");
    assert!(site.states().is_empty());
    drop(deaf);
}

#[test]
fn outcome_kept_while_syslog_was_gone_is_sent_later() {
    let site = Site::open();
    let add = || site.post("/v1/nodes", &json!({"name": "web01"}));
    let added = site.paused("before_node_add", add, || site.syslog_goes());
    added.expect(201);
    assert_eq!(site.kept_records(), 1);
    site.syslog_comes_back();
    site.get("/v1/health").expect(200);
    let records = site.records_of(&added);
    assert_eq!(records.iter().map(|record| field(record, "outcome")).collect::<Vec<_>>(), ["attempt", "created"]);
    assert_eq!(site.kept_records(), 0);
}

#[test]
fn refusals_without_syslog_are_bounded_and_outcomes_are_kept() {
    const MOST: usize = 1000;
    let site = Site::open();
    let add = |name: &str| site.post("/v1/nodes", &json!({"name": name}));
    let added = site.paused(
        "before_node_add",
        || add("web01"),
        || {
            site.syslog_goes();
            for number in 1..MOST {
                site.write(&format!("state/unsent/{number}"), "event=node.add outcome=unavailable");
            }
            for kept in [MOST, MOST] {
                add("web02").expect(503);
                assert_eq!(site.kept_records(), kept);
            }
        },
    );
    added.expect(201);
    assert_eq!(site.kept_records(), MOST + 1);
}

#[test]
fn changes_without_syslog_are_made_when_audit_is_not_required() {
    let site = Site::with(Plan { ini: vec![("audit", "required = no")], ..Plan::default() });
    site.syslog_goes();
    let added = site.post("/v1/nodes", &json!({"name": "web01"}));
    added.expect(201);
    let deleted = site.delete("/v1/nodes/web01");
    deleted.expect(204);
    site.syslog_comes_back();
    site.get("/v1/classes").expect(200);
    for (answer, outcome) in [(added, "created"), (deleted, "gone")] {
        assert_eq!(field(&only_record(&site, &answer), "outcome"), outcome);
    }
}
