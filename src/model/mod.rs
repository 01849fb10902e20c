//! The words of the field as values that cannot be wrong.

pub mod certificate;
pub mod client;
pub mod extension;
pub mod fault;
pub mod fold;
pub mod json;
pub mod name;
pub mod node;
pub mod pattern;
pub mod problem;
pub mod psk;
pub mod request_id;
pub mod state_directory;
pub mod value;
mod words;

pub(crate) use self::words::words;
