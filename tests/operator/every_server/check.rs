//! `espm check` prints one line for each fault, with what to do about it; requests that meet the fault are
//! refused and leave nothing half done.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

use crate::harness::check::{all_is_well, check, one_fault, refused, text};
use crate::harness::{Site, run};

/// Asks for new01 in vain.
#[track_caller]
fn add_refused(site: &Site, status: u16, problem: &str, why: &[&str]) {
    let answer = site.post("/v1/nodes", &json!({"name": "new01", "groups": ["default"], "classes": ["ntp"]}));
    refused(site, &answer, status, problem, why);
}

/// Nothing of new01 is anywhere.
#[track_caller]
fn nothing_is_half_done(site: &Site) {
    assert!(site.node_in_console("new01").is_null());
    let listed = site.espm(&["nodes"]);
    assert!(!String::from_utf8_lossy(&listed.stdout).contains("new01"), "{listed:?}");
    assert_eq!(fs::read_dir(site.dir.join("state/proofs")).unwrap().count(), 0);
}

/// A line of espm.ini that is wrong until this is called.
fn with_line(site: &Site, section: &str, line: &str) -> impl FnOnce() {
    let (path, text) = (site.ini(), fs::read(site.ini()).unwrap());
    site.configure(section, line);
    move || fs::write(path, text).unwrap()
}

#[test]
fn sound_installation_has_no_failure() {
    let site = Site::open();
    all_is_well(&site);
    site.add("web01");
    site.ask("POST", "/v1/nodes/web01/certificate", None, &[]).expect(201);
    all_is_well(&site);
}

#[test]
fn untrusted_configuration_is_one_failure_and_requests_are_500() {
    let site = Site::open();
    let mode = |mode| fs::set_permissions(site.ini(), Permissions::from_mode(mode)).unwrap();
    let ini = site.ini().display().to_string();
    let why = |words: &[&str]| {
        one_fault(&site, &[&["FAIL  configuration: ", &ini], words].concat());
        add_refused(&site, 500, "internal", &[&[ini.as_str()], words].concat());
        refused(&site, &site.get("/v1/health"), 500, "internal", words);
    };
    mode(0o666);
    why(&["others can write it (mode 0666); chmod go-w"]);
    mode(0o644);
    chown(site.ini(), Some(65_534), None).unwrap();
    why(&["is owned by user 65534, want root"]);
    chown(site.ini(), Some(0), None).unwrap();
    for (section, line, words) in [
        ("console", "unknown = 1", "[console] unknown: line"),
        ("tls", "key = certs/espm.key", "[tls] key: want an absolute path"),
        ("console", "timeout = ten", "[console] timeout: want whole seconds from 1 to 3600"),
    ] {
        let undo = with_line(&site, section, line);
        why(&[words]);
        undo();
    }
    nothing_is_half_done(&site);
    all_is_well(&site);
}

/// With the lists kept or not, so that the fault is met before the intent and after it.
fn with_and_without_lists(site: &Site, section: &str, line: &str, then: impl Fn()) {
    for kept in [true, false] {
        let _ = fs::remove_file(site.dir.join("state/cache/classes"));
        let _ = fs::remove_file(site.dir.join("state/cache/groups"));
        if kept {
            site.get("/v1/classes").expect(200);
            site.get("/v1/groups").expect(200);
        }
        let undo = with_line(site, section, line);
        then();
        undo();
        nothing_is_half_done(site);
    }
}

#[test]
fn missing_rake_is_one_failure_and_requests_are_502() {
    let site = Site::open();
    with_and_without_lists(&site, "console", "command = /nonexistent/rake -f x", || {
        one_fault(&site, &["[console] command: /nonexistent/rake does not exist; name the right path, or create it"]);
        add_refused(&site, 502, "command-failed", &["/nonexistent/rake cannot be started: No such file"]);
    });
    all_is_well(&site);
    site.add("new01");
}

