//! The JSON body of `POST /v1/nodes/{name}/certificate`, which may be missing.

use super::node_body::{self, Shape};
use super::request::{Body, Request};
use crate::authority::protocol::Asked;
use crate::model::extension::{ExtensionError, oid};
use crate::model::fault::{Fault, FieldError};
use crate::model::json::Json;
use crate::model::name::NodeName;
use crate::service::draft::CertificateDraft;

/// Reads a body; 400 when it is not JSON, all other errors are in the draft.
pub(crate) fn parse(request: &Request, name: &NodeName) -> Result<CertificateDraft, Fault> {
    let mut draft = CertificateDraft::default();
    if matches!(&request.body, Body::Whole(bytes) if bytes.is_empty()) {
        return Ok(draft);
    }
    let Json::Object(members) = node_body::json(node_body::bytes(request, Shape::New)?)? else {
        draft.errors.push(FieldError::new("", "must be a JSON object"));
        return Ok(draft);
    };
    let mut seen: Vec<String> = Vec::new();
    for (member, value) in members {
        if seen.contains(&member) {
            draft.errors.push(FieldError::new(member, "is given twice"));
            continue;
        }
        match member.as_str() {
            "extensions" => read_extensions(value, &mut draft),
            "csr" => read_csr(&value, name, &mut draft),
            _ => draft.errors.push(FieldError::new(&member, "is not known; extensions and csr are")),
        }
        seen.push(member);
    }
    let both = ["extensions", "csr"].iter().all(|member| seen.iter().any(|seen| seen == member));
    if both {
        draft.errors.push(FieldError::new("extensions", "cannot stand beside csr, which asks for them itself"));
    }
    Ok(draft)
}

fn read_extensions(value: Json, draft: &mut CertificateDraft) {
    let Json::Object(members) = value else {
        draft.errors.push(FieldError::new("extensions", "must be an object of strings"));
        return;
    };
    for (name, value) in members {
        let field = format!("extensions.{name}");
        let added = match value {
            Json::String(text) => draft.asked.extensions.add(&name, &text),
            _ => Err(if oid(&name).is_none() { ExtensionError::Name } else { ExtensionError::Value }),
        };
        match added {
            Ok(()) => draft.places.extend(oid(&name).map(|oid| (oid, field))),
            Err(error) => draft.errors.push(FieldError::new(field, error.to_string())),
        }
    }
}

fn read_csr(value: &Json, name: &NodeName, draft: &mut CertificateDraft) {
    let Json::String(text) = value else {
        draft.errors.push(FieldError::new("csr", "must be a string"));
        return;
    };
    match Asked::by_request(text, name) {
        Ok(asked) => draft.asked = asked,
        Err(errors) => draft.errors.extend(errors.into_iter().map(|error| FieldError::new("csr", error))),
    }
}
