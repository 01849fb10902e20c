//! Values of parameters: JSON that YAML and Puppet read back the same.
//!
//! Refused is whatever one of them would read as something else: integers beyond Puppet's, the hash key that YAML
//! merges. A console that rake runs takes a [`ParameterValue`](super::name::ParameterValue) alone.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Number, Value as Json};

use super::name::{ClassName, ParameterName};

/// The value of a parameter: any JSON but `null`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Json", into = "Json")]
pub struct Value(Json);

/// A part of a value that cannot be read back, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flaw {
    /// The place in the value, such as `.a[0]`; empty for the value itself.
    pub place: String,
    /// The rule that it breaks.
    pub why: &'static str,
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.place.as_str() {
            "" => f.write_str(self.why),
            place => write!(f, "{place}: {}", self.why),
        }
    }
}

impl Value {
    /// Most arrays and hashes inside one another.
    pub const MAX_DEPTH: usize = 8;

    /// Parses a value.
    ///
    /// # Errors
    /// With all that would not be read back the same.
    pub fn parse(json: Json) -> Result<Self, Vec<Flaw>> {
        if json.is_null() {
            return Err(vec![Flaw { place: String::new(), why: "is null, which is no value" }]);
        }
        let mut flaws = Vec::new();
        look(&json, 0, "", &mut flaws);
        if flaws.is_empty() { Ok(Self(json)) } else { Err(flaws) }
    }

    /// The JSON.
    pub fn json(&self) -> &Json {
        &self.0
    }

    /// The text of a string.
    pub fn as_str(&self) -> Option<&str> {
        self.0.as_str()
    }

    /// All strings in it.
    pub fn strings(&self) -> Vec<&str> {
        fn add<'a>(json: &'a Json, all: &mut Vec<&'a str>) {
            match json {
                Json::String(text) => all.push(text),
                Json::Array(items) => items.iter().for_each(|item| add(item, all)),
                Json::Object(members) => members.iter().for_each(|(key, member)| {
                    all.push(key);
                    add(member, all);
                }),
                Json::Null | Json::Bool(_) | Json::Number(_) => {}
            }
        }
        let mut all = Vec::new();
        add(&self.0, &mut all);
        all
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl From<Value> for Json {
    fn from(value: Value) -> Self {
        value.0
    }
}

impl TryFrom<Json> for Value {
    type Error = String;
    fn try_from(json: Json) -> Result<Self, String> {
        Self::parse(json).map_err(|flaws| flaws.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
    }
}

/// Looks for flaws at this depth and below.
fn look(json: &Json, depth: usize, place: &str, flaws: &mut Vec<Flaw>) {
    fn flaw(flaws: &mut Vec<Flaw>, place: &str, why: &'static str) {
        flaws.push(Flaw { place: place.to_owned(), why });
    }
    match json {
        Json::Number(number) if !is_puppets(number) => {
            flaw(flaws, place, "a number is from -9223372036854775808 to 9223372036854775807; write others as strings");
        }
        Json::Array(_) | Json::Object(_) if depth == Value::MAX_DEPTH => {
            flaw(flaws, place, "a value has at most 8 arrays and hashes inside one another");
        }
        Json::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                look(item, depth + 1, &format!("{place}[{index}]"), flaws);
            }
        }
        Json::Object(members) => {
            for (key, member) in members {
                let place = format!("{place}.{key}");
                if key == "<<" {
                    flaw(flaws, &place, "a hash has no key \"<<\": YAML would merge its value into the hash");
                }
                look(member, depth + 1, &place, flaws);
            }
        }
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => {}
    }
}

/// True for a number that Puppet reads back the same: its integers have 64 bits.
///
/// JSON's reader makes a float of a longer integer, so the same bound holds for floats.
fn is_puppets(number: &Number) -> bool {
    const BOUND: f64 = 9_223_372_036_854_775_808.0;
    number.is_i64() || number.as_f64().is_some_and(|float| number.is_f64() && float.abs() < BOUND)
}

/// Parameters by name.
pub type Parameters = BTreeMap<ParameterName, Value>;

/// Parameters of classes.
pub type ClassParameters = BTreeMap<ClassName, Parameters>;

