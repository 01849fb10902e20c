//! The routes, which turn an authenticated request into an operation.

use super::auth::Authenticated;
use super::request::{Method, Request};
use crate::model::client::May;
use crate::model::fault::Fault;
use crate::model::name::NodeName;
use crate::model::node::List;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Operation {
    Health,
    Describe,
    ListNames(List),
    AddNode,
    ShowNode(NodeName),
    ChangeNode(NodeName),
    DeleteNode(NodeName),
    GenerateCertificate(NodeName),
    ShowCertificate(NodeName),
    RevokeCertificate(NodeName),
}

impl Operation {
    /// The node that the path names.
    pub(crate) fn node(&self) -> Option<&NodeName> {
        match self {
            Self::Health | Self::Describe | Self::ListNames(_) | Self::AddNode => None,
            Self::ShowNode(name)
            | Self::ChangeNode(name)
            | Self::DeleteNode(name)
            | Self::GenerateCertificate(name)
            | Self::ShowCertificate(name)
            | Self::RevokeCertificate(name) => Some(name),
        }
    }
}

/// The operation of a route, with or without a node's name.
#[derive(Debug)]
enum Make {
    Plain(Operation),
    OfNode(fn(NodeName) -> Operation),
}

/// One method of one path.
#[derive(Debug)]
pub struct Route {
    /// The method; `HEAD` goes with `GET`.
    pub method: &'static str,
    /// The path; `{name}` stands for a node's name.
    pub path: &'static str,
    /// The `operationId` in the OpenAPI description.
    pub id: &'static str,
    /// The audit's event.
    pub event: &'static str,
    /// The right that it needs.
    pub right: Option<May>,
    /// True if it changes the console, the CA or the ledger.
    pub(crate) changes: bool,
    /// False if it is answered without a key.
    pub needs_key: bool,
    make: Make,
}

impl Route {
    const fn new(method: &'static str, path: &'static str, id: &'static str, event: &'static str, make: Make) -> Self {
        Self { method, path, id, event, right: None, changes: false, needs_key: true, make }
    }

    const fn needs(mut self, right: May) -> Self {
        self.right = Some(right);
        self
    }

    const fn changes(mut self) -> Self {
        self.changes = true;
        self
    }

    const fn without_key(mut self) -> Self {
        self.needs_key = false;
        self
    }

    /// Matches a path; the inner option is the name in it.
    fn matches(&self, path: &str) -> Option<Option<NodeName>> {
        let Some((before, rest)) = self.path.split_once('{') else {
            return (path == self.path).then_some(None);
        };
        let (_, after) = rest.split_once('}')?;
        let name = path.strip_prefix(before)?.strip_suffix(after)?;
        NodeName::parse(name).ok().map(Some)
    }

    fn has(&self, method: &Method) -> bool {
        method.as_str() == self.method || (*method == Method::Head && self.method == "GET")
    }

    fn operation(&self, name: Option<NodeName>) -> Option<Operation> {
        match (&self.make, name) {
            (Make::Plain(operation), _) => Some(operation.clone()),
            (Make::OfNode(make), Some(name)) => Some(make(name)),
            (Make::OfNode(_), None) => None,
        }
    }
}

/// All routes; those of one path stand together.
pub const ROUTES: &[Route] = {
    use Make::{OfNode, Plain};
    &[
        Route::new("GET", "/v1/classes", "listClasses", "class.list", Plain(Operation::ListNames(List::Classes)))
            .needs(May::List),
        Route::new("GET", "/v1/groups", "listGroups", "group.list", Plain(Operation::ListNames(List::Groups)))
            .needs(May::List),
        Route::new("POST", "/v1/nodes", "addNode", "node.add", Plain(Operation::AddNode)).needs(May::Nodes).changes(),
        Route::new("GET", "/v1/nodes/{name}", "showNode", "node.show", OfNode(Operation::ShowNode)).needs(May::Nodes),
        Route::new("PATCH", "/v1/nodes/{name}", "changeNode", "node.change", OfNode(Operation::ChangeNode))
            .needs(May::Nodes)
            .changes(),
        Route::new("DELETE", "/v1/nodes/{name}", "deleteNode", "node.delete", OfNode(Operation::DeleteNode))
            .needs(May::Nodes)
            .changes(),
        Route::new(
            "GET",
            "/v1/nodes/{name}/certificate",
            "showCertificate",
            "certificate.show",
            OfNode(Operation::ShowCertificate),
        )
        .needs(May::Certificates),
        Route::new(
            "POST",
            "/v1/nodes/{name}/certificate",
            "generateCertificate",
            "certificate.generate",
            OfNode(Operation::GenerateCertificate),
        )
        .needs(May::Certificates)
        .changes(),
        Route::new(
            "DELETE",
            "/v1/nodes/{name}/certificate",
            "revokeCertificate",
            "certificate.revoke",
            OfNode(Operation::RevokeCertificate),
        )
        .needs(May::Certificates)
        .changes(),
        Route::new("GET", "/v1/health", "health", "health.show", Plain(Operation::Health)).without_key(),
        Route::new("GET", "/v1/openapi.json", "describe", "openapi.show", Plain(Operation::Describe)),
    ]
};

pub(crate) fn needs_no_key(request: &Request) -> bool {
    let is = |route: &&Route| !route.needs_key && route.has(&request.method) && route.matches(&request.path).is_some();
    ROUTES.iter().any(|route| is(&route))
}

/// Finds a request's operation; 404 for an unknown path, 405 for another method.
pub(crate) fn route(authenticated: &Authenticated) -> Result<(&'static Route, Operation), Fault> {
    let request = authenticated.request();
    let of_path: Vec<_> =
        ROUTES.iter().filter_map(|route| route.matches(&request.path).map(|name| (route, name))).collect();
    if of_path.is_empty() {
        return Err(Fault::not_found());
    }
    let found = of_path.iter().find(|(route, _)| route.has(&request.method));
    let Some((route, name)) = found else {
        let allow = of_path.iter().map(|(route, _)| if route.method == "GET" { "GET, HEAD" } else { route.method });
        return Err(Fault::method_not_allowed(&allow.collect::<Vec<_>>().join(", ")));
    };
    let operation = route.operation(name.clone()).ok_or_else(Fault::not_found)?;
    Ok((route, operation))
}

#[cfg(test)]
mod tests {
    use super::{Operation, ROUTES, route};
    use crate::http::auth::{authenticate, clients};
    use crate::http::request::{Body, Method, Request};
    use crate::model::fault::Fault;
    use crate::model::psk::Psk;

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
        route(&authenticate(request, &clients(&[("c", &["k"])])).unwrap()).map(|(_, operation)| operation)
    }

    #[test]
    fn every_route_is_found_by_its_method_and_no_other() {
        for found in ROUTES {
            let path = found.path.replace("{name}", "web01");
            let of_path: Vec<_> = ROUTES.iter().filter(|route| route.path == found.path).collect();
            for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "get"] {
                let has =
                    of_path.iter().any(|route| route.method == method || (method == "HEAD" && route.method == "GET"));
                match ask(method, &path) {
                    Ok(_) => assert!(has, "{method} {path}"),
                    Err(fault) => {
                        assert!(!has && fault.problem.status() == 405, "{method} {path}");
                        let allow = fault.allow.unwrap();
                        assert!(of_path.iter().all(|route| allow.contains(route.method)), "{method} {path}: {allow}");
                    }
                }
            }
        }
    }

    #[test]
    fn path_that_is_not_exactly_ours_is_not_found() {
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
