//! The ledger's nodes against the console's.

use std::path::Path;

use super::report::Report;
use crate::cli::{Wrong, as_operator};
use crate::config::{Config, Console};
use crate::console::Standing;
use crate::ledger::{CertificateState, Entry, NodeState};
use crate::model::fault::Fault;
use crate::service::certificates;
use crate::service::change::{Locked, LockedNode};
use crate::service::recovery::{self, Aim, Settled};

/// What is said of a node that a human has to decide about.
const IN_DOUBT: &str = "may be espm's or not; 'espm adopt' or 'espm forget' it";

/// Holds the ledger against the console.
pub(super) fn compare(
    report: &mut Report,
    config: &Config,
    path: &Path,
    entries: &[Entry],
    nodes: &[String],
    settle: bool,
) {
    // Every certificate would be revoked for it.
    if settle && nodes.is_empty() && !entries.is_empty() && matches!(config.console, Console::Rake(_)) {
        let what = "the console lists none, not even the master; nothing is settled: is it the right one?";
        return report.line("nodes", Err(Wrong(what.to_owned())));
    }
    let mut wrong = 0;
    for entry in entries {
        let name = &entry.node.name;
        let there = nodes.iter().any(|node| node == name.as_str());
        let what = match entry.state {
            NodeState::Active if !there => "is missing in the console",
            NodeState::Active => match entry.certificate {
                Some(CertificateState::Generating | CertificateState::Revoking) => "has an unfinished certificate",
                _ => continue,
            },
            NodeState::Unproven => IN_DOUBT,
            NodeState::Creating | NodeState::Changing | NodeState::Deleting => "has an unfinished change",
        };
        if !settle || entry.state == NodeState::Unproven {
            wrong += 1;
            let advice = if entry.state == NodeState::Unproven { "" } else { "; 'espm check --settle' settles it" };
            report.warn("node", format!("{name} {what}{advice}"));
            continue;
        }
        let mut in_doubt = false;
        let mended = as_operator(config, path, "operator.settle", name, |context| {
            let ledger = context.ledger()?;
            let mut locked = Locked::acquire(context, ledger, name)?;
            match recovery::settle(&mut locked, Aim::Keep)? {
                Settled::Ours(entry) => settle_active(LockedNode { locked, entry: *entry }, there),
                Settled::NotOurs => Ok(()),
                Settled::Unproven => {
                    in_doubt = true;
                    Ok(())
                }
            }
        });
        wrong += usize::from(in_doubt || mended.is_err());
        match mended {
            Ok(()) if in_doubt => report.warn("node", format!("{name} {IN_DOUBT}")),
            mended => report.line("node", mended.map(|()| format!("{name} {what}: settled"))),
        }
    }
    if wrong == 0 {
        report.line("nodes", Ok("every node in the ledger is in the console".into()));
    }
}

/// Settles a node that no intent is open of, and that the console's list had or lacked when the check began.
fn settle_active(mut node: LockedNode<'_>, listed: bool) -> Result<(), Fault> {
    if !listed {
        let context = &node.locked.context;
        match context.console.standing(&node.entry.node.name, context.until)? {
            Standing::Listed(_) | Standing::Published => {}
            missing @ (Standing::Unlisted | Standing::Unpublished) => {
                return recovery::settle_missing(&mut node, &missing);
            }
        }
    }
    certificates::settle(node)
}
