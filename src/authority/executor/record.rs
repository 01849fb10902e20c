//! What the CA's user keeps about the certificates that espm made: one file a name, in a directory of that user.
//!
//! A certificate is espm's if it is recorded here and the CA's inventory gives its serial number to this name alone, or
//! if it is a renewal of one. The record of an intent is durable before the command starts; the command's output goes
//! to a file beside it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::failure::Failure;
use super::files::Today;
use super::inventory::Line;
use super::survey::Survey;
use crate::model::extension::Extensions;
use crate::model::name::NodeName;
use crate::system::lock::{self, InheritedLock, Lock};
use crate::system::output_file::OutputFile;
use crate::system::trusted_file::{self, FileError, Owner};
use crate::system::x509::{self, X509Error};

/// Bytes of a record; a certificate takes some 3,000.
const MAX_RECORD: u64 = 256 * 1024;

/// The format of a record. Release 0.1 wrote none, and its records are read.
const VERSION: u64 = 2;

/// What is recorded about a name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Record {
    version: u64,
    pub(crate) name: NodeName,
    pub(crate) state: State,
    /// Everything that was made and is not known to be revoked or expired.
    pub(crate) made: Vec<Made>,
    /// Certificates that a full disk cut short, and the CA of each: nobody has them or their keys.
    pub(crate) nobodys: BTreeSet<(String, Line)>,
}

/// What is under way.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum State {
    /// A command was started while the CA had nothing of this name, during that boot of the machine, at that time, to
    /// make a certificate with these trusted facts.
    Generating {
        boot: String,
        since: i64,
        #[serde(default)]
        asked: Extensions,
    },
    /// This request goes to the server while the CA has nothing else of this name.
    Requesting(Sent),
    /// Nothing.
    Settled,
    /// Nothing came of this request.
    /// The server may sign it even now.
    Abandoned(Sent),
    /// The revocation of all that was made has begun.
    Revoking,
}

/// A request for a certificate.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Sent {
    /// SHA-256 of its public key.
    pub(crate) key: String,
    /// The trusted facts in it.
    pub(crate) asked: Extensions,
    /// The key was made for it. A client's own key can be in other requests and certificates, too.
    pub(crate) own: bool,
}

impl Sent {
    /// One whose key was made for it, without trusted facts that count.
    pub(crate) fn by_own(key: String) -> Self {
        Self { key, asked: Extensions::default(), own: true }
    }
}

/// A certificate that was made.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Made {
    /// SHA-256 of its public key.
    pub(crate) key: String,
    /// SHA-256 of the public key of the CA that made it.
    pub(crate) ca: String,
    pub(crate) serial: String,
    pub(crate) fingerprint: String,
    /// Its validity, in seconds since 1970.
    pub(crate) not_before: i64,
    pub(crate) not_after: i64,
    /// The certificate, PEM: with it a human can revoke what the CA has no copy of.
    pub(crate) certificate: String,
    /// It is not what was asked for, and is to be revoked. Nobody has it, and nobody gets it.
    pub(crate) flawed: bool,
}

impl Made {
    /// A certificate that a CA has made now.
    pub(crate) fn by(ca: &str, certificate: &str) -> Result<Self, X509Error> {
        let identity = x509::identity(certificate)?;
        Ok(Self {
            key: x509::spki(certificate)?,
            ca: ca.to_owned(),
            serial: identity.serial,
            fingerprint: identity.fingerprint,
            not_before: identity.not_before,
            not_after: identity.not_after,
            certificate: certificate.to_owned(),
            flawed: false,
        })
    }
}

impl Record {
    pub(crate) fn new(name: &NodeName, state: State, made: Vec<Made>) -> Self {
        Self { version: VERSION, name: name.clone(), state, made, nobodys: BTreeSet::new() }
    }

    /// Drops what is revoked or expired. Another CA's stays: that CA may come back from a backup.
    pub(super) fn retain_live(&mut self, survey: &Survey) {
        self.made.retain(|made| survey.is_live(made));
    }

    pub(super) fn holds_nothing(&self) -> bool {
        self.state == State::Settled && self.made.is_empty() && self.nobodys.is_empty()
    }

    pub(super) fn has_flaw(&self) -> bool {
        self.made.iter().any(|made| made.flawed)
    }

    /// Whether a key is that of something made, or of what was abandoned.
    pub(crate) fn has_key(&self, key: &str) -> bool {
        self.made.iter().any(|made| made.key == key)
            || matches!(&self.state, State::Abandoned(sent) | State::Requesting(sent) if sent.key == key)
    }
}

/// A record of release 0.1.
#[derive(Debug, Deserialize)]
#[serde(tag = "state", rename_all = "lowercase")]
enum Old {
    Generating,
    Issued {
        certificate: String,
    },
    /// The key is the SHA-256 of its number or point, of which nothing else is known today.
    Abandoned {
        key: String,
    },
    Revoking {
        certificate: String,
    },
}

