//! Requests for certificates (PKCS #10, RFC 2986), as clients send them.
//!
//! Strict: a CA may read what is odd in another way. So a request has one reading, or it is refused; and what is sent on
//! is written anew from what was read.

use data_encoding::BASE64;
use thiserror::Error;

use super::der::{
    BIT_STRING, BOOLEAN, Element, INTEGER, OCTET_STRING, OID, Reader, SEQUENCE, SET, UTF8_STRING, bits, context, dotted,
};
use super::magnitude;
use super::pem::{Item, items};
use super::signature::Signed;
use super::spki::{RSA, digest};

/// `commonName` (RFC 5280, appendix A.1).
const COMMON_NAME: &[u8] = &[0x55, 4, 3];

/// `extensionRequest` (RFC 2985, section 5.4.2).
const EXTENSION_REQUEST: &str = "1.2.840.113549.1.9.14";

/// The attribute with which agents ask for certificates that they can renew.
const AUTO_RENEW: &str = "1.3.6.1.4.1.34380.1.3.2";

const SUBJECT_ALT_NAME: &str = "2.5.29.17";

/// A `dNSName` in a `GeneralName` (RFC 5280, section 4.2.1.6).
const DNS_NAME: u8 = 0x82;

const PRINTABLE_STRING: u8 = 0x13;

/// Bits of the modulus of an RSA key.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

/// `AlgorithmIdentifier` of P-256 and P-384 (RFC 5480, section 2.1.1), each with the length of its points.
const CURVES: [(&[u8], usize); 2] = [
    (&[0x30, 19, 6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1, 6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7], 65),
    (&[0x30, 16, 6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1, 6, 5, 0x2b, 0x81, 4, 0, 0x22], 97),
];

/// Signatures by SHA-256, SHA-384 and SHA-512, of RSA (RFC 4055, section 5) and ECDSA (RFC 5758, section 3.2).
const SIGNATURES: [&[u8]; 6] = [
    &[6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 13, 1, 1, 11, 5, 0],
    &[6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 13, 1, 1, 12, 5, 0],
    &[6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 13, 1, 1, 13, 5, 0],
    &[6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2],
    &[6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 3],
    &[6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 4],
];

/// Why a request is refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RequestError {
    /// It is not PEM, or there is something else in it.
    #[error("must be one certificate request in PEM, as 'openssl req -new' prints it, and nothing else")]
    Pem,
    /// It is not read in the one way that counts.
    #[error("is no PKCS #10 request that espm can read")]
    Unreadable,
    /// Its subject is another's, or has more than a common name.
    #[error("has another subject than CN={0} alone")]
    Subject(String),
    /// Its key is of another kind, or too short.
    #[error("has a key that is neither RSA of 2048 to 8192 bits nor of the curve P-256 or P-384")]
    Key,
    /// Its signature is by another key, or by a digest that does not count any more.
    #[error("is not signed by its own key with SHA-256, SHA-384 or SHA-512")]
    Signature,
    /// It has an attribute, such as a password, that nobody needs.
    #[error("has the attribute {0}, or has it in a form that espm does not read; leave it out")]
    Attribute(String),
    /// It asks for other names.
    #[error("has another subjectAltName than DNS:{0}, or marks it as critical")]
    OtherName(String),
    /// An extension that is not a text.
    #[error("has the extension {0} twice, marked as critical, or not as an ASN.1 UTF8String")]
    Extension(String),
}

/// A request that can be sent to the CA.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateRequest {
    /// The request alone, PEM.
    pub pem: String,
    /// SHA-256 of its public key, as [`super::spki`] gives it.
    pub key: String,
    /// The texts that it asks for as extensions, by their object identifiers.
    pub extensions: Vec<(String, String)>,
}

