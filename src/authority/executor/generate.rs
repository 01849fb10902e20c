//! Generating a certificate: begun, or found begun, and judged by what is there.

use super::files::Today;
use super::plan::is_blocked;
use super::record::{Record, Sent, State};
use super::survey::{Signed, Survey};
use super::{Answer, Ca, Failure, Kind, Way};
use crate::model::certificate::PrivateKey;
use crate::model::extension::Extensions;
use crate::system::clock;
use crate::system::x509::{self, X509Error};

/// The end of a generating.
pub(super) enum Conclusion {
    Made(Answer),
    Foreign,
    /// A request with another key is at the CA.
    Waiting,
    /// This serial number was made, and somebody has another's request of the name signed since.
    Replaced(String),
    Nothing(String),
}

impl Ca<'_> {
    pub(super) fn generate(&self) -> Result<Answer, Failure> {
        if let Some(answer) = self.finish_begun()? {
            return match &answer {
                Answer::Generated { issued, .. } if !self.is_asked(&issued.certificate)? => Ok(Answer::Different),
                _ => Ok(answer),
            };
        }
        let mut record = self.record()?.unwrap_or_else(|| self.nothing_recorded());
        if let Some(certificate) = self.current(&record)? {
            return self.hand_out(certificate);
        }
        match self.make_room(&mut record)? {
            Ok(lines) => self.begin(record, lines),
            Err(answer) => Ok(answer),
        }
    }

    /// Finishes what an earlier call has begun, and begins nothing.
    pub(super) fn settle(&self) -> Result<Answer, Failure> {
        match self.finish_begun()? {
            Some(answer) => Ok(answer),
            None => self.show(),
        }
    }

    /// Finishes what an earlier call has begun. `None` when there is nothing, or nothing came of it.
    fn finish_begun(&self) -> Result<Option<Answer>, Failure> {
        let Some(record) = self.record()? else { return Ok(None) };
        let answer = match (record.state.clone(), &self.settings.way) {
            (State::Generating { .. }, _) => self.settle_generating()?,
            (State::Requesting(sent), Way::Api(api)) => {
                self.files.judge_ca(&self.settings.master)?;
                self.resume(api, record, sent)?
            }
            (State::Requesting(sent), Way::Command(_)) => {
                self.abandon_request(record, sent)?;
                None
            }
            _ => None,
        };
        if answer.is_some() {
            return Ok(answer);
        }
        // A request that was abandoned now must be looked at before something else is recorded.
        if self.record()?.is_none_or(|record| record.state == State::Settled && !record.has_flaw()) {
            return Ok(None);
        }
        let answer = self.finish_revocation(false)?;
        Ok(Some(answer).filter(|answer| matches!(answer, Answer::Foreign | Answer::Running | Answer::Busy)))
    }

    /// The certificate that counts now, if it is what is asked for; with its key, unless that is the client's own.
    fn hand_out(&self, certificate: String) -> Result<Answer, Failure> {
        if !self.is_asked(&certificate)? {
            return Ok(Answer::Different);
        }
        if self.asked.csr.is_some() {
            return Ok(Answer::There { issued: self.issued(certificate, None)? });
        }
        let key = self.files.read(&self.files.private_key())?;
        let Some(key) = key.filter(|key| x509::key_fits(&certificate, key) == Ok(true)) else {
            return Ok(Answer::KeyGone);
        };
        Ok(Answer::There { issued: self.issued(certificate, Some(PrivateKey::new(key)))? })
    }

    /// Whether a certificate has the trusted facts that are asked for now and no others, and the client's own key where
    /// there is one.
    fn is_asked(&self, certificate: &str) -> Result<bool, Failure> {
        let key = x509::spki(certificate)?;
        let is_its_key = self.asked.key().is_none_or(|asked| asked == key);
        Ok(is_its_key && x509::has_exactly(certificate, &self.asked.extensions)?)
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
        let waiting = self.files.waiting();
        let only_waits = there == [waiting.as_path()];
        // Only who has the client's key can have made a request with it; it must ask for the same.
        let is_clients = match self.asked.key() {
            Some(key) if only_waits => {
                let sent = Sent { key, asked: self.asked.extensions.clone(), own: false };
                self.files.read(&waiting)?.is_some_and(|request| self.is_sent(&sent, &request))
            }
            _ => false,
        };
        if only_waits && !is_clients {
            return Ok(Err(self.waiting()));
        }
        let taken = !(there.is_empty() || is_clients) || self.files.is_alias_of(&self.settings.master)?;
        Ok(if taken { Err(Answer::Foreign) } else { Ok(survey.lines) })
    }

    /// Says that another's request has the name.
    pub(super) fn waiting(&self) -> Answer {
        let (name, path) = (self.name, self.files.waiting());
        let path = path.display();
        let text = format!(
            "an agent has sent a request for {name}, which waits at the CA; sign it, or remove it with 'rm {path}'"
        );
        Answer::Waiting { text }
    }

    /// Says which certificates of others have the name.
    pub(super) fn listed(&self, survey: &Survey) -> Answer {
        let (name, command) = (self.name, self.settings.humans_command());
        let others = survey.others.iter().chain(&survey.shared).cloned().collect::<Vec<_>>().join(", ");
        let how = match self.settings.kind {
            // To revoke the number or the name would revoke another's certificate.
            _ if !survey.shared.is_empty() => "choose another name: another certificate has the number, too".to_owned(),
            Kind::PuppetCert => {
                format!("if no server uses it, revoke it: {command} revoke 0x{}", others.replace(", ", " 0x"))
            }
            Kind::PuppetserverCa | Kind::PuppetCaApi => {
                format!("if no server uses it, revoke it: {command} revoke --certname={name}")
            }
        };
        let text = format!(
            "the CA has signed serial number {others} for {name}, neither revoked nor expired, not espm's; {how}"
        );
        Answer::Listed { text }
    }

    /// Begins for a name that the CA has nothing of; it has signed so many of it before.
    fn begin(&self, record: Record, lines: usize) -> Result<Answer, Failure> {
        // What cannot be judged afterwards is not made.
        self.files.judge_ca(&self.settings.master).map_err(|wrong| Failure::Unfit(Box::new(wrong)))?;
        match &self.settings.way {
            Way::Command(ca) => self.run_to_generate(ca, record, lines),
            Way::Api(api) => self.request(api, record, lines),
        }
    }

    /// Records a certificate that was made now, and judges it: it is handed out, or revoked and its files removed.
    pub(super) fn keep(
        &self,
        mut record: Record,
        certificate: String,
        key: Option<String>,
        key_fits: bool,
        asked: &Extensions,
    ) -> Result<Conclusion, Failure> {
        let mut made = self.made(&certificate)?;
        if self.files.inventory(&self.settings.master)?.shared.contains(&made.serial) {
            return self.discard(&record, "its serial number is another certificate's");
        }
        let flaw = self.flaw(&certificate, key_fits, asked)?;
        let void = self.survey(&record)?.void;
        // A certificate with a flaw must never be handed out, wherever this call dies.
        made.flawed = flaw.is_some();
        record.made.push(made);
        self.records.write(&record)?;
        self.output.remove()?;
        if let Some(flaw) = flaw {
            if let Answer::Busy | Answer::Running = self.finish_revocation(false)? {
                return Err(Failure::NotRevoked(format!("{flaw}; the CA is busy")));
            }
            return Ok(Conclusion::Nothing(flaw));
        }
        let issued = self.issued(certificate, key.map(PrivateKey::new))?;
        Ok(Conclusion::Made(Answer::Generated { issued, void: !void.is_empty() }))
    }

    /// Removes what nobody has and nobody gets.
    pub(super) fn discard(&self, record: &Record, why: &str) -> Result<Conclusion, Failure> {
        self.files.remove_made()?;
        self.write_or_forget(record)?;
        Ok(Conclusion::Nothing(why.to_owned()))
    }

    /// The first flaw of a new certificate and its key.
    pub(super) fn flaw(
        &self,
        certificate: &str,
        key_fits: bool,
        asked: &Extensions,
    ) -> Result<Option<String>, Failure> {
        let Today { bundle, .. } = self.files.today()?;
        let identity = x509::identity(certificate)?;
        Ok(if identity.common_name != self.name.as_str() {
            Some("the certificate is for another name".to_owned())
        } else if let Err(error) = x509::verify(certificate, &bundle, clock::now()) {
            Some(error.to_string())
        } else if !key_fits {
            Some("the private key does not belong to the certificate".to_owned())
        } else if let Some(surplus) = x509::surplus(certificate, self.name.as_str(), asked)? {
            let why = match self.settings.way {
                Way::Command(_) => {
                    "perhaps by the csr_attributes.yaml or the dns_alt_names of the master; name its puppet.conf in \
                     [authority] config"
                }
                Way::Api(_) => "the Puppet server added it; look at its ca.conf",
            };
            Some(format!("the certificate has {surplus} that nobody asked for, {why}"))
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
