//! Chains of certificates (RFC 5280, section 6) up to a self-signed root, judged as openssl judges them.

use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::FromDer;
use x509_parser::x509::X509Version;

use super::name::Name;
use super::pem::{Item, items};
use super::signature::Signed;
use super::{SKEW, X509Error, integer};

/// Certificates between a leaf and its root; Puppet's CA has one or none.
const MAX_CHAIN: usize = 8;

/// A certificate, and what of it is compared.
#[derive(Debug)]
pub(super) struct Certificate<'a> {
    pub(super) parsed: X509Certificate<'a>,
    pub(super) subject: Name,
    pub(super) issuer: Name,
}

impl<'a> Certificate<'a> {
    pub(super) fn read(der: &'a [u8]) -> Result<Self, X509Error> {
        let unreadable = X509Error::Unreadable("the certificate");
        let (_, parsed) = X509Certificate::from_der(der).map_err(|_| unreadable.clone())?;
        let name = |raw| Name::read(raw).ok_or(unreadable.clone());
        let (subject, issuer) = (name(parsed.subject().as_raw())?, name(parsed.issuer().as_raw())?);
        // Twice the same extension says nothing.
        parsed.extensions_map().map_err(|_| unreadable.clone())?;
        Ok(Self { subject, issuer, parsed })
    }

    pub(super) fn read_all(ders: &'a [Vec<u8>]) -> Result<Vec<Self>, X509Error> {
        ders.iter().map(|der| Self::read(der)).collect()
    }

    pub(super) fn not_after(&self) -> i64 {
        self.parsed.validity().not_after.timestamp()
    }

    /// The public key (SubjectPublicKeyInfo in DER).
    pub(super) fn key(&self) -> &[u8] {
        self.parsed.public_key().raw
    }

    fn extensions(&self) -> impl Iterator<Item = &ParsedExtension<'a>> {
        self.parsed.extensions().iter().map(|extension| extension.parsed_extension())
    }

    fn key_id(&self) -> Option<&[u8]> {
        self.extensions().find_map(|extension| match extension {
            ParsedExtension::SubjectKeyIdentifier(id) => Some(id.0),
            _ => None,
        })
    }

    fn is_self_issued(&self) -> bool {
        self.subject == self.issuer
    }

    /// Whether what a certificate or list says about its issuer's key fits this one (RFC 5280, section 4.2.1.1).
    /// What is not said fits.
    pub(super) fn is_meant_by(&self, extension: &ParsedExtension<'_>) -> bool {
        let ParsedExtension::AuthorityKeyIdentifier(authority) = extension else { return true };
        let directory = authority.authority_cert_issuer.iter().flatten().find_map(|name| match name {
            GeneralName::DirectoryName(name) => Some(Name::read(name.as_raw())),
            _ => None,
        });
        let id = authority.key_identifier.as_ref().zip(self.key_id()).is_none_or(|(id, own)| id.0 == own);
        let serial = authority.authority_cert_serial.is_none_or(|serial| integer(serial) == self.serial());
        id && serial && directory.is_none_or(|name| name.as_ref() == Some(&self.issuer))
    }

    pub(super) fn serial(&self) -> &[u8] {
        integer(self.parsed.raw_serial())
    }

    /// Whether this certificate may sign others, so far below itself.
    fn may_sign(&self, below: usize) -> bool {
        let uses = self.extensions().find_map(|extension| match extension {
            ParsedExtension::KeyUsage(uses) => Some(uses),
            _ => None,
        });
        let basic = self.extensions().find_map(|extension| match extension {
            ParsedExtension::BasicConstraints(basic) => Some(basic),
            _ => None,
        });
        let ca = match basic {
            Some(basic) => {
                basic.ca && basic.path_len_constraint.is_none_or(|most| below <= usize::try_from(most).unwrap_or(0))
            }
            // Version 1 knew no extensions.
            None => self.parsed.version() == X509Version::V1 && self.is_self_issued(),
        };
        ca && uses.is_none_or(|uses| uses.key_cert_sign())
    }

    /// Whether this certificate may sign revocation lists.
    pub(super) fn may_sign_lists(&self) -> bool {
        self.extensions().all(|extension| match extension {
            ParsedExtension::KeyUsage(uses) => uses.crl_sign(),
            _ => true,
        })
    }

    /// Whether that one's issuer is this one, as far as both say.
    fn is_named_by(&self, that: &Self) -> bool {
        self.subject == that.issuer && that.extensions().all(|extension| self.is_meant_by(extension))
    }

    /// Whether this one's key has signed that one.
    pub(super) fn has_signed(&self, that: &Self) -> Result<bool, X509Error> {
        if !self.is_named_by(that) {
            return Ok(false);
        }
        let signed = Signed::read(that.parsed.as_raw()).ok_or(X509Error::Unreadable("the certificate"))?;
        signed.is_by(self.key())
    }

    /// That it is valid at a time, and says nothing that espm does not understand and must.
    fn check(&self, at: i64) -> Result<(), X509Error> {
        let validity = self.parsed.validity();
        if at.saturating_add(SKEW) < validity.not_before.timestamp() {
            return Err(X509Error::NotYet(validity.not_before.timestamp()));
        }
        if at > self.not_after() {
            return Err(X509Error::Ended(self.not_after()));
        }
        for extension in self.parsed.extensions() {
            let understood = match extension.parsed_extension() {
                // Names that a CA may sign are not judged here, so such a CA is refused.
                ParsedExtension::NameConstraints(_) | ParsedExtension::ParseError { .. } => false,
                ParsedExtension::KeyUsage(_)
                | ParsedExtension::SubjectAlternativeName(_)
                | ParsedExtension::BasicConstraints(_)
                | ParsedExtension::CertificatePolicies(_)
                | ParsedExtension::CRLDistributionPoints(_)
                | ParsedExtension::ExtendedKeyUsage(_)
                | ParsedExtension::PolicyConstraints(_)
                | ParsedExtension::PolicyMappings(_)
                | ParsedExtension::InhibitAnyPolicy(_)
                | ParsedExtension::NSCertType(_) => true,
                _ => !extension.critical,
            };
            if !understood {
                return Err(X509Error::Extension(extension.oid.to_id_string()));
            }
        }
        Ok(())
    }
}

