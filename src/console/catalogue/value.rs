//! Values in the catalogue.

use crate::model::json::Json;
use crate::model::value::Value;

/// Reads a value: JSON, or else a string as it stands. No error quotes it: a value may be secret.
pub(super) fn read_value(text: &str) -> Result<Value, String> {
    if text.is_empty() {
        return Err("is empty; write \"\" for an empty string".to_owned());
    }
    let json = match serde_json::from_str::<Json>(text) {
        Ok(Json::Null) => return Err("null is no value; write \"null\" for that word".to_owned()),
        Ok(Json::Number(number)) if number.to_string() != text => {
            return Err(
                "JSON has another way to write this number; put it in double quotes to keep it as text".to_owned()
            );
        }
        Ok(json) => json,
        Err(error) if text.starts_with(['[', '{', '"']) => {
            let place = error.column();
            return Err(format!(
                "begins as JSON, and is none at its character {place}; correct it, or write a string as \"...\""
            ));
        }
        Err(_) => return Ok(text.into()),
    };
    let mut twice = Vec::new();
    let value = json.into_value("", &mut twice);
    if let Some(place) = twice.first() {
        return Err(format!("{place} is there twice; leave one out"));
    }
    Value::parse(value).map_err(|flaws| flaws.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::read_value;

    #[test]
    fn value_is_json_or_else_a_string_as_it_stands() {
        for (text, value) in [
            ("web", json!("web")),
            ("a b, c: \"d\"", json!("a b, c: \"d\"")),
            ("\"1\"", json!("1")),
            ("\"\"", json!("")),
            ("\"a\\nb \\u0023\"", json!("a\nb #")),
            ("1", json!(1)),
            ("-1.5", json!(-1.5)),
            ("true", json!(true)),
            ("True", json!("True")),
            ("007", json!("007")),
            ("1.2.3", json!("1.2.3")),
            ("{\"a\": [1, null]}", json!({"a": [1, null]})),
        ] {
            assert_eq!(read_value(text).unwrap().json(), &value, "{text}");
        }
        // The last three would lose something of what was written.
        for text in ["", "null", "[1", "{a: 1}", "\"a", "[[[[[[[[[1]]]]]]]]]", "{\"a\":1,\"a\":2}", "1.10", "1e3"] {
            assert!(read_value(text).is_err(), "{text}");
        }
    }
}
