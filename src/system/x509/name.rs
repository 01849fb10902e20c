//! Distinguished names, compared as RFC 5280, section 7.1 says and openssl does.
//!
//! Each text is compared in UTF-8 whatever string type it is written in, without case, outer blanks or the number of
//! inner blanks. Puppet writes the name of a CA as UTF8String into each certificate that the CA signs, even where the
//! CA's own certificate has it as PrintableString.

use super::der::{OID, Reader, SEQUENCE, SET};

/// A name that compares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Name(Vec<Vec<Attribute>>);

/// An attribute's type, the identifier octet of a value that is no text, and its value.
type Attribute = (Vec<u8>, Option<u8>, Vec<u8>);

impl Name {
    /// The name that DER holds; `None` when it cannot be read.
    pub(super) fn read(der: &[u8]) -> Option<Self> {
        let mut parts = Reader(der).inside(SEQUENCE)?;
        let mut name = Vec::new();
        while !parts.is_empty() {
            name.push(part(parts.inside(SET)?)?);
        }
        Some(Self(name))
    }
}

fn part(mut attributes: Reader<'_>) -> Option<Vec<Attribute>> {
    let mut part = Vec::new();
    while !attributes.is_empty() {
        let mut attribute = attributes.inside(SEQUENCE)?;
        let (kind, value) = (attribute.content(OID)?.to_vec(), attribute.element()?);
        part.push(match text(value.tag, value.content) {
            Some(text) => (kind, None, folded(&text)),
            None => (kind, Some(value.tag), value.content.to_vec()),
        });
    }
    part.sort();
    Some(part)
}

/// The text of a string type.
fn text(tag: u8, content: &[u8]) -> Option<String> {
    let wide = |width: usize| {
        let (characters, rest) = (content.chunks_exact(width), content.len() % width);
        let code = |bytes: &[u8]| bytes.iter().fold(0, |code, byte| code << 8 | u32::from(*byte));
        (rest == 0).then(|| characters.map(|bytes| char::from_u32(code(bytes))).collect::<Option<String>>())?
    };
    match tag {
        // UTF8String, PrintableString, IA5String, VisibleString.
        0x0c | 0x13 | 0x16 | 0x1a => String::from_utf8(content.to_vec()).ok(),
        // TeletexString, which is read as Latin-1 everywhere.
        0x14 => Some(content.iter().copied().map(char::from).collect()),
        // UniversalString and BMPString.
        0x1c => wide(4),
        0x1e => wide(2),
        _ => None,
    }
}

/// A text without case and without blanks that do not count.
fn folded(text: &str) -> Vec<u8> {
    let words = text.split(|c: char| c.is_ascii_whitespace() || c == '\x0b').filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join(" ").to_ascii_lowercase().into_bytes()
}
