//! Generating a certificate: begun, or found begun, and judged by what is there.

use std::fs::File;
use std::mem;
use std::path::Path;

use super::files::Today;
use super::output::{refuses_facts, says_key_saved};
use super::plan::{Left, is_blocked};
use super::record::{Record, State};
use super::survey::{Signed, Survey};
use super::{Answer, Ca, Failure, Kind, configured};
use crate::model::certificate::PrivateKey;
use crate::model::extension::Extensions;
use crate::system::clock;
use crate::system::command::{self, CommandError};
use crate::system::process;
use crate::system::text::excerpt;
use crate::system::trusted_file::{self, Owner};
use crate::system::x509::{self, X509Error};

/// A file that never is: the trusted facts in the master's own `csr_attributes.yaml` are for the master.
const NO_FACTS: &str = "/dev/null/csr_attributes.yaml";

/// Bytes of `puppet.conf`.
const MAX_CONFIGURATION: u64 = 1024 * 1024;

enum Conclusion {
    Made(Answer),
    Foreign,
    /// This serial number was made, and somebody has another's request of the name signed since.
    Replaced(String),
    Nothing(String),
}

impl Ca<'_> {
    pub(super) fn generate(&self) -> Result<Answer, Failure> {
        match self.record()?.map(|record| record.state) {
            None | Some(State::Settled) => {}
            Some(State::Revoking | State::Flawed { .. } | State::Abandoned { .. }) => {
                if let answer @ (Answer::Foreign | Answer::Running) = self.finish_revocation(false)? {
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
        match self.make_room(&mut record)? {
            Ok(lines) => self.begin(record, lines),
            Err(answer) => Ok(answer),
        }
    }

    /// Frees the name of what is no certificate any more: expired, revoked, of another CA, or without the CA's copy, and
    /// tells how many certificates of the name the CA has ever signed. The answer says whose the name
    /// is. Nothing is revoked.
    fn make_room(&self, record: &mut Record) -> Result<Result<usize, Answer>, Failure> {
        let survey = self.survey(record)?;
        // Without its copy a renewal could not be told from another's certificate.
        let later = |signed: &Signed| signed.of_this_ca && survey.ours.contains(&signed.serial);
        if let Some(signed) = self.files.signed_now(&self.files.today()?)?.filter(later) {
            return Err(X509Error::NotYet(signed.not_before).into());
        }
        let before = record.made.len();
        record.retain_live(&survey);
        if is_blocked(self.settings.kind, &survey) {
            if record.made.len() < before {
                self.write_or_forget(record)?;
            }
            if let Some(serial) = survey.ours.first() {
                return Err(self.replaced(serial, record, &survey));
            }
            return Ok(Err(self.listed(&survey)));
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
            return Ok(Err(Answer::Waiting { text }));
        }
        let taken = !there.is_empty() || self.files.is_alias_of(&self.settings.master)?;
        Ok(if taken { Err(Answer::Foreign) } else { Ok(survey.lines) })
    }

    /// Says which certificates of others have the name.
    fn listed(&self, survey: &Survey) -> Answer {
        let (name, command) = (self.name, self.settings.program.argv.join(" "));
        let others = survey.others.iter().chain(&survey.shared).cloned().collect::<Vec<_>>().join(", ");
        let how = match self.settings.kind {
            // To revoke the number or the name would revoke another's certificate.
            _ if !survey.shared.is_empty() => "choose another name: another certificate has the number, too".to_owned(),
            Kind::PuppetCert => {
                format!("if no server uses it, revoke it: {command} revoke 0x{}", others.replace(", ", " 0x"))
            }
            Kind::PuppetserverCa => format!("if no server uses it, revoke it: {command} revoke --certname={name}"),
        };
        let text = format!(
            "the CA has signed serial number {others} for {name}, neither revoked nor expired, not espm's; {how}"
        );
        Answer::Listed { text }
    }

    /// Runs the command for a name that the CA has nothing of; it has signed so many of it before.
    fn begin(&self, mut record: Record, lines: usize) -> Result<Answer, Failure> {
        // What cannot be judged afterwards is not made.
        self.files.judge_ca(&self.settings.master).map_err(|wrong| Failure::Unfit(Box::new(wrong)))?;
        let before = record.clone();
        record.state =
            State::Generating { boot: process::boot_id()?, since: clock::now(), asked: self.asked.extensions.clone() };
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
        match self.conclude(record, &output, clock::now(), Some(lines))? {
            Conclusion::Made(answer) => Ok(answer),
            Conclusion::Foreign => Ok(Answer::Foreign),
            Conclusion::Replaced(serial) => {
                let record = self.record()?.unwrap_or_else(|| self.nothing_recorded());
                Err(self.replaced(&serial, &record, &self.survey(&record)?))
            }
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
        match self.conclude(record, &output, until, None)? {
            Conclusion::Made(answer) => Ok(Some(answer)),
            Conclusion::Foreign => Ok(Some(Answer::Foreign)),
            Conclusion::Nothing(_) | Conclusion::Replaced(_) => Ok(None),
        }
    }

    /// Judges a generating by its output and its files, and leaves a recorded certificate or nothing. The command may
    /// have written files up to that time, in seconds since 1970. `lines` counts what the CA had signed for the name
    /// before a command that this very call has run.
    fn conclude(
        &self,
        mut record: Record,
        output: &str,
        until: i64,
        lines: Option<usize>,
    ) -> Result<Conclusion, Failure> {
        let State::Generating { since, asked, .. } = mem::replace(&mut record.state, State::Settled) else {
            return Ok(Conclusion::Foreign);
        };
        let key = self.files.read(&self.files.private_key())?;
        let Some(mut certificate) = self.files.read(&self.files.signed())? else {
            return self.nothing(record, output, key.as_deref());
        };
        let fits = |certificate: &str| key.as_deref().is_some_and(|key| x509::key_fits(certificate, key) == Ok(true));
        let cut_short = x509::identity(&certificate).is_err();
        let left = Left {
            has_key: key.is_some(),
            may_fit: cut_short || fits(&certificate),
            in_time: key.is_some() && self.files.were_made(since, until)?,
        };
        let ours = left.is_commands(output, self.name);
        if !ours {
            self.write_or_forget(&record)?;
            return Ok(Conclusion::Foreign);
        }
        if cut_short {
            match self.whole_copy(fits, &asked)? {
                Some(copy) => certificate = copy,
                None => {
                    // The name had no other certificate before this command.
                    let others = self.survey(&record)?.others;
                    record.nobodys.extend(others.first().filter(|_| others.len() == 1).cloned());
                    return self.discard(&record, "the certificate was not written whole");
                }
            }
        }
        if !cut_short
            && !fits(&certificate)
            && let Some(conclusion) = self.of_another_key(&record, &certificate, fits, lines)?
        {
            return Ok(conclusion);
        }
        let made = self.made(&certificate)?;
        if self.files.inventory(&self.settings.master)?.shared.contains(&made.serial) {
            return self.discard(&record, "its serial number is another certificate's");
        }
        let flaw = self.flaw(&certificate, fits(&certificate), &asked)?;
        let void = self.survey(&record)?.void;
        // A certificate with a flaw must never be handed out, wherever this call dies.
        if flaw.is_some() {
            record.state = State::Flawed { serial: made.serial.clone() };
        }
        record.made.push(made);
        self.records.write(&record)?;
        self.output.remove()?;
        if let Some(flaw) = flaw {
            self.finish_revocation(false)?;
            return Ok(Conclusion::Nothing(flaw));
        }
        let issued = self.issued(certificate, key.map(PrivateKey::new))?;
        Ok(Conclusion::Made(Answer::Generated { issued, void: !void.is_empty() }))
    }

    /// Judges a certificate that has not the private key's: somebody may have had it signed meanwhile. `None` where
    /// it is surely the command's.
    fn of_another_key(
        &self,
        record: &Record,
        certificate: &str,
        fits: impl Fn(&str) -> bool,
        lines: Option<usize>,
    ) -> Result<Option<Conclusion>, Failure> {
        let Today { bundle, .. } = self.files.today()?;
        let is_commands = |copy: &String| fits(copy) && x509::verify(copy, &bundle, clock::now()).is_ok();
        let mut record = record.clone();
        if let Some(copy) = self.files.read(&self.files.copy())?.filter(is_commands) {
            let made = self.made(&copy)?;
            let serial = made.serial.clone();
            record.made.push(made);
            self.records.write(&record)?;
            self.output.remove()?;
            return Ok(Some(Conclusion::Replaced(serial)));
        }
        let now = self.survey(&record)?.lines;
        let renewed = record.has_key(&x509::spki(certificate)?);
        if !renewed && lines.is_some_and(|before| now == before + 1) {
            return Ok(None);
        }
        self.write_or_forget(&record)?;
        Ok(Some(if renewed {
            Conclusion::Nothing("an earlier certificate of the name was renewed meanwhile".to_owned())
        } else {
            Conclusion::Foreign
        }))
    }

    /// The node's copy of a certificate whose other copy was cut short, put in its place.
    /// Without one nobody has the certificate, and its key can go.
    fn whole_copy(&self, fits: impl Fn(&str) -> bool, asked: &Extensions) -> Result<Option<String>, Failure> {
        let copy = self.files.read(&self.files.copy())?.filter(|copy| x509::identity(copy).is_ok());
        let Some(copy) = copy else { return Ok(None) };
        if self.flaw(&copy, fits(&copy), asked)?.is_some() {
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
    fn flaw(&self, certificate: &str, key_fits: bool, asked: &Extensions) -> Result<Option<String>, Failure> {
        let Today { bundle, .. } = self.files.today()?;
        let identity = x509::identity(certificate)?;
        Ok(if identity.common_name != self.name.as_str() {
            Some("the certificate is for another name".to_owned())
        } else if let Err(error) = x509::verify(certificate, &bundle, clock::now()) {
            Some(error.to_string())
        } else if !key_fits {
            Some("the private key does not belong to the certificate".to_owned())
        } else if let Some(surplus) = x509::surplus(certificate, self.name.as_str(), asked)? {
            Some(format!(
                "the certificate has {surplus} that nobody asked for, perhaps by the csr_attributes.yaml or the \
                 dns_alt_names of the master; name its puppet.conf in [authority] config"
            ))
        } else if let Some(oid) = x509::lacking(certificate, asked)? {
            Some(format!("the certificate lacks the extension {oid} that was asked for"))
        } else if self.files.is_revoked(certificate)? {
            // An older certificate had it, and the CA counts anew.
            Some("its serial number is in the revocation list already".to_owned())
        } else {
            None
        })
    }
}
