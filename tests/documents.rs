//! What the documents say is what the program does.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, clippy::panic, reason = "a test reads files and panics")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use espm::audit::{Field, Note};
use espm::config::layout::PACKAGED;
use espm::config::{Absent, KEYS};
use espm::http::routes::ROUTES;
use espm::model::problem::Problem;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(name: &str) -> String {
    std::fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Every key that the configuration has.
fn known_keys() -> impl Iterator<Item = (&'static str, &'static str)> {
    KEYS.into_iter().flatten().copied().map(|key| (key.section, key.name))
}

/// README.md and the pages of docs/, by name.
fn pages() -> Vec<(String, String)> {
    let docs = std::fs::read_dir(root().join("docs")).unwrap().map(|entry| entry.unwrap().file_name());
    let mut names: Vec<String> = docs.map(|name| format!("docs/{}", name.to_string_lossy())).collect();
    names.retain(|name| name.ends_with(".md"));
    names.push("README.md".to_owned());
    names.into_iter().map(|name| (name.clone(), read(&name))).collect()
}

/// The cells of the rows of a text's tables.
fn rows(text: &str) -> impl Iterator<Item = Vec<&str>> {
    let lines = text.lines().filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |"));
    lines.map(|line| line.split(" | ").collect())
}

/// The words between backquotes.
fn quoted(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

#[test]
fn table_of_keys_has_a_row_for_every_key_and_no_other() {
    let page = read("docs/configuration.md");
    let first: Vec<&str> = rows(&page).map(|row| row[0]).filter(|cell| cell.starts_with('[')).collect();
    for (section, key) in known_keys() {
        let there = first.contains(&format!("[{section}] `{key}`").as_str());
        assert!(there, "docs/configuration.md has no table row for [{section}] `{key}`");
    }
    for cell in &first {
        let known = known_keys().any(|(section, key)| *cell == format!("[{section}] `{key}`"));
        assert!(known, "docs/configuration.md has a row for {cell}, which is not a key");
    }
}

#[test]
fn table_of_problems_has_every_word_with_its_status_and_no_other() {
    let page = read("docs/clients.md");
    let table = page.split("| word | status |").nth(1).unwrap().split("\n\n").next().unwrap();
    let found: Vec<(&str, &str)> = rows(table).map(|row| (row[0].trim_matches('`'), row[1])).collect();
    let mut wanted: Vec<(&str, String)> =
        Problem::ALL.iter().map(|problem| (problem.word(), problem.status().to_string())).collect();
    // The web server's own.
    wanted.push(("rate-limited", "429".to_owned()));
    for (word, status) in &wanted {
        assert!(found.contains(&(*word, status.as_str())), "docs/clients.md has no row for `{word}` with {status}");
    }
    for (word, _) in found {
        assert!(
            wanted.iter().any(|(known, _)| *known == word),
            "docs/clients.md has a row for {word}, which is no problem"
        );
    }
}

/// The texts of all files in a directory that end so.
fn files(directory: &Path, extension: &str, texts: &mut Vec<(PathBuf, String)>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, extension, texts);
        } else if path.extension().is_some_and(|found| found == extension) {
            texts.push((path.clone(), std::fs::read_to_string(&path).unwrap()));
        }
    }
}

#[test]
fn table_of_audit_fields_has_every_field_and_note() {
    let page = read("docs/monitor.md");
    let table = page.split("| field | meaning |").nth(1).unwrap().split("\n\n").next().unwrap();
    let fields: BTreeSet<&str> = rows(table).flat_map(|row| quoted(row[0])).collect();
    assert_eq!(fields, Field::ALL.iter().map(|field| field.word()).collect());
    let notes: BTreeSet<&str> = rows(table).filter(|row| row[0] == "`note`").flat_map(|row| quoted(row[1])).collect();
    assert_eq!(notes, Note::ALL.iter().map(|note| note.word()).collect());
}

#[test]
fn description_has_operations_of_router_and_no_others() {
    let description: serde_json::Value = serde_json::from_str(&read("src/http/openapi.json")).unwrap();
    let mut described = BTreeSet::new();
    for (path, item) in description["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap().iter().filter(|(method, _)| *method != "parameters") {
            described.insert((path.as_str(), method.to_uppercase(), operation["operationId"].as_str().unwrap()));
        }
    }
    let routed: BTreeSet<_> = ROUTES.iter().map(|route| (route.path, route.method.to_owned(), route.id)).collect();
    assert_eq!(described, routed);
}

#[test]
fn table_of_requests_has_every_route_and_no_other() {
    let page = read("docs/clients.md");
    let table = page.split("| request | answer |").nth(1).unwrap().split("\n\n").next().unwrap();
    let found: BTreeSet<String> =
        rows(table).flat_map(|row| quoted(row[0]).map(str::to_owned).collect::<Vec<_>>()).collect();
    assert_eq!(found, ROUTES.iter().map(|route| format!("{} {}", route.method, route.path)).collect());
}

