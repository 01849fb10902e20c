//! A CA that was made anew, or restored from a backup: serial numbers are given out again, to others.
use std::fs;
use std::path::Path;
use std::process::Command;

use super::{ALL, BY_API, CA, CERT, Kind, NAME, assert_made, flavour, generate, path};
use crate::harness::certificates::{revoked, serial, valid};
use crate::harness::{Answer, Site, run};

const HAND: &str = "hand01.example.com";

fn copy(from: &Path, to: &Path) {
    let _ = fs::remove_dir_all(to);
    run(Command::new("cp").arg("-a").arg(from).arg(to));
}

/// Brings the CA into the state before the certificate was made, in several ways.
fn turn_back(site: &Site, kind: Kind, how: &str, backup: &Path) {
    match how {
        "anew" if kind != CERT => site.puppet(&["anew", "--intermediate"]),
        "anew" => site.puppet(&["anew"]),
        _ => {
            for part in ["ca", "ssl"] {
                copy(&backup.join(part), &site.dir.join("ca").join(part));
            }
        }
    }
    let human = if how == "restored, the same name" { NAME } else { HAND };
    // Until a human has the number that was espm's.
    kind.human(site, "generate", human);
}

#[track_caller]
fn assert_void(site: &Site, answer: &Answer) {
    let records = site.records_of(answer);
    assert!(records.iter().any(|record| record.contains("note=certificate-void")), "{records:?}");
}

#[test]
fn nothing_is_revoked_for_certificate_of_another_or_restored_ca() {
    for (kind, puppet) in [(CERT, "5.5"), (CERT, "2.7.12"), (CA, "7.9"), (CA, "8.7"), (BY_API, "8.7")] {
        for how in ["anew", "restored", "restored, the same name"] {
            let site = kind.with_node();
            flavour(&site, puppet);
            let backup = site.dir.join("backup");
            for part in ["ca", "ssl"] {
                fs::create_dir_all(&backup).unwrap();
                copy(&site.dir.join("ca").join(part), &backup.join(part));
            }
            let ours = generate(&site, NAME);
            ours.expect(201);
            turn_back(&site, kind, how, &backup);
            let at = format!("{kind:?} {puppet} {how}");
            let humans = valid(&site);
            assert_eq!(humans, [serial(&ours)].into(), "{at}: it has the number");
            let signed = site.file(&format!("ca/ca/signed/{NAME}.pem"));
            site.get(&path(NAME)).expect(404);
            let gone = site.delete(&path(NAME));
            gone.expect(404);
            assert_void(&site, &gone);
            assert_eq!((valid(&site), revoked(&site), kind.revoked(&site)), (humans.clone(), [].into(), 0), "{at}");
            assert_eq!(site.file(&format!("ca/ca/signed/{NAME}.pem")), signed, "{at}: no old certificate is put there");
            let next = generate(&site, NAME);
            if how == "restored, the same name" {
                assert_eq!(next.expect(409).problem(), "certificate-exists", "{at}");
            } else {
                next.expect(201);
                assert_void(&site, &next);
                site.delete(&format!("/v1/nodes/{NAME}")).expect(204);
                assert_eq!(revoked(&site), [serial(&next)].into(), "{at}");
            }
            assert_eq!(valid(&site), humans, "{at}");
        }
    }
}

#[test]
fn number_that_new_ca_gives_to_espm_again_is_revoked() {
    for kind in ALL {
        let site = kind.with_node();
        let before = generate(&site, NAME);
        site.puppet(if kind != CERT { &["anew", "--intermediate"] } else { &["anew"] });
        let next = generate(&site, NAME);
        assert_eq!(serial(next.expect(201)), serial(&before));
        assert_void(&site, &next);
        site.delete(&path(NAME)).expect(204);
        assert_eq!((valid(&site), revoked(&site)), ([].into(), [serial(&next)].into()));
        assert_made(&site, generate(&site, NAME).expect(201));
    }
}

#[test]
fn renewal_of_what_restored_ca_has_forgotten_is_revoked() {
    for (kind, puppet) in [(CERT, "5.5"), (CA, "8.7"), (BY_API, "8.7")] {
        let site = kind.with_node();
        flavour(&site, puppet);
        let backup = site.dir.join("backup");
        copy(&site.dir.join("ca/ca"), &backup);
        let made = generate(&site, NAME);
        made.expect(201);
        copy(&backup, &site.dir.join("ca/ca"));
        kind.human(&site, "generate", HAND);
        let humans = valid(&site);
        // The agent has its own copy.
        let agents = format!("ca/ssl/certs/{NAME}.pem");
        let is_there = site.dir.join(&agents).exists();
        site.write(&agents, made.expect(201).json()["certificate"].as_str().unwrap());
        site.puppet(&["agent", "renew", NAME]);
        if !is_there {
            fs::remove_file(site.dir.join(&agents)).unwrap();
        }
        site.get(&path(NAME)).expect(200);
        site.delete(&path(NAME)).expect(204);
        assert_eq!((valid(&site), revoked(&site).len()), (humans, 1), "{kind:?}");
    }
}

#[test]
fn certificate_counts_again_when_its_ca_is_back() {
    for kind in ALL {
        let site = kind.with_node();
        let ours = generate(&site, NAME);
        let backup = site.dir.join("backup");
        fs::create_dir(&backup).unwrap();
        for part in ["ca", "ssl"] {
            copy(&site.dir.join("ca").join(part), &backup.join(part));
        }
        turn_back(&site, kind, "anew", &backup);
        site.delete(&path(NAME)).expect(404);
        for part in ["ca", "ssl"] {
            copy(&backup.join(part), &site.dir.join("ca").join(part));
        }
        assert_eq!(site.get(&path(NAME)).status, 404, "the ledger has forgotten it, the record has not");
        site.delete(&path(NAME)).expect(204);
        assert_eq!((valid(&site), revoked(&site)), ([].into(), [serial(&ours)].into()));
        assert_made(&site, generate(&site, NAME).expect(201));
    }
}
