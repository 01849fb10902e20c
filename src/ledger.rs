//! The ledger: which nodes are ours. The only state that espm has.
//!
//! One SQLite database with a rollback journal; its directory also holds the locks and the proof
//! files. The order is always: intent, durable; command; outcome, durable; answer. A missing or
//! damaged database is an error, never an empty one; only set-up makes one.

use std::fmt;
use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension, Row, Transaction, TransactionBehavior, params};

use crate::clock;
use crate::lock::{self, Lock};
use crate::name::NodeName;
use crate::operation::{Assignment, Node};
use crate::state;
use crate::trusted_file::{self, FileError};

/// The version of the tables below, in the database's `user_version`.
const VERSION: i64 = 1;

/// Marks the database as ours (SQLite's `application_id`): "espm".
const APPLICATION: i64 = 0x6573_706d;

/// How long a statement waits for another process's transaction; none is held across a command.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// Seconds for which an `Idempotency-Key` is kept.
const KEY_LIFE: i64 = 24 * 60 * 60;

/// Bytes of a proof file that are read; a command's output is limited to as much.
const MAX_PROOF: u64 = crate::command::MAX_OUTPUT as u64;

const TABLES: &str = "
CREATE TABLE node (
    name        TEXT PRIMARY KEY,
    state       TEXT NOT NULL CHECK (state IN ('creating', 'active', 'changing', 'deleting', 'unproven')),
    assignment  TEXT NOT NULL,              -- JSON, as the console last confirmed it
    wanted      TEXT,                       -- JSON, what an unfinished intent assigns
    proof       TEXT,                       -- file with the output of an unfinished intent's command
    request     TEXT NOT NULL,              -- the request that last wrote this row
    since       INTEGER NOT NULL            -- when, in seconds since 1970
) STRICT, WITHOUT ROWID;
CREATE TABLE certificate (
    name        TEXT PRIMARY KEY REFERENCES node ON DELETE CASCADE,
    state       TEXT NOT NULL CHECK (state IN ('generating', 'issued', 'revoking', 'revoked')),
    serial      TEXT,                       -- hexadecimal, as openssl prints it
    fingerprint TEXT                        -- SHA-256, as openssl prints it
) STRICT, WITHOUT ROWID;
CREATE TABLE answer (                       -- answers kept for Idempotency-Key
    client      TEXT NOT NULL,
    key         TEXT NOT NULL,
    digest      TEXT NOT NULL,              -- of the body
    name        TEXT NOT NULL REFERENCES node ON DELETE CASCADE,
    answer      TEXT,                       -- JSON; NULL while the first request runs
    since       INTEGER NOT NULL,
    PRIMARY KEY (client, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX answer_by_name ON answer (name);
CREATE INDEX answer_by_age ON answer (since);
CREATE INDEX unfinished ON node (state) WHERE state <> 'active';
";

/// Why the ledger cannot be used.
#[derive(Debug)]
pub enum LedgerError {
    /// The database is missing or cannot be read or written.
    Database(PathBuf, rusqlite::Error),
    /// It was made by another version, or is not ours.
    Version(PathBuf, i64),
    /// It is damaged: the first thing that is wrong.
    Damaged(PathBuf, String),
    /// A row cannot be read.
    Row(String),
    /// A lock or proof file cannot be used.
    File(FileError),
    /// The system's random source failed.
    Random(getrandom::Error),
    /// The `Idempotency-Key` is in use by another request.
    KeyTaken,
}

impl LedgerError {
    /// Whether the disk is full, so that the operator reads just that.
    fn disk_is_full(&self) -> bool {
        matches!(self, Self::Database(_, rusqlite::Error::SqliteFailure(error, _)) if error.code == ErrorCode::DiskFull)
    }
}

impl fmt::Display for LedgerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Database(path, _) if self.disk_is_full() => write!(f, "ledger {}: the disk is full", path.display()),
            Self::Database(path, error) => write!(
                f,
                "ledger {}: {error}; if it is missing or damaged, restore it from a backup and run 'espm check'",
                path.display()
            ),
            Self::Version(path, version) => {
                write!(
                    f,
                    "ledger {}: has version {version}, want {VERSION}: it is not espm's or another release's; \
                     restore it from a backup and run 'espm check'",
                    path.display()
                )
            }
            Self::Damaged(path, what) => write!(
                f,
                "ledger {}: is damaged ({what}); restore it from a backup and run 'espm check'",
                path.display()
            ),
            Self::Row(name) => write!(f, "ledger: the row of {name:?} cannot be read"),
            Self::File(error) => error.fmt(f),
            Self::Random(error) => error.fmt(f),
            Self::KeyTaken => f.write_str("the Idempotency-Key is in use"),
        }
    }
}

