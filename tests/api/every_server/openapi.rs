//! The OpenAPI description and the program agree.

mod described;

use std::collections::BTreeSet;
use std::process::{Command, Stdio};

use espm::http::routes::ROUTES;
use espm::model::problem::Problem;
use serde_json::{Value, json};

use self::described::{Described, FILE};
use crate::harness::{Answer, Plan, Site};

#[test]
fn served_description_is_the_file() {
    let site = Site::open();
    let served = site.get("/v1/openapi.json");
    assert_eq!(served.expect(200).body, std::fs::read_to_string(FILE).unwrap());
    assert_eq!(served.header("content-type"), "application/json");
}

#[test]
fn description_has_problem_types_of_program_and_web_server() {
    let document = Described::read().document;
    let listed = |value: &Value| -> BTreeSet<String> {
        value.as_array().unwrap().iter().map(|word| word.as_str().unwrap().to_owned()).collect()
    };
    let described = listed(&document["components"]["schemas"]["Problem"]["properties"]["type"]["enum"]);
    let mut known: BTreeSet<_> = Problem::ALL.iter().map(|problem| problem.urn()).collect();
    known.insert("urn:espm:problem:rate-limited".to_owned());
    assert_eq!(described, known);
    // Each is one of some answer's types, with its own status.
    let mut answered = BTreeSet::new();
    for response in document["components"]["responses"].as_object().unwrap().values() {
        let narrowed = &response["content"]["application/problem+json"]["schema"]["properties"];
        for urn in listed(&narrowed["type"]["enum"]) {
            if let Some(problem) = Problem::ALL.iter().find(|problem| problem.urn() == urn) {
                // Apache, which cannot change a status, answers so when espm does not run.
                let servers = *problem == Problem::Unavailable && narrowed["status"]["const"] == 502;
                assert!(servers || narrowed["status"]["const"] == problem.status(), "{urn}");
                let waits = response["headers"]["Retry-After"]["$ref"] == "#/components/headers/Retry-After";
                assert!(servers || waits == problem.retry_after().is_some(), "{urn}");
            }
            answered.insert(urn);
        }
    }
    assert_eq!(answered, known);
}

#[test]
fn examples_match_their_schemas() {
    fn examples(value: &Value, place: &str, cases: &mut Vec<Value>) {
        if let Some(object) = value.as_object() {
            if object.contains_key("schema") && object.contains_key("example") {
                cases.push(json!({"what": place, "schema": value["schema"], "value": value["example"]}));
            }
            for example in value["examples"].as_array().into_iter().flatten() {
                cases.push(json!({"what": place, "schema": value, "value": example}));
            }
        }
        let members: Vec<(String, &Value)> = match value {
            Value::Object(object) => object.iter().map(|(name, member)| (name.clone(), member)).collect(),
            Value::Array(items) => items.iter().enumerate().map(|(at, item)| (at.to_string(), item)).collect(),
            _ => vec![],
        };
        for (name, member) in members.into_iter().filter(|(name, _)| name != "example" && name != "examples") {
            examples(member, &format!("{place}/{name}"), cases);
        }
    }
    let mut described = Described::read();
    let mut cases = vec![];
    examples(&described.document, "", &mut cases);
    assert!(cases.len() > 30, "{}", cases.len());
    described.cases = cases;
    described.validate();
}

