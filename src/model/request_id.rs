//! The id of a request.

use std::fmt;
use std::io;

use crate::system::random;

/// The id of one request: in every answer's `X-Request-Id` and in its audit records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestId(String);

impl RequestId {
    /// A new id: 128 random bits in hexadecimal.
    ///
    /// # Errors
    /// When the system gives no random bytes.
    pub fn random() -> io::Result<Self> {
        random::name().map(Self)
    }

    /// A number below `count`: requests that come together have different ones.
    pub fn below(&self, count: u32) -> u32 {
        let end = self.0.get(24..).and_then(|digits| u32::from_str_radix(digits, 16).ok());
        end.unwrap_or_default().checked_rem(count).unwrap_or_default()
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
