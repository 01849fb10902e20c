//! The comparison of the ledger's nodes with the console's.

use std::path::Path;

use super::report::Report;
use crate::cli::{Failure, as_operator};
use crate::config::Config;
use crate::console::{Console, names_any};
use crate::ledger::{CertificateState, Entry, NodeState};
use crate::model::fault::Fault;
use crate::model::name::NodeName;
use crate::service::certificates;
use crate::service::change::{LockedName, LockedNode};
use crate::service::recovery::{self, Purpose, Settled};

/// Compares the ledger with the console's `nodes`.
pub(super) fn compare(
    report: &mut Report,
    config: &Config,
    path: &Path,
    entries: &[Entry],
    (console, nodes): (&dyn Console, &[String]),
    settle: bool,
) {
    // An empty list would have every certificate revoked.
    if settle && !names_any(nodes) && !entries.is_empty() && !console.may_be_empty() {
        let what = "the console lists none, not even the master, so nothing is settled";
        return report.line("nodes", Err(Failure(format!("{what}; name the right console in [console] command"))));
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
            NodeState::Unproven => {
                wrong += 1;
                warn_unproven(report, name);
                continue;
            }
            NodeState::Creating | NodeState::Changing | NodeState::Deleting => "has an unfinished change",
        };
        if !settle {
            wrong += 1;
            report.warn("node", format!("{name} {what}; 'espm check --settle' settles it"));
            continue;
        }
        let mut in_doubt = false;
        let settled = as_operator(config, path, "operator.settle", name, |context| {
            let ledger = context.ledger()?;
            let mut locked = LockedName::acquire(context, ledger, name)?;
            match recovery::settle(&mut locked, Purpose::Keep)? {
                Settled::Owned(entry) => settle_active(LockedNode { locked, entry: *entry }, there),
                Settled::Absent => Ok(()),
                Settled::Unproven => {
                    in_doubt = true;
                    Ok(())
                }
            }
        });
        wrong += usize::from(in_doubt || settled.is_err());
        match settled {
            Ok(()) if in_doubt => warn_unproven(report, name),
            settled => report.line("node", settled.map(|()| format!("{name} {what}: settled"))),
        }
    }
    if wrong == 0 {
        report.line("nodes", Ok("every node in the ledger is in the console".into()));
    }
}

fn warn_unproven(report: &mut Report, name: &NodeName) {
    let advice = format!("'espm adopt {name}' if it is espm's, else 'espm forget {name}'");
    report.warn("node", format!("{name} may be espm's or not; {advice}"));
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
