//! `espm-helper`: does one console task or CA verb as the user that it is started as.

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
    espm::helper::main(&arguments)
}
