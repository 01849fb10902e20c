//! Nodes published without a console: the files hold what the ledger has, and no file of others is touched.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::Command;

use serde_json::json;

use super::{file, site_of};
use crate::harness::certificates::{serial, valid};
use crate::harness::check::all_is_well;
use crate::harness::strace::Request;
use crate::harness::{Answer, Site, node, run, wait_until};

const CATALOGUE: &str = "[classes]\nnames = apache, ntp\n[group default]\nclasses = ntp\nparameter tier = gold\n";

const WEB01: &str = "/v1/nodes/web01";

#[test]
fn lost_published_nodes_are_published_again() {
    let site = site_of(CATALOGUE);
    let names = ["web01", "web02"];
    names.iter().for_each(|name| drop(site.add(name)));
    let made = site.ask("POST", "/v1/nodes/web01/certificate", None, &[]);
    made.expect(201);
    let published = names.map(|name| fs::read(file(&site, name)).unwrap());
    // As on a new machine, of which configuration, records and ledger were restored.
    let lose = || names.iter().for_each(|name| fs::remove_file(file(&site, name)).unwrap());
    lose();
    assert!(site.espm(&["check", "--settle"]).status.success());
    assert_eq!(names.map(|name| fs::read(file(&site, name)).unwrap()), published);
    lose();
    site.patch(WEB01, &json!({"classes": ["apache"]})).expect(200);
    assert!(fs::read_to_string(file(&site, "web01")).unwrap().contains("apache"));
    assert!(site.espm(&["check", "--settle"]).status.success());
    all_is_well(&site);
    assert_eq!(valid(&site), [serial(&made)].into());
    for name in names {
        site.delete(&format!("/v1/nodes/{name}")).expect(204);
        assert!(!file(&site, name).exists() && valid(&site).is_empty());
    }
}

/// Has something happen while a request's question to the CA waits.
fn before_the_ca_answers(site: &Site, ask: impl FnOnce() -> Answer + Send, then: impl FnOnce()) -> Answer {
    let (reached, go_on) = (site.dir.join("run/reached"), site.dir.join("run/go-on"));
    let script = format!(
        "#!/bin/sh\n: >{}\nuntil [ -e {} ]; do sleep 0.01; done\nexec {} \"$@\"\n",
        reached.display(),
        go_on.display(),
        site.bin("espm-helper").display()
    );
    let path = site.write("slow-helper", &script);
    fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
    site.configure("espm", &format!("helper = {path}"));
    std::thread::scope(|scope| {
        let asked = scope.spawn(ask);
        wait_until("the CA is asked", || reached.exists());
        then();
        fs::write(&go_on, "").unwrap();
        let answer = asked.join().unwrap();
        site.configure("espm", &format!("helper = {}", site.bin("espm-helper").display()));
        answer
    })
}

#[test]
fn classification_written_by_hand_is_left_alone() {
    let site = site_of(CATALOGUE);
    let path = file(&site, "web01");
    let humans = || fs::write(&path, "---\nclasses: {mysql: {}}\n").unwrap();
    let untouched = || fs::read_to_string(&path).unwrap().contains("mysql");
    let add = || site.post("/v1/nodes", &node("web01"));
    humans();
    assert_eq!(add().expect(409).problem(), "name-taken");
    site.delete(WEB01).expect(404);
    assert!(untouched() && site.states().is_empty());
    // One that leads nowhere, too.
    fs::remove_file(&path).unwrap();
    symlink("/nonexistent", &path).unwrap();
    assert_eq!(add().expect(409).problem(), "name-taken");
    assert!(path.is_symlink());
    // Between the look and the publishing.
    fs::remove_file(&path).unwrap();
    assert_eq!(before_the_ca_answers(&site, add, humans).expect(409).problem(), "name-taken");
    assert!(untouched() && site.states().is_empty());
    assert_eq!(fs::read_dir(site.dir.join("nodes")).unwrap().count(), 1);
    // Given up by its human it is free; given over, it is espm's.
    fs::remove_file(&path).unwrap();
    add().expect(201);
    assert!(site.espm(&["forget", "web01"]).status.success());
    assert_eq!(add().expect(409).problem(), "name-taken");
    assert!(site.espm(&["adopt", "web01"]).status.success());
    assert!(site.espm(&["assign", "web01", "cloud"]).status.success());
    site.delete(WEB01).expect(204);
    assert!(!path.exists());
}

