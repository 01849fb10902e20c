//! Why a configuration is not used: file, section and key, cause, and what to do.

use std::path::PathBuf;

use thiserror::Error;

use super::CLIENT_NAME;
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
    #[error("[{section}] {name}: is for kind = {want} alone, found kind = {found}; remove line {line}")]
    Meaningless { section: &'static str, name: String, line: usize, want: &'static str, found: String },
    #[error("[{section}] {name}: is empty; give a value or remove the line")]
    Empty { section: &'static str, name: &'static str },
    #[error("[{section}] {name}: is missing; add a line such as {name} = {example}")]
    Missing { section: &'static str, name: &'static str, example: &'static str },
    #[error("[{section}] {name}: want {want}, found {found:?}")]
    Value { section: &'static str, name: &'static str, want: &'static str, found: String },
    #[error("[psk] {0}: {CLIENT_NAME}")]
    ClientName(String),
    #[error(
        "[psk] {0}: want sha256: and 64 hexadecimal digits; remove the line, then 'espm-setup psk add {0}' makes a key"
    )]
    Digest(String),
    #[error("[psk]: has no key, so that no client can be known; 'espm-setup psk add NAME' makes one")]
    NoKey,
}
