//! PEM (RFC 7468), block by block: only what stands between two boundaries counts, whatever bytes stand around it.

use std::io::BufRead;
use std::iter;

use data_encoding::BASE64;
pub(super) use rustls_pemfile::Item;

use super::X509Error;

/// What some editors write before everything else.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Bytes that are a line of 64 characters in Base64.
const LINE: usize = 48;

const BAD: X509Error = X509Error::Unreadable("the PEM");

/// DER as a block of that label.
pub(crate) fn to_pem(label: &str, der: &[u8]) -> String {
    // Never grown, since it may be a private key: a copy that is given back is not wiped.
    let mut text = String::with_capacity(der.len() * 2 + 2 * label.len() + 64);
    text.extend(["-----BEGIN ", label, "-----\n"]);
    for line in der.chunks(LINE) {
        BASE64.encode_append(line, &mut text);
        text.push('\n');
    }
    text.extend(["-----END ", label, "-----\n"]);
    text
}

/// The blocks of a file, each decoded when it is asked for.
pub(super) fn items(mut reader: impl BufRead) -> impl Iterator<Item = Result<Item, X509Error>> {
    let mut begun = false;
    iter::from_fn(move || {
        if !begun && reader.fill_buf().is_ok_and(|text| text.starts_with(BYTE_ORDER_MARK)) {
            reader.consume(BYTE_ORDER_MARK.len());
        }
        begun = true;
        rustls_pemfile::read_one(&mut reader).map_err(|_| BAD).transpose()
    })
}
