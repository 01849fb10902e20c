//! The JSON bodies (RFC 8259) of `POST /v1/nodes` and `PATCH /v1/nodes/{name}`.
//!
//! One answer has all the errors of a body. Repeated members are refused, since JSON libraries disagree about which
//! of them counts.

use super::request::{Body, Request};
use crate::model::fault::{Fault, FieldError};
use crate::model::json::Json;
use crate::model::name::{ClassName, EnvironmentName, GroupName, NameError, NodeName, ParameterName};
use crate::model::problem::Problem;
use crate::model::value::{Settings, Value};
use crate::service::draft::{Draft, Placed};

/// The kind of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// A new node: `name` is needed, no parameter is `null`.
    New,
    /// A change: there is no `name`.
    Change,
}

/// Returns the bytes of a JSON body; 413, 415, or 400 for a truncated one.
pub(crate) fn bytes(request: &Request, shape: Shape) -> Result<&[u8], Fault> {
    let bytes = match &request.body {
        Body::Whole(bytes) => bytes,
        Body::TooLarge => return Err(Fault::new(Problem::TooLarge, "a body has at most 65536 bytes")),
        Body::Truncated => {
            return Err(Fault::new(Problem::BadRequest, "the body is shorter than its Content-Length"));
        }
    };
    let media_type = request.content_type.as_deref().unwrap_or_default();
    let essence = media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if essence != "application/json" && !(essence == "application/merge-patch+json" && shape == Shape::Change) {
        return Err(Fault::new(Problem::UnsupportedMediaType, "send Content-Type: application/json"));
    }
    Ok(bytes)
}

/// Reads JSON; 400 when it is not JSON.
pub(super) fn json(bytes: &[u8]) -> Result<Json, Fault> {
    serde_json::from_slice(bytes).map_err(|error| {
        let place = format!("the body is not JSON: line {}, column {}", error.line(), error.column());
        Fault::new(Problem::BadJson, place).because(error)
    })
}

/// The members of a new node.
const MEMBERS: &str = "name, groups, classes, parameters, environment and class_parameters";

/// Reads a body; 400 when it is not JSON, all other errors are in the draft.
pub fn parse(request: &Request, shape: Shape) -> Result<Draft, Fault> {
    let json = json(bytes(request, shape)?)?;
    let mut draft = Draft::default();
    let Json::Object(members) = json else {
        draft.errors.push(FieldError::new("", "must be a JSON object"));
        return Ok(draft);
    };
    let mut seen: Vec<String> = Vec::new();
    for (name, value) in members {
        if seen.contains(&name) {
            draft.errors.push(FieldError::new(name, "is given twice"));
            continue;
        }
        seen.push(name.clone());
        match name.as_str() {
            "name" if shape == Shape::New => draft.name = read_name(&value, &mut draft.errors),
            "groups" => draft.groups = Some(read_list(&name, &value, GroupName::parse, &mut draft.errors)),
            "classes" => draft.classes = Some(read_list(&name, &value, ClassName::parse, &mut draft.errors)),
            "parameters" => draft.parameters = read_parameters(&name, value, shape, &mut draft.errors),
            "environment" => draft.environment = read_environment(&value, shape, &mut draft.errors),
            "class_parameters" => draft.class_parameters = read_classes(value, shape, &mut draft.errors),
            "name" => draft.errors.push(FieldError::new("name", "a node's name cannot be changed")),
            _ => draft.errors.push(FieldError::new(name, format!("is not known; {MEMBERS} are"))),
        }
    }
    if shape == Shape::New && !seen.iter().any(|member| member == "name") {
        draft.errors.push(FieldError::new("name", "is missing"));
    }
    Ok(draft)
}

fn read_name(value: &Json, errors: &mut Vec<FieldError>) -> Option<NodeName> {
    let Json::String(text) = value else {
        errors.push(FieldError::new("name", "must be a string"));
        return None;
    };
    NodeName::parse(text).map_err(|error| errors.push(FieldError::new("name", error.to_string()))).ok()
}

