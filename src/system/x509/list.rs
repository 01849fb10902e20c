//! Revocation lists (RFC 5280, section 5): scanned, not built. A list of a million entries costs no more than its bytes.

use std::collections::BTreeSet;
use std::io::BufRead;

use x509_parser::extensions::X509Extension;
use x509_parser::prelude::FromDer;
use x509_parser::time::ASN1Time;

use super::chain::Certificate;
use super::der::{BOOLEAN, INTEGER, OCTET_STRING, OID, Reader, SEQUENCE, context};
use super::name::Name;
use super::pem::{Item, items};
use super::signature::Signed;
use super::{SKEW, X509Error, integer, number};

/// Identifier octets of times.
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// The extension that makes a list one of changes alone (2.5.29.27).
const DELTA: &[u8] = b"\x55\x1d\x1b";

/// The extension that makes a list one of some certificates, or of another CA's (2.5.29.28).
const DISTRIBUTION_POINT: &[u8] = b"\x55\x1d\x1c";

/// The extension that says by which key a list is signed (2.5.29.35).
const AUTHORITY_KEY: &[u8] = b"\x55\x1d\x23";

const BAD: X509Error = X509Error::Unreadable("the revocation list");

/// Serial numbers, each the content of an INTEGER without zeros that do not count.
pub(super) type Serials = BTreeSet<Vec<u8>>;

/// What the newest list of a CA says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Said {
    issued: i64,
    /// When the list ends, if it says so.
    pub(super) until: Option<i64>,
    /// Those of the serial numbers that are in it.
    pub(super) revoked: Serials,
}

/// A list, taken apart down to its entries.
struct List<'a> {
    der: &'a [u8],
    issuer: Name,
    issued: i64,
    until: Option<i64>,
    entries: Reader<'a>,
    extensions: Reader<'a>,
}

impl<'a> List<'a> {
    fn read(der: &'a [u8]) -> Option<Self> {
        let mut body = Reader(der).inside(SEQUENCE)?.inside(SEQUENCE)?;
        let _version = body.optional(INTEGER);
        let _algorithm = body.optional(SEQUENCE)?;
        let issuer = Name::read(body.optional(SEQUENCE)?.whole)?;
        let issued = time(&mut body)?;
        let until = time(&mut body);
        let entries = body.inside(SEQUENCE).unwrap_or(Reader(&[]));
        let extensions = match body.inside(context(0)) {
            Some(mut outer) => outer.inside(SEQUENCE)?,
            None => Reader(&[]),
        };
        body.is_empty().then_some(Self { der, issuer, issued, until, entries, extensions })
    }

    /// Those of the serial numbers that are in it.
    /// `None` when an entry cannot be read, or has an extension that must be understood.
    fn among(&self, serials: &Serials) -> Option<Serials> {
        let (mut entries, mut found) = (self.entries, Serials::new());
        while !entries.is_empty() {
            let mut entry = entries.inside(SEQUENCE)?;
            found.extend(serials.get(integer(entry.content(INTEGER)?)).cloned());
            entry.element()?;
            if let Some(extensions) = entry.inside(SEQUENCE) {
                each(extensions, |_, critical, _| !critical).filter(|understood| *understood)?;
            }
            if !entry.is_empty() {
                return None;
            }
        }
        Some(found)
    }

    /// Whether it is a whole list of its issuer's own.
    fn is_whole(&self) -> Option<bool> {
        each(self.extensions, |kind, _, _| kind != DELTA && kind != DISTRIBUTION_POINT)
    }

    /// Whether that CA's key can have signed it, by what the list says.
    fn is_meant_for(&self, ca: &Certificate<'_>) -> bool {
        let fits = |whole: &'a [u8]| {
            X509Extension::from_der(whole).is_ok_and(|(_, one)| ca.is_meant_by(one.parsed_extension()))
        };
        each(self.extensions, |kind, _, whole| kind != AUTHORITY_KEY || fits(whole)) == Some(true)
    }

    /// What a list that is signed by the CA says.
    fn says(&self, serials: &Serials, at: i64) -> Result<Said, X509Error> {
        if at.saturating_add(SKEW) < self.issued {
            return Err(X509Error::ListNotYet(self.issued));
        }
        let understood = each(self.extensions, |kind, critical, _| !critical || kind == AUTHORITY_KEY);
        if understood != Some(true) {
            return Err(BAD);
        }
        Ok(Said { issued: self.issued, until: self.until, revoked: self.among(serials).ok_or(BAD)? })
    }
}

