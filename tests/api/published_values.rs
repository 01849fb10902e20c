//! Environments, values of every type and parameters of classes, without a console; and their end in the catalogue.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::process::{Command, Output};

use serde_json::{Value, json};

use super::{file, site_of};
use crate::harness::check::{all_is_well, check};
use crate::harness::{Answer, Plan, Site, run, wait_until};

const CATALOGUE: &str = "
[environments]
names = production, staging

[classes]
names = apache

[class ntp]
parameters = panic, servers
parameter servers = [\"0.pool.ntp.org\"]

[group web servers]
environment = staging
classes = apache, ntp
parameter ports = [80, 443]
";

const WEB01: &str = "/v1/nodes/web01";

/// The published file as Ruby's YAML, which is Puppet's, reads it.
fn published(site: &Site, name: &str) -> Value {
    let mut ruby = Command::new("ruby");
    ruby.args(["-rjson", "-ryaml", "-e", "puts YAML.safe_load(File.read(ARGV[0])).to_json"]).arg(file(site, name));
    serde_json::from_str(&run(&mut ruby)).unwrap()
}

fn errors(answer: &Answer) -> BTreeMap<String, String> {
    let errors = answer.expect(422).json()["errors"].clone();
    let of = |error: &Value, member: &str| error[member].as_str().unwrap().to_owned();
    errors.as_array().unwrap().iter().map(|error| (of(error, "field"), of(error, "detail"))).collect()
}

#[test]
fn values_of_every_type_are_assigned_merged_and_published() {
    let site = site_of(CATALOGUE);
    let parameters = json!({
        "text": "a,b\n\u{1F600} ", "empty": "", "number": 42, "float": 1.5, "on": true, "list": [1, [], {"a": null}],
        "hash": {"b": {"c": "d"}}, "looks_like_one": "1", "secret_word": "hunter2hunter2",
    });
    let node = json!({
        "name": "web01", "groups": ["web servers"], "classes": ["apache"], "parameters": parameters,
        "environment": "production", "class_parameters": {"ntp": {"panic": 0, "servers": ["a", "b"]}},
    });
    let made = site.post("/v1/nodes", &node);
    assert_eq!(made.expect(201).json(), node);
    assert_eq!(site.get(WEB01).expect(200).json(), node);
    let mut all = parameters.clone();
    all["ports"] = json!([80, 443]);
    let ntp = json!({"panic": 0, "servers": ["a", "b"]});
    let expected = json!({"classes": {"apache": {}, "ntp": ntp}, "environment": "production", "parameters": all});
    assert_eq!(published(&site, "web01"), expected);
    // Names alone.
    for record in site.records_of(&made) {
        for part in [" environment=production ", " class_parameters=\"ntp::panic,ntp::servers\"", "secret_word"] {
            assert!(record.contains(part), "{part}: {record}");
        }
        assert!(!record.contains("hunter2"), "{record}");
    }
    let change = json!({
        "environment": null, "parameters": {"list": null, "hash": null, "number": "42"},
        "class_parameters": {"ntp": {"panic": null, "servers": []}},
    });
    let changed = site.patch(WEB01, &change).expect(200).json();
    assert_eq!(changed.get("environment"), None);
    assert_eq!(changed["class_parameters"], json!({"ntp": {"servers": []}}));
    assert_eq!((&changed["parameters"]["number"], changed["parameters"].get("list")), (&json!("42"), None));
    // The group's counts again.
    assert_eq!(published(&site, "web01")["environment"], "staging");
    assert_eq!(published(&site, "web01")["classes"]["ntp"], json!({"servers": []}));
    let changed = site.patch(WEB01, &json!({"class_parameters": {"ntp": null}, "groups": []})).expect(200).json();
    assert_eq!(changed.get("class_parameters"), None);
    assert_eq!(published(&site, "web01").get("environment"), None, "the agent's own counts");
    all_is_well(&site);
}

#[test]
fn all_that_catalogue_does_not_allow_is_422_in_one_answer() {
    let site = site_of(CATALOGUE);
    let body = json!({
        "name": "web01", "groups": ["web servers", "nobody"], "environment": "stagng",
        "parameters": {"environment": "production", "big": 1e30, "deep": [[[[[[[[[1]]]]]]]]], "merged": {"<<": 1}},
        "class_parameters": {"ntp": {"servrs": 1}, "nginx": {"a": 1}}, "colour": 1,
    });
    let refused = errors(&site.post("/v1/nodes", &body));
    let fields: Vec<_> = refused.keys().map(String::as_str).collect();
    let expected = [
        "class_parameters.nginx",
        "class_parameters.ntp.servrs",
        "colour",
        "environment",
        "groups[1]",
        "parameters.big",
        "parameters.deep[0][0][0][0][0][0][0][0]",
        "parameters.environment",
        "parameters.merged.<<",
    ];
    assert_eq!(fields, expected);
    assert!(refused["environment"].contains("production, staging"), "{refused:?}");
    assert!(refused["class_parameters.ntp.servrs"].contains("panic, servers"), "{refused:?}");
    assert!(site.states().is_empty() && !file(&site, "web01").exists());
    // 64 KiB in all, whichever request brings them.
    let long = "x".repeat(40_000);
    site.post("/v1/nodes", &json!({"name": "web01", "classes": ["ntp"], "parameters": {"a": long}})).expect(201);
    let of_class = site.patch(WEB01, &json!({"class_parameters": {"ntp": {"servers": [long]}}}));
    assert_eq!(errors(&of_class).into_keys().collect::<Vec<_>>(), ["class_parameters"]);
    assert_eq!(
        errors(&site.patch(WEB01, &json!({"parameters": {"b": long}}))).into_keys().collect::<Vec<_>>(),
        ["parameters"]
    );
}

#[test]
fn group_gives_what_its_client_may_not_assign() {
    let site = site_of(CATALOGUE);
    let psk = site.add_client(&["web", "--groups", "web*", "--classes", "none", "--environments", "prod*"]);
    let ask = |method: &str, path: &str, body: &Value| {
        site.ask(method, path, Some(&body.to_string()), &[&format!("X-ESPM-PSK: {psk}")])
    };
    ask("POST", "/v1/nodes", &json!({"name": "web01", "groups": ["web servers"]})).expect(201);
    assert_eq!(published(&site, "web01")["environment"], "staging");
    let own = json!({"environment": "staging", "class_parameters": {"ntp": {"panic": 1}}});
    let refused = ask("PATCH", WEB01, &own);
    assert_eq!(refused.expect(403).problem(), "forbidden");
    assert_eq!(refused.fields(), ["environment", "class_parameters.ntp"]);
    ask("PATCH", WEB01, &json!({"environment": "production", "class_parameters": {"ntp": null}})).expect(200);
    assert_eq!(published(&site, "web01")["environment"], "production");
    assert!(published(&site, "web01")["classes"]["ntp"].get("panic").is_none());
}

#[test]
fn what_left_catalogue_is_kept_and_shown_and_blocks_no_other_change() {
    let site = site_of(CATALOGUE);
    let node = json!({
        "name": "web01", "groups": ["web servers"], "classes": ["apache"], "environment": "production",
        "parameters": {}, "class_parameters": {"ntp": {"panic": 1, "servers": ["a"]}},
    });
    site.post("/v1/nodes", &node).expect(201);
    site.add_without_group("web02");
    all_is_well(&site);
    let smaller =
        "[environments]\nnames = staging\n[class ntp]\nparameters = servers\n[group web servers]\nclasses = ntp\n";
    site.write("etc/catalogue.ini", smaller);
    assert!(site.espm(&["publish"]).status.success());
    let lost = ["class \"apache\"", "environment \"production\"", "parameter \"ntp::panic\""];
    let shown = String::from_utf8(site.espm(&["nodes"]).stdout).unwrap();
    let line = shown.lines().find(|line| line.contains(" web01")).unwrap();
    assert!(line.ends_with(&format!(" web01 lost: {}", lost.join(", "))), "{shown}");
    assert!(shown.lines().any(|line| line.ends_with(" web02")), "{shown}");
    let rows: Value = serde_json::from_slice(&site.espm(&["nodes", "--json"]).stdout).unwrap();
    assert_eq!((&rows[0]["lost"], rows[1].get("lost")), (&json!(lost), None));
    let (failed, code) = check(&site);
    assert_eq!((failed.len(), code), (3, 1), "{failed:?}");
    for (line, lost) in failed.iter().zip(lost) {
        assert!(line.contains(&format!("catalogue: has no {lost}, which 1 node has, such as web01")), "{line}");
    }
    // The environment stays: without it the node would get another one.
    let expected = json!({"classes": {"ntp": {"servers": ["a"]}}, "environment": "production"});
    assert_eq!(published(&site, "web01"), expected);
    let changed = site.patch(WEB01, &json!({"parameters": {"role": "db"}}));
    let kept = &changed.expect(200).json();
    assert_eq!((&kept["environment"], &kept["class_parameters"]), (&node["environment"], &node["class_parameters"]));
    assert!(site.records_of(&changed).iter().any(|record| record.contains(" lost=\"apache,production,ntp::panic\"")));
    // Sent again, each is an error.
    let sent = json!({"environment": "production", "classes": ["apache"], "class_parameters": {"ntp": {"panic": 1}}});
    let fields: Vec<_> = errors(&site.patch(WEB01, &sent)).into_keys().collect();
    assert_eq!(fields, ["class_parameters.ntp.panic", "classes[0]", "environment"]);
    // Put back, it counts again.
    site.write("etc/catalogue.ini", CATALOGUE);
    assert!(site.espm(&["publish"]).status.success());
    assert_eq!(published(&site, "web01")["classes"], json!({"apache": {}, "ntp": {"panic": 1, "servers": ["a"]}}));
    all_is_well(&site);
}

impl Site {
    fn add_without_group(&self, name: &str) {
        self.post("/v1/nodes", &json!({"name": name, "classes": ["ntp"]})).expect(201);
    }
}

fn publish(site: &Site) -> (Output, String) {
    let output = site.espm(&["publish"]);
    let said = String::from_utf8(output.stdout.clone()).unwrap();
    (output, said)
}

#[test]
fn publish_writes_what_differs_and_no_more() {
    let site = site_of(CATALOGUE);
    site.add_without_group("web01");
    site.post("/v1/nodes", &json!({"name": "web02", "groups": ["web servers"]})).expect(201);
    site.post("/v1/nodes", &json!({"name": "web03", "groups": ["web servers"]})).expect(201);
    let inode = |name: &str| fs::metadata(file(&site, name)).unwrap().ino();
    let names = ["web01", "web02", "web03"];
    let before = names.map(inode);
    assert_eq!(publish(&site).1, "3 nodes: 0 published anew\n");
    assert_eq!(names.map(inode), before);
    site.write("etc/catalogue.ini", &CATALOGUE.replace("[80, 443]", "[8080]"));
    // One that is lost, and one that a human has replaced.
    fs::remove_file(file(&site, "web02")).unwrap();
    fs::remove_file(file(&site, "web03")).unwrap();
    fs::write(file(&site, "web03"), "---\nclasses: {mysql: {}}\n").unwrap();
    let (output, said) = publish(&site);
    assert_eq!((output.status.code(), said.as_str()), (Some(1), "3 nodes: 1 published anew\n"));
    let complaint = String::from_utf8(output.stderr).unwrap();
    assert!(complaint.contains("web03 is not published: ") && complaint.contains("is owned by user 0"), "{complaint}");
    assert_eq!(published(&site, "web02")["parameters"]["ports"], json!([8080]));
    assert_eq!(published(&site, "web03"), json!({"classes": {"mysql": {}}}));
    assert_eq!(inode("web01"), before[0]);
    // The attempt and its end are in the audit.
    let audited = || -> Vec<String> {
        site.audit().into_iter().filter(|record| record.contains("event=operator.publish ")).collect()
    };
    wait_until("it is in the audit", || audited().len() == 3);
    assert!(audited()[1].contains(" outcome=attempt ") && audited()[2].contains(" outcome=ok "), "{:?}", audited());
    assert!(audited()[2].contains(" published=1 "), "{:?}", audited());
    // A change of a node goes on as before.
    site.patch("/v1/nodes/web02", &json!({"parameters": {"ports": null, "a": 1}})).expect(200);
    site.delete("/v1/nodes/web02").expect(204);
    assert!(!file(&site, "web02").exists());
    assert!(site.espm(&["forget", "web03"]).status.success());
    assert_eq!(publish(&site).1, "1 node: 0 published anew\n");
}

#[test]
fn publish_leaves_unfinished_nodes_and_broken_catalogues_alone() {
    let site = site_of(CATALOGUE);
    site.add_without_group("web01");
    let before = fs::read(file(&site, "web01")).unwrap();
    site.write("etc/catalogue.ini", "[classes]\nnames = apache ntp\n");
    let (output, said) = publish(&site);
    assert_eq!((output.status.code(), said.as_str()), (Some(1), ""));
    let complaint = String::from_utf8(output.stderr).unwrap();
    let path = site.dir.join("etc/catalogue.ini").display().to_string();
    let wanted =
        format!("{path}: [classes] line 2: names: \"apache ntp\" has a blank in it; write names = apache, ntp");
    assert!(complaint.contains(&wanted), "{complaint}");
    assert_eq!(fs::read(file(&site, "web01")).unwrap(), before);
    // As a request leaves it that died with its intent recorded.
    site.write("etc/catalogue.ini", &CATALOGUE.replace("0.pool", "1.pool"));
    let ledger = site.dir.join("state/ledger.sqlite");
    let sql = |statement: &str| run(Command::new("sqlite3").arg(&ledger).arg(statement));
    sql("UPDATE node SET state = 'changing', wanted = assignment");
    let (output, said) = publish(&site);
    assert_eq!((output.status.code(), said.as_str()), (Some(1), "1 node: 0 published anew\n"));
    assert!(String::from_utf8(output.stderr).unwrap().contains("1 unfinished; 'espm nodes --unfinished' lists them"));
    assert_eq!(fs::read(file(&site, "web01")).unwrap(), before);
}

#[test]
fn publish_without_published_nodes_says_so() {
    let site = Site::prepare(&Plan::default());
    let (output, _) = publish(&site);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("nothing is published here: [console] kind is not enc"), "{said}");
}

