//! The console, CA, ledger and audit of one request; their errors as faults.
//!
//! A client reads one sentence about the failure; the cause goes to the log alone.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::audit::{Audit, AuditError};
use crate::authority::{self, Authority, AuthorityError};
use crate::config::{self, Config};
use crate::console::published::Published;
use crate::console::rake::worker::Worker;
use crate::console::rake::{self, Rake};
use crate::console::{Console, ConsoleError};
use crate::ledger::{Ledger, LedgerError};
use crate::model::client::Caller;
use crate::model::fault::Fault;
use crate::model::problem::Problem;
use crate::model::request_id::RequestId;
use crate::model::state_directory;
use crate::system::clock::Deadline;
use crate::system::helper_call::Helper;
use crate::system::lock::{LockError, Queue};
use crate::system::trusted_file::FileError;

/// The longest wait for another request that works on the same node.
const NODE_WAIT: Duration = Duration::from_secs(5);

/// The systems that one request works with.
#[derive(Debug)]
pub(crate) struct Context {
    pub console: Box<dyn Console>,
    pub authority: Authority,
    pub audit: Audit,
    /// The master's own certname.
    pub master: String,
    /// True if the master reads its revocation list when it starts.
    pub restart_revokes: bool,
    /// Who asks.
    pub caller: Caller,
    /// The time by which the request must be answered.
    pub until: Deadline,
    state: PathBuf,
    request: String,
}

impl Context {
    /// The context of one request; `path` is the configuration's.
    pub(crate) fn new(config: &Config, path: &Path, audit: Audit, caller: Caller, request: &RequestId) -> Self {
        Self {
            console: console(config, path, &caller),
            authority: authority(config, path, &caller),
            audit,
            master: config.authority.master.clone(),
            restart_revokes: config.authority.kind.master_reads_list_at_start(),
            caller,
            until: Deadline::after(config.request_timeout),
            state: config.state.clone(),
            request: request.to_string(),
        }
    }

    pub(crate) fn ledger(&self) -> Result<Ledger, Fault> {
        Ok(Ledger::open(&self.state, &self.request)?)
    }

    /// Repeats an attempt in the console's queue; 503 when that takes too long.
    pub(super) fn wait<T>(
        &self,
        busy: &'static str,
        attempt: impl FnMut() -> Result<Option<T>, FileError>,
    ) -> Result<T, Fault> {
        let given = self.console.queue().wait(self.until.within(NODE_WAIT), attempt);
        given.map_err(|error| match error {
            LockError::File(error) => Fault::from(error),
            error => Fault::new(Problem::Busy, busy).because(error),
        })
    }
}

pub(crate) fn console(config: &Config, path: &Path, caller: &Caller) -> Box<dyn Console> {
    let queue = |length| Queue::new(&state_directory::locks(&config.state), "console-queue", length, share(caller));
    match &config.console {
        config::Console::Rake(rake) => Box::new(Rake::new(
            rake::Settings {
                helper: helper(config, path, "console", rake.command.user.clone()),
                worker: rake
                    .worker
                    .as_ref()
                    .map(|socket| Worker { socket: socket.clone(), user: rake.command.user.clone() }),
                release: rake.release,
                timeout: rake.command.timeout,
                concurrency: rake.concurrency,
                queue_timeout: rake.command.queue_timeout,
                cache: rake.cache,
            },
            queue(rake.command.queue),
            &config.state,
        )),
        config::Console::Enc(enc) => Box::new(Published::new(&enc.catalogue, &enc.published, queue(enc.queue))),
    }
}

pub(crate) fn authority(config: &Config, path: &Path, caller: &Caller) -> Authority {
    let ca = &config.authority;
    let settings = authority::Settings {
        helper: helper(config, path, "authority", ca.user.clone()),
        timeout: ca.timeout,
        places: ca.places(),
        queue_timeout: ca.queue_timeout,
        kind: ca.kind,
        has_config: ca.config.is_some(),
    };
    Authority::new(settings, share(caller), &config.state)
}

/// Whose share of a queue a request takes; the operator's has no bound.
fn share(caller: &Caller) -> Option<&str> {
    caller.client().map(|client| client.name.as_str())
}

/// `espm-helper WHAT FILE`
fn helper(config: &Config, path: &Path, what: &str, user: Option<String>) -> Helper {
    let argv = vec![config.helper.display().to_string(), what.to_owned(), path.display().to_string()];
    Helper { argv, sudo: config.sudo.clone(), user }
}

impl From<ConsoleError> for Fault {
    fn from(error: ConsoleError) -> Self {
        let fault = match &error {
            ConsoleError::Busy(_) => Self::new(Problem::Busy, "the console is busy; try again"),
            ConsoleError::TimedOut => {
                Self::new(Problem::TimedOut, "the console took too long; send the same request again to settle it")
            }
            ConsoleError::File(_) => Self::new(Problem::Unavailable, "espm's state directory cannot be used"),
            ConsoleError::CatalogueFile(_) | ConsoleError::Catalogue(..) | ConsoleError::TooLong(..) => {
                Self::new(Problem::CommandFailed, "the catalogue cannot be used; the master's log says why")
            }
            ConsoleError::Command(_)
            | ConsoleError::NotStarted(_)
            | ConsoleError::Failed(_)
            | ConsoleError::Release { .. }
            | ConsoleError::NoTasks
            | ConsoleError::NoNodes
            | ConsoleError::NotForRake(..)
            | ConsoleError::Worker(_) => {
                Self::new(Problem::CommandFailed, "the console's command failed; the master's log says why")
            }
        };
        fault.because(error)
    }
}

impl From<AuthorityError> for Fault {
    fn from(error: AuthorityError) -> Self {
        let fault = match &error {
            AuthorityError::Busy(_) => Self::new(Problem::Busy, "the CA is busy; try again"),
            AuthorityError::Running => {
                Self::new(Problem::Busy, "an earlier command for this certificate still runs; try again")
            }
            AuthorityError::TimedOut => {
                Self::new(Problem::TimedOut, "the CA took too long; send the same request again to settle it")
            }
            AuthorityError::Command(_) | AuthorityError::Failed(_) | AuthorityError::Undone(_) => {
                Self::new(Problem::CommandFailed, "the CA's command failed; the master's log says why")
            }
        };
        fault.because_ca_says(error)
    }
}

impl From<LedgerError> for Fault {
    fn from(error: LedgerError) -> Self {
        let fault = match &error {
            LedgerError::KeyTaken => Self::new(Problem::KeyReused, "the Idempotency-Key belongs to another request"),
            LedgerError::Quota { has, most } => {
                let detail = format!("this client has {has} nodes, and may have {most}; delete one first");
                return Self::new(Problem::Quota, detail);
            }
            LedgerError::Busy(_) => Self::new(Problem::Busy, "the ledger is busy; try again"),
            _ => Self::new(
                Problem::Unavailable,
                "espm's ledger cannot be used; send the same request again to settle it",
            ),
        };
        fault.because(error)
    }
}

impl From<FileError> for Fault {
    fn from(error: FileError) -> Self {
        Self::new(Problem::Unavailable, "espm's state directory cannot be used").because(error)
    }
}

impl From<AuditError> for Fault {
    fn from(error: AuditError) -> Self {
        Self::new(Problem::Unavailable, "the audit record cannot be written, so nothing was changed").because(error)
    }
}
