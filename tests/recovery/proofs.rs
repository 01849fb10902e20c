//! Nothing irreversible without proof: a certificate is revoked only where somebody asked or its node is gone.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use serde_json::json;

use crate::harness::certificates::{serial, valid};
use crate::harness::{Answer, Plan, Site};

const WEB01: &str = "/v1/nodes/web01";
const CERTIFICATE: &str = "/v1/nodes/web01/certificate";

fn generate(site: &Site) -> Answer {
    site.ask("POST", CERTIFICATE, None, &[])
}

/// A site with the node web01, and the serial number of its certificate.
fn with_certificate(release: &'static str) -> (Site, String) {
    let site = Site::with(Plan { release, ..Plan::default() });
    site.add("web01");
    let made = generate(&site);
    let serial = serial(made.expect(201));
    (site, serial)
}

/// A change that consoles up to 1.2.22 make by deleting the node and adding it again; one of groups alone they make
/// in place.
fn rebuild(site: &Site) -> Answer {
    site.patch(WEB01, &json!({"groups": ["databases"], "classes": ["mysql"]}))
}

/// What the import of a report makes of an unknown name.
const REPORT: [&str; 4] = ["node:add", "name=web01", "groups=", "classes="];

#[test]
fn node_made_by_report_during_rebuild_keeps_certificate() {
    for point in ["after_node_del", "before_node_add"] {
        let (site, serial) = with_certificate("1.2.8");
        site.paused(point, || rebuild(&site), || site.rake(&REPORT)).expect(404);
        assert_eq!(valid(&site), [serial.clone()].into(), "{point}");
        assert_eq!(site.unfinished()["web01"], "unproven", "{point}");
        // The same where the handler has died.
        let (site, serial) = with_certificate("1.2.8");
        site.stopped_at(point, || rebuild(&site), || site.kill_one("espm")).expect(500);
        site.rake(&REPORT);
        site.go_on();
        site.get(WEB01).expect(404);
        assert_eq!(valid(&site), [serial].into(), "{point}");
        assert_eq!(site.unfinished()["web01"], "unproven", "{point}");
        // The operator decides, and the client's node is as it wanted it.
        assert!(site.espm(&["adopt", "web01"]).status.success());
        rebuild(&site).expect(200);
        assert_eq!(site.node_in_console("web01")["groups"], json!(["databases"]), "{point}");
    }
}

#[test]
fn node_missing_after_rebuild_was_begun_is_added_again() {
    for point in ["after_node_del", "before_node_add", "after_node_add"] {
        let (site, serial) = with_certificate("1.2.8");
        site.fault("console", &format!("die_{point}"), "once");
        rebuild(&site).expect(502);
        if point == "after_node_add" {
            site.rake(&["node:del", "name=web01"]);
        }
        assert_eq!(site.get(WEB01).expect(200).json()["groups"], json!(["databases"]), "{point}");
        assert_eq!(valid(&site), [serial].into(), "{point}");
    }
}

/// Deletes every node, as a wrong or a restored database has none.
fn empty(site: &Site) {
    for name in site.console()["nodes"].as_object().unwrap().keys() {
        site.rake(&["node:del", &format!("name={name}")]);
    }
}

#[test]
fn console_listing_no_node_is_502_and_nothing_is_forgotten_or_revoked() {
    for release in ["1.2.8", "1.2.23"] {
        let (site, serial) = with_certificate(release);
        empty(&site);
        let as_before = || {
            assert_eq!(site.states()["web01"], "active");
            assert_eq!(valid(&site), [serial.clone()].into());
        };
        rebuild(&site).expect(502);
        as_before();
        assert!(!site.espm(&["check", "--settle"]).status.success());
        as_before();
        // Back is the right database.
        site.rake(&["node:add", "name=foreign.example.com", "groups=default", "classes=ntp"]);
        site.rake(&["node:add", "name=web01", "groups=default", "classes=ntp"]);
        rebuild(&site).expect(200);
        empty(&site);
        // The client asks for the revocation; whether the node is gone cannot be known.
        site.delete(WEB01).expect(502);
        assert!(valid(&site).is_empty());
        assert_eq!(site.states()["web01"], "active");
    }
}

#[test]
fn console_listing_no_node_settles_no_unfinished_change() {
    for (release, point, state) in [
        ("1.2.8", "die_before_node_groups", "changing"),
        ("1.2.8", "die_after_node_del", "changing"),
        ("1.2.23", "die_before_node_classes", "changing"),
    ] {
        let (site, serial) = with_certificate(release);
        site.fault("console", point, "once");
        rebuild(&site).expect(502);
        empty(&site);
        for _ in 0..2 {
            rebuild(&site).expect(502);
            assert_eq!(site.states()["web01"], state, "{release} {point}");
            assert_eq!(valid(&site), [serial.clone()].into(), "{release} {point}");
        }
    }
}

#[test]
fn certificate_is_revoked_while_console_fails_and_change_is_unfinished() {
    for (release, point) in [("1.2.8", "die_after_node_del"), ("1.2.23", "die_before_node_classes")] {
        for what in [CERTIFICATE, WEB01] {
            let (site, _) = with_certificate(release);
            site.fault("console", point, "once");
            rebuild(&site).expect(502);
            site.fault("console", "abort", "");
            site.delete(what).expect(if what == WEB01 { 502 } else { 204 });
            assert!(valid(&site).is_empty(), "{release} {what}");
            assert_eq!(site.states()["web01"], "changing");
            site.no_faults("console");
            site.delete(WEB01).expect(204);
            assert!(site.states().is_empty() && site.node_in_console("web01").is_null(), "{release} {what}");
        }
    }
}

#[test]
fn unfinished_generation_is_finished_by_check_and_nothing_is_revoked() {
    let (site, serial) = with_certificate("1.2.8");
    // The client has it and asks once more, and nobody hears the answer.
    let deaf = site.write("deaf-helper", "#!/bin/sh\nexit 69\n");
    fs::set_permissions(&deaf, Permissions::from_mode(0o755)).unwrap();
    site.configure("espm", &format!("helper = {deaf}"));
    generate(&site).expect(502);
    site.configure("espm", &format!("helper = {}", site.bin("espm-helper").display()));
    assert!(site.unfinished().contains_key("web01"));
    let settled = site.espm(&["check", "--settle"]);
    assert!(settled.status.success(), "{settled:?}");
    assert_eq!(valid(&site), [serial].into());
    assert!(site.unfinished().is_empty());
}

#[test]
fn certificate_of_earlier_node_is_revoked_only_when_asked() {
    let (site, serial) = with_certificate("1.2.8");
    // As after a restored backup, which knows the node alone.
    for words in [&["forget", "web01"][..], &["adopt", "web01"], &["assign", "web01", "cloud"]] {
        assert!(site.espm(words).status.success());
    }
    assert_eq!(generate(&site).expect(409).problem(), "certificate-exists");
    assert_eq!(valid(&site), [serial].into());
    site.delete(CERTIFICATE).expect(204);
    assert!(valid(&site).is_empty());
    generate(&site).expect(201);
}
