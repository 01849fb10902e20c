//! The certificate of a node of ours: generated, shown, revoked.

use super::context::Offices;
use super::nodes::ours;
use super::outcome::Outcome;
use super::recovery::{self, Aim};
use crate::authority::AuthorityError;
use crate::authority::protocol::{Answer, Issued, Verb};
use crate::ledger::{CertificateState, Entry};
use crate::model::certificate::Certificate;
use crate::model::fault::{Fault, Problem};
use crate::model::name::NodeName;
use crate::system::clock;

fn certificate(name: &NodeName, issued: Issued) -> Certificate {
    Certificate {
        certname: name.to_string(),
        certificate: issued.certificate,
        private_key: issued.private_key,
        ca_certificate: issued.ca_certificate,
        serial: issued.serial,
        fingerprint: issued.fingerprint,
        not_after: clock::rfc3339(issued.not_after),
    }
}

/// The state of a node's certificate when nothing is left of a generating.
fn certificate_without(error: &AuthorityError, before: Option<CertificateState>) -> Option<CertificateState> {
    match (error, before) {
        (AuthorityError::Undone(_), None | Some(CertificateState::Generating)) => None,
        // What there was before has been revoked to make room.
        (AuthorityError::Undone(_), Some(_)) => Some(CertificateState::Revoked),
        _ => before,
    }
}

pub(super) fn generate(offices: &mut Offices<'_>, name: &NodeName) -> Result<Outcome, Fault> {
    let (ledger, _lock, entry) = ours(offices, name, Aim::Keep)?;
    offices.audit.attempt()?;
    if matches!(entry.certificate, None | Some(CertificateState::Revoked)) {
        // What the CA's record still has is another life's of this name, and is not handed out.
        recovery::revoke(&ledger, offices, &entry)?;
    }
    ledger.certificate(name, CertificateState::Generating, None)?;
    let answer = match offices.authority.ask(Verb::Generate, name, offices.until) {
        Err(error) if error.nothing_is_left() => {
            match certificate_without(&error, entry.certificate) {
                None => ledger.forget_certificate(name)?,
                Some(state) => ledger.certificate(name, state, None)?,
            }
            return Err(error.into());
        }
        asked => asked?,
    };
    let record = |issued: &Issued| {
        let identity = Some((issued.serial.as_str(), issued.fingerprint.as_str()));
        ledger.certificate(name, CertificateState::Issued, identity)
    };
    match answer {
        Answer::Generated { issued } => {
            record(&issued)?;
            Ok(Outcome::CertificateCreated(certificate(name, issued)))
        }
        Answer::There { issued } => {
            record(&issued)?;
            Ok(Outcome::Certificate(certificate(name, issued)))
        }
        Answer::KeyGone => {
            ledger.certificate(name, CertificateState::Issued, None)?;
            let detail = "the certificate's private key is no longer on the master; revoke it and ask again";
            Err(Fault::new(Problem::KeyGone, detail))
        }
        _ => {
            match entry.certificate {
                Some(CertificateState::Revoked) => ledger.certificate(name, CertificateState::Revoked, None)?,
                _ => ledger.forget_certificate(name)?,
            }
            let detail =
                "the CA has files of this name that espm did not make, or it is a name of the master's; choose another";
            Err(Fault::new(Problem::CertificateExists, detail))
        }
    }
}

pub(super) fn show(offices: &Offices<'_>, name: &NodeName) -> Result<Outcome, Fault> {
    let entry = offices.ledger()?.entry_of_ours(name)?;
    let has = |entry: &Entry| !matches!(entry.certificate, None | Some(CertificateState::Revoked));
    if !entry.as_ref().is_some_and(has) {
        return Err(Fault::not_found());
    }
    match offices.authority.ask(Verb::Show, name, offices.until)? {
        Answer::There { issued } => Ok(Outcome::Certificate(certificate(name, issued))),
        _ => Err(Fault::not_found()),
    }
}

pub(super) fn revoke(offices: &mut Offices<'_>, name: &NodeName) -> Result<Outcome, Fault> {
    let (ledger, _lock, entry) = ours(offices, name, Aim::Keep)?;
    // A ledger from a backup does not know what was made since.
    if matches!(entry.certificate, None | Some(CertificateState::Revoked)) && !recovery::is_recorded(offices, name)? {
        return entry.certificate.map(|_| Outcome::Gone).ok_or_else(Fault::not_found);
    }
    offices.audit.attempt()?;
    recovery::revoke(&ledger, offices, &entry)?;
    match ledger.entry(name)?.and_then(|entry| entry.certificate) {
        Some(CertificateState::Revoked) => Ok(Outcome::Gone),
        _ => Err(Fault::not_found()),
    }
}
