//! Names that nodes have and the catalogue has no more.

use std::collections::BTreeMap;

use super::report::Report;
use crate::console::Console;
use crate::ledger::Entry;
use crate::model::name::NodeName;
use crate::system::text;

/// Most lines; of many one cause is likely.
const MOST: usize = 20;

/// Names each group, class, environment and parameter that nodes have and the catalogue does not.
pub(super) fn report(report: &mut Report, console: &dyn Console, entries: &[Entry]) {
    // A catalogue that cannot be read has its own line.
    let Some(Ok(publisher)) = console.publisher() else { return };
    let mut lost: BTreeMap<String, (usize, &NodeName)> = BTreeMap::new();
    for entry in entries {
        for what in publisher.lost(&entry.node.assignment) {
            lost.entry(what.to_string()).or_insert((0, &entry.node.name)).0 += 1;
        }
    }
    for (what, (nodes, first)) in lost.iter().take(MOST) {
        let nodes = text::count(*nodes, "node has", "nodes have");
        let advice = "put it back, or have the client change them";
        report.warn("catalogue", format!("has no {what}, which {nodes}, such as {first}; {advice}"));
    }
    if lost.len() > MOST {
        report.warn("catalogue", format!("has {} more no longer; 'espm nodes' shows them", lost.len() - MOST));
    }
}
