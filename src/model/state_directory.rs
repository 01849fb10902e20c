//! Where things are in the state directory.

use std::path::{Path, PathBuf};

/// The directories beside the database.
pub const DIRECTORIES: [&str; 4] = ["locks", "proofs", "cache", "unsent"];

/// The database.
pub fn database(state: &Path) -> PathBuf {
    state.join("ledger.sqlite")
}

/// Lock files.
pub fn locks(state: &Path) -> PathBuf {
    state.join("locks")
}

/// The file that a running gate keeps locked, with the path of its socket in it.
pub fn gate(state: &Path) -> PathBuf {
    locks(state).join("gate")
}

/// The output file of that name.
pub fn output(state: &Path, name: &str) -> PathBuf {
    state.join("proofs").join(name)
}

/// Kept lists.
pub fn cache(state: &Path) -> PathBuf {
    state.join("cache")
}

/// Audit records that wait for syslog.
pub fn unsent(state: &Path) -> PathBuf {
    state.join("unsent")
}

/// Everything that set-up makes.
pub fn all(state: &Path) -> Vec<PathBuf> {
    DIRECTORIES.iter().map(|name| state.join(name)).chain([database(state)]).collect()
}
