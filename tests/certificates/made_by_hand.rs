//! Certificates that a human makes or revokes beside espm.
use std::fs;
use std::process::Command;

use super::command_faults::running;
use super::{ALL, CA, CERT, NAME, assert_made, contents, files, generate, path};
use crate::harness::certificates::{revoked, serial, valid, x509};
use crate::harness::{run, wait_until};

#[test]
fn certificate_made_by_hand_for_our_node_is_left_alone() {
    for kind in ALL {
        let site = kind.with_node();
        kind.human(&site, "generate", NAME);
        let before = (contents(&site, NAME), site.runs("ca").len(), valid(&site));
        assert_eq!(before.2.len(), 1);
        assert_eq!(generate(&site, NAME).expect(409).problem(), "certificate-exists");
        site.get(&path(NAME)).expect(404);
        site.delete(&path(NAME)).expect(404);
        let deleted = site.delete(&format!("/v1/nodes/{NAME}"));
        deleted.expect(204);
        let records = site.records_of(&deleted);
        assert!(records.iter().any(|record| record.contains("note=foreign-certificate-left")), "{records:?}");
        assert_eq!((contents(&site, NAME), site.runs("ca").len(), valid(&site)), before);
    }
}

#[test]
fn alternative_name_of_master_is_409() {
    for kind in ALL {
        let site = kind.site();
        let master = site.dir.join("ca/ca/signed/master.example.com.pem");
        let names = "subjectAltName=DNS:master.example.com,DNS:puppet,DNS:Puppet.Example.com,IP:192.0.2.7";
        run(Command::new("openssl")
            .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "9"])
            .args(["-subj", "/CN=master.example.com", "-addext", names, "-keyout", "/dev/null", "-CA", "ca_crt.pem"])
            .args(["-CAkey", "ca_key.pem", "-out"])
            .arg(&master)
            .current_dir(site.dir.join("ca/ca")));
        for name in ["puppet", "puppet.example.com"] {
            site.add(name);
            assert_eq!(generate(&site, name).expect(409).problem(), "certificate-exists", "{name}");
            site.get(&path(name)).expect(404);
            site.delete(&format!("/v1/nodes/{name}")).expect(204);
        }
        site.add("puppet2.example.com");
        generate(&site, "puppet2.example.com").expect(201);
        // What cannot be read has no names that are known.
        fs::write(&master, "").unwrap();
        site.add(NAME);
        generate(&site, NAME).expect(502);
        fs::remove_file(&master).unwrap();
        generate(&site, NAME).expect(201);
        assert_eq!(kind.generated(&site), 2);
    }
}

#[test]
fn certificate_made_by_hand_in_place_of_ours_is_left_alone() {
    for kind in ALL {
        let site = kind.with_node();
        let ours = generate(&site, NAME);
        kind.human(&site, "clean", NAME);
        for file in files(&site, NAME).iter().filter(|file| file.starts_with("ca/")) {
            fs::remove_file(site.dir.join(file)).unwrap();
        }
        site.get(&path(NAME)).expect(404);
        kind.human(&site, "generate", NAME);
        let key = site.file(&format!("ca/ssl/private_keys/{NAME}.pem"));
        site.get(&path(NAME)).expect(404);
        assert_eq!(generate(&site, NAME).expect(409).problem(), "certificate-exists");
        site.delete(&path(NAME)).expect(404);
        site.delete(&format!("/v1/nodes/{NAME}")).expect(204);
        assert_eq!(site.file(&format!("ca/ssl/private_keys/{NAME}.pem")), key);
        assert_eq!(revoked(&site), [serial(&ours)].into());
        assert_eq!(valid(&site).len(), 1);
    }
}

#[test]
fn certificate_revoked_by_hand_is_not_handed_out_again() {
    for kind in ALL {
        let site = kind.with_node();
        let first = generate(&site, NAME);
        kind.human(&site, "revoke", NAME);
        assert_eq!(valid(&site), [].into());
        site.get(&path(NAME)).expect(404);
        assert_made(&site, generate(&site, NAME).expect(201));
        // Without the CA's copy, a key or certificate that is another's belongs to a human.
        kind.human(&site, "revoke", NAME);
        let signed = site.dir.join(format!("ca/ca/signed/{NAME}.pem"));
        for directory in ["private_keys", "certs"] {
            let _ = fs::remove_file(&signed);
            let theirs = site.dir.join(format!("ca/ssl/{directory}/{NAME}.pem"));
            fs::copy(site.dir.join(format!("ca/ssl/{directory}/master.example.com.pem")), &theirs).unwrap();
            site.delete(&path(NAME)).expect(204);
            assert!(theirs.exists(), "{kind:?} {directory}");
            for file in files(&site, NAME) {
                fs::remove_file(site.dir.join(file)).unwrap();
            }
            generate(&site, NAME).expect(201);
            kind.human(&site, "revoke", NAME);
        }
        assert!(revoked(&site).contains(&serial(&first)));
    }
}

#[test]
fn certificate_that_human_has_signed_since_is_left_alone() {
    for kind in [CERT, CA] {
        for helper_dies in [false, true] {
            let site = kind.with_node();
            let replace = || site.puppet(&["human", "duplicate", NAME]);
            if helper_dies {
                let kill = || site.kill_one("espm-helper");
                site.stopped_in("ca", "after_sign", || generate(&site, NAME), kill).expect(502);
                replace();
                site.write("ca/continue", "");
                wait_until("the command has ended", || running(&site) == 0);
            } else {
                let answer = site.paused_in("ca", "after_sign", || generate(&site, NAME), replace);
                let problem = if kind == CERT { "certificate-replaced" } else { "certificate-exists" };
                assert_eq!(answer.expect(409).problem(), problem);
            }
            let signed = site.file(&format!("ca/ca/signed/{NAME}.pem"));
            let humans = x509(&signed, &["-serial"]);
            let deleted = site.delete(&path(NAME));
            assert!(!revoked(&site).contains(&humans), "{kind:?} {helper_dies}");
            // The node's copy tells which is espm's; a server's command has fetched the human's.
            assert_eq!(deleted.status, if kind == CERT { 204 } else { 404 }, "{kind:?} {helper_dies} {deleted:?}");
            assert_eq!(valid(&site).len(), if kind == CERT { 1 } else { 2 });
            assert_eq!(site.file(&format!("ca/ca/signed/{NAME}.pem")), signed);
        }
    }
}

#[test]
fn certificate_for_another_key_appearing_meanwhile_is_409() {
    let site = CA.with_node();
    generate(&site, NAME).expect(201);
    let signed = format!("ca/ca/signed/{NAME}.pem");
    let humans = site.file(&signed);
    site.delete(&path(NAME)).expect(204);
    site.fault("ca", "fail_after_key.once", "");
    let appear = || drop(site.write(&signed, &humans));
    let ours = site.paused_in("ca", "after_key", || generate(&site, NAME), appear);
    assert_eq!(ours.expect(409).problem(), "certificate-exists");
    site.delete(&format!("/v1/nodes/{NAME}")).expect(204);
    assert_eq!((site.file(&signed), site.count("ca", "revoke")), (humans, 1));
}
