//! Promises, each shown through a real web server, TLS, real processes and a real syslog socket.
#![allow(
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    reason = "tests start programs and read files as a person would"
)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test fails by panicking"
)]
#![allow(unreachable_pub, reason = "the site is shared by the modules of this program alone")]

mod harness;

mod api;
mod certificates;
mod concurrency;
mod gateway;
mod operator;
mod package;
mod recovery;
mod security;
mod setup;
mod worker;
