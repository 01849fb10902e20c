//! What to do about an intent that was not finished: look at what its command printed, at the
//! console and at the CA, and finish or undo it.
//!
//! When it cannot be proven that a node is ours it is left alone, and a human decides. To be called
//! with the node's lock held.

use crate::authority::protocol::{Answer, Verb};
use crate::console::Assigned;
use crate::console::rake::output::{ADD_AGAIN, Completeness, Proof, REBUILD, Separator};
use crate::ledger::{CertificateState, Entry, Ledger, NodeState};
use crate::model::fault::{Fault, Problem};
use crate::model::name::NodeName;
use crate::model::node::{Assignment, Node};
use crate::service::context::Offices;

/// A node as it is after recovery.
#[derive(Debug)]
pub enum Settled {
    /// It is ours and active.
    Ours(Box<Entry>),
    /// It is not in the ledger, or not any more.
    NotOurs,
    /// It is in the ledger, but that it is ours cannot be proven.
    Unproven,
}

/// What an unfinished change is settled for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Aim {
    /// The node goes on, so the change is finished or undone.
    Keep,
    /// The node is about to be deleted: when it is known to be ours, that is enough. A console that can
    /// finish no change may still be able to delete.
    End,
}

/// Settles what the ledger has of a name.
///
/// # Errors
/// When it cannot be settled now; the intent stays for the next request.
pub fn settle(ledger: &Ledger, offices: &mut Offices<'_>, name: &NodeName, aim: Aim) -> Result<Settled, Fault> {
    let Some(entry) = ledger.entry(name)? else { return Ok(Settled::NotOurs) };
    let assignments = [Some(&entry.node.assignment), entry.wanted.as_ref()].into_iter().flatten();
    offices.audit.conceal(assignments.flat_map(|assignment| assignment.parameters.values()));
    match entry.state {
        NodeState::Active => return Ok(Settled::Ours(Box::new(entry))),
        NodeState::Unproven => return Ok(Settled::Unproven),
        NodeState::Creating | NodeState::Changing | NodeState::Deleting => {}
    }
    offices.audit.note("recovered");
    offices.audit.attempt()?;
    let output = offices.proof(ledger, entry.proof.as_deref())?;
    match entry.state {
        NodeState::Changing if offices.console.follows_ledger() && aim == Aim::End => {}
        _ if offices.console.follows_ledger() => settle_following(ledger, offices, &entry)?,
        NodeState::Creating => settle_creating(ledger, offices, &entry, &output)?,
        NodeState::Changing => settle_changing(ledger, offices, &entry, &output, aim)?,
        _ => settle_deleting(ledger, offices, &entry, &output)?,
    }
    let enough = |state| state == NodeState::Active || (aim == Aim::End && state == NodeState::Changing);
    Ok(match ledger.entry(name)? {
        Some(entry) if enough(entry.state) => Settled::Ours(Box::new(entry)),
        Some(_) => Settled::Unproven,
        None => Settled::NotOurs,
    })
}

fn wanted(entry: &Entry) -> Node {
    let assignment = entry.wanted.clone().unwrap_or_else(|| entry.node.assignment.clone());
    Node { name: entry.node.name.clone(), assignment }
}

/// Whether the console can make this change only by deleting the node and adding it again.
pub fn needs_rebuild(offices: &Offices<'_>, before: &Assignment, after: &Assignment) -> bool {
    let removes = !before.parameters.keys().all(|name| after.parameters.contains_key(name));
    !offices.console.changes_in_place(removes)
}

fn settle_creating(ledger: &Ledger, offices: &mut Offices<'_>, entry: &Entry, output: &str) -> Result<(), Fault> {
    let node = wanted(entry);
    let proof = Proof::read(output, &node.name);
    if proof.created() {
        return match proof.complete(&node.assignment, Separator::Groups) {
            Completeness::Whole => Ok(ledger.settle(&node)?),
            Completeness::Lost(_) | Completeness::Unfinished => delete(ledger, offices, &node, false),
        };
    }
    if proof.taken() || !offices.console.has(&node.name, offices.until)? {
        return Ok(ledger.forget(&node.name)?);
    }
    leave(ledger, offices, &node.name)
}