/// Reads a time, if there is one.
fn time(body: &mut Reader<'_>) -> Option<i64> {
    let element = body.optional(UTC_TIME).or_else(|| body.optional(GENERALIZED_TIME))?;
    ASN1Time::from_der(element.whole).ok().map(|(_, time)| time.timestamp())
}

/// Whether each extension is as it should be, by its type, whether it is critical, and all of it.
/// `None` when one cannot be read.
fn each<'a>(mut extensions: Reader<'a>, is_good: impl Fn(&[u8], bool, &'a [u8]) -> bool) -> Option<bool> {
    let mut good = true;
    while !extensions.is_empty() {
        let extension = extensions.optional(SEQUENCE)?;
        let mut parts = Reader(extension.content);
        let kind = parts.content(OID)?;
        let critical = parts.content(BOOLEAN).is_some_and(|value| value != [0]);
        parts.content(OCTET_STRING)?;
        good &= is_good(kind, critical, extension.whole);
    }
    Some(good)
}

/// What the newest list of a CA says about serial numbers, each list read once.
/// `ca` has the CA's certificates, which have one name and one key; `bundle` has all that are known.
///
/// # Errors
/// When there is no such list, or one of the CA's name that cannot be judged.
pub(super) fn newest(
    lists: impl BufRead,
    ca: &[&Certificate<'_>],
    bundle: &[Certificate<'_>],
    serials: &Serials,
    at: i64,
) -> Result<Said, X509Error> {
    let Some(first) = ca.first() else { return Err(X509Error::NotSigned) };
    let mut missing = X509Error::None("revocation list of the certificate's issuer");
    let mut newest: Option<Said> = None;
    for item in items(lists) {
        let Item::Crl(der) = item? else { continue };
        let list = List::read(&der).ok_or(BAD)?;
        if list.issuer != first.subject {
            continue;
        }
        if !list.is_whole().ok_or(BAD)? {
            missing = X509Error::PartOfList;
        } else if is_by(&list, ca.iter().copied())? {
            if !ca.iter().any(|one| one.may_sign_lists()) {
                return Err(X509Error::MayNotSignLists);
            }
            let said = list.says(serials, at)?;
            newest = Some(match newest {
                Some(older) if older.issued > said.issued => older,
                Some(same) if same.issued == said.issued => Said { revoked: &same.revoked | &said.revoked, ..said },
                _ => said,
            });
        } else if ca.iter().any(|one| list.is_meant_for(one)) && !is_by(&list, bundle.iter())? {
            return Err(X509Error::ListSignature);
        }
    }
    newest.ok_or(missing)
}

/// Whether one of these certificates has signed a list of its name.
fn is_by<'a, 'b: 'a>(
    list: &List<'_>,
    certificates: impl Iterator<Item = &'a Certificate<'b>>,
) -> Result<bool, X509Error> {
    for one in certificates.filter(|one| one.subject == list.issuer && list.is_meant_for(one)) {
        if Signed::read(list.der).ok_or(BAD)?.is_by(one.key())? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The issuer of a list, and the serial numbers in it.
type Numbers = (Name, Serials);

fn entries(lists: impl BufRead) -> Result<Vec<Numbers>, X509Error> {
    let mut all = Vec::new();
    for item in items(lists) {
        let Item::Crl(der) = item? else { continue };
        let List { issuer, mut entries, .. } = List::read(&der).ok_or(BAD)?;
        let mut numbers = Serials::new();
        while !entries.is_empty() {
            let mut entry = entries.inside(SEQUENCE).ok_or(BAD)?;
            numbers.insert(integer(entry.content(INTEGER).ok_or(BAD)?).to_vec());
        }
        all.push((issuer, numbers));
    }
    Ok(all)
}

/// A serial number that was in an earlier list and is in none of its issuer now.
/// A list that was cut short, and then made anew by hand, has lost some.
pub fn lost(earlier: impl BufRead, now: impl BufRead) -> Result<Option<String>, X509Error> {
    let now = entries(now)?;
    for (issuer, numbers) in entries(earlier)? {
        let has = |serial| now.iter().any(|(other, numbers)| *other == issuer && numbers.contains(serial));
        if let Some(serial) = numbers.iter().find(|serial| !has(*serial)) {
            return Ok(Some(number(serial)));
        }
    }
    Ok(None)
}
