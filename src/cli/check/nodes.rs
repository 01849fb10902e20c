//! The comparison of the ledger's nodes with the console's.
//!
//! Requests go on meanwhile. The ledger is read before the console is asked. What differs is judged only after a second
//! look: a node on which a request works now, or whose row another request has written since, is not judged at all.

use std::collections::HashSet;
use std::path::Path;

use super::report::Report;
use crate::cli::{Failure, OPERATOR, as_operator};
use crate::config::Config;
use crate::console::{Console, names_any};
use crate::ledger::{CertificateState, Entry, Ledger, LedgerError, NodeState};
use crate::model::fault::Fault;
use crate::model::name::NodeName;
use crate::service::certificates;
use crate::service::change::{LockedName, LockedNode};
use crate::service::recovery::{self, Purpose, Settled};
use crate::system::text::plain;

/// Most nodes of a report, each on its line; of many one cause is likely.
const MOST: usize = 20;

/// The console, and the nodes that it lists.
pub(super) struct Listed<'a> {
    pub(super) console: &'a dyn Console,
    pub(super) nodes: HashSet<String>,
}

impl<'a> Listed<'a> {
    pub(super) fn new(console: &'a dyn Console, nodes: &[String]) -> Self {
        Self { console, nodes: nodes.iter().map(|node| plain(node)).collect() }
    }
}

/// Why a node waits for the operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Doubt {
    Missing,
    UnfinishedCertificate,
    UnfinishedChange,
    Unproven,
}

impl Doubt {
    fn text(self) -> &'static str {
        match self {
            Self::Missing => "is missing in the console",
            Self::UnfinishedCertificate => "has an unfinished certificate",
            Self::UnfinishedChange => "has an unfinished change",
            Self::Unproven => "may be espm's or not",
        }
    }

    fn of(entry: &Entry, nodes: &HashSet<String>) -> Option<Self> {
        match (entry.state, entry.certificate) {
            (NodeState::Active, _) if !nodes.contains(entry.node.name.as_str()) => Some(Self::Missing),
            (NodeState::Active, Some(CertificateState::Generating | CertificateState::Revoking)) => {
                Some(Self::UnfinishedCertificate)
            }
            (NodeState::Active, _) => None,
            (NodeState::Unproven, _) => Some(Self::Unproven),
            (NodeState::Creating | NodeState::Changing | NodeState::Deleting, _) => Some(Self::UnfinishedChange),
        }
    }
}

/// Compares the ledger's `entries` with the nodes that the console listed after they were read.
pub(super) fn compare(
    report: &mut Report,
    config: &Config,
    path: &Path,
    entries: &[Entry],
    listed: &Listed<'_>,
    settle: bool,
) {
    // Of an empty list every certificate would be revoked.
    if !names_any(&listed.nodes) && !entries.is_empty() && !listed.console.may_be_empty() {
        let nothing = if settle { ", so nothing is settled" } else { "" };
        let what = format!("the console lists none, not even the master{nothing}");
        return report.line("nodes", Err(Failure(format!("{what}; name the right console in [console] command"))));
    }
    let doubts = match second_look(config, entries, &listed.nodes, settle) {
        Ok(doubts) => doubts,
        Err(error) => return report.line("nodes", Err(error.into())),
    };
    let mut wrong = 0;
    for (entry, doubt) in &doubts {
        let name = &entry.node.name;
        let settled = if settle && *doubt != Doubt::Unproven {
            settle_one(config, path, name, *doubt)
        } else {
            Err(advice(name, *doubt))
        };
        match settled {
            Ok(line) => report.line("node", Ok(line)),
            Err(line) => {
                wrong += 1;
                if wrong <= MOST {
                    report.warn("node", line);
                }
            }
        }
    }
    if wrong > MOST {
        let more = wrong - MOST;
        report.warn("nodes", format!("{more} more; 'espm nodes --unfinished' lists the unfinished ones"));
    } else if wrong == 0 {
        report.line("nodes", Ok("every node in the ledger is in the console".into()));
    }
}

/// The nodes that differ even when looked at again; those on which a request works are left out.
fn second_look<'e>(
    config: &Config,
    entries: &'e [Entry],
    nodes: &HashSet<String>,
    settle: bool,
) -> Result<Vec<(&'e Entry, Doubt)>, LedgerError> {
    let doubts: Vec<_> = entries.iter().filter_map(|entry| Some((entry, Doubt::of(entry, nodes)?))).collect();
    if doubts.is_empty() {
        return Ok(doubts);
    }
    let ledger = Ledger::open(&config.state, OPERATOR)?;
    let mut remain = Vec::new();
    for (entry, doubt) in doubts {
        if stands_still(&ledger, entry)? && (settle || has_ended(&ledger, entry)) {
            remain.push((entry, doubt));
        }
    }
    Ok(remain)
}

/// True if no request works on a node, and none has since its row was read.
fn stands_still(ledger: &Ledger, entry: &Entry) -> Result<bool, LedgerError> {
    let name = &entry.node.name;
    let Some(_lock) = ledger.try_lock(name)? else { return Ok(false) };
    let Some(now) = ledger.entry(name)? else { return Ok(false) };
    Ok((now.state, now.certificate, &now.node, &now.request, now.since)
        == (entry.state, entry.certificate, &entry.node, &entry.request, entry.since))
}

/// True if the command of a node's intent has ended. Its request may be gone while it runs.
fn has_ended(ledger: &Ledger, entry: &Entry) -> bool {
    let ended = |output: &String| ledger.try_read_output(output).is_ok_and(|text| text.is_some());
    entry.output.as_ref().is_none_or(ended)
}

fn advice(name: &NodeName, doubt: Doubt) -> String {
    let what = doubt.text();
    match doubt {
        Doubt::Unproven => format!("{name} {what}; 'espm adopt {name}' if it is espm's, else 'espm forget {name}'"),
        _ => format!("{name} {what}; 'espm check --settle' settles it"),
    }
}

/// Settles a node: what was done, or what the operator has to do.
fn settle_one(config: &Config, path: &Path, name: &NodeName, doubt: Doubt) -> Result<String, String> {
    let mut unproven = false;
    let settled = as_operator(config, path, "operator.settle", name, |context| {
        let ledger = context.ledger()?;
        let mut locked = LockedName::acquire(context, ledger, name)?;
        match recovery::settle(&mut locked, Purpose::Keep)? {
            Settled::Owned(entry) => settle_active(LockedNode { locked, entry: *entry }, doubt != Doubt::Missing),
            Settled::Absent => Ok(()),
            Settled::Unproven => {
                unproven = true;
                Ok(())
            }
        }
    });
    match settled {
        Err(Failure(why)) => Err(format!("{name} {}: {why}", doubt.text())),
        Ok(()) if unproven => Err(advice(name, Doubt::Unproven)),
        Ok(()) => Ok(format!("{name} {}: settled", doubt.text())),
    }
}

/// Settles a node without an open intent; `listed` is from the start of the check.
fn settle_active(mut node: LockedNode<'_>, listed: bool) -> Result<(), Fault> {
    if !listed {
        let context = &node.locked.context;
        let standing = context.console.standing(&node.entry.node.name, context.until)?;
        if recovery::settle_missing(&mut node, &standing)? {
            return Ok(());
        }
    }
    certificates::settle(node)
}
