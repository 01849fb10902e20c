//! What the survey of a name's certificates says, for any record and any files of the CA, against a second reading of
//! the rules that counts in numbers and knows nothing of the first.

use std::collections::BTreeSet;

use proptest::collection::{btree_set, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use super::super::inventory::Inventory;
use super::super::record::{Made, Record, State};
use super::super::survey::{Facts, Signed, Survey};
use super::name;
use crate::system::clock;

/// Serial numbers around the lengths at which text and numbers differ in order.
const SERIALS: [u32; 8] = [1, 2, 9, 0x0a, 0x10, 0x7f, 0xff, 0x100];

/// Begin and end, in seconds since 1970.
const VALIDITIES: [(i64, i64); 3] = [(100, 1000), (200, 1000), (100, 2000)];

/// The CA that signs today, among all.
const TODAY: u8 = 0;

#[derive(Debug, Clone)]
struct Cert {
    serial: u32,
    key: u8,
    ca: u8,
    valid: (i64, i64),
    flawed: bool,
}

#[derive(Debug, Clone, PartialEq)]
struct Line {
    serial: u32,
    own: bool,
    valid: (i64, i64),
}

#[derive(Debug, Clone)]
struct Case {
    made: Vec<Cert>,
    nobodys: Vec<(u8, Line)>,
    lines: Vec<Line>,
    master: Option<u32>,
    signed: Option<Cert>,
    revoked: BTreeSet<u32>,
    now: i64,
}

fn serial() -> impl Strategy<Value = u32> {
    select(&SERIALS[..])
}

fn cert() -> impl Strategy<Value = Cert> {
    let cert = (serial(), 0..3_u8, 0..2_u8, select(&VALIDITIES[..]), any::<bool>());
    cert.prop_map(|(serial, key, ca, valid, flawed)| Cert { serial, key, ca, valid, flawed })
}

fn line(own: f64) -> impl Strategy<Value = Line> {
    let line = (serial(), prop::bool::weighted(own), select(&VALIDITIES[..]));
    line.prop_map(|(serial, own, valid)| Line { serial, own, valid })
}

fn case() -> impl Strategy<Value = Case> {
    let nobodys = (0..2_u8, line(1.0));
    let made = vec(cert(), 0..4);
    let (nobodys, revoked) = (vec(nobodys, 0..3), btree_set(serial(), 0..3));
    let now = select(vec![500, 1000, 1001, 1500]);
    (made, nobodys, vec(line(0.8), 0..7), option::of(serial()), option::of(cert()), revoked, now).prop_map(
        |(made, nobodys, lines, master, signed, revoked, now)| Case {
            made,
            nobodys,
            lines,
            master,
            signed,
            revoked,
            now,
        },
    )
}

/// As openssl prints it.
fn hex(serial: u32) -> String {
    let digits = format!("{serial:X}");
    if digits.len() % 2 == 1 { format!("0{digits}") } else { digits }
}

fn inventory(lines: &[Line], master: Option<u32>) -> Inventory {
    let mut text = String::new();
    for Line { serial, own, valid } in lines {
        let [begin, end] = [valid.0, valid.1].map(|time| clock::rfc3339(time).replace('Z', "UTC"));
        let subject = if *own { "web01" } else { "web011" };
        text += &format!("0x{serial:04x} {begin} {end} /CN={subject}\n");
    }
    let master = master.map(hex);
    Inventory::of(&name(), [text.as_bytes(), text.as_bytes()], master.as_deref()).unwrap()
}

impl Case {
    fn record(&self) -> Record {
        let made = self.made.iter().enumerate().map(|(at, cert)| Made {
            key: format!("k{}", cert.key),
            ca: format!("ca{}", cert.ca),
            serial: hex(cert.serial),
            fingerprint: format!("f{at}"),
            not_before: cert.valid.0,
            not_after: cert.valid.1,
            certificate: String::new(),
            flawed: cert.flawed,
        });
        let mut record = Record::new(&name(), State::Settled, made.collect());
        let nobodys = self.nobodys.iter().flat_map(|(ca, line)| {
            let lines = inventory(std::slice::from_ref(line), None).lines;
            lines.into_iter().map(move |line| (format!("ca{ca}"), line))
        });
        record.nobodys = nobodys.collect();
        record
    }

    fn survey(&self) -> Survey {
        let inventory = inventory(&self.lines, self.master);
        let signed = self.signed.as_ref().map(|cert| Signed {
            serial: hex(cert.serial),
            key: format!("k{}", cert.key),
            of_this_ca: cert.ca == TODAY,
            not_before: cert.valid.0,
            not_after: cert.valid.1,
        });
        let revoked = self.revoked.iter().copied().map(hex).collect();
        let record = self.record();
        let (inventory, signed) = (&inventory, signed.as_ref());
        Facts { record: &record, ca: "ca0", inventory, signed, revoked: &revoked, now: self.now }.survey()
    }

    fn own(&self, serial: u32) -> Vec<&Line> {
        self.lines.iter().filter(|line| line.own && line.serial == serial).collect()
    }

    /// Another certificate has the number as well, of whatever name.
    fn is_anothers_too(&self, serial: u32) -> bool {
        let own = self.own(serial);
        own.iter().any(|line| line.valid != own[0].valid)
            || self.master == Some(serial)
            || self.lines.iter().any(|line| !line.own && line.serial == serial)
    }

    /// Today's CA has given the number to this name alone.
    fn is_names(&self, serial: u32) -> bool {
        !self.own(serial).is_empty() && !self.is_anothers_too(serial)
    }

    /// It may be valid: neither revoked nor expired, and somebody may have it.
    fn may_be_valid(&self, serial: u32) -> bool {
        let nobodys = |line: &Line| self.nobodys.contains(&(TODAY, line.clone()));
        let live = self.own(serial).iter().any(|line| line.valid.1 >= self.now && !nobodys(line));
        live && !self.revoked.contains(&serial)
    }

    /// The number is that of this very certificate.
    fn is_known(&self, cert: &Cert) -> bool {
        let same_key = |signed: &Cert| signed.serial != cert.serial || signed.key == cert.key;
        cert.ca == TODAY
            && self.is_names(cert.serial)
            && self.own(cert.serial).iter().all(|line| line.valid == cert.valid)
            && self.signed.as_ref().is_none_or(same_key)
    }

    /// The CA's copy has a key of espm's, and the number is not before the first one of that key.
    fn is_renewal(&self, serial: u32) -> bool {
        let Some(signed) = &self.signed else { return false };
        let espms: Vec<_> = self.made.iter().filter(|cert| cert.ca == TODAY && cert.key == signed.key).collect();
        let after = |first: u32| first <= serial;
        signed.ca == TODAY
            && !espms.is_empty()
            && self.is_names(signed.serial)
            && (after(signed.serial) || espms.iter().any(|cert| self.is_known(cert) && after(cert.serial)))
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_revoked_is_proven_to_be_espms_and_nobody_elses(case in case()) {
        let survey = case.survey();
        let numbers = |which: &dyn Fn(u32) -> bool| {
            let which = |serial: &u32| case.may_be_valid(*serial) && which(*serial);
            SERIALS.into_iter().filter(which).map(hex).collect::<BTreeSet<_>>()
        };
        let espms = |serial: u32| {
            let recorded = case.made.iter().any(|cert| cert.serial == serial && case.is_known(cert));
            case.is_names(serial) && (recorded || case.is_renewal(serial))
        };
        prop_assert_eq!(&survey.ours, &numbers(&espms));
        let flawed = |serial: u32| {
            espms(serial) && case.made.iter().any(|cert| cert.flawed && cert.serial == serial && case.is_known(cert))
        };
        prop_assert_eq!(&survey.flawed, &numbers(&flawed));
        prop_assert_eq!(&survey.shared, &numbers(&|serial| case.is_anothers_too(serial)));
        // A copy that the inventory lacks is somebody's, too.
        let mut others = numbers(&|serial| case.is_names(serial) && !espms(serial));
        let unlisted = case.signed.iter().filter(|cert| {
            let valid = cert.ca == TODAY && cert.valid.1 >= case.now && !case.revoked.contains(&cert.serial);
            valid && !case.is_names(cert.serial)
        });
        others.extend(unlisted.map(|cert| hex(cert.serial)));
        prop_assert_eq!(&survey.others, &others);
        // A server may revoke every number of the name, and that of its copy.
        if survey.by_name {
            let copy = case.signed.as_ref().unwrap();
            let harmless = case.revoked.contains(&copy.serial) || copy.valid.1 < case.now;
            prop_assert!(harmless || espms(copy.serial));
            prop_assert!(SERIALS.into_iter().all(|serial| !case.may_be_valid(serial) || espms(serial)));
        }
        for (at, cert) in case.made.iter().enumerate() {
            let void = cert.valid.1 >= case.now && !case.is_known(cert);
            prop_assert_eq!(survey.void.contains(&format!("f{at}")), void, "{}", at);
        }
    }
}
