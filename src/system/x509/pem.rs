//! PEM (RFC 7468), block by block: only what stands between two boundaries counts, whatever bytes stand around it.

use std::io::BufRead;
use std::iter;

use data_encoding::BASE64_NOPAD;
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

/// The lines around a revocation list.
const LIST: [&[u8]; 2] = [b"-----BEGIN X509 CRL-----", b"-----END X509 CRL-----"];

/// Bytes that a list gets at once, some 200,000 entries; unused they cost no memory, and growing would copy.
const ROOM: usize = 8 * 1024 * 1024;

/// Characters from which on a part of a list is decoded.
const PIECE: usize = 32 * 1024;

/// The revocation lists of a file. A list may be long, so it is decoded while it is read.
pub(super) fn lists(mut reader: impl BufRead) -> impl Iterator<Item = Result<Vec<u8>, X509Error>> {
    iter::from_fn(move || next_list(&mut reader).transpose())
}

fn next_list(reader: &mut impl BufRead) -> Result<Option<Vec<u8>>, X509Error> {
    let [begin, end] = LIST;
    let (mut line, mut text, mut der) = (Vec::new(), Vec::new(), Vec::new());
    let mut read = |line: &mut Vec<u8>| {
        line.clear();
        reader.read_until(b'\n', line).map_err(|_| BAD)
    };
    while line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&line).trim_ascii() != begin {
        if read(&mut line)? == 0 {
            return Ok(None);
        }
    }
    der.reserve_exact(ROOM);
    while read(&mut line)? > 0 {
        match line.trim_ascii() {
            found if found == end => {
                text.truncate(text.trim_ascii_end().len());
                let padding = text.iter().rev().take(2).take_while(|byte| **byte == b'=').count();
                text.truncate(text.len() - padding);
                decode(&mut text, 0, &mut der)?;
                return Ok(Some(der));
            }
            [b'-', ..] => return Err(BAD),
            part => {
                text.extend_from_slice(part);
                if text.len() >= PIECE {
                    // Padding is among the last characters alone.
                    decode(&mut text, 4, &mut der)?;
                }
            }
        }
    }
    Err(BAD)
}

/// Moves what a text encodes to the end of `der`. With `kept`, the text goes on and at least so many characters stay.
fn decode(text: &mut Vec<u8>, kept: usize, der: &mut Vec<u8>) -> Result<(), X509Error> {
    let mut attempt = |text: &mut Vec<u8>| {
        let whole = if kept == 0 { text.len() } else { text.len().saturating_sub(kept) / 4 * 4 };
        let at = der.len();
        der.resize(at + BASE64_NOPAD.decode_len(whole).ok()?, 0);
        let (from, to) = (text.get(..whole)?, der.get_mut(at..)?);
        if BASE64_NOPAD.decode_mut(from, to).is_err() {
            der.truncate(at);
            return None;
        }
        text.drain(..whole);
        Some(())
    };
    attempt(text).map_or_else(
        || {
            // Blanks within a line encode nothing, and few lists have any.
            text.retain(|byte| !byte.is_ascii_whitespace());
            attempt(text).ok_or(BAD)
        },
        Ok,
    )
}

#[cfg(test)]
mod tests {
    use data_encoding::BASE64;

    use super::{BAD, PIECE, lists};

    fn pem(der: &[u8], width: usize, end: &str) -> String {
        let text = BASE64.encode(der);
        let lines: Vec<_> = text.as_bytes().chunks(width).map(|line| std::str::from_utf8(line).unwrap()).collect();
        format!("-----BEGIN X509 CRL-----{end}{}{end}-----END X509 CRL-----{end}", lines.join(end))
    }

    fn read(text: &str) -> Vec<Vec<u8>> {
        lists(text.as_bytes()).collect::<Result<_, _>>().unwrap()
    }

    #[test]
    fn list_of_any_length_in_lines_of_any_width_is_read_as_it_is() {
        let piece = PIECE / 4 * 3;
        for length in (0..5).chain(piece - 100..piece + 4).chain(2 * piece - 2..2 * piece + 3) {
            let der: Vec<u8> = (0..length).map(|at| (at % 251) as u8).collect();
            for (width, end) in [(64, "\n"), (76, "\r\n"), (100_000, " \n"), (63, "\n\n")] {
                assert_eq!(read(&pem(&der, width, end)), vec![der.clone()], "{length} {width}");
            }
        }
        let two = format!("\u{feff}{}# comment\n{}", pem(b"one", 2, "\n"), pem(b"two", 64, "\n"));
        assert_eq!(read(&two), [b"one", b"two"]);
        assert_eq!(read("-----BEGIN X509 CRL-----\nb2 5l\n\tdHdv\n-----END X509 CRL-----"), [b"onetwo"]);
        assert_eq!(read("-----BEGIN CERTIFICATE-----\nb25l\n-----END CERTIFICATE-----\n"), Vec::<Vec<u8>>::new());
    }

    #[test]
    fn list_that_is_cut_short_or_no_base64_is_an_error() {
        let begin = "-----BEGIN X509 CRL-----";
        let end = "-----END X509 CRL-----";
        for bad in [
            begin.to_owned(),
            format!("{begin}\nb25l\n"),
            format!("{begin}\nb25l\n{begin}\nb25l\n{end}\n"),
            format!("{begin}\nb=25\n{end}\n"),
            format!("{begin}\nb25lb\n{end}\n"),
            format!("{begin}\nb2?l\n{end}\n"),
            format!("{begin}\nb25l====\n{end}\n"),
        ] {
            assert_eq!(lists(bad.as_bytes()).next(), Some(Err(BAD)), "{bad}");
        }
    }
}
