//! Certificates from generating to revoking.
use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::sync::Barrier;

use serde_json::json;

use crate::certificates::{ALL, BY_API, CA, CERT, NAME, assert_made, assert_whole, files, generate, path, walk};
use crate::harness::Answer;
use crate::harness::certificates::{revoked, serial, valid};

#[test]
fn new_certificate_matches_name_key_and_ca() {
    for kind in ALL {
        let site = kind.with_node();
        site.get(&path(NAME)).expect(404);
        let made = generate(&site, NAME);
        made.expect(201);
        let json = assert_whole(&site, &made, NAME);
        let authorities = json["ca_certificate"].as_str().unwrap().matches("BEGIN CERTIFICATE").count();
        assert_eq!(authorities, if kind == CERT { 1 } else { 2 });
        assert_eq!(generate(&site, NAME).expect(200).body, made.body, "asked again, it is the same");
        assert_eq!(kind.generated(&site), 1);
        let shown = site.get(&path(NAME));
        let mut without_key = json;
        without_key.as_object_mut().unwrap().remove("private_key");
        assert_eq!(shown.expect(200).json(), without_key);
    }
}

#[test]
fn certificate_without_key_is_409_until_revoked() {
    for kind in ALL {
        let site = kind.with_node();
        let first = generate(&site, NAME);
        let key = site.dir.join(format!("ca/ssl/private_keys/{NAME}.pem"));
        fs::remove_file(&key).unwrap();
        assert_eq!(generate(&site, NAME).expect(409).problem(), "key-gone");
        assert!(site.unfinished().is_empty());
        site.get(&path(NAME)).expect(200);
        site.delete(&path(NAME)).expect(204);
        let second = generate(&site, NAME);
        assert_made(&site, second.expect(201));
        assert_eq!(revoked(&site), [serial(&first)].into());
        // A key that is another's is as good as none.
        fs::copy(site.dir.join("ca/ssl/private_keys/master.example.com.pem"), &key).unwrap();
        assert_eq!(generate(&site, NAME).expect(409).problem(), "key-gone");
        site.delete(&path(NAME)).expect(204);
        assert_made(&site, generate(&site, NAME).expect(201));
    }
}

#[test]
fn revocation_that_master_reads_at_its_start_is_noted() {
    for kind in ALL {
        let site = kind.with_node();
        generate(&site, NAME).expect(201);
        let gone = site.delete(&path(NAME));
        gone.expect(204);
        let noted = site.records_of(&gone).iter().any(|record| record.contains(" note=restart-master "));
        assert_eq!(noted, kind == CERT);
        let checked = String::from_utf8(site.espm(&["check"]).stdout).unwrap();
        assert_eq!(checked.contains("restart the master after a revocation"), kind == CERT, "{checked}");
    }
}

#[test]
fn revoked_certificate_is_in_list_of_its_issuer_alone() {
    for kind in ALL {
        let site = kind.with_node();
        site.delete(&path(NAME)).expect(404);
        let made = generate(&site, NAME);
        assert_eq!(revoked(&site), [].into());
        site.delete(&path(NAME)).expect(204);
        assert_eq!(revoked(&site), [serial(&made)].into());
        let commands = site.runs("ca").len();
        site.delete(&path(NAME)).expect(204);
        site.get(&path(NAME)).expect(404);
        assert_eq!(site.runs("ca").len(), commands, "what is revoked is not revoked again");
    }
}

#[test]
fn node_deletion_revokes_certificate_first_and_frees_name() {
    for kind in ALL {
        let site = kind.with_node();
        let first = generate(&site, NAME);
        let places = ["ca/ca/signed", "ca/ssl/private_keys", "ca/ssl/certs", "ca/ssl/public_keys"];
        // The commands leave copies that nothing reads.
        let places = if kind == BY_API { &places[..2] } else { &places };
        let mut there: BTreeSet<_> = places.iter().map(|place| format!("{place}/{NAME}.pem")).collect();
        there.insert(format!("records/{NAME}.json"));
        assert_eq!(files(&site, NAME), there);
        site.fault("ca", "no_crl", "");
        let node = format!("/v1/nodes/{NAME}");
        assert_eq!(site.delete(&node).expect(502).problem(), "command-failed");
        assert!(!site.node_in_console(NAME).is_null());
        site.get(&node).expect(200);
        site.no_faults("ca");
        site.delete(&node).expect(204);
        assert!(site.node_in_console(NAME).is_null());
        assert_eq!(revoked(&site), [serial(&first)].into());
        assert_eq!(files(&site, NAME), [].into());
        site.add(NAME);
        site.get(&path(NAME)).expect(404);
        assert_made(&site, generate(&site, NAME).expect(201));
    }
}

