//! The CA's command dies, hangs, lies or makes something other than was asked for.
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::Command;

use super::{CA, CERT, Kind, NAME, assert_made, assert_whole, files, flavour, generate, path};
use crate::harness::certificates::{revoked, serial, valid};
use crate::harness::{Answer, Site, USER, run, wait_until};

/// Processes of the CA's command.
pub(super) fn running(site: &Site) -> usize {
    let root = format!("--root\0{}/ca\0", site.dir.display());
    let processes = fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().path().join("cmdline"));
    processes.filter(|path| fs::read(path).is_ok_and(|line| String::from_utf8_lossy(&line).contains(&root))).count()
}

/// The files of our name. After a failure the record of a key that the server may still sign for is none.
fn left(kind: Kind, site: &Site) -> BTreeSet<String> {
    let mut files = files(site, NAME);
    if kind == CA && site.file(&format!("records/{NAME}.json")).contains("abandoned") {
        files.remove(&format!("records/{NAME}.json"));
    }
    files
}

#[test]
fn half_made_certificate_neither_blocks_name_nor_stays_valid() {
    for kind in [CERT, CA] {
        let site = kind.with_node();
        // A certificate that was signed before the command died is handed out all the same.
        let mut faults =
            vec![("fail_after_key", 502), ("die_after_key", 502), ("die_after_sign", 201), ("die_after_generate", 201)];
        if kind == CA {
            faults.push(("server_down", 502));
        }
        for (fault, status) in faults {
            site.fault("ca", fault, "");
            let first = generate(&site, NAME);
            assert_eq!(first.status, status, "{kind:?} {fault}: {first:?}");
            site.no_faults("ca");
            if status == 502 {
                assert_eq!(first.problem(), "command-failed");
                site.get(&path(NAME)).expect(404);
                assert_eq!((left(kind, &site), valid(&site)), ([].into(), [].into()), "{fault}");
                assert!(site.unfinished().is_empty(), "{fault}");
            }
            let second = generate(&site, NAME);
            second.expect(if status == 201 { 200 } else { 201 });
            assert_made(&site, &second);
            site.delete(&path(NAME)).expect(204);
            assert_eq!((files(&site, NAME), valid(&site)), ([].into(), [].into()), "{fault}");
        }
    }
}

#[test]
fn certificate_of_killed_helper_is_settled_by_next_request() {
    for kind in [CERT, CA] {
        let site = kind.with_node();
        let kill = || {
            assert_eq!(running(&site), 1);
            let helper = format!("authority\0{}\0", site.ini().display());
            let found = fs::read_dir("/proc")
                .unwrap()
                .map(|entry| entry.unwrap().path())
                .find(|process| fs::read_to_string(process.join("cmdline")).is_ok_and(|line| line.ends_with(&helper)));
            let pid = found.unwrap().file_name().unwrap().to_str().unwrap().to_owned();
            assert!(Command::new("kill").args(["-9", &pid]).status().unwrap().success());
        };
        site.stopped_in("ca", "after_sign", || generate(&site, NAME), kill).expect(502);
        assert!(site.unfinished().contains_key(NAME), "the operator sees it");
        assert_eq!(generate(&site, NAME).expect(503).problem(), "busy");
        site.write("ca/continue", "");
        wait_until("the command has ended", || running(&site) == 0);
        assert_made(&site, generate(&site, NAME).expect(201));
        assert_eq!(site.count("ca", "generate"), 1);
    }
}

/// Has the CA's copy of a new certificate cut short before the command goes on to an end.
fn cut_short(site: &Site, end: &str) -> Answer {
    cut_short_and(site, end, || {})
}

/// The same, and does something more meanwhile.
fn cut_short_and(site: &Site, end: &str, meanwhile: impl Fn()) -> Answer {
    let cut = || {
        meanwhile();
        let signed = site.dir.join(format!("ca/ca/signed/{NAME}.pem"));
        fs::OpenOptions::new().write(true).truncate(true).open(signed).unwrap();
        if !end.is_empty() {
            site.fault("ca", &format!("{end}.once"), "");
        }
    };
    site.paused_in("ca", "after_sign", || generate(site, NAME), cut)
}