#[test]
fn grammars_of_description_match_parsers() {
    use espm::model::extension::{self, Extensions};
    use espm::model::name::{ClassName, EnvironmentName, GroupName, NodeName, ParameterName, ParameterValue};
    type Accepts = fn(&str) -> bool;
    let grammars: [(&str, Accepts); 8] = [
        ("NodeName", |text| NodeName::parse(text).is_ok()),
        ("ClassName", |text| ClassName::parse(text).is_ok()),
        ("GroupName", |text| GroupName::parse(text).is_ok()),
        ("EnvironmentName", |text| EnvironmentName::parse(text).is_ok()),
        ("ParameterName", |text| ParameterName::parse(text).is_ok()),
        ("ParameterValue", |text| ParameterValue::parse(text).is_ok()),
        ("ExtensionName", |text| extension::oid(text).is_some()),
        ("ExtensionValue", |text| Extensions::default().add("pp_role", text).is_ok()),
    ];
    let mut texts: Vec<String> = [
        "",
        "a",
        "web01.example.com",
        "a..b",
        ".a",
        "a.",
        "-a",
        "a-",
        "a_b",
        "_a",
        "A",
        "aB",
        "a b",
        " a",
        "a ",
        "ca",
        "ca1",
        "localhost",
        "0x",
        "0x1f",
        "0x1g",
        "0x1.a",
        "a,b",
        ",",
        "---",
        "---a",
        "--a",
        "--",
        "a---",
        "a\u{fffd}",
        "\u{1f600}",
        "a\u{1f600}b",
        "\u{e9}",
        "a\u{e9}b",
        "a=b",
        "x?y#z",
        "1",
        "1a",
        "__",
        "apache::mod::ssl",
        "\u{feff}a",
        "\u{2028}",
    ]
    .map(str::to_owned)
    .to_vec();
    texts.extend([63, 64, 65, 255, 256, 65_535, 65_536].map(|length| "a".repeat(length)));
    texts.extend(["pp_uuid", "pp_role", "pp_owner", "pp_auth_role", "pp_rol", "PP_ROLE"].map(str::to_owned));
    let numbers = [
        "1.1",
        "1.9",
        "1.10",
        "1.19",
        "1.26",
        "1.0",
        "1.27",
        "1.013",
        "1.1.1",
        "1.9812",
        "2",
        "2.",
        "2.0",
        "2.01",
        "2.1.2",
        "2.999999999",
        "2.1000000000",
        "3.1",
        "3.13",
        "12.1",
        "2.1 ",
    ];
    texts.extend(numbers.map(|number| format!("1.3.6.1.4.1.34380.1.{number}")));
    texts.push(format!("1.3.6.1.4.1.34380.1.2{}", ".1".repeat(53)));
    texts.push(format!("1.3.6.1.4.1.34380.1.2{}", ".1".repeat(54)));
    // Every kind of blank, control character and border, alone, at an end and inside.
    let points =
        (0..0x180).chain([0x1680, 0x1681, 0x1fff, 0x2027, 0x2029, 0x2030, 0x205e, 0x2060, 0x3001, 0xd7ff, 0xe000]);
    for point in
        points.chain(0x2000..0x2010).chain([0x202f, 0x205f, 0x3000, 0xfffd, 0xfffe, 0xffff, 0x1_0000, 0x10_ffff])
    {
        let c = char::from_u32(point).unwrap();
        texts.extend([format!("{c}"), format!("{c}a"), format!("a{c}"), format!("a{c}a")]);
    }
    let mut described = Described::read();
    for (name, accepts) in grammars {
        let schema = json!({"$ref": format!("#/components/schemas/{name}")});
        for text in &texts {
            let expected = if accepts(text) { schema.clone() } else { json!({"not": schema}) };
            described.cases.push(json!({"what": format!("{name} {text:?}"), "schema": expected, "value": text}));
        }
    }
    described.validate();
}

