//! Certificates that were renewed, replaced, lost or that have expired.
use std::fs;

use super::{ALL, BY_API, CA, CERT, Kind, NAME, assert_made, cause, files, flavour, generate, path};
use crate::harness::certificates::{revoked, serial, valid};
use crate::harness::check::{all_is_well, check, one_fault};
use crate::harness::{Site, wait_until};

/// A CA's kind, and a Puppet that renews.
const RENEWING: [(Kind, &str); 3] = [(CERT, "5.5"), (CA, "8.7"), (BY_API, "8.7")];

fn site(kind: Kind, puppet: &str) -> Site {
    let site = kind.with_node();
    flavour(&site, puppet);
    site
}

fn node() -> String {
    format!("/v1/nodes/{NAME}")
}

#[test]
fn every_renewal_is_shown_and_revoked() {
    for (kind, puppet) in RENEWING {
        for times in [1, 3] {
            let site = site(kind, puppet);
            let first = generate(&site, NAME);
            for _ in 0..times {
                site.puppet(&["agent", "renew", NAME]);
            }
            assert_eq!(valid(&site).len(), times + 1);
            let shown = site.get(&path(NAME));
            assert_ne!(serial(shown.expect(200)), serial(&first));
            let again = generate(&site, NAME);
            assert_eq!(serial(again.expect(200)), serial(&shown));
            assert_eq!(again.json()["private_key"], first.json()["private_key"]);
            site.delete(&path(NAME)).expect(204);
            assert_eq!((valid(&site), revoked(&site).len()), ([].into(), times + 1), "{kind:?}");
            assert_eq!(files(&site, NAME), [].into());
            assert_made(&site, generate(&site, NAME).expect(201));
        }
    }
}

/// The metrics about the ends of certificates.
fn ends(site: &Site) -> Vec<String> {
    let text = String::from_utf8(site.espm(&["check", "--prometheus"]).stdout).unwrap();
    let lines = text.lines().filter_map(|line| line.strip_prefix("espm_node_certificates"));
    lines.map(|line| line.replace("_ending{within_days=", "").replace(['"', '}'], "").trim().to_owned()).collect()
}

#[test]
fn certificate_near_its_end_fails_check_until_it_is_renewed_or_revoked() {
    const DAY: i64 = 86_400;
    for (kind, puppet) in RENEWING {
        let site = site(kind, puppet);
        all_is_well(&site);
        assert_eq!(ends(&site), ["0", "0 0", "7 0", "30 0", "90 0"]);
        let old = |days: i64| {
            site.fault("ca", "starts_in.once", &(-1800 * DAY).to_string());
            site.fault("ca", "ends_in.once", &(days * DAY + 60).to_string());
            generate(&site, NAME).expect(201);
        };
        old(12);
        one_fault(
            &site,
            &["node certificates: that of web01.example.com ends at 20", "Z; ", "espm revoke web01.example.com,"],
        );
        assert_eq!(ends(&site), ["1", "0 0", "7 0", "30 1", "90 1"]);
        // A certificate that a human has had made is none of espm's.
        kind.human(&site, "generate", "other.example.com");
        assert_eq!(ends(&site)[0], "1");
        // Renewed, in the CA's copy and in its inventory alone.
        site.puppet(&["agent", "renew", NAME]);
        all_is_well(&site);
        assert_eq!(ends(&site), ["1", "0 0", "7 0", "30 0", "90 0"]);
        site.delete(&path(NAME)).expect(204);
        assert_eq!(ends(&site)[0], "0");
        old(29);
        one_fault(&site, &["node certificates: "]);
        // Whose node is forgotten is not espm's to revoke.
        assert!(site.espm(&["forget", NAME]).status.success());
        assert_eq!((check(&site).0, &ends(&site)[..1]), (vec![], &["1".to_owned()][..]));
        for words in [&["adopt", NAME][..], &["assign", NAME, "cloud"]] {
            assert!(site.espm(words).status.success(), "{words:?}");
        }
        site.delete(&path(NAME)).expect(204);
        all_is_well(&site);
        // One that is made for a short time is always near its end.
        site.fault("ca", "ends_in.once", &(6 * DAY).to_string());
        generate(&site, NAME).expect(201);
        all_is_well(&site);
        assert_eq!(ends(&site), ["1", "0 0", "7 1", "30 1", "90 1"]);
    }
}

