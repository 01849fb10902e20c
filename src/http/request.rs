//! An HTTP request as the web server passes it on, not yet checked.

use crate::model::psk::Psk;

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
    pub(crate) fn parse(name: &str) -> Self {
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
    /// True if it came over TLS.
    pub https: bool,
    /// `X-ESPM-PSK`
    pub psk: Option<Psk>,
    /// `Content-Type`
    pub content_type: Option<String>,
    /// `If-None-Match`
    pub if_none_match: Option<String>,
    /// True if `Cache-Control` has `no-cache`.
    pub no_cache: bool,
    /// `Idempotency-Key`
    pub idempotency_key: Option<String>,
    /// The body.
    pub body: Body,
}

impl Request {
    /// True if `If-None-Match` (RFC 9110, section 13.1.2) has this entity tag.
    pub(crate) fn has_already(&self, etag: &str) -> bool {
        let weak = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
        let matches = |tags: &str| tags.trim() == "*" || tags.split(',').any(|tag| weak(tag) == weak(etag));
        self.if_none_match.as_deref().is_some_and(matches)
    }
}