impl Old {
    /// A certificate that today's CA has not signed is another CA's.
    fn upgrade(self, name: &NodeName, today: &Today) -> Result<Record, X509Error> {
        let made = |certificate: &str| {
            let signer = if x509::is_signed_by(certificate, &today.bundle)? { &today.ca } else { "" };
            Ok::<_, X509Error>(vec![Made::by(signer, certificate)?])
        };
        let (state, made) = match self {
            // It was of an earlier boot, or its command has printed what it did.
            Self::Generating => {
                (State::Generating { boot: String::new(), since: 0, asked: Extensions::default() }, vec![])
            }
            Self::Issued { certificate } => (State::Settled, made(&certificate)?),
            Self::Abandoned { key } => (State::Abandoned(Sent::by_own(key)), vec![]),
            Self::Revoking { certificate } => (State::Revoking, made(&certificate)?),
        };
        Ok(Record::new(name, state, made))
    }
}

/// The directory of the records.
#[derive(Debug)]
pub(crate) struct Records(PathBuf);

impl Records {
    /// The records in a directory, if no other user can write there or put another in its place.
    pub(crate) fn open(directory: &Path) -> Result<Self, FileError> {
        trusted_file::check_way(directory, Owner::RootOrSelf)?;
        trusted_file::check_directory(directory, Owner::RootOrSelf)?;
        Ok(Self(directory.to_owned()))
    }

    /// The names that have a record.
    pub(super) fn names(&self) -> Result<Vec<NodeName>, FileError> {
        let error = |error| FileError::io(&self.0, error);
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&self.0).map_err(error)? {
            let file = entry.map_err(error)?.file_name();
            let name = file.to_str().and_then(|name| name.strip_suffix(".json"));
            names.extend(name.and_then(|name| NodeName::parse(name).ok()));
        }
        Ok(names)
    }

    pub(crate) fn path(&self, name: &NodeName) -> PathBuf {
        self.0.join(format!("{name}.json"))
    }

    /// The revocation list as it was before the last revocation.
    pub(crate) fn revocation_list(&self) -> PathBuf {
        self.0.join("ca_crl.pem")
    }

    /// The copy of `puppet.conf` that a command reads.
    pub(crate) fn configuration(&self) -> PathBuf {
        self.0.join("puppet.conf")
    }

    /// The trusted facts that a command reads.
    pub(crate) fn facts(&self) -> PathBuf {
        self.0.join("csr_attributes.yaml")
    }

    /// The output of the command that was started for a name.
    pub(crate) fn output(&self, name: &NodeName) -> OutputFile {
        OutputFile::at(self.0.join(format!("{name}.proof")))
    }

    /// Acquires the lock around every change of the CA, if it is free.
    /// Commands share it.
    pub(crate) fn try_lock(&self) -> Result<Option<InheritedLock>, FileError> {
        InheritedLock::try_acquire(&self.0.join("lock"))
    }

    /// Acquires the lock around what the server is asked about a name, if it is free.
    pub(super) fn try_lock_name(&self, name: &NodeName) -> Result<Option<Lock>, FileError> {
        lock::try_acquire_removed(&self.0.join(format!("{name}.lock")))
    }

    /// The record of a name; `today` gives the CA, which a record of release 0.1 does not name.
    ///
    /// # Errors
    /// When the record cannot be read; an unreadable record is never an absent one.
    pub(super) fn read(
        &self,
        name: &NodeName,
        today: impl FnOnce() -> Result<Today, Failure>,
    ) -> Result<Option<Record>, Failure> {
        let path = self.path(name);
        let json = trusted_file::optional(trusted_file::read(&path, MAX_RECORD, Owner::RootOrSelf))?;
        let Some(json) = json else { return Ok(None) };
        let malformed = |error: serde_json::Error| FileError::io(&path, error.into());
        let value: Value = serde_json::from_str(&json).map_err(malformed)?;
        match value.get("version").map(Value::as_u64) {
            None => {
                let old: Old = serde_json::from_value(value).map_err(malformed)?;
                Ok(Some(old.upgrade(name, &today()?)?))
            }
            Some(Some(VERSION)) => Ok(Some(serde_json::from_value(value).map_err(malformed)?)),
            Some(_) => Err(Failure::Record(path)),
        }
    }

    /// Writes the record of a name, durably.
    pub(crate) fn write(&self, record: &Record) -> Result<(), FileError> {
        let json = serde_json::to_vec_pretty(record).unwrap_or_default();
        trusted_file::replace(&self.path(&record.name), 0o600, &json)
    }

    /// Removes the record of a name, and the output.
    pub(crate) fn forget(&self, name: &NodeName) -> Result<(), FileError> {
        self.output(name).remove()?;
        trusted_file::remove(&self.path(name))
    }
}
