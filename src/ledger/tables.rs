//! The tables, and the empty database that set-up creates with them.

use std::path::Path;

use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior};

use super::LedgerError;
use crate::model::state_directory;
use crate::system::trusted_file::{self, Owner};

/// The version of the tables below, in the database's `user_version`: one more than there are upgrades.
pub(super) const VERSION: i64 = 1 + UPGRADES.len() as i64;

/// The statements that make each version out of the one before, beginning with version 2. A newer espm meets
/// older ledgers: entries are added, never changed. One that has nothing to do keeps an older espm from ledgers that it
/// would not understand.
const UPGRADES: [&str; 2] = [
    "/* An assignment may have an environment, parameters of classes, and values of every type. */",
    // Each node has a client. Those from before have none, so their answers are no client's either.
    "ALTER TABLE node ADD COLUMN client TEXT;
     CREATE INDEX node_by_client ON node (client) WHERE state <> 'unproven';
     DELETE FROM answer",
];

/// Marks the database as espm's (SQLite's `application_id`): "espm".
pub(super) const APPLICATION: i64 = 0x6573_706d;

/// `certificate.serial` and `certificate.fingerprint` are for a human who opens the ledger; espm reads neither.
const TABLES: &str = "
CREATE TABLE node (
    name        TEXT PRIMARY KEY,
    state       TEXT NOT NULL CHECK (state IN ('creating', 'active', 'changing', 'deleting', 'unproven')),
    assignment  TEXT NOT NULL,              -- JSON, as the console last confirmed it
    wanted      TEXT,                       -- JSON, what an unfinished intent assigns
    proof       TEXT,                       -- file with the output of an unfinished intent's command
    request     TEXT NOT NULL,              -- the request that last wrote this row
    since       INTEGER NOT NULL,           -- when, in seconds since 1970
    client      TEXT                        -- whose it is; NULL where nobody has said so
) STRICT, WITHOUT ROWID;
CREATE INDEX node_by_client ON node (client) WHERE state <> 'unproven';
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

/// Brings the tables of an older version up to date, in one step.
/// Many processes may try at once.
///
/// # Errors
/// When it cannot be written; it is then what it was.
pub(super) fn upgrade(database: &Connection) -> rusqlite::Result<()> {
    upgrade_by(database, &UPGRADES)
}

fn upgrade_by(database: &Connection, upgrades: &[&str]) -> rusqlite::Result<()> {
    let transaction = Transaction::new_unchecked(database, TransactionBehavior::Immediate)?;
    // Read again under the lock: another process may have been faster.
    let version: i64 = transaction.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    let done = usize::try_from(version - 1).unwrap_or(usize::MAX);
    for (statements, next) in upgrades.iter().zip(2..).skip(done) {
        transaction.execute_batch(&format!("{statements}; PRAGMA user_version = {next};"))?;
    }
    transaction.commit()
}

/// Creates an empty ledger.
///
/// # Errors
/// When any part of it exists, or cannot be made; then nothing is left of it.
pub fn create(directory: &Path) -> Result<(), LedgerError> {
    let directory = &trusted_file::resolve(directory, Owner::RootOrSelf)?;
    // The process that has created the database creates what is beside it.
    drop(trusted_file::create(&state_directory::database(directory), 0o600)?);
    let filled = fill(directory);
    if filled.is_err() {
        for path in state_directory::all(directory) {
            let _ = std::fs::remove_file(&path).or_else(|_| std::fs::remove_dir(&path));
        }
    }
    filled
}

fn fill(directory: &Path) -> Result<(), LedgerError> {
    for name in state_directory::DIRECTORIES {
        trusted_file::create_directory(&directory.join(name), 0o700)?;
    }
    let path = state_directory::database(directory);
    let error = |error| LedgerError::database(path.clone(), error);
    let database = Connection::open_with_flags(&path, OpenFlags::SQLITE_OPEN_READ_WRITE).map_err(error)?;
    database.execute_batch(&new_tables()).map_err(error)
}

