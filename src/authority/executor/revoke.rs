//! Revoking a certificate, and freeing its name.

use super::{Answer, Ca, Failure, Record};
use crate::system::command;
use crate::system::text::excerpt;
use crate::system::trusted_file;
use crate::system::x509::{self, X509Error};

impl Ca<'_> {
    pub(super) fn revoke(&self) -> Result<Answer, Failure> {
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
        if !self.is_surely_revoked(&certificate)? {
            match recorded {
                Some(true) => {}
                Some(false) => {
                    self.records.forget(self.name)?;
                    return Ok(Answer::Foreign);
                }
                // The CA's commands revoke its copy; without one they take the name as a regular expression.
                None => trusted_file::replace(&self.files.signed(), 0o644, certificate.as_bytes())?,
            }
            self.records.write(self.name, &Record::Revoking { certificate: certificate.clone() })?;
            self.output.remove()?;
            let file = self.output.create()?;
            self.run("revoke", &file)?;
            if !self.files.is_revoked(&certificate)? {
                let text = excerpt(&command::read_back(&file)?);
                return Err(Failure::NotRevoked(text));
            }
        }
        self.give_up(&certificate)?;
        Ok(Answer::Revoked)
    }

    /// As [`Files::is_revoked`](super::Files::is_revoked), but for a list that has ended: to revoke makes a new one.
    fn is_surely_revoked(&self, certificate: &str) -> Result<bool, Failure> {
        match self.files.is_revoked(certificate) {
            Err(Failure::Unsound(_, X509Error::ListEnded(_))) => Ok(false),
            revoked => revoked,
        }
    }

    /// Looks whether the server has signed for an abandoned key after all.
    /// That certificate must be revoked.
    fn late(&self, key: &str) -> Result<Option<Record>, Failure> {
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

    /// Frees the name of a revoked certificate: removes its files.
    /// While the CA's copy is this certificate, all of them are, even a key that does not fit. Without the
    /// copy, the key and the node's copy must fit.
    fn give_up(&self, certificate: &str) -> Result<(), Failure> {
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
}