#[test]
fn certificate_cut_short_by_full_disk_does_not_block_name() {
    for kind in [CERT, CA] {
        let site = kind.with_node();
        // The node's copy was written, too.
        let made = cut_short(&site, "");
        assert_made(&site, made.expect(201));
        // A copy that is cut short later is no reason to lose the serial number either.
        site.write(&format!("ca/ca/signed/{NAME}.pem"), "");
        site.get(&path(NAME)).expect(404);
        if kind == CA {
            // A server revokes what it has a copy of, and espm writes none; the operator can.
            let refused = site.delete(&path(NAME));
            assert_eq!(refused.expect(409).problem(), "certificate-replaced");
            let record = format!("{}/records/{NAME}.json", site.dir.display());
            assert!(site.records_of(&refused).iter().any(|line| line.contains("write its certificate, which is in")));
            let record: serde_json::Value = serde_json::from_str(&fs::read_to_string(record).unwrap()).unwrap();
            site.write(&format!("ca/ca/signed/{NAME}.pem"), record["made"][0]["certificate"].as_str().unwrap());
        }
        site.delete(&path(NAME)).expect(204);
        assert_eq!((files(&site, NAME), valid(&site)), ([].into(), [].into()));
        assert_eq!(revoked(&site), [serial(&made)].into());
        // It was not: nobody has that certificate.
        assert_eq!(cut_short(&site, "die_before_publish").expect(502).problem(), "command-failed");
        assert_eq!(files(&site, NAME), [format!("records/{NAME}.json")].into());
        assert!(site.unfinished().is_empty());
        let made = generate(&site, NAME);
        assert_whole(&site, made.expect(201), NAME);
    }
}

#[test]
fn ca_command_is_not_started_without_room_for_its_output() {
    let site = CERT.with_node();
    // A Ruby that prints into a file does so at its end, where nobody hears that it failed.
    let ini = fs::read_to_string(site.ini()).unwrap();
    let command = ini.lines().find(|line| line.starts_with("command") && line.contains("/authority/puppet ")).unwrap();
    let words = command.split_once(" = ").unwrap().1;
    let script = format!("#!/bin/sh\nsaid=$({words} \"$@\" 2>&1)\nprintf '%s\\n' \"$said\"\n");
    let program = site.write("puppet", &script);
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    site.configure("authority", &format!("command = {program}"));
    let records = site.dir.join("records");
    let owner = fs::metadata(&records).unwrap();
    // One page: for the record.
    let options = format!("size=4k,uid={},gid={},mode=700", owner.uid(), owner.gid());
    run(Command::new("mount").args(["-t", "tmpfs", "-o", &options, "espm-test"]).arg(&records));
    let refused = generate(&site, NAME);
    let left = (valid(&site), site.unfinished().len());
    run(Command::new("umount").arg(&records));
    assert_eq!(refused.expect(502).problem(), "command-failed");
    assert_eq!(left, ([].into(), 0));
    let made = generate(&site, NAME);
    assert_made(&site, made.expect(201));
    assert_eq!(valid(&site), [serial(&made)].into());
}

#[test]
fn certificate_cut_short_is_kept_while_revocation_list_is_unreadable() {
    for kind in [CERT, CA] {
        let site = kind.with_node();
        let crl = site.dir.join("ca/ca/ca_crl.pem");
        let hide = || fs::set_permissions(&crl, fs::Permissions::from_mode(0o000)).unwrap();
        assert_eq!(cut_short_and(&site, "", hide).expect(502).problem(), "command-failed");
        fs::set_permissions(&crl, fs::Permissions::from_mode(0o644)).unwrap();
        let made = generate(&site, NAME);
        assert_made(&site, made.expect(201));
        assert_eq!(valid(&site), [serial(&made)].into());
    }
}

#[test]
fn certificate_signed_after_command_was_killed_is_revoked_before_next() {
    for then in ["generate", "delete"] {
        let site = CA.with_node();
        site.fault("ca", "late_sign.once", "");
        assert_eq!(generate(&site, NAME).expect(502).problem(), "command-failed");
        assert_eq!((valid(&site), site.unfinished().len()), ([].into(), 0));
        site.write("ca/continue", "");
        wait_until("the server has signed", || !valid(&site).is_empty());
        wait_until("it is written", || !site.file(&format!("ca/ca/signed/{NAME}.pem")).is_empty());
        if then == "generate" {
            assert_made(&site, generate(&site, NAME).expect(201));
        } else {
            site.delete(&format!("/v1/nodes/{NAME}")).expect(204);
            assert_eq!((files(&site, NAME), valid(&site)), ([].into(), [].into()));
        }
        assert_eq!(revoked(&site).len(), 1);
    }
}

