//! Generating a certificate: begun, or found begun, and judged by what is there.

use std::borrow::Cow;

use super::{Answer, Ca, Failure, Record};
use crate::authority::executor::output::{says_key_saved, says_signed};
use crate::model::certificate::PrivateKey;
use crate::system::clock;
use crate::system::command::{self, CommandError};
use crate::system::text::excerpt;
use crate::system::trusted_file;
use crate::system::x509;

enum Conclusion {
    Made(Answer),
    Foreign,
    Nothing(Cow<'static, str>),
}

impl Ca<'_> {
    pub(super) fn generate(&self) -> Result<Answer, Failure> {
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
                // A human has revoked, removed or replaced it.
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
        // What cannot be judged afterwards is not made.
        self.files.judge_ca(&self.settings.master).map_err(|wrong| Failure::Unfit(Box::new(wrong)))?;
        self.records.write(self.name, &Record::Generating)?;
        self.output.remove()?;
        let file = match self.output.create_with_room() {
            Ok(file) => file,
            Err(error) => {
                // Without its output the certificate would be taken for a human's.
                self.records.forget(self.name)?;
                return Err(Failure::NoRoom(error));
            }
        };
        let ended = self.run("generate", &file);
        let output = command::read_back(&file)?;
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
            Conclusion::Nothing(why) => Err(Failure::NothingMade { why, output: failure }),
        }
    }

    /// Settles an earlier call's generating.
    /// `None` when nothing came of it and it can begin again.
    pub(super) fn settle_generating(&self) -> Result<Option<Answer>, Failure> {
        let Some(output) = self.earlier_output()? else { return Ok(Some(Answer::Running)) };
        match self.conclude(&output)? {
            Conclusion::Made(answer) => Ok(Some(answer)),
            Conclusion::Foreign => Ok(Some(Answer::Foreign)),
            Conclusion::Nothing(_) => Ok(None),
        }
    }

    /// Judges a generating by its output and its files, and leaves a recorded certificate or nothing.
    fn conclude(&self, output: &str) -> Result<Conclusion, Failure> {
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
            // The node's copy may be whole. Without one nobody has the certificate, and its key can go.
            let copy = self.files.read(&self.files.copy())?.filter(|copy| x509::identity(copy).is_ok());
            let whole = match &copy {
                Some(copy) => self.flaw(copy, fits(copy))?.is_none(),
                None => false,
            };
            let Some(copy) = copy.filter(|_| whole) else {
                self.files.remove()?;
                self.records.forget(self.name)?;
                return Ok(Conclusion::Nothing("the certificate was not written whole".into()));
            };
            trusted_file::replace(&self.files.signed(), 0o644, copy.as_bytes())?;
            certificate = copy;
        }
        if self.files.is_anothers(&x509::identity(&certificate)?.serial)? {
            // Nobody has it, and nobody will: its key can go.
            self.files.remove()?;
            self.records.forget(self.name)?;
            return Ok(Conclusion::Nothing("its serial number is another certificate's".into()));
        }
        let fits = fits(&certificate);
        let flaw = self.flaw(&certificate, fits)?;
        // A certificate with a flaw must never be handed out, wherever this call dies.
        let record = match flaw {
            None => Record::Issued { certificate: certificate.clone() },
            Some(_) => Record::Revoking { certificate: certificate.clone() },
        };
        self.records.write(self.name, &record)?;
        self.output.remove()?;
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

    /// Leaves nothing of a generating that made no certificate but the key's identity.
    /// The server may sign for that key even after the command is gone.
    fn nothing(&self, output: &str, key: Option<&str>) -> Result<Conclusion, Failure> {
        let key = key.filter(|_| says_key_saved(output, self.name)).and_then(|key| x509::key_of_private(key).ok());
        if let Some(key) = key {
            self.records.write(self.name, &Record::Abandoned { key })?;
            self.output.remove()?;
            self.files.remove()?;
        } else {
            self.files.remove()?;
            self.records.forget(self.name)?;
        }
        Ok(Conclusion::Nothing("no certificate was made".into()))
    }

    /// The first flaw of a new certificate and its key.
    fn flaw(&self, certificate: &str, key_fits: bool) -> Result<Option<Cow<'static, str>>, Failure> {
        let bundle = self.files.ca_certificate()?;
        let identity = x509::identity(certificate)?;
        Ok(if identity.common_name != self.name.as_str() {
            Some("the certificate is for another name".into())
        } else if let Err(error) = x509::verify(certificate, &bundle, clock::now()) {
            Some(error.to_string().into())
        } else if !key_fits {
            Some("the private key does not belong to the certificate".into())
        } else if self.files.is_revoked(certificate)? {
            // An older certificate had it, and the CA counts anew.
            Some("its serial number is in the revocation list already".into())
        } else {
            None
        })
    }
}
