//! The trusted facts that a client asks for.
use serde_json::{Value, json};

use super::{ALL, CA, CERT, Kind, NAME, assert_made, assert_whole, cause, files, flavour, path};
use crate::harness::certificates::{openssl, revoked, serial, valid};
use crate::harness::{Answer, Site, wait_until};

const ARC: &str = "1.3.6.1.4.1.34380.1";

/// A site with our node, whose client may ask for everything, and whose master has facts of its own.
fn site(kind: Kind) -> Site {
    let site = kind.with_node();
    site.write("ca/csr_attributes.yaml", "extension_requests:\n  pp_role: puppet/server\n");
    if kind == CA {
        let text = format!("[main]\ncsr_attributes = {}/ca/csr_attributes.yaml\n", site.dir.display());
        let config = site.write("ca/puppet.conf", &text);
        site.configure("authority", &format!("config = {config}"));
    }
    may(&site, "*=*");
    site
}

fn may(site: &Site, patterns: &str) {
    site.configure("client cloud", &format!("extensions = {patterns}"));
}

fn ask(site: &Site, body: &Value) -> Answer {
    site.post(&path(NAME), body)
}

fn ask_with(site: &Site, extensions: &Value) -> Answer {
    ask(site, &json!({"extensions": extensions}))
}

/// The object identifiers and values of Puppet's extensions, as openssl shows them.
fn facts(answer: &Answer) -> Vec<(String, String)> {
    let text = openssl(&["x509", "-noout", "-text"], answer.json()["certificate"].as_str().unwrap());
    let lines: Vec<_> = text.lines().map(str::trim).collect();
    let found = lines.iter().enumerate().filter(|(_, line)| line.starts_with(ARC));
    // Two bytes stand before the text.
    found.map(|(at, line)| (line.trim_end_matches(':').to_owned(), lines[at + 1][2..].to_owned())).collect()
}

fn is_gone(site: &Site) -> bool {
    !site.dir.join("records/csr_attributes.yaml").exists()
}

#[test]
fn asked_facts_and_no_others_are_in_certificate() {
    for kind in ALL {
        let site = site(kind);
        let private = format!("{ARC}.2.1");
        let made = ask_with(&site, &json!({"pp_role": "web", &private: "a b"}));
        assert_made(&site, made.expect(201));
        assert_eq!(facts(&made), [(format!("{ARC}.1.13"), "web".to_owned()), (private.clone(), "a b".to_owned())]);
        assert!(is_gone(&site), "{kind:?}");
        let record = site.records_of(&made).pop().unwrap();
        let named = format!(" extensions=\"pp_role,{private}\" ");
        assert!(record.contains(&named) && !record.contains("a b"), "{record}");
        // The same by its number is the same.
        let again = ask_with(&site, &json!({&private: "a b", format!("{ARC}.1.13"): "web"}));
        assert_eq!(again.expect(200).body, made.body);
        for other in [json!({}), json!({"pp_role": "web"}), json!({"pp_role": "db", &private: "a b"})] {
            let refused = ask_with(&site, &other);
            assert_eq!(refused.expect(409).problem(), "certificate-exists");
            assert!(refused.body.contains("revoke it (DELETE) and ask again"), "{refused:?}");
        }
        assert_eq!(site.ask("POST", &path(NAME), None, &[]).expect(409).problem(), "certificate-exists");
        assert_eq!(serial(site.get(&path(NAME)).expect(200)), serial(&made));
        site.puppet(&["agent", "renew", NAME]);
        let renewed = ask_with(&site, &json!({"pp_role": "web", &private: "a b"}));
        assert_ne!(serial(renewed.expect(200)), serial(&made));
        assert_eq!(serial(site.get(&path(NAME)).expect(200)), serial(&renewed));
        if kind != CERT {
            flavour(&site, "8.7");
        }
        site.delete(&path(NAME)).expect(204);
        let without = ask(&site, &json!({"extensions": {}}));
        assert_made(&site, without.expect(201));
        assert_eq!(facts(&without), []);
    }
}

#[test]
fn every_value_is_a_string_to_puppet() {
    let site = site(CERT);
    let values = [
        "yes",
        "1e3",
        "0x1F",
        "~",
        "null",
        "- a",
        "a: b",
        "#x",
        "a #b",
        "*a",
        "&a",
        "!ruby/object:Object {}",
        "2026-11-27",
        "%{x}",
        "$confdir",
        "<%= 1 %>",
        "\"a\" \\ \\n",
        "'",
        " a ",
        "---",
        "@a",
        "`a`",
        "\u{feff}a\u{2028}\u{fffe}\u{1f980}",
        "ß",
    ];
    let asked: serde_json::Map<_, _> =
        values.iter().enumerate().map(|(at, value)| (format!("{ARC}.2.{at}"), json!(value))).collect();
    // Any other text would be revoked.
    assert_made(&site, ask_with(&site, &asked.into()).expect(201));
}

