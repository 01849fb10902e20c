//! The ledger: the nodes that espm created, and what it is doing with them. The only state of espm.
//!
//! One SQLite database with a rollback journal; its directory also holds the locks and the output files. The
//! order is always: intent, durable; command; outcome, durable; answer. A missing or damaged database is an
//! error, never an empty one; only set-up creates one.

mod backup;
mod error;
mod idempotency_key;
mod output;
mod owner;
mod page;
mod remove;
mod row;
mod tables;

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, OptionalExtension, Transaction, TransactionBehavior, params};

pub use self::error::LedgerError;
pub use self::idempotency_key::Key;
pub use self::owner::NodeOwner;
pub(crate) use self::remove::remove_empty;
pub use self::row::{CertificateState, Entry, NodeState};
use self::row::{SELECT, read_entry, to_json};
pub use self::tables::create;
use self::tables::{APPLICATION, VERSION};
use crate::model::name::NodeName;
use crate::model::node::{Assignment, Node};
use crate::model::state_directory;
use crate::system::clock;
use crate::system::lock::{self, Lock};
use crate::system::trusted_file::{self, FileError, Owner};

/// How long a statement waits for another process's transaction.
/// None is held across a command.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// A commit overwrites the head of a journal that stays, durably.
/// A journal that is removed instead can be brought back by a power loss, and would undo an intent whose
/// command has run.
const SETTINGS: &str = "PRAGMA journal_mode = PERSIST; PRAGMA journal_size_limit = 1048576;
    PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA trusted_schema = OFF;";

/// Fills in the answer that waited for a node's outcome.
const PENDING: &str = "UPDATE answer SET answer = ?2 WHERE name = ?1 AND answer IS NULL";

/// The ledger.
#[derive(Debug)]
pub struct Ledger {
    database: Connection,
    path: PathBuf,
    directory: PathBuf,
    request: String,
}

impl Ledger {
    /// Opens the ledger of a state directory, for a request.
    /// One of an older version is brought up to date.
    pub fn open(directory: &Path, request: &str) -> Result<Self, LedgerError> {
        // SQLite follows no link on the whole way. Those of root's, such as /opt -> /srv/opt, are followed here.
        let directory = trusted_file::resolve(directory, Owner::RootOrSelf)?;
        let path = state_directory::database(&directory);
        let error = |error| LedgerError::database(path.clone(), error);
        let flags =
            OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_NOFOLLOW;
        let connection = Connection::open_with_flags(&path, flags).map_err(error)?;
        connection.busy_timeout(BUSY_TIMEOUT).map_err(error)?;
        connection.execute_batch(SETTINGS).map_err(error)?;
        let pragma = |name| connection.query_row(&format!("PRAGMA {name}"), [], |row| row.get(0)).map_err(error);
        let (version, application): (i64, i64) = (pragma("user_version")?, pragma("application_id")?);
        if application == APPLICATION && version > VERSION {
            return Err(LedgerError::Newer { path, version });
        }
        if application != APPLICATION || version < 1 {
            return Err(LedgerError::NotOurs { path, version });
        }
        if version < VERSION {
            tables::upgrade(&connection).map_err(error)?;
        }
        Ok(Self { database: connection, path, directory, request: request.to_owned() })
    }