impl std::error::Error for LedgerError {}

impl From<FileError> for LedgerError {
    fn from(error: FileError) -> Self {
        Self::File(error)
    }
}

/// Gives an enum of states its words in the database.
macro_rules! states {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name { $($(#[$variant_doc])* $variant),+ }
        impl $name {
            /// All states.
            pub const ALL: &[Self] = &[$(Self::$variant),+];
            /// The state's word.
            pub fn word(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
            fn parse(word: &str) -> Option<Self> {
                match word { $($word => Some(Self::$variant),)+ _ => None }
            }
        }
    };
}

states! {
    /// What is going on with a node.
    NodeState {
        /// It is being added.
        Creating = "creating",
        /// It is there.
        Active = "active",
        /// Its assignment is being changed.
        Changing = "changing",
        /// It is being deleted.
        Deleting = "deleting",
        /// Whether it is ours cannot be proven; a human decides.
        Unproven = "unproven",
    }
}

states! {
    /// What is going on with a certificate.
    CertificateState {
        /// It is being generated.
        Generating = "generating",
        /// It is there.
        Issued = "issued",
        /// It is being revoked.
        Revoking = "revoking",
        /// It is revoked.
        Revoked = "revoked",
    }
}

/// A node's row.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The node and what the console last confirmed.
    pub node: Node,
    /// Its state.
    pub state: NodeState,
    /// What an unfinished intent assigns.
    pub wanted: Option<Assignment>,
    /// The name of its proof file.
    pub proof: Option<String>,
    /// Its certificate's state.
    pub certificate: Option<CertificateState>,
    /// When the row was last written, in seconds since 1970.
    pub since: i64,
}

/// What is known of an `Idempotency-Key`.
#[derive(Debug)]
pub struct Kept {
    /// The digest of the body that it came with.
    pub digest: String,
    /// The first answer, unless the first request has not ended.
    pub answer: Option<Node>,
}

/// An `Idempotency-Key` of a client, with its body's digest.
#[derive(Debug)]
pub struct Key<'a> {
    /// The client's name.
    pub client: &'a str,
    /// The key.
    pub key: &'a str,
    /// The digest of the body.
    pub digest: &'a str,
}

/// The ledger.
#[derive(Debug)]
pub struct Ledger {
    database: Connection,
    path: PathBuf,
    directory: PathBuf,
    request: String,
}

/// Makes an empty ledger.
///
/// # Errors
/// When any part of it exists, or cannot be made.
pub fn create(directory: &Path) -> Result<(), LedgerError> {
    let path = state::database(directory);
    drop(trusted_file::create(&path, 0o600)?);
    for name in state::DIRECTORIES {
        trusted_file::create_directory(&directory.join(name), 0o700)?;
    }
    let error = |error| LedgerError::Database(path.clone(), error);
    let database = Connection::open_with_flags(&path, OpenFlags::SQLITE_OPEN_READ_WRITE).map_err(error)?;
    let tables = format!("{TABLES} PRAGMA user_version = {VERSION}; PRAGMA application_id = {APPLICATION};");
    database.execute_batch(&tables).map_err(error)
}

impl Ledger {
    /// Opens the ledger of a state directory, for a request.
    ///
    /// # Errors
    /// When it is missing, damaged, not ours or of another version.
    pub fn open(directory: &Path, request: &str) -> Result<Self, LedgerError> {
        let path = state::database(directory);
        let error = |error| LedgerError::Database(path.clone(), error);
        let flags =
            OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_NOFOLLOW;
        let connection = Connection::open_with_flags(&path, flags).map_err(error)?;
        connection.busy_timeout(BUSY_TIMEOUT).map_err(error)?;
        connection
            .execute_batch("PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA trusted_schema = OFF;")
            .map_err(error)?;
        let pragma = |name| connection.query_row(&format!("PRAGMA {name}"), [], |row| row.get(0)).map_err(error);
        let (version, application): (i64, i64) = (pragma("user_version")?, pragma("application_id")?);
        if version != VERSION || application != APPLICATION {
            return Err(LedgerError::Version(path, version));
        }
        Ok(Self { database: connection, path, directory: directory.to_owned(), request: request.to_owned() })
    }

    fn error(&self) -> impl Fn(rusqlite::Error) -> LedgerError + '_ {
        |error| LedgerError::Database(self.path.clone(), error)
    }

    /// A node's row.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub fn entry(&self, name: &NodeName) -> Result<Option<Entry>, LedgerError> {
        let query = format!("{SELECT} WHERE node.name = ?1");
        let mut statement = self.database.prepare(&query).map_err(self.error())?;
        statement.query_row([name.as_str()], read_entry).optional().map_err(self.error())?.transpose()
    }

    /// All rows, by name; or only those whose intent is unfinished or unproven.
    ///
    /// # Errors
    /// When the ledger cannot be read.
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

    /// Records that a node is about to be added, and the key that the request came with.
    ///
    /// # Errors
    /// When it cannot be recorded, or the key is in use.
    pub fn intend_to_add(&self, node: &Node, proof: &str, key: Option<&Key<'_>>) -> Result<(), LedgerError> {
        let intended = self.insert(node, proof, key);
        if intended.is_err() {
            self.remove_proof(proof.to_owned())?;
        }
        intended
    }

    fn insert(&self, node: &Node, proof: &str, key: Option<&Key<'_>>) -> Result<(), LedgerError> {
        let error = self.error();
        let now = clock::now();
        let name = node.name.as_str();
        let wanted = to_json(&node.assignment);
        let transaction = Transaction::new_unchecked(&self.database, TransactionBehavior::Immediate).map_err(&error)?;
        transaction
            .execute(
                "INSERT INTO node (name, state, assignment, wanted, proof, request, since)
                 VALUES (?1, 'creating', ?2, ?3, ?4, ?5, ?6)",
                params![name, to_json(&Assignment::default()), wanted, proof, self.request, now],
            )
            .map_err(&error)?;
        if let Some(key) = key {
            transaction.execute("DELETE FROM answer WHERE since < ?1", [now - KEY_LIFE]).map_err(&error)?;
            let inserted = transaction.execute(
                "INSERT INTO answer (client, key, digest, name, since) VALUES (?1, ?2, ?3, ?4, ?5)",
                params![key.client, key.key, key.digest, name, now],
            );
            match inserted {
                Err(rusqlite::Error::SqliteFailure(failure, _)) if failure.code == ErrorCode::ConstraintViolation => {
                    return Err(LedgerError::KeyTaken);
                }
                other => other.map_err(&error)?,
            };
        }
        transaction.commit().map_err(error)
    }

    /// Records that a node of ours is about to be changed, added again or deleted.
    ///
    /// # Errors
    /// When it cannot be recorded.
    pub fn intend(
        &self,
        name: &NodeName,
        state: NodeState,
        wanted: Option<&Assignment>,
        proof: &str,
    ) -> Result<(), LedgerError> {
        let statement = "UPDATE node SET state = ?2, wanted = ?3, proof = ?4, request = ?5, since = ?6 WHERE name = ?1";
        let values = params![name.as_str(), state.word(), wanted.map(to_json), proof, self.request, clock::now()];
        self.write_over_proof(name, |transaction| transaction.execute(statement, values))
    }

    /// Records that a node is there with this assignment; a pending answer becomes it.
    ///
    /// # Errors
    /// When it cannot be recorded.
    pub fn settle(&self, node: &Node) -> Result<(), LedgerError> {
        let (name, assignment) = (node.name.as_str(), to_json(&node.assignment));
        self.write_over_proof(&node.name, |transaction| {
            transaction.execute(
                "UPDATE node SET state = 'active', assignment = ?2, wanted = NULL, proof = NULL, request = ?3, since = ?4
                 WHERE name = ?1",
                params![name, assignment, self.request, clock::now()],
            )?;
            let pending = "UPDATE answer SET answer = ?2 WHERE name = ?1 AND answer IS NULL";
            transaction.execute(pending, params![name, to_json(node)])
        })
    }

    /// Records that it cannot be proven whether a node is ours.
    ///
    /// # Errors
    /// When it cannot be recorded.
    pub fn mark_unproven(&self, name: &NodeName) -> Result<(), LedgerError> {
        let statement = "UPDATE node SET state = 'unproven' WHERE name = ?1";
        self.write(|transaction| transaction.execute(statement, [name.as_str()]))
    }

    /// Forgets a node, its certificate's state and the keys that it came with.
    ///
    /// # Errors
    /// When it cannot be recorded.
    pub fn forget(&self, name: &NodeName) -> Result<(), LedgerError> {
        let statement = "DELETE FROM node WHERE name = ?1";
        self.write_over_proof(name, |transaction| transaction.execute(statement, [name.as_str()]))
    }

    /// Records a node as ours because the operator says so.
    ///
    /// # Errors
    /// When it cannot be recorded.
    pub fn adopt(&self, node: &Node) -> Result<(), LedgerError> {
        let statement = "INSERT INTO node (name, state, assignment, request, since) VALUES (?1, 'active', ?2, ?3, ?4)
             ON CONFLICT (name) DO UPDATE SET state = 'active', assignment = ?2, wanted = NULL, proof = NULL,
             request = ?3, since = ?4";
        let assignment = to_json(&node.assignment);
        let values = params![node.name.as_str(), assignment, self.request, clock::now()];
        self.write_over_proof(&node.name, |transaction| transaction.execute(statement, values))
    }

    /// Records the state of a node's certificate; serial and fingerprint stay when none are given.
    ///
    /// # Errors
    /// When it cannot be recorded.
    pub fn certificate(
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
    ///
    /// # Errors
    /// When it cannot be recorded.
    pub fn forget_certificate(&self, name: &NodeName) -> Result<(), LedgerError> {
        let statement = "DELETE FROM certificate WHERE name = ?1";
        self.write(|transaction| transaction.execute(statement, [name.as_str()]))
    }

    /// Writes in an immediate transaction: a deferred one fails at once when another process writes.
    fn write(&self, write: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<usize>) -> Result<(), LedgerError> {
        let run = || {
            let transaction = Transaction::new_unchecked(&self.database, TransactionBehavior::Immediate)?;
            write(&transaction)?;
            transaction.commit()
        };
        run().map_err(self.error())
    }

    /// As [`Ledger::write`]; then the proof that the row had before is not needed any more.
    fn write_over_proof(
        &self,
        name: &NodeName,
        write: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<usize>,
    ) -> Result<(), LedgerError> {
        let query = "SELECT proof FROM node WHERE name = ?1";
        let proof =
            self.database.query_row(query, [name.as_str()], |row| row.get(0)).optional().map_err(self.error())?;
        self.write(write)?;
        match proof.flatten() {
            Some(proof) => self.remove_proof(proof),
            None => Ok(()),
        }
    }

    /// What is known of a client's `Idempotency-Key`.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub fn kept(&self, client: &str, key: &str) -> Result<Option<Kept>, LedgerError> {
        let query = "SELECT digest, answer FROM answer WHERE client = ?1 AND key = ?2 AND since >= ?3";
        let oldest = clock::now() - KEY_LIFE;
        let row = self
            .database
            .query_row(query, params![client, key, oldest], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()
            .map_err(self.error())?;
        let Some((digest, answer)): Option<(String, Option<String>)> = row else { return Ok(None) };
        let answer = answer.map(|json| serde_json::from_str(&json).map_err(|_| LedgerError::Row(key.to_owned())));
        Ok(Some(Kept { digest, answer: answer.transpose()? }))
    }

    /// Looks for damage.
    ///
    /// # Errors
    /// When there is some.
    pub fn check_integrity(&self) -> Result<(), LedgerError> {
        let answer: String =
            self.database.query_row("PRAGMA integrity_check", [], |row| row.get(0)).map_err(self.error())?;
        let wrong = answer.lines().find(|line| !line.starts_with('*')).unwrap_or_default();
        if answer == "ok" { Ok(()) } else { Err(LedgerError::Damaged(self.path.clone(), wrong.to_owned())) }
    }

    /// Copies the ledger, while it is in use, to a new file (SQLite's backup API).
    ///
    /// # Errors
    /// When the file exists or the copy fails.
    pub fn back_up(&self, to: &Path) -> Result<(), LedgerError> {
        drop(trusted_file::create(to, 0o600)?);
        let error = |error| LedgerError::Database(to.to_owned(), error);
        self.database.backup("main", to, None::<fn(rusqlite::backup::Progress)>).map_err(error)
    }

    /// Takes the lock of a node, if it is free.
    ///
    /// # Errors
    /// When its file cannot be used.
    pub fn try_lock(&self, name: &NodeName) -> Result<Option<Lock>, FileError> {
        lock::try_take_passing(&state::locks(&self.directory).join(format!("node.{name}")))
    }

    /// Makes the proof file of a new intent, locked, durable, and of a name that nobody can guess.
    ///
    /// The command gets it as its output: what it prints is the proof of what it did, and the lock
    /// lasts as long as any process of the command, however it was started. A `head` that is not empty
    /// is its first line: what kind of run it is the proof of.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn new_proof(&self, head: &str) -> Result<(String, File), LedgerError> {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes).map_err(LedgerError::Random)?;
        let name = format!("{:032x}", u128::from_be_bytes(bytes));
        let path = self.proof_path(&name);
        let mut file = trusted_file::create_durable(&path, 0o600)?;
        let error = |error| FileError::io(&path, error);
        file.lock().map_err(error)?;
        if !head.is_empty() {
            writeln!(file, "{head}").and_then(|()| file.sync_data()).map_err(error)?;
        }
        Ok((name, file))
    }

    /// Takes the lock of a proof file, if its command has ended; a missing file has an empty proof.
    ///
    /// # Errors
    /// When it cannot be used.
    pub fn try_read_proof(&self, name: &str) -> Result<Option<String>, FileError> {
        let path = self.proof_path(name);
        let file = match trusted_file::open_existing(&path) {
            Err(error) if error.io_kind() == Some(std::io::ErrorKind::NotFound) => return Ok(Some(String::new())),
            other => other?,
        };
        if !lock::try_lock(&file).map_err(|error| FileError::io(&path, error))? {
            return Ok(None);
        }
        let mut bytes = Vec::new();
        file.take(MAX_PROOF).read_to_end(&mut bytes).map_err(|error| FileError::io(&path, error))?;
        Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
    }

    fn remove_proof(&self, name: String) -> Result<(), LedgerError> {
        Ok(trusted_file::remove(&self.proof_path(&name))?)
    }

    fn proof_path(&self, name: &str) -> PathBuf {
        state::proof(&self.directory, name)
    }
}

