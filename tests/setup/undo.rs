//! The way back from a set-up that has made nothing yet.

use std::fs;
use std::process::Command;

use super::Place;
use crate::harness::{Site, run};

#[test]
fn undone_set_up_leaves_what_was_before_and_can_be_done_again() {
    let place = Place::new();
    let before = place.listing();
    place.done(&["--console-release", "3.0"]);
    fs::write(place.path("etc/catalogue.ini"), "[classes]\nnames = ntp\n").unwrap();
    let undone = place.done(&["--undo"]);
    for name in ["etc/espm.ini", "etc/certs/espm.pem", "etc/certs/espm.key", "state/ledger.sqlite"] {
        assert!(undone.contains(&format!("\n    {}\n", place.path(name).display())), "{name}: {undone}");
    }
    fs::remove_file(place.path("etc/catalogue.ini")).unwrap();
    assert!(place.listing() == before, "something else is there");
    place.done(&[]);
    // A set-up that was killed before its last file, and one that has a certificate of the operator's.
    fs::rename(place.path("etc/espm.ini"), place.path("etc/espm.ini.new")).unwrap();
    place.done(&["--undo"]);
    assert!(place.listing() == before, "something else is there");
    place.done(&[]);
    let own = place.path("etc/certs/own.pem").display().to_string();
    fs::write(&own, "").unwrap();
    let ini = place.path("etc/espm.ini");
    let text = fs::read_to_string(&ini).unwrap().replace(&place.path("etc/certs/espm.pem").display().to_string(), &own);
    fs::write(&ini, text).unwrap();
    place.done(&["--undo"]);
    assert!(place.path("etc/certs/own.pem").exists() && place.path("etc/certs/espm.pem").exists());
}

#[test]
fn set_up_with_node_or_record_is_not_undone() {
    let site = Site::open();
    site.add("web01").expect(201);
    let at = |name: &str| site.dir.join(name).display().to_string();
    let undo = || {
        let mut setup = Command::new(site.bin("espm-setup"));
        setup.args(["-d", &at("etc"), "-c", &at("etc/certs"), "--undo"]).output().unwrap()
    };
    let said = undo();
    let text = String::from_utf8_lossy(&said.stderr).into_owned();
    assert!(!said.status.success() && text.contains("ledger.sqlite has 1 node; uninstall it instead"), "{text}");
    site.get("/v1/nodes/web01").expect(200);
    site.delete("/v1/nodes/web01").expect(204);
    fs::write(site.dir.join("records/web01.json"), "{}").unwrap();
    let text = String::from_utf8_lossy(&undo().stderr).into_owned();
    assert!(text.contains("web01.json is the record of a certificate"), "{text}");
    fs::remove_file(site.dir.join("records/web01.json")).unwrap();
    run(Command::new(site.bin("espm-setup")).args(["-d", &at("etc"), "-c", &at("etc/certs"), "--undo"]));
    assert!(!site.ini().exists() && !site.dir.join("state/ledger.sqlite").exists());
}
