//! Requests that the server refuses, and requests of others.
use super::{
    BY_API, NAME, assert_made, assert_nothing_left, assert_settles, cause, files, generate, key_of, node, path, revoke,
    valid, waiting,
};
use crate::harness::certificates::{revoked, serial};

const DISALLOWED: &str = "CSR 'web01.example.com' contains extra subject alternative names (DNS:web), which are \
                          disallowed. To allow subject alternative names, set allow-subject-alt-names to true in your ca.conf file.";

#[test]
fn refused_request_does_not_stay_at_ca() {
    for autosign in [false, true] {
        let site = BY_API.with_node();
        if autosign {
            // The answer is 400 then, and the request waits all the same.
            site.fault("ca", "autosign", "");
        }
        site.fault("ca", "disallow", DISALLOWED);
        let refused = generate(&site, NAME);
        assert_eq!(refused.expect(502).problem(), "command-failed");
        assert!(!refused.body.contains("ca.conf"), "{refused:?}");
        assert!(cause(&site, &refused).contains("allow-subject-alt-names"), "{}", cause(&site, &refused));
        assert_nothing_left(&site, &format!("autosign={autosign}"));
        site.no_faults("ca");
        assert_settles(&site, &format!("autosign={autosign}"));
    }
}

#[test]
fn certificate_that_site_signs_itself_is_ours() {
    let site = BY_API.with_node();
    site.fault("ca", "autosign", "");
    assert_settles(&site, "autosign");
}

#[test]
fn forbidden_exchange_leaves_nothing() {
    let site = BY_API.with_node();
    for word in ["sign", "delete"] {
        site.fault("ca", &format!("answer_{word}"), "403 Forbidden request: /puppet-ca/v1/ (method :put).");
    }
    let refused = generate(&site, NAME);
    assert_eq!(refused.expect(502).problem(), "command-failed");
    assert!(cause(&site, &refused).contains("403"), "{}", cause(&site, &refused));
    assert_nothing_left(&site, "403");
    site.no_faults("ca");
    assert_settles(&site, "403");
}

#[test]
fn request_of_another_that_waits_is_never_signed() {
    let site = BY_API.with_node();
    site.puppet(&["agent", "ask", NAME]);
    let theirs = waiting(&site);
    assert!(!theirs.is_empty());
    let refused = generate(&site, NAME);
    assert_eq!(refused.expect(409).problem(), "certificate-exists");
    site.get(&path(NAME)).expect(404);
    revoke(&site).expect(404);
    site.delete(&node()).expect(204);
    assert_eq!((waiting(&site), valid(&site), BY_API.generated(&site)), (theirs, [].into(), 0));
}

#[test]
fn request_of_another_that_comes_first_is_never_signed() {
    let site = BY_API.with_node();
    let ask = || site.puppet(&["agent", "ask", NAME]);
    let refused = site.paused_in("ca", "before_request", || generate(&site, NAME), ask);
    assert_eq!(refused.expect(409).problem(), "certificate-exists");
    assert_eq!((valid(&site), BY_API.generated(&site)), ([].into(), 0));
    let left = files(&site, NAME);
    assert!(left.contains(&format!("ca/ca/requests/{NAME}.pem")) && !left.iter().any(|file| file.contains("private")));
    assert!(site.unfinished().is_empty());
    // A human refuses it, and the name is free.
    std::fs::remove_file(site.dir.join(format!("ca/ca/requests/{NAME}.pem"))).unwrap();
    assert_settles(&site, "refused");
}

#[test]
fn request_of_another_that_takes_the_place_of_ours_is_not_handed_out() {
    let site = BY_API.with_node();
    // Between the request and the order to sign; the server signs what is there.
    let replace = || site.puppet(&["agent", "ask", NAME]);
    let refused = site.paused_in("ca", "before_sign", || generate(&site, NAME), replace);
    assert!([409, 502].contains(&refused.status) && !refused.body.contains("PRIVATE KEY"), "{refused:?}");
    site.get(&path(NAME)).expect(404);
    // This very call had it signed, and it is not what was asked for.
    assert_eq!(valid(&site), [].into(), "{refused:?}");
}

#[test]
fn request_of_another_after_death_is_not_signed() {
    let site = BY_API.with_node();
    let kill = || {
        site.kill_one("espm-helper");
        // A human refuses ours, and an agent asks.
        site.puppet(&["agent", "ask", NAME]);
    };
    site.stopped_in("ca", "after_request", || generate(&site, NAME), kill).expect(502);
    let theirs = key_of("req", &waiting(&site));
    site.write("ca/continue", "");
    let refused = super::at_last(|| generate(&site, NAME));
    assert_eq!(refused.expect(409).problem(), "certificate-exists");
    assert_eq!((key_of("req", &waiting(&site)), valid(&site)), (theirs, [].into()));
}

#[test]
fn flawed_certificate_is_502_and_revoked() {
    for (fault, text) in
        [("mismatch", ""), ("wrong_cn", ""), ("foreign_ca", ""), ("other_names", "DNS:master.example.com")]
    {
        let site = BY_API.with_node();
        site.fault("ca", fault, text);
        assert_eq!(generate(&site, NAME).expect(502).problem(), "command-failed", "{fault}");
        assert_eq!((files(&site, NAME), valid(&site)), ([].into(), [].into()), "{fault}");
        assert_eq!(revoked(&site).len(), 1, "{fault}");
        site.no_faults("ca");
        assert_settles(&site, fault);
    }
}

#[test]
fn certificate_of_another_that_server_gives_is_left_alone() {
    let site = BY_API.with_node();
    let sign = || site.puppet(&["human", "duplicate", NAME]);
    let ours = site.paused_in("ca", "before_request", || generate(&site, NAME), sign);
    assert_eq!(ours.expect(409).problem(), "certificate-exists");
    let theirs = valid(&site);
    assert_eq!((theirs.len(), BY_API.generated(&site), BY_API.revoked(&site)), (1, 0, 0));
    site.delete(&node()).expect(204);
    assert_eq!(valid(&site), theirs);
}

#[test]
fn revocation_of_another_key_is_never_asked_for() {
    let site = BY_API.with_node();
    let ours = generate(&site, NAME);
    site.puppet(&["human", "duplicate", NAME]);
    assert_eq!(revoke(&site).expect(409).problem(), "certificate-replaced");
    assert_eq!((BY_API.revoked(&site), valid(&site).len()), (0, 2));
    assert!(valid(&site).contains(&serial(&ours)));
}

#[test]
fn private_key_is_never_sent() {
    let site = BY_API.with_node();
    assert_made(&site, generate(&site, NAME).expect(201));
    revoke(&site).expect(204);
    let asked = site.file("ca/asked");
    assert!(asked.contains("BEGIN CERTIFICATE REQUEST") && asked.contains("revoked"), "{asked}");
    assert!(!asked.contains("PRIVATE"), "{asked}");
}
