//! The CA: its files, its commands one effect or one line at a time, and what others do there.

use std::collections::BTreeSet;

use super::super::inventory::Inventory;
use super::super::plan::By;
use super::super::record::{Made, Record};
use super::super::survey::{Facts, Signed, Survey};
use super::handler::Verb;
use super::{Act, Flavour, World, name};
use crate::system::clock;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Name {
    Own,
    Other,
}

/// A certificate, and what is true of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Cert {
    pub(super) ca: u8,
    pub(super) serial: u8,
    pub(super) name: Name,
    /// 0 is a human's.
    pub(super) key: u8,
    pub(super) era: u8,
    /// espm's command had it signed.
    pub(super) commands: bool,
    pub(super) flawed: bool,
    pub(super) recorded: bool,
    /// Its client or the operator has asked for its revocation.
    pub(super) asked: bool,
    /// It was revoked.
    pub(super) done: bool,
    /// A renewal whose copy the CA has lost, so that nothing told whose it was, or a renewal of one.
    pub(super) orphan: bool,
}

/// What a backup of the CA has.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Files {
    pub(super) ca: u8,
    /// The serial number of the master's certificate, which is not in the inventory.
    pub(super) master: u8,
    pub(super) next: u8,
    pub(super) lines: Vec<usize>,
    /// The CA's copy, and the boot during which it was written.
    pub(super) signed: Option<(usize, u8)>,
    /// The key of the request that waits.
    pub(super) request: Option<u8>,
    pub(super) revoked: BTreeSet<u8>,
}

/// A command of the CA, at its next step.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Run {
    Generate { key: u8, at: u8 },
    Revoke { serial: String, by: By },
}

impl Run {
    pub(super) fn signs_next(&self) -> bool {
        matches!(self, Self::Generate { at: 2, .. })
    }
}

const YEAR: i64 = 31_536_000;

impl Cert {
    fn validity(self, at: usize) -> (i64, i64) {
        let begin = i64::from(self.era) * 10 * YEAR + i64::try_from(at).unwrap();
        (begin, begin + 5 * YEAR)
    }
}

impl World {
    fn now(&self) -> i64 {
        i64::from(self.era) * 10 * YEAR + YEAR
    }

    pub(super) fn is_valid(&self, cert: Cert) -> bool {
        cert.ca == self.files.ca && cert.era == self.era && !self.files.revoked.contains(&cert.serial)
    }

    pub(super) fn signed(&self) -> Option<Signed> {
        self.files.signed.map(|(at, _)| {
            let made = self.made(at);
            Signed {
                of_this_ca: self.certs[at].ca == self.files.ca,
                serial: made.serial,
                key: made.key,
                not_before: made.not_before,
                not_after: made.not_after,
            }
        })
    }

    pub(super) fn made(&self, at: usize) -> Made {
        let cert = self.certs[at];
        let (not_before, not_after) = cert.validity(at);
        Made {
            key: format!("k{}", cert.key),
            ca: format!("ca{}", cert.ca),
            serial: format!("{:02X}", cert.serial),
            fingerprint: format!("f{at}"),
            not_before,
            not_after,
            certificate: String::new(),
            flawed: false,
        }
    }

    pub(super) fn inventory(&self) -> Inventory {
        let mut text = String::new();
        for at in &self.files.lines {
            let cert = self.certs[*at];
            let (begin, end) = cert.validity(*at);
            let [begin, end] = [begin, end].map(|time| clock::rfc3339(time).replace('Z', "UTC"));
            let subject = if cert.name == Name::Own { "web01" } else { "hand01" };
            text += &format!("0x{:04x} {begin} {end} /CN={subject}\n", cert.serial);
        }
        let master = format!("{:02X}", self.files.master);
        Inventory::of(&name(), [text.as_bytes(), text.as_bytes()], Some(&master)).unwrap()
    }

    pub(super) fn survey(&self, record: &Record) -> Survey {
        let (inventory, signed) = (self.inventory(), self.signed());
        let revoked = self.files.revoked.iter().map(|serial| format!("{serial:02X}")).collect();
        let ca = format!("ca{}", self.files.ca);
        let (inventory, signed, now) = (&inventory, signed.as_ref(), self.now());
        Facts { record, ca: &ca, inventory, signed, revoked: &revoked, now }.survey()
    }

