//! `espm-setup`: makes the key, the certificate, the configuration and the empty ledger.

use std::process::ExitCode;

fn main() -> ExitCode {
    espm::setup::main()
}
