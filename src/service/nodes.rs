//! Operations on nodes and on the console's lists.
//!
//! Each checks the whole request before it runs a command that changes anything.

use super::certificates;
use super::change::{LockedName, LockedNode};
use super::context::Context;
use super::draft::{Draft, Placed};
use super::judgement::Reason;
use super::outcome::Outcome;
use super::recovery::{self, Purpose, Settled};
use crate::authority::protocol::{Answer, Verb};
use crate::console::{Claim, ConsoleError, Gap, Intent, Refusal, Standing, Verdict};
use crate::ledger::{Key, Ledger, NodeState};
use crate::model::fault::{Fault, FieldError};
use crate::model::name::NodeName;
use crate::model::node::{Assignment, List, Node};
use crate::model::problem::Problem;
use crate::system::clock;

/// An `Idempotency-Key` and the SHA-256 of its request's body, in hexadecimal.
#[derive(Debug)]
pub(crate) struct Retry {
    pub key: String,
    pub digest: String,
}

/// Lists the console's classes or groups; with `fresh`, never from the cache.
pub(crate) fn list_names(context: &Context, list: List, fresh: bool) -> Result<Outcome, Fault> {
    let listing = context.console.names(list, fresh, context.until)?;
    Ok(Outcome::Names { etag: listing.etag, body: listing.body.into_bytes() })
}

/// Shows a node as espm assigned it; 404 when espm did not create it.
pub(crate) fn show(context: &mut Context, name: &NodeName) -> Result<Outcome, Fault> {
    let ledger = context.ledger()?;
    let Some(entry) = ledger.entry_of_ours(name)? else { return Err(Fault::not_found()) };
    match entry.state {
        NodeState::Active => Ok(Outcome::Node(entry.node)),
        NodeState::Unproven => Err(Fault::not_found()),
        // While its change runs, show the node as it was. If its request has died, settle it first.
        NodeState::Changing if ledger.try_lock(name)?.is_none() => Ok(Outcome::Node(entry.node)),
        NodeState::Changing | NodeState::Creating | NodeState::Deleting => {
            LockedNode::open(context, name, Purpose::Keep).map(|node| Outcome::Node(node.entry.node))
        }
    }
}

/// Checks a draft against the node's assignment and the console's lists; fails with all its errors.
fn checked(context: &mut Context, mut draft: Draft, before: &Assignment) -> Result<Draft, Fault> {
    context.audit.conceal(draft.parameters.iter().filter_map(|(_, value)| value.as_ref()));
    let start = clock::now_ms();
    let mut unknown = Vec::new();
    unknown.extend(unknown_names(context, List::Groups, start, draft.groups.as_deref(), |name| name.as_str())?);
    unknown.extend(unknown_names(context, List::Classes, start, draft.classes.as_deref(), |name| name.as_str())?);
    draft.errors.extend(unknown);
    let sets = draft.parameters.iter().any(|(_, value)| value.is_some());
    if sets && !context.console.has_parameters() {
        let detail = "this console has no task that sets parameters (Puppet Dashboard before 1.2.7)";
        draft.errors.push(FieldError::new("parameters", detail));
    }
    let after = draft.clone().into_change().apply(before.clone());
    draft.errors.extend(after.excess(before).map(|detail| FieldError::new("parameters", detail)));
    if draft.name.as_ref().is_some_and(|name| name.as_str() == context.master) {
        draft.errors.push(FieldError::new("name", "is the master's own certname"));
    }
    if draft.errors.is_empty() { Ok(draft) } else { Err(Fault::invalid(draft.errors)) }
}