fn read_list<T: PartialEq>(
    member: &str,
    value: &Json,
    parse: impl Fn(&str) -> Result<T, NameError>,
    errors: &mut Vec<FieldError>,
) -> Vec<Placed<T>> {
    let Json::Array(items) = value else {
        errors.push(FieldError::new(member, "must be a list of strings"));
        return Vec::new();
    };
    let mut names: Vec<Placed<T>> = Vec::new();
    for (index, item) in items.iter().enumerate() {
        let field = || format!("{member}[{index}]");
        let parsed = match item {
            Json::String(text) => parse(text).map_err(|error| error.to_string()),
            _ => Err("must be a string".to_owned()),
        };
        match parsed {
            Ok(name) if names.iter().any(|placed| placed.name == name) => {
                errors.push(FieldError::new(field(), "is in the list twice"));
            }
            Ok(name) => names.push(Placed { index, name }),
            Err(detail) => errors.push(FieldError::new(field(), detail)),
        }
    }
    names
}

fn read_environment(value: &Json, shape: Shape, errors: &mut Vec<FieldError>) -> Option<Option<EnvironmentName>> {
    let parsed = match value {
        Json::String(text) => EnvironmentName::parse(text).map(Some).map_err(|error| error.to_string()),
        Json::Null if shape == Shape::Change => Ok(None),
        _ => Err("must be a string".to_owned()),
    };
    parsed.map_err(|detail| errors.push(FieldError::new("environment", detail))).ok()
}

/// Reads parameters to set, or with `null` to remove.
fn read_parameters(member: &str, value: Json, shape: Shape, errors: &mut Vec<FieldError>) -> Settings {
    let Json::Object(members) = value else {
        errors.push(FieldError::new(member, "must be an object of parameters"));
        return Vec::new();
    };
    let mut parameters = Settings::new();
    for (name, value) in members {
        let field = format!("{member}.{name}");
        let parsed = match value {
            Json::Null if shape == Shape::Change => Some(None),
            value => read_value(&field, value, errors).map(Some),
        };
        match ParameterName::parse(&name) {
            Ok(name) if parameters.iter().any(|(other, _)| *other == name) => {
                errors.push(FieldError::new(field, "is given twice"));
            }
            Ok(name) => parameters.extend(parsed.map(|value| (name, value))),
            Err(error) => errors.push(FieldError::new(field, error.to_string())),
        }
    }
    parameters
}

fn read_value(field: &str, json: Json, errors: &mut Vec<FieldError>) -> Option<Value> {
    let mut twice = Vec::new();
    let value = json.into_value(field, &mut twice);
    let known = errors.len();
    errors.extend(twice.into_iter().map(|place| FieldError::new(place, "is given twice")));
    let parsed = Value::parse(value).map_err(|flaws| {
        errors.extend(flaws.into_iter().map(|flaw| FieldError::new(format!("{field}{}", flaw.place), flaw.why)));
    });
    parsed.ok().filter(|_| errors.len() == known)
}

fn read_classes(value: Json, shape: Shape, errors: &mut Vec<FieldError>) -> Vec<(ClassName, Option<Settings>)> {
    let Json::Object(members) = value else {
        errors.push(FieldError::new("class_parameters", "must be an object of classes"));
        return Vec::new();
    };
    let mut classes: Vec<(ClassName, Option<Settings>)> = Vec::new();
    for (name, value) in members {
        let field = format!("class_parameters.{name}");
        let settings = match value {
            Json::Null if shape == Shape::Change => None,
            value => Some(read_parameters(&field, value, shape, errors)),
        };
        match ClassName::parse(&name) {
            Ok(name) if classes.iter().any(|(other, _)| *other == name) => {
                errors.push(FieldError::new(field, "is given twice"));
            }
            Ok(name) => classes.push((name, settings)),
            Err(error) => errors.push(FieldError::new(field, error.to_string())),
        }
    }
    classes
}

#[cfg(test)]
mod tests {
    use super::{Draft, Shape, parse};
    use crate::http::request::{Body, Method, Request};
    use crate::model::fault::Fault;
    use crate::model::problem::Problem;

    fn request(content_type: &str, body: &[u8]) -> Request {
        Request {
            method: Method::Post,
            path: "/v1/nodes".into(),
            addr: "-".into(),
            https: true,
            psk: None,
            content_type: Some(content_type.into()),
            if_none_match: None,
            no_cache: false,
            idempotency_key: None,
            body: Body::Whole(body.into()),
        }
    }

    fn read(body: &str, shape: Shape) -> Result<Draft, Fault> {
        parse(&request("application/json; charset=utf-8", body.as_bytes()), shape)
    }

    fn wrong(body: &str, shape: Shape) -> Vec<String> {
        read(body, shape).unwrap().errors.into_iter().map(|error| error.field).collect()
    }