#[test]
fn missing_helper_is_one_failure_and_requests_are_502() {
    let site = Site::open();
    site.add("web01");
    with_and_without_lists(&site, "espm", "helper = /nonexistent/espm-helper", || {
        one_fault(
            &site,
            &["[espm] helper: /nonexistent/espm-helper does not exist; name the right path, or create it"],
        );
        add_refused(&site, 502, "command-failed", &["/nonexistent/espm-helper cannot be started: No such file"]);
        let answer = site.ask("POST", "/v1/nodes/web01/certificate", None, &[]);
        refused(&site, &answer, 502, "command-failed", &["/nonexistent/espm-helper cannot be started"]);
    });
    site.ask("POST", "/v1/nodes/web01/certificate", None, &[]).expect(201);
    all_is_well(&site);
}

#[test]
fn command_forbidden_by_sudo_is_one_failure_and_requests_are_502() {
    let site = Site::open();
    let undo = with_line(&site, "console", "user = nobody");
    one_fault(&site, &["FAIL  console: ", "sudo: ", "; /etc/sudoers.d/espm must allow it"]);
    add_refused(&site, 502, "command-failed", &["sudo: "]);
    undo();
    for (section, line, words) in [
        ("console", "user = somebody", "[console] user: there is no user somebody"),
        ("espm", "sudo = /nonexistent/sudo", "[espm] sudo: /nonexistent/sudo does not exist"),
    ] {
        let undo = with_line(&site, section, line);
        let undo_user = if section == "espm" { Some(with_line(&site, "console", "user = nobody")) } else { None };
        one_fault(&site, &[words]);
        if let Some(undo) = undo_user {
            undo();
        }
        undo();
    }
    nothing_is_half_done(&site);
    all_is_well(&site);
}

#[test]
fn missing_program_or_directory_is_named_with_its_key() {
    let site = Site::open();
    for (section, line, words) in [
        ("console", "directory = /nonexistent", "[console] directory: /nonexistent does not exist"),
        ("authority", "command = /nonexistent/puppet cert", "[authority] command: /nonexistent/puppet does not exist"),
        ("authority", "command = /etc/passwd", "[authority] command: /etc/passwd is not an executable program"),
        ("authority", "directory = /etc/passwd", "[authority] directory: /etc/passwd is not a directory"),
        ("authority", "ssldir = /nonexistent", "[authority] ssldir: /nonexistent does not exist"),
        ("authority", "cadir = /nonexistent", "[authority] cadir: /nonexistent does not exist"),
        ("authority", "records = /nonexistent", "[authority] records: /nonexistent does not exist"),
        ("espm", "state = /nonexistent", "[espm] state: /nonexistent: No such file"),
        ("audit", "socket = /nonexistent", "; start syslog, or name its socket in [audit] socket"),
        ("tls", "certificate = /nonexistent.pem", "FAIL  certificate: [tls] /nonexistent.pem: No such file"),
        ("tls", "key = /nonexistent.key", "FAIL  certificate: [tls] /nonexistent.key: No such file"),
    ] {
        let undo = with_line(&site, section, line);
        one_fault(&site, &[words]);
        undo();
    }
    all_is_well(&site);
}

#[test]
fn records_of_other_owner_are_one_failure_and_certificates_are_502() {
    let site = Site::open();
    site.add("db01");
    let records = site.dir.join("records");
    let owner = fs::metadata(&records).unwrap().uid();
    for other in [0, 65_534] {
        chown(&records, Some(other), None).unwrap();
        let is = format!(
            "is owned by user {other}; name the right directory in records, or the right user, or type: chown {owner} "
        );
        one_fault(&site, &["[authority] records: ", &is, records.to_str().unwrap()]);
        let answer = site.ask("POST", "/v1/nodes/db01/certificate", None, &[]);
        refused(&site, &answer, 502, "command-failed", &[records.to_str().unwrap()]);
    }
    assert_eq!(site.count("ca", "generate"), 0);
    chown(&records, Some(owner), None).unwrap();
    assert!(site.unfinished().is_empty());
    site.ask("POST", "/v1/nodes/db01/certificate", None, &[]).expect(201);
    all_is_well(&site);
}

