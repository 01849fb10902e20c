//! The manual pages and the completions are what the programs' own help and the sample configuration say.
//!
//! `ESPM_WRITE=1 cargo test --test manual` writes them anew.
#![allow(
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test reads files, starts programs and panics"
)]

mod pages;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use clap_complete::{Shell, generate};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Every generated file: its path from the root, and its text.
fn generated() -> Vec<(String, String)> {
    let read = |name: &str| std::fs::read_to_string(root().join(name)).unwrap();
    let date = release_date(&read("conf/CHANGELOG.md"));
    let mut files: Vec<(String, String)> = pages::all(&date, &read("conf/espm.ini"))
        .into_iter()
        .map(|(name, text)| (format!("conf/man/{name}"), text))
        .collect();
    for (program, command) in [("espm", espm::cli::command_line()), ("espm-setup", espm::setup::command_line())] {
        for (shell, name) in [(Shell::Bash, format!("{program}.bash")), (Shell::Zsh, format!("_{program}"))] {
            let mut text = Vec::new();
            generate(shell, &mut command.clone(), program, &mut text);
            // clap_complete 4.6.11 takes the dash in a program's name for one between commands in half of the places.
            let text = String::from_utf8(text).unwrap().replace("espm__subcmd__setup", "espm__setup");
            files.push((format!("conf/completions/{name}"), text));
        }
    }
    files
}

/// The date of the newest release: of the first heading that has one.
fn release_date(changelog: &str) -> String {
    let headings = changelog.lines().filter_map(|line| line.strip_prefix("## "));
    headings.filter_map(|heading| heading.split_once(" - ")).map(|(_, date)| date.to_owned()).next().unwrap()
}

#[test]
fn the_manual_pages_and_completions_are_what_the_programs_say_now() {
    let write = std::env::var_os("ESPM_WRITE").is_some();
    let mut old = Vec::new();
    for (name, text) in generated() {
        let path = root().join(&name);
        if write {
            std::fs::write(&path, &text).unwrap();
        }
        if std::fs::read_to_string(&path).ok().as_deref() != Some(text.as_str()) {
            old.push(name);
        }
    }
    assert!(old.is_empty(), "write them anew with ESPM_WRITE=1 cargo test --test manual: {old:?}");
}

#[test]
fn the_changelog_begins_with_this_version() {
    let changelog = std::fs::read_to_string(root().join("conf/CHANGELOG.md")).unwrap();
    let newest = changelog.lines().filter_map(|line| line.strip_prefix("## [")).find(|line| !line.starts_with("Unr"));
    let version = newest.and_then(|line| line.split_once(']')).map(|(version, _)| version);
    assert_eq!(version, Some(env!("CARGO_PKG_VERSION")));
}

fn pages() -> Vec<PathBuf> {
    let all = std::fs::read_dir(root().join("conf/man")).unwrap().map(|entry| entry.unwrap().path());
    let pages: Vec<PathBuf> = all.collect();
    assert_eq!(pages.len(), 5, "{pages:?}");
    pages
}

fn output(command: &mut Command) -> Output {
    command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

#[test]
fn man_shows_each_page_without_a_warning() {
    for page in pages() {
        let shown = output(Command::new("man").args(["--warnings=w", "-E", "UTF-8", "-l"]).arg(&page).envs([
            ("MANWIDTH", "80"),
            ("MANPAGER", "cat"),
            ("LC_ALL", "C.UTF-8"),
        ]));
        assert!(shown.status.success() && shown.stderr.is_empty(), "{}: {shown:?}", page.display());
        let text = String::from_utf8(shown.stdout).unwrap();
        for section in ["NAME", "SYNOPSIS", "DESCRIPTION", "SEE ALSO"] {
            assert!(text.lines().any(|line| line == section), "{}: no {section}", page.display());
        }
    }
}

#[test]
fn mandoc_finds_no_fault_in_any_page() {
    // STYLE messages are about an author's taste; a warning is about what a reader sees.
    let linted = output(Command::new("mandoc").args(["-T", "lint", "-W", "warning"]).args(pages()));
    assert!(linted.status.success(), "{}", String::from_utf8_lossy(&linted.stdout));
}

/// Every command and long option of a program, with the words that lead to it.
fn words(command: &clap::Command, before: &[String], all: &mut Vec<(Vec<String>, String)>) {
    let options = command.get_arguments().filter_map(|argument| argument.get_long());
    all.extend(options.map(|long| (before.to_vec(), format!("--{long}"))));
    for sub in command.get_subcommands().filter(|sub| sub.get_name() != "help") {
        all.push((before.to_vec(), sub.get_name().to_owned()));
        let mut path = before.to_vec();
        path.push(sub.get_name().to_owned());
        words(sub, &path, all);
    }
}

#[test]
fn bash_completes_every_command_and_option() {
    for (program, command) in [("espm", espm::cli::command_line()), ("espm-setup", espm::setup::command_line())] {
        let mut all = Vec::new();
        words(&command, &[program.to_owned()], &mut all);
        assert!(all.len() > 5, "{all:?}");
        for (before, word) in all {
            let script = format!(
                "set -u; source \"$1\"; shift; function=$(complete -p {program} | grep -o '_[^ ]*espm[^ ]*' | head -n 1); COMP_WORDS=(\"$@\"); COMP_CWORD=$(($# - 1)); \"$function\" {program} \"${{!#}}\" x; \
                 printf '%s\\n' \"${{COMPREPLY[@]}}\""
            );
            let file = root().join(format!("conf/completions/{program}.bash"));
            let found = output(Command::new("bash").args(["-c", &script, "bash"]).arg(file).args(&before).arg(&word));
            let text = String::from_utf8_lossy(&found.stdout);
            assert!(text.lines().any(|line| line == word), "{before:?} {word}: {found:?}");
        }
    }
}

#[test]
fn zsh_takes_the_completions() {
    for program in ["espm", "espm-setup"] {
        let directory: &Path = &root().join("conf/completions");
        let script = format!(
            "fpath=({} $fpath); autoload -Uz compinit; compinit -u -D; autoload +X _{program} && print $_comps[{program}]",
            directory.display()
        );
        let found = output(Command::new("zsh").args(["-f", "-c", &script]));
        assert_eq!(String::from_utf8_lossy(&found.stdout).trim(), format!("_{program}"), "{found:?}");
        assert!(found.status.success() && found.stderr.is_empty(), "{found:?}");
    }
}
