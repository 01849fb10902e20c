//! A failure, with two texts: one for the client and one for the log.

use std::borrow::Cow;
use std::error::Error;

use serde::Serialize;

use super::problem::Problem;
use crate::system::text::chain;

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
    /// Whether the cause may quote values of parameters.
    quotes: bool,
}

impl Fault {
    /// A failure of a kind, with a sentence for the client.
    pub fn new(problem: Problem, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { problem, detail: detail.into(), errors: Vec::new(), allow: None, cause: None, quotes: true }
    }

    /// Adds the cause, for the log alone. It may quote values of parameters.
    #[must_use]
    pub fn because(mut self, cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.cause = Some(cause.into());
        self
    }

    /// Adds what the CA says, for the log alone. The CA is never given a value of a parameter.
    #[must_use]
    pub fn because_ca_says(mut self, cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.quotes = false;
        self.because(cause)
    }

    /// True if the cause may quote values of parameters.
    pub fn quotes(&self) -> bool {
        self.quotes
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

    /// The client may not give the names in these fields.
    pub fn forbidden(errors: Vec<FieldError>) -> Self {
        Self { errors, ..Self::new(Problem::Forbidden, "nothing was changed; see errors") }
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
    use super::{Fault, FieldError, Problem};

    #[test]
    fn cause_is_for_the_log_alone() {
        let fault = Fault::new(Problem::CommandFailed, "the console failed").because("SELECT secret");
        assert_eq!(fault.for_log(), "SELECT secret");
        let public = serde_json::to_value(fault.public()).unwrap();
        assert_eq!(public["detail"], "the console failed");
        assert!(!public.to_string().contains("secret") && public.get("errors").is_none(), "{public}");
        let public = serde_json::to_value(Fault::invalid(vec![FieldError::new("name", "missing")]).public()).unwrap();
        assert_eq!(public["errors"][0]["field"], "name");
    }
}
