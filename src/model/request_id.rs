//! The id of a request.

use std::fmt;
use std::io;

use rustix::io::Errno;
use rustix::rand::GetRandomFlags;

/// The id of one request: in every answer's `X-Request-Id` and in its audit records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestId(String);

impl RequestId {
    /// A new id: 128 bits from the system's random source, in hexadecimal.
    ///
    /// # Errors
    /// When the system gives no random bytes.
    pub fn random() -> io::Result<Self> {
        let mut bytes = [0; 16];
        // One system call; the crate getrandom, linked statically, finds no symbol and opens devices. That is
        // left for kernels before 3.17, which have no such call.
        match rustix::rand::getrandom(&mut bytes, GetRandomFlags::empty()) {
            Ok(length) if length == bytes.len() => {}
            Err(Errno::NOSYS) => getrandom::fill(&mut bytes).map_err(|error| io::Error::other(error.to_string()))?,
            other => return Err(other.map_or_else(io::Error::from, |_| io::ErrorKind::UnexpectedEof.into())),
        }
        Ok(Self(format!("{:032x}", u128::from_be_bytes(bytes))))
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
