//! CGI/1.1 (RFC 3875): reads a request and writes its answer.
//!
//! It trusts the web server for TLS and the client's address alone. The path comes from `REQUEST_URI`, which all
//! servers pass as the client sent it; each server decodes and normalises `PATH_INFO` in its own way. No path of the
//! interface needs an escape.

use std::ffi::OsString;
use std::io::{self, Read, Write};

use crate::http::request::{Body, Method, Request};
use crate::http::response::Reply;
use crate::model::psk::Psk;

/// Most bytes of a body; 64 KiB hold more classes and parameters than any node has.
pub const MAX_BODY: usize = 64 * 1024;

/// Most bytes of a body that are discarded; the vhosts refuse longer ones.
const MAX_DISCARDED: u64 = 2 * 1024 * 1024;

/// The variables of a request; the gate passes these and no others.
pub const VARIABLES: [&str; 10] = [
    "REQUEST_METHOD",
    "REQUEST_URI",
    "REMOTE_ADDR",
    "HTTPS",
    "CONTENT_TYPE",
    "CONTENT_LENGTH",
    "HTTP_X_ESPM_PSK",
    "HTTP_IF_NONE_MATCH",
    "HTTP_CACHE_CONTROL",
    "HTTP_IDEMPOTENCY_KEY",
];

/// The variable that names the configuration; the gate sets it, a CGI vhost may.
pub(crate) const CONFIG_VARIABLE: &str = "ESPM_CONFIG";

