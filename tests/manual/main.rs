//! The samples, the manual pages and the completions: made from the programs' own declarations, and accepted by what
//! reads them.
//!
//! `ESPM_WRITE=1 cargo test --test manual` writes conf/espm.ini anew.
#![allow(
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test reads files, starts programs and panics"
)]

mod generated;
mod pages;
mod sample;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use espm::config::layout::{BY_HAND, PACKAGED};
use espm::config::{Absent, KEYS};
use espm::console::catalogue::{Catalogue, SECTIONS};

use self::generated::root;

/// A directory with everything that is generated.
fn directory() -> &'static Path {
    static DIRECTORY: OnceLock<PathBuf> = OnceLock::new();
    DIRECTORY.get_or_init(|| {
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("manual");
        let _ = std::fs::remove_dir_all(&directory);
        generated::write(&generated::all(), &directory);
        directory
    })
}

#[test]
fn conf_espm_ini_is_the_sample_that_the_keys_make() {
    let (path, text) = (root().join("conf/espm.ini"), sample::espm(&BY_HAND));
    if std::env::var_os("ESPM_WRITE").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap();
    assert!(
        found == text,
        "conf/espm.ini is not what src/config says; ESPM_WRITE=1 cargo test --test manual writes it"
    );
}

#[test]
fn every_value_of_the_sample_is_accepted() {
    for layout in [&BY_HAND, &PACKAGED] {
        let text = sample::espm(layout);
        sample::with_lines(&text, |_| false).unwrap();
        let optional: Vec<String> = KEYS
            .into_iter()
            .flatten()
            .copied()
            .filter(|key| key.absent == Absent::Optional && key.name != "config")
            .map(|key| format!("{} = {}", key.name, key.value(|| layout)))
            .collect();
        assert!(optional.len() > 4, "{optional:?}");
        // Below [authority] stands one more section in comments, with a user of its own.
        let (ours, _) = text.split_once("# [authority]").unwrap();
        sample::with_lines(ours, |key| optional.iter().any(|line| line == key)).unwrap();
        let (before, rest) = text.split_once("[console]\n").unwrap();
        let (_, after) = rest.split_once("[authority]\n").unwrap();
        let enc: String = KEYS
            .into_iter()
            .flatten()
            .copied()
            .filter(|key| key.section == "console" && key.kinds == ["enc"])
            .map(|key| format!("{} = {}\n", key.name, key.value(|| layout)))
            .collect();
        sample::with_lines(&format!("{before}[console]\nkind = enc\n{enc}[authority]\n{after}"), |_| false).unwrap();
        let newer = format!("{}{}", text.split_once("[authority]\n").unwrap().0, sample::NEWER.1);
        sample::with_lines(&newer, |_| false).unwrap();
    }
}

#[test]
fn every_key_of_catalogue_is_accepted_and_shown() {
    let sample = std::fs::read_to_string(root().join("conf/catalogue.ini")).unwrap();
    let catalogue = Catalogue::from_text(&sample).unwrap();
    assert_eq!(catalogue.groups(), ["databases", "web servers"]);
    let shape = |heading: &str| match (heading.split_once(' '), heading.contains(", class ")) {
        (None, _) => heading.to_owned(),
        (Some(_), true) => "group NAME, class NAME".to_owned(),
        (Some((kind, _)), false) => format!("{kind} NAME"),
    };
    let of_shape = |section: &str| -> String {
        let parts = sample.split("\n[").filter_map(|part| part.split_once(']'));
        parts.filter(|(heading, _)| shape(heading) == section).map(|(_, lines)| lines).collect()
    };
    for (section, keys) in SECTIONS {
        for (key, _) in keys {
            let word = format!("\n{}", key.trim_end_matches("NAME"));
            assert!(of_shape(section).contains(&word), "[{section}] {key}");
        }
        let error = Catalogue::from_text(&format!("[{section}]\nx = y\n")).unwrap_err().to_string();
        assert!(error.contains(": x: is not known; want ") || error.contains("there is no section"), "{error}");
    }
}

#[test]
fn changelog_begins_with_this_version() {
    let changelog = std::fs::read_to_string(root().join("conf/CHANGELOG.md")).unwrap();
    let newest = changelog.lines().filter_map(|line| line.strip_prefix("## [")).find(|line| !line.starts_with("Unr"));
    let version = newest.and_then(|line| line.split_once(']')).map(|(version, _)| version);
    assert_eq!(version, Some(env!("CARGO_PKG_VERSION")));
}

fn pages() -> Vec<PathBuf> {
    let all = std::fs::read_dir(directory().join("man")).unwrap().map(|entry| entry.unwrap().path());
    let pages: Vec<PathBuf> = all.collect();
    assert_eq!(pages.len(), 6, "{pages:?}");
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
            let file = directory().join(format!("completions/{program}.bash"));
            let found = output(Command::new("bash").args(["-c", &script, "bash"]).arg(file).args(&before).arg(&word));
            let text = String::from_utf8_lossy(&found.stdout);
            assert!(text.lines().any(|line| line == word), "{before:?} {word}: {found:?}");
        }
    }
}

#[test]
fn zsh_takes_the_completions() {
    for program in ["espm", "espm-setup"] {
        let directory = directory().join("completions");
        let script = format!(
            "fpath=({} $fpath); autoload -Uz compinit; compinit -u -D; autoload +X _{program} && print $_comps[{program}]",
            directory.display()
        );
        let found = output(Command::new("zsh").args(["-f", "-c", &script]));
        assert_eq!(String::from_utf8_lossy(&found.stdout).trim(), format!("_{program}"), "{found:?}");
        assert!(found.status.success() && found.stderr.is_empty(), "{found:?}");
    }
}
