//! Text for a log: without colours, without secrets, short, with the causes of an error.

use std::error::Error;

/// Lines and characters of an excerpt.
const EXCERPT: (usize, usize) = (5, 500);

/// A line without terminal colours (ECMA-48 control sequences).
pub fn plain(line: &str) -> String {
    let mut text = String::new();
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        if c == '\u{1b}' {
            chars.by_ref().skip_while(|c| *c == '[').find(|c| ('@'..='~').contains(c));
        } else {
            text.push(c);
        }
    }
    text
}

/// The last lines of a command's output on one line, for a log.
pub fn excerpt(output: &str) -> String {
    let (lines, length) = EXCERPT;
    let all: Vec<_> = output.lines().map(plain).filter(|line| !line.trim().is_empty()).collect();
    let last = all.get(all.len().saturating_sub(lines)..).unwrap_or_default();
    let text = last.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" | ");
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(length).collect()
}

/// An error and the causes behind it, on one line.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}

/// A number and its noun.
pub fn count(number: usize, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

/// The mark of a hidden word.
const HIDDEN: &str = "[...]";

/// Letters from which on a part of a value is searched in longer words.
const PART: usize = 3;

/// A text without the words that may tell something about these values, which may be secret.
///
/// A command that fails quotes what it was given, and escapes or cuts it in its own way. So a word goes when any
/// part of it is in a value, or a part of a value is in it, whatever the case, and when it has an escape in it.
/// One of two letters or one sign tells nothing and stays.
pub fn without(text: &str, values: &[String]) -> String {
    if values.is_empty() {
        return text.to_owned();
    }
    let values: Vec<_> = values.iter().map(|value| value.to_lowercase()).collect();
    let parts: Vec<_> = values.iter().flat_map(|value| parts(value)).filter(|part| part.len() >= PART).collect();
    let tells = |word: &str| {
        if word.len() <= 2 && (word.len() == 1 || word.bytes().all(|b| b.is_ascii_alphabetic())) {
            return word.bytes().any(|b| b.is_ascii_digit());
        }
        let lower = word.to_lowercase();
        let in_value = |part: &str| values.iter().any(|value| value.contains(part));
        let sign = lower.trim_matches(['\'', '"', '`', '(', ')', ',', ';']);
        word.contains(['\\', '%', char::REPLACEMENT_CHARACTER])
            || self::parts(&lower).any(in_value)
            || parts.iter().any(|part| lower.contains(part))
            || (!sign.is_empty() && in_value(sign))
    };
    let words = text.split_whitespace().map(|word| if tells(word) { HIDDEN } else { word });
    words.collect::<Vec<_>>().join(" ")
}

/// The runs of letters and digits in a text.
fn parts(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric()).filter(|part| !part.is_empty())
}

#[cfg(test)]
mod tests {
    use super::{count, excerpt, plain, without};

    #[test]
    fn one_is_not_many() {
        let said = [0, 1, 2].map(|number| count(number, "class", "classes"));
        assert_eq!(said, ["0 classes", "1 class", "2 classes"]);
    }

    #[test]
    fn value_is_hidden_however_a_command_quotes_it() {
        let values = ["hunter2 it's-ü".to_owned(), "a/b".to_owned(), "!!".to_owned()];
        for quoted in [
            "VALUES('web01', 'hunter2 it\\'s-ü')",
            "near 'hunt' at line 1",
            "[\"password\", \"HUNTER2 it's-\\303\\274\"]",
            "xhunter2x",
            "passwordhunter2=",
            "ter2 it",
            "it%27s",
            "(a/b)",
            "'!!'",
        ] {
            let shown = without(quoted, &values).to_lowercase();
            for part in ["hun", "ter2", "it's", "27", "s-", "303", "a/b", "!!"] {
                assert!(!shown.contains(part), "{quoted}: {shown}");
            }
        }
        let text = "console: rake failed: Mysql::Error: Unknown column 'description' in 'INSERT INTO'";
        assert_eq!(without(text, &values), text);
        assert_eq!(without("a  b", &[]), "a  b");
    }

    #[test]
    fn colours_are_not_part_of_a_line() {
        assert_eq!(plain("\u{1b}[1;33mWarning\u{1b}[0m: x"), "Warning: x");
        assert_eq!(plain("half \u{1b}["), "half ");
    }

    #[test]
    fn excerpt_is_one_short_line() {
        assert_eq!(excerpt("1\n2\n3\n\n4\n5\n 6\u{0} \n"), "2 | 3 | 4 | 5 | 6 ");
        assert_eq!(excerpt(&"x".repeat(10_000)).len(), 500);
        assert_eq!(excerpt(""), "");
    }
}
