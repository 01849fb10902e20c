//! `espm`: the gate, the handler of one request, and the operator's commands.

use std::process::ExitCode;

fn main() -> ExitCode {
    // Before anything looks at the arguments: a query string must never become an option (CVE-2012-1823).
    if std::env::var_os("GATEWAY_INTERFACE").is_some() {
        return espm::http::handler::main();
    }
    espm::cli::main(espm::http::gateway::main)
}