fn settle_changing(
    ledger: &Ledger,
    offices: &mut Offices<'_>,
    entry: &Entry,
    output: &str,
    aim: Aim,
) -> Result<(), Fault> {
    let node = wanted(entry);
    let proof = Proof::read(output, &node.name);
    let again = proof.begins(ADD_AGAIN);
    let rebuild = again || proof.begins(REBUILD) || needs_rebuild(offices, &entry.node.assignment, &node.assignment);
    let there = offices.console.has(&node.name, offices.until)?;
    if proof.created() {
        // Deleted and added again by our run: ours, whole or not.
        let separator = if again { Separator::Groups } else { Separator::Parameters };
        return match proof.complete(&node.assignment, separator) {
            _ if aim == Aim::End => Ok(()),
            _ if !there => forget(ledger, offices, entry),
            Completeness::Whole => Ok(ledger.settle(&node)?),
            _ => assign_or_undo(ledger, offices, entry, true),
        };
    }
    if proof.taken() {
        offices.audit.note("taken-by-another");
        return forget(ledger, offices, entry);
    }
    match (rebuild, there, again || proof.groups_edited()) {
        // The deletion may have been done, and somebody may have added the name again.
        (true, true, true) => leave(ledger, offices, &node.name),
        _ if aim == Aim::End => Ok(()),
        // Our run deleted it and did not come to adding it.
        (true, false, true) => add_again(ledger, offices, entry, &node),
        (_, true, _) => assign_or_undo(ledger, offices, entry, rebuild),
        (_, false, _) => forget(ledger, offices, entry),
    }
}

/// Assigns what an unfinished change wanted or, when the console refuses that, what the node had before:
/// a change that fails each time must not keep its node from every other change and from its end.
fn assign_or_undo(ledger: &Ledger, offices: &mut Offices<'_>, entry: &Entry, rebuild: bool) -> Result<(), Fault> {
    let (before, wanted) = (&entry.node, wanted(entry));
    match try_assign(ledger, offices, &wanted, rebuild)? {
        Ok(()) => Ok(()),
        // A rebuilding that did not add the node again may have deleted it, which is settled first.
        Err(refused) if rebuild && !matches!(refused, Assigned::Partly(_)) => Err(unsettled(&refused)),
        Err(_) if before.assignment != wanted.assignment => {
            let rebuild = rebuild || needs_rebuild(offices, &wanted.assignment, &before.assignment);
            assign(ledger, offices, before, rebuild)
        }
        Err(refused) => Err(unsettled(&refused)),
    }
}

/// Where the console has only what espm publishes, it is made to say what the ledger last confirmed.
fn settle_following(ledger: &Ledger, offices: &mut Offices<'_>, entry: &Entry) -> Result<(), Fault> {
    match entry.state {
        NodeState::Changing => assign(ledger, offices, &entry.node, false),
        _ => delete(ledger, offices, &entry.node, false),
    }
}

/// Its certificate was revoked before the intent to delete it was recorded.
fn settle_deleting(ledger: &Ledger, offices: &mut Offices<'_>, entry: &Entry, output: &str) -> Result<(), Fault> {
    let proof = Proof::read(output, &entry.node.name);
    if !offices.console.has(&entry.node.name, offices.until)? || proof.deleted(&offices.console.nodes(offices.until)?) {
        return Ok(ledger.forget(&entry.node.name)?);
    }
    if proof.groups_edited() {
        return leave(ledger, offices, &entry.node.name);
    }
    delete(ledger, offices, &entry.node, false)
}

/// Leaves a node alone for a human to decide.
fn leave(ledger: &Ledger, offices: &mut Offices<'_>, name: &NodeName) -> Result<(), Fault> {
    offices.audit.note("unproven");
    Ok(ledger.mark_unproven(name)?)
}

/// Adds a node of ours again that our own run has deleted. It stays one that is being changed: when
/// this dies, too, the node is still to be had again.
fn add_again(ledger: &Ledger, offices: &mut Offices<'_>, entry: &Entry, node: &Node) -> Result<(), Fault> {
    let turn = offices.console.turn(offices.until)?;
    let (name, file) = ledger.new_proof(ADD_AGAIN)?;
    ledger.intend(&node.name, NodeState::Changing, Some(&node.assignment), &name)?;
    match turn.add(node, &file, offices.until)? {
        Assigned::Whole => Ok(ledger.settle(node)?),
        Assigned::Taken => forget(ledger, offices, entry),
        other => Err(unsettled(&other)),
    }
}

/// Assigns to a node of ours what it shall have.
///
/// # Errors
/// When that fails; the intent stays.
pub fn assign(ledger: &Ledger, offices: &mut Offices<'_>, node: &Node, rebuild: bool) -> Result<(), Fault> {
    try_assign(ledger, offices, node, rebuild)?.map_err(|refused| unsettled(&refused))
}

