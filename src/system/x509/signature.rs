//! Signatures, as far as a CA of Puppet's can have made them.

use aws_lc_rs::signature::{self as alg, RsaParameters, RsaPssSaltLength, VerificationAlgorithm};

use super::X509Error;
use super::der::{BIT_STRING, INTEGER, OID, Reader, SEQUENCE, bits, context};

/// Object identifiers as in DER. Of keys:
const RSA: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01";
const EC: &[u8] = b"\x2a\x86\x48\xce\x3d\x02\x01";
const P256: &[u8] = b"\x2a\x86\x48\xce\x3d\x03\x01\x07";
const P384: &[u8] = b"\x2b\x81\x04\x00\x22";
const P521: &[u8] = b"\x2b\x81\x04\x00\x23";

/// Of signatures and keys:
const PSS: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0a";
const ED25519: &[u8] = b"\x2b\x65\x70";

/// Of digests and the mask of PSS:
const SHA256: &[u8] = b"\x60\x86\x48\x01\x65\x03\x04\x02\x01";
const SHA384: &[u8] = b"\x60\x86\x48\x01\x65\x03\x04\x02\x02";
const SHA512: &[u8] = b"\x60\x86\x48\x01\x65\x03\x04\x02\x03";
const MGF1: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x08";

/// The signed part of a certificate, a list or a request, how it is signed, and the signature.
#[derive(Debug, Clone, Copy)]
pub(super) struct Signed<'a> {
    body: &'a [u8],
    algorithm: &'a [u8],
    signature: &'a [u8],
}

impl<'a> Signed<'a> {
    /// Takes a certificate or a list apart.
    pub(super) fn read(der: &'a [u8]) -> Option<Self> {
        let mut parts = Reader(der).inside(SEQUENCE)?;
        let body = parts.optional(SEQUENCE)?;
        let algorithm = parts.optional(SEQUENCE)?;
        let signature = bits(parts.content(BIT_STRING)?)?;
        // What is signed names the algorithm, too, after its version and number (RFC 5280, section 4.1.1.2).
        let mut inside = Reader(body.content);
        while inside.optional(context(0)).or_else(|| inside.optional(INTEGER)).is_some() {}
        let same = inside.optional(SEQUENCE)?.whole == algorithm.whole;
        (parts.is_empty() && same).then_some(Self { body: body.whole, algorithm: algorithm.content, signature })
    }

    /// Takes a request for a certificate apart (RFC 2986, section 4).
    pub(super) fn read_request(der: &'a [u8]) -> Option<Self> {
        let mut whole = Reader(der);
        let mut parts = whole.inside(SEQUENCE)?;
        let body = parts.optional(SEQUENCE)?.whole;
        let algorithm = parts.content(SEQUENCE)?;
        let signature = bits(parts.content(BIT_STRING)?)?;
        (parts.is_empty() && whole.is_empty()).then_some(Self { body, algorithm, signature })
    }

    /// The signed part.
    pub(super) fn body(self) -> &'a [u8] {
        self.body
    }

    /// The content of the algorithm's identifier.
    pub(super) fn algorithm(self) -> &'a [u8] {
        self.algorithm
    }

    /// Whether the owner of a public key (SubjectPublicKeyInfo in DER) has signed it.
    ///
    /// # Errors
    /// When espm cannot verify such a signature by such a key.
    pub(super) fn is_by(self, key: &[u8]) -> Result<bool, X509Error> {
        let unknown = X509Error::Algorithm;
        let mut info = Reader(key).inside(SEQUENCE).ok_or(unknown.clone())?;
        let kind = info.inside(SEQUENCE).ok_or(unknown.clone())?;
        let key = info.content(BIT_STRING).and_then(bits).ok_or(unknown.clone())?;
        let verify =
            |algorithm: &dyn VerificationAlgorithm| algorithm.verify_sig(key, self.body, self.signature).is_ok();
        match verifier(Reader(self.algorithm), kind, key).ok_or(unknown)? {
            Verifier::Rsa(parameters) => Ok(verify(&parameters)),
            Verifier::Other(algorithm) => Ok(verify(algorithm)),
        }
    }
}

