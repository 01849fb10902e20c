//! The operating system and its formats: the only floor that starts programs and opens files.

pub mod clock;
pub mod command;
pub(crate) mod helper_call;
pub mod ini;
pub mod lock;
pub mod output_file;
pub mod process;
pub mod random;
#[cfg(test)]
pub mod scratch;
pub(crate) mod sudoers;
pub mod text;
pub mod trusted_file;
pub mod x509;
