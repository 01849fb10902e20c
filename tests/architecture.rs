//! The floors of the house, and the rooms of its dependencies.
//!
//! `src/lib.rs` declares the modules floor by floor, with a blank line between two floors. A module
//! uses only what is on floors below its own.
#![allow(
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test reads files and panics"
)]

use std::collections::BTreeSet;
use std::path::Path;

/// Crates that one module alone uses, so that they can be replaced.
const ROOMS: [(&str, &str); 7] = [
    ("rusqlite", "ledger"),
    ("rcgen", "setup"),
    ("subprocess", "system"),
    ("syslog", "audit"),
    ("fastcgi", "http"),
    ("ini", "system"),
    ("rustls_pemfile", "system"),
];

/// A source file: the path of its module, and its text.
type Source = (Vec<String>, String);

/// The floors from the lowest up, as the blank lines of `lib.rs` part them.
fn floors(lib: &str) -> Vec<Vec<String>> {
    let mut floors = vec![vec![]];
    for line in lib.lines() {
        match line.strip_prefix("pub mod ").and_then(|rest| rest.strip_suffix(';')) {
            Some(module) => floors.last_mut().unwrap().push(module.to_owned()),
            None if line.is_empty() => floors.push(vec![]),
            None => {}
        }
    }
    floors.retain(|floor| !floor.is_empty());
    floors
}

/// Everything that the rules forbid.
fn violations(floors: &[Vec<String>], sources: &[Source]) -> Vec<String> {
    let floor_of = |module: &str| floors.iter().position(|floor| floor.iter().any(|name| name == module));
    let mut found = BTreeSet::new();
    for (module, text) in sources {
        let top = module.first().unwrap();
        let Some(floor) = floor_of(top) else {
            found.insert(format!("{top} is on no floor"));
            continue;
        };
        let all = paths(module, text);
        // A module of ours that has the name of a crate hides it where it is imported.
        let hidden =
            |krate: &str| all.iter().any(|path| path.len() > 2 && path[0] == "crate" && path.last().unwrap() == krate);
        for path in &all {
            let words: Vec<&str> = path.iter().map(String::as_str).collect();
            match words.as_slice() {
                ["crate", used, ..] if used == top => {}
                ["crate", used, ..] => match floor_of(used) {
                    Some(below) if below < floor => {}
                    Some(_) => drop(found.insert(format!("{top} uses {used}, which is not below it"))),
                    None => drop(found.insert(format!("{top} uses {used}, which is on no floor"))),
                },
                ["std", "process", "Command", ..] if top != "system" => {
                    found.insert(format!("{top} uses std::process::Command, which is system's alone"));
                }
                [krate, _, ..] => {
                    if let Some((_, room)) =
                        ROOMS.iter().find(|(name, room)| name == krate && room != top && !hidden(krate))
                    {
                        found.insert(format!("{top} uses {krate}, which is {room}'s alone"));
                    }
                }
                _ => {}
            }
        }
    }
    found.into_iter().collect()
}

/// Every path of two words or more in a file: those of its `use` declarations, written out, and those
/// in its code; `self` and `super` resolved to paths from `crate`.
fn paths(module: &[String], text: &str) -> Vec<Vec<String>> {
    let tokens = tokens(text);
    let mut found = Vec::new();
    let mut place = module.to_vec();
    let mut depth = 0;
    let mut inline = Vec::new();
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        match token.as_str() {
            "{" => depth += 1,
            "}" => {
                if inline.last() == Some(&depth) {
                    inline.pop();
                    place.pop();
                }
                depth -= 1;
            }
            "mod" if tokens.get(at + 2).is_some_and(|next| next == "{") => {
                place.push(tokens.get(at + 1).unwrap().clone());
                inline.push(depth + 1);
            }
            "use" => {
                at += 1;
                let mut tree = Vec::new();
                use_tree(&tokens, &mut at, &[], &mut tree);
                found.extend(tree.into_iter().map(|path| resolve(&place, path)));
            }
            word if is_word(word) && tokens.get(at + 1).is_some_and(|next| next == "::") => {
                let mut path = vec![word.to_owned()];
                while tokens.get(at + 1).is_some_and(|next| next == "::")
                    && tokens.get(at + 2).is_some_and(|next| is_word(next))
                {
                    at += 2;
                    path.push(tokens.get(at).unwrap().clone());
                }
                found.push(resolve(&place, path));
            }
            _ => {}
        }
        at += 1;
    }
    found
}