enum Verifier {
    Rsa(RsaParameters),
    Other(&'static dyn VerificationAlgorithm),
}

fn verifier(mut algorithm: Reader<'_>, mut kind: Reader<'_>, key: &[u8]) -> Option<Verifier> {
    let signature = algorithm.content(OID)?;
    match kind.content(OID)? {
        RSA if signature == PSS => pss(algorithm.inside(SEQUENCE)?).map(Verifier::Rsa),
        RSA => pkcs1(signature, RsaParameters::public_modulus_len(key).ok()?).map(Verifier::Rsa),
        EC => ecdsa(signature, kind.content(OID)?).map(Verifier::Other),
        ED25519 if signature == ED25519 => Some(Verifier::Other(&alg::ED25519)),
        _ => None,
    }
}

/// Puppet up to 2.7.11 made CAs of 1,024 bits, and Puppet up to 3 signed with SHA-1.
fn pkcs1(signature: &[u8], bits: u32) -> Option<RsaParameters> {
    let digest = signature.strip_prefix(b"\x2a\x86\x48\x86\xf7\x0d\x01\x01")?;
    let short = bits < 2048;
    Some(match digest {
        [5] => alg::RSA_PKCS1_1024_8192_SHA1_FOR_LEGACY_USE_ONLY,
        [11] if short => alg::RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY,
        [11] => alg::RSA_PKCS1_2048_8192_SHA256,
        [12] if !short => alg::RSA_PKCS1_2048_8192_SHA384,
        [13] if short => alg::RSA_PKCS1_1024_8192_SHA512_FOR_LEGACY_USE_ONLY,
        [13] => alg::RSA_PKCS1_2048_8192_SHA512,
        _ => return None,
    })
}

/// The parameters of PSS (RFC 4055, section 3.1): digest, mask of the same digest, length of the salt.
fn pss(mut parameters: Reader<'_>) -> Option<RsaParameters> {
    let digest = parameters.inside(context(0))?.inside(SEQUENCE)?.content(OID)?;
    let mut mask = parameters.inside(context(1))?.inside(SEQUENCE)?;
    if mask.content(OID)? != MGF1 || mask.inside(SEQUENCE)?.content(OID)? != digest {
        return None;
    }
    let salt = match parameters.inside(context(2)) {
        Some(mut salt) => salt.content(INTEGER)?,
        None => &[20],
    };
    let salt = match salt {
        [low] if low & 0x80 == 0 => u16::from(*low),
        [high, low] if high & 0x80 == 0 => u16::from_be_bytes([*high, *low]),
        _ => return None,
    };
    let algorithm = match digest {
        SHA256 => alg::RSA_PSS_2048_8192_SHA256,
        SHA384 => alg::RSA_PSS_2048_8192_SHA384,
        SHA512 => alg::RSA_PSS_2048_8192_SHA512,
        _ => return None,
    };
    // A trailer other than the usual one would stand behind.
    parameters.is_empty().then(|| algorithm.with_pss_salt_length(RsaPssSaltLength::Custom(salt)))
}

fn ecdsa(signature: &[u8], curve: &[u8]) -> Option<&'static dyn VerificationAlgorithm> {
    let digest = match signature.strip_prefix(b"\x2a\x86\x48\xce\x3d\x04")? {
        [1] => 1,
        [3, 2] => 256,
        [3, 3] => 384,
        [3, 4] => 512,
        _ => return None,
    };
    Some(match (curve, digest) {
        (P256, 1) => &alg::ECDSA_P256_SHA1_ASN1,
        (P256, 256) => &alg::ECDSA_P256_SHA256_ASN1,
        (P256, 384) => &alg::ECDSA_P256_SHA384_ASN1,
        (P256, 512) => &alg::ECDSA_P256_SHA512_ASN1,
        (P384, 256) => &alg::ECDSA_P384_SHA256_ASN1,
        (P384, 384) => &alg::ECDSA_P384_SHA384_ASN1,
        (P384, 512) => &alg::ECDSA_P384_SHA512_ASN1,
        (P521, 1) => &alg::ECDSA_P521_SHA1_ASN1,
        (P521, 256) => &alg::ECDSA_P521_SHA256_ASN1,
        (P521, 384) => &alg::ECDSA_P521_SHA384_ASN1,
        (P521, 512) => &alg::ECDSA_P521_SHA512_ASN1,
        _ => return None,
    })
}
