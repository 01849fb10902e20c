//! A call of espm-helper: the request, the seconds that it may take, and how long espm waits for its end.

use std::fs::File;
use std::time::Duration;

use serde::Serialize;

use crate::system::clock::Deadline;
use crate::system::command::{CommandError, Ended, Input, Program};

/// How much longer than espm-helper's own limit espm waits.
/// espm-helper needs time to kill its command.
const GRACE: Duration = Duration::from_secs(6);

/// One call.
#[derive(Debug)]
pub(crate) struct HelperCall<'a> {
    helper: &'a Program,
    limit: Duration,
}

impl<'a> HelperCall<'a> {
    /// A call that may take so long.
    pub(crate) fn new(helper: &'a Program, limit: Duration) -> Self {
        Self { helper, limit }
    }

    /// The limit as a request has it, in seconds.
    pub(crate) fn seconds(&self) -> u64 {
        self.limit.as_secs().max(1)
    }

    /// A request as JSON.
    pub(crate) fn json(request: &impl Serialize) -> Vec<u8> {
        serde_json::to_vec(request).unwrap_or_default()
    }

    fn until(&self) -> Deadline {
        Deadline::after(self.limit + GRACE)
    }

    /// Sends a request, as bytes or as an open file, and captures what is printed.
    pub(crate) fn capture(&self, request: impl Input) -> Result<Ended, CommandError> {
        self.helper.capture(request, self.until())
    }

    /// Sends a request as an open file, and has what is printed in another.
    pub(crate) fn run_into(&self, output: &File, request: File) -> Result<Ended, CommandError> {
        self.helper.run_helper_into(output, request, self.until())
    }
}