#[test]
fn node_deleted_by_hand_or_forgotten_leaves_no_valid_certificate() {
    for kind in ALL {
        let site = kind.with_node();
        let deleted = generate(&site, NAME);
        site.rake(&["node:del", &format!("name={NAME}")]);
        site.patch(&format!("/v1/nodes/{NAME}"), &json!({"groups": []})).expect(404);
        assert_eq!(revoked(&site), [serial(&deleted)].into());
        site.add(NAME);
        let forgotten = generate(&site, NAME);
        assert!(site.espm(&["forget", NAME]).status.success());
        assert!(site.espm(&["adopt", NAME]).status.success());
        assert!(site.espm(&["assign", NAME, "cloud"]).status.success());
        // The forgotten one may be a living server's.
        assert_eq!(generate(&site, NAME).expect(409).problem(), "certificate-exists");
        site.delete(&path(NAME)).expect(204);
        let new = generate(&site, NAME);
        assert_made(&site, new.expect(201));
        assert_eq!(revoked(&site), [serial(&deleted), serial(&forgotten)].into());
        assert!(site.espm(&["forget", NAME]).status.success());
        assert!(site.espm(&["adopt", NAME]).status.success());
        assert!(site.espm(&["assign", NAME, "cloud"]).status.success());
        site.delete(&format!("/v1/nodes/{NAME}")).expect(204);
        assert_eq!(valid(&site), [].into());
    }
}

#[test]
fn name_is_never_taken_as_pattern() {
    let site = CERT.site();
    let (ours, like_it) = ("web.example.com", "webxexample.com");
    CERT.human(&site, "generate", like_it);
    let others = valid(&site);
    assert_eq!(others.len(), 1);
    site.add(ours);
    site.delete(&path(ours)).expect(404);
    site.delete(&format!("/v1/nodes/{ours}")).expect(204);
    assert_eq!(site.count("ca", "revoke"), 0);
    // The same when ours has lost the file by which the command would have found it.
    for again in [false, true] {
        site.add(ours);
        let made = generate(&site, ours);
        fs::remove_file(site.dir.join(format!("ca/ca/signed/{ours}.pem"))).unwrap();
        site.get(&path(ours)).expect(404);
        if again {
            assert_ne!(serial(generate(&site, ours).expect(201)), serial(&made));
        }
        site.delete(&format!("/v1/nodes/{ours}")).expect(204);
        assert!(revoked(&site).contains(&serial(&made)));
        assert_eq!(valid(&site), others);
    }
}

#[test]
fn foreign_certificate_is_404_like_absent_one() {
    for kind in ALL {
        let site = kind.site();
        kind.human(&site, "generate", "foreign.example.com");
        assert!(!site.node_in_console("foreign.example.com").is_null());
        let (commands, crl) = (site.runs("ca").len(), site.file("ca/ca/ca_crl.pem"));
        let mut answers = BTreeSet::new();
        for name in ["foreign.example.com", "master.example.com", "absent.example.com", "ca", "0x0003", "Upper"] {
            for method in ["POST", "GET", "DELETE"] {
                let mut answer = site.ask(method, &path(name), None, &[]);
                assert_eq!(answer.expect(404).problem(), "not-found");
                // How Apache frames a CGI program's answer depends on when the program ends.
                let chance = ["x-request-id", "date", "content-length", "transfer-encoding"];
                answer.headers.retain(|header, _| !chance.contains(&header.as_str()));
                answers.insert(format!("{answer:?}"));
            }
        }
        assert_eq!(answers.len(), 1, "{answers:#?}");
        assert_eq!((site.runs("ca").len(), site.file("ca/ca/ca_crl.pem")), (commands, crl));
    }
}

