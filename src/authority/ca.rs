//! The CA's commands and files, as the CA's user: what `puppet cert` and `puppetserver ca` do.
//!
//! Trusts no exit code and no message on its own: after each command it looks at the files and the
//! revocation list. Touches only what a record of ours names. `puppet cert revoke` is never run for
//! a name without an exact certificate, for it would take the name as a regular expression.

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use super::files::Files;
use super::output::{says_key_saved, says_signed};
use super::record::{Record, Records};
use super::stop::Stop;
use super::verb::{Answer, Issued, Order, Verb};
use crate::clock::{self, Deadline};
use crate::command::{self, CommandError, Program};
use crate::lock::{Lease, LockError, Queue};
use crate::name::NodeName;
use crate::outcome::PrivateKey;
use crate::text::excerpt;
use crate::trusted_file;
use crate::x509;

/// How long the lock is waited for. Whoever asks has waited for its turn already: it is the command of
/// a call that died which has the lock.
const LOCK_WAIT: Duration = Duration::from_secs(5);

/// How long a proof's command from an earlier call is waited for.
const PROOF_WAIT: Duration = Duration::from_secs(5);

/// The least that an order can make one of the CA's commands last, unless it is configured to be less:
/// one that is ended while it writes the CA's files may leave them cut short.
const LEAST: Duration = Duration::from_secs(30);

/// Whose commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `puppet cert`, Puppet 2.7 to 5.
    PuppetCert,
    /// `puppetserver ca`, Puppet 6 and later, and `OpenVox`.
    PuppetserverCa,
}

/// How the CA is run and where its files are.
#[derive(Debug)]
pub struct Settings {
    /// Whose commands.
    pub kind: Kind,
    /// The command up to the verb.
    pub program: Program,
    /// `puppet.conf`, for `puppetserver ca` alone.
    pub config: Option<PathBuf>,
    /// Puppet's `ssldir`.
    pub ssldir: PathBuf,
    /// Puppet's `cadir`.
    pub cadir: PathBuf,
    /// The master's own certname.
    pub master: String,
    /// The directory of our records.
    pub records: PathBuf,
    /// Seconds for one command.
    pub timeout: Duration,
}

/// Does what an order says.
pub fn obey(settings: &Settings, order: &Order) -> Answer {
    let ordered = Duration::from_secs(order.limit);
    let wait = Deadline::after(settings.timeout.min(ordered));
    match attempt(settings, order, wait, Deadline::after(settings.timeout.min(ordered.max(LEAST)))) {
        Ok(answer) => answer,
        Err(Stop::TimedOut) => Answer::TimedOut,
        Err(Stop::Failed(text)) => Answer::Failed { text },
        Err(Stop::Undone(text)) => Answer::Undone { text },
        Err(Stop::File(error)) => Answer::Failed { text: error.to_string() },
    }
}

fn attempt(settings: &Settings, order: &Order, wait: Deadline, until: Deadline) -> Result<Answer, Stop> {
    let records = Records::open(&settings.records)?;
    let name = &order.name;
    let files = Files { ssldir: &settings.ssldir, cadir: &settings.cadir, name };
    match order.verb {
        Verb::Show => return Ca { settings, records, name, files, until, lock: None }.show(),
        Verb::Check => return Ca { settings, records, name, files, until, lock: None }.check(),
        Verb::Generate | Verb::Revoke => {}
    }
    let alone = Queue::new(&settings.records, "lock-queue", usize::MAX);
    let lock = match alone.wait(wait.within(LOCK_WAIT), || records.try_lock()) {
        Ok(lock) => lock,
        Err(LockError::File(error)) => return Err(error.into()),
        Err(LockError::Full | LockError::TimedOut) => return Ok(Answer::Busy),
    };
    let ca = Ca { settings, records, name, files, until, lock: Some(&lock) };
    let answer = if order.verb == Verb::Generate { ca.generate() } else { ca.revoke() };
    // After an error a command may still be there, and has the lock until it is gone.
    if answer.is_ok() {
        lock.give_back();
    }
    answer
}

