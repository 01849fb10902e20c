//! A command's output as text: without colours, and short enough for a log.

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

/// What a log can hold of a command's output: its last lines, on one line.
pub fn excerpt(output: &str) -> String {
    let (lines, length) = EXCERPT;
    let all: Vec<_> = output.lines().map(plain).filter(|line| !line.trim().is_empty()).collect();
    let last = all.get(all.len().saturating_sub(lines)..).unwrap_or_default();
    let text = last.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" | ");
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(length).collect()
}

#[cfg(test)]
mod tests {
    use super::{excerpt, plain};

    #[test]
    fn colours_are_not_part_of_a_line() {
        assert_eq!(plain("\u{1b}[1;33mWarning\u{1b}[0m: x"), "Warning: x");
        assert_eq!(plain("half \u{1b}["), "half ");
    }

    #[test]
    fn an_excerpt_is_one_short_line() {
        assert_eq!(excerpt("1\n2\n3\n\n4\n5\n 6\u{0} \n"), "2 | 3 | 4 | 5 | 6 ");
        assert_eq!(excerpt(&"x".repeat(10_000)).len(), 500);
        assert_eq!(excerpt(""), "");
    }
}
