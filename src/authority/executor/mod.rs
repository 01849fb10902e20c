//! The CA's commands, HTTP API and files, as the CA's user: what `puppet cert` and `puppetserver ca` do.
//!
//! Trusts no exit code and no message on its own: after each command or request it reads the files and the revocation
//! list. Touches only what a record of espm's names and what the CA's inventory gives to that name alone. Never runs
//! `puppet cert revoke` for a name without a certificate: that command takes such a name as a regular expression.

mod api;
mod check;
mod command;
mod ends;
mod facts;
mod failure;
mod files;
mod generate;
mod inventory;
mod output;
mod plan;
pub mod record;
mod revoke;
mod survey;

#[cfg(test)]
#[path = "../../../tests/model/authority/mod.rs"]
#[allow(clippy::panic, clippy::unwrap_used, clippy::indexing_slicing, reason = "a test panics")]
mod model;

use std::path::PathBuf;
use std::time::Duration;

use self::api::ApiError;
pub use self::api::KeyType;
pub(crate) use self::api::Settings as ApiSettings;
pub(crate) use self::command::Settings as CommandSettings;
use self::failure::Failure;
use self::files::Files;
use self::record::{Made, Record, Records, State};
use self::survey::{Facts, Survey};
use super::protocol::{Answer, Asked, Issued, Request, Verb};
use crate::model::certificate::PrivateKey;
use crate::model::name::NodeName;
use crate::model::words;
use crate::system::clock::{self, Deadline};
use crate::system::command::CommandError;
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
    /// How the CA is asked for certificates.
    Kind {
        /// `puppet cert`, Puppet 2.7 to 5.
        PuppetCert = "puppet-cert",
        /// `puppetserver ca`, Puppet 6 and later, and `OpenVox`.
        PuppetserverCa = "puppetserver-ca",
        /// The HTTP API of Puppet 6 and later, and `OpenVox`.
        PuppetCaApi = "puppet-ca-api",
    }
}

impl Kind {
    /// Why its CA cannot be asked for this, nothing being begun: the member of a body, and what to do.
    pub(crate) fn refusal(self, has_config: bool, asked: &Asked) -> Option<(&'static str, &'static str)> {
        match self {
            Self::PuppetCert | Self::PuppetserverCa if asked.csr.is_some() => Some((
                "csr",
                "cannot be given to this master's CA, whose command makes each key itself; leave it out, or ask the \
                 operator",
            )),
            Self::PuppetserverCa if !has_config && !asked.extensions.is_empty() => Some((
                "extensions",
                "cannot be given to this master's CA as it is; its operator has to name the Puppet server's puppet.conf \
                 in [authority] config",
            )),
            Self::PuppetCert | Self::PuppetserverCa | Self::PuppetCaApi => None,
        }
    }

    /// True if its master reads the revocation list when it starts, as masters up to Puppet 5 do.
    pub(crate) fn master_reads_list_at_start(self) -> bool {
        self == Self::PuppetCert
    }

    /// The section of puppet.conf that its master reads.
    /// Puppet 5 cannot read a puppet.conf that has the other one.
    pub(crate) fn section(self) -> &'static str {
        if self == Self::PuppetCert { "master" } else { "server" }
    }
}

