//! Patterns of names: literal text, in which `*` stands for any text.

/// A pattern: the literal texts between its stars.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern(Vec<String>);

impl Pattern {
    /// Parses a pattern; `None` where it is empty or holds a control character, so that it could match no name.
    pub fn parse(text: &str) -> Option<Self> {
        let good = !text.is_empty() && !text.chars().any(char::is_control);
        good.then(|| Self(text.split('*').map(str::to_owned).collect()))
    }

    /// Whether a name is one of this pattern.
    pub fn matches(&self, name: &str) -> bool {
        let Some((first, rest)) = self.0.split_first() else { return false };
        let Some((last, between)) = rest.split_last() else { return name == first };
        let Some(mut left) = name.strip_prefix(first.as_str()).and_then(|left| left.strip_suffix(last.as_str())) else {
            return false;
        };
        // The earliest place of each text leaves the most for those after it.
        between.iter().all(|text| match left.split_once(text.as_str()) {
            Some((_, after)) => {
                left = after;
                true
            }
            None => false,
        })
    }
}

/// Patterns of which a name has to match one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Patterns(Vec<Pattern>);

impl Patterns {
    /// Parses patterns with commas between them.
    ///
    /// # Errors
    /// The first that can match nothing.
    pub fn parse(text: &str, can_match: impl Fn(&str) -> bool) -> Result<Self, &str> {
        let parse = |text: &'_ str| Pattern::parse(text).filter(|_| can_match(text));
        text.split(',').map(str::trim).map(|text| parse(text).ok_or(text)).collect::<Result<_, _>>().map(Self)
    }

    /// Whether one of them matches a name.
    pub fn matches(&self, name: &str) -> bool {
        self.0.iter().any(|pattern| pattern.matches(name))
    }

    /// Whether one of them is `*` alone, which every name matches.
    pub fn match_all(&self) -> bool {
        self.0.iter().any(|pattern| pattern.0.iter().all(String::is_empty))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Pattern, Patterns};

    #[test]
    fn star_stands_for_any_text() {
        for (pattern, good, bad) in [
            ("web01", &["web01"][..], &["web0", "web011", "xweb01", "WEB01", ""][..]),
            ("*", &["", "a", "a b,c"], &[]),
            ("**", &["", "a"], &[]),
            ("web*", &["web", "web01"], &["we", "aweb"]),
            ("*.example.com", &[".example.com", "a.b.example.com"], &["example.com", "a.example.com.org"]),
            ("a*b*c", &["abc", "axxbyyc", "abbc", "abcbc"], &["ac", "acb", "bc", "abcx"]),
            // Its two ends are two texts, which cannot share letters.
            ("ab*ba", &["abba", "abxba"], &["aba", "ab", "ba"]),
            ("*ab*ab*", &["abab", "xabxabx"], &["ab", "aab", "aba"]),
            ("web servers", &["web servers"], &["web", "web  servers"]),
            ("ß*日本", &["ß日本", "ßx日本"], &["ss日本"]),
            ("[a-z]?", &["[a-z]?"], &["b", "ab"]),
        ] {
            let pattern = Pattern::parse(pattern).unwrap();
            for name in good {
                assert!(pattern.matches(name), "{pattern:?} {name:?}");
            }
            for name in bad {
                assert!(!pattern.matches(name), "{pattern:?} {name:?}");
            }
        }
    }

    #[test]
    fn commas_part_patterns_and_an_empty_one_is_refused() {
        let patterns = Patterns::parse("web servers ,db*", |_| true).unwrap();
        assert!(patterns.matches("web servers") && patterns.matches("db") && !patterns.matches("web servers ,db"));
        for (text, wrong) in [("", ""), ("a,", ""), ("a,,b", ""), ("a, x\ty", "x\ty"), ("a, B", "B")] {
            assert_eq!(Patterns::parse(text, |text| text != "B"), Err(wrong), "{text:?}");
        }
        let all = |text| Patterns::parse(text, |_| true).unwrap().match_all();
        assert!(all("*") && all("a, **") && !all("a*") && !all("*a, b"));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn pattern_matches_as_its_definition_says(pattern in "[ab*]{1,8}", name in "[ab]{0,8}") {
            fn defined(pattern: &str, name: &str) -> bool {
                match pattern.chars().next() {
                    None => name.is_empty(),
                    Some('*') => (0..=name.len()).any(|skipped| defined(&pattern[1..], &name[skipped..])),
                    Some(letter) => name.starts_with(letter) && defined(&pattern[1..], &name[1..]),
                }
            }
            prop_assert_eq!(Pattern::parse(&pattern).unwrap().matches(&name), defined(&pattern, &name));
        }
    }
}
