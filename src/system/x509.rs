//! X.509 certificates and revocation lists (RFC 5280) in PEM, as far as espm reads them.
//!
//! Everything here is a pure reader. espm believes what a CA's command says only after these readers agree.

use std::net::IpAddr;

use data_encoding::HEXUPPER;
use rustls_pemfile::Item;
use sha2::{Digest, Sha256};
use thiserror::Error;
use x509_parser::asn1_rs::{Any, BitString, Class, FromDer, Integer, OctetString, Sequence};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::public_key::PublicKey;
use x509_parser::revocation_list::CertificateRevocationList;
use x509_parser::time::ASN1Time;

/// Certificates between a leaf and its root; Puppet's CA has one or none.
const MAX_CHAIN: usize = 8;

/// Why a certificate, key or revocation list is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct X509Error(pub &'static str);

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
pub fn identity(pem: &str) -> Result<Identity, X509Error> {
    let der = first_certificate(pem)?;
    let certificate = parse(&der)?;
    let mut names = certificate.subject().iter_common_name();
    let common_name = names.next().and_then(|name| name.as_str().ok());
    let (Some(common_name), None) = (common_name, names.next()) else {
        return Err(X509Error("the certificate's subject has not exactly one common name"));
    };
    let fingerprint = Sha256::digest(&der).map(|byte| HEXUPPER.encode(&[byte])).join(":");
    Ok(Identity {
        common_name: common_name.to_owned(),
        serial: hex(certificate.raw_serial()),
        fingerprint,
        not_before: certificate.validity().not_before.timestamp(),
        not_after: certificate.validity().not_after.timestamp(),
    })
}

/// The host names in the first certificate of a PEM text (RFC 5280, section 4.2.1.6).
pub fn dns_names(pem: &str) -> Result<Vec<String>, X509Error> {
    let der = first_certificate(pem)?;
    let certificate = parse(&der)?;
    let names = certificate.subject_alternative_name().map_err(|_| X509Error("the certificate cannot be read"))?;
    let names = names.into_iter().flat_map(|names| &names.value.general_names);
    Ok(names
        .filter_map(|name| match name {
            GeneralName::DNSName(name) => Some((*name).to_owned()),
            _ => None,
        })
        .collect())
}

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

/// The parts of the first certificate in a PEM text that its successor takes over.
pub fn heritage(pem: &str) -> Result<Heritage, X509Error> {
    let der = first_certificate(pem)?;
    let certificate = parse(&der)?;
    let names = certificate.subject_alternative_name().map_err(|_| X509Error("the certificate cannot be read"))?;
    let name = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => Ok((*name).to_owned()),
        GeneralName::IPAddress(bytes) => address(bytes),
        _ => Err(X509Error("the certificate has names that are neither host names nor addresses")),
    };
    let own = certificate.issuer().as_raw() == certificate.subject().as_raw();
    Ok(Heritage {
        names: names.iter().flat_map(|names| &names.value.general_names).map(name).collect::<Result<_, _>>()?,
        rsa: matches!(certificate.public_key().parsed(), Ok(PublicKey::RSA(_))),
        issuer: (!own).then(|| certificate.issuer().to_string()),
    })
}

/// An address of a certificate (RFC 5280, section 4.2.1.6): 4 bytes or 16.
fn address(bytes: &[u8]) -> Result<String, X509Error> {
    let four = <[u8; 4]>::try_from(bytes).map(|bytes| IpAddr::from(bytes).to_string());
    let sixteen = || <[u8; 16]>::try_from(bytes).map(|bytes| IpAddr::from(bytes).to_string());
    four.or_else(|_| sixteen()).map_err(|_| X509Error("the certificate has an address that is none"))
}

/// Whether a private key (PKCS #1, PKCS #8 or SEC 1) belongs to the first certificate of a PEM text.
pub fn key_fits(certificate_pem: &str, key_pem: &str) -> Result<bool, X509Error> {
    Ok(key_of_certificate(certificate_pem)? == key_of_private(key_pem)?)
}

/// The identity of the public key of the first certificate in a PEM text.
/// The SHA-256 of its number or point.
pub fn key_of_certificate(pem: &str) -> Result<String, X509Error> {
    let der = first_certificate(pem)?;
    let certificate = parse(&der)?;
    let public = match certificate.public_key().parsed() {
        Ok(PublicKey::RSA(key)) => key.modulus.to_vec(),
        Ok(PublicKey::EC(point)) => point.data().to_vec(),
        _ => return Err(X509Error("the certificate's key is neither RSA nor EC")),
    };
    Ok(hex(&Sha256::digest(magnitude(&public))))
}

/// As [`key_of_certificate`], for the public key that belongs to a private one (PKCS #1, PKCS #8 or SEC 1).
pub fn key_of_private(pem: &str) -> Result<String, X509Error> {
    let public = items(pem)?
        .into_iter()
        .find_map(|item| match item {
            Item::Pkcs1Key(key) => Some(rsa_modulus(key.secret_pkcs1_der())),
            Item::Sec1Key(key) => Some(ec_point(key.secret_sec1_der())),
            Item::Pkcs8Key(key) => Some(pkcs8_public(key.secret_pkcs8_der())),
            _ => None,
        })
        .flatten()
        .ok_or(X509Error("there is no private key that can be read"))?;
    Ok(hex(&Sha256::digest(magnitude(&public))))
}

