//! `espm-enc`: the `external_nodes` program of a Puppet server without a console.

use std::ffi::OsString;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    espm::enc::main(&arguments)
}