/// The certificates of a PEM text in DER.
pub(super) fn ders(pem: &[u8]) -> Result<Vec<Vec<u8>>, X509Error> {
    let mut found = Vec::new();
    for item in items(pem) {
        if let Item::X509Certificate(der) = item? {
            found.push(der.to_vec());
        }
    }
    if found.is_empty() { Err(X509Error::None("certificate")) } else { Ok(found) }
}

/// Finds the chain from a certificate to a root of the bundle, and the moment at which its first one ends.
pub(super) fn until(leaf: &Certificate<'_>, bundle: &[Certificate<'_>], at: i64) -> Result<i64, X509Error> {
    leaf.check(at)?;
    let (mut subject, mut until, mut below) = (leaf, leaf.not_after(), 0);
    for _ in 0..MAX_CHAIN {
        // A root of the bundle is trusted as it is, whatever its own signature.
        if subject.is_named_by(subject) && bundle.iter().any(|one| one.parsed.as_raw() == subject.parsed.as_raw()) {
            return Ok(until);
        }
        let issuer = issuer(subject, bundle, below, at)?;
        issuer.check(at)?;
        until = until.min(issuer.not_after());
        below += usize::from(!issuer.is_self_issued());
        subject = issuer;
    }
    Err(X509Error::NotSigned)
}

/// The CA of the bundle that has signed a certificate: of a CA and its renewal with the same key, the one that is
/// valid.
fn issuer<'a, 'b>(
    subject: &Certificate<'_>,
    bundle: &'b [Certificate<'a>],
    below: usize,
    at: i64,
) -> Result<&'b Certificate<'a>, X509Error> {
    let (mut found, mut wrong) = (None, X509Error::NotSigned);
    for one in bundle.iter().filter(|one| one.may_sign(below)) {
        match one.has_signed(subject) {
            Ok(true) if one.check(at).is_ok() => return Ok(one),
            Ok(true) => found = found.or(Some(one)),
            Ok(false) => {}
            Err(error) => wrong = error,
        }
    }
    found.ok_or(wrong)
}
