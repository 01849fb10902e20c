//! What a new certificate has beyond what Puppet's CA puts into each.

use x509_parser::extensions::{GeneralName, ParsedExtension};

use super::chain::{Certificate, ders};
use super::{X509Error, first};

/// The extensions that Puppet's CA adds by itself: key identifiers, uses, basic constraints, the host's own name, and
/// Netscape's comment.
const USUAL: [&str; 7] =
    ["2.5.29.14", "2.5.29.15", "2.5.29.17", "2.5.29.19", "2.5.29.35", "2.5.29.37", "2.16.840.1.113730.1.13"];

/// The first extension, or other name, that nobody asked for in a certificate of that name.
/// A trusted fact such as `pp_role` decides at the master what the node may know.
pub fn surplus(certificate_pem: impl AsRef<[u8]>, name: &str) -> Result<Option<String>, X509Error> {
    let ders = ders(certificate_pem.as_ref())?;
    let certificate = Certificate::read(first(&ders)?)?.parsed;
    for extension in certificate.extensions() {
        let oid = extension.oid.to_id_string();
        let other = |other: &&GeneralName<'_>| !matches!(other, GeneralName::DNSName(own) if *own == name);
        match extension.parsed_extension() {
            _ if !USUAL.contains(&oid.as_str()) => return Ok(Some(format!("the extension {oid}"))),
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
