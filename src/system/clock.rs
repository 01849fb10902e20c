//! The clock: RFC 3339 in UTC with whole seconds, and deadlines.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::system::trusted_file::{self, Owner};

/// Time between two attempts.
/// A command of the console takes seconds; a waiting process costs a few system calls.
const TICK: Duration = Duration::from_millis(10);

/// Seconds of a day.
pub(crate) const DAY: i64 = 86_400;

const BOOT: &str = "/proc/sys/kernel/random/boot_id";

/// Seconds since 1970, now.
pub fn now() -> i64 {
    now_ms() / 1000
}

/// Milliseconds since 1970, now.
pub(crate) fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| i64::try_from(d.as_millis()).unwrap_or(i64::MAX))
}

/// `2026-11-24T03:12:41Z` (RFC 3339) for seconds since 1970.
pub fn rfc3339(seconds: i64) -> String {
    let time = OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    time.format(&Rfc3339).unwrap_or_default()
}

/// The name that the kernel gave this boot (random(4)); a power loss ends a boot.
pub(crate) fn boot() -> Option<String> {
    let name = trusted_file::read(Path::new(BOOT), 64, Owner::Root).ok()?;
    Some(name.trim_end().to_owned())
}

/// The moment at which something must have ended.
#[derive(Debug, Clone, Copy)]
pub struct Deadline(Instant);

impl Deadline {
    /// So long from now.
    pub(crate) fn after(time: Duration) -> Self {
        Self(Instant::now() + time)
    }

    /// The earlier of this one and so long from now.
    pub(crate) fn within(self, time: Duration) -> Self {
        Self(self.0.min(Instant::now() + time))
    }

    /// The time that is left; zero when it has passed.
    pub(crate) fn left(self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }

    pub(crate) fn passed(self) -> bool {
        self.left().is_zero()
    }

    /// Attempts something until it gives a value, at least once.
    /// `None` when time runs out.
    pub(crate) fn attempt<T, E>(self, mut attempt: impl FnMut() -> Result<Option<T>, E>) -> Result<Option<T>, E> {
        loop {
            let given = attempt()?;
            if given.is_some() || self.passed() {
                return Ok(given);
            }
            thread::sleep(TICK);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::rfc3339;

    #[test]
    fn times_are_rfc_3339_in_utc() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00Z");
        assert_eq!(rfc3339(1_795_490_361), "2026-11-24T03:19:21Z");
        assert_eq!(rfc3339(253_402_300_799), "9999-12-31T23:59:59Z");
    }
}