#[test]
fn undescribed_method_is_405_with_described_allow() {
    let site = Site::open();
    site.add("web01");
    site.ask("POST", "/v1/nodes/web01/certificate", None, &[]).expect(201);
    let mut described = Described::read();
    let operations = described.operations();
    let paths: BTreeSet<_> = ROUTES.iter().map(|route| route.path).collect();
    for template in paths {
        let path = template.replace("{name}", "web01");
        let of_path: Vec<_> = operations.iter().filter(|(path, ..)| *path == template).collect();
        let any = of_path[0].2["operationId"].as_str().unwrap();
        for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "OPTIONS", "QUERY", "DELETE"] {
            let has = of_path.iter().any(|(_, name, _)| name == method || (name == "GET" && method == "HEAD"));
            let answer = site.ask(method, &path, Some("{}").filter(|_| matches!(method, "POST" | "PATCH")), &[]);
            if has {
                assert!(answer.status != 404 && answer.status != 405, "{method} {path}: {answer:?}");
            } else if method == "HEAD" {
                assert_eq!((answer.expect(405).body.as_str(), answer.header("allow")), ("", "POST"));
            } else {
                described.saw(any, answer.expect(405));
            }
        }
        if path == "/v1/nodes/web01" {
            site.add("web01");
            site.ask("POST", "/v1/nodes/web01/certificate", None, &[]).expect(201);
        }
    }
    described.validate();
}

fn path_of(id: &str, name: &str) -> (String, String) {
    let found = Described::read().operations().into_iter().find(|(_, _, operation)| operation["operationId"] == id);
    let (path, method, _) = found.unwrap();
    (method, path.replace("{name}", name))
}

