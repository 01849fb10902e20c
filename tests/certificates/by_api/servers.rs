//! Servers that must not be believed, and servers that behave in their own way.
use std::io::ErrorKind;
use std::net::TcpListener;

use super::{BY_API, NAME, assert_nothing_left, assert_settles, cause, fs, generate, once};
use crate::harness::Site;

fn check(site: &Site) -> String {
    String::from_utf8(site.espm(&["check"]).stdout).unwrap()
}

#[test]
fn server_that_is_not_the_masters_hears_nothing() {
    let site = BY_API.with_node();
    assert!(!check(&site).contains("FAIL  authority"), "{}", check(&site));
    for (server, said) in [("other_name", ""), ("other_ca", ""), ("no_san", "puppetserver-ca"), ("expired", "")] {
        site.fault("ca", "served_by", server);
        let before = site.exchanges().len();
        let refused = generate(&site, NAME);
        assert_eq!(refused.expect(502).problem(), "command-failed", "{server}");
        assert!(check(&site).contains("FAIL  authority"), "{server}: {}", check(&site));
        assert!(check(&site).contains(said), "{server}: {}", check(&site));
        assert_eq!(site.exchanges().len(), before, "{server}: {}", cause(&site, &refused));
        assert_nothing_left(&site, server);
    }
    site.no_faults("ca");
    assert_settles(&site, "the master's own again");
}

#[test]
fn redirect_is_never_followed() {
    let site = BY_API.with_node();
    let elsewhere = TcpListener::bind("127.0.0.1:0").unwrap();
    elsewhere.set_nonblocking(true).unwrap();
    let url = format!("https://{}/puppet-ca/v1/", elsewhere.local_addr().unwrap());
    for status in [301, 302, 303, 307, 308] {
        for word in ["request", "sign"] {
            once(&site, &format!("answer_{word}"), &format!("{status} {url}"));
            generate(&site, NAME).expect(502);
            assert_nothing_left(&site, &format!("{status} {word}"));
        }
    }
    assert_eq!(elsewhere.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
    assert_settles(&site, "redirected");
}

#[test]
fn proxy_of_the_environment_is_not_used() {
    let site = BY_API.with_node();
    let elsewhere = TcpListener::bind("127.0.0.1:0").unwrap();
    elsewhere.set_nonblocking(true).unwrap();
    let real = site.bin("espm-helper");
    let proxy = format!("http://{}", elsewhere.local_addr().unwrap());
    let set =
        ["http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"].map(|name| format!("{name}={proxy}"));
    let script = format!("#!/bin/sh\nexec env {} SSL_CERT_FILE=/dev/null {} \"$@\"\n", set.join(" "), real.display());
    let program = site.write("proxied-helper", &script);
    fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    site.configure("espm", &format!("helper = {program}"));
    assert_settles(&site, "with a proxy");
    assert_eq!(elsewhere.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
}

#[test]
fn server_that_closes_idle_connections_or_has_tls_1_2_alone_is_served() {
    let site = BY_API.with_node();
    for (fault, text) in [("idle", "0"), ("tls12", "")] {
        site.fault("ca", fault, text);
        assert_settles(&site, fault);
        site.no_faults("ca");
    }
}

#[test]
fn exchanges_of_one_request_share_a_connection() {
    let site = BY_API.with_node();
    generate(&site, NAME).expect(201);
    let exchanges = site.exchanges();
    let first = exchanges.first().unwrap();
    assert!(exchanges.iter().all(|exchange| exchange.connection() == first.connection()), "{exchanges:?}");
    assert!(exchanges.iter().all(|exchange| exchange.name() == NAME), "{exchanges:?}");
}

#[test]
fn server_that_accepts_and_says_nothing_is_given_up() {
    let site = BY_API.with_node();
    site.fault("ca", "mute", "");
    let failed = generate(&site, NAME);
    assert!([502, 504].contains(&failed.status), "{failed:?}");
    site.no_faults("ca");
    assert_settles(&site, "mute");
}
