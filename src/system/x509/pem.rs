//! PEM (RFC 7468), block by block: only what stands between two boundaries counts, whatever bytes stand around it.

use std::io::BufRead;
use std::mem::replace;

use data_encoding::BASE64;

use super::X509Error;

/// What some editors write before everything else.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

const BEGIN: &[u8] = b"-----BEGIN ";
const END: &[u8] = b"-----END ";
const DASHES: &[u8] = b"-----";

/// Characters that are decoded at a time, in whole groups of four.
const CHUNK: usize = 64 * 1024;

const BAD: X509Error = X509Error::Unreadable("the PEM");

/// What a block holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Label {
    Certificate,
    Request,
    RevocationList,
    PublicKey,
    Pkcs1Key,
    Pkcs8Key,
    Sec1Key,
}

impl Label {
    /// The kind of block that a line begins; `None` for blocks that espm does not read.
    fn of(label: &[u8]) -> Option<Self> {
        Some(match label {
            b"CERTIFICATE" | b"X509 CERTIFICATE" => Self::Certificate,
            b"CERTIFICATE REQUEST" | b"NEW CERTIFICATE REQUEST" => Self::Request,
            b"PUBLIC KEY" => Self::PublicKey,
            b"X509 CRL" => Self::RevocationList,
            b"RSA PRIVATE KEY" => Self::Pkcs1Key,
            b"PRIVATE KEY" => Self::Pkcs8Key,
            b"EC PRIVATE KEY" => Self::Sec1Key,
            _ => return None,
        })
    }
}

/// The blocks of a file, each decoded when it is asked for.
#[derive(Debug)]
pub(super) struct Blocks<R> {
    reader: R,
    line: Vec<u8>,
    begun: bool,
}

impl<R: BufRead> Blocks<R> {
    pub(super) fn of(reader: R) -> Self {
        Self { reader, line: Vec::new(), begun: false }
    }

    /// Reads the next line, without what ends it; `None` at the end.
    fn read_line(&mut self) -> Result<Option<&[u8]>, X509Error> {
        self.line.clear();
        let length = self.reader.read_until(b'\n', &mut self.line).map_err(|_| BAD)?;
        let line = self.line.trim_ascii_end();
        let mark = if replace(&mut self.begun, true) { None } else { line.strip_prefix(BYTE_ORDER_MARK) };
        Ok((length > 0).then_some(mark.unwrap_or(line)))
    }

    fn block(&mut self) -> Result<Option<(Label, Vec<u8>)>, X509Error> {
        loop {
            let Some(line) = self.read_line()? else { return Ok(None) };
            let Some(rest) = line.strip_prefix(BEGIN) else { continue };
            let (label, end) = (rest.strip_suffix(DASHES).and_then(Label::of), [END, rest].concat());
            if let Some(label) = label {
                return Ok(Some((label, self.body(&end)?)));
            }
        }
    }

    /// The bytes of a block up to the line that ends it.
    fn body(&mut self, end: &[u8]) -> Result<Vec<u8>, X509Error> {
        let (mut der, mut text) = (Vec::new(), Vec::with_capacity(CHUNK));
        loop {
            let line = self.read_line()?.ok_or(BAD)?;
            if line == end {
                decode(&mut der, &mut text)?;
                return if text.is_empty() { Ok(der) } else { Err(BAD) };
            }
            if line.iter().any(u8::is_ascii_whitespace) {
                text.extend(line.iter().filter(|byte| !byte.is_ascii_whitespace()));
            } else {
                text.extend_from_slice(line);
            }
            if text.len() >= CHUNK {
                decode(&mut der, &mut text)?;
            }
        }
    }
}

impl<R: BufRead> Iterator for Blocks<R> {
    type Item = Result<(Label, Vec<u8>), X509Error>;

    fn next(&mut self) -> Option<Self::Item> {
        self.block().transpose()
    }
}

/// Decodes the whole groups of four characters, and leaves the rest.
fn decode(der: &mut Vec<u8>, text: &mut Vec<u8>) -> Result<(), X509Error> {
    let whole = text.len() - text.len() % 4;
    let (groups, before) = (text.get(..whole).unwrap_or_default(), der.len());
    der.resize(before + whole / 4 * 3, 0);
    let decoded = BASE64.decode_mut(groups, der.get_mut(before..).unwrap_or_default()).map_err(|_| BAD)?;
    der.truncate(before + decoded);
    text.drain(..whole);
    Ok(())
}