#[test]
fn two_requests_for_one_certificate_make_one() {
    for kind in ALL {
        let site = kind.with_node();
        let start = Barrier::new(2);
        let ask = || {
            start.wait();
            generate(&site, NAME)
        };
        let (one, two) = std::thread::scope(|scope| {
            let (one, two) = (scope.spawn(ask), scope.spawn(ask));
            (one.join().unwrap(), two.join().unwrap())
        });
        let (first, second) = if one.status == 201 { (one, two) } else { (two, one) };
        assert_made(&site, first.expect(201));
        match second.status {
            200 => assert_eq!(second.body, first.body),
            _ => assert_eq!(second.expect(503).problem(), "busy"),
        }
        assert_eq!(kind.generated(&site), 1);
    }
}

#[test]
fn ca_commands_never_overlap() {
    for kind in [CERT, CA] {
        let site = kind.site();
        // Ten keys may take minutes on a slow machine.
        site.configure("authority", "queue_timeout = 250");
        let names: Vec<_> = (0..10).map(|number| format!("node{number}.example.com")).collect();
        let all = |ask: &(dyn Fn(&str) -> Answer + Sync)| -> Vec<Answer> {
            std::thread::scope(|scope| {
                let threads: Vec<_> = names.iter().map(|name| scope.spawn(move || ask(name))).collect();
                threads.into_iter().map(|thread| thread.join().unwrap()).collect()
            })
        };
        all(&|name| site.add(name));
        let start = Barrier::new(names.len());
        let made = all(&|name| {
            start.wait();
            generate(&site, name)
        });
        for answer in &made {
            answer.expect(201);
        }
        for (name, answer) in names.iter().zip(&made) {
            assert_whole(&site, answer, name);
        }
        assert_eq!(valid(&site), made.iter().map(serial).collect());
        assert_eq!(valid(&site).len(), names.len());
        let log = site.file("ca/log");
        let ends: Vec<_> = log.lines().map(|line| line.contains("\"end\":true")).collect();
        assert_eq!(ends, [false, true].repeat(names.len()), "{log}");
    }
}

#[test]
fn private_key_is_in_answer_alone_and_ca_hears_nothing_of_client() {
    for kind in ALL {
        let site = kind.with_node();
        let holding = |line: &str| -> Vec<_> {
            let regular = |path: &PathBuf| fs::metadata(path).is_ok_and(|metadata| metadata.is_file());
            let holds = |path: &PathBuf| String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).contains(line);
            walk(&site.dir).into_iter().filter(regular).filter(holds).collect()
        };
        let made = generate(&site, NAME).json();
        let key = made["private_key"].as_str().unwrap();
        let line = key.lines().nth(key.lines().count() / 2).unwrap();
        assert_eq!(line.len(), 64);
        assert_eq!(holding(line), [site.dir.join(format!("ca/ssl/private_keys/{NAME}.pem"))]);
        site.records_of(&generate(&site, NAME));
        site.delete(&path(NAME)).expect(204);
        assert_eq!(holding(line), Vec::<PathBuf>::new(), "the revoked key is gone from the master, too");
        site.fault("ca", "mismatch", "");
        site.records_of(generate(&site, NAME).expect(502));
        assert!(!site.audit().iter().any(|record| record.contains(line) || record.contains("PRIVATE KEY")));
        for logs in ["gate.err", "server.err", "nginx.err", "apache.err", "espm.error.log", "espm.access.log"] {
            assert!(!site.file(logs).contains("PRIVATE KEY"), "{logs}");
        }
        let runs = site.runs("ca");
        assert!(runs.len() >= 3);
        for run in runs {
            let environment = json!({"HOME": "/", "LANG": "C.UTF-8",
                "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"});
            // The server's is its own.
            assert!(kind == BY_API || run["exec_env"] == environment, "{run}");
            assert!(!run.to_string().contains(&site.psk));
        }
    }
}
