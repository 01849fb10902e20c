//! The answers of requests that succeed.

use crate::audit::{Audit, AuditError};
use crate::model::certificate::Certificate;
use crate::model::fault::Fault;
use crate::model::node::Node;

/// A success.
#[derive(Debug)]
pub enum Outcome {
    /// espm runs and can read its configuration.
    Healthy,
    /// The interface's description.
    Description,
    /// A list of names, its body ready to send.
    Names {
        /// The weak entity tag (RFC 9110, section 8.8.3).
        etag: String,
        /// The JSON.
        body: Vec<u8>,
    },
    /// The client has this list already.
    NotModified {
        /// The list's entity tag.
        etag: String,
    },
    /// A node.
    Node(Node),
    /// A node that was added by this request, or earlier with the same idempotency key.
    NodeCreated(Node),
    /// A node was deleted or a certificate revoked.
    Gone,
    /// A certificate.
    Certificate(Certificate),
    /// A certificate that was generated for this answer.
    CertificateCreated(Certificate),
}

impl Outcome {
    pub(crate) fn status(&self) -> u16 {
        match self {
            Self::Healthy | Self::Description | Self::Names { .. } | Self::Node(_) | Self::Certificate(_) => 200,
            Self::NodeCreated(_) | Self::CertificateCreated(_) => 201,
            Self::Gone => 204,
            Self::NotModified { .. } => 304,
        }
    }

    /// The audit's word for it.
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Self::NodeCreated(_) | Self::CertificateCreated(_) => "created",
            Self::Gone => "gone",
            Self::NotModified { .. } => "not-modified",
            _ => "ok",
        }
    }
}

/// A result's word in the audit and its status code.
pub(crate) fn ending(result: &Result<Outcome, Fault>) -> (&'static str, u16) {
    match result {
        Ok(outcome) => (outcome.word(), outcome.status()),
        Err(fault) => (fault.problem.word(), fault.problem.status()),
    }
}

/// Audits how a request ended, and why it failed.
pub(crate) fn record(audit: &Audit, result: &Result<Outcome, Fault>, changes: bool) -> Result<(), AuditError> {
    if let Err(fault) = result {
        let cause = fault.for_log();
        if !cause.is_empty() {
            audit.explain(&if fault.quotes() { audit.concealed(&cause) } else { cause });
        }
    }
    let (word, status) = ending(result);
    audit.result(word, status, changes)
}
