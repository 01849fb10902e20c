//! Why a configuration is not used: file, section and key, cause, and what to do.

use std::path::PathBuf;

use thiserror::Error;

use crate::model::name::NameError;
use crate::system::ini::IniError;
use crate::system::trusted_file::FileError;

/// Why a file is not used.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The file cannot be used.
    #[error(transparent)]
    File(#[from] FileError),
    /// Its content is wrong.
    #[error("{path}: {wrong}")]
    Content {
        /// The file.
        path: PathBuf,
        /// The mistake.
        wrong: Wrong,
    },
}

/// The first mistake in a text.
#[derive(Debug, Error)]
#[allow(missing_docs, reason = "each field is named in its text")]
pub enum Wrong {
    #[error(transparent)]
    Syntax(#[from] IniError),
    #[error("[{name}] line {line}: is not known; want {want}")]
    Section { name: String, line: usize, want: String },
    #[error("[{section}] {name}: line {line}: is not known; want one of {want}")]
    Key { section: String, name: String, line: usize, want: String },
    #[error(
        "[{section}] {name}: is for kind = {want} alone, found kind = {found}; remove line {line}",
        want = .want.join(" or ")
    )]
    Meaningless { section: String, name: String, line: usize, want: &'static [&'static str], found: String },
    #[error("[{section}] {name}: is empty; give a value or remove the line")]
    Empty { section: String, name: &'static str },
    #[error("[{section}] {name}: is missing; add a line such as {name} = {example}")]
    Missing { section: String, name: &'static str, example: &'static str },
    #[error("[{section}] {name}: want {want}, found {found:?}")]
    Value { section: String, name: &'static str, want: &'static str, found: String },
    #[error(
        "[psk] line {line}: each client has a section now; in the place of '{name} = sha256:...' write '[client {name}]' \
         and, on the next line, 'keys = sha256:...'"
    )]
    Psk { name: String, line: usize },
    #[error("[client {name}] line {line}: {error}")]
    ClientName { name: String, line: usize, error: NameError },
    #[error(
        "[client {0}] keys: want sha256: and 64 hexadecimal digits, with commas between keys; \
         remove the line, then 'espm-setup client key add {0}' makes a key"
    )]
    Digest(String),
    #[error(
        "[client {0}] keys: is missing, so that nobody can be this client; 'espm-setup client key add {0}' makes one"
    )]
    NoKey(String),
    #[error("[client {other}] keys: {key} is a key of [client {name}], too; give each client keys of its own")]
    KeyTwice { name: String, other: String, key: String },
    #[error("[client NAME]: there is none, so that no key is right; 'espm-setup client add NAME' makes one")]
    NoClient,
}
