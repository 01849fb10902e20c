//! Adopted nodes: recorded is what the console has.

use serde_json::json;

use crate::harness::{Plan, Site, node};

const HAND01: &str = "/v1/nodes/hand01";

/// A node that a human made.
fn site_of(release: &'static str) -> Site {
    let site = Site::with(Plan { release, ..Plan::default() });
    site.rake(&["node:add", "name=hand01", "groups=default,web servers", "classes=ntp"]);
    site.rake(&["node:parameters", "name=hand01", "parameters=owner=human,url=a=b"]);
    site
}

/// What espm says beside success.
#[track_caller]
fn adopt(site: &Site, words: &[&str]) -> String {
    let output = site.espm(&[&["adopt"], words].concat());
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stderr).unwrap()
}

/// The sentence about a node that no client has added.
const NO_CLIENT: &str = "belongs to no client, so none sees it; 'espm assign hand01 CLIENT' gives it to one";

fn assign(site: &Site) {
    let output = site.espm(&["assign", "hand01", "cloud"]);
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
}

#[test]
fn adopted_node_has_what_console_shows_and_its_next_change_keeps_it() {
    for release in ["1.2.23", "3.0"] {
        let site = site_of(release);
        let said = adopt(&site, &["hand01"]);
        assert_eq!(said, format!("espm: hand01 {NO_CLIENT}\n"), "{release}");
        assign(&site);
        let mut hand01 = json!({
            "name": "hand01", "groups": ["default", "web servers"], "classes": ["ntp"],
            "parameters": {"owner": "human", "url": "a=b"}
        });
        assert_eq!(site.get(HAND01).expect(200).json(), hand01, "{release}");
        site.patch(HAND01, &json!({"parameters": {"tier": "1"}})).expect(200);
        hand01["parameters"]["tier"] = json!("1");
        site.expect_in_console(&hand01);
        // What espm cannot assign is named.
        site.rake(&["nodegroup:add", "name=tab\tgroup"]);
        site.rake(&["node:addgroup", "name=hand01", "group=tab\tgroup"]);
        site.rake(&["node:parameters", "name=hand01", "parameters=Odd=1"]);
        assert!(site.espm(&["forget", "hand01"]).status.success());
        let said = adopt(&site, &["hand01"]);
        for what in ["the group \"tab\\tgroup\"", "the parameter \"Odd=1\""] {
            assert!(said.contains(&format!("hand01 also has {what}, which espm cannot assign")), "{release}: {said}");
        }
    }
}

#[test]
fn console_that_shows_nothing_is_said_with_command_that_records_it() {
    let site = site_of("1.2.8");
    let said = adopt(&site, &["hand01"]);
    let command = "espm adopt hand01 --groups='' --classes='' --parameters=''\n";
    assert!(said.contains("cannot say what hand01 has") && said.contains(command), "{said}");
    assert!(said.ends_with(&format!("espm: hand01 {NO_CLIENT}\n")), "{said}");
    assign(&site);
    let told = ["hand01", "--groups=default,web servers", "--classes=ntp", "--parameters=owner=human,url=a=b"];
    assert_eq!(adopt(&site, &told), "");
    let shown = site.get(HAND01).expect(200).json();
    site.patch(HAND01, &json!({"classes": ["ntp"]})).expect(200);
    site.expect_in_console(&shown);
    assert_eq!(shown["groups"], json!(["default", "web servers"]));
    assert_eq!(shown["parameters"], json!({"owner": "human", "url": "a=b"}));
    assert!(!site.espm(&["adopt", "hand01", "--groups=a,,b"]).status.success());
    let records = site.audit();
    assert!(
        records
            .iter()
            .any(|record| record.contains("event=operator.adopt") && record.contains("groups=\"default,web servers\""))
    );
}

#[test]
fn adopted_doubtful_change_is_what_console_shows() {
    for (release, shows) in [("1.2.8", false), ("1.2.23", true)] {
        let site = Site::with(Plan { release, ..Plan::default() });
        site.add("web01");
        site.fault("console", "die_before_node_del", "once");
        site.delete("/v1/nodes/web01").expect(502);
        site.delete("/v1/nodes/web01").expect(404);
        // A human has helped meanwhile.
        site.rake(&["node:groups", "name=web01", "groups=databases"]);
        let said = adopt(&site, &["web01"]);
        let mut expected = node("web01");
        if shows {
            expected["groups"] = json!(["databases"]);
        }
        assert_eq!(site.get("/v1/nodes/web01").expect(200).json(), expected, "{release}");
        assert_eq!(said.contains("--groups='default' --classes='ntp' --parameters='role=web'"), !shows, "{said}");
    }
}