#[test]
fn renewal_during_revocation_is_revoked_too() {
    for (kind, puppet) in RENEWING {
        for point in ["before_revoke", "after_crl", "after_revoke"] {
            let site = site(kind, puppet);
            generate(&site, NAME).expect(201);
            let renew = || site.puppet(&["agent", "renew", NAME]);
            site.paused_in("ca", point, || site.delete(&node()), renew).expect(204);
            assert_eq!((valid(&site), revoked(&site).len()), ([].into(), 2), "{kind:?} {point}");
        }
    }
}

#[test]
fn renewed_certificate_that_server_cannot_revoke_is_409_and_never_forgotten() {
    // Before 8.2.2 it revokes the serial number of its copy alone.
    for kind in [CA, BY_API] {
        let site = site(kind, "7.9");
        let first = generate(&site, NAME);
        site.puppet(&["agent", "renew", NAME]);
        for target in [path(NAME), node(), path(NAME)] {
            let refused = site.delete(&target);
            assert_eq!(refused.expect(409).problem(), "certificate-replaced");
            assert!(cause(&site, &refused).contains(&format!("serial number {}", serial(&first))));
            assert_eq!(valid(&site), [serial(&first)].into());
            assert!(!site.node_in_console(NAME).is_null());
        }
        assert!(site.unfinished().contains_key(NAME), "the operator sees it");
        site.puppet(&["--flavour", "8.7", "ca", "revoke", &format!("--certname={NAME}")]);
        site.delete(&node()).expect(204);
        assert_eq!(valid(&site), [].into());
    }
}

#[test]
fn replaced_certificate_is_revoked_by_serial_or_409() {
    for (kind, puppet, alone) in [
        (CERT, "5.5", true),
        (CERT, "2.7.26", true),
        (CERT, "2.7.12", false),
        (CA, "7.9", false),
        (CA, "8.7", false),
        (BY_API, "7.9", false),
        (BY_API, "8.7", false),
    ] {
        let site = site(kind, puppet);
        let ours = generate(&site, NAME);
        site.puppet(&["human", "duplicate", NAME]);
        let signed = site.file(&format!("ca/ca/signed/{NAME}.pem"));
        let mut all = valid(&site);
        assert_eq!(all.len(), 2);
        site.get(&path(NAME)).expect(404);
        assert_eq!(generate(&site, NAME).expect(409).problem(), "certificate-replaced", "{kind:?} {puppet}");
        for target in [path(NAME), node()] {
            let answer = site.delete(&target);
            if alone {
                answer.expect(204);
                all.remove(&serial(&ours));
            } else {
                assert_eq!(answer.expect(409).problem(), "certificate-replaced");
                assert!(cause(&site, &answer).contains("cannot revoke it alone; "));
                assert!(!site.node_in_console(NAME).is_null() && site.unfinished().contains_key(NAME));
            }
            assert_eq!(valid(&site), all, "{kind:?} {puppet} {target}");
        }
        assert_eq!(site.file(&format!("ca/ca/signed/{NAME}.pem")), signed);
        if alone {
            site.add(NAME);
            let listed = generate(&site, NAME);
            assert_eq!(listed.expect(409).problem(), "certificate-exists");
            assert!(listed.body.contains("a valid certificate of this name that espm did not make"), "{listed:?}");
            assert!(cause(&site, &listed).contains("if no server uses it, revoke it: "), "{}", cause(&site, &listed));
        }
        site.delete(&node());
        assert!(valid(&site).is_superset(&(&all - &[serial(&ours)].into())));
    }
}

