//! X.509 certificates and revocation lists (RFC 5280) in PEM, as far as espm reads them.
//!
//! Everything here is a pure reader. espm believes what a CA's command says only after these readers agree. They
//! agree with openssl about what they accept, and refuse what they cannot judge.

mod chain;
mod der;
mod heritage;
mod key;
mod list;
mod name;
mod pem;
mod request;
mod signature;
mod spki;
mod surplus;

use std::collections::BTreeSet;
use std::io::BufRead;

use data_encoding::HEXUPPER;
use sha2::{Digest, Sha256};
use thiserror::Error;
use x509_parser::extensions::GeneralName;

use self::chain::{Certificate, ders, until};
pub use self::heritage::heritage;
pub(crate) use self::key::{KeyForm, private_key, unwrapped_key};
pub use self::key::{key_fits, key_of_certificate, key_of_private};
use self::list::Serials;
pub use self::list::lost;
pub(crate) use self::pem::to_pem;
pub use self::request::{CertificateRequest, RequestError, is_signed_by_its_key, request};
pub use self::spki::{is_signed_by, signer, spki};
pub use self::surplus::{extensions, has_exactly, lacking, surplus, utf8_string};
use crate::system::clock::rfc3339;

/// Seconds by which a clock may be behind that of the CA.
pub(crate) const SKEW: i64 = 300;

/// The last moment that a certificate can name: 9999-12-31T23:59:59Z.
const LAST: i64 = 253_402_300_799;

/// Why a certificate, key or revocation list is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[expect(missing_docs, reason = "its text says what a variant is")]
pub enum X509Error {
    #[error("there is no {0}")]
    None(&'static str),
    #[error("{0} cannot be read")]
    Unreadable(&'static str),
    #[error("the certificate's subject has not exactly one common name")]
    CommonName,
    #[error("the certificate is not signed by the CA")]
    NotSigned,
    #[error("espm cannot verify signatures of this algorithm by this kind of key")]
    Algorithm,
    #[error("the certificate has an extension that espm does not judge: {0}")]
    Extension(String),
    #[error("a certificate of the chain is valid only from {from} on; set the clock", from = rfc3339(*.0))]
    NotYet(i64),
    #[error("a certificate of the chain ended at {end}; renew it, or set the clock", end = rfc3339(*.0))]
    Ended(i64),
    #[error("the revocation list is not signed by the CA")]
    ListSignature,
    #[error("there is only a list of changes, or of some certificates, and no whole revocation list")]
    PartOfList,
    #[error("the CA's certificate does not let it sign revocation lists")]
    MayNotSignLists,
    #[error("the revocation list is valid only from {from} on; set the clock", from = rfc3339(*.0))]
    ListNotYet(i64),
    #[error("the revocation list ended at {end}; revoke any certificate, which makes a new list", end = rfc3339(*.0))]
    ListEnded(i64),
}

/// The identity and validity of a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The subject's only common name.
    pub common_name: String,
    /// The serial number, as `openssl x509 -serial` prints it.
    pub serial: String,
    /// The SHA-256 fingerprint, as `openssl x509 -fingerprint -sha256` prints it.
    pub fingerprint: String,
    /// The start of its validity, in seconds since 1970.
    pub not_before: i64,
    /// The end of its validity, in seconds since 1970.
    pub not_after: i64,
}

/// The identity of the first certificate in a PEM text.
pub fn identity(pem: impl AsRef<[u8]>) -> Result<Identity, X509Error> {
    let ders = ders(pem.as_ref())?;
    let certificate = Certificate::read(first(&ders)?)?;
    let mut names = certificate.parsed.subject().iter_common_name();
    let common_name = names.next().and_then(|name| name.as_str().ok());
    let (Some(common_name), None) = (common_name, names.next()) else { return Err(X509Error::CommonName) };
    let fingerprint = Sha256::digest(certificate.parsed.as_raw()).map(|byte| HEXUPPER.encode(&[byte])).join(":");
    let not_before = certificate.parsed.validity().not_before.timestamp();
    if certificate.not_after() > LAST {
        return Err(X509Error::Unreadable("the end of the certificate"));
    }
    Ok(Identity {
        common_name: common_name.to_owned(),
        serial: number(certificate.serial()),
        fingerprint,
        not_before,
        not_after: certificate.not_after(),
    })
}

/// The certificates in a PEM text, DER.
pub(crate) fn certificates(pem: impl AsRef<[u8]>) -> Result<Vec<Vec<u8>>, X509Error> {
    ders(pem.as_ref())
}

/// The host names in the first certificate of a PEM text (RFC 5280, section 4.2.1.6).
pub fn dns_names(pem: impl AsRef<[u8]>) -> Result<Vec<String>, X509Error> {
    let ders = ders(pem.as_ref())?;
    let certificate = Certificate::read(first(&ders)?)?;
    let names = certificate.parsed.subject_alternative_name();
    let names = names.map_err(|_| X509Error::Unreadable("the certificate"))?;
    let names = names.into_iter().flat_map(|names| &names.value.general_names);
    Ok(names
        .filter_map(|name| match name {
            GeneralName::DNSName(name) => Some((*name).to_owned()),
            _ => None,
        })
        .collect())
}

/// Verifies the first certificate of a PEM text against a CA's bundle.
/// Signatures up to a self-signed root of the bundle, each issuer a CA, each certificate valid at that time
/// (seconds since 1970).
pub fn verify(certificate_pem: impl AsRef<[u8]>, bundle_pem: impl AsRef<[u8]>, at: i64) -> Result<(), X509Error> {
    let (leaf, bundle) = (ders(certificate_pem.as_ref())?, ders(bundle_pem.as_ref())?);
    let bundle = Certificate::read_all(&bundle)?;
    until(&Certificate::read(first(&leaf)?)?, &bundle, at).map(drop)
}

/// The end of a CA, at which the first certificate of its chain ends (seconds since 1970).
/// The first certificate of the bundle is the one that signs.
///
/// # Errors
/// When what the CA signs at that time would not verify.
pub fn ca_until(bundle_pem: impl AsRef<[u8]>, at: i64) -> Result<i64, X509Error> {
    let bundle = ders(bundle_pem.as_ref())?;
    let bundle = Certificate::read_all(&bundle)?;
    until(first(&bundle)?, &bundle, at)
}

/// The end of a CA's revocation list, if it has one (seconds since 1970).
/// The first certificate of the bundle is the one that signs.
///
/// # Errors
/// As [`is_revoked`], for what the CA signs.
pub fn list_until(bundle_pem: impl AsRef<[u8]>, lists_pem: impl BufRead, at: i64) -> Result<Option<i64>, X509Error> {
    let bundle = ders(bundle_pem.as_ref())?;
    let bundle = Certificate::read_all(&bundle)?;
    let said = list::newest(lists_pem, &[first(&bundle)?], &bundle, &Serials::new(), at)?;
    match said.until {
        Some(until) if until < at => Err(X509Error::ListEnded(until)),
        until => Ok(until),
    }
}

/// Whether a certificate's serial is in the newest revocation list that its issuer has signed.
/// The bundle has the issuer, the PEM with the lists may hold those of several CAs.
///
/// # Errors
/// When any of them cannot be read, the issuer or its list is missing, or the list has ended without that serial.
pub fn is_revoked(
    certificate_pem: impl AsRef<[u8]>,
    lists_pem: impl BufRead,
    bundle_pem: impl AsRef<[u8]>,
    at: i64,
) -> Result<bool, X509Error> {
    let (leaf, bundle) = (ders(certificate_pem.as_ref())?, ders(bundle_pem.as_ref())?);
    let (leaf, bundle) = (Certificate::read(first(&leaf)?)?, Certificate::read_all(&bundle)?);
    let mut ca = Vec::new();
    for one in &bundle {
        if one.has_signed(&leaf)? {
            ca.push(one);
        }
    }
    let said = list::newest(lists_pem, &ca, &bundle, &Serials::from([leaf.serial().to_vec()]), at)?;
    match said.until {
        Some(until) if until < at && said.revoked.is_empty() => Err(X509Error::ListEnded(until)),
        _ => Ok(!said.revoked.is_empty()),
    }
}

/// What a CA's newest revocation list says about some serial numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revoked {
    /// Those that are in it.
    pub serials: BTreeSet<String>,
    /// When the list ended, if it has: then it says nothing about the others.
    pub ended: Option<i64>,
}

