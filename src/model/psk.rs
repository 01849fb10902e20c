//! The preshared key and its digest.
//!
//! A key is never shown: it has no `Display`, its `Debug` is a placeholder, and its bytes are
//! wiped when it is dropped. Only the digest is stored.

use std::fmt;

use data_encoding::{HEXLOWER, HEXLOWER_PERMISSIVE};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// A preshared key (PSK) as a client sent it, or as it was just made.
pub struct Psk(Zeroizing<String>);

impl Psk {
    /// Takes a key over.
    pub fn new(key: String) -> Self {
        Self(Zeroizing::new(key))
    }

    /// The key itself, for the one moment when it is shown to its owner.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// The SHA-256 digest of the key's bytes.
    pub fn digest(&self) -> PskDigest {
        PskDigest(Sha256::digest(self.0.as_bytes()).into())
    }
}

impl fmt::Debug for Psk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Psk(..)")
    }
}

/// The SHA-256 digest of a preshared key.
#[derive(Debug, Clone)]
pub struct PskDigest([u8; 32]);

impl PskDigest {
    /// What a digest begins with where it is written.
    const PREFIX: &'static str = "sha256:";

    /// Reads `sha256:` and 64 hexadecimal digits.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix(Self::PREFIX)?;
        let bytes = HEXLOWER_PERMISSIVE.decode(digits.as_bytes()).ok()?;
        bytes.try_into().ok().map(Self)
    }

    /// Its bytes. Compare it with the digest of a key that was sent by [`Self::matches`] alone.
    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Digits by which a human tells a client's keys apart.
    pub const SHORT: usize = 8;

    /// Its first digits, [`Self::SHORT`] of them.
    pub fn short(&self) -> String {
        HEXLOWER.encode(self.0.get(..Self::SHORT / 2).unwrap_or_default())
    }

    /// Whether its hexadecimal digits begin with these.
    pub fn begins_with(&self, digits: &str) -> bool {
        HEXLOWER.encode(&self.0).starts_with(digits)
    }

    /// Whether both are the same, in a time that does not depend on where they differ.
    pub fn matches(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl fmt::Display for PskDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", Self::PREFIX, HEXLOWER.encode(&self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::{Psk, PskDigest};

    #[test]
    fn digest_is_read_as_it_is_written() {
        let digest = Psk::new("abc".into()).digest();
        let text = digest.to_string();
        assert_eq!(text, "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(digest.short(), "ba7816bf");
        assert!(digest.begins_with("ba7816bf8f") && !digest.begins_with("ba7816bf8e"));
        assert!(PskDigest::parse(&text).unwrap().matches(&digest));
        assert!(!Psk::new("abd".into()).digest().matches(&digest));
    }

    #[test]
    fn malformed_digest_is_refused() {
        let digits = |digits: &str, count| format!("sha256:{}", digits.repeat(count));
        assert!(PskDigest::parse(&digits("a1", 32)).is_some());
        let others = [digits("a1", 33), digits("+1", 32), digits("é", 32), digits("xé1", 16)];
        for bad in ["", "sha256:", "sha256:00", "ba7816bf"].into_iter().chain(others.iter().map(String::as_str)) {
            assert!(PskDigest::parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn key_is_not_shown_by_debug() {
        assert_eq!(format!("{:?}", Psk::new("hidden".into())), "Psk(..)");
    }
}
