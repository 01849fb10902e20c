//! logfmt: one bounded line of `name=value` pairs; no value can forge a pair or a line.

/// Bytes of a record.
/// RFC 3164 allows 1024 with the header, and some syslogs cut there.
pub(super) const MAX_RECORD: usize = 900;

/// Bytes of one value.
/// Eight of them and the fixed fields stay below [`MAX_RECORD`].
const MAX_VALUE: usize = 120;

/// Joins names by commas; a long list ends with the number of those left out.
pub(super) fn list(names: impl ExactSizeIterator<Item = String>) -> String {
    let total = names.len();
    let mut text = String::new();
    for (done, name) in names.enumerate() {
        if text.len() + name.len() > MAX_VALUE - 20 {
            let rest = total - done;
            return format!("{text}{}+{rest} more", if done == 0 { "" } else { "," });
        }
        if done > 0 {
            text.push(',');
        }
        text.push_str(&name);
    }
    text
}

/// Joins `name=value` pairs; a value that is more than a plain word is quoted.
pub(super) fn logfmt<'a>(fields: impl IntoIterator<Item = (&'a str, &'a String)>) -> String {
    let mut record = String::new();
    for (name, value) in fields {
        let separator = if record.is_empty() { "" } else { " " };
        let plain = !value.is_empty()
            && value.len() <= MAX_VALUE
            && value.bytes().all(|b| b.is_ascii_alphanumeric() || b"._:/@+-".contains(&b));
        let field = if plain {
            format!("{separator}{name}={value}")
        } else {
            format!("{separator}{name}=\"{}\"", escape(value, MAX_VALUE))
        };
        if record.len() + field.len() <= MAX_RECORD {
            record.push_str(&field);
        }
    }
    record
}

/// Escapes what could end a value, a pair or a record, and cuts at so many bytes.
pub(super) fn escape(value: &str, limit: usize) -> String {
    let mut escaped = String::new();
    for c in value.chars() {
        let piece = match c {
            '"' | '\\' => format!("\\{c}"),
            ' '..='~' => c.to_string(),
            _ if c.is_alphanumeric() => c.to_string(),
            _ => format!("\\u{{{:x}}}", u32::from(c)),
        };
        if escaped.len() + piece.len() > limit {
            escaped.push_str("...");
            break;
        }
        escaped.push_str(&piece);
    }
    escaped
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{MAX_RECORD, MAX_VALUE, escape, list};

    fn logfmt(fields: &[(&str, String)]) -> String {
        super::logfmt(fields.iter().map(|(name, value)| (*name, value)))
    }

    #[test]
    fn no_input_can_forge_a_field_or_a_record() {
        let forged = "x\" outcome=created\nevent=node.add\r\u{0}\u{2028}\u{202e}\u{9b}";
        let record = logfmt(&[("addr", forged.to_owned())]);
        assert_eq!(record, r#"addr="x\" outcome=created\u{a}event=node.add\u{d}\u{0}\u{2028}\u{202e}\u{9b}""#);
        assert_eq!(logfmt(&[("a", String::new()), ("b", "x=y".to_owned())]), r#"a="" b="x=y""#);
    }

    #[test]
    fn record_is_bounded_whatever_is_in_it() {
        let long = "\u{0}".repeat(10_000);
        let fields: Vec<_> = (0..20).map(|_| ("field", long.clone())).collect();
        assert!(logfmt(&fields).len() <= MAX_RECORD);
        assert_eq!(logfmt(&[("a", "x".repeat(500))]), format!("a=\"{}...\"", "x".repeat(MAX_VALUE)));
        assert!(escape(&long, 100).ends_with("..."));
    }

    #[test]
    fn long_list_is_cut_with_a_count() {
        let names = |count: usize| (0..count).map(|i| format!("group-number-{i}")).collect::<Vec<_>>();
        assert_eq!(list(names(2).into_iter()), "group-number-0,group-number-1");
        assert!(list(names(50).into_iter()).ends_with(",+44 more"), "{}", list(names(50).into_iter()));
        assert_eq!(list(vec!["x".repeat(500)].into_iter()), "+1 more");
    }

    /// Takes a record apart as a reader of logfmt does.
    fn fields(record: &str) -> Vec<(String, String)> {
        let mut fields = Vec::new();
        let mut rest = record;
        while !rest.is_empty() {
            let (name, after) = rest.split_once('=').unwrap();
            let mut value = String::new();
            rest = match after.strip_prefix('"') {
                None => {
                    let (plain, rest) = after.split_once(' ').unwrap_or((after, ""));
                    value.push_str(plain);
                    rest
                }
                Some(quoted) => {
                    let mut chars = quoted.chars();
                    loop {
                        match chars.next().unwrap() {
                            '"' => break,
                            '\\' => match chars.next().unwrap() {
                                'u' => {
                                    let code: String = chars.by_ref().skip(1).take_while(|c| *c != '}').collect();
                                    value.push(char::from_u32(u32::from_str_radix(&code, 16).unwrap()).unwrap());
                                }
                                sign => value.push(sign),
                            },
                            c => value.push(c),
                        }
                    }
                    chars.as_str().strip_prefix(' ').unwrap_or(chars.as_str())
                }
            };
            fields.push((name.to_owned(), value));
        }
        fields
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn record_is_one_short_line_that_is_read_back_as_it_was_meant(
            values in proptest::collection::vec(prop_oneof![".{0,40}", "[ \"\\\\=u{}a]{0,200}", "\\PC{0,150}", "[a-z.]{0,130}"], 0..12),
        ) {
            let names = ["event", "outcome", "status", "request", "client", "addr", "node", "groups", "classes", "x", "y", "z"];
            let given: Vec<_> = names.into_iter().zip(values).collect();
            let record = logfmt(&given);
            prop_assert!(record.len() <= MAX_RECORD);
            let forges = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202e}');
            prop_assert!(!record.contains(forges));
            let mut read = fields(&record).into_iter().peekable();
            for (name, value) in &given {
                let Some((_, found)) = read.next_if(|(found, _)| found == name) else {
                    // Left out whole, for want of room.
                    prop_assert!(record.len() > MAX_RECORD / 2);
                    continue;
                };
                let cut = found.strip_suffix("...").is_some_and(|start| value.starts_with(start));
                prop_assert!(found == *value || cut, "{name}: {found:?} {value:?}");
            }
            prop_assert_eq!(read.next(), None);
        }
    }
}
