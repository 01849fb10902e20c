//! A call of espm-helper: the request, the seconds that it may take, and how long espm waits for its end.

use std::fs::File;
use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;

use crate::system::clock::Deadline;
use crate::system::command::{CommandError, Ended, Input, Program};
use crate::system::process;

/// How much longer than espm-helper's own limit espm waits.
/// espm-helper needs time to kill its command.
const GRACE: Duration = Duration::from_secs(6);

/// espm-helper for the console or the CA.
#[derive(Debug)]
pub(crate) struct Helper {
    /// Its path and arguments.
    pub(crate) argv: Vec<String>,
    pub(crate) sudo: PathBuf,
    /// The user that it runs as; `None` when that is espm's own.
    pub(crate) user: Option<String>,
}

impl Helper {
    /// The program that starts it: sudo, unless this process has that user already.
    fn program(&self) -> Program {
        let mut argv = Vec::new();
        if let Some(user) = self.user.as_ref().filter(|user| !process::runs_as(user)) {
            argv.extend([self.sudo.display().to_string(), "-n".to_owned(), "-u".to_owned(), user.clone()]);
        }
        argv.extend_from_slice(&self.argv);
        Program { argv, environment: Vec::new(), directory: "/".into() }
    }
}

/// One call.
#[derive(Debug)]
pub(crate) struct HelperCall<'a> {
    helper: &'a Helper,
    limit: Duration,
}

impl<'a> HelperCall<'a> {
    /// A call that may take so long.
    pub(crate) fn new(helper: &'a Helper, limit: Duration) -> Self {
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
        self.helper.program().capture(request, self.until())
    }

    /// Sends a request as an open file, and has what is printed in another.
    pub(crate) fn run_into(&self, output: &File, request: File) -> Result<Ended, CommandError> {
        self.helper.program().run_helper_into(output, request, self.until())
    }
}
