//! Links, loose modes and files of others in place of each file that espm opens or makes.
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use serde_json::json;

use crate::harness::{Plan, Site, USER, run};

/// What an attacker wants to be read, written, truncated or given away in a file's place.
const VICTIM: &str = "event=forged outcome=victim\n";

/// Puts something else in a file's place, and tells what to undo it with.
fn attack(how: &str, path: &Path, victim: &Path) {
    let aside = path.with_extension("aside");
    if path.symlink_metadata().is_ok() && !how.starts_with("mode") && !how.starts_with("owner") {
        fs::rename(path, &aside).unwrap();
    }
    match how {
        "link" => symlink(victim, path).unwrap(),
        "link to itself" => symlink(&aside, path).unwrap(),
        "link of another to itself" => {
            symlink(&aside, path).unwrap();
            run(Command::new("chown").arg("-h").arg("nobody").arg(path));
        }
        "pipe" => drop(run(Command::new("mkfifo").args(["-m", "0600"]).arg(path))),
        "directory" => fs::create_dir(path).unwrap(),
        "mode" => {
            fs::set_permissions(path, Permissions::from_mode(fs::metadata(path).unwrap().permissions().mode() | 0o022))
                .unwrap()
        }
        "owner" => drop(run(Command::new("chown").arg("nobody").arg(path))),
        other => panic!("{other}"),
    }
    if ["pipe", "directory"].contains(&how) {
        run(Command::new("chown").arg(USER).arg(path));
    }
}

fn undo(how: &str, path: &Path, owner: &str, mode: u32) {
    let aside = path.with_extension("aside");
    if !how.starts_with("mode") && !how.starts_with("owner") {
        let _ = fs::remove_file(path).or_else(|_| fs::remove_dir(path));
        if aside.symlink_metadata().is_ok() {
            fs::rename(&aside, path).unwrap();
        }
    }
    if path.symlink_metadata().is_ok() {
        run(Command::new("chown").arg(owner).arg(path));
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }
}

/// A file, the attacks on it, a request, and the status that it has then.
type Row<'a> = (&'a str, &'a [&'a str], &'a dyn Fn() -> u16, u16);

/// For each file, each attack and each request: the status; nothing of the victim is touched or told.
fn judge(site: &Site, table: &[Row<'_>]) {
    let victim = site.dir.join("victim");
    let mut differ = vec![];
    for (name, attacks, request, status) in table {
        for how in *attacks {
            fs::write(&victim, VICTIM).unwrap();
            fs::set_permissions(&victim, Permissions::from_mode(0o644)).unwrap();
            run(Command::new("chown").arg(USER).arg(&victim));
            let path = site.dir.join(name);
            let before = path.symlink_metadata().ok();
            attack(how, &path, &victim);
            let got = request();
            if got != *status {
                differ.push(format!("{name}: {how}: want {status}, got {got}"));
            }
            let after = fs::metadata(&victim).unwrap();
            if fs::read_to_string(&victim).unwrap() != VICTIM || after.permissions().mode() & 0o7777 != 0o644 {
                differ.push(format!("{name}: {how}: the victim was touched"));
            }
            let (owner, mode) =
                before.map_or((USER.to_owned(), 0o600), |m| (format!("{}:{}", m.uid(), m.gid()), m.mode() & 0o7777));
            undo(how, &path, &owner, mode);
        }
    }
    let told: Vec<_> =
        site.audit().into_iter().filter(|record| record.contains("victim") && record.contains("forged")).collect();
    assert!(differ.is_empty() && told.is_empty(), "{differ:#?} {told:#?}");
}

#[test]
fn opened_file_that_is_link_or_untrusted_is_refused() {
    let site = Site::with(Plan { ini: vec![("console", "cache = 0")], ..Plan::default() });
    site.add("web01");
    site.ask("POST", "/v1/nodes/web01/certificate", None, &[]).expect(201);
    let all: &[&str] = &["link", "link to itself", "pipe", "directory", "mode", "owner"];
    let kinds: &[&str] = &["link", "link to itself", "directory"];
    let list = || site.get("/v1/classes").status;
    let show = || site.get("/v1/nodes/web01").status;
    let change = || site.patch("/v1/nodes/web01", &json!({"groups": ["default"]})).status;
    let certificate = || site.get("/v1/nodes/web01/certificate").status;
    let certificate_again = || site.ask("POST", "/v1/nodes/web01/certificate", None, &[]).status;
    judge(
        &site,
        &[
            ("etc/espm.ini", all, &list, 500),
            ("state/ledger.sqlite", &["link", "directory", "pipe"], &show, 503),
            ("state/locks/console.0", kinds, &change, 503),
            ("state/locks/list.classes", kinds, &list, 503),
            ("records", &["link", "link of another to itself", "mode", "owner"], &certificate, 502),
            // A directory may lie behind a link of root's.
            ("records", &["link to itself"], &certificate, 200),
            ("records/web01.json", all, &certificate, 502),
            ("records/lock", kinds, &certificate_again, 502),
            ("state/unsent/forged", &["link", "pipe", "directory"], &list, 200),
        ],
    );
    assert_eq!((show(), change(), certificate(), certificate_again()), (200, 200, 200, 200));
}

#[test]
fn written_file_replaces_link_and_never_follows_it() {
    let catalogue = "[classes]\nnames = ntp\n[group default]\n";
    let site = Site::without_console(&Plan::default(), catalogue);
    let all: &[&str] = &["link", "link to itself", "pipe", "directory", "mode", "owner"];
    site.add("web01");
    let list = || site.get("/v1/classes").status;
    let change = || site.patch("/v1/nodes/web01", &json!({"groups": ["default"]})).status;
    judge(
        &site,
        &[
            ("etc/catalogue.ini", all, &list, 502),
            ("nodes/web01.yaml", &["link", "link to itself", "pipe"], &change, 200),
        ],
    );
    let site = Site::open();
    let list = || site.get("/v1/classes").status;
    list();
    let replaced: &[&str] = &["link", "link to itself", "pipe", "mode", "owner"];
    judge(&site, &[("state/cache/classes", replaced, &list, 200), ("state/cache/classes", &["directory"], &list, 503)]);
}

#[test]
fn syslog_that_is_link_pipe_or_directory_is_503() {
    let site = Site::open();
    let change = || site.post("/v1/nodes", &json!({"name": "web01"})).status;
    judge(&site, &[("log.sock", &["link", "pipe", "directory"], &change, 503)]);
    assert_eq!(site.count("console", "node:add"), 0);
    assert_eq!(change(), 201);
}

/// Parameters that are merged again and again stay within what the console's command and the classifier accept.
#[test]
fn parameters_growing_over_requests_are_422_at_limit() {
    let enc = || Site::without_console(&Plan::default(), "[classes]\nnames = ntp\n[group default]\n");
    let rake = || Site::with(Plan { release: "1.2.23", ..Plan::default() });
    for site in [enc(), rake()] {
        site.post("/v1/nodes", &json!({"name": "web01"})).expect(201);
        let value = "x".repeat(60_000);
        let add = |number: i32| site.patch("/v1/nodes/web01", &json!({"parameters": {format!("p{number}"): value}}));
        add(0).expect(200);
        for number in 1..3 {
            let refused = add(number);
            assert_eq!(refused.expect(422).json()["errors"][0]["field"], "parameters");
        }
        let shown = site.get("/v1/nodes/web01").expect(200).json();
        assert_eq!(shown["parameters"].as_object().unwrap().len(), 1);
        site.patch("/v1/nodes/web01", &json!({"parameters": {"p0": null, "p1": value}})).expect(200);
    }
}
