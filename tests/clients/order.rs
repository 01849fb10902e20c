//! The order of judgement, and each right by itself.

use super::site::{HUMANS, Site, request};
use crate::http::request::Request;

/// The first client's rights; the second may everything.
const RIGHTS: &str =
    "nodes = web*, foreign*\ngroups = default\nclasses = ntp*, apache\nextensions = pp_role=a*, pp_zone=*\nmost = 1\n";

fn open(name: &str, rights: &str) -> Site {
    let site = Site::open(name, &[rights.to_owned(), String::new()]);
    assert_eq!(
        judged(&site, request("b", "POST", "/v1/nodes", r#"{"name":"web02","classes":["ntp","mysql"]}"#)),
        "201 "
    );
    site
}

/// The status of an answer, the word of its problem, and the fields of its errors.
fn judged(site: &Site, request: Request) -> String {
    let answer = site.send(request);
    let status = answer.strip_prefix("Status: ").unwrap()[..3].to_owned();
    let problem: serde_json::Value = serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap_or_default();
    let word = problem["type"].as_str().unwrap_or_default().rsplit(':').next().unwrap().to_owned();
    let fields = problem["errors"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|error| format!(" {}", error["field"].as_str().unwrap()));
    format!("{status} {word}{}", fields.collect::<String>())
}

fn post(body: &str) -> Request {
    request("a", "POST", "/v1/nodes", body)
}

fn patch(name: &str, body: &str) -> Request {
    request("a", "PATCH", &format!("/v1/nodes/{name}"), body)
}

fn certificate(body: &str) -> Request {
    request("a", "POST", "/v1/nodes/web01/certificate", body)
}

fn of_type(media_type: &str, request: Request) -> Request {
    Request { content_type: Some(media_type.to_owned()), ..request }
}

/// Each request has the faults of two neighbours in the order; the first is answered.
#[test]
fn faults_are_judged_in_order() {
    let site = open("order", RIGHTS);
    assert_eq!(judged(&site, post(r#"{"name":"web01","classes":["ntp"]}"#)), "201 ");
    for (what, asked, answer) in [
        ("key, path", request("c", "GET", "/v1/nothing", ""), "401 unauthorized"),
        ("path, method", request("a", "PUT", "/v1/nothing", ""), "404 not-found"),
        ("ownership, media type", of_type("text/plain", patch("web02", "{}")), "404 not-found"),
        ("media type, JSON", of_type("text/plain", patch("web01", "{")), "415 unsupported-media-type"),
        ("JSON, shape", patch("web01", r#"{"x":1"#), "400 bad-json"),
        // A name that may not be assigned is not looked up.
        ("shape, rights", patch("web01", r#"{"classes":["none","ntpd"],"x":1}"#), "422 invalid x classes[1]"),
        ("shape, rights", post(r#"{"name":"Web","classes":["mysql"]}"#), "422 invalid name"),
        ("rights, unknown names", post(r#"{"name":"web03","classes":["mysql","ntpd"]}"#), "403 forbidden classes[0]"),
        ("JSON, shape", certificate(r#"{"extensions":{"pp_role":"b"}"#), "400 bad-json"),
        ("shape, rights", certificate(r#"{"extensions":{"pp_role":"b"},"x":1}"#), "422 invalid x"),
        ("rights", certificate(r#"{"extensions":{"pp_role":"b","pp_zone":"a"}}"#), "403 forbidden extensions.pp_role"),
        ("unknown names, quota", post(r#"{"name":"web03","classes":["ntpd"]}"#), "422 invalid classes[0]"),
        ("quota, taken by itself", post(r#"{"name":"web01"}"#), "403 quota"),
        ("quota, taken by another", post(r#"{"name":"web02"}"#), "403 quota"),
        ("quota, taken by a human", post(&format!(r#"{{"name":"{HUMANS}"}}"#)), "403 quota"),
    ] {
        assert_eq!(judged(&site, asked), answer, "{what}");
    }
    let site = open("order-may", "may = certificates\n");
    for (what, asked, answer) in [
        ("method, operation", request("a", "PUT", "/v1/classes", ""), "405 method-not-allowed"),
        ("operation, ownership", request("a", "GET", "/v1/nodes/web02", ""), "403 forbidden"),
        ("operation, ownership", request("a", "GET", "/v1/nodes/master.example.com", ""), "403 forbidden"),
        ("operation, media type", of_type("text/plain", post("{}")), "403 forbidden"),
        (
            "ownership, media type",
            of_type("x", request("a", "POST", "/v1/nodes/web02/certificate", "{")),
            "404 not-found",
        ),
    ] {
        assert_eq!(judged(&site, asked), answer, "{what}");
    }
}

#[test]
fn each_right_is_judged_by_itself() {
    let whole =
        r#"{"name":"db01","groups":["default","databases"],"classes":["ntp","mysql"],"environment":"production"}"#;
    for (rights, answer) in [
        ("nodes = web*\n", "403 forbidden name"),
        ("groups = default\n", "403 forbidden groups[1]"),
        ("classes = mysql\n", "403 forbidden classes[0]"),
        ("environments = s*\n", "403 forbidden environment"),
        ("most = 0\n", "403 quota"),
        ("may = list, certificates\n", "403 forbidden"),
        ("nodes = *1\ngroups = d*\nclasses = ntp, my*\nenvironments = pro*\nmost = 1\nmay = nodes\n", "201 "),
    ] {
        assert_eq!(judged(&open("right", rights), post(whole)), answer, "{rights}");
    }
    let site = open("right-list", "groups = data*\nclasses = ntp, a*\n");
    let list = |list: &str| site.send(request("a", "GET", &format!("/v1/{list}"), ""));
    assert!(list("groups").contains(r#""groups":["databases"]"#), "{}", list("groups"));
    assert!(list("classes").contains(r#""classes":["apache","ntp"]"#), "{}", list("classes"));
}

#[test]
fn twin_is_named_only_to_a_client_that_may_see_it() {
    let twin = |rights: &str| open("twin", rights).send(post(r#"{"name":"web01","classes":["db"]}"#));
    assert!(twin("classes = *\n").contains(r#"\"db\" and \"Db\" may be one name"#), "{}", twin("classes = *\n"));
    assert!(twin("classes = d*\n").contains(r#"\"db\" and another may be one name"#), "{}", twin("classes = d*\n"));
}

/// The other client's intent was recorded after this request had looked whose the name is.
#[test]
fn unfinished_change_of_another_is_not_settled() {
    let site = open("unfinished", "");
    site.begin_to_delete("web02");
    assert_eq!(site.settles("web02", 0), None);
    assert_eq!(site.settles("web02", 1), Some("unproven"));
}

#[test]
fn what_node_has_already_is_not_judged_again() {
    let site = open("kept", "groups = default\nclasses = ntp*, apache\n");
    let of_b = |method: &str, path: &str, body: &str| judged(&site, request("b", method, path, body));
    assert_eq!(of_b("PATCH", "/v1/nodes/web02", r#"{"groups":["databases"]}"#), "200 ");
    site.assign("web02", "a");
    assert_eq!(judged(&site, patch("web02", r#"{"classes":["mysql","apache"]}"#)), "200 ");
    assert_eq!(judged(&site, patch("web02", r#"{"groups":["default","databases"]}"#)), "200 ");
    assert_eq!(judged(&site, patch("web02", r#"{"groups":[],"classes":["ntp"]}"#)), "200 ");
    assert_eq!(
        judged(&site, patch("web02", r#"{"groups":["databases"],"classes":["mysql"]}"#)),
        "403 forbidden groups[0] classes[0]"
    );
    assert_eq!(judged(&site, request("a", "DELETE", "/v1/nodes/web02", "")), "204 ");
}

#[test]
fn environment_is_judged_and_errors_name_no_other() {
    let site = open("environment", "environments = prod*\n");
    for (body, answer) in [
        (r#""environment":"staging""#, "403 forbidden environment"),
        // Whether the catalogue has it is not told, even beside another error.
        (r#""environment":"none""#, "403 forbidden environment"),
        (r#""environment":"staging","x":1"#, "422 invalid x"),
        (r#""environment":"none","x":1"#, "422 invalid x"),
        (r#""environment":"prod""#, "422 invalid environment"),
        (r#""environment":"production""#, "201 "),
    ] {
        assert_eq!(judged(&site, post(&format!(r#"{{"name":"web03",{body}}}"#))), answer, "{body}");
    }
    let listed = site.send(patch("web03", r#"{"environment":"prod"}"#));
    assert!(listed.contains("which has production\"") && !listed.contains("staging"), "{listed}");

    let of_b = |body: &str| judged(&site, request("b", "PATCH", "/v1/nodes/web02", body));
    assert_eq!(of_b(r#"{"environment":"staging"}"#), "200 ");
    site.assign("web02", "a");
    let change = |environment: &str| judged(&site, patch("web02", &format!(r#"{{"environment":{environment}}}"#)));
    assert_eq!(change(r#""staging""#), "200 ");
    assert_eq!(change("null"), "200 ");
    assert_eq!(change(r#""staging""#), "403 forbidden environment");
}

#[test]
fn parameters_of_a_class_are_judged_as_the_class() {
    let site = open("class-parameters", "classes = ntp, n*\n");
    for (body, answer) in [
        (r#"{"mysql":{"port":1}}"#, "403 forbidden class_parameters.mysql"),
        (r#"{"squid":{"port":1}}"#, "403 forbidden class_parameters.squid"),
        (r#"{"mysql":{"port":1}},"x":1"#, "422 invalid x"),
        (r#"{"squid":{"port":1}},"x":1"#, "422 invalid x"),
        (r#"{"nothing":{"port":1}}"#, "422 invalid class_parameters.nothing"),
        (r#"{"ntp":{"port":1}}"#, "422 invalid class_parameters.ntp.port"),
        (r#"{"ntp":{"panic":1}}"#, "201 "),
    ] {
        let body = format!(r#"{{"name":"web03","classes":["ntp"],"class_parameters":{body}}}"#);
        assert_eq!(judged(&site, post(&body)), answer, "{body}");
    }

    let of_b = |body: &str| judged(&site, request("b", "PATCH", "/v1/nodes/web02", body));
    assert_eq!(of_b(r#"{"class_parameters":{"mysql":{"port":1}}}"#), "200 ");
    site.assign("web02", "a");
    let change =
        |port: &str| judged(&site, patch("web02", &format!(r#"{{"class_parameters":{{"mysql":{{"port":{port}}}}}}}"#)));
    assert_eq!(change("1"), "200 ");
    assert_eq!(change("2"), "403 forbidden class_parameters.mysql");
    assert_eq!(change("null"), "200 ");
    assert_eq!(change("1"), "403 forbidden class_parameters.mysql");
}
