//! Values of parameters may be passwords. Commands that fail quote their arguments; no record and no log
//! may show them.
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::{Value, json};

use crate::harness::audit::check_records;
use crate::harness::processes::{FOREIGN, limits};
use crate::harness::{Answer, Plan, Site};

/// A value with what commands escape in it, and parts of it that nothing else has: a request's random
/// hexadecimal digits are none of them.
const SECRET: &str = r#"zebra9 "quo'kka\" wombat/ü=100%"#;
const PARTS: [&str; 9] = ["zebr", "ebra", "bra9", "quo'", "kka", "womb", "mbat", "\\303", "u00fc"];

/// The same in a value that replaces the first.
const NEXT: &str = "ocelot-\u{e9}-platypus";
const NEXT_PARTS: [&str; 5] = ["ocel", "elot", "plat", "typus", "u00e9"];

fn add(site: &Site, name: &str) -> Answer {
    let body = json!({"name": name, "groups": ["default"], "classes": ["ntp"], "parameters": {"role": SECRET}});
    site.post("/v1/nodes", &body)
}

fn change(site: &Site, name: &str, value: &Value) -> Answer {
    site.patch(&format!("/v1/nodes/{name}"), &json!({"groups": ["databases"], "parameters": {"role": value}}))
}

/// The files outside of the console, the CA, the state directory and the random keys in which a part of
/// the values is.
fn files_with_parts(dir: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let kept = ["console", "ca", "state", "nodes", "etc/certs"].iter().any(|name| path.ends_with(name));
        if path.is_dir() && !kept {
            files_with_parts(&path, found);
        } else if path.is_file() && !path.ends_with("etc/catalogue.ini") {
            found.extend(
                parts_in(&String::from_utf8_lossy(&fs::read(&path).unwrap())).map(|part| format!("{path:?}: {part}")),
            );
        }
    }
}

fn parts_in(text: &str) -> impl Iterator<Item = &'static str> {
    let text = text.to_lowercase();
    PARTS.into_iter().chain(NEXT_PARTS).filter(move |part| text.contains(part))
}

/// No record and no log has a part of a value, and the causes had something to hide.
#[track_caller]
fn check_concealed(site: &Site, hidden: usize) {
    let records = site.audit();
    check_records(&records);
    for record in &records {
        assert_eq!(parts_in(record).collect::<Vec<_>>(), [""; 0], "{record}");
    }
    let mut found = vec![];
    files_with_parts(&site.dir, &mut found);
    assert!(found.is_empty(), "{found:#?}");
    let causes = records.iter().filter(|record| record.contains("outcome=cause") && record.contains("[...]"));
    assert!(causes.count() >= hidden, "{records:#?}");
    // What a human needs is left.
    assert!(records.iter().any(|record| record.contains("rake aborted!")) || hidden == 0, "{records:#?}");
}

fn with_faults(site: &Site, faults: &[(&str, &str)], request: impl FnOnce() -> Answer) -> Answer {
    for (name, text) in faults {
        site.fault("console", name, text);
    }
    let answer = request();
    site.no_faults("console");
    answer
}

/// Runs of rake that quote what they were given and then end in each of the ways that there are.
const ENDS: [&[(&str, &str)]; 5] = [
    &[("abort", "parameters")],
    &[("quote", ""), ("exit", "1")],
    &[("quote", ""), ("die_before_node_add", "")],
    &[("quote", ""), ("die_after_commit_node_add", "")],
    &[("quote", ""), ("noise", ""), ("garbage", ""), ("abort", "parameters")],
];

#[test]
fn parameter_value_is_in_no_record_or_log_when_command_fails() {
    for release in ["1.2.8", "3.0"] {
        let site = Site::with(Plan { release, ..Plan::default() });
        let after = |faults: &[(&str, &str)], number: usize| {
            let name = format!("web{number:02}");
            assert_eq!(with_faults(&site, faults, || add(&site, &name)).status, 502, "{faults:?}");
            // Its intent is settled, by a run that fails as well and by one that does not.
            with_faults(&site, faults, || add(&site, &name));
            let name = format!("db{number:02}");
            add(&site, &name).expect(201);
            with_faults(&site, faults, || change(&site, &name, &json!(NEXT)));
            with_faults(&site, faults, || change(&site, &name, &Value::Null));
            with_faults(&site, faults, || site.delete(&format!("/v1/nodes/{name}")));
            site.delete(&format!("/v1/nodes/{name}"));
        };
        site.ask_for_lists();
        let ends = if release == "3.0" { &ENDS[..1] } else { &ENDS[..] };
        for (number, faults) in ends.iter().enumerate() {
            after(faults, number);
        }
        let paused = [("quote", ""), ("pause_before_node_add", ""), ("pause_before_node_groups", "")];
        for limit in limits() {
            site.configure("console", &format!("timeout = {limit}"));
            assert_eq!(with_faults(&site, &paused, || add(&site, "web90")).status, 504);
            if site.dir.join("console/reached").exists() {
                break;
            }
        }
        site.configure("console", "timeout = 120");
        with_faults(&site, &[("abort", "parameters")], || add(&site, "web90"));
        site.fault("console", "quote", "");
        site.ask(
            "POST",
            "/v1/nodes",
            Some(&format!(r#"{{"name": "web91", "parameters": {{"role": {SECRET:?}}}"#)),
            &[],
        )
        .expect(400);
        site.post("/v1/nodes", &json!({"name": "web91", "parameters": {"role": format!("{SECRET},{NEXT}")}}))
            .expect(422);
        // An order that is none: espm-helper refuses it.
        site.configure("espm", "helper = /bin/cat");
        add(&site, "web92").expect(502);
        check_concealed(&site, 2 * ends.len());
        site.expect_foreign_untouched();
    }
}

/// A catalogue with a secret of its own.
const CATALOGUE: &str =
    "[classes]\nnames = ntp\n[group default]\n[group databases]\nparameter password = ocelot-platypus\n";

#[test]
fn parameter_value_is_in_no_record_or_log_without_console() {
    let site = Site::without_console(&Plan::default(), CATALOGUE);
    add(&site, "web01").expect(201);
    let nodes = site.dir.join("nodes");
    let catalogue = CATALOGUE;
    for broken in [
        catalogue.replace("password =", "password"),
        catalogue.replace("parameter password =", "parameter Password ="),
        catalogue.replace("parameter password =", "password ="),
        format!("{catalogue}parameter password = {NEXT}\n"),
        format!("{catalogue}parameter secret = {SECRET} # {NEXT}\n"),
        String::new(),
    ] {
        site.write("etc/catalogue.ini", &broken);
        let statuses = [add(&site, "web02").status, change(&site, "web01", &json!(NEXT)).status];
        assert_ne!(statuses, [201, 200], "{broken}");
        assert!(statuses.iter().all(|status| [422, 502].contains(status)), "{statuses:?}");
    }
    site.write("etc/catalogue.ini", catalogue);
    fs::set_permissions(&nodes, Permissions::from_mode(0o555)).unwrap();
    for answer in [add(&site, "web03"), change(&site, "web01", &json!(NEXT)), site.delete("/v1/nodes/web01")] {
        assert_eq!(answer.expect(503).problem(), "unavailable");
    }
    fs::set_permissions(&nodes, Permissions::from_mode(0o755)).unwrap();
    site.delete("/v1/nodes/web01").expect(204);
    check_concealed(&site, 0);
    assert!(!nodes.join(format!("{FOREIGN}.yaml")).exists());
}
