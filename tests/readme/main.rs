//! Every command block of README.md is run as it stands, and every output shown is compared.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, clippy::panic, reason = "a test starts programs and panics")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn walk() -> Command {
    Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/readme/walk"))
}

#[test]
fn a_reader_who_follows_the_readme_does_not_stumble() {
    let mut walk = walk();
    walk.arg(Path::new(env!("CARGO_BIN_EXE_espm")).parent().unwrap());
    if std::env::var_os("ESPM_TEST_LONG").is_some() {
        walk.arg("--long");
    }
    let Output { status, stdout, stderr } = walk.output().unwrap();
    assert!(status.success(), "{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
}

/// What the walk says of a README that has this in place of its last line.
fn plan(name: &str, change: impl Fn(&str) -> String) -> Output {
    let readme = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    let path: PathBuf = std::env::temp_dir().join(format!("espm-readme-{name}-{}.md", std::process::id()));
    std::fs::write(&path, change(&readme)).unwrap();
    let output = walk().arg("--plan").arg(&path).output().unwrap();
    std::fs::remove_file(&path).unwrap();
    output
}

#[test]
fn a_block_that_nobody_runs_is_named_with_its_line() {
    assert!(plan("same", str::to_owned).status.success());
    let added = plan("added", |readme| format!("{readme}\n```sh\ntrue\n```\n"));
    let readme = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    let said = String::from_utf8(added.stderr).unwrap();
    assert!(said.starts_with(&format!("README.md:{} ", readme.lines().count() + 2)), "{said}");
    assert!(said.contains("is in no scene"), "{said}");
    let gone = plan("gone", |readme| readme.replace("### Start the gate", "### Start it"));
    assert!(String::from_utf8_lossy(&gone.stderr).contains("README.md has no block for ('Start the gate'"));
}