    pub(super) fn current(&self, record: &Record) -> bool {
        let ca = format!("ca{}", self.files.ca);
        let copy = self.signed().filter(|signed| signed.counts(record, &ca, self.now()));
        copy.is_some() && self.files.signed.is_some_and(|(at, _)| !self.files.revoked.contains(&self.certs[at].serial))
    }

    /// Signs, and keeps a copy of what the name has.
    pub(super) fn sign(&mut self, name: Name, key: u8, commands: bool, flawed: bool) {
        let [recorded, done, orphan] = [false; 3];
        // A request is about whatever is there until it is answered.
        let asked = self.handler.as_ref().is_some_and(|handler| handler.verb == Verb::Revoke);
        let (ca, serial, era) = (self.files.ca, self.files.next, self.era);
        self.files.next += 1;
        self.files.lines.push(self.certs.len());
        if name == Name::Own {
            self.files.signed = Some((self.certs.len(), self.boot));
            if key == 0 {
                self.lose_track();
            }
        }
        self.certs.push(Cert { ca, serial, name, key, era, commands, flawed, recorded, asked, done, orphan });
    }

    /// The CA has no copy of espm's any more.
    fn lose_track(&mut self) {
        self.certs.iter_mut().for_each(|cert| cert.orphan |= !cert.recorded);
    }

    pub(super) fn is_listed(&self, at: usize) -> bool {
        self.files.lines.contains(&at)
    }

    /// The number is another certificate's as well, so it can never be revoked.
    fn is_shared(&self, at: usize) -> bool {
        let serial = self.certs[at].serial;
        let others = self.files.lines.iter().any(|other| *other != at && self.certs[*other].serial == serial);
        others || serial == self.files.master
    }

    /// The key of the CA's copy, where that is espm's and of today's CA.
    fn copys_key(&self) -> Option<u8> {
        let (at, _) = self.files.signed.filter(|(at, _)| self.is_listed(*at) && !self.is_shared(*at))?;
        let copy = self.certs[at];
        let recorded = |cert: &Cert| cert.recorded && cert.ca == copy.ca && cert.key == copy.key;
        (copy.ca == self.files.ca && copy.key > 0 && self.certs.iter().any(recorded)).then_some(copy.key)
    }

    /// The least number of a certificate of that key that is recorded and that today's CA knows.
    fn first_of(&self, key: u8) -> Option<u8> {
        let known = |(at, cert): &(usize, &Cert)| {
            cert.recorded && cert.ca == self.files.ca && cert.key == key && self.is_listed(*at) && !self.is_shared(*at)
        };
        self.certs.iter().enumerate().filter(known).map(|(_, cert)| cert.serial).min()
    }

    /// Whether an answered revocation leaves something to do: what espm handed out, and its renewals while the CA's
    /// copy tells of them. A CA that is restored loses revocations; those are for a human to make again.
    pub(super) fn is_to_be_revoked(&self, at: usize) -> bool {
        let cert = self.certs[at];
        let is_copy = self.files.signed.is_some_and(|(copy, _)| copy == at);
        let later = || self.first_of(cert.key).is_some_and(|first| first < cert.serial);
        let renewal = cert.key > 0 && self.copys_key() == Some(cert.key) && (is_copy || later());
        let known = cert.name == Name::Own && self.is_listed(at) && !self.is_shared(at);
        known && (cert.recorded || (renewal && !cert.orphan)) && !cert.done && self.is_valid(cert)
    }

    pub(super) fn can_renew(&self, at: usize) -> bool {
        let cert = self.certs[at];
        let handed_out = cert.key > 0 && (cert.recorded || !cert.commands) && !cert.flawed;
        cert.name == Name::Own && handed_out && !cert.done && self.is_valid(cert)
    }

    /// A command puts a number into the list.
    fn revoke(&mut self, serial: u8) {
        if !self.files.revoked.insert(serial) {
            return;
        }
        if serial == self.files.master {
            self.breaks("the master's certificate is revoked");
        }
        // Every later number of the name while the CA's copy has espm's key.
        let first = self.copys_key().and_then(|key| self.first_of(key));
        for at in 0..self.certs.len() {
            let cert = self.certs[at];
            if cert.ca != self.files.ca || cert.serial != serial {
                continue;
            }
            self.certs[at].done = true;
            if !self.is_listed(at) {
                continue;
            }
            let own = cert.name == Name::Own;
            if own && cert.key > 0 {
                let nobodys = cert.commands && !cert.recorded;
                if !cert.asked && !cert.flawed && !nobodys {
                    self.breaks("a certificate is revoked that nobody asked for");
                }
            } else if !(own && first.is_some_and(|first| first < serial)) {
                self.breaks("another's certificate is revoked");
            }
        }
    }

