//! The comparison of the ledger's nodes with the console's.
//!
//! Requests go on meanwhile. The ledger is read before the console is asked. What differs is judged only after a second
//! look: a node on which a request works now, or whose row another request has written since, is not judged at all.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::Path;

use super::report::Report;
use crate::cli::{Failure, OPERATOR, as_operator};
use crate::config::Config;
use crate::console::{Console, ConsoleError, Way, names_any};
use crate::ledger::{CertificateState, Entry, Ledger, LedgerError, NodeState};
use crate::model::fault::Fault;
use crate::model::name::NodeName;
use crate::service::certificates;
use crate::service::change::{LockedName, LockedNode};
use crate::service::recovery::{self, Purpose, Settled};
use crate::system::text::{self, plain};

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
    Outdated,
    Unproven,
}

impl Doubt {
    fn text(self) -> &'static str {
        match self {
            Self::Missing => "is missing in the console",
            Self::UnfinishedCertificate => "has an unfinished certificate",
            Self::UnfinishedChange => "has an unfinished change",
            Self::Outdated => "is not published as the catalogue is now",
            Self::Unproven => "may be espm's or not",
        }
    }

    fn of(entry: &Entry, nodes: &HashSet<String>, outdated: &BTreeSet<NodeName>) -> Option<Self> {
        let name = &entry.node.name;
        match (entry.state, entry.certificate) {
            (NodeState::Active, _) if !nodes.contains(name.as_str()) => Some(Self::Missing),
            (NodeState::Active, Some(CertificateState::Generating | CertificateState::Revoking)) => {
                Some(Self::UnfinishedCertificate)
            }
            (NodeState::Active, _) => outdated.contains(name).then_some(Self::Outdated),
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
    let mut wrong = 0;
    let outdated = match find_outdated(report, listed.console, entries, &mut wrong) {
        Ok(outdated) => outdated,
        Err(error) => return report.line("nodes", Err(error.into())),
    };
    let doubts: Vec<_> =
        entries.iter().filter_map(|entry| Some((entry, Doubt::of(entry, &listed.nodes, &outdated)?))).collect();
    let doubts = match second_look(config, doubts, settle) {
        Ok(doubts) => doubts,
        Err(error) => return report.line("nodes", Err(error.into())),
    };
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

/// The nodes that are not published as they should be; those that cannot be compared are reported and counted.
fn find_outdated(
    report: &mut Report,
    console: &dyn Console,
    entries: &[Entry],
    wrong: &mut usize,
) -> Result<BTreeSet<NodeName>, ConsoleError> {
    let active = entries.iter().filter(|entry| entry.state == NodeState::Active);
    let mut outdated = BTreeSet::new();
    for (name, error) in console.outdated(&active.map(|entry| &entry.node).collect::<Vec<_>>())? {
        let Some(error) = error else {
            outdated.insert(name);
            continue;
        };
        *wrong += 1;
        let advice = format!("'espm forget {name}' if a human wrote that file");
        report.line("node", Err(Failure(format!("{}; {advice}", text::chain(&error)))));
    }
    Ok(outdated)
}

/// The nodes that differ even when looked at again; those on which a request works are left out.
fn second_look<'e>(
    config: &Config,
    doubts: Vec<(&'e Entry, Doubt)>,
    settle: bool,
) -> Result<Vec<(&'e Entry, Doubt)>, LedgerError> {
    if doubts.is_empty() {
        return Ok(doubts);
    }
    let ledger = Ledger::open(&config.state, OPERATOR)?;
    // One statement for all, because every node may be in doubt.
    let rows: HashMap<_, _> = ledger.entries(false)?.into_iter().map(|row| (row.node.name.clone(), row)).collect();
    let mut remain = Vec::new();
    for (entry, doubt) in doubts {
        if stands_still(&ledger, &rows, entry)? && (settle || has_ended(&ledger, entry)) {
            remain.push((entry, doubt));
        }
    }
    Ok(remain)
}

/// True if no request works on a node, and none has since its row was read.
///
/// Before it changes anything, a request writes its intent into the row; so only an unfinished row needs the lock.
fn stands_still(ledger: &Ledger, rows: &HashMap<NodeName, Entry>, entry: &Entry) -> Result<bool, LedgerError> {
    let name = &entry.node.name;
    let is_same = |now: Option<&Entry>| {
        now.is_some_and(|now| {
            (now.state, now.certificate, &now.node, &now.request, now.since)
                == (entry.state, entry.certificate, &entry.node, &entry.request, entry.since)
        })
    };
    if !entry.is_unfinished() {
        return Ok(is_same(rows.get(name)));
    }
    let Some(_lock) = ledger.try_lock(name)? else { return Ok(false) };
    Ok(is_same(ledger.entry(name)?.as_ref()))
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
    let settled = as_operator(config, path, "operator.settle", Some(name), |context| {
        let ledger = context.ledger()?;
        let mut locked = LockedName::acquire(context, ledger, name)?;
        match recovery::settle(&mut locked, Purpose::Keep)? {
            Settled::Owned(entry) => settle_active(LockedNode { locked, entry: *entry }, doubt),
            Settled::Absent => Ok(()),
            Settled::Unproven | Settled::Anothers => {
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

/// Settles a node without an open intent; the doubt is from the start of the check.
fn settle_active(mut node: LockedNode<'_>, doubt: Doubt) -> Result<(), Fault> {
    if doubt == Doubt::Missing {
        let context = &node.locked.context;
        let standing = context.console.standing(&node.entry.node.name, context.until)?;
        if recovery::settle_missing(&mut node, &standing)? {
            return Ok(());
        }
    }
    if doubt == Doubt::Outdated {
        let mut audited = node.locked.audited()?;
        recovery::assign(&mut audited, &node.entry.node, Way::InPlace)?;
    }
    certificates::settle(node)
}