/// Parameters to set, or, with `None`, to remove.
pub type Settings = Vec<(ParameterName, Option<Value>)>;

/// Reads parameters of which none comes twice: which value would count, nobody could tell.
///
/// # Errors
/// When one does, or a name or a value is none.
pub fn parameters_that_come_once<'de, D, V>(deserializer: D) -> Result<BTreeMap<ParameterName, V>, D::Error>
where
    D: Deserializer<'de>,
    V: Deserialize<'de>,
{
    struct Once<V>(std::marker::PhantomData<V>);

    impl<'de, V: Deserialize<'de>> Visitor<'de> for Once<V> {
        type Value = BTreeMap<ParameterName, V>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("parameters")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut parameters = BTreeMap::new();
            while let Some((name, value)) = map.next_entry::<ParameterName, V>()? {
                let twice = format!("the parameter {name} comes twice");
                if parameters.insert(name, value).is_some() {
                    return Err(A::Error::custom(twice));
                }
            }
            Ok(parameters)
        }
    }

    deserializer.deserialize_map(Once(std::marker::PhantomData))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::{Parameters, Value, parameters_that_come_once};

    fn flaws(text: &str) -> Vec<String> {
        let json = serde_json::from_str(text).unwrap();
        Value::parse(json).err().into_iter().flatten().map(|flaw| flaw.place).collect()
    }

    #[test]
    fn whatever_would_be_read_as_something_else_is_refused_with_its_place() {
        for good in [
            "\"\"",
            "\"a,b\\u0000\\n\"",
            "true",
            "0",
            "-9223372036854775808",
            "9223372036854775807",
            "1.5e-300",
            "-0.0",
            "1e18",
            "[]",
            "{}",
            "[null, {\"a\": null}]",
            "[[[[[[[[1]]]]]]]]",
        ] {
            assert_eq!(flaws(good), [""; 0], "{good}");
        }
        for (bad, places) in [
            ("null", vec![""]),
            ("9223372036854775808", vec![""]),
            ("18446744073709551616", vec![""]),
            ("-9223372036854775809", vec![""]),
            ("1e300", vec![""]),
            ("[1, [1e19], {\"a\": 1e19, \"<<\": [1e19]}]", vec!["[1][0]", "[2].<<", "[2].<<[0]", "[2].a"]),
            ("[[[[[[[[[1]]]]]]]]]", vec!["[0][0][0][0][0][0][0][0]"]),
        ] {
            assert_eq!(flaws(bad), places, "{bad}");
        }
    }

    #[test]
    fn number_is_read_as_the_nearest_that_there_is() {
        // The quick way of JSON's reader is off by one in the last place.
        let text = "-5.745607168888042e-302";
        let read: f64 = serde_json::from_str(text).unwrap();
        assert_eq!(read, text.parse::<f64>().unwrap());
        for number in ["1.7976931348623157e18", "0.1", "123456.789e-8", "8.41e-298"] {
            assert_eq!(serde_json::from_str::<f64>(number).unwrap(), number.parse::<f64>().unwrap(), "{number}");
        }
    }

    #[test]
    fn value_that_is_read_from_json_is_parsed_again() {
        assert_eq!(serde_json::from_str::<Value>("[1]").unwrap().json(), &json!([1]));
        let error = serde_json::from_str::<Value>("{\"a\": 1e30}").unwrap_err().to_string();
        assert!(error.starts_with(".a: a number is from"), "{error}");
        assert_eq!(Value::parse(json!({"a": ["b", 1], "c": "d"})).unwrap().strings(), ["a", "b", "c", "d"]);
        assert_eq!(Json::from(Value::from("x")), json!("x"));
    }

    #[test]
    fn parameter_that_is_read_from_json_comes_once() {
        let read = |json: &str| -> Result<Parameters, _> {
            parameters_that_come_once(&mut serde_json::Deserializer::from_str(json))
        };
        assert_eq!(read(r#"{"a":"1","b":"1"}"#).unwrap().len(), 2);
        assert!(read(r#"{"a":"1","a":"1"}"#).is_err());
    }
}