#[test]
fn missing_syslog_is_one_failure_and_changes_are_503() {
    let site = Site::open();
    let (socket, away) = (site.dir.join("log.sock"), site.dir.join("log.away"));
    fs::rename(&socket, &away).unwrap();
    one_fault(
        &site,
        &["FAIL  syslog: ", socket.to_str().unwrap(), "start syslog, or name its socket in [audit] socket"],
    );
    add_refused(&site, 503, "unavailable", &["syslog cannot be reached at", socket.to_str().unwrap()]);
    assert_eq!(site.count("console", "node:add"), 0);
    for words in [&["forget", "new01"][..], &["adopt", "new01"]] {
        assert_eq!(site.espm(words).status.code(), Some(1));
    }
    fs::rename(&away, &socket).unwrap();
    nothing_is_half_done(&site);
    all_is_well(&site);
}

#[test]
fn missing_or_damaged_ledger_is_one_failure_and_requests_are_503() {
    let site = Site::open();
    site.add("web01");
    let ledger = site.dir.join("state/ledger.sqlite");
    let (good, owner) = (fs::read(&ledger).unwrap(), fs::metadata(&ledger).unwrap());
    let mut corrupt = good.clone();
    corrupt[4096..].fill(0x5a);
    for (bytes, words) in [
        (None, "unable to open database file"),
        (Some(vec![]), "is not espm's (version 0)"),
        (Some(b"hello".to_vec()), "file is not a database"),
        (Some(good[..good.len() / 2].to_vec()), "is malformed"),
        (Some(corrupt), "is damaged ("),
    ] {
        match bytes {
            None => fs::remove_file(&ledger).unwrap(),
            Some(bytes) => fs::write(&ledger, bytes).unwrap(),
        }
        one_fault(
            &site,
            &["FAIL  ledger: ", words, ledger.to_str().unwrap(), "restore it from a backup and run 'espm check'"],
        );
        // What a request reads of a damaged one may differ from what the check finds.
        add_refused(&site, 503, "unavailable", &[ledger.to_str().unwrap()]);
        for answer in [site.get("/v1/nodes/web01"), site.delete("/v1/nodes/web01")] {
            assert_eq!(answer.expect(503).problem(), "unavailable");
        }
        for words in [&["nodes"][..], &["adopt", "web01"], &["forget", "web01"]] {
            assert_eq!(site.espm(words).status.code(), Some(1), "{words:?}");
        }
        site.get("/v1/classes").expect(200);
        let _ = fs::remove_file(&ledger);
        fs::write(&ledger, &good).unwrap();
        chown(&ledger, Some(owner.uid()), Some(owner.gid())).unwrap();
        fs::set_permissions(&ledger, Permissions::from_mode(0o600)).unwrap();
    }
    assert_eq!(site.count("console", "node:add"), 1);
    assert_eq!(site.count("console", "node:del"), 0);
    nothing_is_half_done(&site);
    site.get("/v1/nodes/web01").expect(200);
    all_is_well(&site);
}

#[test]
fn other_release_than_configured_is_one_failure_naming_both() {
    let site = Site::open();
    let undo = with_line(&site, "console", "release = 3.0");
    one_fault(&site, &["[console] release: has the tasks of 1.2.7, configured is 3.0; write 1.2.7"]);
    undo();
    all_is_well(&site);
}

fn certificate(dir: &Path, name: &str, days: &str) -> (PathBuf, PathBuf) {
    let (pem, key) = (dir.join(format!("{name}.pem")), dir.join(format!("{name}.key")));
    run(Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-subj",
            "/CN=x",
            "-days",
            days,
            "-out",
        ])
        .arg(&pem)
        .arg("-keyout")
        .arg(&key));
    fs::set_permissions(&key, Permissions::from_mode(0o600)).unwrap();
    (pem, key)
}

