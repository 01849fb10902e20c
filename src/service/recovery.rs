//! Recovery of unfinished intents.
//!
//! Each reads its command's output, asks the console and the CA, and is finished or undone. A node that cannot be
//! proven to be espm's is left alone, and a human decides.

use super::certificates;
use super::change::{Audited, LockedName, LockedNode};
use super::context::Context;
use crate::audit::Note;
use crate::console::{ConsoleError, Evidence, Gap, Intent, Refusal, Standing, Verdict, Way};
use crate::ledger::{Entry, NodeState};
use crate::model::fault::Fault;
use crate::model::name::NodeName;
use crate::model::node::Node;
use crate::model::problem::Problem;

/// The result of a recovery.
#[derive(Debug)]
pub(crate) enum Settled {
    /// The node is espm's and active; for [`Purpose::Delete`] it may still be changing.
    Owned(Box<Entry>),
    /// The node is not in the ledger, or no longer.
    Absent,
    /// The node is in the ledger, but cannot be proven to be espm's.
    Unproven,
}

/// The purpose for which an unfinished change is settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// The node stays, so its change is finished or undone.
    Keep,
    /// The node is to be deleted, so it need only be proven to be espm's.
    /// A console that can finish no change may still delete.
    Delete,
}

/// The next step of a recovery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// Ask the console about the name.
    AskConsole,
    /// Record the change as done.
    RecordDone,
    /// Delete the row: the node is not espm's.
    Forget,
    /// Revoke the certificate and delete the row: the node is no longer espm's.
    RevokeAndForget,
    /// Assign as intended or, where the console refuses that, as before.
    Assign,
    /// Publish what the ledger last confirmed.
    Republish,
    /// Add the node again that espm's own run has deleted.
    AddAgain,
    /// Delete the node.
    Delete,
    /// Leave the intent: the node is proven to be espm's, and is about to be deleted.
    Accept,
    /// Leave the decision to a human.
    MarkUnproven,
}

/// Choose the next step; `standing` is `None` until the console was asked.
fn next_step(intent: &Intent, verdict: &Verdict, standing: Option<&Standing>, purpose: Purpose) -> Step {
    match intent {
        Intent::Add { .. } => match (verdict, standing) {
            (Verdict::Done, _) => Step::RecordDone,
            (Verdict::Partial(_), _) => Step::Delete,
            (Verdict::Refused(Refusal::Taken), _) => Step::Forget,
            (_, None) => Step::AskConsole,
            (_, Some(Standing::Listed(_) | Standing::Published)) => Step::MarkUnproven,
            (_, Some(Standing::Unlisted | Standing::Unpublished)) => Step::Forget,
        },
        Intent::Change { .. } => match (verdict, standing) {
            (Verdict::Refused(Refusal::Taken) | Verdict::Unknown(_), None) => Step::AskConsole,
            (Verdict::Refused(Refusal::Taken), Some(_)) => Step::RevokeAndForget,
            (Verdict::Unknown(_), Some(Standing::Listed(_))) => Step::MarkUnproven,
            _ if purpose == Purpose::Delete => Step::Accept,
            (_, None) => Step::AskConsole,
            (_, Some(Standing::Published | Standing::Unpublished)) => Step::Republish,
            (Verdict::Unknown(_), Some(Standing::Unlisted)) => Step::AddAgain,
            (_, Some(Standing::Unlisted)) => Step::RevokeAndForget,
            (Verdict::Done, Some(Standing::Listed(_))) => Step::RecordDone,
            (_, Some(Standing::Listed(_))) => Step::Assign,
        },
        Intent::Delete { .. } => match (verdict, standing) {
            (_, None) => Step::AskConsole,
            (_, Some(Standing::Published | Standing::Unpublished)) => Step::Delete,
            (_, Some(Standing::Unlisted)) | (Verdict::Done, _) => Step::Forget,
            (Verdict::Unknown(_), Some(Standing::Listed(_))) => Step::MarkUnproven,
            (_, Some(Standing::Listed(_))) => Step::Delete,
        },
    }
}

impl<'c> LockedNode<'c> {
    /// Locks a node and settles its unfinished changes.
    /// 404 when it is not proven to be espm's; 503 when another request works on it.
    pub(crate) fn open(context: &'c mut Context, name: &NodeName, purpose: Purpose) -> Result<Self, Fault> {
        let ledger = context.ledger()?;
        if ledger.entry_of_ours(name)?.is_none() {
            return Err(Fault::not_found());
        }
        let mut locked = LockedName::acquire(context, ledger, name)?;
        match settle(&mut locked, purpose)? {
            Settled::Owned(entry) => Ok(Self { locked, entry: *entry }),
            Settled::Absent | Settled::Unproven => Err(Fault::not_found()),
        }
    }
}

