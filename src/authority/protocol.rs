//! What is asked of the CA, and what it answers, as JSON between the handler and the program that
//! runs as the CA's user.

use serde::{Deserialize, Serialize};

use crate::model::certificate::PrivateKey;
use crate::model::name::NodeName;

/// A thing to do with the certificate of one name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verb {
    /// Generate it, or hand it out again while its key is there.
    Generate,
    /// Show it, without its key.
    Show,
    /// Revoke it and free the name.
    Revoke,
    /// Look at what the other verbs need: the records, the CA's certificate and its revocation list.
    Check,
}

/// A verb, the name, and the seconds that it may take.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Order {
    /// What to do.
    pub verb: Verb,
    /// With whose certificate.
    pub name: NodeName,
    /// Seconds.
    pub limit: u64,
}

/// A certificate of ours.
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

/// An answer.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "kebab-case")]
pub enum Answer {
    /// It was generated now.
    Generated {
        /// It.
        issued: Issued,
    },
    /// It was there.
    There {
        /// It.
        issued: Issued,
    },
    /// It is revoked, and the name is free.
    Revoked,
    /// What an earlier call began is not finished; asking for it or for its revocation settles it.
    Unfinished,
    /// There is none of ours, and none of anyone's.
    Absent,
    /// There is one, or a file of one, that we did not make.
    Foreign,
    /// It is there, its key is not.
    KeyGone,
    /// The command ran past its time; asking again settles it.
    TimedOut,
    /// What the verbs need is there and can be read.
    Sound,
    /// Another process works on the CA; nothing was begun.
    Busy,
    /// An earlier call's command about this certificate still runs.
    Running,
    /// It failed, and nothing of it is left; the text is for the log.
    Undone {
        /// What failed.
        text: String,
    },
    /// It failed; the text is for the log.
    Failed {
        /// What failed.
        text: String,
    },
}