#[test]
fn table_of_audit_fields_has_the_event_of_every_route() {
    let page = read("docs/monitor.md");
    let row = rows(&page).find(|row| row[0] == "`event`").unwrap();
    let found: BTreeSet<&str> = quoted(row[1]).collect();
    for route in ROUTES.iter().filter(|route| route.needs_key) {
        assert!(found.contains(route.event), "docs/monitor.md has no event {}", route.event);
    }
}

#[test]
fn table_of_alerts_has_each_alert_with_its_severity_and_no_other() {
    let page = read("docs/monitor.md");
    let table = page.split("| alert | severity |").nth(1).unwrap().split("\n\n").next().unwrap();
    let shown: Vec<(&str, &str)> = rows(table).map(|row| (row[0].trim_matches('`'), row[1])).collect();
    let rules = read("conf/examples/prometheus-rules.yml");
    let all = |key: &'static str| rules.lines().filter_map(move |line| line.trim().strip_prefix(key));
    assert_eq!(shown, all("- alert: ").zip(all("severity: ")).collect::<Vec<_>>());
}

#[test]
fn operators_table_has_every_problem_with_advice_for_him() {
    let page = read("docs/troubleshoot.md");
    let table = page.split("| word | status |").nth(1).unwrap().split("\n\n").next().unwrap();
    let found: BTreeSet<&str> =
        rows(table).map(|row| row[0].trim_matches('`')).filter(|word| *word != "rate-limited").collect();
    let wanted = Problem::ALL.iter().filter(|problem| !problem.advice().1.is_empty());
    assert_eq!(found, wanted.map(|problem| problem.word()).collect());
}

/// Optional keys whose row says in words what holds without them.
const IN_WORDS: [&str; 2] = ["user", "concurrency"];

#[test]
fn table_of_keys_has_their_defaults() {
    let page = read("docs/configuration.md");
    for key in KEYS.into_iter().flatten().copied().filter(|key| !IN_WORDS.contains(&key.name)) {
        let first = format!("[{}] `{}`", key.section, key.name);
        let default = match key.absent {
            Absent::Default => format!("`{}`", key.value(|| &PACKAGED)),
            _ => "none".to_owned(),
        };
        // A key may have a row for each kind of its section.
        assert!(rows(&page).any(|row| row[0] == first && row[1] == default), "{first}: {default}");
    }
}

/// The names of all test functions.
fn tests() -> Vec<String> {
    let mut texts = Vec::new();
    files(&root().join("src"), "rs", &mut texts);
    files(&root().join("tests"), "rs", &mut texts);
    let mut names = Vec::new();
    for (_, text) in &texts {
        let mut is_test = false;
        for line in text.lines().map(str::trim) {
            if let Some(rest) = line.strip_prefix("fn ") {
                names.extend(rest.split('(').next().filter(|_| is_test).map(str::to_owned));
            }
            is_test = line == "#[test]" || (is_test && line.starts_with("#["));
        }
    }
    names
}

#[test]
fn every_line_of_the_threat_table_names_tests_that_exist() {
    let names = tests();
    let page = read("docs/threats.md");
    let threats: Vec<Vec<&str>> = rows(&page).skip(1).collect();
    assert!(threats.len() > 30, "docs/threats.md has no table of threats");
    for row in threats {
        let named: Vec<&str> = quoted(row[2]).collect();
        assert!(!named.is_empty(), "this threat names no test: {}", row[0]);
        for name in named {
            let name = name.rsplit("::").next().unwrap();
            assert!(names.iter().any(|test| test == name), "there is no test {name}: {}", row[0]);
        }
    }
}

#[test]
fn readme_has_at_most_250_lines() {
    let lines = read("README.md").lines().count();
    assert!(lines <= 250, "README.md has {lines} lines; move some to a page of docs/");
}

/// A heading as a link names it: lower case, hyphens for spaces, of the rest letters, digits and `_`.
fn anchor(heading: &str) -> String {
    let kept = heading
        .to_lowercase()
        .chars()
        .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
        .collect::<String>();
    kept.replace(' ', "-")
}

/// The links of a page that lead to files here: where to, and the heading there.
fn links(page: &str, text: &str) -> Vec<(String, Option<String>)> {
    let mut links = Vec::new();
    // Neither commands nor their output.
    let prose: String = text.split("```").step_by(2).collect();
    for rest in prose.split("](").skip(1) {
        let target = rest.split(')').next().unwrap();
        if target.starts_with("https://") {
            continue;
        }
        let (file, heading) =
            target.split_once('#').map_or((target, None), |(file, heading)| (file, Some(heading.to_owned())));
        let directory = Path::new(page).parent().unwrap();
        let mut path = PathBuf::new();
        for part in directory.join(file).components() {
            if part.as_os_str() == ".." {
                path.pop();
            } else {
                path.push(part);
            }
        }
        links.push((if file.is_empty() { page.to_owned() } else { path.display().to_string() }, heading));
    }
    links
}

