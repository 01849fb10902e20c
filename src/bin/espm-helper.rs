//! `espm-helper`: runs one console task or CA verb as its own user.

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
    espm::helper::main(&arguments)
}
