//! JSON as it was written: members in order, repeated ones kept.
//!
//! JSON libraries disagree about which of two members counts, so espm refuses both where it reads what others wrote.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Number, Value};

/// JSON (RFC 8259).
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the variants are JSON's types")]
pub enum Json {
    Null,
    Bool(bool),
    Number(Number),
    String(String),
    Array(Vec<Json>),
    Object(Vec<(String, Json)>),
}

impl Json {
    /// The value, and the places of members that are there twice, such as `.a[0].b`.
    pub fn into_value(self, place: &str, twice: &mut Vec<String>) -> Value {
        match self {
            Self::Null => Value::Null,
            Self::Bool(value) => value.into(),
            Self::Number(value) => value.into(),
            Self::String(value) => value.into(),
            Self::Array(items) => {
                let items = items.into_iter().enumerate();
                items.map(|(index, item)| item.into_value(&format!("{place}[{index}]"), twice)).collect()
            }
            Self::Object(members) => {
                let mut object = serde_json::Map::new();
                for (name, member) in members {
                    let place = format!("{place}.{name}");
                    let member = member.into_value(&place, twice);
                    if object.insert(name, member).is_some() {
                        twice.push(place);
                    }
                }
                object.into()
            }
        }
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(JsonVisitor)
    }
}

struct JsonVisitor;

impl<'de> Visitor<'de> for JsonVisitor {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }
    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }
    fn visit_bool<E>(self, value: bool) -> Result<Json, E> {
        Ok(Json::Bool(value))
    }
    fn visit_i64<E>(self, value: i64) -> Result<Json, E> {
        Ok(Json::Number(value.into()))
    }
    fn visit_u64<E>(self, value: u64) -> Result<Json, E> {
        Ok(Json::Number(value.into()))
    }
    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Json, E> {
        Number::from_f64(value).map(Json::Number).ok_or_else(|| E::custom("a number is finite"))
    }
    fn visit_str<E>(self, text: &str) -> Result<Json, E> {
        Ok(Json::String(text.to_owned()))
    }
    fn visit_string<E>(self, text: String) -> Result<Json, E> {
        Ok(Json::String(text))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Json, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(Json::Array(items))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Json, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry()? {
            members.push(member);
        }
        Ok(Json::Object(members))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::Json;

    #[test]
    fn what_is_there_twice_is_named_with_its_place() {
        let json: Json = serde_json::from_str(r#"{"a":[{"b":1,"b":2}],"c":-1.5,"c":null,"d":[true,"x"]}"#).unwrap();
        let mut twice = Vec::new();
        let value = json.into_value("parameters", &mut twice);
        assert_eq!(value, json!({"a": [{"b": 2}], "c": null, "d": [true, "x"]}));
        assert_eq!(twice, ["parameters.a[0].b", "parameters.c"]);
    }
}
