//! The certificates that espm made, by the days that they are good for.

use super::report::Report;
use crate::authority::protocol::{Ends, SOON_DAYS, WITHIN_DAYS};
use crate::ledger::Entry;
use crate::system::clock;
use crate::system::text;

/// Reports them, with a line for each that has ended or ends soon.
pub(super) fn report(report: &mut Report, ends: Ends, entries: &[Entry]) {
    // The operator has forgotten the others, and they are not espm's to revoke.
    let near: Vec<_> =
        ends.first.iter().filter(|ending| entries.iter().any(|entry| entry.node.name == ending.name)).collect();
    if near.is_empty() {
        let within = WITHIN_DAYS.iter().zip(ends.within).find(|(days, number)| **days == SOON_DAYS && *number > 0);
        let within = within.map(|(days, number)| format!(", {number} for less than {days} days")).unwrap_or_default();
        report.line("node certificates", Ok(text::count(ends.all, "certificate", "certificates") + &within));
    }
    let now = clock::rfc3339(clock::now());
    for ending in &near {
        let (name, end) = (&ending.name, &ending.end);
        let advice = if *end < now {
            format!("ended at {end}; have its client ask for another, or espm delete {name}")
        } else {
            format!(
                "ends at {end}; unless its agent renews it, espm revoke {name}, and have its client ask for another"
            )
        };
        report.warn("node certificates", format!("that of {name} {advice}"));
    }
    if ends.soon > ends.first.len() {
        report.warn("node certificates", format!("{} more end soon", ends.soon - ends.first.len()));
    }
    report.ends(ends);
}
