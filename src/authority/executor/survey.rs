//! Whose the certificates of a name are: a pure judgement of what the record and the CA's files say.

use std::collections::BTreeSet;

use super::inventory::{Inventory, Line};
use super::record::{Made, Record};
use crate::system::x509;

/// The CA's copy of a certificate of the name, of which the CA keeps the last one alone.
#[derive(Debug, Clone)]
pub(super) struct Signed {
    pub(super) serial: String,
    /// SHA-256 of its public key.
    pub(super) key: String,
    /// Whether today's CA has signed it.
    pub(super) of_this_ca: bool,
    pub(super) not_before: i64,
    pub(super) not_after: i64,
}

/// What is known of a name.
#[derive(Debug)]
pub(super) struct Facts<'a> {
    pub(super) record: &'a Record,
    /// The key of the CA that signs today.
    pub(super) ca: &'a str,
    pub(super) inventory: &'a Inventory,
    pub(super) signed: Option<&'a Signed>,
    /// The serial numbers that are in the revocation list.
    pub(super) revoked: &'a BTreeSet<String>,
    /// Seconds since 1970.
    pub(super) now: i64,
}

/// The certificates of a name by their serial numbers: those that are neither revoked nor expired, whose they are.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Survey {
    /// Proven to be espm's: made by it, or renewals of what it made.
    pub(super) ours: BTreeSet<String>,
    /// Somebody else's.
    pub(super) others: BTreeSet<String>,
    /// Of espm's, those that are not what was asked for.
    pub(super) flawed: BTreeSet<String>,
    /// Another certificate has the number as well, so it can never be revoked.
    pub(super) shared: BTreeSet<String>,
    /// Fingerprints of what is recorded, but of another CA or of one that was restored from a backup; nothing is
    /// revoked for them. Their serial numbers may be those of newer certificates of espm's.
    pub(super) void: BTreeSet<String>,
    /// Those of the name that are revoked.
    pub(super) revoked: BTreeSet<String>,
    /// The CA can revoke by the name, and that revokes nothing that is another's.
    pub(super) by_name: bool,
    /// How many of the name the CA has ever signed.
    pub(super) lines: usize,
    /// The serial number of the CA's copy.
    pub(super) copy: Option<String>,
}

impl Survey {
    /// Whether a recorded certificate may still be valid.
    pub(super) fn is_live(&self, made: &Made) -> bool {
        self.ours.contains(&made.serial) || self.void.contains(&made.fingerprint)
    }
}

impl Signed {
    /// Whether it is a certificate of a recorded key, without a flaw, and valid but for the revocation list.
    pub(super) fn counts(&self, record: &Record, ca: &str, now: i64) -> bool {
        let flawed = |made: &Made| made.flawed && made.ca == ca && made.serial == self.serial && made.key == self.key;
        self.of_this_ca
            && !record.made.iter().any(flawed)
            && (self.not_before - x509::SKEW..=self.not_after).contains(&now)
            && record.made.iter().any(|made| made.key == self.key && made.ca == ca)
    }
}

impl Facts<'_> {
    /// The number is this name's and no other's.
    fn is_listed(&self, serial: &str) -> bool {
        !self.inventory.shared.contains(serial) && self.inventory.lines.iter().any(|line| line.serial == serial)
    }

    /// The CA still knows the very certificate that was recorded.
    fn is_proven(&self, made: &Made) -> bool {
        let mut lines = self.inventory.lines.iter().filter(|line| line.serial == made.serial);
        made.ca == self.ca
            && self.is_listed(&made.serial)
            && lines.all(|line| line.is_valid_as(made.not_before, made.not_after))
            && self.signed.is_none_or(|signed| signed.serial != made.serial || signed.key == made.key)
    }

    /// The first serial number that a certificate of the key in the CA's copy can have.
    /// `None` where that key is not espm's.
    fn renewed_from(&self) -> Option<Vec<u8>> {
        let signed = self.signed.filter(|signed| signed.of_this_ca && self.is_listed(&signed.serial))?;
        let mut made = self.record.made.iter().filter(|made| made.ca == self.ca && made.key == signed.key).peekable();
        made.peek()?;
        let proven = made.filter(|made| self.is_proven(made)).map(|made| number(&made.serial));
        proven.chain([number(&signed.serial)]).min()
    }

    fn has_ended(&self, signed: &Signed) -> bool {
        signed.of_this_ca && signed.not_after < self.now && self.is_listed(&signed.serial)
    }

    pub(super) fn survey(&self) -> Survey {
        let live = |line: &&Line| {
            let over = self.revoked.contains(&line.serial) || line.has_expired(self.now);
            !over && !self.record.nobodys.contains(&(self.ca.to_owned(), (*line).clone()))
        };
        let renewed_from = self.renewed_from();
        let is_ours = |serial: &str| {
            let renewed = renewed_from.as_ref().is_some_and(|first| number(serial) >= *first);
            self.is_listed(serial)
                && (renewed || self.record.made.iter().any(|made| made.serial == serial && self.is_proven(made)))
        };
        let lines = self.inventory.lines.iter();
        let revoked = lines.map(|line| &line.serial).filter(|serial| self.revoked.contains(*serial)).cloned().collect();
        let copy = self.signed.map(|signed| signed.serial.clone());
        let mut survey = Survey { revoked, copy, lines: self.inventory.lines.len(), ..Survey::default() };
        for line in self.inventory.lines.iter().filter(live) {
            let of = match () {
                () if self.inventory.shared.contains(&line.serial) => &mut survey.shared,
                () if is_ours(&line.serial) => &mut survey.ours,
                () => &mut survey.others,
            };
            of.insert(line.serial.clone());
        }
        let flawed = self.record.made.iter().filter(|made| made.flawed && self.is_proven(made));
        survey.flawed =
            flawed.map(|made| &made.serial).filter(|serial| survey.ours.contains(*serial)).cloned().collect();
        let unrecorded = |made: &&Made| made.not_after >= self.now && !self.is_proven(made);
        survey.void = self.record.made.iter().filter(unrecorded).map(|made| made.fingerprint.clone()).collect();
        let unlisted = |signed: &&Signed| !self.is_listed(&signed.serial) && !self.revoked.contains(&signed.serial);
        let live = self.signed.filter(|signed| signed.of_this_ca && signed.not_after >= self.now);
        survey.others.extend(live.filter(unlisted).map(|signed| signed.serial.clone()));
        // A server may revoke the number of its copy, no matter whose that is.
        let known = self.signed.is_some_and(|signed| {
            survey.ours.contains(&signed.serial) || self.revoked.contains(&signed.serial) || self.has_ended(signed)
        });
        survey.by_name = known && survey.others.is_empty() && survey.shared.is_empty();
        survey
    }
}

/// A serial number as a value that compares as the number does.
fn number(serial: &str) -> Vec<u8> {
    let digits = serial.trim_start_matches('0');
    let length = u32::try_from(digits.len()).unwrap_or(u32::MAX);
    length.to_be_bytes().into_iter().chain(digits.bytes()).collect()
}
