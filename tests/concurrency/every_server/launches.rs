//! Many servers launched at the same moment, by the HTTP API of the CA: none is lost, none has two certificates, each
//! serial number is recorded, and each is in the revocation list after all are gone.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Barrier;

use serde_json::{Value, json};

use crate::harness::certificates::{revoked, serial, valid};
use crate::harness::{API, Answer, Plan, Site, is_long};

/// Asks for each name at the same moment, and again for as long as it is told to come back.
fn all_at_once(names: &[String], ask: &(dyn Fn(&str) -> Answer + Sync)) -> BTreeMap<String, Answer> {
    let start = Barrier::new(names.len());
    let at_last = |name: &str| {
        start.wait();
        std::iter::repeat_with(|| ask(name)).find(|answer| answer.status != 503).unwrap()
    };
    std::thread::scope(|scope| {
        let asked: Vec<_> = names.iter().map(|name| (name.clone(), scope.spawn(|| at_last(name)))).collect();
        asked.into_iter().map(|(name, thread)| (name, thread.join().unwrap())).collect()
    })
}

/// The serial numbers that the record of a name has.
fn recorded(site: &Site, name: &str) -> BTreeSet<String> {
    let record: Value = serde_json::from_str(&site.file(&format!("records/{name}.json"))).unwrap();
    let made = record["made"].as_array().unwrap().iter();
    made.map(|made| made["serial"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn launches_at_once_are_all_made_recorded_and_revoked() {
    let many = if is_long() { 300 } else { 30 };
    let site = Site::without_console(&Plan { authority: API, ..Plan::default() }, "[classes]\nnames = ntp\n");
    let names: Vec<_> = (0..many).map(|number| format!("web{number:03}.example.com")).collect();
    let certificate = |name: &str| format!("/v1/nodes/{name}/certificate");
    let launch = |name: &str| {
        let added = site.post("/v1/nodes", &json!({"name": name, "classes": ["ntp"]}));
        // Told to come back after the node was added, the client asks for both again.
        if ![201, 409].contains(&added.status) {
            return added;
        }
        site.ask("POST", &certificate(name), None, &[])
    };
    let made = all_at_once(&names, &launch);
    let mut serials = BTreeSet::new();
    for (name, answer) in &made {
        // 200 is of a client that was told to come back after its certificate was made.
        assert!([200, 201].contains(&answer.status), "{name}: {answer:?}");
        assert!(serials.insert(serial(answer)), "{name} has another's serial number");
        assert_eq!(recorded(&site, name), [serial(answer)].into(), "{name}");
        assert_eq!(site.ask("POST", &certificate(name), None, &[]).expect(200).body, answer.body, "{name}");
    }
    assert_eq!(valid(&site), serials);
    assert_eq!(site.count_exchanges("PUT certificate_status signed"), many);
    assert!(site.unfinished().is_empty());
    let deleted = all_at_once(&names, &|name| site.delete(&format!("/v1/nodes/{name}")));
    for (name, answer) in &deleted {
        assert_eq!(answer.status, 204, "{name}: {answer:?}");
    }
    assert_eq!((valid(&site), revoked(&site)), ([].into(), serials));
    assert!(site.states().is_empty());
    assert_eq!(std::fs::read_dir(site.dir.join("records")).unwrap().filter(is_of_a_node).count(), 0);
}

fn is_of_a_node(entry: &std::io::Result<std::fs::DirEntry>) -> bool {
    entry.as_ref().unwrap().file_name().to_string_lossy().starts_with("web")
}
