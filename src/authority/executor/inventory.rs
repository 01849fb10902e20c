//! The CA's inventory: a line for each certificate that it has ever signed, read as bytes and piece by piece.

use std::io::BufRead;
use std::path::Path;

use crate::system::trusted_file::{self, FileError, Owner};

/// Bytes of an inventory.
const MAX_INVENTORY: u64 = 256 * 1024 * 1024;

/// A line: `0x0003 BEGIN END /CN=web01.example.com`. Names of Puppet 2.7's time may be in any encoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry<'a> {
    /// The serial number in hexadecimal, without leading zeros.
    serial: &'a [u8],
    subject: &'a [u8],
}

impl<'a> Entry<'a> {
    /// Reads a line; `None` when it is none of an inventory.
    fn read(line: &'a [u8]) -> Option<Self> {
        let line = line.trim_ascii();
        let mut words = line.splitn(4, |byte| *byte == b' ');
        let serial = words.next()?.strip_prefix(b"0x")?;
        Some(Self { serial: significant(serial), subject: words.nth(2)?.trim_ascii_start() })
    }

    pub(super) fn has_serial(&self, digits: &str) -> bool {
        self.serial.eq_ignore_ascii_case(significant(digits.as_bytes()))
    }

    /// Whether it is of exactly this name.
    pub(super) fn is_of(&self, name: &str) -> bool {
        self.subject.strip_prefix(b"/CN=") == Some(name.as_bytes())
    }
}

/// Digits without leading zeros.
fn significant(digits: &[u8]) -> &[u8] {
    digits.get(digits.iter().take_while(|digit| **digit == b'0').count()..).unwrap_or_default()
}

/// Whether any line of an inventory is so; a missing inventory has none.
pub(super) fn any(path: &Path, is_so: impl FnMut(Entry<'_>) -> bool) -> Result<bool, FileError> {
    match trusted_file::optional(trusted_file::reader(path, MAX_INVENTORY, Owner::Anyone))? {
        Some(lines) => any_line(lines, is_so).map_err(FileError::at(path)),
        None => Ok(false),
    }
}

fn any_line(mut lines: impl BufRead, mut is_so: impl FnMut(Entry<'_>) -> bool) -> std::io::Result<bool> {
    let mut line = Vec::new();
    while lines.read_until(b'\n', &mut line)? > 0 {
        if Entry::read(&line).is_some_and(&mut is_so) {
            return Ok(true);
        }
        line.clear();
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::any_line;

    #[test]
    fn serial_number_is_anothers_by_its_own_line_of_inventory() {
        let inventory =
            b"0x0001 a b /CN=ca\n0x001a a b /CN=web01\n0x1A a b /CN=web011\n0x002b a b /CN=web01\n\nnoise\n\
            0x99 a b /CN=b\xfcro\n0x0f a b /CN=Puppet CA: web01\n0x\n0x77 a b /O=x/CN=web01";
        let cases = [("01", true), ("1A", true), ("2B", false), ("03", false), ("A", false), ("99", true), ("F", true)];
        for (serial, anothers) in cases.into_iter().chain([("77", true), ("", false)]) {
            let found = any_line(&inventory[..], |line| line.has_serial(serial) && !line.is_of("web01"));
            assert_eq!(found.unwrap(), anothers, "{serial}");
        }
    }
}