#[test]
fn certificate_without_asked_fact_or_with_another_value_is_502_and_revoked() {
    for kind in ALL {
        let site = site(kind);
        for (fault, said) in [
            ("drop_fact", "lacks the extension 1.3.6.1.4.1.34380.1.1.13 that was asked for"),
            ("change_fact", "another value of the extension 1.3.6.1.4.1.34380.1.1.13"),
        ] {
            let before = revoked(&site).len();
            site.fault("ca", &format!("{fault}.once"), "x");
            let refused = ask_with(&site, &json!({"pp_role": "web"}));
            assert_eq!(refused.expect(502).problem(), "command-failed");
            assert!(cause(&site, &refused).contains(said), "{}", cause(&site, &refused));
            assert_eq!((files(&site, NAME), valid(&site), revoked(&site).len()), ([].into(), [].into(), before + 1));
            site.get(&path(NAME)).expect(404);
        }
        // Puppet before 4 wrote the bare text.
        if kind == CERT {
            flavour(&site, "3.8");
        }
        assert_made(&site, ask_with(&site, &json!({"pp_role": "web"})).expect(201));
    }
}

#[test]
fn master_that_gives_no_facts_is_422_and_nothing_is_made() {
    let field = |answer: &Answer, member: &str| {
        assert_eq!(answer.expect(422).fields(), [member], "{answer:?}");
    };
    let old = site(CERT);
    flavour(&old, "2.7.26");
    field(&ask_with(&old, &json!({"pp_role": "web"})), "extensions");
    assert_eq!((files(&old, NAME), valid(&old)), ([].into(), [].into()));
    assert!(is_gone(&old));
    old.get(&path(NAME)).expect(404);
    assert!(old.unfinished().is_empty(), "{:?}", old.unfinished());
    assert_made(&old, ask(&old, &json!({})).expect(201));
    // Which puppet.conf its command reads is not known.
    let site = CA.with_node();
    may(&site, "*=*");
    let refused = ask_with(&site, &json!({"pp_role": "web"}));
    field(&refused, "extensions");
    assert!(refused.body.contains("[authority] config"), "{refused:?}");
    assert!(site.runs("ca").is_empty());
}