    #[test]
    fn merge_patch_makes_no_node() {
        let judged = |content_type: &str, shape| {
            parse(&request(content_type, b"{}"), shape).map_err(|fault| fault.problem).err()
        };
        let merge = "application/merge-patch+json";
        assert_eq!(judged(merge, Shape::Change), None);
        for (media_type, shape) in [(merge, Shape::New), ("text/plain", Shape::Change), ("", Shape::New)] {
            assert_eq!(judged(media_type, shape), Some(Problem::UnsupportedMediaType), "{media_type} {shape:?}");
        }
        assert_eq!(judged("Application/JSON ; charset=utf-8", Shape::New), None);
    }

    #[test]
    fn missing_lists_are_empty() {
        let draft = read(r#"{"name":"web01"}"#, Shape::New).unwrap();
        assert!(draft.errors.is_empty() && draft.groups.is_none() && draft.parameters.is_empty());
    }

    #[test]
    fn all_that_is_wrong_is_said_at_once() {
        let body = r#"{"groups":["a","a","b,c",1],"classes":"x","parameters":{"A":"1","b":1e30,"c":null,"d":"x,y"},"x":1,
                "environment":"a-b","class_parameters":{"a":{"b":null,"C":[1e30]},"b,c":{},"d":1}}"#;
        let fields = wrong(body, Shape::New);
        let expected = [
            "groups[1]",
            "groups[2]",
            "groups[3]",
            "classes",
            "parameters.A",
            "parameters.b",
            "parameters.c",
            "x",
            "environment",
            "class_parameters.a.b",
            "class_parameters.a.C[0]",
            "class_parameters.a.C",
            "class_parameters.b,c",
            "class_parameters.d",
            "name",
        ];
        assert_eq!(fields, expected);
    }

    #[test]
    fn repeated_members_are_refused() {
        assert_eq!(wrong(r#"{"name":"a","name":"b"}"#, Shape::New), ["name"]);
        assert_eq!(wrong(r#"{"parameters":{"a":"1","a":"2"}}"#, Shape::Change), ["parameters.a"]);
        assert_eq!(wrong(r#"{"parameters":{"a":[{"b":1,"b":2}]}}"#, Shape::Change), ["parameters.a[0].b"]);
        let body = r#"{"class_parameters":{"a":{"b":1,"b":2},"c":null,"c":{}}}"#;
        assert_eq!(wrong(body, Shape::Change), ["class_parameters.a.b", "class_parameters.c"]);
    }

    #[test]
    fn what_is_of_another_type_is_not_taken_as_missing() {
        for value in ["null", "1", "\"x\"", "[]", "{}", "true"] {
            for (member, good) in [
                ("name", "\"x\""),
                ("groups", "[]"),
                ("classes", "[]"),
                ("parameters", "{}"),
                ("environment", "\"x\""),
                ("class_parameters", "{}"),
            ] {
                let body = match member {
                    "name" => format!(r#"{{"name":{value}}}"#),
                    _ => format!(r#"{{"name":"a","{member}":{value}}}"#),
                };
                let expected: &[&str] = if value == good { &[] } else { &[member] };
                assert_eq!(wrong(&body, Shape::New), expected, "{body}");
            }
        }
    }

    #[test]
    fn change_has_no_name_and_may_remove_parameters() {
        assert_eq!(wrong(r#"{"name":"a"}"#, Shape::Change), ["name"]);
        let body = r#"{"parameters":{"a":null},"environment":null,"class_parameters":{"a":null,"b":{"c":null}}}"#;
        let draft = read(body, Shape::Change).unwrap();
        assert!(draft.errors.is_empty() && draft.parameters[0].1.is_none() && draft.environment == Some(None));
        assert!(draft.class_parameters[0].1.is_none() && draft.values().next().is_none());
    }

    #[test]
    fn what_is_not_json_says_line_and_column() {
        let fault = read("{\n \"name\": }", Shape::New).unwrap_err();
        assert_eq!(fault.problem, Problem::BadJson);
        assert_eq!(fault.detail, "the body is not JSON: line 2, column 10");
        for bad in ["", "\u{feff}{}", "{} {}", "{\"name\":\"\u{1}\"}", &"[".repeat(200)] {
            assert!(read(bad, Shape::New).is_err(), "{bad:?}");
        }
        assert_eq!(wrong("[]", Shape::New), [""]);
    }
}
