//! Answers kept for `Idempotency-Key`: a retry after a lost answer gets the first one.

use rusqlite::{ErrorCode, OptionalExtension, Transaction, params};

use super::{Ledger, LedgerError};
use crate::model::node::Node;
use crate::system::clock;

/// Seconds for which an `Idempotency-Key` is kept.
const LIFE: i64 = 24 * 60 * 60;

/// A kept `Idempotency-Key`.
#[derive(Debug)]
pub(crate) struct Kept {
    /// The digest of the body that it came with.
    pub(crate) digest: String,
    /// The first answer, unless the first request has not ended.
    pub(crate) answer: Option<Node>,
}

/// An `Idempotency-Key` of a client, with its body's digest.
#[derive(Debug)]
pub struct Key<'a> {
    /// The client's name.
    pub(crate) client: &'a str,
    /// The key.
    pub(crate) key: &'a str,
    /// The digest of the body.
    pub(crate) digest: &'a str,
}

impl Key<'_> {
    /// Keeps the key for the node that its request adds, unless another request has it, and forgets old ones.
    pub(super) fn keep(&self, transaction: &Transaction<'_>, name: &str) -> rusqlite::Result<bool> {
        let now = clock::now();
        transaction.execute("DELETE FROM answer WHERE since < ?1", [now - LIFE])?;
        let inserted = transaction.execute(
            "INSERT INTO answer (client, key, digest, name, since) VALUES (?1, ?2, ?3, ?4, ?5)",
            params![self.client, self.key, self.digest, name, now],
        );
        match inserted {
            Err(rusqlite::Error::SqliteFailure(failure, _)) if failure.code == ErrorCode::ConstraintViolation => {
                Ok(false)
            }
            other => other.map(|_| true),
        }
    }
}

impl Ledger {
    /// A client's `Idempotency-Key`, if it is kept.
    pub(crate) fn kept(&self, client: &str, key: &str) -> Result<Option<Kept>, LedgerError> {
        let query = "SELECT digest, answer FROM answer WHERE client = ?1 AND key = ?2 AND since >= ?3";
        let oldest = clock::now() - LIFE;
        let row = self
            .database
            .query_row(query, params![client, key, oldest], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()
            .map_err(self.error())?;
        let Some((digest, answer)): Option<(String, Option<String>)> = row else { return Ok(None) };
        let answer = answer.map(|json| serde_json::from_str(&json).map_err(|_| LedgerError::Row(key.to_owned())));
        Ok(Some(Kept { digest, answer: answer.transpose()? }))
    }
}
