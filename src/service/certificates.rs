//! Operations on the certificate of a node that espm created.

use super::change::{Audited, LockedNode};
use super::context::Context;
use super::draft::CertificateDraft;
use super::judgement::Reason;
use super::outcome::Outcome;
use super::rights;
use crate::audit::Note;
use crate::authority::AuthorityError;
use crate::authority::protocol::{Answer, Asked, Issued, Verb};
use crate::ledger::{CertificateState, Entry};
use crate::model::certificate::Certificate;
use crate::model::fault::{Fault, FieldError};
use crate::model::name::NodeName;
use crate::model::problem::Problem;
use crate::system::clock;
use crate::system::x509::RequestError;

/// Generates the certificate that a client asks for, or returns it; fails with all that is wrong.
pub(crate) fn ask(node: LockedNode<'_>, mut draft: CertificateDraft) -> Result<Outcome, Fault> {
    let context = &mut *node.locked.context;
    if let Some((member, why)) = context.authority.refusal(&draft.asked) {
        draft.errors.push(FieldError::new(member, why));
    }
    if !draft.errors.is_empty() {
        return Err(Fault::invalid(draft.errors));
    }
    context.audit.asked(&draft.asked.extensions, draft.asked.csr.is_some());
    let refused = rights::refused_extensions(&context.caller, &draft);
    if !refused.is_empty() {
        return Err(Fault::forbidden(refused));
    }
    generate(node, &draft.asked)
}

/// Generates a node's certificate, or returns it while its key is on the master.
fn generate(mut node: LockedNode<'_>, asked: &Asked) -> Result<Outcome, Fault> {
    let entry = &node.entry;
    let name = &entry.node.name;
    let mut audited = node.locked.audited()?;
    // One that the CA's record has and the ledger lacks belongs to an earlier node of this name, as after
    // `espm forget`, or to this one, as after a restored backup. Its server may live.
    if !is_known(entry) && matches!(recorded(audited.locked.context, name)?, Answer::There { .. }) {
        let detail = "an earlier certificate of this name is valid; revoke it (DELETE) and ask again";
        return Err(Fault::new(Problem::CertificateExists, detail));
    }
    let answer = audited.generate(asked)?;
    conclude(&mut audited, entry, answer)
}

