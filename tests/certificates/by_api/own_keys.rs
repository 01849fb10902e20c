//! Keys that never leave their node: the client sends a request, and the master has no private key.
use serde_json::json;

use super::{
    Answer, BY_API, NAME, Site, assert_nothing_left, at_last, files, is_spent, key_of, node, once, path, revoke, valid,
};
use crate::harness::certificates::{openssl, serial};

/// A new key's request for our name.
fn request() -> String {
    let key = ["req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "/dev/null"];
    openssl(&[&key[..], &["-subj", &format!("/CN={NAME}")]].concat(), "")
}

fn send(site: &Site, csr: &str) -> Answer {
    site.post(&path(NAME), &json!({ "csr": csr }))
}

/// That the certificate is for the request's key, and no private key is anywhere.
#[track_caller]
fn assert_for(site: &Site, answer: &Answer, csr: &str, at: &str) {
    let json = answer.json();
    assert!(json.get("private_key").is_none(), "{at}: {json}");
    assert_eq!(key_of("x509", json["certificate"].as_str().unwrap()), key_of("req", csr), "{at}");
    assert_eq!(valid(site), [serial(answer)].into(), "{at}");
    assert!(!files(site, NAME).iter().any(|file| file.contains("private_keys")), "{at}");
}

#[test]
fn certificate_for_own_key_is_made_shown_and_revoked() {
    let site = BY_API.with_node();
    let csr = request();
    let made = send(&site, &csr);
    assert_for(&site, made.expect(201), &csr, "made");
    assert_for(&site, send(&site, &csr).expect(200), &csr, "asked again");
    assert_eq!(serial(site.get(&path(NAME)).expect(200)), serial(&made));
    for other in [json!({ "csr": request() }), json!({})] {
        let refused = site.post(&path(NAME), &other);
        // Without a request it is the key that is missing.
        let problem = if other.get("csr").is_some() { "certificate-exists" } else { "key-gone" };
        assert_eq!(refused.expect(409).problem(), problem, "{other}");
    }
    revoke(&site).expect(204);
    assert_nothing_left(&site, "revoked");
    let csr = request();
    assert_for(&site, send(&site, &csr).expect(201), &csr, "another key");
    site.delete(&node()).expect(204);
    assert_eq!((valid(&site), files(&site, NAME)), ([].into(), [].into()));
}

#[test]
fn request_for_own_key_with_a_failed_exchange_is_settled_by_same_request() {
    let site = BY_API.with_node();
    for fault in ["cut_before_request", "cut_after_request", "cut_before_sign", "cut_after_sign", "half_sign"] {
        for lasting in [false, true] {
            let csr = request();
            if lasting {
                site.fault("ca", fault, "");
            } else {
                once(&site, fault, "");
            }
            let first = send(&site, &csr);
            assert!([200, 201, 502, 504].contains(&first.status), "{fault}: {first:?}");
            assert!(lasting || is_spent(&site, fault), "{fault}");
            site.no_faults("ca");
            let made = at_last(|| send(&site, &csr));
            assert!([200, 201].contains(&made.status), "{fault} {lasting}: {made:?}");
            assert_for(&site, &made, &csr, fault);
            revoke(&site).expect(204);
            assert_nothing_left(&site, fault);
        }
    }
}

#[test]
fn request_for_another_key_after_death_takes_the_place_of_the_first() {
    let site = BY_API.with_node();
    for point in ["before_request", "after_request", "before_sign", "after_sign"] {
        let (first, second) = (request(), request());
        site.stopped_in("ca", point, || send(&site, &first), || site.kill_one("espm-helper")).expect(502);
        site.write("ca/continue", "");
        let answer = at_last(|| send(&site, &second));
        // The first may have been signed by then: it is ours, and the client is told to revoke it.
        if answer.status == 409 {
            assert_eq!(answer.problem(), "certificate-exists", "{point}");
            assert_for(&site, at_last(|| send(&site, &first)).expect(200), &first, point);
        } else {
            assert!([200, 201].contains(&answer.status), "{point}: {answer:?}");
            assert_for(&site, &answer, &second, point);
        }
        assert_eq!(at_last(|| revoke(&site)).status, 204, "{point}");
        assert_nothing_left(&site, point);
    }
}
