//! Recovery of unfinished intents.
//!
//! Each reads its command's output, asks the console and the CA, and is finished or undone. A node that cannot be
//! proven to be espm's is left alone, and a human decides.

use super::certificates;
use super::change::{Audited, LockedName, LockedNode};
use super::context::Context;
pub(crate) use super::judgement::Purpose;
use super::judgement::{ProvenGone, Reason, Step, may_revoke_before_settling, next_step};
use crate::audit::Note;
use crate::console::{ConsoleError, Evidence, Gap, Intent, Refusal, Standing, Verdict, Way};
use crate::ledger::{Entry, NodeState};
use crate::model::fault::Fault;
use crate::model::name::NodeName;
use crate::model::node::{Assignment, Node};
use crate::model::problem::Problem;
use crate::system::clock;

/// The result of a recovery.
#[derive(Debug)]
pub(crate) enum Settled {
    /// The node is espm's and active; for [`Purpose::Delete`] it may still be changing.
    Owned(Box<Entry>),
    /// The node is not in the ledger, or no longer.
    Absent,
    /// The node is in the ledger, but cannot be proven to be espm's.
    Unproven,
    /// The node is not the caller's; nothing was settled.
    Anothers,
}

impl<'c> LockedNode<'c> {
    /// Locks a node and settles its unfinished changes.
    /// 404 when it is not proven to be espm's; 503 when another request works on it.
    pub(crate) fn open(context: &'c mut Context, name: &NodeName, purpose: Purpose) -> Result<Self, Fault> {
        let ledger = context.ledger()?;
        if ledger.entry_of_ours(name, &context.caller)?.is_none() {
            return Err(Fault::not_found());
        }
        Self::settled(LockedName::acquire(context, ledger, name)?, purpose)
    }

    /// Locks a node whose certificate is to be revoked, which needs no console.
    ///
    /// A change of it may be unfinished; only one that is not added yet is settled, since it may be another's.
    pub(crate) fn open_to_revoke(context: &'c mut Context, name: &NodeName) -> Result<Self, Fault> {
        let ledger = context.ledger()?;
        if ledger.entry_of_ours(name, &context.caller)?.is_none() {
            return Err(Fault::not_found());
        }
        let locked = LockedName::acquire(context, ledger, name)?;
        match locked.ledger.entry_of_ours(name, &locked.context.caller)? {
            None => Err(Fault::not_found()),
            Some(entry) if may_revoke_before_settling(entry.state) => Ok(Self { locked, entry }),
            Some(_) => Self::settled(locked, Purpose::Keep),
        }
    }

    /// Settles the unfinished changes of a locked name.
    pub(crate) fn settled(mut locked: LockedName<'c>, purpose: Purpose) -> Result<Self, Fault> {
        match settle(&mut locked, purpose)? {
            Settled::Owned(entry) => Ok(Self { locked, entry: *entry }),
            Settled::Absent | Settled::Unproven | Settled::Anothers => Err(Fault::not_found()),
        }
    }
}

/// Settles a name's unfinished intent.
/// When that fails, the intent stays for the next request.
pub(crate) fn settle(locked: &mut LockedName<'_>, purpose: Purpose) -> Result<Settled, Fault> {
    let Some(entry) = locked.ledger.entry(&locked.name)? else { return Ok(Settled::Absent) };
    if !locked.context.caller.sees(entry.client.as_ref()) {
        return Ok(Settled::Anothers);
    }
    let assignments = [Some(&entry.node.assignment), entry.wanted.as_ref()].into_iter().flatten();
    locked.context.audit.conceal(assignments.flat_map(Assignment::values));
    match entry.state {
        NodeState::Active => return Ok(Settled::Owned(Box::new(entry))),
        NodeState::Unproven => return Ok(Settled::Unproven),
        NodeState::Creating | NodeState::Changing | NodeState::Deleting => {}
    }
    locked.context.audit.note(Note::Recovered);
    let mut audited = locked.audited()?;
    let output = audited.locked.output(&entry)?;
    let intent = unfinished(audited.locked.context, &entry, &output);
    let boot = clock::boot();
    let evidence = Evidence::left(&output, boot.as_deref());
    let console = &audited.locked.context.console;
    let verdict = console.verdict(&intent, evidence);
    let standing = ask_console(audited.locked, next_step(&intent, &verdict, None, purpose))?;
    let verdict = console.verdict(&intent, evidence.and(standing.as_ref()));
    let step = next_step(&intent, &verdict, standing.as_ref(), purpose);
    carry_out(&mut audited, step, &intent, &entry.node, &verdict)?;
    if step == Step::Restore {
        // That change cannot have removed the node.
        give_up_if_gone(&mut audited, standing.as_ref())?;
    }
    let enough = |state| state == NodeState::Active || (purpose == Purpose::Delete && state == NodeState::Changing);
    Ok(match locked.ledger.entry(&locked.name)? {
        Some(entry) if enough(entry.state) => Settled::Owned(Box::new(entry)),
        Some(_) => Settled::Unproven,
        None => Settled::Absent,
    })
}

