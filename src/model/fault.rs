//! A failure, with two texts: one for the client and one for the log.

use std::borrow::Cow;
use std::error::Error;

use serde::Serialize;

use crate::system::text::chain;

/// The kinds of failure, each a stable problem type (RFC 9457).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Problem {
    /// The web server handed over something that is not an HTTP request.
    BadRequest,
    /// The body is not JSON.
    BadJson,
    /// The key is missing, malformed or wrong.
    Unauthorized,
    /// The request did not come over TLS.
    TlsRequired,
    /// There is nothing at this path, or a node that espm did not create.
    NotFound,
    /// The path is known, the method is not.
    MethodNotAllowed,
    /// The node's name is taken, by anyone.
    NameTaken,
    /// The CA has a certificate of this name that espm did not make.
    CertificateExists,
    /// The certificate is there, its key is no longer on the master.
    KeyGone,
    /// The body is longer than 64 KiB.
    TooLarge,
    /// The body's media type is not JSON.
    UnsupportedMediaType,
    /// The body is JSON of the wrong shape or content.
    Invalid,
    /// The `Idempotency-Key` was used with another body.
    KeyReused,
    /// A fault of espm or of its configuration.
    Internal,
    /// A command of the console or of the CA failed.
    CommandFailed,
    /// Too many wait, or another request works on this node.
    Busy,
    /// Something that espm needs (audit, ledger, disk) is not there.
    Unavailable,
    /// A command ran past its time limit; its effect is not known yet.
    TimedOut,
}

impl Problem {
    /// All kinds.
    pub const ALL: [Self; 18] = [
        Self::BadRequest,
        Self::BadJson,
        Self::Unauthorized,
        Self::TlsRequired,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::NameTaken,
        Self::CertificateExists,
        Self::KeyGone,
        Self::TooLarge,
        Self::UnsupportedMediaType,
        Self::Invalid,
        Self::KeyReused,
        Self::Internal,
        Self::CommandFailed,
        Self::Busy,
        Self::Unavailable,
        Self::TimedOut,
    ];

    /// Status code, last part of the type, title and the average seconds of `Retry-After`.
    const fn row(self) -> (u16, &'static str, &'static str, Option<u32>) {
        match self {
            Self::BadRequest => (400, "bad-request", "Bad request", None),
            Self::BadJson => (400, "bad-json", "The body is not JSON", None),
            Self::Unauthorized => (401, "unauthorized", "A valid key is needed", None),
            Self::TlsRequired => (403, "tls-required", "TLS is required", None),
            Self::NotFound => (404, "not-found", "Not found", None),
            Self::MethodNotAllowed => (405, "method-not-allowed", "Method not allowed", None),
            Self::NameTaken => (409, "name-taken", "The name is taken", None),
            Self::CertificateExists => (409, "certificate-exists", "Another certificate of this name exists", None),
            Self::KeyGone => (409, "key-gone", "The private key is gone", None),
            Self::TooLarge => (413, "too-large", "The body is too large", None),
            Self::UnsupportedMediaType => (415, "unsupported-media-type", "The body must be JSON", None),
            Self::Invalid => (422, "invalid", "The request is not valid", None),
            Self::KeyReused => (422, "idempotency-key-reused", "The Idempotency-Key was used before", None),
            Self::Internal => (500, "internal", "Internal error", None),
            Self::CommandFailed => (502, "command-failed", "A command of the master failed", None),
            Self::Busy => (503, "busy", "Busy", Some(5)),
            Self::Unavailable => (503, "unavailable", "Unavailable", Some(30)),
            Self::TimedOut => (504, "timed-out", "A command took too long", None),
        }
    }

    /// The status code.
    pub const fn status(self) -> u16 {
        self.row().0
    }

    /// The last part of the problem type; also the outcome in the audit.
    pub const fn word(self) -> &'static str {
        self.row().1
    }

    /// The title.
    pub const fn title(self) -> &'static str {
        self.row().2
    }

    /// Seconds for `Retry-After`, on average.
    pub const fn retry_after(self) -> Option<u32> {
        self.row().3
    }

    /// The problem type, a stable URN.
    pub fn urn(self) -> String {
        format!("urn:espm:problem:{}", self.word())
    }
}

/// What is wrong with one field of a body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FieldError {
    /// Where: a JSON path such as `groups[1]` or `parameters.role`.
    pub field: String,
    /// What, and what to send instead.
    pub detail: String,
}

impl FieldError {
    /// An error at a field.
    pub fn new(field: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { field: field.into(), detail: detail.into() }
    }
}

/// A failure.
#[derive(Debug)]
pub struct Fault {
    /// Its kind.
    pub problem: Problem,
    /// One sentence of ours for the client.
    pub detail: Cow<'static, str>,
    /// What is wrong, field by field.
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

    /// The same with its cause, for the log alone.
    #[must_use]
    pub fn because(mut self, cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.cause = Some(cause.into());
        self
    }

    /// The path does not have this method, but these.
    pub fn method_not_allowed(allow: &str) -> Self {
        let detail = format!("this path has the methods {allow}");
        Self { allow: Some(allow.to_owned()), ..Self::new(Problem::MethodNotAllowed, detail) }
    }

    /// There is nothing here, or nothing of ours: one answer for both.
    pub fn not_found() -> Self {
        Self::new(Problem::NotFound, "there is nothing at this path")
    }

    /// What is wrong with a body.
    pub fn invalid(errors: Vec<FieldError>) -> Self {
        let detail = "nothing was changed; errors says what to mend";
        Self { errors, ..Self::new(Problem::Invalid, detail) }
    }

    /// The cause and the causes behind it, for the log; empty when the detail says it all.
    pub fn for_log(&self) -> String {
        self.cause.as_deref().map_or_else(String::new, |cause| chain(cause))
    }
}

#[cfg(test)]
mod tests {
    use super::{Fault, Problem};

    #[test]
    fn problem_types_are_unique_and_statuses_are_errors() {
        let mut words: Vec<_> = Problem::ALL.iter().map(|p| p.word()).collect();
        words.sort_unstable();
        words.dedup();
        assert_eq!(words.len(), Problem::ALL.len());
        assert!(Problem::ALL.iter().all(|p| (400..600).contains(&p.status())));
        assert!(Problem::NameTaken.retry_after().is_none());
    }

    #[test]
    fn the_cause_is_for_the_log_alone() {
        let fault = Fault::new(Problem::CommandFailed, "the console failed").because("SELECT secret");
        assert_eq!(fault.for_log(), "SELECT secret");
        assert!(!fault.detail.contains("secret"));
    }
}