#[test]
fn console_that_takes_strings_alone_refuses_the_rest() {
    let site = Site::open();
    let body = json!({
        "name": "web01", "environment": "production", "classes": ["ntp"],
        "parameters": {"number": 1, "comma": "a,b", "empty": "", "good": "x"},
        "class_parameters": {"ntp": {"panic": "0"}},
    });
    let refused = errors(&site.post("/v1/nodes", &body));
    let fields: Vec<_> = refused.keys().map(String::as_str).collect();
    assert_eq!(
        fields,
        ["class_parameters.ntp", "environment", "parameters.comma", "parameters.empty", "parameters.number"]
    );
    assert!(refused["environment"].contains("kind = rake"), "{refused:?}");
    assert!(refused["parameters.number"].starts_with("must be a string"), "{refused:?}");
    assert!(site.states().is_empty() && site.node_in_console("web01").is_null());
    // To remove nothing is no error.
    site.add("web01");
    let nothing = json!({"environment": null, "class_parameters": {"ntp": null}});
    assert_eq!(site.patch(WEB01, &nothing).expect(200).json(), crate::harness::node("web01"));
}

#[test]
fn typed_values_are_adopted_as_they_are_published() {
    let site = site_of(CATALOGUE);
    let node = json!({
        "name": "web01", "groups": [], "classes": ["ntp"], "parameters": {"n": 1, "text": "\u{1F600}é'\n"},
        "environment": "staging", "class_parameters": {"ntp": {"panic": [1.5, "\u{1F600}"]}},
    });
    site.post("/v1/nodes", &node).expect(201);
    let forget = || assert!(site.espm(&["forget", "web01"]).status.success());
    forget();
    let adopt = |words: &[&str]| site.espm(&[&["adopt", "web01"], words].concat());
    let assign = || assert!(site.espm(&["assign", "web01", "cloud"]).status.success());
    let adopted = String::from_utf8(adopt(&[]).stderr).unwrap();
    assert!(adopted.starts_with("espm: web01 belongs to no client") && adopted.lines().count() == 1, "{adopted}");
    assign();
    assert_eq!(site.get(WEB01).expect(200).json(), node);
    // Where nothing tells, the command that espm prints records it.
    fs::write(file(&site, "web01"), "---\nclasses: {mysql: {}}\n").unwrap();
    let ledger = site.dir.join("state/ledger.sqlite");
    run(Command::new("sqlite3").arg(&ledger).arg("UPDATE node SET state = 'unproven'"));
    let said = String::from_utf8(adopt(&[]).stderr).unwrap();
    let (_, command) = said.split_once("run it: espm ").unwrap_or_else(|| panic!("{said}"));
    let espm = format!("{} -c {} {command}", site.bin("espm").display(), site.ini().display());
    forget();
    run(Command::new("sh").args(["-c", &espm]));
    assign();
    assert_eq!(site.get(WEB01).expect(200).json(), node);
}