#[test]
fn certificate_made_by_hand_after_failed_command_is_409() {
    let site = CA.with_node();
    site.fault("ca", "server_down.once", "");
    generate(&site, NAME).expect(502);
    CA.human(&site, "generate", NAME);
    assert_eq!(generate(&site, NAME).expect(409).problem(), "certificate-exists");
    site.delete(&format!("/v1/nodes/{NAME}")).expect(204);
    assert_eq!((valid(&site).len(), site.count("ca", "revoke")), (1, 0));
}

#[test]
fn ca_command_never_started_leaves_nothing_unfinished() {
    let site = CERT.with_node();
    let helper = site.bin("espm-helper").display().to_string();
    site.configure("espm", "helper = /nonexistent/espm-helper");
    generate(&site, NAME).expect(502);
    site.configure("espm", &format!("helper = {helper}"));
    assert!(site.unfinished().is_empty());
    // Another process works on the CA for as long as the time limit lasts.
    let lock = fs::OpenOptions::new().create(true).truncate(false).write(true).open(site.dir.join("records/lock"));
    let lock = lock.unwrap();
    run(Command::new("chown").arg(USER).arg(site.dir.join("records/lock")));
    lock.lock().unwrap();
    site.configure("authority", "timeout = 1");
    assert_eq!(generate(&site, NAME).expect(503).problem(), "busy");
    assert!(site.unfinished().is_empty());
    // A node without a certificate needs no turn at the CA to be deleted.
    site.add("other.example.com");
    site.delete("/v1/nodes/other.example.com").expect(204);
    drop(lock);
    site.configure("authority", "timeout = 100");
    assert_made(&site, generate(&site, NAME).expect(201));
}

#[test]
fn flawed_certificate_is_502_and_revoked() {
    for kind in [CERT, CA] {
        let site = kind.with_node();
        for fault in ["mismatch", "wrong_cn", "foreign_ca"] {
            let before = revoked(&site).len();
            site.fault("ca", fault, "");
            assert_eq!(generate(&site, NAME).expect(502).problem(), "command-failed");
            assert_eq!((files(&site, NAME), valid(&site)), ([].into(), [].into()), "{fault}");
            assert_eq!(revoked(&site).len(), before + 1, "{fault}");
            // It is not handed out later either when it could not be revoked at once.
            site.fault("ca", "no_crl", "");
            generate(&site, NAME).expect(502);
            site.no_faults("ca");
            site.get(&path(NAME)).expect(404);
            assert_made(&site, generate(&site, NAME).expect(201));
            site.delete(&path(NAME)).expect(204);
        }
    }
}

#[test]
fn false_exit_codes_and_messages_of_ca_are_not_believed() {
    for (kind, old) in [(CERT, Some("2.7.12")), (CERT, Some("2.7.26")), (CERT, None), (CA, None)] {
        let site = kind.with_node();
        if let Some(old) = old {
            flavour(&site, old);
        }
        site.fault("ca", "fail_after_key", "");
        for code in ["0", "24"] {
            site.fault("ca", "exit", code);
            generate(&site, NAME).expect(502);
        }
        site.no_faults("ca");
        site.fault("ca", "garbage", "");
        site.fault("ca", "noise", "");
        site.fault("ca", "exit", "24");
        assert_made(&site, generate(&site, NAME).expect(201));
        site.fault("ca", "no_crl", "");
        site.fault("ca", "exit", "0");
        assert_eq!(site.delete(&path(NAME)).expect(502).problem(), "command-failed");
        assert_eq!(valid(&site).len(), 1);
        fs::remove_file(site.dir.join("ca/faults/no_crl")).unwrap();
        site.fault("ca", "exit", "24");
        site.delete(&path(NAME)).expect(204);
        assert_eq!(valid(&site), [].into());
    }
}

#[test]
fn certificate_made_by_hand_at_same_moment_is_409() {
    for flavour_ in ["2.7.12", "5.5"] {
        let site = CERT.with_node();
        flavour(&site, flavour_);
        let human = || CERT.human(&site, "generate", NAME);
        let ours = site.paused_in("ca", "after_key", || generate(&site, NAME), human);
        assert_eq!(ours.expect(409).problem(), "certificate-exists");
        site.delete(&path(NAME)).expect(404);
        site.delete(&format!("/v1/nodes/{NAME}")).expect(204);
        assert_eq!(valid(&site).len(), 1);
        assert_eq!(site.count("ca", "revoke"), 0);
    }
}

