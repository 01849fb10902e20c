//! Each exchange is cut, hung, falsified or done late, and the same request is sent again.
use std::collections::BTreeSet;

use super::{
    Answer, BY_API, NAME, Site, assert_nothing_left, assert_revocable, assert_settles, at_last, generate, is_spent,
    node, once, revoke, wait_until,
};
use crate::harness::is_long;

/// What befalls an exchange at once, with the text of its fault.
const QUICK: [(&str, &str); 11] = [
    ("cut_before", ""),
    ("cut_after", ""),
    ("half", ""),
    ("garbage", ""),
    ("flood", ""),
    ("answer", "500 Internal Server Error: java.io.IOException: No space left on device"),
    ("answer", "503 busy"),
    ("answer", "403 Forbidden request: /puppet-ca/v1/certificate_status/web01 (method :put)."),
    ("answer", "404 Invalid certificate subject."),
    ("answer", "200 \u{fffd}"),
    ("answer", "307 https://127.0.0.1:1/puppet-ca/v1/"),
];

/// What makes espm-helper wait for as long as it waits for an exchange.
const SLOW: [(&str, &str); 2] = [("hang_before", ""), ("hang_after", "")];

/// The words by which the stand-in knows the exchanges of a request.
fn words(site: &Site, ask: impl Fn(&Site) -> Answer) -> BTreeSet<&'static str> {
    let before = site.exchanges().len();
    assert!(ask(site).status < 300);
    let word = |kind: &str| match kind {
        "PUT certificate_request" => "request",
        "PUT certificate_status signed" => "sign",
        "PUT certificate_status revoked" => "revoke",
        "GET certificate" => "certificate",
        "GET certificate_request" => "csr",
        "GET certificate_status" => "status",
        "DELETE certificate_status" => "delete",
        other => panic!("espm asks {other}"),
    };
    site.exchanges()[before..].iter().map(|exchange| word(&exchange.kind())).collect()
}

/// All of them, or what a hurried run has time for.
fn faults(word: &str) -> Vec<(&'static str, &'static str)> {
    let slow = if is_long() || ["sign", "revoke"].contains(&word) { &SLOW[..] } else { &[] };
    [&QUICK[..], slow].concat()
}

#[test]
fn generate_with_an_exchange_that_fails_is_settled_by_same_request() {
    let site = BY_API.with_node();
    let all = words(&site, |site| generate(site, NAME));
    assert!(all.is_superset(&["request", "sign"].into()), "{all:?}");
    assert_revocable(&site, "without a fault");
    for word in all {
        for (fault, text) in faults(word) {
            for lasting in [false, true] {
                let at = format!("{fault}_{word} {text:.5} lasting={lasting}");
                if lasting && SLOW.contains(&(fault, text)) {
                    continue;
                }
                if lasting {
                    site.fault("ca", &format!("{fault}_{word}"), text);
                } else {
                    once(&site, &format!("{fault}_{word}"), text);
                }
                let first = generate(&site, NAME);
                assert!([200, 201, 502, 503, 504].contains(&first.status), "{at}: {first:?}");
                assert!(lasting || is_spent(&site, &format!("{fault}_{word}")), "{at}");
                site.no_faults("ca");
                assert_settles(&site, &at);
            }
        }
    }
}

#[test]
fn node_deleted_after_a_failed_exchange_leaves_nothing() {
    let site = BY_API.with_node();
    for word in ["request", "sign"] {
        for fault in ["cut_before", "cut_after"] {
            let at = format!("{fault}_{word}");
            site.fault("ca", &at, "");
            let first = generate(&site, NAME);
            assert!([201, 502, 504].contains(&first.status), "{at}: {first:?}");
            site.no_faults("ca");
            let gone = at_last(|| site.delete(&node()));
            assert_eq!(gone.status, 204, "{at}: {gone:?}");
            assert_nothing_left(&site, &at);
            site.add(NAME);
            assert_settles(&site, &at);
        }
    }
}

#[test]
fn revoke_with_an_exchange_that_fails_is_settled_by_same_request() {
    let site = BY_API.with_node();
    generate(&site, NAME).expect(201);
    let all = words(&site, revoke);
    assert!(all.contains("revoke"), "{all:?}");
    for word in all {
        for (fault, text) in faults(word) {
            for delete in [false, true] {
                let at = format!("{fault}_{word} {text:.5} delete={delete}");
                generate(&site, NAME).expect(201);
                once(&site, &format!("{fault}_{word}"), text);
                let first = if delete { site.delete(&node()) } else { revoke(&site) };
                assert!([204, 502, 503, 504].contains(&first.status), "{at}: {first:?}");
                assert!(is_spent(&site, &format!("{fault}_{word}")), "{at}");
                site.no_faults("ca");
                if delete {
                    let gone = at_last(|| site.delete(&node()));
                    assert!([204, 404].contains(&gone.status), "{at}: {gone:?}");
                    site.add(NAME);
                }
                assert_revocable_or_absent(&site, &at);
            }
        }
    }
}

/// The same, where the node may have been made anew since.
#[track_caller]
fn assert_revocable_or_absent(site: &Site, at: &str) {
    let gone = at_last(|| revoke(site));
    assert!([204, 404].contains(&gone.status), "{at}: {gone:?}");
    assert_nothing_left(site, at);
}

/// The exchange is cut, and the server does what it was asked for after espm has given its answer.
fn late(site: &Site, word: &str) -> Answer {
    once(site, &format!("late_{word}"), "");
    let first = generate(site, NAME);
    assert!(is_spent(site, &format!("late_{word}")));
    first
}

fn go_on(site: &Site, word: &str) {
    site.write("ca/continue", "");
    wait_until("the server has done it", || !site.dir.join("ca/continue").exists());
    let done = || match word {
        "request" => !super::waiting(site).is_empty() || !super::valid(site).is_empty(),
        _ => !super::valid(site).is_empty(),
    };
    wait_until("it is seen", done);
}

#[test]
fn certificate_that_server_signs_late_is_ours_or_revoked() {
    for then in ["generate", "delete", "delete before"] {
        let site = BY_API.with_node();
        let first = late(&site, "sign");
        let at = format!("{then}: {first:?}");
        if first.status == 201 {
            // It was asked again and had its certificate; what comes late finds nothing to sign.
            site.write("ca/continue", "");
            assert_settles(&site, &at);
            continue;
        }
        assert!([502, 503, 504].contains(&first.status), "{at}");
        if then == "delete before" {
            assert_eq!(at_last(|| site.delete(&node())).status, 204, "{at}");
            site.write("ca/continue", "");
            wait_until("the server goes on", || !site.dir.join("ca/continue").exists());
            site.add(NAME);
            assert_settles(&site, &at);
            continue;
        }
        go_on(&site, "sign");
        if then == "delete" {
            assert_eq!(at_last(|| site.delete(&node())).status, 204, "{at}");
            assert_nothing_left(&site, &at);
            site.add(NAME);
        }
        assert_settles(&site, &at);
    }
}

#[test]
fn request_that_server_stores_late_is_gone_on_with() {
    let site = BY_API.with_node();
    let first = late(&site, "request");
    assert!([201, 502, 503, 504].contains(&first.status), "{first:?}");
    if first.status != 201 {
        go_on(&site, "request");
    }
    assert_settles(&site, &format!("{first:?}"));
}
