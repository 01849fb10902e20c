//! Writes what a package installs besides the programs and the files of conf/: `packaged DIRECTORY`.
#![allow(
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "it is a tool for building packages"
)]

mod generated;
mod pages;
mod sample;

use std::path::Path;

use espm::config::layout::{self, PACKAGED};

fn main() {
    layout::assume(&PACKAGED);
    let directory = std::env::args().nth(1).unwrap();
    // Puppet Enterprise's.
    let users = ["user = puppet-dashboard", "user = pe-puppet"];
    let config = sample::with_lines(&sample::espm(&PACKAGED), |line| users.contains(&line)).unwrap();
    for files in [generated::all(), espm::setup::packaged(&config)] {
        generated::write(&files, Path::new(&directory));
    }
}
