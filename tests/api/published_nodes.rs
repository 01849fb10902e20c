//! Where there is no console: what is published is what the ledger has, all of it and no one else's.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::process::Command;

use serde_json::json;

use crate::harness::certificates::{serial, valid};
use crate::harness::check::all_is_well;
use crate::harness::{Answer, Plan, Shop, node, run, wait_until};

const CATALOGUE: &str = "[classes]\nnames = apache, ntp\n[group default]\nclasses = ntp\nparameter tier = gold\n";

const WEB01: &str = "/v1/nodes/web01";

/// A shop whose check has nothing to leave out.
fn shop() -> Shop {
    let shop = Shop::without_console(&Plan::default(), CATALOGUE);
    shop.write("etc/enc.ini", &format!("[enc]\npublished = {}\n", shop.dir.join("nodes").display()));
    shop
}

fn file(shop: &Shop, name: &str) -> PathBuf {
    shop.dir.join(format!("nodes/{name}.yaml"))
}

#[test]
fn lost_published_nodes_are_published_again() {
    let shop = shop();
    let names = ["web01", "web02"];
    names.iter().for_each(|name| drop(shop.add(name)));
    let made = shop.ask("POST", "/v1/nodes/web01/certificate", None, &[]);
    made.expect(201);
    let published = names.map(|name| fs::read(file(&shop, name)).unwrap());
    // As on a new machine, of which configuration, records and ledger were restored.
    let lose = || names.iter().for_each(|name| fs::remove_file(file(&shop, name)).unwrap());
    lose();
    assert!(shop.desk(&["check", "--settle"]).status.success());
    assert_eq!(names.map(|name| fs::read(file(&shop, name)).unwrap()), published);
    lose();
    shop.patch(WEB01, &json!({"classes": ["apache"]})).expect(200);
    assert!(fs::read_to_string(file(&shop, "web01")).unwrap().contains("apache"));
    assert!(shop.desk(&["check", "--settle"]).status.success());
    all_is_well(&shop);
    assert_eq!(valid(&shop), [serial(&made)].into());
    for name in names {
        shop.delete(&format!("/v1/nodes/{name}")).expect(204);
        assert!(!file(&shop, name).exists() && valid(&shop).is_empty());
    }
}

/// Has something happen while a request's question to the CA waits.
fn before_the_ca_answers(shop: &Shop, ask: impl FnOnce() -> Answer + Send, then: impl FnOnce()) -> Answer {
    let (reached, go_on) = (shop.dir.join("run/reached"), shop.dir.join("run/go-on"));
    let script = format!(
        "#!/bin/sh\n: >{}\nuntil [ -e {} ]; do sleep 0.01; done\nexec {} \"$@\"\n",
        reached.display(),
        go_on.display(),
        shop.bin("espm-helper").display()
    );
    let path = shop.write("slow-helper", &script);
    fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
    shop.configure("espm", &format!("helper = {path}"));
    std::thread::scope(|scope| {
        let asked = scope.spawn(ask);
        wait_until("the CA is asked", || reached.exists());
        then();
        fs::write(&go_on, "").unwrap();
        let answer = asked.join().unwrap();
        shop.configure("espm", &format!("helper = {}", shop.bin("espm-helper").display()));
        answer
    })
}

#[test]
fn classification_written_by_hand_is_left_alone() {
    let shop = shop();
    let path = file(&shop, "web01");
    let humans = || fs::write(&path, "---\nclasses: {mysql: {}}\n").unwrap();
    let untouched = || fs::read_to_string(&path).unwrap().contains("mysql");
    let add = || shop.post("/v1/nodes", &node("web01"));
    humans();
    assert_eq!(add().expect(409).problem(), "name-taken");
    shop.delete(WEB01).expect(404);
    assert!(untouched() && shop.states().is_empty());
    // One that leads nowhere, too.
    fs::remove_file(&path).unwrap();
    symlink("/nonexistent", &path).unwrap();
    assert_eq!(add().expect(409).problem(), "name-taken");
    assert!(path.is_symlink());
    // Between the look and the publishing.
    fs::remove_file(&path).unwrap();
    assert_eq!(before_the_ca_answers(&shop, add, humans).expect(409).problem(), "name-taken");
    assert!(untouched() && shop.states().is_empty());
    assert_eq!(fs::read_dir(shop.dir.join("nodes")).unwrap().count(), 1);
    // Given up by its human it is free; given over, it is espm's.
    fs::remove_file(&path).unwrap();
    add().expect(201);
    assert!(shop.desk(&["forget", "web01"]).status.success());
    assert_eq!(add().expect(409).problem(), "name-taken");
    assert!(shop.desk(&["adopt", "web01"]).status.success());
    shop.delete(WEB01).expect(204);
    assert!(!path.exists());
}

#[test]
fn class_or_group_gone_from_catalogue_is_422() {
    let shop = shop();
    let (smaller, path) = ("[classes]\nnames = apache\n[group other]\n", file(&shop, "web01"));
    let lose = || drop(shop.write("etc/catalogue.ini", smaller));
    let fields = |refused: &Answer| {
        let errors = refused.expect(422).json()["errors"].as_array().unwrap().clone();
        errors.iter().map(|error| error["field"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    // Between the look at the catalogue and the publishing.
    let refused = before_the_ca_answers(&shop, || shop.post("/v1/nodes", &node("web01")), lose);
    assert_eq!(fields(&refused), ["groups[0]", "classes[0]"]);
    assert!(shop.states().is_empty() && !path.exists());
    // Before a change that is about something else.
    shop.write("etc/catalogue.ini", CATALOGUE);
    shop.add("web01");
    let before = fs::read(&path).unwrap();
    lose();
    let change = |body: serde_json::Value| shop.patch(WEB01, &body);
    assert_eq!(fields(&change(json!({"parameters": {"role": "db"}}))), ["groups[0]", "classes[0]"]);
    assert_eq!(fields(&change(json!({"groups": ["other"]}))), ["classes[0]"]);
    assert_eq!((shop.get(WEB01).json(), fs::read(&path).unwrap()), (node("web01"), before));
    change(json!({"groups": [], "classes": ["apache"]})).expect(200);
    assert!(!fs::read_to_string(&path).unwrap().contains("ntp"));
}

#[test]
fn published_values_are_read_by_yaml_unchanged() {
    let shop = shop();
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
    shop.post("/v1/nodes", &json!({"name": "web01", "parameters": parameters})).expect(201);
    let mut ruby = Command::new("ruby");
    ruby.args(["-rjson", "-ryaml", "-e", "puts YAML.load_file(ARGV[0]).to_json"]).arg(file(&shop, "web01"));
    let read: serde_json::Value = serde_json::from_str(&run(&mut ruby)).unwrap();
    assert_eq!(read, json!({"classes": {}, "parameters": parameters}));
}
