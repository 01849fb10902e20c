//! Certificates by the HTTP API of the CA: whatever an exchange, the server or espm-helper comes to, the same request
//! again leaves one valid certificate that is recorded, or none.

mod cut_exchanges;
mod interrupted;
mod own_keys;
mod refusals;
mod servers;

use std::fs;

use super::{BY_API, NAME, assert_made, cause, files, generate, path};
use crate::harness::certificates::valid;
use crate::harness::{Answer, Site, wait_until};

fn node() -> String {
    format!("/v1/nodes/{NAME}")
}

fn revoke(site: &Site) -> Answer {
    site.delete(&path(NAME))
}

/// Asks until it is not told to come back, as a client does.
fn at_last(ask: impl Fn() -> Answer) -> Answer {
    let mut answer = ask();
    wait_until("the request is done", || {
        if answer.status == 503 {
            answer = ask();
        }
        answer.status != 503
    });
    answer
}

/// A fault of the server's, for one exchange.
fn once(site: &Site, fault: &str, text: &str) {
    site.fault("ca", &format!("{fault}.once"), text);
}

/// Whether it has come to pass.
fn is_spent(site: &Site, fault: &str) -> bool {
    !site.dir.join(format!("ca/faults/{fault}.once")).exists()
}

/// The key of a certificate, or of a request, as openssl prints it.
fn key_of(kind: &str, text: &str) -> String {
    crate::harness::certificates::openssl(&[kind, "-noout", "-pubkey"], text)
}

/// The request that waits at the CA, empty without one.
fn waiting(site: &Site) -> String {
    site.file(&format!("ca/ca/requests/{NAME}.pem"))
}

/// That nothing of the name is left but a record of a key for which the server might still sign.
#[track_caller]
fn assert_nothing_left(site: &Site, at: &str) {
    let record = format!("records/{NAME}.json");
    let mut left = files(site, NAME);
    left.remove(&record);
    assert_eq!((left, valid(site)), ([].into(), [].into()), "{at}");
    assert!(site.unfinished().is_empty(), "{at}");
}

/// That the same request again makes the one valid certificate, and that it can be revoked.
#[track_caller]
fn assert_settles(site: &Site, at: &str) {
    let made = at_last(|| generate(site, NAME));
    assert!([200, 201].contains(&made.status), "{at}: {made:?}");
    assert_made(site, &made);
    assert_eq!(generate(site, NAME).expect(200).body, made.body, "{at}");
    assert_eq!(waiting(site), "", "{at}");
    assert_revocable(site, at);
}

/// That nothing is left after the same revocation again.
#[track_caller]
fn assert_revocable(site: &Site, at: &str) {
    let gone = at_last(|| revoke(site));
    assert_eq!(gone.status, 204, "{at}: {gone:?}");
    assert_eq!((valid(site), files(site, NAME)), ([].into(), [].into()), "{at}");
}
