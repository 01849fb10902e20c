//! Revoking a certificate and its renewals, and freeing their name.

use super::plan::Next;
use super::record::{Made, Record, Sent, State};
use super::survey::Survey;
use super::{Answer, Ca, Failure, Kind, LOCK_WAIT, Way};
use crate::system::text::excerpt;
use crate::system::x509;

impl Ca<'_> {
    /// Revokes all that the record claims, as asked. Nothing else is revoked, whatever the record says: see
    /// [`super::survey`].
    pub(super) fn revoke(&self) -> Result<Answer, Failure> {
        match self.record()? {
            Some(Record { state: State::Generating { .. }, .. }) => {
                if let Some(Answer::Running) = self.settle_generating()? {
                    return Ok(Answer::Running);
                }
            }
            Some(record) => {
                if let State::Requesting(sent) = record.state.clone() {
                    self.abandon_request(record, sent)?;
                }
            }
            None => {}
        }
        self.finish_revocation(true)
    }

    /// Keeps the revocation list as it is; `false` when others take too long over it.
    fn keep_revocation_list(&self) -> Result<bool, Failure> {
        let lock = self.until.within(LOCK_WAIT).attempt(|| self.records.try_lock())?;
        let Some(_lock) = lock else { return Ok(false) };
        self.files.keep_revocation_list(&self.records.revocation_list())?;
        Ok(true)
    }

    /// Finishes the revocation that was begun, or that of a certificate with a flaw; where it is asked for, revokes all.
    pub(super) fn finish_revocation(&self, asked: bool) -> Result<Answer, Failure> {
        let mut record = self.record()?;
        if let Some(Record { state: State::Abandoned(sent), .. }) = &record {
            record = self.late(sent)?;
        }
        let Some(mut record) = record.filter(|record| !record.made.is_empty()) else {
            return Ok(if self.files.there()?.is_empty() { Answer::Absent } else { Answer::Foreign });
        };
        if self.earlier_output()?.is_none() {
            return Ok(Answer::Running);
        }
        if asked {
            record.state = State::Revoking;
        } else if record.state == State::Settled && !record.has_flaw() {
            return Ok(Answer::Absent);
        }
        let kind = self.settings.kind;
        let mut survey = self.survey(&record)?;
        let mut next = Next::of(kind, &record, &survey);
        if matches!(next, Next::Revoke(..) | Next::Cannot(_)) {
            self.records.write(&record)?;
        }
        let mut begun = false;
        // A renewal may come between.
        loop {
            let (serial, by) = match next {
                Next::Revoke(serial, by) => (serial, by),
                Next::Void if !begun => return Ok(Answer::Void),
                Next::Done | Next::Void => break,
                Next::Cannot(serial) => return Err(self.replaced(&serial, &record, &survey)),
            };
            let printed = match &self.settings.way {
                Way::Command(ca) => {
                    let word = self.word_for(&serial, by).ok_or_else(|| self.replaced(&serial, &record, &survey))?;
                    self.files.keep_revocation_list(&self.records.revocation_list())?;
                    Ok(self.run_to_revoke(ca, &word)?)
                }
                Way::Api(api) => {
                    if !self.keep_revocation_list()? {
                        return Ok(Answer::Busy);
                    }
                    self.order_revocation(api)
                }
            };
            let now = self.survey(&record)?;
            if now.revoked.is_subset(&survey.revoked) {
                // The server may still do what it has not answered.
                return Err(self.not_revoked(&serial, &record, &printed?)?);
            }
            (survey, begun) = (now, true);
            next = Next::of(kind, &record, &survey);
        }
        self.settle_revoked(record, &survey)?;
        Ok(Answer::Revoked)
    }

    /// Looks whether the server has taken an abandoned request, or has signed it, after all.
    /// That request must go, and that certificate be revoked; but one of the client's own key may be another's work.
    fn late(&self, sent: &Sent) -> Result<Option<Record>, Failure> {
        self.remove_request(sent)?;
        let signed = self.files.read(&self.files.signed())?;
        let is_of_key = |pem: &str| {
            // As release 0.1 has recorded it.
            let keys = [x509::spki(pem), x509::key_of_certificate(pem)];
            keys.iter().any(|key| key.as_ref() == Ok(&sent.key))
        };
        let mut record = self.record()?.unwrap_or_else(|| self.nothing_recorded());
        record.state = State::Settled;
        if let Some(certificate) = signed.filter(|signed| is_of_key(signed)) {
            record.made.push(Made { flawed: sent.own, ..self.made(&certificate)? });
        }
        self.write_or_forget(&record)?;
        Ok(Some(record))
    }

    /// The failure after a command that has revoked nothing.
    fn not_revoked(&self, serial: &str, record: &Record, output: &str) -> Result<Failure, Failure> {
        let cannot = match self.settings.kind {
            Kind::PuppetCert => output.contains(&format!("find a serial number for 0x{}", serial.to_ascii_lowercase())),
            // It has revoked its copy, and that alone.
            Kind::PuppetserverCa | Kind::PuppetCaApi => {
                let signed = self.files.signed_now(&self.files.today()?)?;
                let survey = self.survey(record)?;
                signed.is_none_or(|signed| !survey.ours.contains(&signed.serial))
            }
        };
        if cannot {
            Ok(self.replaced(serial, record, &self.survey(record)?))
        } else {
            Ok(Failure::NotRevoked(excerpt(output)))
        }
    }

    /// Says what a human can type where the CA cannot revoke one certificate alone.
    pub(super) fn replaced(&self, serial: &str, record: &Record, survey: &Survey) -> Failure {
        let name = self.name;
        let (copy, record) = (self.files.signed(), self.records.path(&record.name));
        let others: Vec<_> = survey.others.iter().map(String::as_str).collect();
        let command = self.settings.humans_command();
        let how = match self.settings.kind {
            Kind::PuppetCert => format!("'{command} revoke 0x{serial}' needs Puppet 2.7.26 or newer"),
            // To revoke by the name would revoke that other one.
            _ if !survey.shared.is_empty() => format!(
                "do not revoke by the name: another certificate has serial number {}, too; look for it in inventory.txt",
                survey.shared.iter().cloned().collect::<Vec<_>>().join(", ")
            ),
            _ if others.is_empty() => format!(
                "write its certificate, which is in {}, into {} and send the request again",
                record.display(),
                copy.display()
            ),
            _ => format!(
                "the CA has {} of that name, too: '{command} revoke --certname={name}' revokes all of them (Puppet Server \
                 8.2.2 or newer); then make the other's anew",
                others.join(", ")
            ),
        };
        Failure::Replaced(format!(
            "serial number {serial} of {name} is valid, and the CA cannot revoke it alone; {how}"
        ))
    }

    /// Frees the name of what is revoked, and drops it from the record. What another CA made stays there: that CA may
    /// come back from a backup.
    fn settle_revoked(&self, mut record: Record, survey: &Survey) -> Result<(), Failure> {
        let mut gone = record.clone();
        if record.state != State::Revoking {
            gone.made.retain(|made| !survey.is_live(made));
        }
        self.remove_ours(&gone, survey.others.is_empty() && !gone.made.is_empty())?;
        record.retain_live(survey);
        record.state = State::Settled;
        self.write_or_forget(&record)
    }

    /// Removes the files of the keys in the record. While the CA's copy has one of them, all files of the name go, even
    /// a key that does not fit; but not a request with another key, which an agent may have sent. A copy that was cut
    /// short is nobody's where nobody else has a certificate of the name.
    pub(super) fn remove_ours(&self, record: &Record, alone: bool) -> Result<(), Failure> {
        let ours = |key: Option<&String>| key.is_some_and(|key| record.has_key(key));
        let (copy, waiting) = (self.files.signed(), self.files.waiting());
        let copy_is_ours = ours(self.files.key_in(&copy)?.as_ref());
        self.files.remove(|path, key| {
            let cut_short = alone && key.is_none() && *path == copy;
            ours(key.as_ref()) || cut_short || (copy_is_ours && *path != waiting)
        })
    }
}
