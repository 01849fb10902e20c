//! PEM (RFC 7468), block by block: only what stands between two boundaries counts, whatever bytes stand around it.

use std::io::BufRead;
use std::iter;

pub(super) use rustls_pemfile::Item;

use super::X509Error;

/// What some editors write before everything else.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

const BAD: X509Error = X509Error::Unreadable("the PEM");

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
