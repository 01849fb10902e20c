//! Generating a certificate: begun, or found begun, and judged by what is there.

use std::fs::File;
use std::path::Path;

use super::files::Today;
use super::output::{refuses_facts, says_key_saved, says_signed, says_taken};
use super::record::{Record, State};
use super::{Answer, Ca, Failure, Kind, configured};
use crate::model::certificate::PrivateKey;
use crate::system::clock;
use crate::system::command::{self, CommandError};
use crate::system::process;
use crate::system::text::excerpt;
use crate::system::trusted_file::{self, Owner};
use crate::system::x509;

/// A file that never is: the trusted facts in the master's own `csr_attributes.yaml` are for the master.
const NO_FACTS: &str = "/dev/null/csr_attributes.yaml";

/// Bytes of `puppet.conf`.
const MAX_CONFIGURATION: u64 = 1024 * 1024;

enum Conclusion {
    Made(Answer),
    Foreign,
    Nothing(String),
}

impl Ca<'_> {
    pub(super) fn generate(&self) -> Result<Answer, Failure> {
        match self.record()?.map(|record| record.state) {
            None | Some(State::Settled) => {}
            Some(State::Revoking | State::Flawed { .. } | State::Abandoned { .. }) => {
                if let answer @ (Answer::Foreign | Answer::Running) = self.revoke()? {
                    return Ok(answer);
                }
            }
            Some(State::Generating { .. }) => {
                if let Some(answer) = self.settle_generating()? {
                    return Ok(answer);
                }
            }
        }
        let mut record = self.record()?.unwrap_or_else(|| self.nothing_recorded());
        if let Some(certificate) = self.current(&record)? {
            let key = self.files.read(&self.files.private_key())?;
            let Some(key) = key.filter(|key| x509::key_fits(&certificate, key) == Ok(true)) else {
                return Ok(Answer::KeyGone);
            };
            return Ok(Answer::There { issued: self.issued(certificate, Some(PrivateKey::new(key)))? });
        }
        if let Some(answer) = self.make_room(&mut record)? {
            return Ok(answer);
        }
        self.begin(record)
    }

    /// Frees the name of what is no certificate any more: expired, revoked, not yet valid, of another CA, or without the
    /// CA's copy. The answer says whose the name is. Nothing is revoked.
    fn make_room(&self, record: &mut Record) -> Result<Option<Answer>, Failure> {
        let survey = self.survey(record)?;
        let before = record.made.len();
        record.made.retain(|made| survey.is_live(&made.serial));
        // A server may revoke all certificates of a name at once.
        let blocked =
            !survey.others.is_empty() || (self.settings.kind == Kind::PuppetserverCa && !survey.shared.is_empty());
        if blocked {
            if record.made.len() < before {
                self.write_or_forget(record)?;
            }
            if let Some(serial) = survey.ours.first() {
                return Err(self.replaced(serial, record, &survey));
            }
            return Ok(Some(Answer::Foreign));
        }
        if before > 0 {
            self.remove_ours(&self.record()?.unwrap_or_else(|| record.clone()), true)?;
        }
        let there = self.files.there()?;
        if there == [self.files.waiting()] {
            let path = self.files.waiting();
            let text = format!(
                "an agent has sent a request for {name}, which waits at the CA; sign it, or remove it with 'rm {path}'",
                name = self.name,
                path = path.display()
            );
            return Ok(Some(Answer::Waiting { text }));
        }
        let taken = !there.is_empty() || self.files.is_alias_of(&self.settings.master)?;
        Ok(taken.then_some(Answer::Foreign))
    }

    /// Runs the command for a name that the CA has nothing of.
    fn begin(&self, mut record: Record) -> Result<Answer, Failure> {
        // What cannot be judged afterwards is not made.
        self.files.judge_ca(&self.settings.master).map_err(|wrong| Failure::Unfit(Box::new(wrong)))?;
        let before = record.clone();
        record.state = State::Generating { boot: process::boot_id()?, since: clock::now() };
        self.records.write(&record)?;
        self.output.remove()?;
        let file = match self.output.create_with_room() {
            Ok(file) => file,
            Err(error) => {
                // Without its output the certificate would be taken for a human's.
                self.write_or_forget(&before)?;
                return Err(Failure::NoRoom(error));
            }
        };
        let ended = self.run_generate(&file);
        let output = command::read_back(&file)?;
        if let Err(Failure::Command(CommandError::TimedOut)) = ended {
            return Err(CommandError::TimedOut.into());
        }
        let failure = match ended {
            Err(error) => error.to_string(),
            Ok(()) => excerpt(&output),
        };
        match self.conclude(record, &output, clock::now())? {
            Conclusion::Made(answer) => Ok(answer),
            Conclusion::Foreign => Ok(Answer::Foreign),
            Conclusion::Nothing(why) => Err(Failure::NothingMade { why, output: failure }),
        }
    }

    /// Runs the command so that it reads no trusted facts of the master's.
    fn run_generate(&self, file: &File) -> Result<(), Failure> {
        let name = self.name.as_str();
        match (self.settings.kind, &self.settings.config) {
            (Kind::PuppetCert, _) => {
                self.run_with("generate", name, vec![format!("--csr_attributes={NO_FACTS}")], file)?;
                // Puppet before 3.4 has neither trusted facts nor the option, and has done nothing.
                if refuses_facts(&command::read_back(file)?) {
                    self.run("generate", name, file)?;
                }
            }
            (Kind::PuppetserverCa, None) => self.run("generate", name, file)?,
            (Kind::PuppetserverCa, Some(config)) => {
                let copy = self.records.configuration();
                self.copy_configuration(config, &copy)?;
                self.run_with("generate", name, configured(&copy).to_vec(), file)?;
            }
        }
        Ok(())
    }

    /// A later line counts for `puppetserver ca`, and `[server]` comes after the other sections.
    fn copy_configuration(&self, config: &Path, copy: &Path) -> Result<(), Failure> {
        let mut text = trusted_file::read_bytes(config, MAX_CONFIGURATION, Owner::Anyone)?;
        text.extend(format!("\n[server]\ncsr_attributes = {NO_FACTS}\n").bytes());
        Ok(trusted_file::replace(copy, 0o600, &text)?)
    }

    /// Settles an earlier call's generating.
    /// `None` when nothing came of it and it can begin again.
    pub(super) fn settle_generating(&self) -> Result<Option<Answer>, Failure> {
        let Some(output) = self.earlier_output()? else { return Ok(Some(Answer::Running)) };
        let Some(record) = self.record()? else { return Ok(None) };
        let State::Generating { boot, .. } = &record.state else { return Ok(None) };
        // After a restart of the machine, what was there before it is what the command has made. During the same boot
        // a human may have made it since, and only what the command has printed tells.
        let restarted = !boot.is_empty() && *boot != process::boot_id()?;
        let until = if restarted { process::booted_at()? } else { 0 };
        match self.conclude(record, &output, until)? {
            Conclusion::Made(answer) => Ok(Some(answer)),
            Conclusion::Foreign => Ok(Some(Answer::Foreign)),
            Conclusion::Nothing(_) => Ok(None),
        }
    }

    /// Judges a generating by its output and its files, and leaves a recorded certificate or nothing. The command may
    /// have written files up to that time, in seconds since 1970.
    fn conclude(&self, mut record: Record, output: &str, until: i64) -> Result<Conclusion, Failure> {
        let State::Generating { since, .. } = record.state else { return Ok(Conclusion::Foreign) };
        record.state = State::Settled;
        let key = self.files.read(&self.files.private_key())?;
        let Some(mut certificate) = self.files.read(&self.files.signed())? else {
            return self.nothing(record, output, key.as_deref());
        };
        let fits = |certificate: &str| key.as_deref().is_some_and(|key| x509::key_fits(certificate, key) == Ok(true));
        let cut_short = x509::identity(&certificate).is_err();
        let may_be_ours = cut_short || fits(&certificate);
        // A command that is killed, or a power loss, takes away what it printed. Then the key on the disk tells.
        let unsaid = || Ok::<_, Failure>(!says_taken(output) && self.files.were_made(since, until)?);
        let ours = says_signed(output, self.name)
            || (may_be_ours && (says_key_saved(output, self.name) || (key.is_some() && unsaid()?)));
        if !ours {
            self.write_or_forget(&record)?;
            return Ok(Conclusion::Foreign);
        }
        if cut_short {
            match self.whole_copy(fits)? {
                Some(copy) => certificate = copy,
                None => {
                    // The name had no other certificate before this command.
                    let others = self.survey(&record)?.others;
                    record.nobodys.extend(others.first().filter(|_| others.len() == 1).cloned());
                    return self.discard(&record, "the certificate was not written whole");
                }
            }
        }
        let made = self.made(&certificate)?;
        if self.files.inventory(&self.settings.master)?.shared.contains(&made.serial) {
            return self.discard(&record, "its serial number is another certificate's");
        }
        let flaw = self.flaw(&certificate, fits(&certificate))?;
        let void = self.survey(&record)?.void;
        // A certificate with a flaw must never be handed out, wherever this call dies.
        if flaw.is_some() {
            record.state = State::Flawed { serial: made.serial.clone() };
        }
        record.made.push(made);
        self.records.write(&record)?;
        self.output.remove()?;
        if let Some(flaw) = flaw {
            self.revoke()?;
            return Ok(Conclusion::Nothing(flaw));
        }
        let issued = self.issued(certificate, key.map(PrivateKey::new))?;
        Ok(Conclusion::Made(Answer::Generated { issued, void: !void.is_empty() }))
    }

    /// The node's copy of a certificate whose other copy was cut short, put in its place.
    /// Without one nobody has the certificate, and its key can go.
    fn whole_copy(&self, fits: impl Fn(&str) -> bool) -> Result<Option<String>, Failure> {
        let copy = self.files.read(&self.files.copy())?.filter(|copy| x509::identity(copy).is_ok());
        let Some(copy) = copy else { return Ok(None) };
        if self.flaw(&copy, fits(&copy))?.is_some() {
            return Ok(None);
        }
        trusted_file::replace(&self.files.signed(), 0o644, copy.as_bytes())?;
        Ok(Some(copy))
    }

    /// Removes what nobody has and nobody gets.
    fn discard(&self, record: &Record, why: &str) -> Result<Conclusion, Failure> {
        self.files.remove_made()?;
        self.write_or_forget(record)?;
        Ok(Conclusion::Nothing(why.to_owned()))
    }

    /// Leaves nothing of a generating that made no certificate but the key's identity.
    /// The server may sign for that key even after the command is gone.
    fn nothing(&self, mut record: Record, output: &str, key: Option<&str>) -> Result<Conclusion, Failure> {
        let key = key.filter(|_| says_key_saved(output, self.name)).and_then(|key| x509::spki(key).ok());
        if let Some(key) = key {
            record.state = State::Abandoned { key };
            self.write_or_forget(&record)?;
            self.files.remove_made()?;
            return Ok(Conclusion::Nothing("no certificate was made".to_owned()));
        }
        self.discard(&record, "no certificate was made")
    }

    /// The first flaw of a new certificate and its key.
    fn flaw(&self, certificate: &str, key_fits: bool) -> Result<Option<String>, Failure> {
        let Today { bundle, .. } = self.files.today()?;
        let identity = x509::identity(certificate)?;
        Ok(if identity.common_name != self.name.as_str() {
            Some("the certificate is for another name".to_owned())
        } else if let Err(error) = x509::verify(certificate, &bundle, clock::now()) {
            Some(error.to_string())
        } else if !key_fits {
            Some("the private key does not belong to the certificate".to_owned())
        } else if let Some(surplus) = x509::surplus(certificate, self.name.as_str())? {
            Some(format!(
                "the certificate has an {surplus} that nobody asked for, perhaps by the csr_attributes.yaml or the \
                 dns_alt_names of the master; name its puppet.conf in [authority] config"
            ))
        } else if self.files.is_revoked(certificate)? {
            // An older certificate had it, and the CA counts anew.
            Some("its serial number is in the revocation list already".to_owned())
        } else {
            None
        })
    }
}
