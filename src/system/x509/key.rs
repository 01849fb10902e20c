//! Keys: whether a private one belongs to a certificate.

use sha2::{Digest, Sha256};
use x509_parser::public_key::PublicKey;
use zeroize::Zeroizing;

use super::chain::{Certificate, ders};
use super::der::{BIT_STRING, INTEGER, OCTET_STRING, Reader, SEQUENCE, bits, context};
use super::pem::{Item, items};
use super::{X509Error, first, hex, magnitude};

/// Whether a private key (PKCS #1, PKCS #8 or SEC 1) belongs to the first certificate of a PEM text.
pub fn key_fits(certificate_pem: impl AsRef<[u8]>, key_pem: impl AsRef<[u8]>) -> Result<bool, X509Error> {
    Ok(key_of_certificate(certificate_pem)? == key_of_private(key_pem)?)
}

/// The identity of the public key of the first certificate in a PEM text.
/// The SHA-256 of its number, point or bits.
pub fn key_of_certificate(pem: impl AsRef<[u8]>) -> Result<String, X509Error> {
    let ders = ders(pem.as_ref())?;
    let certificate = Certificate::read(first(&ders)?)?;
    let info = certificate.parsed.public_key();
    Ok(identity(match info.parsed() {
        Ok(PublicKey::RSA(key)) => key.modulus,
        _ => &info.subject_public_key.data,
    }))
}

/// As [`key_of_certificate`], for the public key that belongs to a private one (PKCS #1, PKCS #8 or SEC 1).
pub fn key_of_private(pem: impl AsRef<[u8]>) -> Result<String, X509Error> {
    for item in items(pem.as_ref()) {
        let item = item?;
        let public = match &item {
            Item::Pkcs1Key(key) => modulus(key.secret_pkcs1_der()),
            Item::Sec1Key(key) => point(key.secret_sec1_der()),
            Item::Pkcs8Key(key) => pkcs8(key.secret_pkcs8_der()),
            _ => continue,
        };
        return public.map(identity).ok_or(X509Error::Unreadable("the private key"));
    }
    Err(X509Error::None("private key"))
}

fn identity(public: &[u8]) -> String {
    hex(&Sha256::digest(magnitude(public)))
}

/// How a private key is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyForm {
    Pkcs1,
    Pkcs8,
    Sec1,
}

/// The first private key of a PEM text, DER.
pub(crate) fn private_key(pem: impl AsRef<[u8]>) -> Result<(KeyForm, Zeroizing<Vec<u8>>), X509Error> {
    for item in items(pem.as_ref()) {
        let (form, der) = match &item? {
            Item::Pkcs1Key(key) => (KeyForm::Pkcs1, key.secret_pkcs1_der().to_vec()),
            Item::Pkcs8Key(key) => (KeyForm::Pkcs8, key.secret_pkcs8_der().to_vec()),
            Item::Sec1Key(key) => (KeyForm::Sec1, key.secret_sec1_der().to_vec()),
            _ => continue,
        };
        return Ok((form, Zeroizing::new(der)));
    }
    Err(X509Error::None("private key"))
}

/// The key inside a PrivateKeyInfo (RFC 5958, section 2).
pub(crate) fn unwrapped_key(der: &[u8]) -> Option<&[u8]> {
    let mut info = Reader(der).inside(SEQUENCE)?;
    info.content(INTEGER)?;
    info.content(SEQUENCE)?;
    info.content(OCTET_STRING)
}

/// The modulus in an RSAPrivateKey (RFC 8017, appendix A.1.2).
fn modulus(der: &[u8]) -> Option<&[u8]> {
    let mut key = Reader(der).inside(SEQUENCE)?;
    key.content(INTEGER)?;
    key.content(INTEGER)
}

/// The public point in an ECPrivateKey (RFC 5915, section 3).
pub(super) fn point(der: &[u8]) -> Option<&[u8]> {
    let mut key = Reader(der).inside(SEQUENCE)?;
    key.content(INTEGER)?;
    key.content(OCTET_STRING)?;
    let _curve = key.optional(context(0));
    bits(key.inside(context(1))?.content(BIT_STRING)?)
}

/// The public part of the key in a PrivateKeyInfo (RFC 5958, section 2).
pub(super) fn pkcs8(der: &[u8]) -> Option<&[u8]> {
    let key = unwrapped_key(der)?;
    modulus(key).or_else(|| point(key))
}
