//! INI text: sections of keys and values, with the line of each.
//!
//! Repeated sections and keys and values with a comment sign, which the INI reader would drop silently, are errors.

use std::collections::HashMap;

use thiserror::Error;

/// A section's keys, in the order of the text.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Section {
    /// The name between the brackets.
    pub name: String,
    /// Its line.
    pub line: usize,
    /// Keys, their values and their lines.
    pub entries: Vec<(String, String, usize)>,
}

/// Why a text is not read: the section, the key or the line, and what is wrong.
#[derive(Debug, Error)]
#[expect(missing_docs, reason = "its text says what a variant is")]
pub enum IniError {
    #[error("{0}")]
    Reader(String),
    #[error("[{name}] line {line}: the section is there twice")]
    SectionTwice { name: String, line: usize },
    #[error("line {line}: comes before the first [section]")]
    NoSection { line: usize },
    #[error("[{name}] line {line}: want KEY = VALUE, found {word:?} without '='")]
    NoValue { name: String, line: usize, word: String },
    #[error("[{name}] {key}: a value holds no '#' or ';'; put comments on lines of their own")]
    Comment { name: String, key: String },
    #[error("[{name}] {key}: is given twice")]
    KeyTwice { name: String, key: String },
    #[error("[{name}] line {line}: {key}: a key holds no ':'; write KEY = VALUE")]
    Colon { name: String, line: usize, key: String },
}

/// Reads a text.
pub fn read(text: &str) -> Result<Vec<Section>, IniError> {
    let mut values: HashMap<String, HashMap<String, Option<String>>> =
        ini::inistr!(safe cs text).map_err(IniError::Reader)?;
    // The values of the section at hand: each is taken out of what was read, not copied.
    let mut of_section = HashMap::new();
    let mut sections: Vec<Section> = Vec::new();
    for (line, row) in (1..).zip(text.lines()) {
        let row = row.trim();
        if row.is_empty() || row.starts_with(['#', ';']) {
            continue;
        }
        if let Some(name) = row.strip_prefix('[') {
            let name = name.trim_end_matches(']').trim().to_owned();
            if sections.iter().any(|section| section.name == name) {
                return Err(IniError::SectionTwice { name, line });
            }
            of_section = values.remove(&name).unwrap_or_default();
            sections.push(Section { name, line, entries: Vec::new() });
            continue;
        }
        let Some(section) = sections.last_mut() else {
            return Err(IniError::NoSection { line });
        };
        let name = || section.name.clone();
        let Some((key, value)) = row.split_once('=') else {
            // The rest may be a value, and a value may be secret.
            let word = row.split_whitespace().next().unwrap_or_default().to_owned();
            return Err(IniError::NoValue { name: name(), line, word });
        };
        let key = key.trim();
        // The INI reader would end the key there.
        if key.contains(':') {
            return Err(IniError::Colon { name: name(), line, key: key.to_owned() });
        }
        if value.contains(['#', ';']) {
            return Err(IniError::Comment { name: name(), key: key.to_owned() });
        }
        if section.entries.iter().any(|(other, _, _)| other == key) {
            return Err(IniError::KeyTwice { name: name(), key: key.to_owned() });
        }
        let (key, value) = of_section.remove_entry(key).unwrap_or_else(|| (key.to_owned(), None));
        section.entries.push((key, value.unwrap_or_default(), line));
    }
    Ok(sections)
}

#[cfg(test)]
mod tests {
    use super::read;

    #[test]
    fn sections_keys_and_lines_are_kept() {
        let sections = read("# x\n[a b]\nk = v = w\n\n[c]\nempty =\n").unwrap();
        assert_eq!(sections[0].name, "a b");
        assert_eq!(sections[0].entries, [("k".to_owned(), "v = w".to_owned(), 3)]);
        assert_eq!(sections[1].entries, [("empty".to_owned(), String::new(), 6)]);
    }

    #[test]
    fn what_would_be_dropped_is_an_error() {
        for (text, message) in [
            ("[a]\nk = 1\nk = 2", "[a] k: is given twice"),
            ("[a]\n[b]\n[a]", "[a] line 3: the section is there twice"),
            ("[a]\nk = 1 ; old", "[a] k: a value holds no '#' or ';'"),
            ("[a]\nk secret", "[a] line 2: want KEY = VALUE, found \"k\" without '='"),
            ("[a]\nk: b = 1", "[a] line 2: k: b: a key holds no ':'"),
            ("k = 1", "line 1: comes before the first [section]"),
        ] {
            let found = read(text).unwrap_err().to_string();
            assert!(found.starts_with(message), "{found:?}");
        }
    }
}
