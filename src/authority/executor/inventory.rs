//! The CA's inventory, a line for each certificate that it has ever signed, as far as it is about one name.
//!
//! It is read as bytes and piece by piece.

use std::collections::BTreeSet;
use std::io::{self, BufRead};

use serde::{Deserialize, Serialize};

use crate::model::name::NodeName;
use crate::system::clock;

/// Characters of `2026-11-22T23:49:10`, after which the inventory has `UTC`.
const TIME: usize = 19;

/// A certificate of the name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct Line {
    /// As openssl prints it.
    pub(super) serial: String,
    begin: String,
    end: String,
}

impl Line {
    /// Whether the validity is that of a certificate, in seconds since 1970.
    pub(super) fn is_valid_as(&self, not_before: i64, not_after: i64) -> bool {
        self.begin == time(not_before) && self.end == time(not_after)
    }

    pub(super) fn has_expired(&self, now: i64) -> bool {
        self.end.as_str() < time(now).as_str()
    }
}

/// The lines of a name.
#[derive(Debug, Default)]
pub(super) struct Inventory {
    pub(super) lines: Vec<Line>,
    /// Their serial numbers that another certificate has as well, of another name or of this one, as after the CA was
    /// restored from a backup. To revoke the one would revoke the other.
    pub(super) shared: BTreeSet<String>,
}

impl Inventory {
    /// Reads the lines of a name, in two passes; the inventory may lack the master's own certificate, whose serial
    /// number this is.
    pub(super) fn of<R: BufRead>(name: &NodeName, passes: [R; 2], master: Option<&str>) -> io::Result<Self> {
        let own = format!("/CN={name}");
        let mut all = Self::default();
        let [first, second] = passes;
        each(first, |entry| {
            if entry.subject == own.as_bytes() {
                let [begin, end] = entry.times.map(|time| String::from_utf8_lossy(time).chars().take(TIME).collect());
                all.lines.push(Line { serial: serial(&String::from_utf8_lossy(entry.serial)), begin, end });
            }
        })?;
        // Puppet may write the same line twice.
        let twice = |line: &&Line| all.lines.iter().any(|other| other.serial == line.serial && other != *line);
        let twice: BTreeSet<_> = all.lines.iter().filter(twice).map(|line| line.serial.clone()).collect();
        let is_own = |number: &String| all.lines.iter().any(|line| line.serial == *number);
        let mut shared = twice;
        shared.extend(master.map(str::to_owned).filter(is_own));
        if !all.lines.is_empty() {
            each(second, |entry| {
                if entry.subject != own.as_bytes() {
                    shared.extend(Some(serial(&String::from_utf8_lossy(entry.serial))).filter(is_own));
                }
            })?;
        }
        all.shared = shared;
        Ok(all)
    }
}

/// A line: `0x0003 BEGIN END /CN=web01.example.com`. Names of Puppet 2.7's time may be in any encoding.
struct Entry<'a> {
    /// In hexadecimal.
    serial: &'a [u8],
    times: [&'a [u8]; 2],
    subject: &'a [u8],
}

impl<'a> Entry<'a> {
    /// Reads a line; `None` when it is none of an inventory.
    fn read(line: &'a [u8]) -> Option<Self> {
        let mut words = line.trim_ascii().splitn(4, |byte| *byte == b' ');
        let serial = words.next()?.strip_prefix(b"0x")?;
        let times = [words.next()?, words.next()?];
        Some(Self { serial, times, subject: words.next()?.trim_ascii_start() })
    }
}

fn each(mut lines: impl BufRead, mut look: impl FnMut(Entry<'_>)) -> io::Result<()> {
    let mut line = Vec::new();
    while lines.read_until(b'\n', &mut line)? > 0 {
        if let Some(entry) = Entry::read(&line) {
            look(entry);
        }
        line.clear();
    }
    Ok(())
}

/// Hexadecimal digits in whole bytes and upper case, as openssl prints a serial number.
fn serial(digits: &str) -> String {
    let digits = digits.trim_start_matches('0').to_ascii_uppercase();
    match digits.len() {
        0 => "00".to_owned(),
        length if length % 2 == 1 => format!("0{digits}"),
        _ => digits,
    }
}

fn time(seconds: i64) -> String {
    clock::rfc3339(seconds).get(..TIME).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::Inventory;
    use crate::model::name::NodeName;

    #[test]
    fn line_is_a_names_by_its_whole_subject_and_a_number_by_its_value() {
        let name = NodeName::parse("web01").unwrap();
        let mut inventory = b"# SERIAL NOT_BEFORE NOT_AFTER SUBJECT\n0x0001 a b /CN=ca\n".to_vec();
        inventory.extend(b"0x001a 2026-11-22T23:49:10UTC 2031-11-22T23:49:10UTC /CN=web01\n0x1A a b /CN=web011\n");
        inventory
            .extend(b"0x002b a b /CN=web01\n0x2C a b /CN=f\xfcr\n0x002c a b /CN=web01\n0x07 a b /CN=web01\n\nnoise");
        inventory.extend(b"\n0x2b a b /CN=Puppet CA: web01\n0x3d a b /CN=web01\n0x3d a c /CN=web01\n");
        inventory.extend(b"0x4e a b /CN=web01\n0x4e a b /CN=web01\n");
        let found = Inventory::of(&name, [&inventory[..], &inventory[..]], Some("07")).unwrap();
        let serials: Vec<_> = found.lines.iter().map(|line| line.serial.as_str()).collect();
        assert_eq!(serials, ["1A", "2B", "2C", "07", "3D", "3D", "4E", "4E"]);
        assert_eq!(found.shared, ["07", "1A", "2B", "2C", "3D"].map(str::to_owned).into());
        let (begin, end) = (1_795_391_350, 1_953_157_750);
        assert!(found.lines[0].is_valid_as(begin, end) && !found.lines[0].is_valid_as(begin, end + 1));
        assert!(found.lines[0].has_expired(end + 1) && !found.lines[0].has_expired(end - 1));
        assert!(!found.lines[1].has_expired(i64::MAX), "what cannot be read has not expired");
    }
}