/// Settles a name's unfinished intent.
/// When that fails, the intent stays for the next request.
pub(crate) fn settle(locked: &mut LockedName<'_>, purpose: Purpose) -> Result<Settled, Fault> {
    let Some(entry) = locked.ledger.entry(&locked.name)? else { return Ok(Settled::Absent) };
    let assignments = [Some(&entry.node.assignment), entry.wanted.as_ref()].into_iter().flatten();
    locked.context.audit.conceal(assignments.flat_map(|assignment| assignment.parameters.values()));
    match entry.state {
        NodeState::Active => return Ok(Settled::Owned(Box::new(entry))),
        NodeState::Unproven => return Ok(Settled::Unproven),
        NodeState::Creating | NodeState::Changing | NodeState::Deleting => {}
    }
    locked.context.audit.note(Note::Recovered);
    let mut audited = locked.audited()?;
    let output = audited.locked.output(&entry)?;
    let intent = unfinished(audited.locked.context, &entry, &output);
    let console = &audited.locked.context.console;
    let judge = |nodes: &[String]| console.verdict(&intent, Evidence { output: &output, exit: None, nodes });
    let mut verdict = judge(&[]);
    let standing = ask_console(audited.locked, next_step(&intent, &verdict, None, purpose))?;
    if let Some(Standing::Listed(nodes)) = &standing {
        verdict = judge(nodes);
    }
    let step = next_step(&intent, &verdict, standing.as_ref(), purpose);
    carry_out(&mut audited, step, &intent, &entry.node, &verdict)?;
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
        Step::Forget => Ok(audited.locked.ledger.forget(&audited.locked.name)?),
        Step::RevokeAndForget => {
            if *verdict == Verdict::Refused(Refusal::Taken) {
                audited.locked.context.audit.note(Note::TakenByAnother);
            }
            revoke_and_forget(audited)
        }
        Step::Assign => assign_or_undo(audited, intent, before),
        Step::Republish => assign(audited, before, Way::InPlace),
        Step::AddAgain => add_again(audited, intent.node()),
        Step::Delete => delete(audited, intent.node(), false),
        Step::MarkUnproven => {
            audited.locked.context.audit.note(Note::Unproven);
            Ok(audited.locked.ledger.mark_unproven(&audited.locked.name)?)
        }
    }
}