/// Records what the CA has answered to a request for a certificate, and tells it.
fn conclude(
    audited: &mut Audited<'_, '_>,
    entry: &Entry,
    answer: Result<Answer, AuthorityError>,
) -> Result<Outcome, Fault> {
    let name = &entry.node.name;
    let ledger = &audited.locked.ledger;
    let record = |issued: &Issued| {
        let identity = Some((issued.serial.as_str(), issued.fingerprint.as_str()));
        ledger.certificate(name, CertificateState::Issued, identity)
    };
    match answer {
        Err(error) if error.nothing_is_left() => {
            match state_without(&error, entry.certificate) {
                None => ledger.forget_certificate(name)?,
                Some(state) => ledger.certificate(name, state, None)?,
            }
            Err(error.into())
        }
        Err(error) => Err(error.into()),
        Ok(Answer::Generated { issued, void }) => {
            record(&issued)?;
            if void {
                audited.locked.context.audit.note(Note::CertificateVoid);
            }
            Ok(Outcome::CertificateCreated(certificate(name, issued)))
        }
        Ok(Answer::There { issued }) => {
            record(&issued)?;
            Ok(Outcome::Certificate(certificate(name, issued)))
        }
        Ok(Answer::Different) => {
            ledger.certificate(name, CertificateState::Issued, None)?;
            let detail = "the node has a certificate with another key or with other extensions than are asked for; \
                          revoke it (DELETE) and ask again";
            Err(Fault::new(Problem::CertificateExists, detail))
        }
        Ok(Answer::NotSigned) => {
            match entry.certificate {
                None => ledger.forget_certificate(name)?,
                Some(state) => ledger.certificate(name, state, None)?,
            }
            Err(Fault::invalid(vec![FieldError::new("csr", RequestError::Signature.to_string())]))
        }
        Ok(Answer::KeyGone) => {
            ledger.certificate(name, CertificateState::Issued, None)?;
            let detail = "the certificate's private key is no longer on the master; revoke it and ask again";
            Err(Fault::new(Problem::KeyGone, detail))
        }
        Ok(Answer::Replaced { text }) => {
            // It stays known, so that it can still be revoked.
            ledger.certificate(name, entry.certificate.unwrap_or(CertificateState::Issued), None)?;
            Err(replaced(text))
        }
        Ok(other) => {
            match entry.certificate {
                Some(CertificateState::Revoked) => ledger.certificate(name, CertificateState::Revoked, None)?,
                _ => ledger.forget_certificate(name)?,
            }
            Err(match other {
                Answer::NoFacts => {
                    let detail =
                        "this master's Puppet gives no certificate extensions; Puppet 3.4 was the first to do so";
                    Fault::invalid(vec![FieldError::new("extensions", detail)])
                }
                Answer::Waiting { text } => {
                    let detail = "an agent of this name has sent a request to the CA before; the operator must decide";
                    Fault::new(Problem::CertificateExists, detail).because_ca_says(text)
                }
                Answer::Listed { text } => {
                    let detail = "the CA has a valid certificate of this name that espm did not make; the operator \
                                  must revoke it, or choose another name";
                    Fault::new(Problem::CertificateExists, detail).because_ca_says(text)
                }
                _ => {
                    let detail = "the CA has files of this name that espm did not make, or it is a name of the \
                                  master's; choose another";
                    Fault::new(Problem::CertificateExists, detail)
                }
            })
        }
    }
}

/// Shows a node's certificate, without its key; 404 when espm made none.
pub(crate) fn show(context: &Context, name: &NodeName) -> Result<Outcome, Fault> {
    let ledger = context.ledger()?;
    let is_there = || Ok::<_, Fault>(ledger.entry_of_ours(name, &context.caller)?.as_ref().is_some_and(is_known));
    if !is_there()? {
        return Err(Fault::not_found());
    }
    match context.authority.ask(Verb::Show, name, context.until)? {
        // Meanwhile the name may have become another client's.
        Answer::There { issued } if is_there()? => Ok(Outcome::Certificate(certificate(name, issued))),
        _ => Err(Fault::not_found()),
    }
}

/// Revokes a node's certificate for whom the reason names; 404 when espm made none.
pub(crate) fn revoke(context: &mut Context, name: &NodeName, reason: &Reason) -> Result<Outcome, Fault> {
    let mut node = LockedNode::open_to_revoke(context, name)?;
    let entry = &node.entry;
    // A ledger restored from a backup does not know newer certificates.
    if !is_known(entry) && !is_recorded(node.locked.context, &entry.node.name)? {
        return entry.certificate.map(|_| Outcome::Gone).ok_or_else(Fault::not_found);
    }
    revoke_own(&mut node.locked.audited()?, entry, reason)?;
    match node.locked.ledger.entry(&entry.node.name)?.and_then(|entry| entry.certificate) {
        Some(CertificateState::Revoked) => Ok(Outcome::Gone),
        _ => Err(Fault::not_found()),
    }
}

/// Finishes the generation or revocation of a certificate that did not finish.
pub(crate) fn settle(mut node: LockedNode<'_>) -> Result<(), Fault> {
    match node.entry.certificate {
        Some(CertificateState::Revoking) => revoke_own(&mut node.locked.audited()?, &node.entry, &Reason::Operator),
        // Nobody has asked for its revocation, and the client may have it from an earlier request.
        Some(CertificateState::Generating) => settle_generating(&mut node.locked.audited()?, &node.entry),
        _ => Ok(()),
    }
}

