//! Public keys, told apart by the SHA-256 of their SubjectPublicKeyInfo (RFC 5280, section 4.1.2.7).
//!
//! `openssl pkey -pubin -outform DER | sha256sum` prints the same of a public key.

use data_encoding::HEXUPPER;
use sha2::{Digest, Sha256};

use super::chain::{Certificate, ders};
use super::der::{BIT_STRING, INTEGER, OID, Reader, SEQUENCE, context, element};
use super::key::{pkcs8, point};
use super::pem::{Item, items};
use super::{X509Error, first};

/// `AlgorithmIdentifier` of RSA (RFC 3279, section 2.3.1).
pub(super) const RSA: &[u8] = &[0x30, 13, 6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 13, 1, 1, 1, 5, 0];

/// `id-ecPublicKey` (RFC 5480, section 2.1.1).
const EC: &[u8] = &[6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1];

/// The key in the first certificate, request, public or private key of a PEM text.
/// A private key has the digest of its public half.
pub fn spki(pem: impl AsRef<[u8]>) -> Result<String, X509Error> {
    for item in items(pem.as_ref()) {
        let found = match item? {
            Item::X509Certificate(der) => Some(digest(Certificate::read(&der)?.key())),
            Item::SubjectPublicKeyInfo(der) => Some(digest(&der)),
            Item::Csr(der) => of_request(&der).map(digest),
            Item::Pkcs1Key(key) => rsa(key.secret_pkcs1_der()).map(|key| digest(&info(RSA, &key))),
            Item::Sec1Key(key) => of_sec1(key.secret_sec1_der()),
            Item::Pkcs8Key(key) => of_pkcs8(key.secret_pkcs8_der()),
            _ => continue,
        };
        return found.ok_or(X509Error::Unreadable("the key"));
    }
    Err(X509Error::None("key"))
}

/// The key of the CA that signs: of the first certificate of its bundle.
pub fn signer(bundle_pem: impl AsRef<[u8]>) -> Result<String, X509Error> {
    let bundle = ders(bundle_pem.as_ref())?;
    Ok(digest(Certificate::read(first(&bundle)?)?.key()))
}

/// Whether that CA has signed the first certificate of a PEM text.
pub fn is_signed_by(certificate_pem: impl AsRef<[u8]>, bundle_pem: impl AsRef<[u8]>) -> Result<bool, X509Error> {
    let (leaf, bundle) = (ders(certificate_pem.as_ref())?, ders(bundle_pem.as_ref())?);
    Certificate::read(first(&bundle)?)?.has_signed(&Certificate::read(first(&leaf)?)?)
}

pub(super) fn digest(spki: &[u8]) -> String {
    HEXUPPER.encode(&Sha256::digest(spki))
}

fn info(algorithm: &[u8], key: &[u8]) -> Vec<u8> {
    let bits = element(BIT_STRING, &[&[0], key].concat());
    element(SEQUENCE, &[algorithm, &bits].concat())
}

/// The SubjectPublicKeyInfo in a CertificationRequest (RFC 2986, section 4).
fn of_request(der: &[u8]) -> Option<&[u8]> {
    let mut request = Reader(der).inside(SEQUENCE)?.inside(SEQUENCE)?;
    request.content(INTEGER)?;
    request.content(SEQUENCE)?;
    Some(request.optional(SEQUENCE)?.whole)
}

/// The RSAPublicKey of an RSAPrivateKey (RFC 8017, appendix A.1).
fn rsa(der: &[u8]) -> Option<Vec<u8>> {
    let mut key = Reader(der).inside(SEQUENCE)?;
    key.content(INTEGER)?;
    let numbers = [key.optional(INTEGER)?.whole, key.optional(INTEGER)?.whole];
    Some(element(SEQUENCE, &numbers.concat()))
}

/// An ECPrivateKey that names its curve (RFC 5915, section 3).
fn of_sec1(der: &[u8]) -> Option<String> {
    let mut key = Reader(der).inside(SEQUENCE)?;
    key.content(INTEGER)?;
    key.element()?;
    let curve = key.inside(context(0))?.optional(OID)?.whole;
    Some(digest(&info(&element(SEQUENCE, &[EC, curve].concat()), point(der)?)))
}

/// A PrivateKeyInfo (RFC 5958, section 2), which has the algorithm as the public key has it.
fn of_pkcs8(der: &[u8]) -> Option<String> {
    let mut key = Reader(der).inside(SEQUENCE)?;
    key.content(INTEGER)?;
    let algorithm = key.optional(SEQUENCE)?.whole;
    let inner = key.element()?.content;
    match rsa(inner) {
        Some(public) if algorithm == RSA => Some(digest(&info(algorithm, &public))),
        _ => Some(digest(&info(algorithm, pkcs8(der)?))),
    }
}