/// The errors for names that the console does not list, even when asked again.
fn unknown_names<T>(
    context: &Context,
    list: List,
    start: i64,
    names: Option<&[Placed<T>]>,
    text: impl Fn(&T) -> &str,
) -> Result<Vec<FieldError>, Fault> {
    let names = names.unwrap_or_default();
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let mut listing = context.console.names(list, false, context.until)?;
    let mut known = listing.names(list);
    let missing = |known: &[String]| names.iter().any(|placed| !known.iter().any(|name| name == text(&placed.name)));
    if missing(&known) && listing.as_of_ms < start {
        listing = context.console.names(list, true, context.until)?;
        known = listing.names(list);
    }
    let unknown = names.iter().filter(|placed| !known.iter().any(|name| name == text(&placed.name)));
    Ok(unknown.map(|placed| unknown_name(list, placed.index)).collect())
}

fn unknown_name(list: List, index: usize) -> FieldError {
    let member = list.member();
    FieldError::new(format!("{member}[{index}]"), format!("is not in the console; GET /v1/{member} lists all that are"))
}

/// The fault for names that left the console after its list was read.
fn lost_names(lost: &[(List, String)], assignment: &Assignment) -> Fault {
    let index = |list: List, name: &str| match list {
        List::Groups => assignment.groups.iter().position(|group| group.as_str() == name),
        List::Classes => assignment.classes.iter().position(|class| class.as_str() == name),
    };
    let errors = lost.iter().map(|(list, name)| unknown_name(*list, index(*list, name).unwrap_or_default()));
    Fault::invalid(errors.collect())
}

/// Adds a node; 409 when its name is taken, 422 when the draft is wrong.
pub(crate) fn add(context: &mut Context, draft: Draft, retry: Option<&Retry>) -> Result<Outcome, Fault> {
    let client = context.client.clone();
    let key = retry.map(|retry| Key { client: &client, key: &retry.key, digest: &retry.digest });
    let ledger = context.ledger()?;
    if let Some(outcome) = first_answer(&ledger, key.as_ref())? {
        return Ok(outcome);
    }
    let draft = checked(context, draft, &Assignment::default())?;
    let Some(name) = draft.name.clone() else { return Err(Fault::invalid(draft.errors)) };
    let node = Node { name, assignment: draft.into_change().apply(Assignment::default()) };
    context.audit.assignment(&node.assignment);

    let mut locked = LockedName::acquire(context, ledger, &node.name)?;
    let settled = recovery::settle(&mut locked, Purpose::Keep)?;
    if let Some(outcome) = first_answer(&locked.ledger, key.as_ref())? {
        return Ok(outcome);
    }
    if !matches!(settled, Settled::Absent) || is_taken(locked.context, &node.name)? {
        return Err(taken());
    }
    let permit = locked.permit()?;
    let mut audited = locked.audited()?;
    let intent = Intent::Add { node: node.clone() };
    let verdict = audited.intend(permit, intent.clone(), key.as_ref())?.run().conclude(None)?;
    let fault = match &verdict {
        Verdict::Done => return Ok(Outcome::NodeCreated(node)),
        Verdict::Refused(Refusal::Taken) => taken(),
        Verdict::Partial(Gap::UnknownNames(lost)) => lost_names(lost, &node.assignment),
        Verdict::Refused(Refusal::Missing) => failed("node:add says that the node is missing"),
        Verdict::NotBegun => failed("node:add was not begun"),
        Verdict::Partial(Gap::Unfinished(said)) | Verdict::Refused(Refusal::Error(said)) | Verdict::Unknown(said) => {
            failed(said)
        }
    };
    recovery::finish_addition(&mut audited, &intent, &verdict)?;
    Err(fault)
}

/// True if a name is known to be taken before the node is added.
///
/// Where no console can refuse the name, the published files and the CA decide.
fn is_taken(context: &Context, name: &NodeName) -> Result<bool, Fault> {
    Ok(match context.console.claim(name)? {
        Claim::Taken => true,
        Claim::Free => matches!(context.authority.ask(Verb::Show, name, context.until)?, Answer::Foreign),
        Claim::CommandTells => false,
    })
}

