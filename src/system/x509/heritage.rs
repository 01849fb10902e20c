//! The parts of a certificate that its successor takes over.

use std::net::IpAddr;

use x509_parser::extensions::GeneralName;
use x509_parser::public_key::PublicKey;

use super::chain::{Certificate, ders};
use super::{X509Error, first};

/// The parts of a certificate that its successor takes over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heritage {
    /// The host names and addresses that it is for.
    pub names: Vec<String>,
    /// Whether its key is RSA.
    pub rsa: bool,
    /// The issuer's name, unless it is its own issuer.
    pub issuer: Option<String>,
}

/// Reads them from the first certificate of a PEM text.
pub fn heritage(pem: impl AsRef<[u8]>) -> Result<Heritage, X509Error> {
    let ders = ders(pem.as_ref())?;
    let certificate = Certificate::read(first(&ders)?)?;
    let parsed = &certificate.parsed;
    let names = parsed.subject_alternative_name().map_err(|_| X509Error::Unreadable("the certificate"))?;
    let name = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => Ok((*name).to_owned()),
        GeneralName::IPAddress(bytes) => address(bytes).ok_or(X509Error::Unreadable("an address of the certificate")),
        _ => Err(X509Error::Unreadable("a name that is neither a host's nor an address")),
    };
    Ok(Heritage {
        names: names.iter().flat_map(|names| &names.value.general_names).map(name).collect::<Result<_, _>>()?,
        rsa: matches!(parsed.public_key().parsed(), Ok(PublicKey::RSA(_))),
        issuer: (certificate.issuer != certificate.subject).then(|| parsed.issuer().to_string()),
    })
}

/// An address (RFC 5280, section 4.2.1.6): 4 bytes or 16.
fn address(bytes: &[u8]) -> Option<String> {
    let four = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    let address = four.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()?;
    Some(address.to_string())
}