/// A request that cannot be read, and why.
#[derive(Debug, PartialEq, Eq)]
pub struct Malformed(pub &'static str);

/// Reads a request.
///
/// It fails when the method or the target is missing, or `CONTENT_LENGTH` is not a number: a server or client has
/// hidden or forged a variable, and such a request must change nothing.
pub fn receive(variable: impl Fn(&str) -> Option<OsString>, stdin: impl Read) -> Result<Request, Malformed> {
    let text = |name| variable(name).and_then(|value| value.into_string().ok()).filter(|value| !value.is_empty());
    let length = match text("CONTENT_LENGTH") {
        None => None,
        Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => Some(digits.parse().unwrap_or(usize::MAX)),
        Some(_) => return Err(Malformed("Content-Length is not a number")),
    };
    let body = read_body(length, stdin);
    let method = text("REQUEST_METHOD").ok_or(Malformed("the request has no method"))?;
    let target = text("REQUEST_URI").ok_or(Malformed("the request has no target"))?;
    let path = origin_form(&target).split(['?', '#']).next().unwrap_or_default().to_owned();
    Ok(Request {
        method: Method::parse(&method),
        path,
        addr: text("REMOTE_ADDR").unwrap_or_else(|| "-".to_owned()),
        https: text("HTTPS").is_some_and(|on| on.eq_ignore_ascii_case("on")),
        psk: text("HTTP_X_ESPM_PSK").map(Psk::new),
        content_type: text("CONTENT_TYPE"),
        if_none_match: text("HTTP_IF_NONE_MATCH"),
        no_cache: text("HTTP_CACHE_CONTROL").is_some_and(|value| has_no_cache(&value)),
        // nginx cannot pass an empty one on, so an empty one counts as absent behind every server.
        idempotency_key: variable("HTTP_IDEMPOTENCY_KEY")
            .map(|key| key.to_string_lossy().into_owned())
            .filter(|key| !key.is_empty()),
        body,
    })
}

/// The path and query of a target, even an absolute one (RFC 9112, section 3.2.2).
fn origin_form(target: &str) -> &str {
    let Some((scheme, rest)) = target.split_once("://") else { return target };
    if !scheme.eq_ignore_ascii_case("https") && !scheme.eq_ignore_ascii_case("http") {
        return target;
    }
    rest.find('/').and_then(|slash| rest.get(slash..)).unwrap_or("/")
}

/// True if a `Cache-Control` value (RFC 9111, section 5.2) has `no-cache`.
fn has_no_cache(value: &str) -> bool {
    value.split(',').any(|directive| directive.trim().eq_ignore_ascii_case("no-cache"))
}

/// Reads the body: `Content-Length` bytes or, for a chunked one, all bytes.
///
/// A body that is too large is read too. Apache's mod_cgid has one socket for the body and the answer: bytes that
/// are unread when this process ends reset it, and the answer is lost.
fn read_body(length: Option<usize>, mut stdin: impl Read) -> Body {
    let mut bytes = Vec::new();
    let limit = length.unwrap_or(usize::MAX).min(MAX_BODY + 1);
    let read = stdin.by_ref().take(limit as u64).read_to_end(&mut bytes);
    if bytes.len() > MAX_BODY {
        let rest = length.map_or(u64::MAX, |length| (length - bytes.len()) as u64);
        let _ = io::copy(&mut stdin.take(rest.min(MAX_DISCARDED)), &mut io::sink());
        return Body::TooLarge;
    }
    match length {
        Some(length) if length > MAX_BODY => Body::TooLarge,
        Some(length) if bytes.len() < length => Body::Truncated,
        _ if read.is_err() => Body::Truncated,
        _ => Body::Whole(bytes),
    }
}

/// Writes an answer (RFC 3875, section 6).
pub(crate) fn send(reply: &Reply, mut to: impl Write) -> io::Result<()> {
    to.write_all(&reply.to_bytes())?;
    to.flush()
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;
    use std::os::unix::ffi::OsStringExt;

    use super::{MAX_BODY, Malformed, receive};
    use crate::http::request::Body;
    use crate::http::request::Method;

    fn variables<'a>(pairs: &'a [(&'a str, &'a str)]) -> impl Fn(&str) -> Option<OsString> + 'a {
        move |name| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into())
    }

    const GET: [(&str, &str); 2] = [("REQUEST_METHOD", "GET"), ("REQUEST_URI", "/v1/nodes/a?-c/etc/passwd")];

    #[test]
    fn query_is_no_part_of_the_path() {
        let request = receive(variables(&GET), &b""[..]).unwrap();
        assert_eq!((request.method, request.path.as_str()), (Method::Get, "/v1/nodes/a"));
        assert!(!request.https && request.psk.is_none());
    }

    #[test]
    fn absolute_target_has_the_same_path() {
        for (target, path) in [
            ("https://host:8443/v1/health?x", "/v1/health"),
            ("HTTP://host", "/"),
            ("/v1/nodes/http://x/y", "/v1/nodes/http://x/y"),
            ("ftp://host/v1/health", "ftp://host/v1/health"),
        ] {
            let pairs = [GET[0], ("REQUEST_URI", target)];
            assert_eq!(receive(variables(&pairs), &b""[..]).unwrap().path, path);
        }
    }

    #[test]
    fn hidden_method_or_target_is_refused() {
        assert!(receive(variables(&GET[..1]), &b""[..]).is_err());
        assert!(receive(variables(&GET[1..]), &b""[..]).is_err());
    }

    #[test]
    fn variable_that_is_not_utf_8_counts_as_absent() {
        let request = receive(
            |name| match name {
                "HTTP_X_ESPM_PSK" => Some(OsString::from_vec(vec![0xff])),
                other => variables(&GET)(other),
            },
            &b""[..],
        );
        assert!(request.unwrap().psk.is_none());
    }

    #[test]
    fn body_is_bounded_and_whole() {
        let body = |length: Option<&str>, bytes: &[u8]| {
            let mut pairs = GET.to_vec();
            pairs.extend(length.map(|length| ("CONTENT_LENGTH", length)));
            receive(variables(&pairs), bytes).map(|request| request.body)
        };
        assert_eq!(body(Some("2"), b"{}x"), Ok(Body::Whole(b"{}".to_vec())));
        assert_eq!(body(Some("3"), b"{}"), Ok(Body::Truncated));
        assert_eq!(body(None, b"{}"), Ok(Body::Whole(b"{}".to_vec())));
        assert_eq!(body(None, &vec![b'x'; MAX_BODY]), Ok(Body::Whole(vec![b'x'; MAX_BODY])));
        assert_eq!(body(None, &vec![b'x'; MAX_BODY + 1]), Ok(Body::TooLarge));
        assert_eq!(body(Some("99999999999999999999999"), b""), Ok(Body::TooLarge));
        assert_eq!(body(Some("-1"), b""), Err(Malformed("Content-Length is not a number")));
        // A connection that breaks off is no end of a body whose length is not known.
        let broken = std::io::Read::chain(&b"{}"[..], Broken);
        assert_eq!(receive(variables(&GET), broken).unwrap().body, Body::Truncated);
    }

    struct Broken;

    impl std::io::Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::ConnectionReset.into())
        }
    }

    #[test]
    fn what_is_too_long_is_read_to_its_end_so_that_the_answer_arrives() {
        for length in [Some((MAX_BODY * 4).to_string()), None] {
            let mut pairs = GET.to_vec();
            pairs.extend(length.as_deref().map(|length| ("CONTENT_LENGTH", length)));
            let sent = vec![b'x'; MAX_BODY * 4];
            let mut rest = &sent[..];
            assert_eq!(receive(variables(&pairs), &mut rest).unwrap().body, Body::TooLarge);
            assert!(rest.is_empty(), "{length:?}: {} bytes are left", rest.len());
        }
    }

    #[test]
    fn empty_variable_is_none() {
        let names = ["CONTENT_TYPE", "CONTENT_LENGTH", "HTTP_X_ESPM_PSK", "HTTP_IDEMPOTENCY_KEY"];
        let pairs: Vec<_> = GET.into_iter().chain(names.map(|name| (name, ""))).collect();
        let request = receive(variables(&pairs), &b"{}"[..]).unwrap();
        assert!(request.content_type.is_none() && request.psk.is_none() && request.idempotency_key.is_none());
        assert_eq!(request.body, Body::Whole(b"{}".to_vec()));
    }

    #[test]
    fn no_cache_is_found_among_other_directives() {
        for (value, expected) in [("no-cache", true), ("max-age=0, No-Cache", true), ("no-cachet", false)] {
            let pairs = [GET[0], GET[1], ("HTTP_CACHE_CONTROL", value)];
            assert_eq!(receive(variables(&pairs), &b""[..]).unwrap().no_cache, expected, "{value}");
        }
    }
}
