//! Published nodes after a power loss: each is as it was or as it becomes, and never a part of that.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use serde_json::json;

use super::disk::Disk;
use super::trace::{Act, acts, lines, options, traced};
use crate::harness::strace::Request;
use crate::harness::{Plan, Site, USER};

const CATALOGUE: &str = "[classes]\nnames = apache, ntp\n[group default]\nclasses = ntp\nparameter tier = gold\n";

/// The published files, with their content.
fn published(site: &Site) -> BTreeMap<String, Vec<u8>> {
    let paths = fs::read_dir(site.dir.join("nodes")).unwrap().map(|entry| entry.unwrap().path());
    paths.map(|path| (path.display().to_string(), fs::read(&path).unwrap())).collect()
}

/// Plays what a program did, lets the power go after each act in every way, and looks at the published files. Gives
/// what the last power loss may leave, once for each way.
fn lose_power(
    acts: &[(String, Act)],
    before: &BTreeMap<String, Vec<u8>>,
    after: &BTreeMap<String, Vec<u8>>,
) -> Vec<bool> {
    let mut disk = Disk::of(before.clone());
    let mut last = vec![];
    for (path, act) in acts {
        disk.act(path, act);
        let remains = disk.remains();
        for left in &remains {
            // Files beside are nobody's until they are renamed.
            let names = left.keys().chain(before.keys()).filter(|name| name.ends_with(".yaml"));
            for name in names {
                let content = left.get(name);
                let whole = [before.get(name), after.get(name)].contains(&content);
                let text = content.map(|bytes| String::from_utf8_lossy(bytes));
                assert!(whole, "after {act:?} of {path}, {name} is {text:?}");
            }
        }
        let names = || after.keys().chain(before.keys());
        last = remains.iter().map(|left| names().all(|name| left.get(name) == after.get(name))).collect();
    }
    last
}

#[test]
fn power_loss_while_nodes_are_published_leaves_each_as_before_or_after() {
    let site = Site::prepare_without_console(&Plan::default(), CATALOGUE);
    for name in ["web01", "web02", "web03", "web04"] {
        let body = json!({"name": name, "groups": ["default"], "classes": ["apache"]});
        site.handle(&Request::new("POST", "/v1/nodes".into()).body(body)).expect(201);
    }
    // One that has to be published where there is no file.
    fs::remove_file(site.dir.join("nodes/web04.yaml")).unwrap();
    site.write("etc/catalogue.ini", &CATALOGUE.replace("gold", &"silver".repeat(200)));
    let before = published(&site);
    let to = site.dir.join("run/trace");
    let mut publish = Command::new("strace");
    publish.args(["-qq", "-u", USER]).args(options(to.to_str().unwrap()));
    let output = publish.arg(site.bin("espm")).arg("-c").arg(site.ini()).arg("publish").output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "4 nodes: 4 published anew\n", "{output:?}");
    let acts = acts(&lines(&to));
    let after = published(&site);
    assert_eq!((before.len(), after.len()), (3, 4));
    let told =
        acts.iter().position(|(path, act)| path.starts_with("pipe:") && matches!(act, Act::Write { .. })).unwrap();
    let last = lose_power(&acts[..told], &before, &after);
    assert!(last.iter().all(|whole| *whole), "all are durable before the command says so");
}

#[test]
fn power_loss_while_node_is_changed_leaves_its_file_as_before_or_after() {
    let site = Site::prepare_without_console(&Plan::default(), CATALOGUE);
    let path = || "/v1/nodes/web01".to_owned();
    for request in [
        Request::new("POST", "/v1/nodes".into()).body(json!({"name": "web01", "groups": ["default"]})),
        Request::new("PATCH", path()).body(json!({"classes": ["apache"]})),
        Request::new("DELETE", path()),
    ] {
        let before = published(&site);
        let (trace, answer) = traced(&site, &request);
        assert!(answer.status < 300, "{answer:?}");
        let after = published(&site);
        assert_ne!(before, after);
        let last = lose_power(&acts(&trace), &before, &after);
        assert!(last.iter().all(|whole| *whole), "what was answered is durable");
    }
}