/// The statements that make an empty ledger of today's version.
fn new_tables() -> String {
    format!("{TABLES} PRAGMA user_version = {VERSION}; PRAGMA application_id = {APPLICATION};")
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::mpsc;
    use std::thread;

    use rusqlite::Connection;

    use super::{UPGRADES, VERSION, create, new_tables, upgrade_by};
    use crate::ledger::{BUSY_TIMEOUT, CertificateState, Ledger};
    use crate::model::name::{EnvironmentName, NodeName};
    use crate::model::state_directory::database;
    use crate::system::scratch::scratch;
    use crate::system::trusted_file::{self, Owner};

    /// Begins something while another connection writes, and lets that end only when it waits.
    fn while_another_writes(directory: &Path, act: impl FnOnce() + Send) {
        let another = Connection::open(database(directory)).unwrap();
        another.execute_batch("BEGIN IMMEDIATE").unwrap();
        thread::scope(|scope| {
            let (sender, started) = mpsc::channel();
            let acting = scope.spawn(move || {
                sender.send(std::fs::read_link("/proc/thread-self").unwrap()).unwrap();
                act();
            });
            let status = Path::new("/proc").join(started.recv().unwrap()).join("status");
            let sleeps = || trusted_file::read(&status, 1 << 16, Owner::Anyone).is_ok_and(|s| s.contains("State:\tS"));
            while !acting.is_finished() && !sleeps() {
                thread::yield_now();
            }
            another.execute_batch("COMMIT").unwrap();
            acting.join().unwrap();
        });
    }

    #[test]
    fn who_writes_while_another_does_waits_for_its_end() {
        let directory = scratch("ledger-waits");
        create(&directory).unwrap();
        let name = NodeName::parse("web01").unwrap();
        while_another_writes(&directory, || Ledger::open(&directory, "r").unwrap().forget(&name).unwrap());
        let upgrade = || {
            let database = Connection::open(database(&directory)).unwrap();
            database.busy_timeout(BUSY_TIMEOUT).unwrap();
            upgrade_by(&database, &[&UPGRADES[..], &["ALTER TABLE node ADD COLUMN a TEXT"]].concat()).unwrap();
            assert_eq!(version(&database), VERSION + 1);
        };
        while_another_writes(&directory, upgrade);
    }

    /// The tables of release 0.1.0, and rows as it wrote them.
    const FIRST: &str = "
        CREATE TABLE node (name TEXT PRIMARY KEY,
            state TEXT NOT NULL CHECK (state IN ('creating', 'active', 'changing', 'deleting', 'unproven')),
            assignment TEXT NOT NULL, wanted TEXT, proof TEXT, request TEXT NOT NULL, since INTEGER NOT NULL
        ) STRICT, WITHOUT ROWID;
        CREATE TABLE certificate (name TEXT PRIMARY KEY REFERENCES node ON DELETE CASCADE,
            state TEXT NOT NULL CHECK (state IN ('generating', 'issued', 'revoking', 'revoked')),
            serial TEXT, fingerprint TEXT
        ) STRICT, WITHOUT ROWID;
        CREATE TABLE answer (client TEXT NOT NULL, key TEXT NOT NULL, digest TEXT NOT NULL,
            name TEXT NOT NULL REFERENCES node ON DELETE CASCADE, answer TEXT, since INTEGER NOT NULL,
            PRIMARY KEY (client, key)
        ) STRICT, WITHOUT ROWID;
        CREATE INDEX answer_by_name ON answer (name);
        CREATE INDEX answer_by_age ON answer (since);
        CREATE INDEX unfinished ON node (state) WHERE state <> 'active';
        INSERT INTO node VALUES ('web01', 'active',
            '{\"groups\":[\"a\"],\"classes\":[\"b\"],\"parameters\":{\"c\":\"1\"}}', NULL, NULL, 'r', 7);
        INSERT INTO certificate VALUES ('web01', 'issued', '0A', 'AB:CD');
        INSERT INTO answer VALUES ('cloud', 'k', 'd', 'web01', NULL, 9);
        PRAGMA user_version = 1; PRAGMA application_id = 0x6573706d;";

    /// Makes the ledger of release 0.1.0.
    fn create_first(directory: &Path) {
        create(directory).unwrap();
        std::fs::remove_file(database(directory)).unwrap();
        Connection::open(database(directory)).unwrap().execute_batch(FIRST).unwrap();
    }

    /// The columns and indexes of every table.
    fn schema(database: &Connection) -> Vec<String> {
        let query = "SELECT m.name || ' ' || coalesce(c.name || ' ' || c.type || ' ' || c.\"notnull\" || ' ' || c.pk, m.tbl_name)
                     FROM sqlite_schema AS m LEFT JOIN pragma_table_info(m.name) AS c WHERE m.sql IS NOT NULL ORDER BY 1";
        let mut statement = database.prepare(query).unwrap();
        statement.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap()
    }

    #[test]
    fn ledger_of_version_1_becomes_one_of_today_and_its_nodes_are_no_clients() {
        let directory = scratch("ledger-first");
        create_first(&directory);
        let ledger = Ledger::open(&directory, "r2").unwrap();
        let entry = ledger.entries(false).unwrap().remove(0);
        assert_eq!((entry.client, entry.since, entry.certificate), (None, 7, Some(CertificateState::Issued)));
        assert_eq!(entry.node.assignment.parameters.values().next().unwrap().as_str(), Some("1"));
        assert!(ledger.kept("cloud", "k").unwrap().is_none(), "it is no client's answer");
        let mut node = entry.node;
        node.assignment.environment = Some(EnvironmentName::parse("staging").unwrap());
        ledger.settle(&node).unwrap();
        assert_eq!(ledger.entry(&node.name).unwrap().unwrap().node, node);
        ledger.check_integrity().unwrap();
        let (upgraded, new) = (Connection::open(database(&directory)).unwrap(), Connection::open_in_memory().unwrap());
        new.execute_batch(&new_tables()).unwrap();
        assert_eq!(schema(&upgraded), schema(&new));
        // The first release would lose the environment with the next change.
        assert_eq!((version(&upgraded), version(&new)), (VERSION, VERSION));
    }

    #[test]
    fn each_upgrade_takes_up_what_the_one_before_has_made() {
        let directory = scratch("ledger-each");
        create_first(&directory);
        let database = Connection::open(database(&directory)).unwrap();
        for many in 1..=UPGRADES.len() {
            upgrade_by(&database, &UPGRADES[..many]).unwrap();
            assert_eq!(version(&database), 1 + i64::try_from(many).unwrap());
        }
        let new = Connection::open_in_memory().unwrap();
        new.execute_batch(&new_tables()).unwrap();
        assert_eq!(schema(&database), schema(&new));
    }

    fn version(database: &Connection) -> i64 {
        database.query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap()
    }

    #[test]
    fn ledger_of_an_older_version_becomes_the_newest_in_one_step_or_stays_what_it_was() {
        let database = Connection::open_in_memory().unwrap();
        database
            .execute_batch("CREATE TABLE node (name TEXT); INSERT INTO node VALUES ('web01'); PRAGMA user_version = 1;")
            .unwrap();
        let upgrades = ["ALTER TABLE node ADD COLUMN a TEXT", "ALTER TABLE node ADD COLUMN b TEXT DEFAULT 'x'"];
        assert!(upgrade_by(&database, &[upgrades[0], "no SQL"]).is_err());
        assert_eq!(version(&database), 1);
        upgrade_by(&database, &upgrades).unwrap();
        upgrade_by(&database, &upgrades).unwrap();
        assert_eq!(version(&database), 3);
        let row: (String, Option<String>, String) = database
            .query_row("SELECT name, a, b FROM node", [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
            .unwrap();
        assert_eq!(row, ("web01".to_owned(), None, "x".to_owned()));
    }
}
