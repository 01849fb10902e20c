//! A reader of DER (X.690) that borrows and allocates nothing, and a writer of single elements.

/// Identifier octets.
pub(super) const BOOLEAN: u8 = 0x01;
pub(super) const INTEGER: u8 = 0x02;
pub(super) const BIT_STRING: u8 = 0x03;
pub(super) const OCTET_STRING: u8 = 0x04;
pub(super) const OID: u8 = 0x06;
pub(super) const UTF8_STRING: u8 = 0x0c;
pub(super) const SEQUENCE: u8 = 0x30;
pub(super) const SET: u8 = 0x31;

/// A context-specific, constructed identifier octet.
pub(super) const fn context(number: u8) -> u8 {
    0xa0 | number
}

/// An element: its identifier octet, its content, and both with the length between them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Element<'a> {
    pub(super) tag: u8,
    pub(super) content: &'a [u8],
    pub(super) whole: &'a [u8],
}

/// The elements that are left.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    /// The next element; `None` at the end and where there is no DER.
    pub(super) fn element(&mut self) -> Option<Element<'a>> {
        let whole = self.0;
        let (&tag, rest) = whole.split_first()?;
        let (&first, mut rest) = rest.split_first()?;
        let mut length = usize::from(first);
        // Tags beyond 30, lengths without a number (BER) and lengths of 4 GiB stand in no certificate.
        if tag & 0x1f == 0x1f || first == 0x80 || first > 0x84 {
            return None;
        }
        if first > 0x80 {
            let (bytes, after) = rest.split_at_checked(usize::from(first & 0x7f))?;
            length = bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte));
            if length < 0x80 || bytes.first() == Some(&0) {
                return None;
            }
            rest = after;
        }
        let (content, rest) = rest.split_at_checked(length)?;
        let whole = whole.get(..whole.len() - rest.len())?;
        self.0 = rest;
        Some(Element { tag, content, whole })
    }

    /// The next element if it has this identifier octet; else it stays.
    pub(super) fn optional(&mut self, tag: u8) -> Option<Element<'a>> {
        let mut after = *self;
        let element = after.element().filter(|element| element.tag == tag)?;
        *self = after;
        Some(element)
    }

    /// The content of the next element, which has this identifier octet.
    pub(super) fn content(&mut self, tag: u8) -> Option<&'a [u8]> {
        Some(self.optional(tag)?.content)
    }

    /// The elements in the next one, which has this identifier octet.
    pub(super) fn inside(&mut self, tag: u8) -> Option<Reader<'a>> {
        self.content(tag).map(Reader)
    }
}

/// The octets of a bit string that has no unused bits.
pub(super) fn bits(content: &[u8]) -> Option<&[u8]> {
    content.split_first().filter(|(unused, _)| **unused == 0).map(|(_, octets)| octets)
}

/// An object identifier in dotted text, its numbers written as short as they can be (X.690, section 8.19).
pub(super) fn dotted(content: &[u8]) -> Option<String> {
    let (mut numbers, mut number, mut begun) = (Vec::new(), 0_u64, false);
    for byte in content {
        let padding = !begun && *byte == 0x80;
        if padding || number > u64::MAX >> 7 {
            return None;
        }
        number = number << 7 | u64::from(byte & 0x7f);
        begun = byte & 0x80 != 0;
        if !begun {
            numbers.push(number);
            number = 0;
        }
    }
    let (first, rest) = numbers.split_first().filter(|_| !begun)?;
    let top = (first / 40).min(2);
    Some([&[top, first - 40 * top], rest].concat().iter().map(ToString::to_string).collect::<Vec<_>>().join("."))
}

/// A DER element.
pub(super) fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len().to_be_bytes();
    let length = length.get(length.iter().take_while(|byte| **byte == 0).count()..).unwrap_or_default();
    let mut der = vec![tag];
    match length {
        [] => der.push(0),
        [short] if *short < 0x80 => der.push(*short),
        long => {
            der.push(0x80 | u8::try_from(long.len()).unwrap_or_default());
            der.extend(long);
        }
    }
    der.extend(content);
    der
}
