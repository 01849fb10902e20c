//! The check that each node of the ledger belongs to a client.

use std::collections::BTreeMap;

use super::report::Report;
use crate::config::Config;
use crate::ledger::Entry;
use crate::model::name::ClientName;
use crate::system::text;

/// Reports nodes that no client sees, as after an upgrade from 0.1 or after a client was retired.
pub(super) fn report(report: &mut Report, config: &Config, entries: &[Entry]) {
    let is_client = |name: &ClientName| config.clients.iter().any(|client| client.name == *name);
    let mut orphans: BTreeMap<Option<&ClientName>, usize> = BTreeMap::new();
    for entry in entries.iter().filter(|entry| !entry.client.as_ref().is_some_and(is_client)) {
        *orphans.entry(entry.client.as_ref()).or_default() += 1;
    }
    if orphans.is_empty() {
        let clients = text::count(config.clients.len(), "client", "clients");
        return report.line("clients", Ok(clients));
    }
    for (owner, nodes) in orphans {
        let of = owner.map_or_else(|| "no client".to_owned(), |name| format!("{name}, which is no client"));
        let what = text::count(nodes, "node belongs", "nodes belong");
        let advice = "'espm nodes' lists them, 'espm assign NAME CLIENT' gives one to a client";
        report.warn("clients", format!("{what} to {of}, so no client sees them; {advice}"));
    }
}