/// The CA's command and files.
#[derive(Debug)]
pub(crate) struct Settings {
    /// Whose commands, or which interface.
    pub(crate) kind: Kind,
    /// How they are done.
    pub(crate) way: Way,
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

/// The ways to have a certificate signed or revoked.
#[derive(Debug)]
pub(crate) enum Way {
    /// The CA's command.
    Command(CommandSettings),
    /// The CA's HTTP API.
    Api(ApiSettings),
}

impl Settings {
    /// The command up to the verb that a human types.
    fn humans_command(&self) -> String {
        match &self.way {
            Way::Command(ca) => ca.program.argv.join(" "),
            Way::Api(_) => "puppetserver ca".to_owned(),
        }
    }
}

/// Does what a request asks for.
pub(crate) fn execute(settings: &Settings, request: &Request) -> Answer {
    let asked = Duration::from_secs(request.limit);
    let wait = Deadline::after(settings.timeout.min(asked));
    match attempt(settings, request, wait, Deadline::after(settings.timeout.min(asked.max(LEAST)))) {
        Ok(answer) => answer,
        Err(Failure::Command(CommandError::TimedOut) | Failure::Api(ApiError::TimedOut)) => Answer::TimedOut,
        Err(Failure::Replaced(text)) => Answer::Replaced { text },
        Err(Failure::NoFacts) => Answer::NoFacts,
        Err(failure @ (Failure::NothingMade { .. } | Failure::NoRoom(_) | Failure::Unfit(_))) => {
            Answer::Undone { text: failure.to_string() }
        }
        Err(failure) => Answer::Failed { text: failure.to_string() },
    }
}

fn attempt(settings: &Settings, request: &Request, wait: Deadline, until: Deadline) -> Result<Answer, Failure> {
    if request.asked.csr.as_ref().is_some_and(|csr| !x509::is_signed_by_its_key(csr)) {
        return Ok(Answer::NotSigned);
    }
    let records = Records::open(&settings.records)?;
    let name = &request.name;
    let files = Files { ssldir: &settings.ssldir, cadir: &settings.cadir, name };
    let mut ca =
        Ca { settings, output: records.output(name), records, name, asked: &request.asked, files, until, lock: None };
    let change = match request.verb {
        Verb::Show => return ca.show(),
        Verb::Check => return ca.check(),
        Verb::Generate => Ca::generate,
        Verb::Settle => Ca::settle,
        Verb::Revoke => Ca::revoke,
    };
    let wait = wait.within(LOCK_WAIT);
    // The server serializes what it does itself.
    let name = match settings.way {
        Way::Command(_) => {
            ca.lock = wait.attempt(|| ca.records.try_lock())?;
            None
        }
        Way::Api(_) => wait.attempt(|| ca.records.try_lock_name(name))?,
    };
    if ca.lock.is_none() && name.is_none() {
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
    asked: &'a Asked,
    files: Files<'a>,
    until: Deadline,
    /// The lock around every command, which the commands share.
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

    fn record(&self) -> Result<Option<Record>, Failure> {
        self.records.read(self.name, || self.files.today())
    }

    fn nothing_recorded(&self) -> Record {
        Record::new(self.name, State::Settled, vec![])
    }

    fn write_or_forget(&self, record: &Record) -> Result<(), Failure> {
        if record.holds_nothing() {
            return Ok(self.records.forget(self.name)?);
        }
        self.records.write(record)?;
        Ok(self.output.remove()?)
    }

    /// A certificate that was made now.
    fn made(&self, certificate: &str) -> Result<Made, Failure> {
        Ok(Made::by(&self.files.today()?.ca, certificate)?)
    }

    /// Whose the certificates of the name are.
    fn survey(&self, record: &Record) -> Result<Survey, Failure> {
        let today = self.files.today()?;
        let inventory = self.files.inventory(&self.settings.master)?;
        let signed = self.files.signed_now(&today)?;
        let listed = inventory.lines.iter().map(|line| line.serial.clone());
        let serials = listed.chain(signed.iter().map(|signed| signed.serial.clone())).collect();
        let revoked = self.files.revoked(&today, &serials)?;
        let (inventory, signed, now) = (&inventory, signed.as_ref(), clock::now());
        Ok(Facts { record, ca: &today.ca, inventory, signed, revoked: &revoked, now }.survey())
    }

    /// The certificate that counts now: the CA's copy, if its key is recorded, and it is valid and not revoked.
    fn current(&self, record: &Record) -> Result<Option<String>, Failure> {
        let today = self.files.today()?;
        let Some(signed) =
            self.files.signed_now(&today)?.filter(|signed| signed.counts(record, &today.ca, clock::now()))
        else {
            return Ok(None);
        };
        let revoked = self.files.is_serial_revoked(&today, &signed.serial)?;
        if revoked { Ok(None) } else { self.files.read(&self.files.signed()) }
    }

    fn show(&self) -> Result<Answer, Failure> {
        let Some(record) = self.record()? else {
            let taken = !self.files.there()?.is_empty() || self.files.is_alias_of(&self.settings.master)?;
            return Ok(if taken { Answer::Foreign } else { Answer::Absent });
        };
        if record.state != State::Settled {
            return Ok(Answer::Unfinished);
        }
        if let Some(certificate) = self.current(&record)? {
            return Ok(Answer::There { issued: self.issued(certificate, None)? });
        }
        // One that the CA has no copy of, or that a human has replaced.
        Ok(if self.survey(&record)?.ours.is_empty() { Answer::Absent } else { Answer::Unfinished })
    }
}