#[test]
fn hung_or_flooding_ca_command_is_ended_and_next_request_settles() {
    for kind in [CERT, CA] {
        let site = kind.with_node();
        let short = |fault: &str| {
            site.configure("authority", "timeout = 1");
            site.fault("ca", fault, "");
        };
        let long = || {
            site.configure("authority", "timeout = 100");
            site.no_faults("ca");
        };
        short("hang");
        assert_eq!(generate(&site, NAME).expect(504).problem(), "timed-out");
        assert_eq!(running(&site), 0);
        long();
        let check = |words: &[&str]| String::from_utf8(site.espm(words).stdout).unwrap();
        let unfinished = format!("node: {NAME} has an unfinished certificate");
        assert!(check(&["check"]).contains(&format!("FAIL  {unfinished}; 'espm check --settle' settles it")));
        assert!(check(&["check", "--settle"]).contains(&format!("{unfinished}: settled")));
        assert!(site.unfinished().is_empty());
        // Only the client knows what it wants now: nothing new is begun.
        assert_eq!((valid(&site), files(&site, NAME)), ([].into(), [].into()));
        site.delete(&path(NAME)).expect(404);
        site.fault("ca", "flood", "");
        assert_eq!(generate(&site, NAME).expect(502).problem(), "command-failed");
        assert_eq!(running(&site), 0);
        long();
        assert_made(&site, generate(&site, NAME).expect(201));
        short("hang");
        assert_eq!(site.delete(&path(NAME)).expect(504).problem(), "timed-out");
        assert_eq!(running(&site), 0);
        assert_eq!(valid(&site).len(), 1);
        long();
        site.delete(&path(NAME)).expect(204);
        assert_eq!(valid(&site), [].into());
    }
}

#[test]
fn ca_is_busy_while_command_runs_after_handler_or_helper_died() {
    for kind in [CERT, CA] {
        let site = kind.with_node();
        site.add("other.example.com");
        for (victim, name) in [("espm", NAME), ("espm-helper", "other.example.com")] {
            let failed = site.stopped_in("ca", "after_key", || generate(&site, name), || site.kill_one(victim));
            assert!(matches!(failed.status, 500 | 502));
            site.configure("authority", "timeout = 1");
            let another = if name == NAME { "other.example.com" } else { NAME };
            assert_eq!(generate(&site, another).expect(503).problem(), "busy");
            site.configure("authority", "timeout = 100");
            site.write("ca/continue", "");
            wait_until("the command has ended", || running(&site) == 0);
        }
        for name in [NAME, "other.example.com"] {
            assert_whole(&site, &generate(&site, name), name);
        }
        assert_eq!(valid(&site).len(), 2);
        let log = site.file("ca/log");
        let ends: Vec<_> = log.lines().map(|line| line.contains("\"end\":true")).collect();
        assert_eq!(ends, [false, true].repeat(ends.len() / 2), "{log}");
    }
}

#[test]
fn ca_command_that_closed_its_input_is_still_waited_for() {
    for kind in [CERT, CA] {
        let site = kind.with_node();
        // Only its output is still locked.
        site.fault("ca", "close_input.once", "");
        let kill = || site.kill_one("espm-helper");
        site.stopped_in("ca", "after_sign", || generate(&site, NAME), kill).expect(502);
        assert_eq!(generate(&site, NAME).expect(503).problem(), "busy");
        site.write("ca/continue", "");
        wait_until("the command has ended", || running(&site) == 0);
        assert_made(&site, generate(&site, NAME).expect(201));
        assert_eq!(site.count("ca", "generate"), 1);

        site.fault("ca", "close_input.once", "");
        let revoke = || site.delete(&path(NAME));
        site.stopped_in("ca", "before_revoke", revoke, kill).expect(502);
        assert_eq!(revoke().expect(503).problem(), "busy");
        site.write("ca/continue", "");
        wait_until("the command has ended", || running(&site) == 0);
        revoke().expect(204);
        assert!(valid(&site).is_empty());
        assert_eq!(site.count("ca", "revoke"), 1, "two at once could write the revocation list over each other");
    }
}

#[test]
fn process_left_behind_by_ca_command_does_not_keep_ca_busy() {
    for kind in [CERT, CA] {
        let site = kind.with_node();
        site.add("other.example.com");
        site.fault("ca", "fork_child.once", "group");
        assert_whole(&site, generate(&site, NAME).expect(201), NAME);
        assert_whole(&site, generate(&site, "other.example.com").expect(201), "other.example.com");
    }
}
