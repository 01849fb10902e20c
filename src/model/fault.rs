//! A failure, with two texts: one for the client and one for the log.

use std::borrow::Cow;
use std::error::Error;

use serde::Serialize;

use crate::system::text::chain;

/// The declaration of a problem.
struct Row {
    status: u16,
    word: &'static str,
    title: &'static str,
    retry_after: Option<u32>,
    meaning: &'static str,
    client: &'static str,
    operator: &'static str,
}

/// Declares the problems. A row is `/// MEANING`, then `NAME = STATUS, WORD, TITLE, AVERAGE OF Retry-After;` and the
/// advice for the client and for the operator.
macro_rules! problems {
    ($(#[doc = $meaning:literal] $name:ident = $status:literal, $word:literal, $title:literal, $retry_after:expr; $client:literal, $operator:literal)*) => {
        /// The kinds of failure, each a stable problem type (RFC 9457).
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Problem {
            $(#[doc = $meaning] $name,)*
        }

        impl Problem {
            /// All kinds.
            pub const ALL: [Self; [$($status),*].len()] = [$(Self::$name),*];

            const fn row(self) -> Row {
                match self {
                    $(Self::$name => Row {
                        status: $status,
                        word: $word,
                        title: $title,
                        retry_after: $retry_after,
                        meaning: $meaning,
                        client: $client,
                        operator: $operator,
                    },)*
                }
            }
        }
    };
}

problems! {
    /// The web server handed over something that is not an HTTP request.
    BadRequest = 400, "bad-request", "Bad request", None;
        "Correct the request.", ""
    /// The body is not JSON; the detail has line and column.
    BadJson = 400, "bad-json", "The body is not JSON", None;
        "Correct the body.", ""
    /// The key is missing, malformed or wrong.
    Unauthorized = 401, "unauthorized", "A valid key is needed", None;
        "Stop; ask the operator for a key.", "Let fail2ban block an address that often fails."
    /// The request did not come over TLS.
    TlsRequired = 403, "tls-required", "TLS is required", None;
        "Use HTTPS.", "Print the vhost again (espm-setup vhost)."
    /// There is nothing at this path, or a node that espm did not create.
    NotFound = 404, "not-found", "Not found", None;
        "Count the node as gone.", ""
    /// The path is known, the method is not; Allow lists the methods.
    MethodNotAllowed = 405, "method-not-allowed", "Method not allowed", None;
        "Correct the request.", ""
    /// A node of this name exists, made by espm or not.
    NameTaken = 409, "name-taken", "The name is taken", None;
        "Take another name.", ""
    /// The CA has a certificate of this name that espm did not make, or the name is one of the master's.
    CertificateExists = 409, "certificate-exists", "Another certificate of this name exists", None;
        "Take another name.", "Find out whose the files at the CA are."
    /// The certificate is there, its private key is no longer on the master.
    KeyGone = 409, "key-gone", "The private key is gone", None;
        "Revoke the certificate, then ask again.", ""
    /// The body is longer than 65,536 bytes.
    TooLarge = 413, "too-large", "The body is too large", None;
        "Shorten the body.", ""
    /// The body's media type is not JSON.
    UnsupportedMediaType = 415, "unsupported-media-type", "The body must be JSON", None;
        "Send application/json.", ""
    /// The body is JSON of the wrong shape or content.
    Invalid = 422, "invalid", "The request is not valid", None;
        "Correct the fields that are in errors.", ""
    /// The Idempotency-Key was used with another body.
    KeyReused = 422, "idempotency-key-reused", "The Idempotency-Key was used before", None;
        "Take a new Idempotency-Key.", ""
    /// espm or its configuration is broken.
    Internal = 500, "internal", "Internal error", None;
        "Tell the operator.", "Run 'espm check'; read the log."
    /// A command of the console or of the CA failed; the next request for the node finishes or undoes its change.
    CommandFailed = 502, "command-failed", "A command of the master failed", None;
        "Send the same request again later.", "Read the log; run the command by hand."
    /// Too many requests wait, or another request works on this node.
    Busy = 503, "busy", "Busy", Some(5);
        "Wait for Retry-After, then send the same request again.", "If it lasts, raise queue or concurrency."
    /// The audit, the ledger or the disk cannot be used, or espm does not run.
    Unavailable = 503, "unavailable", "Unavailable", Some(30);
        "Wait for Retry-After, then send the same request again.", "Run 'espm check'; start espm."
    /// A command ran past its time limit; its effect is not known yet.
    TimedOut = 504, "timed-out", "A command took too long", None;
        "Send the same request again.", "Find out why the command is slow, or raise timeout."
}

impl Problem {
    /// The status code.
    pub const fn status(self) -> u16 {
        self.row().status
    }

    /// The last part of the problem type; also the outcome in the audit.
    pub const fn word(self) -> &'static str {
        self.row().word
    }

    /// The title.
    pub const fn title(self) -> &'static str {
        self.row().title
    }

    /// Seconds for `Retry-After`, on average.
    pub const fn retry_after(self) -> Option<u32> {
        self.row().retry_after
    }

    /// The event, in one sentence.
    pub fn meaning(self) -> &'static str {
        self.row().meaning.trim_start()
    }

    /// Advice for the client and for the operator; the second is empty where there is nothing to do.
    pub const fn advice(self) -> (&'static str, &'static str) {
        let row = self.row();
        (row.client, row.operator)
    }

    /// The problem type, a stable URN.
    pub fn urn(self) -> String {
        format!("urn:espm:problem:{}", self.word())
    }
}

