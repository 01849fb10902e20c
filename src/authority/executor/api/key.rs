//! Private keys in the forms that every agent reads, and the requests for their certificates (PKCS #10).

use aws_lc_rs::encoding::{AsDer, EcPrivateKeyRfc5915Der};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::rsa::{self, KeySize};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair};
use rcgen::{CertificateParams, CustomExtension, DistinguishedName, DnType, KeyPair};
use thiserror::Error;

use crate::model::certificate::PrivateKey;
use crate::model::extension::Extensions;
use crate::model::name::NodeName;
use crate::model::words;
use crate::system::x509;

words! {
    /// The kind of a private key.
    KeyType {
        /// 3072 bits, which NIST SP 800-57 takes for safe beyond 2030.
        Rsa3072 = "rsa-3072",
        /// 2048 bits.
        Rsa2048 = "rsa-2048",
        /// 4096 bits, as `puppetserver ca` makes.
        Rsa4096 = "rsa-4096",
        /// On the curve P-256, for agents from Puppet 6.5 on.
        P256 = "p256",
    }
}

/// Why there is no key or no request.
#[derive(Debug, Error)]
pub(in crate::authority::executor) enum KeyError {
    #[error("a private key cannot be made")]
    NotMade,
    #[error("a request for a certificate cannot be made: {0}")]
    Request(#[from] rcgen::Error),
}

impl From<Unspecified> for KeyError {
    fn from(_: Unspecified) -> Self {
        Self::NotMade
    }
}

/// Makes a private key: PKCS #1, as the CA's commands write it, or SEC 1. Agents before 7.9 read keys on a curve only in
/// that form, and none of them reads the block of parameters that openssl puts before it.
pub(super) fn generate(key: KeyType) -> Result<PrivateKey, KeyError> {
    let size = match key {
        KeyType::Rsa2048 => KeySize::Rsa2048,
        KeyType::Rsa3072 => KeySize::Rsa3072,
        KeyType::Rsa4096 => KeySize::Rsa4096,
        KeyType::P256 => {
            let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING)?;
            let der: EcPrivateKeyRfc5915Der<'_> = pair.private_key().as_der()?;
            return Ok(PrivateKey::new(x509::to_pem("EC PRIVATE KEY", der.as_ref())));
        }
    };
    let pkcs8 = rsa::KeyPair::generate(size)?.as_der()?;
    let pkcs1 = x509::unwrapped_key(pkcs8.as_ref()).ok_or(KeyError::NotMade)?;
    Ok(PrivateKey::new(x509::to_pem("RSA PRIVATE KEY", pkcs1)))
}

/// A request for the certificate of a name, with these trusted facts.
pub(super) fn request(key: &str, name: &NodeName, extensions: &Extensions) -> Result<String, KeyError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name.as_str());
    params.custom_extensions = extensions
        .iter()
        .map(|(oid, value)| {
            let numbers: Vec<u64> = oid.split('.').filter_map(|number| number.parse().ok()).collect();
            CustomExtension::from_oid_content(&numbers, x509::utf8_string(value))
        })
        .collect();
    Ok(params.serialize_request(&KeyPair::from_pem(key)?)?.pem()?)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{KeyType, generate, request};
    use crate::model::extension::Extensions;
    use crate::model::name::NodeName;
    use crate::system::clock::Deadline;
    use crate::system::command::Program;
    use crate::system::scratch::scratch;
    use crate::system::trusted_file;
    use crate::system::x509;

    /// Openssl's words about a file.
    fn openssl(arguments: &[&str]) -> String {
        let argv = ["/usr/bin/openssl"].iter().chain(arguments).map(|word| (*word).to_owned()).collect();
        let program = Program { argv, environment: vec![], directory: "/".into() };
        let ended = program.capture(Vec::new(), Deadline::after(Duration::from_secs(60))).unwrap();
        assert_eq!(ended.code, Some(0), "{arguments:?}: {}", String::from_utf8_lossy(&ended.stderr));
        String::from_utf8(ended.stdout).unwrap()
    }

    #[test]
    fn openssl_reads_keys_and_requests_of_every_type() {
        let directory = scratch("api-key");
        let path = |file: &str| directory.join(file).display().to_string();
        let name = NodeName::parse("web01.example.com").unwrap();
        let mut extensions = Extensions::default();
        extensions.add("pp_role", "wéb").unwrap();
        extensions.add("1.3.6.1.4.1.34380.1.2.7", "x").unwrap();
        for (key_type, head, bits) in [
            (KeyType::Rsa2048, "-----BEGIN RSA PRIVATE KEY-----\n", "(2048 bit"),
            (KeyType::Rsa3072, "-----BEGIN RSA PRIVATE KEY-----\n", "(3072 bit"),
            (KeyType::P256, "-----BEGIN EC PRIVATE KEY-----\n", "(256 bit"),
        ] {
            let key = generate(key_type).unwrap();
            let (key, pem) = (key.reveal(), request(key.reveal(), &name, &extensions).unwrap());
            assert!(key.starts_with(head), "{key_type:?}");
            assert_eq!(key.matches("-----BEGIN").count(), 1);
            assert!(key.lines().all(|line| line.len() <= 64));
            for (file, text) in [("key", key), ("csr", &pem)] {
                trusted_file::replace(&directory.join(file), 0o600, text.as_bytes()).unwrap();
            }
            assert!(openssl(&["pkey", "-in", &path("key"), "-noout", "-text"]).contains(bits));
            let public = openssl(&["pkey", "-in", &path("key"), "-pubout"]);
            assert_eq!(openssl(&["req", "-in", &path("csr"), "-noout", "-verify", "-pubkey"]), public);
            assert_eq!(x509::spki(key), x509::spki(public));
            assert_eq!(x509::spki(key), x509::spki(&pem));
            let text = openssl(&["req", "-in", &path("csr"), "-noout", "-text"]);
            for part in ["Subject: CN = web01.example.com", "1.3.6.1.4.1.34380.1.1.13", "1.3.6.1.4.1.34380.1.2.7"] {
                assert!(text.contains(part), "{part}: {text}");
            }
            // The same key again asks for the same.
            assert_eq!(x509::spki(request(key, &name, &Extensions::default()).unwrap()), x509::spki(key));
        }
    }
}