/// Handles a request that is killed when it is about to make a call on a path of the site, the first or a later one.
fn killed_at(site: &Site, request: &Request, call: &str, nth: u8, path: &str) {
    let path = site.dir.join(path).display().to_string();
    let inject = format!("inject={call}:signal=KILL:when={nth}");
    let options = ["-o", "/dev/null", "-P", &path, "-e", &format!("trace={call}"), "-e", &inject];
    let ended = site.handle_traced(request, &options.map(str::to_owned));
    assert!(ended.stdout.is_empty(), "{call} of {path} was not reached: {ended:?}");
}

#[test]
fn file_of_human_is_left_alone_after_handler_died() {
    let add = Request::new("POST", "/v1/nodes".into()).body(node("web01"));
    let change = Request::new("PATCH", WEB01.into()).body(json!({"classes": ["apache"]}));
    let delete = Request::new("DELETE", WEB01.into());
    for (request, call, nth, at) in [
        // Before the node has its file, and before that is durable. The first sync for a node that has one comes before
        // its intent.
        (&add, "link,linkat", 1, "nodes/web01.yaml"),
        (&add, "fsync", 1, "nodes"),
        (&change, "rename,renameat,renameat2", 1, "nodes/web01.yaml.new"),
        (&change, "fsync", 2, "nodes"),
        (&delete, "unlink,unlinkat", 1, "nodes/web01.yaml"),
        (&delete, "fsync", 2, "nodes"),
    ] {
        let site = site_of(CATALOGUE);
        if !std::ptr::eq(request, &add) {
            site.add("web01");
        }
        killed_at(&site, request, call, nth, at);
        let path = file(&site, "web01");
        let _ = fs::remove_file(&path);
        fs::write(&path, "---\nclasses: {mysql: {}}\n").unwrap();
        let as_before = || assert!(fs::read_to_string(&path).unwrap().contains("mysql"), "{call} {at}");
        for _ in 0..2 {
            site.get(WEB01).expect(404);
            site.patch(WEB01, &json!({"classes": []})).expect(404);
            site.delete(WEB01).expect(404);
            assert_eq!(site.post("/v1/nodes", &node("web01")).expect(409).problem(), "name-taken");
            as_before();
        }
        site.espm(&["check", "--settle"]);
        as_before();
        assert_eq!(site.unfinished()["web01"], "unproven", "{call} {at}");
    }
}

#[test]
fn file_of_espm_is_known_after_handler_died() {
    let add = Request::new("POST", "/v1/nodes".into()).body(node("web01")).key("k");
    let change = Request::new("PATCH", WEB01.into()).body(json!({"classes": ["apache"]}));
    let delete = Request::new("DELETE", WEB01.into());
    for (request, call, nth, at, settles) in [
        (&add, "link,linkat", 1, "nodes/web01.yaml", 201),
        (&add, "fsync", 1, "nodes", 201),
        // Before anything is done or recorded.
        (&change, "fsync", 1, "nodes", 200),
        (&delete, "fsync", 1, "nodes", 204),
        (&change, "rename,renameat,renameat2", 1, "nodes/web01.yaml.new", 200),
        (&change, "fsync", 2, "nodes", 200),
        (&delete, "unlink,unlinkat", 1, "nodes/web01.yaml", 404),
        (&delete, "fsync", 2, "nodes", 404),
    ] {
        let site = site_of(CATALOGUE);
        if !std::ptr::eq(request, &add) {
            site.add("web01");
        }
        killed_at(&site, request, call, nth, at);
        site.handle(request).expect(settles);
        assert!(site.unfinished().is_empty(), "{call} {at}");
        assert_eq!(file(&site, "web01").exists(), ![204, 404].contains(&settles), "{call} {at}");
    }
}

