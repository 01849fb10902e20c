//! From an admitted request to an operation: path, then method.

use crate::http::auth::Admitted;
use crate::http::request::{Method, Request};
use crate::model::fault::Fault;
use crate::model::name::NodeName;
use crate::model::node::List;
use crate::service::operation::{Conditions, Operation, Unread};

/// The path that needs no key.
pub const HEALTH: &str = "/v1/health";

/// A path, with the methods that it has and what each of them does.
type Row = (&'static [&'static str], &'static [(&'static str, &'static str)]);

/// Every path that there is, and its methods; `{name}` stands for a node's name. `HEAD` goes with `GET`.
pub const TABLE: &[Row] = &[
    (&["classes"], &[("GET", "listClasses")]),
    (&["groups"], &[("GET", "listGroups")]),
    (&["nodes"], &[("POST", "addNode")]),
    (&["nodes", "{name}"], &[("GET", "showNode"), ("PATCH", "changeNode"), ("DELETE", "deleteNode")]),
    (
        &["nodes", "{name}", "certificate"],
        &[("POST", "generateCertificate"), ("GET", "showCertificate"), ("DELETE", "revokeCertificate")],
    ),
    (&["health"], &[("GET", "health")]),
    (&["openapi.json"], &[("GET", "describe")]),
];

/// Finds out what an admitted request asks.
///
/// # Errors
/// 404 for a path that is not known, 405 for a method that the path does not have.
pub fn route(admitted: Admitted) -> Result<Operation, Fault> {
    let request = admitted.into_request();
    let path = request.path.strip_prefix("/v1/").ok_or_else(Fault::not_found)?.to_owned();
    let segments: Vec<&str> = path.split('/').collect();
    let known = match segments.as_slice() {
        ["classes" | "groups" | "nodes" | "health" | "openapi.json"] => true,
        ["nodes", name] | ["nodes", name, "certificate"] => NodeName::parse(name).is_ok(),
        _ => false,
    };
    if !known {
        return Err(Fault::not_found());
    }
    let name = || segments.get(1).and_then(|name| NodeName::parse(name).ok()).ok_or_else(Fault::not_found);
    let read = matches!(request.method, Method::Get | Method::Head);
    Ok(match (segments.as_slice(), &request.method) {
        (["classes"], _) if read => Operation::ListNames(List::Classes, conditions(request)),
        (["groups"], _) if read => Operation::ListNames(List::Groups, conditions(request)),
        (["openapi.json"], _) if read => Operation::Describe,
        (["nodes"], Method::Post) => {
            let key = request.idempotency_key.clone();
            Operation::AddNode(unread(request), key)
        }
        (["nodes", _], _) if read => Operation::ShowNode(name()?),
        (["nodes", _], Method::Patch) => Operation::ChangeNode(name()?, unread(request)),
        (["nodes", _], Method::Delete) => Operation::DeleteNode(name()?),
        (["nodes", _, _], Method::Post) => Operation::GenerateCertificate(name()?),
        (["nodes", _, _], _) if read => Operation::ShowCertificate(name()?),
        (["nodes", _, _], Method::Delete) => Operation::RevokeCertificate(name()?),
        (segments, _) => {
            let allow = match segments {
                ["nodes"] => "POST",
                ["nodes", _] => "GET, HEAD, PATCH, DELETE",
                ["nodes", ..] => "GET, HEAD, POST, DELETE",
                _ => "GET, HEAD",
            };
            return Err(Fault::method_not_allowed(allow));
        }
    })
}

fn conditions(request: Request) -> Conditions {
    Conditions { fresh: request.no_cache, if_none_match: request.if_none_match }
}

fn unread(request: Request) -> Unread {
    Unread { content_type: request.content_type, body: request.body }
}

#[cfg(test)]
mod tests {
    use super::{TABLE, route};
    use crate::config::Client;
    use crate::http::auth::admit;
    use crate::http::request::{Method, Request};
    use crate::model::fault::Fault;
    use crate::model::psk::Psk;
    use crate::service::operation::Body;
    use crate::service::operation::Operation;

    fn ask(method: &str, path: &str) -> Result<Operation, Fault> {
        let request = Request {
            method: Method::parse(method),
            path: path.into(),
            addr: "-".into(),
            https: true,
            psk: Some(Psk::new("k".into())),
            content_type: None,
            if_none_match: None,
            no_cache: false,
            idempotency_key: None,
            body: Body::Whole(vec![]),
        };
        let clients = [Client { name: "c".into(), digest: Psk::new("k".into()).digest() }];
        route(admit(request, &clients).unwrap())
    }

    #[test]
    fn every_row_of_the_table_is_routed_and_no_other_method_is() {
        for (segments, methods) in TABLE {
            let path = format!("/v1/{}", segments.join("/")).replace("{name}", "web01");
            if path == "/v1/health" {
                continue;
            }
            for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "get"] {
                let has = methods.iter().any(|(name, _)| *name == method || (method == "HEAD" && *name == "GET"));
                match ask(method, &path) {
                    Ok(_) => assert!(has, "{method} {path}"),
                    Err(fault) => {
                        assert!(!has && fault.problem.status() == 405, "{method} {path}");
                        assert!(methods.iter().all(|(name, _)| fault.allow.unwrap().contains(name)), "{method} {path}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_path_that_is_not_exactly_ours_is_not_found() {
        for path in [
            "/",
            "/v1",
            "/v1/",
            "/v1/classes/",
            "//v1/classes",
            "/v1//classes",
            "/v2/classes",
            "/v1/nodes/",
            "/v1/nodes/a/",
            "/v1/nodes/a/certificate/",
            "/v1/nodes/a/certificate/x",
            "/v1/nodes/A",
            "/v1/nodes/..",
            "/v1/nodes/%61",
            "/v1/nodes/%2e%2e%2fca",
            "/v1/nodes/ca",
            "/v1/nodes/0x1f",
            "/v1/nodes/a%00",
            "/v1/nodes/a b",
            "/v1/nodes/--all/certificate",
            "*",
            "v1/classes",
        ] {
            for method in ["GET", "PUT"] {
                assert_eq!(ask(method, path).unwrap_err().problem.status(), 404, "{method} {path}");
            }
        }
    }
}
