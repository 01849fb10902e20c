//! The extensions that a new certificate has beyond those that Puppet's CA puts into each, and those that it lacks.

use std::collections::BTreeMap;

use x509_parser::extensions::{GeneralName, ParsedExtension};

use super::chain::{Certificate, ders};
use super::der::{UTF8_STRING, element};
use super::{X509Error, first};

/// The extensions that Puppet's CA adds by itself: key identifiers, uses, basic constraints, the host's own name, and
/// Netscape's comment.
const USUAL: [&str; 7] =
    ["2.5.29.14", "2.5.29.15", "2.5.29.17", "2.5.29.19", "2.5.29.35", "2.5.29.37", "2.16.840.1.113730.1.13"];

/// The first extension, or other name, that nobody asked for in a certificate of that name.
/// A trusted fact such as `pp_role` decides at the master what the node may know. Those that were asked for are texts
/// by their object identifiers.
pub fn surplus(
    certificate_pem: impl AsRef<[u8]>,
    name: &str,
    asked: &BTreeMap<String, String>,
) -> Result<Option<String>, X509Error> {
    let ders = ders(certificate_pem.as_ref())?;
    let certificate = Certificate::read(first(&ders)?)?.parsed;
    for extension in certificate.extensions() {
        let oid = extension.oid.to_id_string();
        let other = |other: &&GeneralName<'_>| !matches!(other, GeneralName::DNSName(own) if *own == name);
        match extension.parsed_extension() {
            _ if !USUAL.contains(&oid.as_str()) => match asked.get(&oid) {
                Some(text) if is_text(extension.value, text) && !extension.critical => {}
                Some(_) => return Ok(Some(format!("another value of the extension {oid}"))),
                None => return Ok(Some(format!("the extension {oid}"))),
            },
            ParsedExtension::BasicConstraints(basic) if basic.ca => {
                return Ok(Some("the right to sign others".to_owned()));
            }
            ParsedExtension::SubjectAlternativeName(names) => {
                if let Some(other) = names.general_names.iter().find(other) {
                    return Ok(Some(format!("the other name {other}")));
                }
            }
            _ => {}
        }
    }
    Ok(None)
}

/// The first extension that was asked for and that a certificate has not.
pub fn lacking(
    certificate_pem: impl AsRef<[u8]>,
    asked: &BTreeMap<String, String>,
) -> Result<Option<String>, X509Error> {
    let has = extensions(certificate_pem)?;
    Ok(asked.keys().find(|oid| !has.contains_key(*oid)).cloned())
}

/// Whether a certificate has exactly the extensions that are asked for, beyond the usual.
pub fn has_exactly(certificate_pem: impl AsRef<[u8]>, asked: &BTreeMap<String, String>) -> Result<bool, X509Error> {
    let has = extensions(certificate_pem)?;
    let is_asked = |(oid, value): (&String, &Vec<u8>)| asked.get(oid).is_some_and(|text| is_text(value, text));
    Ok(has.len() == asked.len() && has.iter().all(is_asked))
}

/// The extensions of a certificate beyond the usual: their values in DER by object identifiers.
pub fn extensions(certificate_pem: impl AsRef<[u8]>) -> Result<BTreeMap<String, Vec<u8>>, X509Error> {
    let ders = ders(certificate_pem.as_ref())?;
    let certificate = Certificate::read(first(&ders)?)?.parsed;
    let all = certificate.extensions().iter().map(|extension| (extension.oid.to_id_string(), extension.value.to_vec()));
    Ok(all.filter(|(oid, _)| !USUAL.contains(&oid.as_str())).collect())
}

/// The value of an extension that is a text: the UTF8String in DER.
pub fn utf8_string(text: &str) -> Vec<u8> {
    element(UTF8_STRING, text.as_bytes())
}

/// Whether the value of an extension is this text, which is not empty and has no controls.
/// Early releases of Puppet wrote the text as it is.
fn is_text(value: &[u8], text: &str) -> bool {
    value == utf8_string(text) || value == text.as_bytes()
}
