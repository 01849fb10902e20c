//! What a client asks, as the web server hands it over, not yet judged.

use std::fmt;
use std::io;

use rustix::io::Errno;
use rustix::rand::GetRandomFlags;

use crate::secret::Psk;

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

/// An HTTP method (RFC 9110, section 9).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Method {
    /// GET
    Get,
    /// HEAD: as GET, without the body.
    Head,
    /// POST
    Post,
    /// PATCH (RFC 5789)
    Patch,
    /// DELETE
    Delete,
    /// Any other method; none is used.
    Other(String),
}

impl Method {
    /// The method of that name; names are case-sensitive.
    pub fn parse(name: &str) -> Self {
        match name {
            "GET" => Self::Get,
            "HEAD" => Self::Head,
            "POST" => Self::Post,
            "PATCH" => Self::Patch,
            "DELETE" => Self::Delete,
            other => Self::Other(other.to_owned()),
        }
    }

    /// The method's name.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
            Self::Other(name) => name,
        }
    }
}

/// The body of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// All of it.
    Whole(Vec<u8>),
    /// It is longer than the limit; it was not read to its end.
    TooLarge,
    /// Fewer bytes arrived than `Content-Length` says.
    Truncated,
}

/// One HTTP request.
#[derive(Debug)]
pub struct Request {
    /// The method.
    pub method: Method,
    /// The path of the request's target, still percent-encoded, without the query.
    pub path: String,
    /// The client's address, as the web server saw it.
    pub addr: String,
    /// Whether it came over TLS.
    pub https: bool,
    /// `X-ESPM-PSK`
    pub psk: Option<Psk>,
    /// `Content-Type`
    pub content_type: Option<String>,
    /// `If-None-Match`
    pub if_none_match: Option<String>,
    /// Whether `Cache-Control` holds `no-cache`.
    pub no_cache: bool,
    /// `Idempotency-Key`
    pub idempotency_key: Option<String>,
    /// The body.
    pub body: Body,
}
