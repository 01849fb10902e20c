//! `espm-setup`: creates key, certificate, configuration and ledger.

use std::process::ExitCode;

fn main() -> ExitCode {
    espm::setup::main()
}