/// Asks an operation about the node web01.
fn ask(site: &Site, id: &str, headers: &[&str]) -> Answer {
    let (method, path) = path_of(id, "web01");
    let body = match id {
        "addNode" => Some(r#"{"name":"new01","classes":["ntp"]}"#),
        "changeNode" => Some(r#"{"parameters":{"role":"db"}}"#),
        _ => None,
    };
    site.ask(&method, &path, body, headers)
}

const WITHOUT_NODE: [&str; 4] = ["listClasses", "listGroups", "health", "describe"];

fn see_successes(site: &Site, described: &mut Described) {
    for id in WITHOUT_NODE {
        let answer = ask(site, id, &[]);
        described.saw(id, answer.expect(200));
        let etag = format!("If-None-Match: {}", answer.header("etag"));
        if etag.len() > 20 {
            described.saw(id, ask(site, id, &[&etag]).expect(304));
        }
    }
    described.saw("addNode", &site.add("web01"));
    for (id, status) in [
        ("showNode", 200),
        ("changeNode", 200),
        ("generateCertificate", 201),
        ("generateCertificate", 200),
        ("showCertificate", 200),
        ("revokeCertificate", 204),
        ("revokeCertificate", 204),
        ("deleteNode", 204),
    ] {
        described.saw(id, ask(site, id, &[]).expect(status));
    }
}

fn see_refusals(site: &Site, described: &mut Described, ids: &[String]) {
    for id in ids.iter().filter(|id| *id != "health") {
        described.saw(id, ask(site, id, &["X-ESPM-PSK: wrong"]).expect(401));
    }
    for id in ["showNode", "changeNode", "deleteNode", "generateCertificate", "showCertificate", "revokeCertificate"] {
        described.saw(id, ask(site, id, &[]).expect(404));
    }
    let add = |body: &str, headers: &[&str]| site.ask("POST", "/v1/nodes", Some(body), headers);
    let change = |body: &str, headers: &[&str]| site.ask("PATCH", "/v1/nodes/web01", Some(body), headers);
    site.add("web01");
    described.saw("addNode", add(r#"{"name":"web01"}"#, &[]).expect(409));
    for (id, ask) in [("addNode", &add as &dyn Fn(&str, &[&str]) -> Answer), ("changeNode", &change)] {
        described.saw(id, ask("{", &[]).expect(400));
        described.saw(id, ask("{}", &["Content-Type: text/plain"]).expect(415));
        described.saw(id, ask(r#"{"classes":["nothing"],"x":1}"#, &[]).expect(422));
        described.saw(id, ask("[]", &[]).expect(422));
        described.saw(id, ask(&format!("\"{}\"", "x".repeat(66_000)), &[]).expect(413));
    }
    described.saw("addNode", add(r#"{"name":"key01"}"#, &["Idempotency-Key: k"]).expect(201));
    described.saw("addNode", add(r#"{"name":"key01"}"#, &["Idempotency-Key: k"]).expect(201));
    described.saw("addNode", add(r#"{"name":"key02"}"#, &["Idempotency-Key: k"]).expect(422));
    described.saw("addNode", add(r#"{"name":"key02"}"#, &["Idempotency-Key: a b"]).expect(400));

    site.puppet(&["cert", "generate", "web01"]);
    described.saw("generateCertificate", ask(site, "generateCertificate", &[]).expect(409));
    site.add("web02");
    site.ask("POST", "/v1/nodes/web02/certificate", None, &[]).expect(201);
    std::fs::remove_file(site.dir.join("ca/ssl/private_keys/web02.pem")).unwrap();
    let gone = site.ask("POST", "/v1/nodes/web02/certificate", None, &[]);
    described.saw("generateCertificate", gone.expect(409));
    let body = |body: &str, headers: &[&str]| site.ask("POST", "/v1/nodes/web02/certificate", Some(body), headers);
    described.saw("generateCertificate", body("{", &[]).expect(400));
    described.saw("generateCertificate", body("{}", &["Content-Type: text/plain"]).expect(415));
    described.saw("generateCertificate", body(r#"{"x":1}"#, &[]).expect(422));
    let role = r#"{"extensions":{"pp_role":"web"}}"#;
    described.saw("generateCertificate", body(role, &[]).expect(403));
    site.configure("client cloud", "extensions = pp_role=web");
    described.saw("generateCertificate", body(role, &[]).expect(409));
    site.delete("/v1/nodes/web02/certificate").expect(204);
    described.saw("generateCertificate", body(role, &[]).expect(201));
    described.saw("generateCertificate", body(role, &[]).expect(200));
    described.saw("generateCertificate", body("{}", &[]).expect(409));
    described.saw("generateCertificate", body(&format!("\"{}\"", "x".repeat(66_000)), &[]).expect(413));
    see_replaced(site, described);
}

/// Refusals of clients that may not do everything.
fn see_rights(site: &Site, described: &mut Described) {
    let key_of = |words: &[&str]| format!("X-ESPM-PSK: {}", site.add_client(words));
    let (lists, nodes) = (key_of(&["lists", "--may", "list"]), key_of(&["nodes", "--may", "nodes"]));
    for route in ROUTES.iter().filter(|route| route.right.is_some()) {
        let key = if route.id.starts_with("list") { &nodes } else { &lists };
        described.saw(route.id, ask(site, route.id, &[key]).expect(403));
    }
    for words in [["names", "--classes", "apache"], ["full", "--most", "0"]] {
        described.saw("addNode", ask(site, "addNode", &[&key_of(&words)]).expect(403));
    }
}

/// A certificate that was replaced at a CA which cannot revoke by serial number.
fn see_replaced(site: &Site, described: &mut Described) {
    let ini = std::fs::read_to_string(site.ini()).unwrap();
    let command = ini.lines().find(|line| line.starts_with("command") && line.contains("/authority/puppet ")).unwrap();
    site.configure("authority", &command.replace(" --root", " --flavour 2.7.12 --root"));
    site.add("web03");
    let made = site.ask("POST", "/v1/nodes/web03/certificate", None, &[]);
    let serial = crate::harness::certificates::serial(made.expect(201));
    site.puppet(&["human", "duplicate", "web03"]);
    described.saw("generateCertificate", site.ask("POST", "/v1/nodes/web03/certificate", None, &[]).expect(409));
    described.saw("revokeCertificate", site.delete("/v1/nodes/web03/certificate").expect(409));
    described.saw("deleteNode", site.delete("/v1/nodes/web03").expect(409));
    site.configure("authority", command);
    site.puppet(&["cert", "revoke", &format!("0x{serial}")]);
    site.delete("/v1/nodes/web03").expect(204);
}

/// Failures of what espm works with. Afterwards only the last of them is still there.
fn see_failures(site: &Site, described: &mut Described, ids: &[String]) {
    let asks_commands = |id: &&String| !["health", "describe", "showNode"].contains(&id.as_str());
    site.configure("console", "cache = 0");
    // A node with a certificate, so that each operation comes to its command.
    site.delete("/v1/nodes/web01").expect(204);
    site.puppet(&["cert", "clean", "web01"]);
    site.add("web01");
    ask(site, "generateCertificate", &[]).expect(201);

    for double in ["console", "ca"] {
        site.fault(double, "exit", "1");
    }
    std::fs::rename(site.dir.join("records"), site.dir.join("records.away")).unwrap();
    for id in ids.iter().filter(asks_commands) {
        described.saw(id, ask(site, id, &[]).expect(502));
    }
    std::fs::rename(site.dir.join("records.away"), site.dir.join("records")).unwrap();
    site.no_faults("console");
    site.no_faults("ca");

    site.configure("console", "timeout = 1");
    site.fault("console", "hang", "");
    for id in ["listClasses", "addNode"] {
        described.saw(id, ask(site, id, &[]).expect(504));
    }
    site.no_faults("console");
    site.configure("console", "timeout = 120");

    site.configure("console", "queue = 0");
    site.configure("console", "concurrency = 1");
    let slot = std::fs::File::create(site.dir.join("state/locks/console.0")).unwrap();
    slot.lock().unwrap();
    for id in ["listGroups", "addNode"] {
        described.saw(id, ask(site, id, &[]).expect(503));
    }
    drop(slot);

    let ledger = site.dir.join("state/ledger.sqlite");
    std::fs::rename(&ledger, ledger.with_extension("away")).unwrap();
    for id in ids.iter().filter(|id| !WITHOUT_NODE.contains(&id.as_str())) {
        described.saw(id, ask(site, id, &[]).expect(503));
    }
    std::fs::rename(ledger.with_extension("away"), &ledger).unwrap();

    site.configure("console", "unknown = 1");
    for id in ids {
        described.saw(id, ask(site, id, &[]).expect(500));
    }
}

#[test]
fn real_answers_match_description() {
    let site = Site::with(Plan { ini: vec![("authority", "timeout = 60")], ..Plan::default() });
    let mut described = Described::read();
    let ids: Vec<String> = described
        .operations()
        .iter()
        .map(|(_, _, operation)| operation["operationId"].as_str().unwrap().to_owned())
        .collect();
    see_successes(&site, &mut described);
    see_refusals(&site, &mut described, &ids);
    see_rights(&site, &mut described);
    see_failures(&site, &mut described, &ids);
    described.validate();

    for (_, _, operation) in described.operations() {
        let id = operation["operationId"].as_str().unwrap();
        for status in operation["responses"].as_object().unwrap().keys().map(|status| status.parse::<u16>().unwrap()) {
            let seen = described.seen.contains(&(id.to_owned(), status));
            assert!(seen || status >= 400, "{id} {status} is described and was not seen");
        }
    }
    // The web server's own 429, a request without TLS and a 405 have tests of their own.
    let elsewhere = ["rate-limited", "tls-required", "method-not-allowed"];
    let known = Problem::ALL.iter().map(|problem| problem.word()).filter(|word| !elsewhere.contains(word));
    assert_eq!(described.problems, known.map(str::to_owned).collect());
}

#[test]
fn request_without_tls_is_403_as_described() {
    let site = Site::prepare(&Plan::default());
    let mut described = Described::read();
    for (id, path) in [("health", "/v1/health"), ("listClasses", "/v1/classes")] {
        let output = Command::new(site.bin("espm"))
            .env_clear()
            .envs([("GATEWAY_INTERFACE", "CGI/1.1"), ("REQUEST_METHOD", "GET"), ("REQUEST_URI", path)])
            .envs([("ESPM_CONFIG", site.ini().display().to_string()), ("HTTP_X_ESPM_PSK", site.psk.clone())])
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let answer = Answer::from_cgi(&String::from_utf8(output.stdout).unwrap());
        described.saw(id, answer.expect(403));
    }
    described.validate();
}
