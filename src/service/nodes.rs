//! Each operation, from the ownership check to the outcome.
//!
//! The order of judgement is ownership, media type, JSON, content; nothing that changes anything
//! is run before that. Then attempt in the audit, intent in the ledger, command, outcome in the
//! ledger. A node that is not ours is 404 whatever else is wrong.

use super::certificates;
use sha2::{Digest, Sha256};

use crate::authority::protocol::{Answer, Verb};
use crate::console::rake::output::REBUILD;
use crate::console::{Assigned, ConsoleError};
use crate::ledger::{Entry, Key, Ledger, NodeState};
use crate::model::fault::{Fault, FieldError, Problem};
use crate::model::name::NodeName;
use crate::model::node::{Assignment, List, Node};
use crate::service::context::Offices;
use crate::service::node_body::{self, Draft, Placed, Shape};
use crate::service::operation::{Conditions, Operation, Unread};
use crate::service::outcome::Outcome;
use crate::service::recovery::{self, Aim, Settled};
use crate::system::clock;
use crate::system::lock::Lock;

/// Bytes of an `Idempotency-Key`.
const MAX_KEY: usize = 255;

/// Performs an operation.
///
/// # Errors
/// When it is refused or fails; then nothing was changed, or the ledger knows what is unfinished.
pub fn perform(operation: Operation, offices: &mut Offices<'_>) -> Result<Outcome, Fault> {
    match operation {
        Operation::Describe => Ok(Outcome::Description),
        Operation::ListNames(list, conditions) => list_names(offices, list, &conditions),
        Operation::AddNode(unread, key) => add(offices, &unread, key.as_deref()),
        Operation::ShowNode(name) => show(offices, &name),
        Operation::ChangeNode(name, unread) => change(offices, &name, &unread),
        Operation::DeleteNode(name) => delete(offices, &name),
        Operation::GenerateCertificate(name) => certificates::generate(offices, &name),
        Operation::ShowCertificate(name) => certificates::show(offices, &name),
        Operation::RevokeCertificate(name) => certificates::revoke(offices, &name),
    }
}

fn list_names(offices: &Offices<'_>, list: List, conditions: &Conditions) -> Result<Outcome, Fault> {
    let listing = offices.console.names(list, conditions.fresh, offices.until)?;
    let etag = listing.etag;
    let known = conditions.if_none_match.as_deref().is_some_and(|tags| {
        let weak = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
        tags.trim() == "*" || tags.split(',').any(|tag| weak(tag) == weak(&etag))
    });
    if known { Ok(Outcome::NotModified { etag }) } else { Ok(Outcome::Names { etag, body: listing.body.into_bytes() }) }
}

/// A node's lock and entry, once it is known that it is ours and settled for that aim.
pub(super) fn ours(offices: &mut Offices<'_>, name: &NodeName, aim: Aim) -> Result<(Ledger, Lock, Box<Entry>), Fault> {
    let ledger = offices.ledger()?;
    if ledger.entry_of_ours(name)?.is_none() {
        return Err(Fault::not_found());
    }
    let lock = offices.lock(&ledger, name)?;
    match recovery::settle(&ledger, offices, name, aim)? {
        Settled::Ours(entry) => Ok((ledger, lock, entry)),
        Settled::NotOurs | Settled::Unproven => Err(Fault::not_found()),
    }
}

fn show(offices: &mut Offices<'_>, name: &NodeName) -> Result<Outcome, Fault> {
    let ledger = offices.ledger()?;
    let Some(entry) = ledger.entry_of_ours(name)? else { return Err(Fault::not_found()) };
    match entry.state {
        NodeState::Active => Ok(Outcome::Node(entry.node)),
        NodeState::Unproven => Err(Fault::not_found()),
        // While its change runs, a node is what it was; one whose request has died is settled first.
        NodeState::Changing if ledger.try_lock(name)?.is_none() => Ok(Outcome::Node(entry.node)),
        _ => ours(offices, name, Aim::Keep).map(|(_, _, entry)| Outcome::Node(entry.node)),
    }
}