#[test]
fn certificate_that_ca_has_lost_is_none_and_still_revoked() {
    for (kind, puppet, revocable) in
        [(CERT, "5.5", true), (CA, "8.7", true), (CA, "7.9", false), (BY_API, "8.7", true), (BY_API, "7.9", false)]
    {
        let site = site(kind, puppet);
        let first = generate(&site, NAME);
        fs::remove_file(site.dir.join(format!("ca/ca/signed/{NAME}.pem"))).unwrap();
        site.get(&path(NAME)).expect(404);
        let second = generate(&site, NAME);
        second.expect(201);
        assert_eq!(kind.revoked(&site), 0, "nobody has asked for that");
        assert_eq!(valid(&site), [serial(&first), serial(&second)].into());
        let answer = site.delete(&node());
        if revocable {
            answer.expect(204);
            assert_eq!((valid(&site), files(&site, NAME)), ([].into(), [].into()));
        } else {
            assert_eq!(answer.expect(409).problem(), "certificate-replaced");
            assert_eq!(valid(&site), [serial(&first)].into());
        }
    }
}

#[test]
fn expired_certificate_is_none_and_nothing_is_revoked_for_the_next() {
    for kind in ALL {
        let site = kind.with_node();
        site.fault("ca", "ends_in.once", "15");
        let first = generate(&site, NAME);
        first.expect(201);
        wait_until("it has expired", || site.get(&path(NAME)).status == 404);
        assert_eq!(ends(&site), ["1", "0 1", "7 1", "30 1", "90 1"]);
        one_fault(
            &site,
            &["node certificates: that of web01.example.com ended at 20", "; have its client ask for another"],
        );
        let second = generate(&site, NAME);
        assert_ne!(serial(second.expect(201)), serial(&first));
        assert_eq!(kind.revoked(&site), 0);
        site.delete(&node()).expect(204);
        assert_eq!(revoked(&site), [serial(&second)].into());
    }
}

#[test]
fn certificate_not_yet_valid_is_502_and_still_revoked() {
    for (kind, puppet) in RENEWING {
        let site = site(kind, puppet);
        generate(&site, NAME).expect(201);
        site.puppet(&["agent", "renew", NAME, "3600"]);
        site.get(&path(NAME)).expect(404);
        let refused = generate(&site, NAME);
        assert_eq!(refused.expect(502).problem(), "command-failed");
        assert!(cause(&site, &refused).contains("valid only from"), "{}", cause(&site, &refused));
        assert_eq!((kind.generated(&site), kind.revoked(&site)), (1, 0));
        site.delete(&node()).expect(204);
        assert_eq!((valid(&site), revoked(&site).len()), ([].into(), 2), "{kind:?}");
    }
}

#[test]
fn revocation_list_cut_short_is_kept_as_it_was_before() {
    for kind in [CERT, CA] {
        let site = kind.with_node();
        let empty = site.file("ca/ca/ca_crl.pem");
        generate(&site, NAME).expect(201);
        site.delete(&path(NAME)).expect(204);
        let second = generate(&site, NAME);
        let before = site.file("ca/ca/ca_crl.pem");
        site.fault("ca", "cut_crl.once", "");
        site.delete(&path(NAME)).expect(502);
        assert_eq!((site.file("ca/ca/ca_crl.pem"), site.file("records/ca_crl.pem")), (String::new(), before.clone()));
        let check = || String::from_utf8(site.espm(&["check"]).stdout).unwrap();
        assert!(check().contains("FAIL  authority"), "{}", check());
        // A human makes a new list, and loses what was revoked before.
        site.write("ca/ca/ca_crl.pem", &empty);
        let said = check();
        let copy = format!("cp {0}/records/ca_crl.pem {0}/ca/ca/ca_crl.pem", site.dir.display());
        assert!(said.contains("FAIL  authority: ") && said.contains(&copy), "{said}");
        site.write("ca/ca/ca_crl.pem", &before);
        site.delete(&path(NAME)).expect(204);
        assert!(valid(&site).is_empty() && revoked(&site).contains(&serial(&second)));
        assert!(!check().contains("FAIL  authority"), "{}", check());
    }
}