/// Judges a request for a certificate of that name, but for its signature: see [`is_signed_by_its_key`].
///
/// # Errors
/// Everything that is wrong.
pub fn request(pem: impl AsRef<[u8]>, name: &str) -> Result<CertificateRequest, Vec<RequestError>> {
    let mut found = items(pem.as_ref());
    let (Some(Ok(Item::Csr(der))), None) = (found.next(), found.next()) else { return Err(vec![RequestError::Pem]) };
    let parts = Parts::read(&der).ok_or_else(|| vec![RequestError::Unreadable])?;
    let mut errors = Vec::new();
    if !parts.has_subject(name) {
        errors.push(RequestError::Subject(name.to_owned()));
    }
    if !is_strong(parts.key) {
        errors.push(RequestError::Key);
    } else if !SIGNATURES.contains(&parts.signed.algorithm()) {
        errors.push(RequestError::Signature);
    }
    let extensions = parts.extensions(name, &mut errors);
    if errors.is_empty() {
        Ok(CertificateRequest { pem: write(&der), key: digest(parts.key), extensions })
    } else {
        Err(errors)
    }
}

/// Whether a request's own key has signed it. A program that verifies signatures is larger by a half and starts later,
/// so a handler leaves this to espm-helper.
pub fn is_signed_by_its_key(pem: impl AsRef<[u8]>) -> bool {
    let Some(Ok(Item::Csr(der))) = items(pem.as_ref()).next() else { return false };
    Parts::read(&der).is_some_and(|parts| parts.signed.is_by(parts.key) == Ok(true))
}

/// A CertificationRequest (RFC 2986, section 4).
struct Parts<'a> {
    subject: Reader<'a>,
    key: &'a [u8],
    attributes: Vec<(String, Element<'a>)>,
    signed: Signed<'a>,
}

impl<'a> Parts<'a> {
    fn read(der: &'a [u8]) -> Option<Self> {
        let signed = Signed::read_request(der)?;
        let mut info = Reader(signed.body()).inside(SEQUENCE)?;
        let version = info.content(INTEGER)?;
        let subject = info.inside(SEQUENCE)?;
        let key = info.optional(SEQUENCE)?.whole;
        let mut left = if info.is_empty() { info } else { info.inside(context(0))? };
        let mut attributes = Vec::new();
        while !left.is_empty() {
            let mut attribute = left.inside(SEQUENCE)?;
            let oid = dotted(attribute.content(OID)?)?;
            let mut values = attribute.inside(SET)?;
            let value = values.element()?;
            (values.is_empty() && attribute.is_empty()).then(|| attributes.push((oid, value)))?;
        }
        (info.is_empty() && version == [0]).then_some(Self { subject, key, attributes, signed })
    }

    fn has_subject(&self, name: &str) -> bool {
        let mut names = self.subject;
        let Some(mut set) = names.inside(SET) else { return false };
        let Some(mut pair) = set.inside(SEQUENCE) else { return false };
        let kind = pair.content(OID);
        let text = pair.element().filter(|text| [UTF8_STRING, PRINTABLE_STRING].contains(&text.tag));
        let alone = names.is_empty() && set.is_empty() && pair.is_empty();
        alone && kind == Some(COMMON_NAME) && text.is_some_and(|text| text.content == name.as_bytes())
    }

    /// The texts that it asks for as extensions.
    fn extensions(&self, name: &str, errors: &mut Vec<RequestError>) -> Vec<(String, String)> {
        let mut extensions = Vec::new();
        for (place, (oid, value)) in self.attributes.iter().enumerate() {
            let again = self.attributes.iter().take(place).any(|(earlier, _)| earlier == oid);
            let good = match oid.as_str() {
                _ if again => false,
                AUTO_RENEW => [UTF8_STRING, PRINTABLE_STRING].contains(&value.tag) && value.content == b"true",
                EXTENSION_REQUEST => {
                    let read = (value.tag == SEQUENCE).then(|| requested(Reader(value.content))).flatten();
                    read.map(|read| judge(read, name, &mut extensions, errors)).is_some()
                }
                _ => false,
            };
            if !good {
                errors.push(RequestError::Attribute(oid.clone()));
            }
        }
        extensions
    }
}