/// Verifies the first certificate of a PEM text against a CA's bundle.
/// Signatures up to a self-signed root of the bundle, each issuer a CA, each certificate valid at that time
/// (seconds since 1970).
pub fn verify(certificate_pem: &str, bundle_pem: &str, at: i64) -> Result<(), X509Error> {
    let der = first_certificate(certificate_pem)?;
    let bundle = certificates(bundle_pem)?;
    let issuers = bundle.iter().map(|der| parse(der)).collect::<Result<Vec<_>, _>>()?;
    let at = ASN1Time::from_timestamp(at).map_err(|_| X509Error("the clock is wrong"))?;
    let mut subject = parse(&der)?;
    for _ in 0..MAX_CHAIN {
        if !subject.validity().is_valid_at(at) {
            return Err(X509Error("a certificate of the chain is expired or not yet valid"));
        }
        let signers = issuers
            .iter()
            .filter(|issuer| issuer.is_ca() && issuer.subject().as_raw() == subject.issuer().as_raw())
            .filter(|issuer| subject.verify_signature(Some(issuer.public_key())).is_ok());
        // The bundle may have both a certificate and its renewal with the same key.
        let issuer = signers
            .max_by_key(|issuer| issuer.validity().is_valid_at(at))
            .ok_or(X509Error("the certificate is not signed by the CA"))?;
        if issuer.subject().as_raw() == issuer.issuer().as_raw() {
            return if issuer.validity().is_valid_at(at) {
                Ok(())
            } else {
                Err(X509Error("the CA's certificate is expired or not yet valid"))
            };
        }
        subject = issuer.clone();
    }
    Err(X509Error("the chain of the CA's certificates is too long"))
}

/// Whether a certificate's serial is in a revocation list of its issuer.
/// The PEM may hold several lists.
///
/// # Errors
/// When either cannot be read, or there is no list of that issuer.
pub fn is_revoked(certificate_pem: &str, crl_pem: &str) -> Result<bool, X509Error> {
    let der = first_certificate(certificate_pem)?;
    let certificate = parse(&der)?;
    let mut of_issuer = false;
    for item in items(crl_pem)? {
        let Item::Crl(der) = item else { continue };
        let (_, list) =
            CertificateRevocationList::from_der(&der).map_err(|_| X509Error("the revocation list cannot be read"))?;
        if list.issuer().as_raw() != certificate.issuer().as_raw() {
            continue;
        }
        of_issuer = true;
        let serial = magnitude(certificate.raw_serial());
        if list.iter_revoked_certificates().any(|revoked| magnitude(revoked.raw_serial()) == serial) {
            return Ok(true);
        }
    }
    if of_issuer { Ok(false) } else { Err(X509Error("there is no revocation list of the certificate's issuer")) }
}

fn items(pem: &str) -> Result<Vec<Item>, X509Error> {
    rustls_pemfile::read_all(&mut pem.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|_| X509Error("the PEM cannot be read"))
}

fn certificates(pem: &str) -> Result<Vec<Vec<u8>>, X509Error> {
    Ok(items(pem)?
        .into_iter()
        .filter_map(|item| match item {
            Item::X509Certificate(der) => Some(der.to_vec()),
            _ => None,
        })
        .collect())
}

fn first_certificate(pem: &str) -> Result<Vec<u8>, X509Error> {
    certificates(pem)?.into_iter().next().ok_or(X509Error("there is no certificate"))
}

fn parse(der: &[u8]) -> Result<X509Certificate<'_>, X509Error> {
    let (_, certificate) = X509Certificate::from_der(der).map_err(|_| X509Error("the certificate cannot be read"))?;
    Ok(certificate)
}

/// A big-endian number without its leading zeros.
fn magnitude(bytes: &[u8]) -> &[u8] {
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    bytes.get(zeros..).unwrap_or_default()
}

fn hex(number: &[u8]) -> String {
    let digits = HEXUPPER.encode(magnitude(number));
    if digits.is_empty() { "00".to_owned() } else { digits }
}

/// The modulus in an RSAPrivateKey (RFC 8017, appendix A.1.2).
fn rsa_modulus(der: &[u8]) -> Option<Vec<u8>> {
    let (_, key) = Sequence::from_der(der).ok()?;
    let (rest, _version) = Integer::from_der(&key.content).ok()?;
    let (_, modulus) = Integer::from_der(rest).ok()?;
    Some(modulus.as_ref().to_vec())
}

/// The public point in an ECPrivateKey (RFC 5915, section 3).
fn ec_point(der: &[u8]) -> Option<Vec<u8>> {
    let (_, key) = Sequence::from_der(der).ok()?;
    let mut rest: &[u8] = &key.content;
    while let Ok((after, member)) = Any::from_der(rest) {
        if member.header.class() == Class::ContextSpecific && member.header.tag().0 == 1 {
            let (_, point) = BitString::from_der(member.data).ok()?;
            return Some(point.data.to_vec());
        }
        rest = after;
    }
    None
}

/// The public part of the key in a PrivateKeyInfo (RFC 5958, section 2).
fn pkcs8_public(der: &[u8]) -> Option<Vec<u8>> {
    let (_, info) = Sequence::from_der(der).ok()?;
    let (rest, _version) = Integer::from_der(&info.content).ok()?;
    let (rest, _algorithm) = Sequence::from_der(rest).ok()?;
    let (_, key) = OctetString::from_der(rest).ok()?;
    rsa_modulus(key.as_ref()).or_else(|| ec_point(key.as_ref()))
}