/// The CA, for one name.
struct Ca<'a> {
    settings: &'a Settings,
    records: Records,
    name: &'a NodeName,
    files: Files<'a>,
    until: Deadline,
    /// The lock around every change, which the commands share.
    lock: Option<&'a Lease>,
}

impl Ca<'_> {
    fn issued(&self, certificate: String, private_key: Option<PrivateKey>) -> Result<Issued, Stop> {
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

    /// Whether the name is somebody's: by a file, or as one by which agents know the master.
    fn is_taken(&self) -> Result<bool, Stop> {
        Ok(self.files.anything_there()? || self.files.is_alias_of(&self.settings.master)?)
    }

    fn check(&self) -> Result<Answer, Stop> {
        self.files.is_revoked(&self.files.ca_certificate()?)?;
        self.is_taken()?;
        self.files.is_anothers("")?;
        Ok(Answer::Sound)
    }

    fn show(&self) -> Result<Answer, Stop> {
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

    fn generate(&self) -> Result<Answer, Stop> {
        match self.records.read(self.name)? {
            None => {}
            Some(Record::Issued { certificate }) => match self.files.is_recorded(&certificate)? {
                Some(true) if !self.files.is_revoked(&certificate)? => {
                    let key = self.files.read(&self.files.private_key())?;
                    let Some(key) = key.filter(|key| x509::key_fits(&certificate, key) == Ok(true)) else {
                        return Ok(Answer::KeyGone);
                    };
                    return Ok(Answer::There { issued: self.issued(certificate, Some(PrivateKey::new(key)))? });
                }
                // It was revoked, removed or replaced by hand.
                _ => {
                    if let answer @ (Answer::Foreign | Answer::Running) = self.revoke()? {
                        return Ok(answer);
                    }
                }
            },
            Some(Record::Revoking { .. } | Record::Abandoned { .. }) => {
                if let answer @ (Answer::Foreign | Answer::Running) = self.revoke()? {
                    return Ok(answer);
                }
            }
            Some(Record::Generating) => {
                if let Some(answer) = self.settle_generating()? {
                    return Ok(answer);
                }
            }
        }
        if self.is_taken()? {
            return Ok(Answer::Foreign);
        }
        self.records.write(self.name, &Record::Generating)?;
        let proof = self.records.new_proof(self.name)?;
        if let Err(full) = trusted_file::reserve(&proof, command::PROOF_ROOM) {
            // Without its word a certificate of the command's would be taken for a human's.
            self.records.forget(self.name)?;
            return Err(Stop::Undone(format!("no room for what the CA's command says: {full}")));
        }
        let ended = self.run("generate", &proof);
        let output = command::read_back(&proof)?;
        if let Err(error @ CommandError::TimedOut) = ended {
            return Err(error.into());
        }
        let failure = match ended {
            Err(error) => error.to_string(),
            Ok(()) => excerpt(&output),
        };
        match self.conclude(&output)? {
            Conclusion::Made(answer) => Ok(answer),
            Conclusion::Foreign => Ok(Answer::Foreign),
            Conclusion::Nothing(why) => Err(Stop::Undone(format!("{why}: {failure}"))),
        }
    }

    /// What an earlier call's command printed; `None` while it runs.
    fn earlier_output(&self) -> Result<Option<String>, Stop> {
        let wait = self.until.within(PROOF_WAIT);
        let alone = Queue::new(&self.settings.records, "proof-queue", usize::MAX);
        match alone.wait(wait, || self.records.try_read_proof(self.name)) {
            Ok(output) => Ok(Some(output)),
            Err(LockError::File(error)) => Err(error.into()),
            Err(LockError::Full | LockError::TimedOut) => Ok(None),
        }
    }

    /// Finds out how an earlier call's generating ended: with a certificate of ours, with one of
    /// somebody's, or with nothing, so that it can begin again.
    fn settle_generating(&self) -> Result<Option<Answer>, Stop> {
        let Some(output) = self.earlier_output()? else { return Ok(Some(Answer::Running)) };
        match self.conclude(&output)? {
            Conclusion::Made(answer) => Ok(Some(answer)),
            Conclusion::Foreign => Ok(Some(Answer::Foreign)),
            Conclusion::Nothing(_) => Ok(None),
        }
    }

    /// Judges a generating by its output and its files, and leaves either a recorded certificate or nothing.
    fn conclude(&self, output: &str) -> Result<Conclusion, Stop> {
        let key = self.files.read(&self.files.private_key())?;
        let Some(mut certificate) = self.files.read(&self.files.signed())? else {
            return self.nothing(output, key.as_deref());
        };
        let fits = |certificate: &str| key.as_deref().is_some_and(|key| x509::key_fits(certificate, key) == Ok(true));
        let cut_short = x509::identity(&certificate).is_err();
        if !(says_signed(output, self.name) || (cut_short || fits(&certificate)) && says_key_saved(output, self.name)) {
            self.records.forget(self.name)?;
            return Ok(Conclusion::Foreign);
        }
        if cut_short {
            // The node's copy may be whole. Without one nobody has the certificate, and its key goes now.
            let copy = self.files.read(&self.files.copy())?.filter(|copy| x509::identity(copy).is_ok());
            let whole = match &copy {
                Some(copy) => self.flaw(copy, fits(copy))?.is_none(),
                None => false,
            };
            let Some(copy) = copy.filter(|_| whole) else {
                self.files.remove()?;
                self.records.forget(self.name)?;
                return Ok(Conclusion::Nothing("the certificate was not written whole"));
            };
            trusted_file::replace(&self.files.signed(), 0o644, copy.as_bytes())?;
            certificate = copy;
        }
        if self.files.is_anothers(&x509::identity(&certificate)?.serial)? {
            // Nobody has it, and nobody will: its key goes now.
            self.files.remove()?;
            self.records.forget(self.name)?;
            return Ok(Conclusion::Nothing("its serial number is another certificate's"));
        }
        let fits = fits(&certificate);
        let flaw = self.flaw(&certificate, fits)?;
        // One with a flaw must never be handed out, wherever this call dies.
        let record = match flaw {
            None => Record::Issued { certificate: certificate.clone() },
            Some(_) => Record::Revoking { certificate: certificate.clone() },
        };
        self.records.write(self.name, &record)?;
        self.records.remove_proof(self.name)?;
        match flaw {
            None => {
                let issued = self.issued(certificate, key.map(PrivateKey::new))?;
                Ok(Conclusion::Made(Answer::Generated { issued }))
            }
            Some(flaw) => {
                self.revoke()?;
                Ok(Conclusion::Nothing(flaw))
            }
        }
    }

    /// Leaves nothing of a generating that made no certificate, but what tells one that the server signs
    /// for its key even now, while the command that asked for it is gone.
    fn nothing(&self, output: &str, key: Option<&str>) -> Result<Conclusion, Stop> {
        let key = key.filter(|_| says_key_saved(output, self.name)).and_then(|key| x509::key_of_private(key).ok());
        if let Some(key) = key {
            self.records.write(self.name, &Record::Abandoned { key })?;
            self.records.remove_proof(self.name)?;
            self.files.remove()?;
        } else {
            self.files.remove()?;
            self.records.forget(self.name)?;
        }
        Ok(Conclusion::Nothing("no certificate was made"))
    }

    /// What is wrong with a new certificate and its key.
    fn flaw(&self, certificate: &str, key_fits: bool) -> Result<Option<&'static str>, Stop> {
        let bundle = self.files.ca_certificate()?;
        let identity = x509::identity(certificate)?;
        Ok(if identity.common_name != self.name.as_str() {
            Some("the certificate is for another name")
        } else if let Err(error) = x509::verify(certificate, &bundle, clock::now()) {
            Some(error.0)
        } else if !key_fits {
            Some("the private key does not belong to the certificate")
        } else if self.files.is_revoked(certificate)? {
            // Of a certificate from before, where the CA counts anew.
            Some("its serial number is in the revocation list already")
        } else {
            None
        })
    }

    fn revoke(&self) -> Result<Answer, Stop> {
        let mut record = self.records.read(self.name)?;
        if record == Some(Record::Generating) {
            if let Some(answer @ (Answer::Running | Answer::Foreign)) = self.settle_generating()? {
                return Ok(answer);
            }
            record = self.records.read(self.name)?;
        }
        if let Some(Record::Abandoned { key }) = record {
            record = self.late(&key)?;
        }
        let (Some(Record::Issued { certificate }) | Some(Record::Revoking { certificate })) = record else {
            return Ok(if self.files.anything_there()? { Answer::Foreign } else { Answer::Absent });
        };
        if self.earlier_output()?.is_none() {
            return Ok(Answer::Running);
        }
        let recorded = self.files.is_recorded(&certificate)?;
        if !self.files.is_revoked(&certificate)? {
            match recorded {
                Some(true) => {}
                Some(false) => {
                    self.records.forget(self.name)?;
                    return Ok(Answer::Foreign);
                }
                // The CA's commands revoke by its copy, and without one take the name as a regular expression.
                None => trusted_file::replace(&self.files.signed(), 0o644, certificate.as_bytes())?,
            }
            self.records.write(self.name, &Record::Revoking { certificate: certificate.clone() })?;
            let proof = self.records.new_proof(self.name)?;
            self.run("revoke", &proof)?;
            if !self.files.is_revoked(&certificate)? {
                let text = excerpt(&command::read_back(&proof)?);
                return Err(Stop::Failed(format!("the serial number is not in the revocation list: {text}")));
            }
        }
        self.give_up(&certificate)?;
        Ok(Answer::Revoked)
    }

    /// Looks whether the server has signed for an abandoned key; such a certificate is to be revoked.
    fn late(&self, key: &str) -> Result<Option<Record>, Stop> {
        let signed = self.files.read(&self.files.signed())?;
        let ours = signed.filter(|signed| x509::key_of_certificate(signed).is_ok_and(|of| of == key));
        let Some(certificate) = ours else {
            self.records.forget(self.name)?;
            return Ok(None);
        };
        let record = Record::Revoking { certificate };
        self.records.write(self.name, &record)?;
        Ok(Some(record))
    }

    /// Frees the name of a certificate that is at its end: removes its files. While the CA's copy is this
    /// certificate, they all are its own, a key that does not fit too; without the copy, those that fit.
    fn give_up(&self, certificate: &str) -> Result<(), Stop> {
        let own = match self.files.is_recorded(certificate)? {
            Some(own) => own,
            None => {
                let key = self.files.read(&self.files.private_key())?;
                let copy = self.files.read(&self.files.copy())?;
                key.is_none_or(|key| x509::key_fits(certificate, &key) == Ok(true))
                    && copy.is_none_or(|copy| x509::identity(&copy) == x509::identity(certificate))
            }
        };
        if own {
            self.files.remove()?;
        }
        self.records.forget(self.name)?;
        Ok(())
    }

    /// Runs one of the CA's commands for this name. Its exit code is not looked at: Puppet 2.7 has 0
    /// for failures, and what counts is in the files.
    fn run(&self, verb: &str, proof: &File) -> Result<(), CommandError> {
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
        let alone = self.lock.ok_or_else(|| io::Error::other("the CA is not locked"));
        let input = alone.and_then(|lock| lock.input(b"").map_err(|error| io::Error::other(error.to_string())));
        program.run_into(proof, input.map_err(CommandError::Io)?, self.until).map(drop)
    }
}

/// How a generating ended.
enum Conclusion {
    Made(Answer),
    Foreign,
    Nothing(&'static str),
}
