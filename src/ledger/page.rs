//! The rows of the ledger, some at a time: no lock is held between, and memory does not grow with them.

use rusqlite::params;

use super::row::{SELECT, read_entry};
use super::{Entry, Ledger, LedgerError};
use crate::model::name::NodeName;

impl Ledger {
    /// The first `most` rows by name, or those after a name.
    pub(crate) fn page(&self, after: Option<&NodeName>, most: u32) -> Result<Vec<Entry>, LedgerError> {
        let query = format!("{SELECT} WHERE node.name > ?1 ORDER BY node.name LIMIT ?2");
        let mut statement = self.database.prepare(&query).map_err(self.error())?;
        let after = after.map_or("", NodeName::as_str);
        let rows = statement.query_map(params![after, most], read_entry).map_err(self.error())?;
        rows.map(|row| row.map_err(self.error())?).collect()
    }

    /// The number of rows.
    pub(crate) fn count(&self) -> Result<usize, LedgerError> {
        let count: i64 =
            self.database.query_row("SELECT count(*) FROM node", [], |row| row.get(0)).map_err(self.error())?;
        Ok(usize::try_from(count).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use crate::ledger::{Ledger, NodeOwner, create};
    use crate::model::name::{ClientName, NodeName};
    use crate::model::node::{Assignment, Node};
    use crate::system::scratch::scratch;

    #[test]
    fn pages_have_every_row_once() {
        let directory = scratch("ledger-pages");
        create(&directory).unwrap();
        let ledger = Ledger::open(&directory, "r").unwrap();
        let names = ["a", "a.b", "a0", "b", "z"].map(|name| NodeName::parse(name).unwrap());
        let client = ClientName::parse("c").unwrap();
        for name in &names {
            let node = Node { name: name.clone(), assignment: Assignment::default() };
            ledger.intend_to_add(&node, "o", NodeOwner { client: &client, most: None }, None).unwrap();
        }
        let (mut seen, mut last) = (Vec::new(), None);
        loop {
            let page = ledger.page(last.as_ref(), 2).unwrap();
            let Some(entry) = page.last() else { break };
            last = Some(entry.node.name.clone());
            seen.extend(page.into_iter().map(|entry| entry.node.name));
        }
        assert_eq!(seen, names);
        assert_eq!(ledger.count().unwrap(), 5);
    }
}