/// A draft whose names the console knows; or all that is wrong with it.
fn checked(offices: &mut Offices<'_>, mut draft: Draft) -> Result<Draft, Fault> {
    offices.audit.conceal(draft.parameters.iter().filter_map(|(_, value)| value.as_ref()));
    let start = clock::now_ms();
    let mut unknown = Vec::new();
    unknown.extend(unknown_names(offices, List::Groups, start, draft.groups.as_deref(), |name| name.as_str())?);
    unknown.extend(unknown_names(offices, List::Classes, start, draft.classes.as_deref(), |name| name.as_str())?);
    draft.errors.extend(unknown);
    let sets = draft.parameters.iter().any(|(_, value)| value.is_some());
    if sets && !offices.console.has_parameters() {
        let detail = "this console has no task that sets parameters (Puppet Dashboard before 1.2.7)";
        draft.errors.push(FieldError::new("parameters", detail));
    }
    if draft.name.as_ref().is_some_and(|name| name.as_str() == offices.master) {
        draft.errors.push(FieldError::new("name", "is the master's own certname"));
    }
    if draft.errors.is_empty() { Ok(draft) } else { Err(Fault::invalid(draft.errors)) }
}

/// The names that the console does not list, not even when it is asked anew.
fn unknown_names<T>(
    offices: &Offices<'_>,
    list: List,
    start: i64,
    names: Option<&[Placed<T>]>,
    text: impl Fn(&T) -> &str,
) -> Result<Vec<FieldError>, Fault> {
    let names = names.unwrap_or_default();
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let mut listing = offices.console.names(list, false, offices.until)?;
    let mut known = listing.names(list);
    let missing = |known: &[String]| names.iter().any(|placed| !known.iter().any(|name| name == text(&placed.name)));
    if missing(&known) && listing.as_of_ms < start {
        listing = offices.console.names(list, true, offices.until)?;
        known = listing.names(list);
    }
    let unknown = names.iter().filter(|placed| !known.iter().any(|name| name == text(&placed.name)));
    Ok(unknown.map(|placed| unknown_name(list, placed.index)).collect())
}

fn unknown_name(list: List, index: usize) -> FieldError {
    let member = list.member();
    FieldError::new(format!("{member}[{index}]"), format!("is not in the console; GET /v1/{member} lists what is"))
}

/// The errors for names that vanished from the console between its list and the assignment.
fn lost_names(lost: &[(List, String)], assignment: &Assignment) -> Fault {
    let index = |list: List, name: &str| match list {
        List::Groups => assignment.groups.iter().position(|group| group.as_str() == name),
        List::Classes => assignment.classes.iter().position(|class| class.as_str() == name),
    };
    let errors = lost.iter().map(|(list, name)| unknown_name(*list, index(*list, name).unwrap_or_default()));
    Fault::invalid(errors.collect())
}

