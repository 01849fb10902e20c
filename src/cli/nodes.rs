//! The commands that list the ledger's nodes, revoke and delete, adopt and forget.

use std::io::{self, BufWriter, ErrorKind, Write};

use serde::Serialize;

use crate::audit::{self, Note};
use crate::console::Standing;
use crate::ledger::{Entry, NodeState};
use crate::model::fault::Fault;
use crate::model::name::NodeName;
use crate::model::node::{Assignment, Node};
use crate::model::problem::Problem;
use crate::service::change::LockedName;
use crate::service::context::Context;
use crate::service::judgement::Reason;
use crate::service::outcome::Outcome;
use crate::service::{certificates, nodes};
use crate::system::clock;

/// Revokes the certificate of a node of espm's, as a client's request does.
pub(super) fn revoke(context: &mut Context, name: &NodeName) -> Result<(), Fault> {
    refuse_master(context, name)?;
    let revoked = certificates::revoke(context, name, &Reason::Operator);
    conclude(context, name, revoked)
}

/// Deletes a node of espm's, as a client's request does.
pub(super) fn delete(context: &mut Context, name: &NodeName) -> Result<(), Fault> {
    refuse_master(context, name)?;
    let deleted = nodes::delete(context, name, &Reason::Operator);
    conclude(context, name, deleted)
}

fn refuse_master(context: &Context, name: &NodeName) -> Result<(), Fault> {
    if name.as_str() != context.master {
        return Ok(());
    }
    Err(Fault::new(Problem::NotFound, format!("{name} is the master's own name, which is never espm's")))
}

/// Tells the operator what a client is not told.
fn conclude(context: &Context, name: &NodeName, done: Result<Outcome, Fault>) -> Result<(), Fault> {
    match done {
        Ok(_) if context.audit.has(Note::ForeignCertificateLeft) => {
            audit::complain(&format!("the CA has a certificate of {name} that espm did not have made; it stays valid"));
            Ok(())
        }
        Ok(_) => Ok(()),
        Err(fault) if fault.problem == Problem::NotFound => Err(match context.ledger()?.entry(name)? {
            None => not_in_ledger(name),
            Some(entry) if entry.state == NodeState::Unproven => {
                let decide = format!("look at it in the console, then 'espm adopt {name}' or 'espm forget {name}'");
                Fault::new(Problem::NotFound, format!("{name} may be espm's or not; {decide}"))
            }
            Some(_) => Fault::new(Problem::NotFound, format!("{name} has no certificate of espm's")),
        }),
        Err(fault) => Err(fault),
    }
}

fn not_in_ledger(name: &NodeName) -> Fault {
    Fault::new(Problem::NotFound, format!("{name} is not in the ledger; 'espm nodes' lists all that are"))
}

/// Records a node of the console as espm's.
pub(super) fn adopt(context: &mut Context, name: &NodeName) -> Result<(), Fault> {
    let ledger = context.ledger()?;
    let mut locked = LockedName::acquire(context, ledger, name)?;
    let entry = locked.ledger.entry(name)?;
    if entry.as_ref().is_some_and(|entry| entry.state == NodeState::Active) {
        return Ok(());
    }
    refuse_master(locked.context, name)?;
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
    let entry = locked.ledger.entry(name)?.ok_or_else(|| not_in_ledger(name))?;
    // A command that still runs could add a node that the ledger does not show.
    locked.output(&entry)?;
    Ok(locked.audited()?.locked.ledger.forget(name)?)
}

/// A row of `espm nodes --json`.
#[derive(Serialize)]
struct Row<'a> {
    #[serde(flatten)]
    node: &'a Node,
    state: &'static str,
    certificate: Option<&'static str>,
    since: String,
}

/// Prints the lines of `espm nodes`, or an array of JSON.
pub(super) fn print(entries: &[Entry], json: bool) -> io::Result<()> {
    match write(entries, json, BufWriter::new(io::stdout().lock())) {
        // A reader such as head(1) has seen enough.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

fn write(entries: &[Entry], json: bool, mut output: impl Write) -> io::Result<()> {
    let rows = entries.iter().map(|entry| Row {
        node: &entry.node,
        state: entry.state.word(),
        certificate: entry.certificate.map(|state| state.word()),
        since: clock::rfc3339(entry.since),
    });
    if json {
        serde_json::to_writer(&mut output, &rows.collect::<Vec<_>>())?;
        writeln!(output)?;
    } else {
        for Row { node, state, certificate, since } in rows {
            writeln!(output, "{state:<10} {:<10} {since} {}", certificate.unwrap_or("-"), node.name)?;
        }
    }
    output.flush()
}