#[test]
fn certificate_ending_soon_or_with_other_key_is_one_failure() {
    let site = Site::open();
    let etc = site.dir.join("etc");
    let (soon, soon_key) = certificate(&etc, "soon", "29");
    let (later, later_key) = certificate(&etc, "later", "32");
    let configured = |pem: &Path, key: &Path| {
        site.configure("tls", &format!("certificate = {}", pem.display()));
        site.configure("tls", &format!("key = {}", key.display()));
    };
    let before = fs::read(site.ini()).unwrap();
    configured(&soon, &soon_key);
    let days = format!("{}: ends in 28 days; renew it: espm-setup certificate renew", soon.display());
    // The web server shows the one that it has begun with.
    let besides_shown = || {
        let (mut failed, _) = check(&site);
        assert!(failed.pop().unwrap().starts_with("FAIL  web server: [tls] certificate: port "), "{failed:?}");
        // Without a gate, only a web server that answers tells that none is needed.
        failed.retain(|line| !(site.without_gateway() && line.starts_with("FAIL  gate: ")));
        failed
    };
    let failed = besides_shown();
    assert!(failed.len() == 1 && (failed[0].contains(&days) || failed[0].contains("in 29 days")), "{failed:?}");
    configured(&later, &later_key);
    assert!(besides_shown().is_empty());
    configured(&later, &soon_key);
    let other = format!("{} does not belong to {}; put the right one there", soon_key.display(), later.display());
    let failed = besides_shown();
    assert!(
        failed.len() == 1 && failed[0].starts_with("FAIL  certificate: ") && failed[0].contains(&other),
        "{failed:?}"
    );
    configured(&later, &later_key);
    fs::set_permissions(&later_key, Permissions::from_mode(0o640)).unwrap();
    let readable = format!("{}: others can read it; chmod 0600", later_key.display());
    let failed = besides_shown();
    assert!(failed.len() == 1 && failed[0].contains(&readable), "{failed:?}");
    fs::write(site.ini(), before).unwrap();
    all_is_well(&site);
}

#[test]
fn node_lost_by_console_is_one_failure_until_settled() {
    let site = Site::open();
    for name in ["web01", "web02"] {
        site.add(name);
    }
    site.rake(&["node:del", "name=web01"]);
    one_fault(&site, &["FAIL  node: web01 is missing in the console; 'espm check --settle' settles it"]);
    let settled = site.espm(&["check", "--settle"]);
    assert!(settled.status.success(), "{settled:?}");
    assert!(String::from_utf8_lossy(&settled.stdout).contains("ok    node: web01 is missing in the console: settled"));
    all_is_well(&site);
    site.get("/v1/nodes/web01").expect(404);
    site.get("/v1/nodes/web02").expect(200);
}

#[test]
fn console_listing_no_node_settles_nothing() {
    let site = Site::open();
    site.add("web01");
    site.ask("POST", "/v1/nodes/web01/certificate", None, &[]).expect(201);
    for name in site.console()["nodes"].as_object().unwrap().keys() {
        site.rake(&["node:del", &format!("name={name}")]);
    }
    let settled = site.espm(&["check", "--settle"]);
    assert_eq!(settled.status.code(), Some(1), "{settled:?}");
    assert!(text(&settled).contains("FAIL  nodes: the console lists none, not even the master, so nothing is settled"));
    assert_eq!(site.states().len(), 1);
    site.get("/v1/nodes/web01/certificate").expect(200);
}

#[test]
fn ledger_of_newer_espm_is_one_failure_and_unchanged() {
    let site = Site::open();
    site.add("web01");
    let ledger = site.dir.join("state/ledger.sqlite");
    let pragma = |pragma: &str| run(Command::new("sqlite3").arg(&ledger).arg(format!("PRAGMA user_version{pragma}")));
    let ours = pragma("");
    pragma(" = 99");
    let before = fs::read(&ledger).unwrap();
    one_fault(
        &site,
        &["FAIL  ledger: ", "a newer espm has written it (version 99, this one knows ", "install that one again"],
    );
    assert_eq!(site.get("/v1/nodes/web01").expect(503).problem(), "unavailable");
    assert_eq!(fs::read(&ledger).unwrap(), before);
    pragma(&format!(" = {}", ours.trim()));
    site.get("/v1/nodes/web01").expect(200);
}
