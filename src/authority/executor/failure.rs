//! Why a verb failed.

use std::path::PathBuf;

use thiserror::Error;

use super::api::{ApiError, KeyError};
use super::check::Mistake;
use crate::system::command::CommandError;
use crate::system::trusted_file::FileError;
use crate::system::x509::X509Error;

/// Why a verb failed.
#[derive(Debug, Error)]
pub(super) enum Failure {
    #[error(transparent)]
    File(#[from] FileError),
    #[error(transparent)]
    Command(#[from] CommandError),
    #[error(transparent)]
    X509(#[from] X509Error),
    #[error("{path}: {error}", path = .0.display(), error = .1)]
    Unsound(PathBuf, X509Error),
    #[error(transparent)]
    Check(#[from] Mistake),
    #[error("the serial number is not in the revocation list: {0}")]
    NotRevoked(String),
    /// The CA cannot revoke it alone.
    #[error("{0}")]
    Replaced(String),
    #[error("{path}: the record is of a newer release of espm; install that release", path = .0.display())]
    Record(PathBuf),
    #[error(
        "{list}: it lacks revocations that it had, such as of serial number {serial}; put the list of before back with \
         'cp {kept} {list}', restart the Puppet server, and revoke again what was revoked since",
        list = .now.display(),
        kept = .before.display()
    )]
    LostRevocations { serial: String, before: PathBuf, now: PathBuf },
    /// Nothing is left of what was begun.
    #[error("{why}: {output}")]
    NothingMade { why: String, output: String },
    /// What would be made could not be judged; nothing was begun.
    #[error(transparent)]
    Unfit(Box<Self>),
    /// Nothing was made.
    #[error("this Puppet gives no certificate trusted facts")]
    NoFacts,
    #[error(
        "[authority] records: {path} cannot stand in a puppet.conf, where trusted facts have to be named; name a directory \
         without blanks, '{{' and '#'", path = .0.display()
    )]
    FactsPath(PathBuf),
    /// Nothing was begun.
    #[error("the file for what the CA's command prints, or for the private key, cannot be made: {0}")]
    NoRoom(FileError),
    #[error(transparent)]
    Api(#[from] ApiError),
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error("{0}: it is not whole, as after a full disk; look at it, and at what the Puppet server's log says")]
    CutShort(PathBuf),
}
