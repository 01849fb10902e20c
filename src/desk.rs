//! The operator's desk: `espm` at the shell.

use std::process::ExitCode;

/// placeholder
pub fn main() -> ExitCode {
    match crate::gate::main(std::path::Path::new(&std::env::args().nth(2).unwrap_or_default())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            crate::audit::complain(&error.to_string());
            ExitCode::FAILURE
        }
    }
}