/// An extension that is asked for: its object identifier, whether it is marked as critical, and its value.
type Requested<'a> = (String, bool, &'a [u8]);

/// Extensions (RFC 5280, section 4.1).
fn requested(mut list: Reader<'_>) -> Option<Vec<Requested<'_>>> {
    let mut extensions = Vec::new();
    while !list.is_empty() {
        let mut extension = list.inside(SEQUENCE)?;
        let oid = dotted(extension.content(OID)?)?;
        let critical = extension.optional(BOOLEAN).is_some();
        let value = extension.content(OCTET_STRING)?;
        extension.is_empty().then(|| extensions.push((oid, critical, value)))?;
    }
    Some(extensions)
}

fn judge(
    requested: Vec<Requested<'_>>,
    name: &str,
    extensions: &mut Vec<(String, String)>,
    errors: &mut Vec<RequestError>,
) {
    let mut seen = Vec::new();
    for (oid, critical, value) in requested {
        let again = seen.contains(&oid);
        seen.push(oid.clone());
        if oid == SUBJECT_ALT_NAME {
            if critical || again || !names_only(value, name) {
                errors.push(RequestError::OtherName(name.to_owned()));
            }
            continue;
        }
        match text(value) {
            Some(text) if !critical && !again => extensions.push((oid, text)),
            _ => errors.push(RequestError::Extension(oid)),
        }
    }
}

/// Whether a `SubjectAltName` has this host's name alone.
fn names_only(value: &[u8], name: &str) -> bool {
    let mut whole = Reader(value);
    let Some(mut names) = whole.inside(SEQUENCE) else { return false };
    names.content(DNS_NAME) == Some(name.as_bytes()) && names.is_empty() && whole.is_empty()
}

fn text(value: &[u8]) -> Option<String> {
    let mut whole = Reader(value);
    let text = whole.content(UTF8_STRING).filter(|_| whole.is_empty())?;
    String::from_utf8(text.to_vec()).ok()
}

/// Whether a key (SubjectPublicKeyInfo in DER) is of a kind that agents and Puppet servers take, and strong.
fn is_strong(key: &[u8]) -> bool {
    let Some(mut info) = Reader(key).inside(SEQUENCE) else { return false };
    let algorithm = info.optional(SEQUENCE).map(|algorithm| algorithm.whole);
    let Some(public) = info.content(BIT_STRING).and_then(bits).filter(|_| info.is_empty()) else { return false };
    if algorithm == Some(RSA) {
        return rsa_bits(public).is_some_and(|bits| RSA_BITS.contains(&bits));
    }
    let uncompressed = public.first() == Some(&4);
    uncompressed && CURVES.iter().any(|(curve, length)| algorithm == Some(curve) && public.len() == *length)
}

/// The bits of an RSAPublicKey's modulus (RFC 8017, appendix A.1.1).
fn rsa_bits(public: &[u8]) -> Option<usize> {
    let mut whole = Reader(public);
    let mut key = whole.inside(SEQUENCE)?;
    let modulus = key.content(INTEGER).filter(|modulus| modulus.first().is_some_and(|first| first & 0x80 == 0))?;
    key.content(INTEGER)?;
    let modulus = magnitude(modulus);
    let zeros = modulus.first()?.leading_zeros();
    (key.is_empty() && whole.is_empty()).then_some(modulus.len() * 8 - usize::try_from(zeros).ok()?)
}

/// A request in PEM (RFC 7468, section 7).
fn write(der: &[u8]) -> String {
    let text = BASE64.encode(der);
    let lines = text.as_bytes().chunks(64).map(|line| String::from_utf8_lossy(line) + "\n").collect::<String>();
    format!("-----BEGIN CERTIFICATE REQUEST-----\n{lines}-----END CERTIFICATE REQUEST-----\n")
}
