//! espm-helper, the handler or the server dies while the server is asked.
use std::os::unix::fs::PermissionsExt;

use super::{
    Answer, BY_API, NAME, Site, assert_made, assert_revocable, assert_settles, at_last, fs, generate, node, path,
    revoke, valid, wait_until,
};
use crate::harness::certificates::revoked;

const GENERATING: [&str; 4] = ["before_request", "after_request", "before_sign", "after_sign"];
const REVOKING: [&str; 3] = ["before_revoke", "after_crl", "after_revoke"];

/// Lets the paused server go on, and waits until it has.
fn go_on(site: &Site) {
    site.write("ca/continue", "");
    wait_until("the server goes on", || !site.dir.join("ca/continue").exists());
    // It has answered, or found that nobody listens, when it serves another.
    let status = || site.get("/v1/health").status == 200;
    wait_until("espm answers", status);
}

#[test]
fn helper_or_handler_killed_in_an_exchange_leaves_one_certificate_or_none() {
    let site = BY_API.with_node();
    for victim in ["espm-helper", "espm"] {
        for point in GENERATING {
            let at = format!("{victim} {point}");
            let first = site.stopped_in("ca", point, || generate(&site, NAME), || site.kill_one(victim));
            assert!([500, 502].contains(&first.status), "{at}: {first:?}");
            go_on(&site);
            assert_settles(&site, &at);
        }
        for point in REVOKING {
            let at = format!("{victim} {point}");
            generate(&site, NAME).expect(201);
            let first = site.stopped_in("ca", point, || revoke(&site), || site.kill_one(victim));
            assert!([500, 502].contains(&first.status), "{at}: {first:?}");
            go_on(&site);
            assert_revocable(&site, &at);
        }
    }
}

#[test]
fn request_sent_again_while_server_still_signs_makes_one() {
    let site = BY_API.with_node();
    for point in ["before_sign", "after_sign"] {
        let again = std::sync::Mutex::new(None::<Answer>);
        std::thread::scope(|scope| {
            site.stopped_in(
                "ca",
                point,
                || generate(&site, NAME),
                || {
                    site.kill_one("espm-helper");
                    let asked = site.exchanges().len();
                    let thread = scope.spawn(|| *again.lock().unwrap() = Some(at_last(|| generate(&site, NAME))));
                    // It asks the server, or sees what is there without asking.
                    wait_until("it asks, or has its answer", || site.exchanges().len() > asked || thread.is_finished());
                    site.write("ca/continue", "");
                },
            )
        });
        let again = again.lock().unwrap().take().unwrap();
        assert!([200, 201].contains(&again.status), "{point}: {again:?}");
        assert_made(&site, &again);
        assert_revocable(&site, point);
    }
}

#[test]
fn server_killed_in_an_exchange_and_started_again_leaves_one_certificate_or_none() {
    let mut site = BY_API.with_node();
    for point in GENERATING {
        site.fault("ca", &format!("die_{point}.once"), "");
        let first = generate(&site, NAME);
        assert!([201, 502, 504].contains(&first.status), "{point}: {first:?}");
        // It has signed, and did not come to remove the request.
        restart(&mut site);
        assert_settles(&site, point);
    }
    for point in REVOKING {
        generate(&site, NAME).expect(201);
        site.fault("ca", &format!("die_{point}.once"), "");
        let first = revoke(&site);
        assert!([204, 502, 504].contains(&first.status), "{point}: {first:?}");
        restart(&mut site);
        assert_revocable(&site, point);
    }
}

fn restart(site: &mut Site) {
    site.ca_server().stop("-9");
    site.start_ca_server();
}

#[test]
fn server_that_is_stopped_is_502_and_leaves_nothing() {
    let mut site = BY_API.with_node();
    site.ca_server().stop("-TERM");
    assert_eq!(generate(&site, NAME).expect(502).problem(), "command-failed");
    super::assert_nothing_left(&site, "stopped");
    site.start_ca_server();
    let made = generate(&site, NAME);
    assert_made(&site, made.expect(201));
    site.ca_server().stop("-TERM");
    // What is there is shown and given without the server.
    assert_eq!(generate(&site, NAME).expect(200).body, made.body);
    site.get(&path(NAME)).expect(200);
    assert_eq!(revoke(&site).expect(502).problem(), "command-failed");
    assert_eq!(valid(&site).len(), 1);
    site.start_ca_server();
    site.delete(&node()).expect(204);
    assert_eq!(revoked(&site).len(), 1);
}

#[test]
fn key_is_recorded_and_on_the_disk_before_server_is_asked() {
    let site = BY_API.with_node();
    let key = site.dir.join(format!("ca/ssl/private_keys/{NAME}.pem"));
    let look = || {
        let record = site.file(&format!("records/{NAME}.json"));
        assert!(record.contains("key"), "{record}");
        assert!(site.file(&format!("ca/ssl/private_keys/{NAME}.pem")).contains("PRIVATE KEY"));
        assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o640);
        assert!(site.exchanges().iter().all(|exchange| !exchange.kind().contains("signed")));
    };
    let before = site.paused_in("ca", "before_request", || generate(&site, NAME), look);
    assert_made(&site, before.expect(201));
}

#[test]
fn one_name_does_not_wait_for_another() {
    let site = BY_API.with_node();
    let other = "other.example.com";
    site.add(other);
    let meanwhile = || drop(generate(&site, other).expect(201).json());
    let made = site.paused_in("ca", "after_request", || generate(&site, NAME), meanwhile);
    made.expect(201);
    assert_eq!(valid(&site).len(), 2);
}
