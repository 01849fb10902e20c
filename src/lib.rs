//! The agent on a Puppet master that lets a cloud-provisioning system, and nobody else, prepare
//! Puppet nodes before their servers boot.
//!
//! The modules stand in the order of the floors they live on. A module imports only from floors
//! below its own, which `tests/architecture.rs` checks.

// Atoms: values that cannot be wrong.
pub mod clock;
pub mod layout;
pub mod name;
#[cfg(test)]
pub mod scratch;
pub mod secret;
pub mod state;
pub mod text;

// Messages: what can be asked, what can be answered.
pub mod request;

pub mod operation;

pub mod outcome;

// Grammars: bytes and words, no effects.
pub mod body;
pub mod ini_text;
pub mod reply;
pub mod x509;

pub mod cgi;

// System: the only floor that starts programs and opens our files.
pub mod command;
pub mod trusted_file;

pub mod lock;
pub mod process;

// Offices: each owns one thing that a request needs.
pub mod audit;
pub mod auth;
pub mod authority;
pub mod console;
pub mod ledger;

pub mod config;

// Decisions: what is done about a request.
pub mod offices;
pub mod route;

pub mod recover;

pub mod perform;

// Households: each a main; they never meet.
pub mod desk;
pub mod enc;
pub mod gate;
pub mod handler;
pub mod helper;
pub mod setup;

/// A handler lives for a millisecond: musl's allocator would spend a fifth of that in mmap(2) and munmap(2).
#[global_allocator]
static ALLOCATOR: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;
