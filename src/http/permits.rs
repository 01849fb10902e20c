//! The bound on handlers that run at once.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The longest wait for a permit.
///
/// In a crowd most handlers refuse their requests within milliseconds, so the quick ones get their turn.
const PERMIT_WAIT: Duration = Duration::from_secs(5);

/// The permits of the handlers that run at once.
pub(super) struct Permits {
    free: Mutex<usize>,
    released: Condvar,
}

/// A permit, released however the request ends.
pub(super) struct Permit<'a>(&'a Permits);

impl Permits {
    pub(super) fn new(most: usize) -> Self {
        Self { free: Mutex::new(most), released: Condvar::new() }
    }

    /// Locks the number of free permits, which a panic cannot leave half written.
    fn free(&self) -> MutexGuard<'_, usize> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Acquires a permit, or `None` when none is released in time.
    pub(super) fn acquire(&self) -> Option<Permit<'_>> {
        let waited = self.released.wait_timeout_while(self.free(), PERMIT_WAIT, |free| *free == 0);
        let (mut free, _) = waited.unwrap_or_else(PoisonError::into_inner);
        *free = free.checked_sub(1)?;
        Some(Permit(self))
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        *self.0.free() += 1;
        self.0.released.notify_one();
    }
}
