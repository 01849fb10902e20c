//! Keys that never leave their node: the client sends a request, and the master has no private key.
use std::fs;
use std::process::Command;

use serde_json::json;

use super::{
    Answer, BY_API, NAME, Site, assert_nothing_left, at_last, files, is_spent, key_of, node, once, path, revoke, valid,
    waiting,
};
use crate::harness::certificates::{openssl, serial};
use crate::harness::run;

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

/// Two requests of one new key: as the client sends it, and one that asks for a trusted fact.
fn requests() -> [String; 2] {
    let key = openssl(&["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"], "");
    let subject = format!("/CN={NAME}");
    let plain = ["req", "-new", "-key", "/dev/stdin", "-subj", &subject];
    let more = ["-addext", "1.3.6.1.4.1.34380.1.1.13=ASN1:UTF8String:admin"];
    [openssl(&plain, &key), openssl(&[&plain[..], &more].concat(), &key)]
}

/// An agent sends a request itself.
fn ask(site: &mut Site, csr: &str) {
    let url = format!("https://127.0.0.1:{}/puppet-ca/v1/certificate_request/{NAME}", site.ca_server().port());
    let mut curl = Command::new("curl");
    curl.args(["-sSfk", "-X", "PUT", "-H", "Content-Type: text/plain", "--data-binary", csr, &url]);
    run(&mut curl);
}

#[test]
fn request_of_clients_key_for_more_than_it_may_is_never_signed() {
    let mut site = BY_API.with_node();
    let [csr, more] = requests();
    ask(&mut site, &more);
    assert_eq!(send(&site, &csr).expect(409).problem(), "certificate-exists");
    fs::remove_file(site.dir.join(format!("ca/ca/requests/{NAME}.pem"))).unwrap();
    let path = format!("ca/ca/requests/{NAME}.pem");
    let refused = site.paused_in("ca", "before_request", || send(&site, &csr), || drop(site.write(&path, &more)));
    assert_eq!(refused.expect(409).problem(), "certificate-exists");
    assert_eq!((key_of("req", &waiting(&site)), valid(&site)), (key_of("req", &more), [].into()));
    assert_eq!(BY_API.generated(&site), 0);
    // The very request that the client sends may wait already.
    fs::remove_file(site.dir.join(&path)).unwrap();
    ask(&mut site, &csr);
    assert_for(&site, send(&site, &csr).expect(201), &csr, "asked twice");
}

#[test]
fn certificate_of_clients_key_that_espm_did_not_order_is_not_revoked() {
    let mut site = BY_API.with_node();
    for refuses in [false, true] {
        let [csr, more] = requests();
        for (signed, status) in [(&more, 409), (&csr, 200)] {
            // The request is removed again, or never arrives, as far as espm can know.
            if refuses {
                once(&site, "cut_after_request", "");
                site.fault("ca", "answer_sign", "403 Forbidden");
            } else {
                site.fault("ca", "cut_before_request", "");
            }
            let failed = send(&site, &csr);
            assert!([502, 504].contains(&failed.status), "{failed:?}");
            site.no_faults("ca");
            site.fault("ca", "autosign", "");
            ask(&mut site, signed);
            site.no_faults("ca");
            let theirs = valid(&site);
            assert_eq!(theirs.len(), 1);
            let answer = at_last(|| send(&site, &csr));
            assert!(answer.status == status || (status == 200 && answer.status == 201), "{answer:?}");
            assert_eq!(valid(&site), theirs, "{answer:?}");
            assert_eq!(at_last(|| revoke(&site)).status, 204);
            assert_nothing_left(&site, "revoked as asked");
        }
    }
}

#[test]
fn request_that_its_key_has_not_signed_is_422_and_changes_nothing() {
    let site = BY_API.with_node();
    let csr = request();
    // The last byte of the signature is another.
    let script = "der = OpenSSL::X509::Request.new(ARGV[0]).to_der; der.setbyte(-1, der.getbyte(-1) ^ 1); \
                  print OpenSSL::X509::Request.new(der).to_pem";
    let forged = run(Command::new("ruby").args(["-ropenssl", "-e", script, "--", &csr]));
    let refused = |site: &Site| {
        let answer = send(site, &forged);
        assert_eq!(answer.expect(422).json()["errors"][0]["field"], "csr", "{answer:?}");
    };
    refused(&site);
    assert_nothing_left(&site, "refused");
    site.get(&path(NAME)).expect(404);
    assert_for(&site, send(&site, &csr).expect(201), &csr, "signed by its key");
    refused(&site);
    assert_for(&site, site.get(&path(NAME)).expect(200), &csr, "still known");
    assert_eq!(BY_API.generated(&site), 1);
}
