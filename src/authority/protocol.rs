//! Requests to the CA and its answers, as JSON between the handler and espm-helper.

use serde::{Deserialize, Serialize};

use crate::model::certificate::PrivateKey;
use crate::model::extension::Extensions;
use crate::model::name::NodeName;
use crate::system::x509;

/// The kinds of request, each about the certificate of one name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verb {
    /// Generate it, or hand it out again while its key is there.
    Generate,
    /// Finish what an earlier call has begun to generate; nothing new is begun.
    Settle,
    /// Show it, without its key.
    Show,
    /// Revoke it and free the name.
    Revoke,
    /// Do what the other verbs need, and change nothing: read the records, judge the master's own certificate, run the
    /// CA's command.
    Check,
}

/// A request: a verb, a name, the time that it may take, and what is asked for.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// The verb.
    pub verb: Verb,
    /// The name of the certificate.
    pub name: NodeName,
    /// Seconds.
    pub limit: u64,
    /// For [`Verb::Generate`] alone.
    #[serde(default)]
    pub asked: Asked,
}

/// The certificate that a client asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    /// Its trusted facts; those of the client's own request, where there is one.
    pub extensions: Extensions,
    /// The client's own request (PKCS #10, PEM), whose key the certificate is for.
    pub csr: Option<String>,
}

impl Asked {
    /// Judges a client's own request but for its signature, and takes over what it asks for.
    ///
    /// # Errors
    /// Everything that is wrong.
    pub fn by_request(pem: &str, name: &NodeName) -> Result<Self, Vec<String>> {
        let request = x509::request(pem, name.as_str())
            .map_err(|errors| errors.iter().map(ToString::to_string).collect::<Vec<_>>())?;
        let mut extensions = Extensions::default();
        let wrong = |(oid, value): &(String, String)| {
            let added = extensions.add(oid, value);
            added.err().map(|error| format!("has the extension {oid}, which {error}"))
        };
        let errors: Vec<_> = request.extensions.iter().filter_map(wrong).collect();
        if errors.is_empty() { Ok(Self { extensions, csr: Some(request.pem) }) } else { Err(errors) }
    }

    /// Whether this is what [`Asked::by_request`] makes, or has no client's request.
    pub fn is_judged(&self, name: &NodeName) -> bool {
        self.csr.as_ref().is_none_or(|csr| Self::by_request(csr, name).as_ref() == Ok(self))
    }

    /// SHA-256 of the key in the client's own request, as [`x509::spki`] gives it.
    pub fn key(&self) -> Option<String> {
        self.csr.as_ref().and_then(|csr| x509::spki(csr).ok())
    }
}

/// A certificate that espm made.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Issued {
    /// The certificate, PEM.
    pub certificate: String,
    /// Its private key, PEM; only for [`Verb::Generate`].
    pub private_key: Option<PrivateKey>,
    /// The CA's certificate or chain, PEM.
    pub ca_certificate: String,
    /// The serial number in hexadecimal.
    pub serial: String,
    /// The SHA-256 fingerprint.
    pub fingerprint: String,
    /// The end of its validity, in seconds since 1970.
    pub not_after: i64,
}

/// Days until an end, for which certificates are counted; 0 for those that have ended.
pub const WITHIN_DAYS: [i64; 4] = [0, 7, 30, 90];

/// Days before its end at which a certificate is soon to end.
pub const SOON_DAYS: i64 = 30;

/// When the certificates end that espm made, of each name the newest one that is not revoked.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Ends {
    /// How many there are.
    pub all: usize,
    /// How many end within each number of [`WITHIN_DAYS`].
    pub within: [usize; WITHIN_DAYS.len()],
    /// How many have ended, or end soon for the time that they were made for.
    pub soon: usize,
    /// The first of these.
    pub first: Vec<Ending>,
}

/// The end of a certificate.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Ending {
    /// Its moment (RFC 3339).
    pub end: String,
    /// The name.
    pub name: NodeName,
}

/// An answer.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "kebab-case")]
pub enum Answer {
    /// It was generated now.
    Generated {
        /// It.
        issued: Issued,
        /// Another CA has made one before, or this one, before it was restored from a backup; see [`Answer::Void`].
        void: bool,
    },
    /// It was there.
    There {
        /// It.
        issued: Issued,
    },
    /// It is revoked, and the name is free.
    Revoked,
    /// An earlier call has not finished, or one is valid that the CA has no copy of; to generate or to revoke it
    /// settles that.
    Unfinished,
    /// There is none.
    Absent,
    /// The record is of another CA, or of this one before it was restored from a backup: its serial number is nobody's
    /// now, or another's. Nothing was revoked.
    Void,
    /// There is one, or a file of one, that espm did not make.
    Foreign,
    /// A request that espm did not send waits at the CA; the text is for the log.
    Waiting {
        /// How to remove it.
        text: String,
    },
    /// The CA has another certificate of the name, which is valid; the text is for the log.
    Listed {
        /// What to type.
        text: String,
    },
    /// It is valid, and the CA cannot revoke it alone; the text is for the log.
    Replaced {
        /// What to type.
        text: String,
    },
    /// It is there, its key is not.
    KeyGone,
    /// It is there, with another key or other trusted facts than are asked for.
    Different,
    /// The client's own request is not signed by its key; nothing was begun.
    NotSigned,
    /// This Puppet gives no certificate trusted facts; nothing was made.
    NoFacts,
    /// The command ran past its time limit; the same request settles it.
    TimedOut,
    /// Everything that the verbs need can be read, and the CA's command answers.
    Sound {
        /// The moment at which the first certificate of the CA's chain ends, in seconds since 1970.
        until: i64,
        /// The same of its revocation list, if that has an end.
        list_until: Option<i64>,
        /// When the certificates end that espm made.
        ends: Ends,
    },
    /// Another process works on the CA; nothing was begun.
    Busy,
    /// An earlier call's command about this certificate still runs.
    Running,
    /// It failed, and nothing of it is left; the text is for the log.
    Undone {
        /// The failure.
        text: String,
    },
    /// It failed; the text is for the log.
    Failed {
        /// The failure.
        text: String,
    },
}
