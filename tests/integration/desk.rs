//! The operator's desk: each fault of a shop is one line that says what to do, and what a request
//! meets of it is refused whole.

mod users;

use std::fs::{self, Permissions};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::json;

use crate::shop::{Answer, Plan, Shop, USER, as_user, run, wait_until};

/// The lines of `espm check` that are not fine, and its exit code.
fn check(shop: &Shop) -> (Vec<String>, i32) {
    let output = shop.desk(&["check"]);
    assert!(output.stderr.is_empty(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    for line in text.lines() {
        assert!(["ok    ", "FAIL  ", "skip  "].iter().any(|word| line.starts_with(word)), "{text}");
    }
    let failed = text.lines().filter(|line| line.starts_with("FAIL")).map(str::to_owned).collect();
    (failed, output.status.code().unwrap())
}

#[track_caller]
pub fn all_is_well(shop: &Shop) {
    let output = shop.desk(&["check"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && text.lines().all(|line| line.starts_with("ok    ")), "{text}");
    assert!(text.lines().count() >= 8, "{text}");
}

/// The one line that is not fine; it has all of these words.
#[track_caller]
pub fn one_fault(shop: &Shop, words: &[&str]) {
    let (failed, code) = check(shop);
    assert_eq!((failed.len(), code), (1, 1), "{failed:?}");
    for word in words {
        assert!(failed[0].contains(word), "{word}: {failed:?}");
    }
}

/// A request's answer when it meets a fault: its status and problem; the log says why, in words of which these are some.
#[track_caller]
pub fn refused(shop: &Shop, answer: &Answer, status: u16, problem: &str, why: &[&str]) {
    assert_eq!(answer.expect(status).problem(), problem);
    for word in why {
        assert!(!answer.body.contains(word), "{answer:?}");
    }
    let id = answer.header("x-request-id").to_owned();
    let lines = || -> Vec<String> {
        // A CGI program's standard error is in the log of the web server's main part.
        let errors = [shop.file("gate.err"), shop.file("apache.err")].concat();
        let lines = shop.audit().into_iter().chain(errors.lines().map(str::to_owned));
        lines.filter(|line| line.contains(&id) && line.contains("outcome=cause")).collect()
    };
    wait_until("the log says why", || !lines().is_empty());
    assert_eq!(lines().len(), 1, "{:?}", lines());
    for word in why {
        assert!(lines()[0].contains(word), "{word}: {:?}", lines());
    }
}

/// Asks for new01 in vain.
#[track_caller]
fn add_refused(shop: &Shop, status: u16, problem: &str, why: &[&str]) {
    let answer = shop.post("/v1/nodes", &json!({"name": "new01", "groups": ["default"], "classes": ["ntp"]}));
    refused(shop, &answer, status, problem, why);
}

/// Nothing of new01 is anywhere.
#[track_caller]
fn nothing_is_half_done(shop: &Shop) {
    assert!(shop.node_in_console("new01").is_null());
    let listed = shop.desk(&["nodes"]);
    assert!(!String::from_utf8_lossy(&listed.stdout).contains("new01"), "{listed:?}");
    assert_eq!(fs::read_dir(shop.dir.join("state/proofs")).unwrap().count(), 0);
}

/// A line of espm.ini that is wrong until this is called.
fn with_line(shop: &Shop, section: &str, line: &str) -> impl FnOnce() {
    let (path, text) = (shop.ini(), fs::read(shop.ini()).unwrap());
    shop.configure(section, line);
    move || fs::write(path, text).unwrap()
}

#[test]
fn a_good_shop_has_no_fault() {
    let shop = Shop::open();
    all_is_well(&shop);
    shop.add("web01");
    shop.ask("POST", "/v1/nodes/web01/certificate", None, &[]).expect(201);
    all_is_well(&shop);
}

#[test]
fn a_configuration_that_cannot_be_trusted_is_one_fault_and_every_request_is_500() {
    let shop = Shop::open();
    let mode = |mode| fs::set_permissions(shop.ini(), Permissions::from_mode(mode)).unwrap();
    let ini = shop.ini().display().to_string();
    let why = |words: &[&str]| {
        one_fault(&shop, &[&["FAIL  configuration: ", &ini], words].concat());
        add_refused(&shop, 500, "internal", &[&[ini.as_str()], words].concat());
        refused(&shop, &shop.get("/v1/health"), 500, "internal", words);
    };
    mode(0o666);
    why(&["others can write it (mode 0666); chmod go-w"]);
    mode(0o644);
    chown(shop.ini(), Some(65_534), None).unwrap();
    why(&["is owned by user 65534, want root"]);
    chown(shop.ini(), Some(0), None).unwrap();
    for (section, line, words) in [
        ("console", "unknown = 1", "[console] unknown: line"),
        ("tls", "key = certs/espm.key", "[tls] key: want an absolute path"),
        ("console", "timeout = ten", "[console] timeout: want whole seconds from 1 to 3600"),
    ] {
        let undo = with_line(&shop, section, line);
        why(&[words]);
        undo();
    }
    nothing_is_half_done(&shop);
    all_is_well(&shop);
}

/// With the lists kept or not, so that the fault is met before the intent and after it.
fn with_and_without_lists(shop: &Shop, section: &str, line: &str, then: impl Fn()) {
    for kept in [true, false] {
        let _ = fs::remove_file(shop.dir.join("state/cache/classes"));
        let _ = fs::remove_file(shop.dir.join("state/cache/groups"));
        if kept {
            shop.get("/v1/classes").expect(200);
            shop.get("/v1/groups").expect(200);
        }
        let undo = with_line(shop, section, line);
        then();
        undo();
        nothing_is_half_done(shop);
    }
}

#[test]
fn a_missing_rake_is_one_fault_and_a_request_that_needs_it_is_502() {
    let shop = Shop::open();
    with_and_without_lists(&shop, "console", "command = /nonexistent/rake -f x", || {
        one_fault(&shop, &["[console] command: /nonexistent/rake is not there; make it or name where it is"]);
        add_refused(&shop, 502, "command-failed", &["/nonexistent/rake cannot be started: No such file"]);
    });
    all_is_well(&shop);
    shop.add("new01");
}

#[test]
fn a_missing_raise_is_one_fault_and_a_request_that_needs_it_is_502() {
    let shop = Shop::open();
    shop.add("web01");
    with_and_without_lists(&shop, "espm", "raise = /nonexistent/espm-raise", || {
        one_fault(&shop, &["[espm] raise: /nonexistent/espm-raise is not there; make it or name where it is"]);
        add_refused(&shop, 502, "command-failed", &["/nonexistent/espm-raise cannot be started: No such file"]);
        let answer = shop.ask("POST", "/v1/nodes/web01/certificate", None, &[]);
        refused(&shop, &answer, 502, "command-failed", &["/nonexistent/espm-raise cannot be started"]);
    });
    shop.ask("POST", "/v1/nodes/web01/certificate", None, &[]).expect(201);
    all_is_well(&shop);
}

#[test]
fn what_sudo_does_not_allow_is_one_fault_and_a_request_that_needs_it_is_502() {
    let shop = Shop::open();
    let undo = with_line(&shop, "console", "user = nobody");
    one_fault(&shop, &["FAIL  console: ", "sudo: ", "; /etc/sudoers.d/espm must allow it"]);
    add_refused(&shop, 502, "command-failed", &["sudo: "]);
    undo();
    for (section, line, words) in [
        ("console", "user = somebody", "[console] user: there is no user somebody"),
        ("espm", "sudo = /nonexistent/sudo", "[espm] sudo: /nonexistent/sudo is not there"),
    ] {
        let undo = with_line(&shop, section, line);
        let undo_user = if section == "espm" { Some(with_line(&shop, "console", "user = nobody")) } else { None };
        one_fault(&shop, &[words]);
        if let Some(undo) = undo_user {
            undo();
        }
        undo();
    }
    nothing_is_half_done(&shop);
    all_is_well(&shop);
}

#[test]
fn each_program_and_directory_that_is_missing_is_named_with_its_key() {
    let shop = Shop::open();
    for (section, line, words) in [
        ("console", "directory = /nonexistent", "[console] directory: /nonexistent is not there"),
        ("authority", "command = /nonexistent/puppet cert", "[authority] command: /nonexistent/puppet is not there"),
        ("authority", "command = /etc/passwd", "[authority] command: /etc/passwd is not a program that can be run"),
        ("authority", "directory = /etc/passwd", "[authority] directory: /etc/passwd is not a directory"),
        ("authority", "ssldir = /nonexistent", "[authority] ssldir: /nonexistent is not there"),
        ("authority", "cadir = /nonexistent", "[authority] cadir: /nonexistent is not there"),
        ("authority", "records = /nonexistent", "[authority] records: /nonexistent is not there"),
        ("espm", "state = /nonexistent", "[espm] state: /nonexistent: No such file"),
        ("audit", "socket = /nonexistent", "; start syslog, or name its socket in [audit] socket"),
        ("tls", "certificate = /nonexistent.pem", "FAIL  certificate: [tls] /nonexistent.pem: No such file"),
        ("tls", "key = /nonexistent.key", "FAIL  certificate: [tls] /nonexistent.key: No such file"),
    ] {
        let undo = with_line(&shop, section, line);
        one_fault(&shop, &[words]);
        undo();
    }
    all_is_well(&shop);
}

#[test]
fn records_of_another_owner_are_one_fault_and_a_certificate_is_502() {
    let shop = Shop::open();
    shop.add("web01");
    let records = shop.dir.join("records");
    let owner = fs::metadata(&records).unwrap().uid();
    for other in [0, 65_534] {
        chown(&records, Some(other), None).unwrap();
        let is = format!("is owned by user {other}; chown {owner} {}", records.display());
        one_fault(&shop, &["[authority] records: ", &is]);
        let answer = shop.ask("POST", "/v1/nodes/web01/certificate", None, &[]);
        refused(&shop, &answer, 502, "command-failed", &[records.to_str().unwrap()]);
    }
    assert_eq!(shop.count("ca", "generate"), 0);
    chown(&records, Some(owner), None).unwrap();
    one_fault(&shop, &["FAIL  node: web01 has an unfinished certificate; 'espm check --settle' settles it"]);
    shop.ask("POST", "/v1/nodes/web01/certificate", None, &[]).expect(201);
    all_is_well(&shop);
}

#[test]
fn without_syslog_there_is_one_fault_and_no_change() {
    let shop = Shop::open();
    let (socket, away) = (shop.dir.join("log.sock"), shop.dir.join("log.away"));
    fs::rename(&socket, &away).unwrap();
    one_fault(
        &shop,
        &["FAIL  syslog: ", socket.to_str().unwrap(), "start syslog, or name its socket in [audit] socket"],
    );
    add_refused(&shop, 503, "unavailable", &["syslog cannot be reached at", socket.to_str().unwrap()]);
    assert_eq!(shop.count("console", "node:add"), 0);
    for words in [&["forget", "new01"][..], &["adopt", "new01"]] {
        assert_eq!(shop.desk(words).status.code(), Some(1));
    }
    fs::rename(&away, &socket).unwrap();
    nothing_is_half_done(&shop);
    all_is_well(&shop);
}

#[test]
fn a_ledger_that_is_missing_or_damaged_is_one_fault_and_never_an_empty_one() {
    let shop = Shop::open();
    shop.add("web01");
    let ledger = shop.dir.join("state/ledger.sqlite");
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
            &shop,
            &["FAIL  ledger: ", words, ledger.to_str().unwrap(), "restore it from a backup and run 'espm check'"],
        );
        // What a request reads of a damaged one may differ from what the check finds.
        add_refused(&shop, 503, "unavailable", &[ledger.to_str().unwrap()]);
        for answer in [shop.get("/v1/nodes/web01"), shop.delete("/v1/nodes/web01")] {
            assert_eq!(answer.expect(503).problem(), "unavailable");
        }
        for words in [&["nodes"][..], &["adopt", "web01"], &["forget", "web01"]] {
            assert_eq!(shop.desk(words).status.code(), Some(1), "{words:?}");
        }
        shop.get("/v1/classes").expect(200);
        let _ = fs::remove_file(&ledger);
        fs::write(&ledger, &good).unwrap();
        chown(&ledger, Some(owner.uid()), Some(owner.gid())).unwrap();
        fs::set_permissions(&ledger, Permissions::from_mode(0o600)).unwrap();
    }
    assert_eq!(shop.count("console", "node:add"), 1);
    assert_eq!(shop.count("console", "node:del"), 0);
    nothing_is_half_done(&shop);
    shop.get("/v1/nodes/web01").expect(200);
    all_is_well(&shop);
}

#[test]
fn another_release_than_the_configured_is_one_fault_that_names_both() {
    let shop = Shop::open();
    let undo = with_line(&shop, "console", "release = 3.0");
    one_fault(&shop, &["[console] release: has the tasks of 1.2.7, configured is 3.0; write 1.2.7"]);
    undo();
    all_is_well(&shop);
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
fn a_certificate_that_ends_soon_or_has_another_key_is_one_fault() {
    let shop = Shop::open();
    let etc = shop.dir.join("etc");
    let (soon, soon_key) = certificate(&etc, "soon", "29");
    let (later, later_key) = certificate(&etc, "later", "32");
    let configured = |pem: &Path, key: &Path| {
        shop.configure("tls", &format!("certificate = {}", pem.display()));
        shop.configure("tls", &format!("key = {}", key.display()));
    };
    let before = fs::read(shop.ini()).unwrap();
    configured(&soon, &soon_key);
    let days = format!("{}: ends in 28 days; renew it as README.md says", soon.display());
    let (failed, _) = check(&shop);
    assert!(failed.len() == 1 && (failed[0].contains(&days) || failed[0].contains("in 29 days")), "{failed:?}");
    configured(&later, &later_key);
    all_is_well(&shop);
    configured(&later, &soon_key);
    one_fault(
        &shop,
        &[
            "FAIL  certificate: ",
            &format!("{} does not belong to {}; put the right one there", soon_key.display(), later.display()),
        ],
    );
    configured(&later, &later_key);
    fs::set_permissions(&later_key, Permissions::from_mode(0o640)).unwrap();
    one_fault(&shop, &["FAIL  certificate: ", "others can read it; chmod 0600", later_key.to_str().unwrap()]);
    fs::write(shop.ini(), before).unwrap();
    all_is_well(&shop);
}

#[test]
fn a_node_that_the_console_lost_is_one_fault_until_it_is_settled() {
    let shop = Shop::open();
    for name in ["web01", "web02"] {
        shop.add(name);
    }
    shop.rake(&["node:del", "name=web01"]);
    one_fault(&shop, &["FAIL  node: web01 is missing in the console; 'espm check --settle' settles it"]);
    let settled = shop.desk(&["check", "--settle"]);
    assert!(settled.status.success(), "{settled:?}");
    assert!(String::from_utf8_lossy(&settled.stdout).contains("ok    node: web01 is missing in the console: settled"));
    all_is_well(&shop);
    shop.get("/v1/nodes/web01").expect(404);
    shop.get("/v1/nodes/web02").expect(200);
}

fn text(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// Every file of the state directory still belongs to espm's user.
#[track_caller]
fn state_belongs_to_espm(shop: &Shop) {
    let owner = fs::metadata(shop.dir.join("state")).unwrap().uid();
    let others = run(Command::new("find").arg(shop.dir.join("state")).args(["!", "-uid", &owner.to_string()]));
    assert_eq!((others.as_str(), owner != 0), ("", true));
}

#[test]
fn the_operator_lists_adopts_and_forgets_as_espms_user_and_it_is_audited() {
    let shop = Shop::open();
    assert_eq!(text(&shop.desk(&["nodes"])), "");
    shop.add("web01");
    shop.rake(&["node:add", "name=hand01"]);
    let listed = text(&shop.desk(&["nodes"]));
    let words: Vec<&str> = listed.split_whitespace().collect();
    assert_eq!((words[0], words[1], words[3], words.len()), ("active", "-", "web01", 4), "{listed}");

    assert_eq!(shop.desk(&["adopt", "nothing01"]).status.code(), Some(1));
    shop.get("/v1/nodes/hand01").expect(404);
    assert!(shop.desk(&["adopt", "hand01"]).status.success());
    assert!(shop.desk(&["adopt", "hand01"]).status.success());
    shop.get("/v1/nodes/hand01").expect(200);
    assert!(shop.desk(&["forget", "hand01"]).status.success());
    assert_eq!(shop.desk(&["forget", "hand01"]).status.code(), Some(1));
    shop.get("/v1/nodes/hand01").expect(404);
    assert!(!shop.node_in_console("hand01").is_null());
    assert_eq!(shop.desk(&["adopt", "master.example.com"]).status.code(), Some(1));
    state_belongs_to_espm(&shop);

    let records = shop.audit();
    for part in [
        "event=operator.adopt outcome=attempt",
        "event=operator.adopt outcome=ok",
        "event=operator.forget outcome=attempt",
        "event=operator.forget outcome=ok",
    ] {
        let found: Vec<_> = records.iter().filter(|record| record.contains(part)).collect();
        assert!(
            !found.is_empty() && found.iter().all(|record| record.contains("client=operator addr=- node=hand01")),
            "{part}: {records:?}"
        );
    }
    // espm's own user may do the same; another may not read the configuration.
    let espm = |user: &str, words: &[&str]| {
        let mut command = as_user(shop.bin("espm"));
        if user != USER {
            command = Command::new("setpriv");
            command.args(["--reuid", user, "--regid", user, "--clear-groups", "--"]).arg(shop.bin("espm"));
        }
        command.arg("-c").arg(shop.ini()).args(words).output().unwrap()
    };
    assert_eq!(text(&espm(USER, &["nodes"])), listed);
    assert!(!espm("nobody", &["nodes"]).status.success());
    assert!(!espm("nobody", &["forget", "web01"]).status.success());
    shop.get("/v1/nodes/web01").expect(200);
}

#[test]
fn a_backup_made_while_espm_works_can_be_restored() {
    let shop = Shop::open();
    shop.add("web01");
    let directory = shop.dir.join("backup");
    run(Command::new("install").args(["-d", "-o", USER, "-m", "0700"]).arg(&directory));
    let (backup, ledger) = (directory.join("ledger"), shop.dir.join("state/ledger.sqlite"));
    let adding = std::thread::scope(|scope| {
        let adding = scope.spawn(|| shop.add("web02").status);
        assert!(shop.desk(&["backup", backup.to_str().unwrap()]).status.success());
        adding.join().unwrap()
    });
    assert_eq!(adding, 201);
    assert_eq!(fs::metadata(&backup).unwrap().mode() & 0o777, 0o600);
    let again = shop.desk(&["backup", backup.to_str().unwrap()]);
    assert_eq!(again.status.code(), Some(1), "a backup is never overwritten: {again:?}");
    assert_eq!(run(Command::new("sqlite3").arg(&backup).arg("PRAGMA integrity_check")), "ok\n");
    // A node that was deleted after the backup is shown as missing after it was restored.
    shop.add("web03");
    fs::remove_file(&backup).unwrap();
    assert!(shop.desk(&["backup", backup.to_str().unwrap()]).status.success());
    shop.delete("/v1/nodes/web03").expect(204);
    run(Command::new("cp").arg(&backup).arg(&ledger));
    state_belongs_to_espm(&shop);
    one_fault(&shop, &["FAIL  node: web03 is missing in the console"]);
    assert!(shop.desk(&["check", "--settle"]).status.success());
    shop.get("/v1/nodes/web01").expect(200);
    shop.delete("/v1/nodes/web02").expect(204);
    all_is_well(&shop);
}

#[test]
fn bad_arguments_are_refused_with_2() {
    let shop = Shop::prepare(&Plan::default());
    for words in [
        &["nonsense"][..],
        &["--nonsense"],
        &["forget"],
        &["forget", "UPPER"],
        &["forget", "--all"],
        &["adopt", "ca"],
        &["adopt", "0x1f"],
        &["adopt", "a", "b"],
        &["check", "x"],
        &["nodes", "--all"],
        &["backup"],
    ] {
        let output = shop.desk(words);
        assert_eq!(output.status.code(), Some(2), "{words:?}: {output:?}");
        assert!(output.stdout.is_empty() && !output.stderr.is_empty(), "{words:?}: {output:?}");
    }
    let help = text(&shop.desk(&["--help"]));
    for command in ["check", "nodes", "adopt", "forget", "backup"] {
        let line = help.lines().find(|line| line.trim_start().starts_with(command)).unwrap_or_default();
        assert!(line.split_whitespace().count() > 3, "{help}");
    }
}

#[test]
fn as_a_cgi_program_espm_ignores_its_arguments() {
    let shop = Shop::prepare(&Plan::default());
    for words in [&["--help"][..], &["-c", "/nonexistent"], &["--version"], &["forget", "x"], &["-d", "allow=1"]] {
        let mut espm = as_user(shop.bin("espm"))
            .args(words)
            .env_clear()
            .envs([("PATH", "/usr/bin:/bin"), ("GATEWAY_INTERFACE", "CGI/1.1"), ("HTTPS", "on")])
            .envs([("REQUEST_METHOD", "GET"), ("REQUEST_URI", "/v1/health?--help")])
            .env("ESPM_CONFIG", shop.ini())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        espm.stdin.take().unwrap().write_all(b"").unwrap();
        let output = espm.wait_with_output().unwrap();
        let answer = Answer::from_cgi(&text(&output));
        assert_eq!(answer.expect(200).json(), json!({"status": "ok"}), "{words:?}");
    }
}

/// What a plugin prints: its first line's text, its performance data, and the exit code.
fn plugin(shop: &Shop) -> (String, Vec<String>, i32) {
    let output = shop.desk(&["check", "--nagios"]);
    let text = String::from_utf8(output.stdout).unwrap();
    let (said, data) = text.lines().next().unwrap().split_once(" | ").unwrap_or_else(|| panic!("{text}"));
    assert_eq!(text.matches('|').count(), 1, "{text}");
    (said.to_owned(), data.split(' ').map(str::to_owned).collect(), output.status.code().unwrap())
}

/// The metrics, each with its value, as they are for Prometheus.
fn metrics(shop: &Shop) -> std::collections::BTreeMap<String, i64> {
    let output = shop.desk(&["check", "--prometheus"]);
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let mut found = std::collections::BTreeMap::new();
    let mut described = String::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            rest.split(' ').next().unwrap().clone_into(&mut described);
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            assert_eq!(rest, format!("{described} gauge"));
        } else {
            let (metric, value) = line.rsplit_once(' ').unwrap();
            assert_eq!(metric.split('{').next().unwrap(), described, "{text}");
            assert!(found.insert(metric.to_owned(), value.parse().unwrap()).is_none(), "{metric} twice: {text}");
        }
    }
    found
}

#[test]
fn nagios_and_prometheus_are_told_what_is_right_what_waits_and_what_is_broken() {
    let shop = Shop::open();
    shop.add("web01");
    shop.add("web02");
    shop.ask("POST", "/v1/nodes/web01/certificate", None, &[]).expect(201);

    let (said, data, code) = plugin(&shop);
    assert_eq!((said.as_str(), code), ("ESPM OK: 9 checks", 0));
    for part in ["failures=0", "certificate_days=3651;30:;7:", "nodes=2;;;0", "unfinished=0;0;;0", "unsent=0;0;;0"] {
        assert!(data.iter().any(|found| found == part), "{part}: {data:?}");
    }
    let good = metrics(&shop);
    for (metric, value) in [
        ("espm_check_ok{check=\"ledger\"}", 1),
        ("espm_check_failures", 0),
        ("espm_certificate_days_left", 3651),
        ("espm_nodes{state=\"active\"}", 2),
        ("espm_nodes{state=\"unproven\"}", 0),
        ("espm_certificates{state=\"issued\"}", 1),
        ("espm_unfinished_intents", 0),
        ("espm_audit_unsent", 0),
    ] {
        assert_eq!(good.get(metric), Some(&value), "{metric}: {good:?}");
    }

    // A node that somebody has deleted by hand waits for the operator; espm works.
    shop.rake(&["node:del", "name=web02"]);
    let (said, data, code) = plugin(&shop);
    assert_eq!((said.contains("ESPM WARNING: 1 of ") && said.contains("web02 is missing"), code), (true, 1), "{said}");
    assert!(data.contains(&"failures=1".to_owned()), "{data:?}");
    assert_eq!(shop.desk(&["check"]).status.code(), Some(1));

    // Without its ledger it does not.
    let ledger = shop.dir.join("state/ledger.sqlite");
    fs::rename(&ledger, shop.dir.join("away")).unwrap();
    let (said, data, code) = plugin(&shop);
    assert_eq!((said.contains("ESPM CRITICAL: 1 of ") && said.contains("ledger: "), code), (true, 2), "{said}");
    assert!(data.iter().all(|part| !part.starts_with("nodes=")), "{data:?}");
    let broken = metrics(&shop);
    assert_eq!(broken.get("espm_check_ok{check=\"ledger\"}"), Some(&0), "{broken:?}");
    assert!(!broken.contains_key("espm_unfinished_intents"), "{broken:?}");
    fs::rename(shop.dir.join("away"), &ledger).unwrap();

    // Who may not read the configuration knows nothing.
    fs::set_permissions(shop.ini(), Permissions::from_mode(0o600)).unwrap();
    let output = as_user(shop.bin("espm")).arg("-c").arg(shop.ini()).args(["check", "--nagios"]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!((output.status.code(), text.starts_with("ESPM UNKNOWN: ")), (Some(3), true), "{text}");
}

#[test]
fn a_plugin_that_is_called_wrongly_says_unknown_and_not_critical() {
    let shop = Shop::prepare(&Plan::default());
    for words in [&["check", "--nagios", "--prometheus"][..], &["check", "--nagios", "-w", "3"], &["--nagios"]] {
        let output = shop.desk(words);
        let text = String::from_utf8(output.stdout).unwrap();
        assert_eq!((output.status.code(), text.starts_with("ESPM UNKNOWN: error: ")), (Some(3), true), "{text}");
        assert!(output.stderr.is_empty(), "{words:?}");
    }
    // Nobody takes another program's wrong use for a service that is unknown.
    let output = shop.desk(&["check", "--prometheus", "-w", "3"]);
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(2), &b""[..]));
}

#[test]
fn a_ledger_of_a_newer_espm_is_one_fault_and_stays_as_it_is() {
    let shop = Shop::open();
    shop.add("web01");
    let ledger = shop.dir.join("state/ledger.sqlite");
    let version =
        |version: &str| run(Command::new("sqlite3").arg(&ledger).arg(format!("PRAGMA user_version = {version}")));
    version("99");
    let before = fs::read(&ledger).unwrap();
    one_fault(
        &shop,
        &["FAIL  ledger: ", "a newer espm has written it (version 99, this one knows ", "install that one again"],
    );
    assert_eq!(shop.get("/v1/nodes/web01").expect(503).problem(), "unavailable");
    assert_eq!(fs::read(&ledger).unwrap(), before);
    version("1");
    shop.get("/v1/nodes/web01").expect(200);
}