#[test]
fn every_link_leads_to_a_file_and_a_heading_that_are_there() {
    for (page, text) in pages() {
        for (file, heading) in links(&page, &text) {
            assert!(root().join(&file).exists(), "{page} links to {file}, which is not there");
            if let Some(heading) = heading {
                let there = read(&file)
                    .lines()
                    .filter(|line| line.starts_with('#'))
                    .any(|line| anchor(line.trim_start_matches(['#', ' '])) == heading);
                assert!(there, "{page} links to {file}#{heading}, a heading that is not there");
            }
        }
    }
}

#[test]
fn every_page_can_be_reached_from_the_readme() {
    let pages = pages();
    let mut reached = vec!["README.md".to_owned()];
    let mut at = 0;
    while let Some(page) = reached.get(at).cloned() {
        let (_, text) = pages.iter().find(|(name, _)| *name == page).unwrap();
        for (file, _) in links(&page, text) {
            if pages.iter().any(|(name, _)| *name == file) && !reached.contains(&file) {
                reached.push(file);
            }
        }
        at += 1;
    }
    for (name, _) in &pages {
        assert!(reached.contains(name), "no link leads from README.md to {name}");
    }
}

#[test]
fn every_path_is_the_packages_but_on_the_page_for_an_installation_by_hand() {
    for (page, text) in pages().iter().filter(|(page, _)| page != "docs/by-hand.md") {
        assert!(!text.contains("/opt/espm"), "{page} has a path that no package has");
    }
}

/// A text without what is between angle brackets.
fn untagged(text: &str) -> String {
    let mut parts = text.split('<');
    let first = parts.next().unwrap().to_owned();
    parts.filter_map(|part| part.split_once('>')).fold(first, |text, (_, rest)| text + " " + rest)
}

#[test]
fn each_picture_has_the_words_of_its_text() {
    let mut texts = Vec::new();
    files(&root().join("docs"), "dot", &mut texts);
    assert_eq!(texts.len(), 2);
    for (path, text) in texts {
        let picture = std::fs::read_to_string(path.with_extension("svg")).unwrap();
        let drawn = untagged(&picture).replace("&#39;", "'").replace("&#45;", "-").replace("&#160;", " ");
        let labels = text.split("label = \"").skip(1).filter_map(|rest| rest.split('"').next());
        let cells = text.split("<TD ").skip(1).filter_map(|rest| rest.split_once('>')?.1.split("</TD>").next());
        let labels: Vec<String> =
            labels.chain(cells).map(|label| untagged(label).replace("\\n", " ").replace("\\l", " ")).collect();
        assert!(labels.len() > 10, "{}", path.display());
        for word in labels.iter().flat_map(|label| label.split_whitespace()) {
            let there = drawn.split_whitespace().any(|found| found == word);
            assert!(there, "{}: {word:?} is not drawn; run docs/draw", path.display());
        }
    }
}

#[test]
fn recording_is_small_and_shows_no_key() {
    let recording = read("docs/demo.svg");
    assert!(recording.len() < 60_000, "docs/demo.svg has {} bytes", recording.len());
    assert!(recording.contains("Key of cloud") && recording.contains("•"), "docs/demo.svg does not show the set-up");
    let longest = recording.split(|c: char| !c.is_ascii_alphanumeric() && c != '-' && c != '_').map(str::len).max();
    assert!(longest < Some(48), "docs/demo.svg has a word as long as a key");
}

#[test]
fn table_of_the_layout_has_every_folder_of_src_and_names_only_modules_that_exist() {
    let page = read("docs/architecture.md");
    let table = page.split("| folder | holds |").nth(1).unwrap().split("\n\n").next().unwrap();
    let table: Vec<(&str, &str)> = rows(table).map(|row| (row[0].trim_matches('`'), row[1])).collect();
    let mut found: Vec<&str> = table.iter().map(|(folder, _)| *folder).collect();
    found.sort_unstable();
    let names = std::fs::read_dir(root().join("src")).unwrap().map(|entry| entry.unwrap().path());
    let mut folders: Vec<String> = names
        .map(|path| path.file_stem().unwrap().to_string_lossy().into_owned())
        .filter(|name| name != "lib")
        .collect();
    folders.sort_unstable();
    assert_eq!(found, folders, "the folders of docs/architecture.md, and those of src");
    for (folder, holds) in table {
        for module in quoted(holds).filter(|word| !word.contains(['-', '.'])) {
            let path = root().join("src").join(folder).join(module);
            assert!(path.is_dir() || path.with_extension("rs").exists(), "there is no src/{folder}/{module}");
        }
    }
}