/// Reads one tree of a `use` declaration and leaves `at` on the token after it.
fn use_tree(tokens: &[String], at: &mut usize, prefix: &[String], found: &mut Vec<Vec<String>>) {
    let mut path = prefix.to_vec();
    loop {
        match tokens.get(*at).map_or(";", String::as_str) {
            "::" => *at += 1,
            "{" => {
                *at += 1;
                while tokens.get(*at).is_some_and(|token| token != "}") {
                    use_tree(tokens, at, &path, found);
                    if tokens.get(*at).is_some_and(|token| token == ",") {
                        *at += 1;
                    }
                }
                *at += 1;
                return;
            }
            "as" => *at += 2,
            word if is_word(word) || word == "*" => {
                path.push(word.to_owned());
                *at += 1;
            }
            _ => {
                found.push(path);
                return;
            }
        }
    }
}

fn resolve(place: &[String], path: Vec<String>) -> Vec<String> {
    let mut base = place.to_vec();
    let mut rest = path.as_slice();
    match rest.first().map(String::as_str) {
        Some("self") => rest = rest.get(1..).unwrap_or_default(),
        Some("super") => {
            while rest.first().is_some_and(|word| word == "super") {
                base.pop();
                rest = rest.get(1..).unwrap_or_default();
            }
        }
        _ => return path,
    }
    ["crate".to_owned()].iter().chain(&base).chain(rest).cloned().collect()
}

fn is_word(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// Words, `::` and single signs, without comments, strings and characters.
fn tokens(text: &str) -> Vec<String> {
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let word: String = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        let skip = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if let Some(raw) = raw_string(rest) {
            raw
        } else if first == '"' || (word == "b" && rest.starts_with("b\"")) {
            quoted(rest, rest.find('"').unwrap())
        } else if first == '\'' {
            character(rest)
        } else if !word.is_empty() {
            tokens.push(word.clone());
            word.len()
        } else if rest.starts_with("::") {
            tokens.push("::".to_owned());
            2
        } else {
            if !first.is_whitespace() {
                tokens.push(first.to_string());
            }
            first.len_utf8()
        };
        rest = rest.get(skip..).unwrap();
    }
    tokens
}

/// The length of a raw string that the text begins with.
fn raw_string(text: &str) -> Option<usize> {
    let after = text.strip_prefix("br").or_else(|| text.strip_prefix('r'))?;
    let hashes = after.chars().take_while(|c| *c == '#').count();
    let body = after.get(hashes..)?.strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    let length = body.find(&end)? + end.len();
    Some(text.len() - body.len() + length)
}

/// The length up to the quote that ends a string which begins at `start`.
fn quoted(text: &str, start: usize) -> usize {
    let mut escaped = false;
    for (index, c) in text.char_indices().skip_while(|(index, _)| *index <= start) {
        match c {
            '"' if !escaped => return index + 1,
            '\\' => escaped = !escaped,
            _ => escaped = false,
        }
    }
    text.len()
}

/// The length of a character, or of the sign that begins a lifetime.
fn character(text: &str) -> usize {
    let inside = text.get(1..).unwrap_or_default();
    let length = if inside.starts_with('\\') {
        inside.get(2..).and_then(|rest| rest.find('\'')).map(|at| at + 2)
    } else {
        inside
            .chars()
            .next()
            .map(char::len_utf8)
            .filter(|length| inside.get(*length..).is_some_and(|rest| rest.starts_with('\'')))
    };
    length.map_or(1, |length| length + 2)
}

