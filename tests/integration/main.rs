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
#![allow(unreachable_pub, reason = "the shop is shared by the modules of this program alone")]

mod aftermath;
mod attacks;
mod certificates;
mod chaos;
mod client;
mod concealed;
mod console;
mod crowd;
mod desk;
mod doubt;
mod gate;
mod hostile;
mod interface;
mod limits;
mod lists;
mod mad;
mod many;
mod moments;
mod newcomer;
mod outside;
mod power;
mod privilege;
mod published;
mod rails;
mod records;
mod recovery;
mod schemathesis;
mod secrets;
mod setup;
mod shipped;
mod shop;
mod slots;
mod steps;
mod timing;
mod undoing;
mod warm;
mod worker;