    fn error(&self) -> impl Fn(rusqlite::Error) -> LedgerError + '_ {
        |error| LedgerError::database(self.path.clone(), error)
    }

    /// A node's row.
    pub fn entry(&self, name: &NodeName) -> Result<Option<Entry>, LedgerError> {
        self.row(&format!("{SELECT} WHERE node.name = ?1"), [name.as_str()])
    }

    fn row(&self, query: &str, values: impl rusqlite::Params) -> Result<Option<Entry>, LedgerError> {
        let mut statement = self.database.prepare(query).map_err(self.error())?;
        statement.query_row(values, read_entry).optional().map_err(self.error())?.transpose()
    }

    /// All rows, by name; or only those whose intent is unfinished or unproven.
    pub fn entries(&self, unfinished: bool) -> Result<Vec<Entry>, LedgerError> {
        let filter = if unfinished {
            "WHERE node.state <> 'active' OR certificate.state IN ('generating', 'revoking')"
        } else {
            ""
        };
        let query = format!("{SELECT} {filter} ORDER BY node.name");
        let mut statement = self.database.prepare(&query).map_err(self.error())?;
        let rows = statement.query_map([], read_entry).map_err(self.error())?;
        rows.map(|row| row.map_err(self.error())?).collect()
    }

    /// Records that a node is about to be added for a client, and the key that the request came with.
    pub fn intend_to_add(
        &self,
        node: &Node,
        output: &str,
        owner: NodeOwner<'_>,
        key: Option<&Key<'_>>,
    ) -> Result<(), LedgerError> {
        let intended = self.insert(node, output, owner, key);
        if intended.is_err() {
            self.remove_output(output.to_owned())?;
        }
        intended
    }

    fn insert(
        &self,
        node: &Node,
        output: &str,
        owner: NodeOwner<'_>,
        key: Option<&Key<'_>>,
    ) -> Result<(), LedgerError> {
        let error = self.error();
        let name = node.name.as_str();
        let transaction = Transaction::new_unchecked(&self.database, TransactionBehavior::Immediate).map_err(&error)?;
        owner.check_quota(&transaction).map_err(&error)??;
        transaction
            .execute(
                "INSERT INTO node (name, state, assignment, wanted, proof, request, since, client)
                 VALUES (?1, 'creating', ?2, ?3, ?4, ?5, ?6, ?7)",
                params![
                    name,
                    to_json(&Assignment::default()),
                    to_json(&node.assignment),
                    output,
                    self.request,
                    clock::now(),
                    owner.client.as_str()
                ],
            )
            .map_err(&error)?;
        if let Some(key) = key {
            key.keep(&transaction, name).map_err(&error)?.then_some(()).ok_or(LedgerError::KeyTaken)?;
        }
        transaction.commit().map_err(error)
    }

    /// Records that a node is about to be changed, added again or deleted.
    pub(crate) fn intend(
        &self,
        name: &NodeName,
        state: NodeState,
        wanted: Option<&Assignment>,
        output: &str,
    ) -> Result<(), LedgerError> {
        let statement = "UPDATE node SET state = ?2, wanted = ?3, proof = ?4, request = ?5, since = ?6 WHERE name = ?1";
        let values = params![name.as_str(), state.word(), wanted.map(to_json), output, self.request, clock::now()];
        self.write_and_remove_output(name, |transaction| transaction.execute(statement, values))
    }

    /// Records that a node has this assignment, and fills in a pending answer.
    pub fn settle(&self, node: &Node) -> Result<(), LedgerError> {
        let (name, assignment) = (node.name.as_str(), to_json(&node.assignment));
        self.write_and_remove_output(&node.name, |transaction| {
            transaction.execute(
                "UPDATE node SET state = 'active', assignment = ?2, wanted = NULL, proof = NULL, request = ?3, since = ?4
                 WHERE name = ?1",
                params![name, assignment, self.request, clock::now()],
            )?;
            transaction.execute(PENDING, params![name, to_json(node)])
        })
    }

    /// Records that nothing proves whether a node is espm's.
    pub(crate) fn mark_unproven(&self, name: &NodeName) -> Result<(), LedgerError> {
        let statement = "UPDATE node SET state = 'unproven' WHERE name = ?1";
        self.write(|transaction| transaction.execute(statement, [name.as_str()]))
    }

    /// Forgets a node, its certificate's state and the idempotency keys of its request.
    pub(crate) fn forget(&self, name: &NodeName) -> Result<(), LedgerError> {
        let statement = "DELETE FROM node WHERE name = ?1";
        self.write_and_remove_output(name, |transaction| transaction.execute(statement, [name.as_str()]))
    }

    /// Records a node as espm's because the operator says so, and fills in a pending answer.
    pub(crate) fn adopt(&self, node: &Node) -> Result<(), LedgerError> {
        let statement = "INSERT INTO node (name, state, assignment, request, since) VALUES (?1, 'active', ?2, ?3, ?4)
             ON CONFLICT (name) DO UPDATE SET state = 'active', assignment = ?2, wanted = NULL, proof = NULL,
             request = ?3, since = ?4";
        let assignment = to_json(&node.assignment);
        let name = node.name.as_str();
        self.write_and_remove_output(&node.name, |transaction| {
            transaction.execute(statement, params![name, assignment, self.request, clock::now()])?;
            transaction.execute(PENDING, params![name, to_json(node)])
        })
    }

    /// Records the state of a node's certificate.
    /// Serial and fingerprint stay when none are given.
    pub(crate) fn certificate(
        &self,
        name: &NodeName,
        state: CertificateState,
        identity: Option<(&str, &str)>,
    ) -> Result<(), LedgerError> {
        let (serial, fingerprint) = identity.unzip();
        let statement = "INSERT INTO certificate (name, state, serial, fingerprint) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (name) DO UPDATE SET state = ?2, serial = coalesce(?3, serial),
             fingerprint = coalesce(?4, fingerprint)";
        let values = params![name.as_str(), state.word(), serial, fingerprint];
        self.write(|transaction| transaction.execute(statement, values))
    }

    /// Forgets a node's certificate.
    pub(crate) fn forget_certificate(&self, name: &NodeName) -> Result<(), LedgerError> {
        let statement = "DELETE FROM certificate WHERE name = ?1";
        self.write(|transaction| transaction.execute(statement, [name.as_str()]))
    }

    /// Writes in an immediate transaction.
    /// A deferred one fails at once when another process writes.
    fn write(&self, write: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<usize>) -> Result<(), LedgerError> {
        let run = || {
            let transaction = Transaction::new_unchecked(&self.database, TransactionBehavior::Immediate)?;
            write(&transaction)?;
            transaction.commit()
        };
        run().map_err(self.error())
    }

    /// As [`Ledger::write`]; then the output file that the row named before is removed.
    fn write_and_remove_output(
        &self,
        name: &NodeName,
        write: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<usize>,
    ) -> Result<(), LedgerError> {
        let query = "SELECT proof FROM node WHERE name = ?1";
        let output =
            self.database.query_row(query, [name.as_str()], |row| row.get(0)).optional().map_err(self.error())?;
        self.write(write)?;
        match output.flatten() {
            Some(output) => self.remove_output(output),
            None => Ok(()),
        }
    }

    /// Checks the database for damage.
    pub fn check_integrity(&self) -> Result<(), LedgerError> {
        let answer: String =
            self.database.query_row("PRAGMA integrity_check", [], |row| row.get(0)).map_err(self.error())?;
        let wrong = answer.lines().find(|line| !line.starts_with('*')).unwrap_or_default();
        if answer == "ok" { Ok(()) } else { Err(LedgerError::Damaged(self.path.clone(), wrong.to_owned())) }
    }

    /// Acquires the lock of a node, if it is free.
    pub(crate) fn try_lock(&self, name: &NodeName) -> Result<Option<Lock>, FileError> {
        lock::try_acquire_removed(&state_directory::locks(&self.directory).join(format!("node.{name}")))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use super::{CertificateState, Key, Ledger, LedgerError, NodeOwner, NodeState, create};
    use crate::model::name::{ClientName, GroupName, NodeName};
    use crate::model::node::{Assignment, Node};
    use crate::model::state_directory::{self, database};
    use crate::system::scratch::scratch;

    fn made(name: &str) -> PathBuf {
        let directory = scratch(&format!("ledger-{name}"));
        create(&directory).unwrap();
        directory
    }

    fn node(name: &str) -> Node {
        let groups = vec![GroupName::parse("default").unwrap()];
        Node { name: NodeName::parse(name).unwrap(), assignment: Assignment { groups, ..Assignment::default() } }
    }

    fn add(ledger: &Ledger, node: &Node, output: &str, key: Option<&Key<'_>>) -> Result<(), LedgerError> {
        ledger.intend_to_add(node, output, NodeOwner { client: &ClientName::parse("c").unwrap(), most: None }, key)
    }

    #[test]
    fn intent_is_there_before_its_outcome() {
        let ledger = Ledger::open(&made("intent"), "r1").unwrap();
        let node = node("web01");
        add(&ledger, &node, "p", None).unwrap();
        let entry = ledger.entry(&node.name).unwrap().unwrap();
        assert_eq!((entry.state, entry.wanted), (NodeState::Creating, Some(node.assignment.clone())));
        assert_eq!(entry.node.assignment, Assignment::default());
        ledger.settle(&node).unwrap();
        let entry = ledger.entry(&node.name).unwrap().unwrap();
        assert_eq!((entry.state, entry.wanted, entry.output), (NodeState::Active, None, None));
        assert_eq!(entry.node, node);
        ledger.certificate(&node.name, CertificateState::Issued, Some(("01", "AA"))).unwrap();
        ledger.certificate(&node.name, CertificateState::Revoking, None).unwrap();
        assert_eq!(ledger.entries(true).unwrap().len(), 1);
        ledger.forget(&node.name).unwrap();
        assert!(ledger.entry(&node.name).unwrap().is_none());
    }

    #[test]
    fn name_is_added_once() {
        let ledger = Ledger::open(&made("once"), "r1").unwrap();
        add(&ledger, &node("web01"), "p", None).unwrap();
        assert!(add(&ledger, &node("web01"), "q", None).is_err());
    }

    #[test]
    fn key_is_kept_with_its_answer_until_its_node_goes() {
        let ledger = Ledger::open(&made("key"), "r1").unwrap();
        let key = Key { client: "c", key: "k", digest: "d" };
        add(&ledger, &node("web01"), "p", Some(&key)).unwrap();
        assert!(ledger.kept("c", "k").unwrap().unwrap().answer.is_none());
        let taken = add(&ledger, &node("web02"), "q", Some(&key));
        assert!(matches!(taken, Err(LedgerError::KeyTaken)));
        assert!(ledger.entry(&node("web02").name).unwrap().is_none(), "nothing is left of the refused intent");
        let (output, _file) = ledger.new_output("").unwrap();
        assert!(add(&ledger, &node("web02"), &output, Some(&key)).is_err());
        assert!(!state_directory::output(&ledger.directory, &output).exists(), "nor of its output");
        ledger.settle(&node("web01")).unwrap();
        assert_eq!(ledger.kept("c", "k").unwrap().unwrap().answer, Some(node("web01")));
        assert!(ledger.kept("other", "k").unwrap().is_none());
        ledger.forget(&node("web01").name).unwrap();
        assert!(ledger.kept("c", "k").unwrap().is_none());
    }

    #[test]
    fn key_that_is_too_old_is_unknown_and_can_be_used_again() {
        let ledger = Ledger::open(&made("old-key"), "r1").unwrap();
        let key = Key { client: "c", key: "k", digest: "d" };
        add(&ledger, &node("web01"), "p", Some(&key)).unwrap();
        let age = |seconds: i64| ledger.database.execute("UPDATE answer SET since = since - ?1", [seconds]).unwrap();
        age(24 * 60 * 60 - 60);
        assert!(ledger.kept("c", "k").unwrap().is_some());
        age(120);
        assert!(ledger.kept("c", "k").unwrap().is_none());
        add(&ledger, &node("web02"), "q", Some(&key)).unwrap();
        assert!(ledger.kept("c", "k").unwrap().is_some());
    }

    #[test]
    fn key_that_cannot_be_kept_for_another_reason_is_not_said_to_be_taken() {
        let ledger = Ledger::open(&made("key-error"), "r1").unwrap();
        ledger.database.execute_batch("CREATE TRIGGER t BEFORE INSERT ON answer BEGIN SELECT none(); END").unwrap();
        let key = Key { client: "c", key: "k", digest: "d" };
        let failed = add(&ledger, &node("web01"), "p", Some(&key));
        assert!(matches!(failed, Err(LedgerError::Database(..))), "{failed:?}");
    }

    #[test]
    fn missing_or_damaged_ledger_is_never_an_empty_one() {
        let directory = made("damage");
        fs::remove_file(database(&directory)).unwrap();
        assert!(Ledger::open(&directory, "r").is_err());
        for content in [&b""[..], b"not a database, but long enough to have been one, once upon a time....."] {
            let mut file = crate::system::trusted_file::create(&database(&directory), 0o600).unwrap();
            std::io::Write::write_all(&mut file, content).unwrap();
            assert!(Ledger::open(&directory, "r").is_err());
            fs::remove_file(database(&directory)).unwrap();
        }
        // Another program's, of the same version.
        drop(crate::system::trusted_file::create(&database(&directory), 0o600).unwrap());
        let others = rusqlite::Connection::open(database(&directory)).unwrap();
        others.execute_batch("CREATE TABLE node (name); PRAGMA user_version = 1;").unwrap();
        assert!(matches!(Ledger::open(&directory, "r"), Err(LedgerError::NotOurs { .. })));
    }

    #[test]
    fn backup_is_a_ledger() {
        let directory = made("backup");
        let ledger = Ledger::open(&directory, "r").unwrap();
        add(&ledger, &node("web01"), "p", None).unwrap();
        let restored = made("restored");
        fs::remove_file(database(&restored)).unwrap();
        ledger.back_up(&database(&restored)).unwrap();
        assert_eq!(Ledger::open(&restored, "r").unwrap().entries(false).unwrap().len(), 1);
        assert!(ledger.back_up(&database(&restored)).is_err(), "a backup overwrites nothing");
    }
}