/// As [`is_revoked`], for serial numbers in hexadecimal of the CA that signs, which keeps no copy of what was renewed.
/// The lists are read once.
pub fn revoked_among(
    serials: &BTreeSet<String>,
    lists_pem: impl BufRead,
    bundle_pem: impl AsRef<[u8]>,
    at: i64,
) -> Result<Revoked, X509Error> {
    let bundle = ders(bundle_pem.as_ref())?;
    let bundle = Certificate::read_all(&bundle)?;
    let numbers = serials.iter().map(|serial| content(serial)).collect::<Result<Vec<_>, _>>()?;
    let said = list::newest(lists_pem, &[first(&bundle)?], &bundle, &numbers.iter().cloned().collect(), at)?;
    let revoked = serials.iter().zip(numbers).filter(|(_, number)| said.revoked.contains(number));
    Ok(Revoked {
        serials: revoked.map(|(serial, _)| serial.clone()).collect(),
        ended: said.until.filter(|until| *until < at),
    })
}

fn first<T>(certificates: &[T]) -> Result<&T, X509Error> {
    certificates.first().ok_or(X509Error::None("certificate"))
}

/// The content of an INTEGER without zeros that do not count (X.690, section 8.3).
fn integer(content: &[u8]) -> &[u8] {
    match content {
        [0, next, ..] if next & 0x80 == 0 => integer(content.get(1..).unwrap_or_default()),
        _ => content,
    }
}

/// The content of an INTEGER of a number in hexadecimal.
fn content(number: &str) -> Result<Vec<u8>, X509Error> {
    let unreadable = X509Error::Unreadable("the serial number");
    let mut content = HEXUPPER.decode(number.as_bytes()).map_err(|_| unreadable)?;
    if content.first().is_some_and(|first| first & 0x80 != 0) {
        content.insert(0, 0);
    }
    Ok(integer(&content).to_vec())
}

/// The content of an INTEGER in hexadecimal, as openssl prints it.
fn number(content: &[u8]) -> String {
    if content.first().is_none_or(|first| first & 0x80 == 0) {
        return hex(content);
    }
    // In two's complement: each bit the other way round, and one more.
    let mut carry = true;
    let mut magnitude: Vec<u8> = content
        .iter()
        .rev()
        .map(|byte| {
            let (sum, over) = (!byte).overflowing_add(u8::from(carry));
            carry = over;
            sum
        })
        .collect();
    magnitude.reverse();
    format!("-{}", hex(&magnitude))
}

/// A big-endian number without its leading zeros.
fn magnitude(bytes: &[u8]) -> &[u8] {
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    bytes.get(zeros..).unwrap_or_default()
}

/// A big-endian number in whole bytes.
fn hex(number: &[u8]) -> String {
    let digits = HEXUPPER.encode(magnitude(number));
    if digits.is_empty() { "00".to_owned() } else { digits }
}