fn read_sources(directory: &Path, module: &[String], sources: &mut Vec<Source>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        if name == "bin" || name == "lib" {
            continue;
        }
        let inner = [module, &[name]].concat();
        if path.is_dir() {
            read_sources(&path, &inner, sources);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            sources.push((inner, std::fs::read_to_string(&path).unwrap()));
        }
    }
}

fn house() -> (Vec<Vec<String>>, Vec<Source>) {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut sources = Vec::new();
    read_sources(&src, &[], &mut sources);
    (floors(&std::fs::read_to_string(src.join("lib.rs")).unwrap()), sources)
}

#[test]
fn a_module_uses_only_floors_below_its_own_and_a_dependency_has_one_room() {
    let (floors, sources) = house();
    assert!(floors.len() > 5 && sources.len() > 40, "the house is not where it was");
    let found = violations(&floors, &sources);
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn every_room_is_used() {
    let (_, sources) = house();
    for (krate, room) in ROOMS {
        let uses = |(module, text): &Source| {
            module.first().unwrap() == room && paths(module, text).iter().any(|path| path.first().unwrap() == krate)
        };
        assert!(sources.iter().any(uses), "{room} does not use {krate}");
    }
}

#[test]
fn each_rule_finds_what_it_forbids() {
    let (floors, _) = house();
    let check = |module: &[&str], text: &str| {
        let module = module.iter().map(|word| (*word).to_owned()).collect();
        violations(&floors, &[(module, text.to_owned())])
    };
    for (module, text, expected) in [
        (&["console"][..], "use crate::config::Config;", "console uses config, which is not below it"),
        (&["console"], "use crate::{model::name, service::nodes};", "console uses service, which is not below it"),
        (&["console"], "fn f() { crate::audit::complain(\"\") }", "console uses audit, which is not below it"),
        (&["console"], "use super::ledger;", "console uses ledger, which is not below it"),
        (&["cli", "check"], "use super::super::http;", "cli uses http, which is not below it"),
        (&["enc"], "mod tests { fn f() { super::super::setup::main() } }", "enc uses setup, which is not below it"),
        (&["cli"], "use crate::nowhere;", "cli uses nowhere, which is on no floor"),
        (&["nowhere"], "", "nowhere is on no floor"),
        (&["config"], "use rusqlite::Connection;", "config uses rusqlite, which is ledger's alone"),
        (&["cli", "check"], "fn f() { rcgen::generate() }", "cli uses rcgen, which is setup's alone"),
        (&["console"], "use subprocess::{Exec, Job};", "console uses subprocess, which is system's alone"),
        (&["http"], "fn f(f: syslog::Facility) {}", "http uses syslog, which is audit's alone"),
        (&["cli"], "use fastcgi::run;", "cli uses fastcgi, which is http's alone"),
        (&["cli"], "fn f() { ini::inistr!(x) }", "cli uses ini, which is system's alone"),
        (&["cli"], "use rustls_pemfile::Item;", "cli uses rustls_pemfile, which is system's alone"),
        (&["cli"], "use std::process::{Command, ExitCode};", "cli uses std::process::Command, which is system's alone"),
        (
            &["cli"],
            "fn f() { std::process::Command::new(\"x\") }",
            "cli uses std::process::Command, which is system's alone",
        ),
    ] {
        assert_eq!(check(module, text), [expected], "{text}");
    }
    for (module, text) in [
        (
            &["cli"][..],
            "// use crate::http;\nconst X: &str = \"crate::http::x \\\" crate::http::x\"; const Y: char = '\"';",
        ),
        (&["cli"], "const X: &str = r#\"\" crate::http::x\"#; fn f<'a>(x: &'a str) -> std::process::ExitCode {}"),
        (&["cli"], "mod tests { use super::Cli; } use self::check::main; use crate::cli::x;"),
        (&["console", "task"], "use super::listing::Listing; use crate::model::name::NodeName as Name;"),
    ] {
        assert!(check(module, text).is_empty(), "{:?}", check(module, text));
    }
}
