//! Why set-up did nothing, and what the administrator does about it.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use super::certificate::MAX_NAME;
use super::detect::PUPPETS;
use super::options::option;
use crate::config::{ConfigError, Wrong};
use crate::ledger::LedgerError;
use crate::model::name::{ClientName, NameError};
use crate::system::trusted_file::FileError;
use crate::system::x509::X509Error;

/// Why set-up did nothing.
#[derive(Debug, Error)]
pub(super) enum SetupError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Options(Wrong),
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    #[error("the new certificate cannot be read: {0}")]
    Unreadable(#[from] X509Error),
    #[error("the certificate cannot be made: {0}")]
    Certificate(#[from] rcgen::Error),
    #[error("the system's random source failed: {0}")]
    Random(#[source] io::Error),
    #[error("{0}: {1}")]
    ClientName(String, NameError),
    #[error("{0:?} is no host name or address of at most {MAX_NAME} characters; give --host or --san")]
    HostName(String),
    #[error("these directories are missing; make them first:\n{}", .0.iter().map(|line| format!("    {line}")).collect::<Vec<_>>().join("\n"))]
    Missing(Vec<String>),
    #[error("nothing is overwritten; these exist already:\n{}", .0.iter().map(|path| format!("    {}", path.display())).collect::<Vec<_>>().join("\n"))]
    Existing(Vec<PathBuf>),
    #[error("a renewal was begun; finish it:\n\n    {switch}\n\nor begin anew:\n\n    {discard}\n")]
    Begun { switch: String, discard: String },
    #[error("{path}: is signed by {issuer}; ask that CA for the next one", path = .path.display())]
    SignedByCa { path: PathBuf, issuer: String },
    #[error("{path}: {error}", path = .0.display(), error = .1)]
    Current(PathBuf, X509Error),
    #[error("--console-release: is for a console that rake runs; there is none here (--console-kind enc)")]
    ReleaseWithoutConsole,
    #[error("--{option}: is for kind = {} alone, and the kind here is {found}; leave it out", .want.join(" or "))]
    OtherKind { option: &'static str, want: &'static [&'static str], found: String },
    #[error("no puppet found in {}; give --detect PUPPET", PUPPETS.join(", "))]
    NoPuppet,
    #[error("{puppet} {words} failed; run it by hand to see why")]
    PuppetFailed { puppet: PathBuf, words: String },
    #[error(
        "{puppet} is version {major}, whose CA is {server}, and that is missing; run espm-setup on the machine of \
         Puppet's CA, or name its program with --authority-command"
    )]
    NoServer { puppet: PathBuf, major: u32, server: PathBuf },
    #[error(
        "the master's certname is not known: {0} does not print it; give --master CERTNAME, the name in the \
         certificate that the Puppet server shows to agents"
    )]
    NoMaster(PathBuf),
    #[error(
        "[{section}] {what}; name another with --{section}-{option}, or let 'espm-setup --detect' ask Puppet what is \
         here"
    )]
    Absent { section: &'static str, what: String, option: &'static str },
    #[error(
        "{command} lists no tasks of a console's; run it by hand to see why: \
         'cd {} && sudo -u {user} {command} -T'; or give --console-release", .directory.display()
    )]
    NoTasks { directory: PathBuf, user: String, command: String },
    #[error("[espm] state: {0}")]
    Become(#[source] io::Error),
    #[error("standard output cannot be written: {0}")]
    Output(#[source] io::Error),
    #[error("the key cannot be shown: {0}; nothing was changed, so do the same again")]
    NotShown(#[source] Box<Self>),
    #[error("nothing is removed, because espm has been used: {0}; uninstall it instead (docs/uninstall.md)")]
    InUse(String),
    /// The program is Puppet's Ruby.
    #[error(
        "{0} cannot list the classes of its Puppet; it needs Puppet 5 or newer, and has to be able to read the \
         environments as Puppet's user"
    )]
    NoClasses(PathBuf),
    #[error("{puppet} config print did not print {key}")]
    NotPrinted { puppet: PathBuf, key: &'static str },
    #[error(
        "{path}: [client {name}] is there; 'espm-setup client key add {name}' gives it another key, or take another name"
    )]
    ClientExists { path: PathBuf, name: ClientName },
    #[error("{path}: there is no [client {name}]; there is {}", .there.join(", "))]
    NoClient { path: PathBuf, name: ClientName, there: Vec<String> },
    #[error("{path}: [client {name}] is the only client; 'espm-setup client add NAME' makes another first")]
    OnlyClient { path: PathBuf, name: ClientName },
    #[error(
        "[client {name}] has no one key whose digest begins with {digits:?}; give at least eight digits of one of these: \
         {there}"
    )]
    NoKey { name: ClientName, digits: String, there: String },
    #[error(
        "it is the only key of [client {0}]; 'espm-setup client key add {0}' makes another first, and \
         'espm-setup client retire {0}' ends the client"
    )]
    OnlyKey(ClientName),
    #[error("{0}: another espm-setup edits it; try again")]
    Busy(PathBuf),
}

impl SetupError {
    /// A key that nobody has seen is not kept.
    pub(super) fn not_shown(self) -> Self {
        Self::NotShown(Box::new(self))
    }
}

impl From<Wrong> for SetupError {
    /// Names the option of a key that was given for another kind.
    fn from(wrong: Wrong) -> Self {
        match wrong {
            Wrong::Meaningless { section, name, line, want, found } => match option([&section, &name]) {
                Some(option) => Self::OtherKind { option, want, found },
                None => Self::Options(Wrong::Meaningless { section, name, line, want, found }),
            },
            wrong => Self::Options(wrong),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{SetupError, Wrong};

    #[test]
    fn option_of_another_kind_is_named_and_no_line_of_a_file() {
        let (section, name) = ("console".to_owned(), "user".to_owned());
        let wrong = Wrong::Meaningless { section, name, line: 18, want: &["rake"], found: "enc".into() };
        let text = SetupError::from(wrong).to_string();
        assert_eq!(text, "--console-user: is for kind = rake alone, and the kind here is enc; leave it out");
    }
}
