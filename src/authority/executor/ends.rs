//! When the certificates end that espm made. The inventory tells, since agents renew: neither the records nor the ledger
//! have what was renewed.
//!
//! Read once, for all names together. A name's newest certificate that is not revoked counts; for a name with a record it
//! is espm's but where a human has had another one signed for it.

use std::collections::BTreeSet;

use super::inventory::{self, Line};
use super::{Ca, Failure};
use crate::authority::protocol::{Ending, Ends, SOON_DAYS, WITHIN_DAYS};
use crate::model::name::NodeName;
use crate::system::clock::{self, DAY};

/// Most names of an answer.
const MOST: usize = 20;

/// Days for which a certificate has been valid by then. One that is made for a shorter time is always near its end.
const LASTED: i64 = 60;

impl Ca<'_> {
    /// The ends of all that is recorded.
    pub(super) fn ends(&self) -> Result<Ends, Failure> {
        let names = self.records.names()?;
        let found = self.files.inventory_of(&names)?;
        let serials: BTreeSet<_> = found.values().flatten().map(|line| line.serial.clone()).collect();
        let revoked = self.files.revoked(&self.files.today()?, &serials)?;
        let newest = |lines: Vec<Line>| {
            lines.into_iter().filter(|line| !revoked.contains(&line.serial)).max_by(|a, b| a.end().cmp(b.end()))
        };
        Ok(count(found.into_iter().filter_map(|(name, lines)| Some((name, newest(lines)?))), clock::now()))
    }
}

fn count<'a>(newest: impl Iterator<Item = (&'a NodeName, Line)>, now: i64) -> Ends {
    let within = WITHIN_DAYS.map(|days| inventory::time(now + days * DAY));
    let (soon, lasted) = (inventory::time(now + SOON_DAYS * DAY), inventory::time(now - LASTED * DAY));
    let mut ends = Ends::default();
    let mut near = Vec::new();
    for (name, line) in newest {
        ends.all += 1;
        for (end, number) in within.iter().zip(&mut ends.within) {
            *number += usize::from(line.end() < end.as_str());
        }
        if line.has_expired(now) || (line.end() < soon.as_str() && line.begins_before(&lasted)) {
            near.push(Ending { end: format!("{}Z", line.end()), name: name.clone() });
        }
    }
    ends.soon = near.len();
    near.sort();
    near.truncate(MOST);
    ends.first = near;
    ends
}

#[cfg(test)]
mod tests {
    use super::{DAY, count};
    use crate::authority::executor::inventory::{self, time};
    use crate::model::name::NodeName;

    #[test]
    fn certificate_is_soon_to_end_by_its_days_left_and_by_its_age() {
        let now = 1_795_391_350;
        let names: Vec<_> = (0..7).map(|number| NodeName::parse(&format!("web{number}")).unwrap()).collect();
        // Days since it began, and days until it ends.
        let days = [(1800, -1), (1800, 3), (1795, 29), (1795, 31), (1700, 89), (1, 1825), (20, 5)];
        let lines: String = names
            .iter()
            .zip(days)
            .map(|(name, (since, left))| {
                format!("0x0a {}UTC {}UTC /CN={name}\n", time(now - since * DAY), time(now + left * DAY))
            })
            .collect();
        let found = inventory::of_names(&names, lines.as_bytes()).unwrap();
        let ends = count(found.into_iter().map(|(name, mut lines)| (name, lines.remove(0))), now);
        assert_eq!((ends.all, ends.within, ends.soon), (7, [1, 3, 4, 6], 3), "{ends:?}");
        let first: Vec<_> = ends.first.iter().map(|ending| ending.name.as_str()).collect();
        assert_eq!(first, ["web0", "web1", "web2"]);
        assert_eq!(ends.first.last().unwrap().end, format!("{}Z", time(now + 29 * DAY)));
    }
}
