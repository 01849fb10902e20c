//! The answer to a request (RFC 9110, RFC 9457), made from an outcome or a fault.

use std::fmt::Write as _;

use serde::Serialize;

use crate::model::fault::Fault;

use crate::model::request_id::RequestId;
use crate::service::outcome::Outcome;

/// The OpenAPI 3.1 description, which tests compare with the routes.
pub const OPENAPI: &str = include_str!("openapi.json");

/// An answer, ready to be sent.
#[derive(Debug)]
pub struct Reply {
    pub(crate) status: u16,
    fields: Vec<(&'static str, String)>,
    body: Vec<u8>,
}

/// Renders a result; for `HEAD` without the body.
pub fn render(result: &Result<Outcome, Fault>, id: Option<&RequestId>, head: bool) -> Reply {
    let mut reply = match result {
        Ok(outcome) => success(outcome),
        Err(fault) => failure(fault, id),
    };
    if let Some(id) = id {
        reply.fields.push(("X-Request-Id", id.to_string()));
    }
    if !matches!(result, Ok(Outcome::Description)) {
        reply.fields.push(("Cache-Control", "no-store".to_owned()));
    }
    if head {
        reply.body.clear();
    }
    reply
}

fn json(status: u16, value: &impl Serialize) -> Reply {
    let body = serde_json::to_vec(value).unwrap_or_default();
    Reply { status, fields: vec![("Content-Type", "application/json".to_owned())], body }
}

fn success(outcome: &Outcome) -> Reply {
    let status = outcome.status();
    match outcome {
        Outcome::Healthy => json(status, &serde_json::json!({"status": "ok"})),
        Outcome::Description => Reply {
            status,
            fields: vec![("Content-Type", "application/json".to_owned())],
            body: OPENAPI.as_bytes().to_vec(),
        },
        Outcome::Names { etag, body } => Reply {
            status,
            fields: vec![("Content-Type", "application/json".to_owned()), ("ETag", etag.clone())],
            body: body.clone(),
        },
        Outcome::NotModified { etag } => Reply { status, fields: vec![("ETag", etag.clone())], body: Vec::new() },
        Outcome::Node(node) => json(status, node),
        Outcome::NodeCreated(node) => {
            let mut reply = json(status, node);
            reply.fields.push(("Location", format!("/v1/nodes/{}", node.name)));
            reply
        }
        Outcome::Gone => Reply { status, fields: Vec::new(), body: Vec::new() },
        Outcome::Certificate(certificate) | Outcome::CertificateCreated(certificate) => json(status, certificate),
    }
}

fn failure(fault: &Fault, id: Option<&RequestId>) -> Reply {
    let problem = fault.problem;
    let mut reply = json(problem.status(), &fault.public());
    reply.fields = vec![("Content-Type", "application/problem+json".to_owned())];
    if problem.status() == 401 {
        reply.fields.push(("WWW-Authenticate", "ESPM-PSK".to_owned()));
    }
    if let Some(allow) = &fault.allow {
        reply.fields.push(("Allow", allow.clone()));
    }
    if let Some(average) = problem.retry_after() {
        // Clients that are refused together must not come back together.
        let seconds = id.map_or(average, |id| 1 + id.below(2 * average - 1));
        reply.fields.push(("Retry-After", seconds.to_string()));
    }
    reply
}

impl Reply {
    /// Formats the answer as a CGI program writes it.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut head = format!("Status: {} {}\r\n", self.status, reason(self.status));
        for (name, value) in &self.fields {
            let _ = write!(head, "{name}: {value}\r\n");
        }
        head.push_str("\r\n");
        let mut bytes = head.into_bytes();
        bytes.extend_from_slice(&self.body);
        bytes
    }
}

/// The reason phrase of a status that espm uses (RFC 9110, section 15).
fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        201 => "Created",
        204 => "No Content",
        304 => "Not Modified",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        409 => "Conflict",
        413 => "Content Too Large",
        415 => "Unsupported Media Type",
        422 => "Unprocessable Content",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        _ => "Internal Server Error",
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::render;
    use crate::model::fault::{Fault, FieldError};
    use crate::model::problem::Problem;
    use crate::model::request_id::RequestId;
    use crate::service::outcome::Outcome;

    fn text(result: Result<Outcome, Fault>, head: bool) -> String {
        let id = RequestId::random().unwrap();
        String::from_utf8(render(&result, Some(&id), head).to_bytes()).unwrap()
    }

    #[test]
    fn problem_has_its_members_and_fields() {
        let answer = text(Err(Fault::invalid(vec![FieldError::new("name", "missing")])), false);
        assert!(answer.starts_with("Status: 422 Unprocessable Content\r\n"), "{answer}");
        assert!(answer.contains("Content-Type: application/problem+json\r\n"));
        assert!(answer.contains("Cache-Control: no-store\r\n") && answer.contains("X-Request-Id: "));
        assert!(answer.contains(r#""type":"urn:espm:problem:invalid""#));
        assert!(answer.contains(r#""errors":[{"field":"name","detail":"missing"}]"#));
    }

    #[test]
    fn statuses_bring_the_fields_that_belong_to_them() {
        let fault = |problem| text(Err(Fault::new(problem, "x")), false);
        assert!(fault(Problem::Unauthorized).contains("WWW-Authenticate: ESPM-PSK\r\n"));
        let waits: BTreeSet<u32> = (0..200)
            .map(|_| fault(Problem::Busy))
            .map(|answer| answer.split_once("Retry-After: ").unwrap().1.split("\r\n").next().unwrap().parse().unwrap())
            .collect();
        assert!(waits.len() > 5 && waits.iter().all(|wait| (1..=9).contains(wait)), "{waits:?}");
        assert!(!fault(Problem::NameTaken).contains("Retry-After"));
        assert!(!text(Ok(Outcome::Description), true).contains("no-store"));
    }

    #[test]
    fn head_has_the_fields_of_get_without_the_body() {
        let outcome = || Ok(Outcome::Names { etag: "W/\"1\"".into(), body: b"{}".to_vec() });
        assert!(text(outcome(), false).ends_with("\r\n\r\n{}"));
        assert!(text(outcome(), true).ends_with("\r\n\r\n"));
        assert!(text(outcome(), true).contains("ETag: W/\"1\"\r\n"));
    }
}