/// The intent in a row of the ledger.
fn unfinished(context: &Context, entry: &Entry, output: &str) -> Intent {
    let assignment = entry.wanted.clone().unwrap_or_else(|| entry.node.assignment.clone());
    let wanted = Node { name: entry.node.name.clone(), assignment };
    match entry.state {
        NodeState::Creating => Intent::Add { node: wanted },
        NodeState::Deleting => Intent::Delete { node: entry.node.clone() },
        NodeState::Changing | NodeState::Active | NodeState::Unproven => {
            let way = context.console.way(&entry.node.assignment, &wanted.assignment);
            Intent::unfinished_change(output, wanted, way)
        }
    }
}

/// Asks the console about the name, where that is the next step.
fn ask_console(locked: &LockedName<'_>, step: Step) -> Result<Option<Standing>, Fault> {
    if step != Step::AskConsole {
        return Ok(None);
    }
    Ok(Some(locked.context.console.standing(&locked.name, locked.context.until)?))
}

/// Finishes an addition whose run has just ended.
/// When that fails, the intent stays for the next request.
pub(crate) fn finish_addition(audited: &mut Audited<'_, '_>, intent: &Intent, verdict: &Verdict) -> Result<(), Fault> {
    let standing = ask_console(audited.locked, next_step(intent, verdict, None, Purpose::Keep))?;
    let step = next_step(intent, verdict, standing.as_ref(), Purpose::Keep);
    carry_out(audited, step, intent, intent.node(), verdict)
}

/// Carries out a step; `before` is the node as the ledger last confirmed it.
fn carry_out(
    audited: &mut Audited<'_, '_>,
    step: Step,
    intent: &Intent,
    before: &Node,
    verdict: &Verdict,
) -> Result<(), Fault> {
    match step {
        Step::AskConsole | Step::Accept => Ok(()),
        Step::RecordDone => Ok(audited.locked.ledger.settle(intent.node())?),
        Step::Restore => Ok(audited.locked.ledger.settle(before)?),
        Step::Forget => Ok(audited.locked.ledger.forget(&audited.locked.name)?),
        Step::Assign => assign_or_undo(audited, intent, before),
        Step::Republish => assign(audited, before, Way::InPlace),
        Step::AddAgain => add_again(audited, intent.node()),
        Step::Delete => delete(audited, intent.node(), false),
        Step::MarkUnproven => mark_unproven(audited, verdict),
    }
}

/// Leaves the decision about a node to a human.
pub(crate) fn mark_unproven(audited: &mut Audited<'_, '_>, verdict: &Verdict) -> Result<(), Fault> {
    let taken = *verdict == Verdict::Refused(Refusal::Taken);
    audited.locked.context.audit.note(if taken { Note::TakenByAnother } else { Note::Unproven });
    Ok(audited.locked.ledger.mark_unproven(&audited.locked.name)?)
}

/// Assigns as intended or, where the console refuses that, as before.
///
/// Otherwise a change that always fails would block every other change of its node, and its deletion.
fn assign_or_undo(audited: &mut Audited<'_, '_>, intent: &Intent, before: &Node) -> Result<(), Fault> {
    let wanted = intent.node();
    let way = match intent {
        Intent::Change { way, .. } if way.keeps_node() => *way,
        _ => Way::Rebuild,
    };
    let Err(refused) = try_assign(audited, wanted, way)? else { return Ok(()) };
    // A rebuild that did not add the node again may have deleted it; that is settled first.
    let may_be_gone = way == Way::Rebuild && !matches!(refused, Verdict::Partial(_));
    if may_be_gone || before.assignment == wanted.assignment {
        return Err(unsettled(&refused));
    }
    let back = match way {
        Way::InPlace | Way::Groups => audited.locked.context.console.way(&wanted.assignment, &before.assignment),
        Way::Rebuild | Way::AddAgain => Way::Rebuild,
    };
    assign(audited, before, back)
}

