//! A certificate as a client gets it.

use std::fmt;

use serde::Serialize;
use zeroize::Zeroizing;

/// A certificate as a client gets it.
#[derive(Debug, Clone, Serialize)]
pub struct Certificate {
    /// The certificate's common name: the node's name.
    pub certname: String,
    /// The certificate, PEM.
    pub certificate: String,
    /// Its private key, PEM; only in the answer that hands it out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub private_key: Option<PrivateKey>,
    /// The CA's certificate or chain, PEM.
    pub ca_certificate: String,
    /// The serial number in hexadecimal, as openssl prints it.
    pub serial: String,
    /// The SHA-256 fingerprint, as openssl prints it.
    pub fingerprint: String,
    /// The end of its validity (RFC 3339, UTC).
    pub not_after: String,
}

/// A private key in PEM: wiped when dropped, never shown by `Debug`.
#[derive(Clone, Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct PrivateKey(Zeroizing<String>);

impl PrivateKey {
    /// Takes a key over.
    pub fn new(pem: String) -> Self {
        Self(Zeroizing::new(pem))
    }

    /// The PEM text.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::PrivateKey;

    #[test]
    fn private_key_is_not_shown_by_debug() {
        assert_eq!(format!("{:?}", PrivateKey::new("hidden".into())), "PrivateKey(..)");
    }
}
