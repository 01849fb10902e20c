//! INI text: sections of keys and values, with the line of each.
//!
//! What the INI reader would silently drop is an error: repeated sections and keys, and values with
//! a comment sign in them.

use std::collections::HashMap;

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

/// Reads a text.
///
/// # Errors
/// A sentence that names the section, the key or the line.
pub fn read(text: &str) -> Result<Vec<Section>, String> {
    let values: HashMap<String, HashMap<String, Option<String>>> = ini::inistr!(safe cs text)?;
    let mut sections: Vec<Section> = Vec::new();
    for (line, row) in (1..).zip(text.lines()) {
        let row = row.trim();
        if row.is_empty() || row.starts_with(['#', ';']) {
            continue;
        }
        if let Some(name) = row.strip_prefix('[') {
            let name = name.trim_end_matches(']').trim().to_owned();
            if sections.iter().any(|section| section.name == name) {
                return Err(format!("[{name}] line {line}: the section is there twice"));
            }
            sections.push(Section { name, line, entries: Vec::new() });
            continue;
        }
        let Some(section) = sections.last_mut() else {
            return Err(format!("line {line}: comes before the first [section]"));
        };
        let name = &section.name;
        let Some((key, value)) = row.split_once('=') else {
            // What follows may be a value, and a value may be secret.
            let word = row.split_whitespace().next().unwrap_or_default();
            return Err(format!("[{name}] line {line}: want KEY = VALUE, found {word:?} without '='"));
        };
        let key = key.trim().to_owned();
        if value.contains(['#', ';']) {
            return Err(format!("[{name}] {key}: a value holds no '#' or ';'; put comments on lines of their own"));
        }
        if section.entries.iter().any(|(other, _, _)| *other == key) {
            return Err(format!("[{name}] {key}: is given twice"));
        }
        let value = values.get(name).and_then(|keys| keys.get(&key)).cloned().flatten().unwrap_or_default();
        section.entries.push((key, value, line));
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
            ("k = 1", "line 1: comes before the first [section]"),
        ] {
            let found = read(text).unwrap_err();
            assert!(found.starts_with(message), "{found:?}");
        }
    }
}