fn add(offices: &mut Offices<'_>, unread: &Unread, key: Option<&str>) -> Result<Outcome, Fault> {
    let visible = |key: &str| !key.is_empty() && key.len() <= MAX_KEY && key.bytes().all(|b| b.is_ascii_graphic());
    if key.is_some_and(|key| !visible(key)) {
        return Err(Fault::new(Problem::BadRequest, "an Idempotency-Key is 1 to 255 visible ASCII characters"));
    }
    let draft = node_body::parse(unread, Shape::New)?;
    if let Some(name) = &draft.name {
        offices.audit.node(name);
    }
    let digest = data_encoding::HEXLOWER.encode(&Sha256::digest(node_body::bytes(unread, Shape::New)?));
    let key = key.map(|key| Key { client: offices.client, key, digest: &digest });
    let ledger = offices.ledger()?;
    if let Some(outcome) = first_answer(&ledger, key.as_ref())? {
        return Ok(outcome);
    }
    let draft = checked(offices, draft)?;
    let Some(name) = draft.name.clone() else { return Err(Fault::invalid(draft.errors)) };
    let node = Node { name, assignment: draft.into_change().apply(Assignment::default()) };
    offices.audit.assignment(&node.assignment);

    let _lock = offices.lock(&ledger, &node.name)?;
    let settled = recovery::settle(&ledger, offices, &node.name, Aim::Keep)?;
    if let Some(outcome) = first_answer(&ledger, key.as_ref())? {
        return Ok(outcome);
    }
    if !matches!(settled, Settled::NotOurs) {
        return Err(taken());
    }
    // Where there is no console to refuse a taken name, what is published tells, and the CA.
    if offices.console.follows_ledger()
        && (offices.console.has(&node.name, offices.until)?
            || matches!(offices.authority.ask(Verb::Show, &node.name, offices.until)?, Answer::Foreign))
    {
        return Err(taken());
    }
    let turn = offices.console.turn(offices.until)?;
    offices.audit.attempt()?;
    let (proof, file) = ledger.new_proof("")?;
    ledger.intend_to_add(&node, &proof, key.as_ref())?;
    let assigned = turn.add(&node, &file, offices.until);
    conclude_add(&ledger, offices, &node, assigned)
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

fn conclude_add(
    ledger: &Ledger,
    offices: &mut Offices<'_>,
    node: &Node,
    assigned: Result<Assigned, ConsoleError>,
) -> Result<Outcome, Fault> {
    match assigned {
        Ok(Assigned::Whole) => {
            ledger.settle(node)?;
            Ok(Outcome::NodeCreated(node.clone()))
        }
        Ok(Assigned::Taken) => {
            ledger.forget(&node.name)?;
            Err(taken())
        }
        Ok(Assigned::Lost(lost)) => {
            recovery::delete(ledger, offices, node, false)?;
            Err(lost_names(&lost, &node.assignment))
        }
        Ok(Assigned::Partly(text)) => {
            recovery::delete(ledger, offices, node, false)?;
            Err(failed(text))
        }
        Ok(Assigned::Missing) => Err(failed("node:add says that the node is missing".into())),
        Ok(Assigned::Failed(text)) => {
            if offices.console.has(&node.name, offices.until)? {
                offices.audit.note("unproven");
                ledger.mark_unproven(&node.name)?;
            } else {
                ledger.forget(&node.name)?;
            }
            Err(failed(text))
        }
        Err(error) => {
            if error.nothing_was_run() {
                ledger.forget(&node.name)?;
            }
            Err(error.into())
        }
    }
}

fn failed(text: String) -> Fault {
    ConsoleError::Failed(text).into()
}

fn change(offices: &mut Offices<'_>, name: &NodeName, unread: &Unread) -> Result<Outcome, Fault> {
    let (ledger, _lock, entry) = ours(offices, name, Aim::Keep)?;
    let change = checked(offices, node_body::parse(unread, Shape::Change)?)?.into_change();
    let before = entry.node.clone();
    let after = Node { name: name.clone(), assignment: change.apply(before.assignment.clone()) };
    offices.audit.assignment(&after.assignment);
    if after.assignment.outgrows(&before.assignment) {
        let detail = "those of a node have at most 65536 bytes together; set some to null";
        return Err(Fault::invalid(vec![FieldError::new("parameters", detail)]));
    }
    let lost = offices.console.lost(&after.assignment)?;
    if !lost.is_empty() {
        return Err(lost_names(&lost, &after.assignment));
    }
    if !offices.console.follows_ledger() && !offices.console.has(name, offices.until)? {
        return forget_missing(&ledger, offices, &entry);
    }
    let rebuild = recovery::needs_rebuild(offices, &before.assignment, &after.assignment);
    let turn = offices.console.turn(offices.until)?;
    offices.audit.attempt()?;
    let (proof, file) = ledger.new_proof(if rebuild { REBUILD } else { "" })?;
    ledger.intend(name, NodeState::Changing, Some(&after.assignment), &proof)?;
    match turn.change(&after, rebuild, &file, offices.until) {
        Ok(Assigned::Whole) => {
            ledger.settle(&after)?;
            Ok(Outcome::Node(after))
        }
        Ok(Assigned::Lost(lost)) => {
            // What was added can be taken away again only as the console can remove it.
            let rebuild = recovery::needs_rebuild(offices, &after.assignment, &before.assignment);
            recovery::assign(&ledger, offices, &before, rebuild)?;
            Err(lost_names(&lost, &after.assignment))
        }
        Ok(Assigned::Missing | Assigned::Taken) => forget_missing(&ledger, offices, &entry),
        Ok(Assigned::Partly(text) | Assigned::Failed(text)) => Err(failed(text)),
        Err(error) => {
            if error.nothing_was_run() {
                ledger.settle(&before)?;
            }
            Err(error.into())
        }
    }
}

/// A node of ours that somebody has deleted is not ours any more.
fn forget_missing(ledger: &Ledger, offices: &mut Offices<'_>, entry: &Entry) -> Result<Outcome, Fault> {
    recovery::settle_missing(ledger, offices, entry)?;
    Err(Fault::not_found())
}

fn delete(offices: &mut Offices<'_>, name: &NodeName) -> Result<Outcome, Fault> {
    let (ledger, _lock, entry) = ours(offices, name, Aim::End)?;
    offices.audit.attempt()?;
    recovery::revoke(&ledger, offices, &entry)?;
    if offices.console.has(name, offices.until)? {
        recovery::delete(&ledger, offices, &entry.node, entry.state == NodeState::Active)?;
    } else {
        ledger.forget(name)?;
    }
    Ok(Outcome::Gone)
}