const SELECT: &str = "SELECT node.name, node.state, assignment, wanted, proof, since, certificate.state
    FROM node LEFT JOIN certificate ON certificate.name = node.name";

fn to_json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

/// Reads a row; one whose content is not ours is an error, never left out.
fn read_entry(row: &Row<'_>) -> rusqlite::Result<Result<Entry, LedgerError>> {
    let name: String = row.get(0)?;
    let state: String = row.get(1)?;
    let assignment: String = row.get(2)?;
    let wanted: Option<String> = row.get(3)?;
    let certificate: Option<String> = row.get(6)?;
    let (proof, since) = (row.get(4)?, row.get(5)?);
    let read = || {
        Some(Entry {
            node: Node { name: NodeName::parse(&name).ok()?, assignment: serde_json::from_str(&assignment).ok()? },
            state: NodeState::parse(&state)?,
            wanted: match wanted {
                Some(json) => Some(serde_json::from_str(&json).ok()?),
                None => None,
            },
            proof,
            certificate: match certificate {
                Some(word) => Some(CertificateState::parse(&word)?),
                None => None,
            },
            since,
        })
    };
    Ok(read().ok_or(LedgerError::Row(name.clone())))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use super::{CertificateState, Key, Ledger, LedgerError, NodeState, create};
    use crate::name::{GroupName, NodeName};
    use crate::operation::{Assignment, Node};
    use crate::state::database;

    fn made(name: &str) -> PathBuf {
        let directory = std::env::temp_dir().join(format!("espm-ledger-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&directory);
        fs::create_dir(&directory).unwrap();
        create(&directory).unwrap();
        directory
    }

    fn node(name: &str) -> Node {
        let groups = vec![GroupName::parse("default").unwrap()];
        Node { name: NodeName::parse(name).unwrap(), assignment: Assignment { groups, ..Assignment::default() } }
    }

    #[test]
    fn an_intent_is_there_before_its_outcome() {
        let ledger = Ledger::open(&made("intent"), "r1").unwrap();
        let node = node("web01");
        ledger.intend_to_add(&node, "p", None).unwrap();
        let entry = ledger.entry(&node.name).unwrap().unwrap();
        assert_eq!((entry.state, entry.wanted), (NodeState::Creating, Some(node.assignment.clone())));
        assert_eq!(entry.node.assignment, Assignment::default());
        ledger.settle(&node).unwrap();
        let entry = ledger.entry(&node.name).unwrap().unwrap();
        assert_eq!((entry.state, entry.wanted, entry.proof), (NodeState::Active, None, None));
        assert_eq!(entry.node, node);
        ledger.certificate(&node.name, CertificateState::Issued, Some(("01", "AA"))).unwrap();
        ledger.certificate(&node.name, CertificateState::Revoking, None).unwrap();
        assert_eq!(ledger.entries(true).unwrap().len(), 1);
        ledger.forget(&node.name).unwrap();
        assert!(ledger.entry(&node.name).unwrap().is_none());
    }

    #[test]
    fn a_name_is_added_once() {
        let ledger = Ledger::open(&made("once"), "r1").unwrap();
        ledger.intend_to_add(&node("web01"), "p", None).unwrap();
        assert!(ledger.intend_to_add(&node("web01"), "q", None).is_err());
    }

    #[test]
    fn a_key_is_kept_with_its_answer_until_its_node_goes() {
        let ledger = Ledger::open(&made("key"), "r1").unwrap();
        let key = Key { client: "c", key: "k", digest: "d" };
        ledger.intend_to_add(&node("web01"), "p", Some(&key)).unwrap();
        assert!(ledger.kept("c", "k").unwrap().unwrap().answer.is_none());
        let taken = ledger.intend_to_add(&node("web02"), "q", Some(&key));
        assert!(matches!(taken, Err(LedgerError::KeyTaken)));
        assert!(ledger.entry(&node("web02").name).unwrap().is_none(), "nothing is left of the refused intent");
        ledger.settle(&node("web01")).unwrap();
        assert_eq!(ledger.kept("c", "k").unwrap().unwrap().answer, Some(node("web01")));
        assert!(ledger.kept("other", "k").unwrap().is_none());
        ledger.forget(&node("web01").name).unwrap();
        assert!(ledger.kept("c", "k").unwrap().is_none());
    }

    #[test]
    fn a_missing_or_damaged_ledger_is_never_an_empty_one() {
        let directory = made("damage");
        fs::remove_file(database(&directory)).unwrap();
        assert!(Ledger::open(&directory, "r").is_err());
        for content in [&b""[..], b"not a database, but long enough to have been one, once upon a time....."] {
            let mut file = crate::trusted_file::create(&database(&directory), 0o600).unwrap();
            std::io::Write::write_all(&mut file, content).unwrap();
            assert!(Ledger::open(&directory, "r").is_err());
            fs::remove_file(database(&directory)).unwrap();
        }
    }

    #[test]
    fn a_proof_is_read_only_when_its_command_has_ended() {
        let ledger = Ledger::open(&made("proof"), "r").unwrap();
        let (name, file) = ledger.new_proof("").unwrap();
        assert!(ledger.try_read_proof(&name).unwrap().is_none());
        std::io::Write::write_all(&mut &file, b"Node successfully created!\n").unwrap();
        drop(file);
        assert_eq!(ledger.try_read_proof(&name).unwrap().unwrap(), "Node successfully created!\n");
        ledger.remove_proof(name.clone()).unwrap();
        assert_eq!(ledger.try_read_proof(&name).unwrap().unwrap(), "");
    }

    #[test]
    fn a_backup_is_a_ledger() {
        let directory = made("backup");
        let ledger = Ledger::open(&directory, "r").unwrap();
        ledger.intend_to_add(&node("web01"), "p", None).unwrap();
        let restored = made("restored");
        fs::remove_file(database(&restored)).unwrap();
        ledger.back_up(&database(&restored)).unwrap();
        assert_eq!(Ledger::open(&restored, "r").unwrap().entries(false).unwrap().len(), 1);
        assert!(ledger.back_up(&database(&restored)).is_err(), "a backup overwrites nothing");
    }
}