/// Adds a node again that espm's own run has deleted.
///
/// Its row stays `changing`, so that the next recovery can add it if this process dies too.
fn add_again(audited: &mut Audited<'_, '_>, node: &Node) -> Result<(), Fault> {
    match run(audited, Intent::Change { node: node.clone(), way: Way::AddAgain })? {
        Verdict::Done => Ok(()),
        taken @ Verdict::Refused(Refusal::Taken) => mark_unproven(audited, &taken),
        other => Err(unsettled(&other)),
    }
}

/// Assigns to a node of espm's; when that fails, the intent stays.
pub(crate) fn assign(audited: &mut Audited<'_, '_>, node: &Node, way: Way) -> Result<(), Fault> {
    try_assign(audited, node, way)?.map_err(|refused| unsettled(&refused))
}

/// Like [`assign`]; the inner error is the verdict on a failed assignment.
fn try_assign(audited: &mut Audited<'_, '_>, node: &Node, way: Way) -> Result<Result<(), Verdict>, Fault> {
    match run(audited, Intent::Change { node: node.clone(), way })? {
        Verdict::Done => {}
        // Names that the console no longer has cannot be assigned.
        Verdict::Partial(Gap::UnknownNames(_)) => audited.locked.ledger.settle(node)?,
        taken @ Verdict::Refused(Refusal::Taken) => mark_unproven(audited, &taken)?,
        other => return Ok(Err(other)),
    }
    Ok(Ok(()))
}

fn run(audited: &mut Audited<'_, '_>, intent: Intent) -> Result<Verdict, Fault> {
    let permit = audited.locked.permit()?;
    audited.intend(permit, intent, None)?.run().conclude(None)
}

fn unsettled(verdict: &Verdict) -> Fault {
    let detail = "an earlier change of this node could not be settled; the master's log says why";
    Fault::new(Problem::CommandFailed, detail).because(format!("{verdict:?}"))
}

/// Deletes a node of espm's from the console and forgets it.
///
/// When nothing was done, `keep` leaves the node as it was; otherwise the intent stays.
pub(crate) fn delete(audited: &mut Audited<'_, '_>, node: &Node, keep: bool) -> Result<(), Fault> {
    let permit = audited.locked.permit()?;
    let intended = audited.intend(permit, Intent::Delete { node: node.clone() }, None)?;
    let verdict = intended.run().conclude(keep.then_some(node))?;
    if verdict == Verdict::Refused(Refusal::Missing) {
        let context = &audited.locked.context;
        if let Standing::Unlisted(_) | Standing::Unpublished = context.console.standing(&node.name, context.until)? {
            return Ok(audited.locked.ledger.forget(&node.name)?);
        }
    }
    if keep && matches!(verdict, Verdict::Refused(_) | Verdict::NotBegun) {
        audited.locked.ledger.settle(node)?;
    }
    let said = match verdict {
        Verdict::Done => return Ok(()),
        Verdict::Unknown(said) | Verdict::Refused(Refusal::Error(said)) | Verdict::Partial(Gap::Unfinished(said)) => {
            said
        }
        other => format!("{other:?}"),
    };
    Err(ConsoleError::Failed(said).into())
}

/// Settles a node without an open intent whose name has this standing; true if it is missing.
///
/// Somebody has deleted it from the console, so its certificate is revoked and it is forgotten. Without a console
/// it is published again: the directory may have been lost. When that fails, the node stays in the ledger.
pub(crate) fn settle_missing(node: &mut LockedNode<'_>, standing: &Standing) -> Result<bool, Fault> {
    match standing {
        Standing::Listed(_) | Standing::Published(_) => return Ok(false),
        Standing::Unlisted(_) | Standing::Unpublished => {}
    }
    node.locked.context.audit.note(Note::MissingInConsole);
    let mut audited = node.locked.audited()?;
    match standing {
        Standing::Unpublished => assign(&mut audited, &node.entry.node, Way::InPlace)?,
        _ => give_up_if_gone(&mut audited, Some(standing))?,
    }
    Ok(true)
}

/// Revokes the certificate of a node that is proven to be gone, and forgets the node.
fn give_up_if_gone(audited: &mut Audited<'_, '_>, standing: Option<&Standing>) -> Result<(), Fault> {
    let Some(entry) = audited.locked.ledger.entry(&audited.locked.name)? else { return Ok(()) };
    let Some(gone) = standing.and_then(|standing| ProvenGone::of(entry.state, standing)) else { return Ok(()) };
    certificates::revoke_own(audited, &entry, &Reason::Gone(gone))?;
    Ok(audited.locked.ledger.forget(&audited.locked.name)?)
}