/// Finishes a generation; a client that asks again gets what it asks for.
fn settle_generating(audited: &mut Audited<'_, '_>, entry: &Entry) -> Result<(), Fault> {
    let answer = match audited.settle_certificate() {
        Ok(Answer::Absent) => return Ok(audited.locked.ledger.forget_certificate(&entry.node.name)?),
        // It is valid, and can be revoked.
        Ok(Answer::Unfinished) => {
            return Ok(audited.locked.ledger.certificate(&entry.node.name, CertificateState::Issued, None)?);
        }
        answer => answer,
    };
    match conclude(audited, entry, answer) {
        Err(fault) if !matches!(fault.problem, Problem::KeyGone | Problem::CertificateExists) => Err(fault),
        Ok(_) | Err(_) => Ok(()),
    }
}

/// Revokes the node's certificate if espm made it; fails when it is still valid.
///
/// This alone revokes, and only for a reason.
pub(super) fn revoke_own(audited: &mut Audited<'_, '_>, entry: &Entry, reason: &Reason) -> Result<(), Fault> {
    let name = &entry.node.name;
    if !is_known(entry) && !is_recorded(audited.locked.context, name)? {
        return Ok(());
    }
    let answer = audited.revoke(reason)??;
    let ledger = &audited.locked.ledger;
    match answer {
        Answer::Revoked => {
            ledger.certificate(name, CertificateState::Revoked, None)?;
            if audited.locked.context.restart_revokes {
                audited.locked.context.audit.note_if_none(Note::RestartMaster);
            }
            Ok(())
        }
        // An earlier request had it revoked and died before it read the answer.
        Answer::Absent if matches!(entry.certificate, Some(CertificateState::Revoking | CertificateState::Revoked)) => {
            Ok(ledger.certificate(name, CertificateState::Revoked, None)?)
        }
        // A client that asked for something else learns only that it failed.
        Answer::Replaced { text } if matches!(reason, Reason::Gone(_)) => Err(AuthorityError::Failed(text).into()),
        Answer::Replaced { text } => Err(replaced(text)),
        other => {
            ledger.forget_certificate(name)?;
            match other {
                Answer::Foreign => audited.locked.context.audit.note(Note::ForeignCertificateLeft),
                Answer::Void => audited.locked.context.audit.note(Note::CertificateVoid),
                _ => {}
            }
            Ok(())
        }
    }
}

/// The certificate is valid, and the CA cannot revoke it alone.
fn replaced(how: String) -> Fault {
    let detail = "the certificate is still valid, and the CA cannot revoke it alone; the operator must do it";
    Fault::new(Problem::CertificateReplaced, detail).because_ca_says(how)
}

/// True if the ledger has a certificate that is not revoked.
fn is_known(entry: &Entry) -> bool {
    !matches!(entry.certificate, None | Some(CertificateState::Revoked))
}

/// True if the CA's record has a certificate that the ledger may lack.
///
/// The ledger lacks one after `espm forget`, a failure or a restored backup.
fn is_recorded(context: &mut Context, name: &NodeName) -> Result<bool, Fault> {
    Ok(matches!(recorded(context, name)?, Answer::There { .. } | Answer::Unfinished))
}

/// The certificate in the CA's record.
fn recorded(context: &mut Context, name: &NodeName) -> Result<Answer, Fault> {
    let answer = context.authority.ask(Verb::Show, name, context.until)?;
    if matches!(answer, Answer::Foreign) {
        context.audit.note(Note::ForeignCertificateLeft);
    }
    Ok(answer)
}

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

/// The certificate's state after a generation that left nothing behind.
fn state_without(error: &AuthorityError, before: Option<CertificateState>) -> Option<CertificateState> {
    match (error, before) {
        (AuthorityError::Undone(_), None | Some(CertificateState::Generating)) => None,
        // The earlier certificate was revoked to make room.
        (AuthorityError::Undone(_), Some(_)) => Some(CertificateState::Revoked),
        _ => before,
    }
}
