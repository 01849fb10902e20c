//! The end of a ledger that never had a node: the way back from set-up.

use std::fs;
use std::path::Path;

use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior};

use super::{BUSY_TIMEOUT, LedgerError};
use crate::model::state_directory;
use crate::system::text;
use crate::system::trusted_file::{self, FileError, Owner};

/// Removes a ledger without nodes and all that is beside it; a missing one is no error.
///
/// Returns what is in the way: its nodes, and the audit records that wait for syslog. Then nothing is removed.
///
/// The database goes while its lock is held. A request that waits for the lock finds it moved, and records nothing.
pub(crate) fn remove_empty(directory: &Path) -> Result<Option<String>, LedgerError> {
    let directory = trusted_file::resolve(directory, Owner::RootOrSelf)?;
    let path = state_directory::database(&directory);
    let waiting = fs::read_dir(state_directory::unsent(&directory)).into_iter().flatten().count();
    if waiting > 0 {
        return Ok(Some(text::count(
            waiting,
            "audit record that waits for syslog",
            "audit records that wait for syslog",
        )));
    }
    if path.symlink_metadata().is_ok() {
        let error = |error| LedgerError::database(path.clone(), error);
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NOFOLLOW;
        let database = Connection::open_with_flags(&path, flags).map_err(error)?;
        database.busy_timeout(BUSY_TIMEOUT).map_err(error)?;
        let lock = Transaction::new_unchecked(&database, TransactionBehavior::Exclusive).map_err(error)?;
        let nodes: u32 = lock.query_row("SELECT count(*) FROM node", [], |row| row.get(0)).map_err(error)?;
        if nodes > 0 {
            return Ok(Some(text::count(nodes as usize, "node", "nodes")));
        }
        trusted_file::remove(&path)?;
    }
    trusted_file::remove(&directory.join("ledger.sqlite-journal"))?;
    trusted_file::remove(&trusted_file::beside(&state_directory::unsent(&directory), "lock"))?;
    for name in state_directory::DIRECTORIES {
        let path = directory.join(name);
        match fs::remove_dir_all(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(FileError::io(&path, error).into());
            }
            _ => {}
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::remove_empty;
    use crate::ledger::{Ledger, NodeOwner, create};
    use crate::model::name::{ClientName, NodeName};
    use crate::model::node::{Assignment, Node};
    use crate::model::state_directory::database;
    use crate::system::scratch::scratch;

    #[test]
    fn ledger_goes_only_as_long_as_it_has_no_node() {
        let directory = scratch("ledger-remove");
        create(&directory).unwrap();
        let node = Node { name: NodeName::parse("web01").unwrap(), assignment: Assignment::default() };
        let ledger = Ledger::open(&directory, "r").unwrap();
        let owner = NodeOwner { client: &ClientName::parse("c").unwrap(), most: None };
        ledger.intend_to_add(&node, "o", owner, None).unwrap();
        assert_eq!(remove_empty(&directory).unwrap().as_deref(), Some("1 node"));
        assert!(ledger.entry(&node.name).unwrap().is_some());
        ledger.forget(&node.name).unwrap();
        assert_eq!(remove_empty(&directory).unwrap(), None);
        assert_eq!(std::fs::read_dir(&directory).unwrap().count(), 0);
        // A request that has it open already records nothing that is lost.
        ledger.intend_to_add(&node, "o", owner, None).unwrap_err();
        assert_eq!(remove_empty(&directory).unwrap(), None);
        create(&directory).unwrap();
        Connection::open(database(&directory))
            .unwrap()
            .execute_batch("DROP TABLE answer; DROP TABLE certificate; DROP TABLE node")
            .unwrap();
        remove_empty(&directory).unwrap_err();
        assert!(database(&directory).exists());
    }
}