/// Assigns as intended or, where the console refuses that, as before.
///
/// Otherwise a change that always fails would block every other change of its node, and its deletion.
fn assign_or_undo(audited: &mut Audited<'_, '_>, intent: &Intent, before: &Node) -> Result<(), Fault> {
    let wanted = intent.node();
    let way = match intent {
        Intent::Change { way: Way::InPlace, .. } => Way::InPlace,
        _ => Way::Rebuild,
    };
    let Err(refused) = try_assign(audited, wanted, way)? else { return Ok(()) };
    // A rebuild that did not add the node again may have deleted it; that is settled first.
    let may_be_gone = way == Way::Rebuild && !matches!(refused, Verdict::Partial(_));
    if may_be_gone || before.assignment == wanted.assignment {
        return Err(unsettled(&refused));
    }
    let back = match way {
        Way::InPlace => audited.locked.context.console.way(&wanted.assignment, &before.assignment),
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
        Verdict::Refused(Refusal::Taken) => revoke_and_forget(audited),
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
        Verdict::Refused(Refusal::Missing | Refusal::Taken) => revoke_and_forget(audited)?,
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
/// When the command does not start, `keep` leaves the node as it was; otherwise the intent stays.
pub(crate) fn delete(audited: &mut Audited<'_, '_>, node: &Node, keep: bool) -> Result<(), Fault> {
    let permit = audited.locked.permit()?;
    let intended = audited.intend(permit, Intent::Delete { node: node.clone() }, None)?;
    let said = match intended.run().conclude(keep.then_some(node))? {
        Verdict::Done => return Ok(()),
        Verdict::Unknown(said) | Verdict::Refused(Refusal::Error(said)) | Verdict::Partial(Gap::Unfinished(said)) => {
            said
        }
        other => format!("{other:?}"),
    };
    Err(ConsoleError::Failed(said).into())
}

/// Settles a node that is missing in the console.
///
/// Somebody has deleted it, so its certificate is revoked and it is forgotten. Without a console it is published
/// again: the directory may have been lost. When that fails, the node stays in the ledger.
pub(crate) fn settle_missing(node: &mut LockedNode<'_>, standing: &Standing) -> Result<(), Fault> {
    node.locked.context.audit.note(Note::MissingInConsole);
    let mut audited = node.locked.audited()?;
    match standing {
        Standing::Published | Standing::Unpublished => assign(&mut audited, &node.entry.node, Way::InPlace),
        Standing::Listed(_) | Standing::Unlisted => revoke_and_forget(&mut audited),
    }
}

/// Revokes a node's certificate and forgets the node.
fn revoke_and_forget(audited: &mut Audited<'_, '_>) -> Result<(), Fault> {
    if let Some(entry) = audited.locked.ledger.entry(&audited.locked.name)? {
        certificates::revoke_own(audited, &entry)?;
    }
    Ok(audited.locked.ledger.forget(&audited.locked.name)?)
}

#[cfg(test)]
mod tests {
    use super::{Purpose, Step, next_step};
    use crate::console::{Gap, Intent, Refusal, Standing, Verdict, Way};
    use crate::model::name::NodeName;
    use crate::model::node::{Assignment, Node};

    fn intents() -> Vec<Intent> {
        let node = Node { name: NodeName::parse("web01").unwrap(), assignment: Assignment::default() };
        let change = |way| Intent::Change { node: node.clone(), way };
        let mut all: Vec<_> = [Way::InPlace, Way::Rebuild, Way::AddAgain].map(change).into();
        all.extend([Intent::Add { node: node.clone() }, Intent::Delete { node }]);
        all
    }

    fn verdicts() -> Vec<Verdict> {
        let text = String::new;
        vec![
            Verdict::Done,
            Verdict::Partial(Gap::UnknownNames(vec![])),
            Verdict::Partial(Gap::Unfinished(text())),
            Verdict::Refused(Refusal::Taken),
            Verdict::Refused(Refusal::Missing),
            Verdict::Refused(Refusal::Error(text())),
            Verdict::NotBegun,
            Verdict::Unknown(text()),
        ]
    }

    fn standings() -> Vec<Option<Standing>> {
        let asked = [Standing::Listed(vec![]), Standing::Unlisted, Standing::Published, Standing::Unpublished];
        asked.into_iter().map(Some).chain([None]).collect()
    }

    /// Checks every combination.
    fn each(check: impl Fn(&Intent, &Verdict, Option<&Standing>, Purpose, Step)) {
        for intent in intents() {
            for verdict in verdicts() {
                for standing in standings() {
                    for purpose in [Purpose::Keep, Purpose::Delete] {
                        let step = next_step(&intent, &verdict, standing.as_ref(), purpose);
                        check(&intent, &verdict, standing.as_ref(), purpose, step);
                    }
                }
            }
        }
    }

    #[test]
    fn the_console_is_asked_once() {
        each(|intent, verdict, standing, _, step| {
            assert!(step != Step::AskConsole || standing.is_none(), "{intent:?} {verdict:?} {standing:?}");
        });
    }

    #[test]
    fn a_node_that_the_console_lists_is_touched_only_when_it_is_known_to_be_ours() {
        each(|intent, verdict, standing, purpose, step| {
            if matches!((verdict, standing), (Verdict::Unknown(_), Some(Standing::Listed(_)))) {
                assert_eq!(step, Step::MarkUnproven, "{intent:?} {purpose:?}");
            }
        });
    }

    #[test]
    fn a_node_is_given_up_only_when_it_is_missing_or_somebody_elses() {
        each(|intent, verdict, standing, purpose, step| {
            if step == Step::RevokeAndForget {
                assert!(standing.is_some(), "{verdict:?}: nothing is revoked while the console does not answer");
                let gone = standing == Some(&Standing::Unlisted) || *verdict == Verdict::Refused(Refusal::Taken);
                assert!(
                    gone && matches!(intent, Intent::Change { .. }),
                    "{intent:?} {verdict:?} {standing:?} {purpose:?}"
                );
            }
        });
    }

    #[test]
    fn what_is_published_never_decides_whose_a_known_node_is() {
        each(|intent, verdict, standing, purpose, step| {
            let follows = matches!(standing, Some(Standing::Published | Standing::Unpublished));
            if follows && matches!(intent, Intent::Delete { .. }) {
                assert_eq!(step, Step::Delete);
            }
            let refused = *verdict == Verdict::Refused(Refusal::Taken);
            if follows && purpose == Purpose::Keep && matches!(intent, Intent::Change { .. }) && !refused {
                assert_eq!(step, Step::Republish, "{verdict:?}");
            }
        });
    }

    #[test]
    fn a_node_that_is_about_to_be_deleted_is_not_changed_before() {
        each(|intent, verdict, standing, purpose, step| {
            let changes = matches!(step, Step::Assign | Step::Republish | Step::AddAgain);
            assert!(purpose == Purpose::Keep || !changes, "{intent:?} {verdict:?} {standing:?}");
        });
    }
}
