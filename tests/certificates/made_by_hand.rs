//! Certificates that a human makes or revokes beside espm.
use std::fs;
use std::process::Command;

use super::{CA, CERT, NAME, assert_made, contents, files, generate, path};
use crate::harness::certificates::{revoked, serial, valid};
use crate::harness::{run, wait_until};

#[test]
fn certificate_made_by_hand_for_our_node_is_left_alone() {
    for kind in [CERT, CA] {
        let shop = kind.with_node();
        kind.human(&shop, "generate", NAME);
        let before = (contents(&shop, NAME), shop.runs("ca").len(), valid(&shop));
        assert_eq!(before.2.len(), 1);
        assert_eq!(generate(&shop, NAME).expect(409).problem(), "certificate-exists");
        shop.get(&path(NAME)).expect(404);
        shop.delete(&path(NAME)).expect(404);
        let deleted = shop.delete(&format!("/v1/nodes/{NAME}"));
        deleted.expect(204);
        let records = shop.records_of(&deleted);
        assert!(records.iter().any(|record| record.contains("note=foreign-certificate-left")), "{records:?}");
        assert_eq!((contents(&shop, NAME), shop.runs("ca").len(), valid(&shop)), before);
    }
}

#[test]
fn alternative_name_of_master_is_409() {
    for kind in [CERT, CA] {
        let shop = kind.shop();
        let master = shop.dir.join("ca/ca/signed/master.example.com.pem");
        let names = "subjectAltName=DNS:master.example.com,DNS:puppet,DNS:Puppet.Example.com,IP:192.0.2.7";
        run(Command::new("openssl")
            .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "9"])
            .args(["-subj", "/CN=master.example.com", "-addext", names, "-keyout", "/dev/null", "-out"])
            .arg(&master));
        for name in ["puppet", "puppet.example.com"] {
            shop.add(name);
            assert_eq!(generate(&shop, name).expect(409).problem(), "certificate-exists", "{name}");
            shop.get(&path(name)).expect(404);
            shop.delete(&format!("/v1/nodes/{name}")).expect(204);
        }
        shop.add("puppet2.example.com");
        generate(&shop, "puppet2.example.com").expect(201);
        // What cannot be read has no names that are known.
        fs::write(&master, "").unwrap();
        shop.add(NAME);
        generate(&shop, NAME).expect(502);
        fs::remove_file(&master).unwrap();
        generate(&shop, NAME).expect(201);
        assert_eq!(shop.count("ca", "generate"), 2);
    }
}

#[test]
fn certificate_made_by_hand_in_place_of_ours_is_left_alone() {
    for kind in [CERT, CA] {
        let shop = kind.with_node();
        let ours = generate(&shop, NAME);
        kind.human(&shop, "clean", NAME);
        for file in files(&shop, NAME).iter().filter(|file| file.starts_with("ca/")) {
            fs::remove_file(shop.dir.join(file)).unwrap();
        }
        shop.get(&path(NAME)).expect(404);
        kind.human(&shop, "generate", NAME);
        let key = shop.file(&format!("ca/ssl/private_keys/{NAME}.pem"));
        shop.get(&path(NAME)).expect(404);
        assert_eq!(generate(&shop, NAME).expect(409).problem(), "certificate-exists");
        shop.delete(&path(NAME)).expect(404);
        shop.delete(&format!("/v1/nodes/{NAME}")).expect(204);
        assert_eq!(shop.file(&format!("ca/ssl/private_keys/{NAME}.pem")), key);
        assert_eq!(revoked(&shop), [serial(&ours)].into());
        assert_eq!(valid(&shop).len(), 1);
    }
}

#[test]
fn certificate_revoked_by_hand_is_not_handed_out_again() {
    for kind in [CERT, CA] {
        let shop = kind.with_node();
        let first = generate(&shop, NAME);
        kind.human(&shop, "revoke", NAME);
        assert_eq!(valid(&shop), [].into());
        shop.get(&path(NAME)).expect(404);
        assert_made(&shop, generate(&shop, NAME).expect(201));
        // What is there when the CA's copy is not, another's key or certificate, is a human's.
        kind.human(&shop, "revoke", NAME);
        let signed = shop.dir.join(format!("ca/ca/signed/{NAME}.pem"));
        for directory in ["private_keys", "certs"] {
            let _ = fs::remove_file(&signed);
            let theirs = shop.dir.join(format!("ca/ssl/{directory}/{NAME}.pem"));
            fs::copy(shop.dir.join(format!("ca/ssl/{directory}/master.example.com.pem")), &theirs).unwrap();
            shop.delete(&path(NAME)).expect(204);
            assert!(theirs.exists(), "{kind:?} {directory}");
            for file in files(&shop, NAME) {
                fs::remove_file(shop.dir.join(file)).unwrap();
            }
            generate(&shop, NAME).expect(201);
            kind.human(&shop, "revoke", NAME);
        }
        assert!(revoked(&shop).contains(&serial(&first)));
    }
}

#[test]
fn certificate_for_another_key_appearing_meanwhile_is_409() {
    let shop = CA.with_node();
    generate(&shop, NAME).expect(201);
    let signed = format!("ca/ca/signed/{NAME}.pem");
    let humans = shop.file(&signed);
    shop.delete(&path(NAME)).expect(204);
    shop.fault("ca", "pause_after_key.once", "");
    shop.fault("ca", "fail_after_key.once", "");
    let ours = std::thread::scope(|scope| {
        let ours = scope.spawn(|| generate(&shop, NAME));
        wait_until("our key is made", || shop.dir.join("ca/reached").exists());
        shop.write(&signed, &humans);
        shop.write("ca/continue", "");
        ours.join().unwrap()
    });
    assert_eq!(ours.expect(409).problem(), "certificate-exists");
    shop.delete(&format!("/v1/nodes/{NAME}")).expect(204);
    assert_eq!((shop.file(&signed), shop.count("ca", "revoke")), (humans, 1));
}
