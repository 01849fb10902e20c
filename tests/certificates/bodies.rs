//! The body of a request for a certificate.
use serde_json::json;

use super::{CERT, NAME, assert_made, path};
use crate::harness::certificates::valid;

#[test]
fn body_of_certificate_request_is_read_and_judged() {
    let site = CERT.with_node();
    let ask = |body: &str, media_type: &str| {
        site.ask("POST", &path(NAME), Some(body), &[&format!("Content-Type: {media_type}")])
    };
    let json_type = "application/json";
    for (body, media_type, status, problem) in [
        (&*"x".repeat(70_000), json_type, 413, "too-large"),
        ("{}", "text/plain", 415, "unsupported-media-type"),
        ("{", json_type, 400, "bad-json"),
        ("[]", json_type, 422, "invalid"),
        (r#"{"extension":{"pp_role":"web"}}"#, json_type, 422, "invalid"),
    ] {
        assert_eq!(ask(body, media_type).expect(status).problem(), problem, "{body:.20}");
    }
    let named = ask(r#"{"a":1,"b":2}"#, json_type).expect(422).json();
    assert_eq!(
        named["errors"],
        json!([
            {"field": "a", "detail": "is not known; extensions and csr are"},
            {"field": "b", "detail": "is not known; extensions and csr are"}
        ])
    );
    assert!(valid(&site).is_empty() && site.runs("ca").is_empty());
    // Whose the node is comes first.
    site.ask("POST", &path("absent.example.com"), Some("{"), &["Content-Type: application/json"]).expect(404);
    assert_made(&site, ask("{}", json_type).expect(201));
}