#[test]
fn request_for_own_key_is_422_where_command_makes_each_key() {
    let csr = |name: &str| {
        let subject = format!("/CN={name}");
        let new =
            ["req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "/dev/null"];
        openssl(&[&new[..], &["-subj", &subject]].concat(), "")
    };
    for kind in [CERT, CA] {
        let site = site(kind);
        let refused = ask(&site, &json!({"csr": csr(NAME)}));
        assert_eq!(refused.expect(422).fields(), ["csr"]);
        assert!(refused.body.contains("whose command makes each key itself"), "{refused:?}");
        let both = ask(&site, &json!({"csr": csr("web02.example.com"), "extensions": {"pp_role": "web"}}));
        assert_eq!(both.expect(422).fields(), ["csr", "extensions"]);
        assert!(both.body.contains("has another subject than CN=web01.example.com alone"), "{both:?}");
        assert!(site.runs("ca").is_empty());
    }
}

#[test]
fn what_a_client_may_not_ask_for_is_403_with_every_field() {
    let site = site(CERT);
    let role = json!({"pp_role": "web"});
    for (patterns, asked, fields) in [
        ("pp_role=db*, pp_zone=*", json!({"pp_role": "web", "pp_zone": "a"}), &["extensions.pp_role"][..]),
        ("pp_zone=b", json!({"pp_role": "web", "pp_zone": "a"}), &["extensions.pp_role", "extensions.pp_zone"]),
        ("1.3.6.1.4.1.34380.1.2.*=*", json!({format!("{ARC}.1.13"): "web"}), &["extensions.1.3.6.1.4.1.34380.1.1.13"]),
    ] {
        may(&site, patterns);
        let refused = ask_with(&site, &asked);
        assert_eq!(refused.expect(403).problem(), "forbidden");
        assert_eq!(refused.fields(), fields, "{patterns}");
        assert!(!refused.body.contains("db*"), "{refused:?}");
    }
    // Shape comes first, and ownership before everything.
    assert_eq!(ask(&site, &json!({"extensions": role, "x": 1})).expect(422).fields(), ["x"]);
    site.post(&path("foreign.example.com"), &json!({"extensions": role})).expect(404);
    assert!(site.runs("ca").is_empty());
    // Without a line a client may ask for none.
    let other = site.ask_as_other(
        "POST",
        "/v1/nodes",
        Some(r#"{"name":"other.example.com"}"#),
        &["Content-Type: application/json"],
    );
    other.expect(201);
    let body = json!({"extensions": role}).to_string();
    let ask = |body: &str| {
        site.ask_as_other("POST", &path("other.example.com"), Some(body), &["Content-Type: application/json"])
    };
    assert_eq!(ask(&body).expect(403).fields(), ["extensions.pp_role"]);
    assert_whole(&site, ask("{}").expect(201), "other.example.com");
}

#[test]
fn what_is_wrong_with_extensions_is_said_at_once() {
    let site = site(CERT);
    let asked = json!({"extensions": {
        "pp_role": "web", format!("{ARC}.1.13"): "web", "pp_auth_role": "x", format!("{ARC}.3.13"): "x", format!("{ARC}.1.9812"): "x",
        "pp_zone": "", "pp_region": "a\nb", "pp_owner": 1, "2.5.29.17": "DNS:master.example.com", format!("{ARC}.2.1"): "a".repeat(256),
    }});
    let fields: std::collections::BTreeSet<_> = ask(&site, &asked).expect(422).fields().into_iter().collect();
    let wrong = ["pp_role", "pp_auth_role", "pp_zone", "pp_region", "pp_owner", "2.5.29.17"].map(str::to_owned);
    let numbers = ["3.13", "1.9812", "2.1"].map(|number| format!("{ARC}.{number}"));
    // Of the two names of one fact it is the later one.
    assert_eq!(fields, wrong.iter().chain(&numbers).map(|name| format!("extensions.{name}")).collect());
    let twice = r#"{"extensions":{"pp_role":"a","pp_role":"a"},"extensions":{},"csr":null}"#;
    let twice = site.ask("POST", &path(NAME), Some(twice), &["Content-Type: application/json"]);
    assert_eq!(twice.expect(422).fields(), ["extensions.pp_role", "extensions", "csr", "extensions"]);
    for (body, field) in [(json!({"extensions": []}), "extensions"), (json!({"csr": {}}), "csr")] {
        assert_eq!(ask(&site, &body).expect(422).fields(), [field]);
    }
    assert!(site.runs("ca").is_empty());
}

#[test]
fn flawed_certificate_whose_revocation_failed_is_revoked_by_settling() {
    for kind in [CERT, CA] {
        let site = site(kind);
        site.fault("ca", "drop_fact.once", "");
        site.fault("ca", "raise_before_revoke.once", "");
        ask_with(&site, &json!({"pp_role": "web"})).expect(502);
        assert_eq!((valid(&site).len(), revoked(&site).len()), (1, 0));
        assert!(site.unfinished().contains_key(NAME));
        site.espm(&["check", "--settle"]);
        assert!(site.unfinished().is_empty(), "{:?}", site.unfinished());
        assert_eq!((files(&site, NAME), valid(&site), revoked(&site).len()), ([].into(), [].into(), 1));
        assert_eq!(site.count("ca", "generate"), 1, "settling begins nothing");
        assert_made(&site, ask_with(&site, &json!({"pp_role": "web"})).expect(201));
    }
}

/// The record has what was asked for, and each later judgement is by that.
#[test]
fn facts_of_interrupted_request_are_judged_by_what_it_asked_for() {
    for kind in [CERT, CA] {
        for settle in [false, true] {
            let site = site(kind);
            let asked = json!({"pp_role": "web"});
            site.fault("ca", "die_after_generate.once", "");
            site.fault("ca", "pause_after_generate.once", "");
            std::thread::scope(|scope| {
                let first = scope.spawn(|| ask_with(&site, &asked));
                wait_until("the certificate is there", || site.dir.join("ca/reached").exists());
                site.kill_one("espm-helper");
                first.join().unwrap().expect(502);
            });
            site.write("ca/continue", "");
            wait_until("the command has ended", || !site.dir.join("ca/continue").exists());
            if settle {
                site.espm(&["check", "--settle"]);
                assert!(site.unfinished().is_empty(), "{:?}", site.unfinished());
            }
            assert_eq!(ask_with(&site, &json!({"pp_role": "db"})).expect(409).problem(), "certificate-exists");
            let made = ask_with(&site, &asked);
            assert_made(&site, made.expect(200));
            assert_eq!(facts(&made), [(format!("{ARC}.1.13"), "web".to_owned())]);
            assert_eq!((site.count("ca", "generate"), revoked(&site).len()), (1, 0));
            // A file that the killed helper has left is gone with the next certificate.
            site.delete(&path(NAME)).expect(204);
            assert_made(&site, ask_with(&site, &json!({"pp_role": "db"})).expect(201));
            assert!(is_gone(&site));
        }
    }
}
