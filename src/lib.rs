//! The agent on a Puppet master that lets a cloud-provisioning system, and nobody else, prepare
//! Puppet nodes before their servers boot.
//!
//! ```text
//! bin/        espm  espm-setup  espm-helper  espm-enc
//! cli/        the operator's commands           http/      gateway handler cgi routes auth request response
//! setup/      key, certificate, INI, vhosts     helper     what runs as the console's or the CA's user      enc
//! service/    what is done about a request
//! config/     espm.ini, enc.ini
//! authority/  the CA      console/  the console      ledger/  which nodes are ours      audit/  syslog
//! model/      name node certificate fault psk       system/    command lock process trusted_file x509 ini clock
//! ```
//!
//! The modules below stand in the order of these floors, the lowest first, with a blank line between two floors.
//! A module imports only from floors below its own, which `tests/architecture.rs` checks.

pub mod system;

pub mod model;

pub mod audit;
pub mod authority;
pub mod console;
pub mod ledger;

pub mod config;

pub mod service;

pub mod enc;
pub mod helper;
pub mod setup;

pub mod cli;
pub mod http;

/// A handler lives for a millisecond: musl's allocator would spend a fifth of that in mmap(2) and munmap(2).
#[global_allocator]
static ALLOCATOR: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;