#[test]
fn class_or_group_gone_from_catalogue_is_422() {
    let site = site_of(CATALOGUE);
    let (smaller, path) = ("[classes]\nnames = apache\n[group other]\n", file(&site, "web01"));
    let lose = || drop(site.write("etc/catalogue.ini", smaller));
    let fields = |refused: &Answer| {
        let errors = refused.expect(422).json()["errors"].as_array().unwrap().clone();
        errors.iter().map(|error| error["field"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    // Between the look at the catalogue and the publishing.
    let refused = before_the_ca_answers(&site, || site.post("/v1/nodes", &node("web01")), lose);
    assert_eq!(fields(&refused), ["groups[0]", "classes[0]"]);
    assert!(site.states().is_empty() && !path.exists());
    // Before a change that is about something else.
    site.write("etc/catalogue.ini", CATALOGUE);
    site.add("web01");
    lose();
    let change = |body: serde_json::Value| site.patch(WEB01, &body);
    let changed = change(json!({"parameters": {"role": "db"}}));
    let kept = json!({"name": "web01", "groups": ["default"], "classes": ["ntp"], "parameters": {"role": "db"}});
    assert_eq!(changed.expect(200).json(), kept);
    assert!(site.records_of(&changed).iter().any(|record| record.contains(" lost=\"default,ntp\"")));
    assert_eq!(fs::read_to_string(&path).unwrap(), "---\nclasses: {}\nparameters:\n  \"role\": \"db\"\n");
    // About what was sent it is an error, and says its name.
    let refused = change(json!({"groups": ["other", "default"]}));
    assert_eq!(fields(&refused), ["groups[1]"]);
    assert!(refused.body.contains("\\\"default\\\" is not in the console"), "{refused:?}");
    change(json!({"groups": ["other"], "classes": ["apache"]})).expect(200);
    assert!(!fs::read_to_string(&path).unwrap().contains("ntp"));
}

#[test]
fn changed_catalogue_reaches_published_nodes_when_check_settles() {
    let site = site_of(CATALOGUE);
    site.add("web01");
    site.add("web02");
    let published = |name| fs::read_to_string(file(&site, name)).unwrap();
    let check = |words: &[&str]| String::from_utf8(site.espm(words).stdout).unwrap();
    all_is_well(&site);
    site.write("etc/catalogue.ini", &CATALOGUE.replace("tier = gold", "tier = silver"));
    let said = check(&["check"]);
    assert!(
        said.contains("FAIL  node: web01 is not published as the catalogue is now; 'espm check --settle'"),
        "{said}"
    );
    assert!(published("web01").contains("gold"));
    // A human's file in the place of espm's is named and left alone.
    fs::remove_file(file(&site, "web02")).unwrap();
    fs::write(file(&site, "web02"), "---\nclasses: {mysql: {}}\n").unwrap();
    let said = check(&["check", "--settle"]);
    assert!(said.contains("web01 is not published as the catalogue is now: settled"), "{said}");
    assert!(said.contains("web02.yaml") && said.contains("'espm forget web02' if a human wrote that file"), "{said}");
    assert!(published("web01").contains("silver") && published("web02").contains("mysql"));
    assert!(site.espm(&["forget", "web02"]).status.success());
    all_is_well(&site);
}

#[test]
fn adopted_node_keeps_what_is_published() {
    let site = site_of(CATALOGUE);
    let adopt = |words: &[&str]| {
        let output = site.espm(&[&["adopt", "web01"], words].concat());
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    site.add("web01");
    let before = fs::read(file(&site, "web01")).unwrap();
    assert!(site.espm(&["forget", "web01"]).status.success());
    let said = adopt(&[]);
    assert!(said.starts_with("espm: web01 belongs to no client") && said.lines().count() == 1, "{said}");
    assert!(site.espm(&["assign", "web01", "cloud"]).status.success());
    let shown = site.get(WEB01).expect(200).json();
    assert_eq!(
        shown,
        json!({"name": "web01", "groups": [], "classes": ["ntp"], "parameters": {"role": "web", "tier": "gold"}})
    );
    site.patch(WEB01, &json!({"groups": []})).expect(200);
    assert_eq!(fs::read(file(&site, "web01")).unwrap(), before);
    // Of a human's own words nothing is known.
    assert!(site.espm(&["forget", "web01"]).status.success());
    fs::write(file(&site, "web01"), "---\nclasses: {mysql: {}}\n").unwrap();
    let said = adopt(&[]);
    assert!(said.contains("cannot say what web01 has") && said.contains("espm adopt web01 --groups=''"), "{said}");
}

#[test]
fn published_values_are_read_by_yaml_unchanged() {
    let site = site_of(CATALOGUE);
    let values = [
        "a\u{2028}b",
        "a \u{2029} b",
        "a\u{2028}--- b",
        "\u{ffff}",
        "a\u{fffe}",
        "\u{feff}a",
        "ü\"'\\: #{}",
        "yes",
        "0x1f",
    ];
    let parameters: serde_json::Map<_, _> =
        values.iter().enumerate().map(|(number, value)| (format!("p{number}"), json!(value))).collect();
    site.post("/v1/nodes", &json!({"name": "web01", "parameters": parameters})).expect(201);
    let mut ruby = Command::new("ruby");
    ruby.args(["-rjson", "-ryaml", "-e", "puts YAML.load_file(ARGV[0]).to_json"]).arg(file(&site, "web01"));
    let read: serde_json::Value = serde_json::from_str(&run(&mut ruby)).unwrap();
    assert_eq!(read, json!({"classes": {}, "parameters": parameters}));
}