/// The same; the inner error is what the console says of an assignment that it does not make.
fn try_assign(
    ledger: &Ledger,
    offices: &mut Offices<'_>,
    node: &Node,
    rebuild: bool,
) -> Result<Result<(), Assigned>, Fault> {
    let turn = offices.console.turn(offices.until)?;
    let (name, file) = ledger.new_proof(if rebuild { REBUILD } else { "" })?;
    ledger.intend(&node.name, NodeState::Changing, Some(&node.assignment), &name)?;
    match turn.change(node, rebuild, &file, offices.until)? {
        // What the console no longer has cannot be assigned again.
        Assigned::Whole | Assigned::Lost(_) => ledger.settle(node)?,
        Assigned::Missing | Assigned::Taken => {
            if let Some(entry) = ledger.entry(&node.name)? {
                forget(ledger, offices, &entry)?;
            }
        }
        other => return Ok(Err(other)),
    }
    Ok(Ok(()))
}

fn unsettled(assigned: &Assigned) -> Fault {
    let detail = "an earlier change of this node could not be settled; the master's log says why";
    Fault::new(Problem::CommandFailed, detail).because(format!("{assigned:?}"))
}

/// Deletes a node of ours from the console and forgets it. With `keep`, a deletion that was not even
/// begun leaves the node as it was; without, the intent stays for the next request.
///
/// # Errors
/// When the node is not known to be gone.
pub fn delete(ledger: &Ledger, offices: &mut Offices<'_>, node: &Node, keep: bool) -> Result<(), Fault> {
    let turn = offices.console.turn(offices.until)?;
    let (name, file) = ledger.new_proof("")?;
    ledger.intend(&node.name, NodeState::Deleting, None, &name)?;
    match turn.delete(node, &file, offices.until) {
        Ok(()) => Ok(ledger.forget(&node.name)?),
        Err(error) => {
            if keep && error.nothing_was_run() {
                ledger.settle(node)?;
            }
            Err(error.into())
        }
    }
}

/// Revokes a node's certificate, if it has one of ours.
///
/// # Errors
/// When it is still valid.
pub fn revoke(ledger: &Ledger, offices: &mut Offices<'_>, entry: &Entry) -> Result<(), Fault> {
    let name = &entry.node.name;
    let known = !matches!(entry.certificate, None | Some(CertificateState::Revoked));
    if !known && !is_recorded(offices, name)? {
        return Ok(());
    }
    ledger.certificate(name, CertificateState::Revoking, None)?;
    match offices.authority.ask(Verb::Revoke, name, offices.until)? {
        Answer::Revoked => Ok(ledger.certificate(name, CertificateState::Revoked, None)?),
        // An earlier request has had it revoked and died before it heard so.
        Answer::Absent if matches!(entry.certificate, Some(CertificateState::Revoking | CertificateState::Revoked)) => {
            Ok(ledger.certificate(name, CertificateState::Revoked, None)?)
        }
        other => {
            if matches!(other, Answer::Foreign) {
                offices.audit.note("foreign-certificate-left");
            }
            Ok(ledger.forget_certificate(name)?)
        }
    }
}

/// Whether the CA's record has something of a name that can be revoked though the ledger knows of nothing:
/// from before the node was forgotten and came back, of a failure, or from after a backup that was restored.
///
/// # Errors
/// When the CA cannot be asked.
pub fn is_recorded(offices: &mut Offices<'_>, name: &NodeName) -> Result<bool, Fault> {
    let answer = offices.authority.ask(Verb::Show, name, offices.until)?;
    if matches!(answer, Answer::Foreign) {
        offices.audit.note("foreign-certificate-left");
    }
    Ok(matches!(answer, Answer::There { .. } | Answer::Unfinished))
}

/// Settles a certificate whose generating or revoking was not finished.
///
/// # Errors
/// When it cannot be settled now.
pub fn settle_certificate(ledger: &Ledger, offices: &mut Offices<'_>, entry: &Entry) -> Result<(), Fault> {
    match entry.certificate {
        Some(CertificateState::Generating | CertificateState::Revoking) => revoke(ledger, offices, entry),
        _ => Ok(()),
    }
}

/// Settles a node of ours that is missing in the console. Somebody has deleted it, so it is forgotten; its
/// certificate is revoked first. Where the console has only what espm publishes, it is published again: the
/// directory may have been lost, and the ledger was not.
///
/// # Errors
/// When that cannot be done now; then the node stays in the ledger.
pub fn settle_missing(ledger: &Ledger, offices: &mut Offices<'_>, entry: &Entry) -> Result<(), Fault> {
    offices.audit.note("missing-in-console");
    offices.audit.attempt()?;
    if offices.console.follows_ledger() {
        return assign(ledger, offices, &entry.node, false);
    }
    forget(ledger, offices, entry)
}

/// Forgets a node that was ours; its certificate is revoked first.
fn forget(ledger: &Ledger, offices: &mut Offices<'_>, entry: &Entry) -> Result<(), Fault> {
    revoke(ledger, offices, entry)?;
    Ok(ledger.forget(&entry.node.name)?)
}
