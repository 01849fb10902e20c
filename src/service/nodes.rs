//! Operations on nodes and on the console's lists.
//!
//! Each checks the whole request before it runs a command that changes anything.

use super::certificates;
use super::change::{LockedName, LockedNode};
use super::context::Context;
use super::draft::{Draft, Wanted};
use super::judgement::Reason;
use super::outcome::Outcome;
use super::recovery::{self, Purpose, Settled};
use super::rights;
use crate::authority::protocol::{Answer, Verb};
use crate::console::{Claim, ConsoleError, Gap, Intent, Refusal, Standing, Verdict};
use crate::ledger::{Key, Ledger, NodeState};
use crate::model::client::Caller;
use crate::model::fault::{Fault, FieldError};
use crate::model::fold::Twins;
use crate::model::name::{EnvironmentName, NodeName, ParameterName};
use crate::model::node::{Assignment, List, Lost, Node};
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
    let listing = rights::cut(&context.caller, list, context.console.names(list, fresh, context.until)?);
    Ok(Outcome::Names { etag: listing.etag, body: listing.body.into_bytes() })
}

/// Shows a node as espm assigned it; 404 when espm did not create it.
pub(crate) fn show(context: &mut Context, name: &NodeName) -> Result<Outcome, Fault> {
    let ledger = context.ledger()?;
    let Some(entry) = ledger.entry_of_ours(name, &context.caller)? else { return Err(Fault::not_found()) };
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

/// Checks a draft against the client's rights, the node's assignment and the console's lists; fails with all its
/// errors.
///
/// Returns the assignment after it, too.
fn checked(context: &mut Context, mut draft: Draft, before: &Assignment) -> Result<(Draft, Assignment), Fault> {
    context.audit.conceal(draft.values());
    let refused = rights::refusals(&context.caller, &draft, before);
    if draft.errors.is_empty() && !refused.is_empty() {
        return Err(Fault::forbidden(refused));
    }
    let start = clock::now_ms();
    for list in [List::Groups, List::Classes] {
        let mut wanted = draft.wanted(list, before);
        // A name that the client may not assign is not looked up: the answer would tell what the console has.
        wanted.retain(|wanted| before.has(list, &wanted.name) || rights::shows(&context.caller, list, &wanted.name));
        let wrong = wrong_names(context, list, start, &wanted)?;
        draft.errors.extend(wrong);
    }
    let sets = draft.parameters.iter().any(|(_, value)| value.is_some());
    if sets && !context.console.has_parameters() {
        let detail = "this console has no task that sets parameters (Puppet Dashboard before 1.2.7)";
        draft.errors.push(FieldError::new("parameters", detail));
    }
    let change = rights::permitted(&context.caller, draft.clone().into_change(), before);
    let mut after = change.clone().apply(before.clone());
    let shows = |name: &EnvironmentName| rights::shows_environment(&context.caller, name);
    draft.errors.extend(context.console.judge(&change, before, &mut after, &shows)?);
    let of_classes = draft.parameters.is_empty() && !draft.class_parameters.is_empty();
    let member = if of_classes { "class_parameters" } else { "parameters" };
    match after.excess(before) {
        Some(detail) => draft.errors.push(FieldError::new(member, detail)),
        None if context.console.folds() => draft.errors.extend(alike_parameters(&draft, &after)),
        None => {}
    }
    if draft.name.as_ref().is_some_and(|name| name.as_str() == context.master) {
        draft.errors.push(FieldError::new("name", "is the master's own certname"));
    }
    if draft.errors.is_empty() { Ok((draft, after)) } else { Err(Fault::invalid(draft.errors)) }
}

/// The errors of names that the console does not list or cannot tell apart, even when asked again.
fn wrong_names(context: &Context, list: List, start: i64, wanted: &[Wanted]) -> Result<Vec<FieldError>, Fault> {
    let folds = context.console.folds();
    // A name that was not sent needs a look only where the console may take another for it.
    if !wanted.iter().any(|wanted| folds || wanted.index.is_some()) {
        return Ok(Vec::new());
    }
    let judged = |known: &[String]| -> Vec<FieldError> {
        let names = wanted.iter().map(|wanted| wanted.name.as_str());
        let twins = if folds { Twins::find(names, known) } else { Twins::default() };
        let shows = |name: &str| rights::shows(&context.caller, list, name);
        wanted.iter().filter_map(|wanted| wrong_name(list, wanted, known, &twins, shows)).collect()
    };
    let listing = context.console.names(list, false, context.until)?;
    let mut wrong = judged(&listing.names(list));
    if !wrong.is_empty() && listing.as_of_ms < start {
        wrong = judged(&context.console.names(list, true, context.until)?.names(list));
    }
    Ok(wrong)
}

fn wrong_name(
    list: List,
    wanted: &Wanted,
    known: &[String],
    twins: &Twins,
    shows: impl Fn(&str) -> bool,
) -> Option<FieldError> {
    let name = &wanted.name;
    match (wanted.index, twins.of(name)) {
        (Some(index), _) if !known.contains(name) => Some(unknown_name(list, index, name)),
        (index, Some(twin)) => {
            let twin = if shows(twin) { format!("{twin:?}") } else { "another".to_owned() };
            let detail =
                format!("{name:?} and {twin} may be one name to the console's database; rename or delete one there");
            let member = list.member();
            Some(FieldError::new(index.map_or(member.to_owned(), |index| format!("{member}[{index}]")), detail))
        }
        (_, None) => None,
    }
}

fn unknown_name(list: List, index: usize, name: &str) -> FieldError {
    let member = list.member();
    let detail = format!("{name:?} is not in the console; GET /v1/{member} lists all that are");
    FieldError::new(format!("{member}[{index}]"), detail)
}

/// The errors of parameters that are sent beside another of the same letters.
fn alike_parameters(draft: &Draft, after: &Assignment) -> Vec<FieldError> {
    let sent = draft.parameters.iter().filter(|(_, value)| value.is_some()).map(|(name, _)| name);
    let alike = |name: &ParameterName| {
        let same = |other: &&ParameterName| *other != name && other.as_str().eq_ignore_ascii_case(name.as_str());
        let other = after.parameters.keys().find(same)?;
        let detail = format!("{name} and {other} may be one parameter to the console's database; leave one out");
        Some(FieldError::new(format!("parameters.{name}"), detail))
    };
    sent.filter_map(alike).collect()
}

/// The fault for names that left the console after its list was read.
fn lost_names(lost: &[Lost], assignment: &Assignment) -> Fault {
    let index = |list: List, name: &str| match list {
        List::Groups => assignment.groups.iter().position(|group| group.as_str() == name),
        List::Classes => assignment.classes.iter().position(|class| class.as_str() == name),
    };
    let error = |lost: &Lost| match lost {
        Lost::Name(list, name) => unknown_name(*list, index(*list, name).unwrap_or_default(), name),
        Lost::Environment(_) => FieldError::new("environment", "has just left the catalogue"),
        Lost::ClassParameter(class, name) => {
            FieldError::new(format!("class_parameters.{class}.{name}"), "has just left the catalogue")
        }
    };
    Fault::invalid(lost.iter().map(error).collect())
}

/// Adds a node; 409 when its name is taken, 422 when the draft is wrong.
pub(crate) fn add(context: &mut Context, draft: Draft, retry: Option<&Retry>) -> Result<Outcome, Fault> {
    let Caller::Client(client) = context.caller.clone() else { return Err(Fault::not_found()) };
    let key = retry.map(|retry| Key { client: client.name.as_str(), key: &retry.key, digest: &retry.digest });
    let ledger = context.ledger()?;
    if let Some(outcome) = first_answer(&ledger, key.as_ref())? {
        return Ok(outcome);
    }
    let (draft, assignment) = checked(context, draft, &Assignment::default())?;
    let Some(name) = draft.name else { return Err(Fault::invalid(draft.errors)) };
    let node = Node { name, assignment };
    context.audit.assignment(&node.assignment);

    let Some(mut locked) = LockedName::acquire_unless_anothers(context, ledger, &node.name)? else {
        context.ledger()?.check_quota(rights::owner(&client))?;
        return Err(taken());
    };
    let settled = recovery::settle(&mut locked, Purpose::Keep)?;
    if let Some(outcome) = first_answer(&locked.ledger, key.as_ref())? {
        return Ok(outcome);
    }
    // Only now: what the node's own unfinished addition leaves counts.
    locked.ledger.check_quota(rights::owner(&client))?;
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
    let (draft, assignment) = checked(context, draft, &before.assignment)?;
    let after = Node { name: before.name.clone(), assignment };
    context.audit.assignment(&after.assignment);
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
            let (sent, lost): (Vec<_>, Vec<_>) = lost.into_iter().partition(|lost| draft.sends(lost));
            if sent.is_empty() {
                // The client did not ask for them now, and the node has everything else.
                audited.locked.context.audit.lost(&lost);
                audited.locked.ledger.settle(&after)?;
                return Ok(Outcome::Node(after));
            }
            // Undoing can need another way: not every console can remove a parameter in place.
            let back = audited.locked.context.console.way(&after.assignment, &before.assignment);
            recovery::assign(&mut audited, &before, back)?;
            Err(lost_names(&sent, &after.assignment))
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
    let (mut locked, changing) = (node.locked, node.entry.state == NodeState::Changing);
    let entry = match recovery::settle(&mut locked, Purpose::Delete)? {
        Settled::Owned(entry) => entry,
        Settled::Absent if changing => return Ok(Outcome::Gone),
        Settled::Absent | Settled::Unproven | Settled::Anothers => return Err(Fault::not_found()),
    };
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
