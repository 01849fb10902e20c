//! The commands that list, adopt and forget nodes of the ledger.

use crate::console::Standing;
use crate::ledger::{Entry, NodeState};
use crate::model::fault::Fault;
use crate::model::name::NodeName;
use crate::model::node::{Assignment, Node};
use crate::model::problem::Problem;
use crate::service::change::LockedName;
use crate::service::context::Context;
use crate::system::clock;

/// Records a node of the console as espm's.
pub(super) fn adopt(context: &mut Context, name: &NodeName) -> Result<(), Fault> {
    let ledger = context.ledger()?;
    let mut locked = LockedName::acquire(context, ledger, name)?;
    let entry = locked.ledger.entry(name)?;
    if entry.as_ref().is_some_and(|entry| entry.state == NodeState::Active) {
        return Ok(());
    }
    if name.as_str() == locked.context.master {
        return Err(Fault::new(Problem::NotFound, format!("{name} is the master's own name, which is never espm's")));
    }
    if let Some(entry) = &entry {
        locked.output(entry)?;
    }
    if let Standing::Unlisted(_) | Standing::Unpublished =
        locked.context.console.standing(name, locked.context.until)?
    {
        let detail = format!("{name} is not in the console; only a node that is there can be adopted");
        return Err(Fault::new(Problem::NotFound, detail));
    }
    let audited = locked.audited()?;
    // The ledger's last intent or assignment is the best guess; a node unknown to it counts as empty.
    let assignment = entry.map_or_else(Assignment::default, |entry| entry.wanted.unwrap_or(entry.node.assignment));
    Ok(audited.locked.ledger.adopt(&Node { name: name.clone(), assignment })?)
}

/// Removes a node from the ledger.
pub(super) fn forget(context: &mut Context, name: &NodeName) -> Result<(), Fault> {
    let ledger = context.ledger()?;
    let mut locked = LockedName::acquire(context, ledger, name)?;
    let Some(entry) = locked.ledger.entry(name)? else {
        let detail = format!("{name} is not in the ledger; 'espm nodes' lists all that are");
        return Err(Fault::new(Problem::NotFound, detail));
    };
    // A command that still runs could add a node that the ledger does not show.
    locked.output(&entry)?;
    Ok(locked.audited()?.locked.ledger.forget(name)?)
}

/// Prints a line of `espm nodes`.
pub(super) fn print(entry: &Entry) {
    let certificate = entry.certificate.map_or("-", |state| state.word());
    let since = clock::rfc3339(entry.since);
    println!("{:<10} {certificate:<10} {since} {}", entry.state.word(), entry.node.name);
}
