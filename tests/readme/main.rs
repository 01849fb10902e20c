//! Every command block of README.md and docs/ is run as it stands, and every output shown is compared.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, clippy::panic, reason = "a test starts programs and panics")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn walk() -> Command {
    Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/readme/walk"))
}

#[test]
fn every_command_block_of_the_pages_runs_and_prints_what_is_shown() {
    let mut walk = walk();
    walk.arg(Path::new(env!("CARGO_BIN_EXE_espm")).parent().unwrap());
    if std::env::var_os("ESPM_TEST_LONG").is_some() {
        walk.arg("--long");
    }
    let Output { status, stdout, stderr } = walk.output().unwrap();
    assert!(status.success(), "{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
}

/// The walk's opinion of copies of the pages, of which one has been changed.
fn plan(name: &str, page: &str, change: impl Fn(&str) -> String) -> Output {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let copy: PathBuf = std::env::temp_dir().join(format!("espm-pages-{name}-{}", std::process::id()));
    std::fs::create_dir_all(copy.join("docs")).unwrap();
    let pages = std::fs::read_dir(root.join("docs")).unwrap().map(|entry| entry.unwrap().path());
    for path in pages.filter(|path| path.extension().is_some_and(|extension| extension == "md")) {
        std::fs::copy(&path, copy.join("docs").join(path.file_name().unwrap())).unwrap();
    }
    std::fs::copy(root.join("README.md"), copy.join("README.md")).unwrap();
    std::fs::write(copy.join(page), change(&read(page))).unwrap();
    let output = walk().arg("--plan").arg(&copy).output().unwrap();
    std::fs::remove_dir_all(&copy).unwrap();
    output
}

fn read(page: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(page)).unwrap()
}

#[test]
fn block_in_no_scene_is_named_with_its_page_and_line() {
    let same = plan("same", "README.md", str::to_owned);
    assert!(same.status.success(), "{}", String::from_utf8_lossy(&same.stderr));
    for page in ["README.md", "docs/install.md"] {
        let added = plan("added", page, |text| format!("{text}\n```sh\ntrue\n```\n"));
        let said = String::from_utf8(added.stderr).unwrap();
        assert!(said.starts_with(&format!("{page}:{} ", read(page).lines().count() + 2)), "{said}");
        assert!(said.contains("is in no scene"), "{said}");
    }
    let gone = plan("gone", "docs/install.md", |text| text.replace("## Start the gate", "## Start it"));
    assert!(String::from_utf8_lossy(&gone.stderr).contains("docs/install.md has no block for ('Start the gate'"));
}