    /// Something happens that is not espm's. `None` where it changes nothing.
    pub(super) fn happens(&mut self, act: &Act) -> Option<()> {
        match act {
            Act::Renews(at) => {
                let cert = self.certs[*at];
                self.sign(Name::Own, cert.key, false, false);
                let renewal = self.certs.last_mut()?;
                renewal.asked |= cert.asked;
                renewal.orphan = cert.orphan;
            }
            // What waits, or else a request of another server.
            Act::HumanSigns(Name::Own) => {
                let request = self.files.request.take();
                self.sign(Name::Own, request.unwrap_or(0), request.is_some(), false);
            }
            Act::HumanSigns(name) => self.sign(*name, 0, false, false),
            Act::CopyIsLost => {
                self.files.signed.take()?;
                self.lose_track();
            }
            Act::Backup => self.backup = self.files.clone(),
            Act::Restore => {
                self.files = self.backup.clone();
                // Nobody signs a request that comes back although espm has dropped it.
                let known = |key: &u8| {
                    let recorded = self.record.as_ref().is_some_and(|record| record.has_key(&format!("k{key}")));
                    recorded || self.key.is_some_and(|(on_disk, _)| on_disk == *key)
                };
                self.files.request = self.files.request.filter(known);
            }
            Act::RestoreNumber => self.files.next = self.backup.next,
            Act::Anew(master) => {
                self.cas += 1;
                let (ca, master, next) = (self.cas, *master, master + 1);
                self.files =
                    Files { ca, master, next, lines: vec![], signed: None, request: None, revoked: BTreeSet::new() };
                (self.key, self.copy, self.late) = (None, None, None);
            }
            Act::Expire => self.era += 1,
            _ => return None,
        }
        Some(())
    }
}

/// Takes the next step of the command.
pub(super) fn step(flavour: Flavour, world: &mut World, flaw: bool) {
    match world.run.clone() {
        Some(Run::Generate { key, at }) => generate(flavour, world, key, at, flaw),
        Some(Run::Revoke { serial, by }) => {
            let copy = world.files.signed.map(|(at, _)| world.certs[at].serial);
            let serials = match (flavour, by) {
                (Flavour::CertByName, By::Number) => vec![],
                (Flavour::Cert, By::Number) => vec![u8::from_str_radix(&serial, 16).unwrap()],
                (Flavour::Server, _) if copy.is_some() => {
                    let own = |at: &&usize| world.certs[**at].name == Name::Own && world.certs[**at].era == world.era;
                    world.files.lines.iter().filter(own).map(|at| world.certs[*at].serial).collect()
                }
                _ => copy.into_iter().collect(),
            };
            serials.into_iter().for_each(|serial| world.revoke(serial));
            world.run = None;
        }
        None => {}
    }
}

/// `puppet cert` says so before it signs; a server signs by itself, and the command says so afterwards.
fn generate(flavour: Flavour, world: &mut World, key: u8, at: u8, flaw: bool) {
    let server = matches!(flavour, Flavour::ServerByCopy | Flavour::Server);
    world.run = Some(Run::Generate { key, at: at + 1 });
    match (at, server) {
        (0, _) => {
            world.key = Some((key, world.boot));
            if server {
                world.output += "Successfully saved private key for web01 to /ssl\n";
            }
        }
        (1, _) if world.files.signed.is_some() => {
            world.output += "Error: web01 already has a signed certificate; ignoring certificate request\n";
            end(world);
        }
        (1, _) => {
            world.files.request = Some(key);
            match server {
                true => world.late = Some(key),
                false => world.output += "Notice: Signed certificate request for web01\n",
            }
        }
        (2, _) if world.files.request != Some(key) || world.late.is_some() != server => end(world),
        (2, _) => {
            (world.late, world.files.request) = (None, None);
            world.sign(Name::Own, key, true, flaw);
        }
        (3, true) => world.output += "Successfully signed certificate request for web01\n",
        (3, false) => world.copy = world.certs.iter().rposition(|cert| cert.key == key),
        (4, true) => world.copy = world.files.signed.map(|(at, _)| at),
        _ => end(world),
    }
}

fn end(world: &mut World) {
    world.run = None;
    world.durable = world.output.len();
}
