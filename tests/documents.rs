//! What the documents say is what the program does.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, clippy::panic, reason = "a test reads files and panics")]

use std::path::{Path, PathBuf};

use espm::config::KEYS;
use espm::model::fault::Problem;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(name: &str) -> String {
    std::fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Every key that the configuration has, but for the clients' names in `[psk]`.
fn known_keys() -> impl Iterator<Item = (&'static str, &'static str)> {
    KEYS.iter().copied().flatten().filter(|key| key.section != "psk").map(|key| (key.section, key.name))
}

/// The rows of the README's tables, each with the last `[section]` that was named before or in it.
fn rows(readme: &str) -> Vec<(String, &str)> {
    let mut section = String::new();
    let mut rows = Vec::new();
    for line in readme.lines() {
        for key in KEYS.iter().copied().flatten() {
            if line.contains(&format!("[{}]", key.section)) {
                key.section.clone_into(&mut section);
            }
        }
        if line.starts_with('|') {
            rows.push((section.clone(), line));
        }
    }
    rows
}

#[test]
fn the_readme_has_a_table_row_for_every_key() {
    let readme = read("README.md");
    let rows = rows(&readme);
    for (section, key) in known_keys() {
        let there = rows.iter().any(|(s, row)| s == section && row.contains(&format!("`{key}`")));
        assert!(there, "README.md has no table row for [{section}] `{key}`");
    }
}

#[test]
fn the_readme_has_every_problem_type() {
    let readme = read("README.md");
    for word in Problem::ALL.iter().map(|problem| problem.word()).chain(["rate-limited"]) {
        assert!(readme.contains(&format!("`{word}`")), "README.md does not have `{word}`");
    }
}

/// The names of all test functions.
fn tests(directory: &Path, names: &mut Vec<String>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            tests(&path, names);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            let mut is_test = false;
            for line in text.lines().map(str::trim) {
                if let Some(rest) = line.strip_prefix("fn ") {
                    names.extend(rest.split('(').next().filter(|_| is_test).map(str::to_owned));
                }
                is_test = line == "#[test]" || (is_test && line.starts_with("#["));
            }
        }
    }
}

#[test]
fn every_line_of_the_threat_table_names_tests_that_exist() {
    let mut names = Vec::new();
    tests(&root().join("src"), &mut names);
    tests(&root().join("tests"), &mut names);
    let readme = read("README.md");
    let mut in_section = false;
    let mut lines = 0;
    for line in readme.lines() {
        if line.starts_with('#') {
            in_section = line.to_lowercase().contains("threat");
        }
        let rule = line.bytes().all(|b| b"|-: ".contains(&b));
        if !in_section || !line.starts_with('|') || rule {
            continue;
        }
        lines += 1;
        // The first line is the table's head.
        if lines == 1 {
            continue;
        }
        let last = line.trim_end_matches(['|', ' ']).rsplit('|').next().unwrap();
        let named: Vec<&str> = last.split('`').skip(1).step_by(2).collect();
        assert!(!named.is_empty(), "this threat names no test: {line}");
        for name in named {
            let name = name.rsplit("::").next().unwrap();
            assert!(names.iter().any(|test| test == name), "there is no test {name}: {line}");
        }
    }
    assert!(lines > 1, "README.md has no table under a heading with the word threat");
}