/// The answer to the first request with this key, if it was a success.
fn first_answer(ledger: &Ledger, key: Option<&Key<'_>>) -> Result<Option<Outcome>, Fault> {
    let Some(key) = key else { return Ok(None) };
    match ledger.kept(key.client, key.key)? {
        Some(kept) if kept.digest != key.digest => {
            Err(Fault::new(Problem::KeyReused, "the Idempotency-Key was used with another body"))
        }
        Some(kept) => Ok(kept.answer.map(Outcome::NodeCreated)),
        None => Ok(None),
    }
}

fn taken() -> Fault {
    Fault::new(Problem::NameTaken, "a node of this name exists; choose another name")
}

fn failed(said: &str) -> Fault {
    ConsoleError::Failed(said.to_owned()).into()
}

/// Changes a node; 404 when it left the console, 422 when the draft is wrong.
pub(crate) fn change(mut node: LockedNode<'_>, draft: Draft) -> Result<Outcome, Fault> {
    let context = &mut *node.locked.context;
    let before = node.entry.node.clone();
    let change = checked(context, draft, &before.assignment)?.into_change();
    let after = Node { name: before.name.clone(), assignment: change.apply(before.assignment.clone()) };
    context.audit.assignment(&after.assignment);
    let lost = context.console.missing_names(&after.assignment)?;
    if !lost.is_empty() {
        return Err(lost_names(&lost, &after.assignment));
    }
    let standing = context.console.standing(&before.name, context.until)?;
    if matches!(standing, Standing::Unlisted(_)) {
        recovery::settle_missing(&mut node, &standing)?;
        return Err(Fault::not_found());
    }
    let way = context.console.way(&before.assignment, &after.assignment);
    let permit = node.locked.permit()?;
    let mut audited = node.locked.audited()?;
    let intent = Intent::Change { node: after.clone(), way };
    match audited.intend(permit, intent, None)?.run().conclude(Some(&before))? {
        Verdict::Done => Ok(Outcome::Node(after)),
        Verdict::Partial(Gap::UnknownNames(lost)) => {
            // Undoing can need another way: not every console can remove a parameter in place.
            let back = audited.locked.context.console.way(&after.assignment, &before.assignment);
            recovery::assign(&mut audited, &before, back)?;
            Err(lost_names(&lost, &after.assignment))
        }
        // It ended by itself and has done nothing, so the list decides.
        Verdict::Refused(Refusal::Missing) => {
            audited.locked.ledger.settle(&before)?;
            let context = &node.locked.context;
            let standing = context.console.standing(&before.name, context.until)?;
            let missing = recovery::settle_missing(&mut node, &standing)?;
            Err(if missing { Fault::not_found() } else { failed("rake says that the node is missing") })
        }
        taken @ Verdict::Refused(Refusal::Taken) => {
            recovery::mark_unproven(&mut audited, &taken)?;
            Err(Fault::not_found())
        }
        Verdict::Partial(Gap::Unfinished(said)) | Verdict::Refused(Refusal::Error(said)) | Verdict::Unknown(said) => {
            Err(failed(&said))
        }
        Verdict::NotBegun => Err(failed("the change was not begun")),
    }
}

/// Deletes a node; its certificate is revoked first, even where the console fails.
pub(crate) fn delete(context: &mut Context, name: &NodeName, reason: &Reason) -> Result<Outcome, Fault> {
    let mut node = LockedNode::open_to_revoke(context, name)?;
    certificates::revoke_own(&mut node.locked.audited()?, &node.entry, reason)?;
    let LockedNode { mut locked, entry } = LockedNode::settled(node.locked, Purpose::Delete)?;
    let mut audited = locked.audited()?;
    let context = &audited.locked.context;
    match context.console.standing(name, context.until)? {
        Standing::Listed(_) | Standing::Published(_) => {
            recovery::delete(&mut audited, &entry.node, entry.state == NodeState::Active)?;
        }
        Standing::Unlisted(_) | Standing::Unpublished => audited.locked.ledger.forget(name)?,
    }
    Ok(Outcome::Gone)
}
