//! The master's own trusted facts, and requests that wait at the CA.
use std::fs;

use super::{ALL, CA, CERT, NAME, assert_made, cause, files, flavour, generate, path};
use crate::harness::Site;
use crate::harness::certificates::{openssl, revoked, valid};

fn facts_of(certificate: &str) -> usize {
    openssl(&["x509", "-noout", "-text"], certificate).matches("1.3.6.1.4.1.34380").count()
}

fn mark_master(site: &Site) {
    site.write("ca/csr_attributes.yaml", "extension_requests:\n  pp_role: puppet/server\n");
}

#[test]
fn trusted_facts_of_master_are_in_no_certificate() {
    for (kind, old) in [(CERT, None), (CERT, Some("2.7.12")), (CERT, Some("2.7.26")), (CA, None)] {
        let site = kind.with_node();
        mark_master(&site);
        if let Some(old) = old {
            flavour(&site, old);
        }
        if kind == CA {
            let text = format!("# caf\u{e9}\n[main]\ncsr_attributes = {}/ca/csr_attributes.yaml\n", site.dir.display());
            let config = site.write("ca/puppet.conf", &text);
            site.configure("authority", &format!("config = {config}"));
        }
        let made = generate(&site, NAME);
        assert_made(&site, made.expect(201));
        assert_eq!(facts_of(made.json()["certificate"].as_str().unwrap()), 0, "{kind:?} {old:?}");
        site.delete(&path(NAME)).expect(204);
    }
}

#[test]
fn certificate_with_surplus_facts_is_502_and_revoked() {
    // Nobody has said which puppet.conf the command reads.
    let site = CA.with_node();
    mark_master(&site);
    let refused = generate(&site, NAME);
    assert_eq!(refused.expect(502).problem(), "command-failed");
    assert!(cause(&site, &refused).contains("extension 1.3.6.1.4.1.34380.1.1.13 that nobody asked for"));
    assert_eq!((files(&site, NAME), valid(&site), revoked(&site).len()), ([].into(), [].into(), 1));
    site.get(&path(NAME)).expect(404);
    fs::remove_file(site.dir.join("ca/csr_attributes.yaml")).unwrap();
    assert_made(&site, generate(&site, NAME).expect(201));
}

#[test]
fn certificate_with_surplus_names_or_rights_or_not_yet_valid_is_502_and_revoked() {
    for (fault, text, said) in [
        ("other_names", "DNS:other.example.com", "the other name DNSName(other.example.com) that nobody asked for"),
        ("other_names", "IP:192.0.2.1", "the other name IPAddress"),
        ("may_sign", "", "the right to sign others that nobody asked for"),
        ("starts_in", "3600", "is valid only from"),
    ] {
        for kind in ALL {
            let site = kind.with_node();
            site.fault("ca", &format!("{fault}.once"), text);
            let refused = generate(&site, NAME);
            assert_eq!(refused.expect(502).problem(), "command-failed");
            let cause = cause(&site, &refused);
            assert!(cause.contains(said), "{kind:?} {fault} {text}: {cause}");
            assert_eq!((files(&site, NAME), revoked(&site).len()), ([].into(), 1), "{kind:?} {fault} {text}");
            site.get(&path(NAME)).expect(404);
            assert_made(&site, generate(&site, NAME).expect(201));
        }
    }
}

#[test]
fn waiting_request_of_agent_is_409_that_tells_operator_what_to_type() {
    for kind in ALL {
        let site = kind.with_node();
        site.puppet(&["agent", "ask", NAME]);
        let request = site.dir.join(format!("ca/ca/requests/{NAME}.pem"));
        let refused = generate(&site, NAME);
        assert_eq!(refused.expect(409).problem(), "certificate-exists");
        assert!(refused.body.contains("an agent of this name has sent a request"), "{refused:?}");
        // The path is whole, although the values of the node's parameters are hidden elsewhere.
        let said = cause(&site, &refused);
        let wanted = format!("waits at the CA; sign it, or remove it with 'rm {}'", request.display());
        assert!(said.contains(&wanted), "{said}");
        assert!(request.exists() && site.runs("ca").is_empty());
        fs::remove_file(&request).unwrap();
        // One that comes while the command runs stays, too.
        if kind == CA {
            let ask = || site.puppet(&["agent", "ask", NAME]);
            site.paused_in("ca", "after_key", || generate(&site, NAME), ask).expect(502);
            assert!(request.exists());
            fs::remove_file(&request).unwrap();
        }
        assert_made(&site, generate(&site, NAME).expect(201));
    }
}
