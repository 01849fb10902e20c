//! The CA's commands and files, as the CA's user: what `puppet cert` and `puppetserver ca` do.
//!
//! Trusts no exit code and no message on its own: after each command it reads the files and the revocation
//! list. Touches only what a record of espm's names. Never runs `puppet cert revoke` for a name without a
//! certificate: that command takes such a name as a regular expression.

mod check;
mod failure;
mod files;
mod generate;
mod inventory;
mod output;
pub mod record;
mod revoke;

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use self::failure::Failure;
use self::files::Files;
use self::record::{Record, Records};
use super::protocol::{Answer, Issued, Request, Verb};
use crate::model::certificate::PrivateKey;
use crate::model::name::NodeName;
use crate::model::words;
use crate::system::clock::Deadline;
use crate::system::command::{CommandError, Program};
use crate::system::lock::InheritedLock;
use crate::system::output_file::OutputFile;
use crate::system::x509;

/// How long a call waits for the lock.
/// It has waited in espm's queue before: the command of a call that died holds the lock now.
const LOCK_WAIT: Duration = Duration::from_secs(5);

/// How long a call waits for the command of an earlier one.
const OUTPUT_WAIT: Duration = Duration::from_secs(5);

/// The least time of a command of the CA, whatever the request says.
/// The configuration can say less. A command that is killed while it writes the CA's files may leave them cut
/// short.
const LEAST: Duration = Duration::from_secs(30);

words! {
    /// The kind of the CA's commands.
    Kind {
        /// `puppet cert`, Puppet 2.7 to 5.
        PuppetCert = "puppet-cert",
        /// `puppetserver ca`, Puppet 6 and later, and `OpenVox`.
        PuppetserverCa = "puppetserver-ca",
    }
}

/// The CA's command and files.
#[derive(Debug)]
pub(crate) struct Settings {
    /// Whose commands.
    pub(crate) kind: Kind,
    /// The command up to the verb.
    pub(crate) program: Program,
    /// `puppet.conf`, for `puppetserver ca` alone.
    pub(crate) config: Option<PathBuf>,
    /// Puppet's `ssldir`.
    pub(crate) ssldir: PathBuf,
    /// Puppet's `cadir`.
    pub(crate) cadir: PathBuf,
    /// The master's own certname.
    pub(crate) master: String,
    /// The directory of our records.
    pub(crate) records: PathBuf,
    /// Seconds for one command.
    pub(crate) timeout: Duration,
}

/// Does what a request asks for.
pub(crate) fn execute(settings: &Settings, request: &Request) -> Answer {
    let asked = Duration::from_secs(request.limit);
    let wait = Deadline::after(settings.timeout.min(asked));
    match attempt(settings, request, wait, Deadline::after(settings.timeout.min(asked.max(LEAST)))) {
        Ok(answer) => answer,
        Err(Failure::Command(CommandError::TimedOut)) => Answer::TimedOut,
        Err(failure @ (Failure::NothingMade { .. } | Failure::NoRoom(_))) => {
            Answer::Undone { text: failure.to_string() }
        }
        Err(failure) => Answer::Failed { text: failure.to_string() },
    }
}

fn attempt(settings: &Settings, request: &Request, wait: Deadline, until: Deadline) -> Result<Answer, Failure> {
    let records = Records::open(&settings.records)?;
    let name = &request.name;
    let files = Files { ssldir: &settings.ssldir, cadir: &settings.cadir, name };
    let mut ca = Ca { settings, output: records.output(name), records, name, files, until, lock: None };
    let change = match request.verb {
        Verb::Show => return ca.show(),
        Verb::Check => return ca.check(),
        Verb::Generate => Ca::generate,
        Verb::Revoke => Ca::revoke,
    };
    ca.lock = wait.within(LOCK_WAIT).attempt(|| ca.records.try_lock())?;
    if ca.lock.is_none() {
        return Ok(Answer::Busy);
    }
    let answer = change(&ca);
    // After an error a command may still be there, and holds the lock until it is gone.
    if let (Ok(_), Some(lock)) = (&answer, ca.lock) {
        lock.release();
    }
    answer
}

/// The CA, for one name.
struct Ca<'a> {
    settings: &'a Settings,
    records: Records,
    /// The output of the command for this name.
    output: OutputFile,
    name: &'a NodeName,
    files: Files<'a>,
    until: Deadline,
    /// The lock around every change, which the commands share.
    lock: Option<InheritedLock>,
}

impl Ca<'_> {
    fn issued(&self, certificate: String, private_key: Option<PrivateKey>) -> Result<Issued, Failure> {
        let identity = x509::identity(&certificate)?;
        Ok(Issued {
            certificate,
            private_key,
            ca_certificate: self.files.ca_certificate()?,
            serial: identity.serial,
            fingerprint: identity.fingerprint,
            not_after: identity.not_after,
        })
    }

    /// Whether the name is taken: by a file, or as one of the master's own.
    fn is_taken(&self) -> Result<bool, Failure> {
        Ok(self.files.anything_there()? || self.files.is_alias_of(&self.settings.master)?)
    }

    fn show(&self) -> Result<Answer, Failure> {
        let certificate = match self.records.read(self.name)? {
            Some(Record::Issued { certificate }) => certificate,
            Some(_) => return Ok(Answer::Unfinished),
            None if self.is_taken()? => return Ok(Answer::Foreign),
            None => return Ok(Answer::Absent),
        };
        if self.files.is_recorded(&certificate)? != Some(true) || self.files.is_revoked(&certificate)? {
            return Ok(Answer::Absent);
        }
        Ok(Answer::There { issued: self.issued(certificate, None)? })
    }

    /// The output of an earlier call's command; `None` while it runs.
    fn earlier_output(&self) -> Result<Option<String>, Failure> {
        Ok(self.until.within(OUTPUT_WAIT).attempt(|| self.output.read())?)
    }

    /// Runs one of the CA's commands for this name.
    /// The exit code says nothing: Puppet 2.7 ends with 0 after a failure. The files tell.
    fn run(&self, verb: &str, output: &File) -> Result<(), CommandError> {
        let mut program = self.settings.program.clone();
        let name = self.name.as_str();
        match self.settings.kind {
            Kind::PuppetCert => program.argv.extend([verb, "--color=false", name].map(str::to_owned)),
            Kind::PuppetserverCa => {
                program.argv.extend([verb.to_owned(), format!("--certname={name}")]);
                if let Some(config) = &self.settings.config {
                    program.argv.extend(["--config".to_owned(), config.display().to_string()]);
                }
            }
        }
        let lock = self.lock.as_ref().ok_or_else(|| io::Error::other("the CA is not locked"));
        let input = lock.and_then(|lock| lock.input(b"").map_err(io::Error::other));
        program.run_into(output, input.map_err(CommandError::Io)?, self.until).map(drop)
    }
}
