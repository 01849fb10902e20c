//! Values as YAML 1.1 that libyaml and SnakeYAML, and so every Puppet server, read back the same.
//!
//! Strings are in double quotes and ASCII alone, whatever encoding the reader assumes. So none can look like a number,
//! a date, a truth value or a merge key, or have a line's end or a control character in it.

use std::fmt::Write;

use serde_json::{Number, Value};

/// Most characters of a key that YAML finds without a question mark before it: it looks 1,024 ahead.
const MAX_KEY: usize = 512;

/// Quotes a string.
pub(super) fn quote(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        let _ = match c {
            '"' => write!(quoted, "\\\""),
            '\\' => write!(quoted, "\\\\"),
            '\n' => write!(quoted, "\\n"),
            '\t' => write!(quoted, "\\t"),
            ' '..='~' => write!(quoted, "{c}"),
            '\u{10000}'.. => write!(quoted, "\\U{:08x}", u32::from(c)),
            _ => write!(quoted, "\\u{:04x}", u32::from(c)),
        };
    }
    quoted.push('"');
    quoted
}

/// A line's beginning up to the value of a key.
pub(super) fn key(text: &str, indent: &str) -> String {
    match quote(text) {
        quoted if quoted.len() > MAX_KEY => format!("{indent}? {quoted}\n{indent}:"),
        quoted => format!("{indent}{quoted}:"),
    }
}

/// A value on one line.
pub(super) fn flow(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Number(number) => self::number(number),
        Value::String(text) => quote(text),
        Value::Array(items) => format!("[{}]", items.iter().map(flow).collect::<Vec<_>>().join(", ")),
        Value::Object(members) => mapping(members.iter().map(|(key, value)| (key.as_str(), value))),
    }
}

/// A hash on one line.
pub(super) fn mapping<'a>(members: impl Iterator<Item = (&'a str, &'a Value)>) -> String {
    let member = |(key, value): (&str, &Value)| match quote(key) {
        quoted if quoted.len() > MAX_KEY => format!("? {quoted} : {}", flow(value)),
        quoted => format!("{quoted}: {}", flow(value)),
    };
    format!("{{{}}}", members.map(member).collect::<Vec<_>>().join(", "))
}

/// A number; YAML 1.1 wants a point in a float, and the sign in its exponent that it has.
fn number(number: &Number) -> String {
    let text = number.to_string();
    match text.split_once('e') {
        Some((mantissa, exponent)) if !mantissa.contains('.') => format!("{mantissa}.0e{exponent}"),
        _ => text,
    }
}

/// JSON for what [`flow`] writes: of its escapes JSON lacks one.
pub(super) fn to_json(yaml: &str) -> Option<String> {
    let mut json = String::new();
    let mut rest = yaml;
    while let Some((before, after)) = rest.split_once('\\') {
        json.push_str(before);
        match after.strip_prefix('U') {
            Some(digits) => {
                let (digits, after) = digits.split_at_checked(8)?;
                json.push(u32::from_str_radix(digits, 16).ok().and_then(char::from_u32)?);
                rest = after;
            }
            None => {
                let (escaped, after) = after.split_at_checked(1)?;
                json.extend(["\\", escaped]);
                rest = after;
            }
        }
    }
    json.push_str(rest);
    Some(json)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{flow, key, to_json};

    #[test]
    fn value_is_ascii_on_one_line() {
        for (value, yaml) in [
            (
                json!("a\n\u{7f}\u{85}\u{2028}\u{feff}é\u{1F600}\"\\U"),
                r#""a\n\u007f\u0085\u2028\ufeff\u00e9\U0001f600\"\\U""#,
            ),
            (json!(["1", 1, 1.0, true, null, [], {}]), r#"["1", 1, 1.0, true, null, [], {}]"#),
            (json!({"b": {"~": "="}, "a": -1}), r#"{"a": -1, "b": {"~": "="}}"#),
            (json!([1e16, 1.5e-7, -2e-300, 0.1, -0.0]), "[1.0e+16, 1.5e-7, -2.0e-300, 0.1, -0.0]"),
        ] {
            assert_eq!(flow(&value), yaml);
            let read: Value = serde_json::from_str(&to_json(yaml).unwrap()).unwrap();
            assert_eq!(read, value);
        }
        for broken in ["\\", "\\U0001f60", "\\U0011ffff", "\\Uxxxxxxxx", "\\U\u{e9}\u{e9}\u{e9}\u{e9}x"] {
            assert_eq!(to_json(broken), None, "{broken}");
        }
    }

    #[test]
    fn long_key_has_a_question_mark() {
        let long = "k".repeat(600);
        assert_eq!(key(&long, "  "), format!("  ? \"{long}\"\n  :"));
        assert_eq!(flow(&json!({long.clone(): 1})), format!("{{? \"{long}\" : 1}}"));
    }
}