/// An error in one field of a body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FieldError {
    /// JSON path, such as `groups[1]` or `parameters.role`.
    pub field: String,
    /// The error, and what to send instead.
    pub detail: String,
}

impl FieldError {
    /// An error at a field.
    pub fn new(field: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { field: field.into(), detail: detail.into() }
    }
}

/// A client's view of a failure: a problem's members (RFC 9457, section 3.1), and `errors`.
#[derive(Debug, Serialize)]
pub struct PublicFault<'a> {
    r#type: String,
    title: &'static str,
    status: u16,
    detail: &'a str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    errors: &'a [FieldError],
}

/// A failure.
#[derive(Debug)]
pub struct Fault {
    /// Its kind.
    pub problem: Problem,
    /// One sentence for the client.
    pub detail: Cow<'static, str>,
    /// Errors, field by field.
    pub errors: Vec<FieldError>,
    /// The methods that the path has, for `Allow`.
    pub allow: Option<String>,
    cause: Option<Box<dyn Error + Send + Sync>>,
}

impl Fault {
    /// A failure of a kind, with a sentence for the client.
    pub fn new(problem: Problem, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { problem, detail: detail.into(), errors: Vec::new(), allow: None, cause: None }
    }

    /// Adds the cause, for the log alone.
    #[must_use]
    pub fn because(mut self, cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.cause = Some(cause.into());
        self
    }

    /// A path that has only these methods.
    pub fn method_not_allowed(allow: &str) -> Self {
        let detail = format!("this path has the methods {allow}");
        Self { allow: Some(allow.to_owned()), ..Self::new(Problem::MethodNotAllowed, detail) }
    }

    /// Nothing at this path, or nothing that espm made: one answer for both.
    pub fn not_found() -> Self {
        Self::new(Problem::NotFound, "there is nothing at this path")
    }

    /// The body is not valid.
    pub fn invalid(errors: Vec<FieldError>) -> Self {
        let detail = "nothing was changed; see errors";
        Self { errors, ..Self::new(Problem::Invalid, detail) }
    }

    /// The text for the client, without the cause.
    pub fn public(&self) -> PublicFault<'_> {
        let problem = self.problem;
        PublicFault {
            r#type: problem.urn(),
            title: problem.title(),
            status: problem.status(),
            detail: &self.detail,
            errors: &self.errors,
        }
    }

    /// The cause and the causes behind it, for the log; empty when the detail says it all.
    pub fn for_log(&self) -> String {
        self.cause.as_deref().map_or_else(String::new, |cause| chain(cause))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::{Fault, FieldError, Problem};

    #[test]
    fn problem_types_are_unique_and_statuses_are_errors() {
        let mut words: Vec<_> = Problem::ALL.iter().map(|p| p.word()).collect();
        words.sort_unstable();
        words.dedup();
        assert_eq!(words.len(), Problem::ALL.len());
        assert!(Problem::ALL.iter().all(|p| (400..600).contains(&p.status())));
        assert!(Problem::NameTaken.retry_after().is_none());
        assert!(Problem::ALL.iter().all(|p| p.meaning().ends_with('.') && p.advice().0.ends_with('.')));
    }

    /// Everything in the description of the interface that is a problem.
    fn examples<'a>(value: &'a Value, found: &mut Vec<&'a Value>) {
        if value["type"].is_string() && value["title"].is_string() && value["status"].is_number() {
            found.push(value);
        }
        value.as_object().into_iter().flatten().for_each(|(_, value)| examples(value, found));
    }

    #[test]
    fn the_description_of_the_interface_has_these_problems_and_the_web_servers_one() {
        let description: Value = serde_json::from_str(include_str!("../http/openapi.json")).unwrap();
        let mut urns: Vec<_> = Problem::ALL.iter().map(|problem| problem.urn()).collect();
        let before = Problem::ALL.iter().position(|problem| *problem == Problem::Internal).unwrap();
        urns.insert(before, "urn:espm:problem:rate-limited".into());
        assert_eq!(description["components"]["schemas"]["Problem"]["properties"]["type"]["enum"], Value::from(urns));
        let mut found = Vec::new();
        examples(&description["components"]["responses"], &mut found);
        assert!(found.len() > Problem::ALL.len() / 2, "{found:?}");
        for example in found.iter().filter(|example| example["status"] != 429) {
            let problem = Problem::ALL.iter().find(|problem| example["type"] == problem.urn()).unwrap();
            assert_eq!(
                (example["title"].as_str(), &example["status"]),
                (Some(problem.title()), &problem.status().into())
            );
        }
    }

    #[test]
    fn the_cause_is_for_the_log_alone() {
        let fault = Fault::new(Problem::CommandFailed, "the console failed").because("SELECT secret");
        assert_eq!(fault.for_log(), "SELECT secret");
        let public = serde_json::to_value(fault.public()).unwrap();
        assert_eq!(public["detail"], "the console failed");
        assert!(!public.to_string().contains("secret") && public.get("errors").is_none(), "{public}");
        let public = serde_json::to_value(Fault::invalid(vec![FieldError::new("name", "missing")]).public()).unwrap();
        assert_eq!(public["errors"][0]["field"], "name");
    }
}
