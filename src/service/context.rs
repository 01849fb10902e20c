//! The offices that a decision works with, and their errors as faults.
//!
//! A client reads one sentence of ours about what failed; the cause goes to the log alone.

use std::path::Path;
use std::time::Duration;

use crate::audit::{Audit, AuditError};
use crate::authority::{self, Authority, AuthorityError};
use crate::config::{self, Config};
use crate::console::published::Enc;
use crate::console::rake::worker::Worker;
use crate::console::rake::{self, Rake};
use crate::console::{Console, ConsoleError};
use crate::ledger::{Ledger, LedgerError};
use crate::model::fault::{Fault, Problem};
use crate::model::name::NodeName;
use crate::system::clock::Deadline;
use crate::system::command::Program;
use crate::system::lock::{Lock, LockError};
use crate::system::process;
use crate::system::trusted_file::FileError;

/// How long a request waits for another one that works on the same node.
const NODE_WAIT: Duration = Duration::from_secs(5);

/// The console and the CA, as the configuration at that path describes them.
pub fn wire(config: &Config, path: &Path) -> (Console, Authority) {
    let console = match &config.console {
        config::Console::Rake(rake) => Console::Rake(Box::new(Rake::new(
            rake::Settings {
                helper: helper(config, path, "console", &rake.command),
                worker: rake.worker.as_ref().map(|socket| Worker {
                    socket: socket.clone(),
                    user: rake.command.user.as_deref().map_or_else(|| Some(process::user()), process::uid_of),
                }),
                release: rake.release,
                timeout: rake.command.timeout,
                concurrency: rake.concurrency,
                queue: rake.command.queue,
                queue_timeout: rake.command.queue_timeout,
                cache: rake.cache,
            },
            &config.state,
        ))),
        config::Console::Enc(enc) => Console::Enc(Enc::new(&enc.catalogue, &enc.published, enc.queue, &config.state)),
    };
    let command = &config.authority.command;
    let authority = authority::Settings {
        helper: helper(config, path, "authority", command),
        timeout: command.timeout,
        queue: command.queue,
        queue_timeout: command.queue_timeout,
    };
    (console, Authority::new(authority, &config.state))
}

/// `espm-helper OFFICE FILE`, through sudo when the office's commands run as another user than this process.
fn helper(config: &Config, path: &Path, office: &str, command: &config::Command) -> Program {
    let mut argv = Vec::new();
    if let Some(user) = command.user.as_deref().filter(|user| !process::runs_as(user)) {
        argv.extend([config.sudo.display().to_string(), "-n".to_owned(), "-u".to_owned(), user.to_owned()]);
    }
    argv.extend([config.helper.display().to_string(), office.to_owned(), path.display().to_string()]);
    Program { argv, environment: Vec::new(), directory: "/".into() }
}

/// What an operation may use, for one request.
#[derive(Debug)]
pub struct Offices<'a> {
    /// The state directory.
    pub state: &'a Path,
    /// The console.
    pub console: &'a Console,
    /// The CA.
    pub authority: &'a Authority,
    /// The audit of this request.
    pub audit: &'a mut Audit,
    /// The master's own certname.
    pub master: &'a str,
    /// The client's name.
    pub client: &'a str,
    /// The request's id.
    pub request: &'a str,
    /// When the request must be answered.
    pub until: Deadline,
}

impl Offices<'_> {
    /// Opens the ledger.
    ///
    /// # Errors
    /// 503 when it cannot be used.
    pub fn ledger(&self) -> Result<Ledger, Fault> {
        Ok(Ledger::open(self.state, self.request)?)
    }

    /// Waits for a node's turn, in the queue's places.
    ///
    /// # Errors
    /// 503 when another request works on it for too long, or too many wait.
    pub fn lock(&self, ledger: &Ledger, name: &NodeName) -> Result<Lock, Fault> {
        let turn = self.console.queue().wait(self.until.within(NODE_WAIT), || ledger.try_lock(name));
        turn.map_err(|error| match error {
            LockError::File(error) => Fault::from(error),
            busy => Fault::new(Problem::Busy, "another request works on this node; try again").because(busy),
        })
    }

    /// Waits for the command of an earlier intent to end, and reads what it printed.
    ///
    /// # Errors
    /// 503 when it still runs.
    pub fn proof(&self, ledger: &Ledger, proof: Option<&str>) -> Result<String, Fault> {
        let Some(proof) = proof else { return Ok(String::new()) };
        let turn = self.console.queue().wait(self.until.within(NODE_WAIT), || ledger.try_read_proof(proof));
        turn.map_err(|error| match error {
            LockError::File(error) => Fault::from(error),
            busy => Fault::new(Problem::Busy, "an earlier command for this node still runs; try again").because(busy),
        })
    }
}

impl From<ConsoleError> for Fault {
    fn from(error: ConsoleError) -> Self {
        let fault = match &error {
            ConsoleError::Busy(_) => Self::new(Problem::Busy, "the console is busy; try again"),
            ConsoleError::TimedOut => {
                Self::new(Problem::TimedOut, "the console took too long; send the same request again to settle it")
            }
            ConsoleError::File(_) => Self::new(Problem::Unavailable, "espm's state directory cannot be used"),
            ConsoleError::Catalogue(_) => {
                Self::new(Problem::CommandFailed, "the catalogue cannot be used; the master's log says why")
            }
            ConsoleError::Command(_) | ConsoleError::NotStarted(_) | ConsoleError::Failed(_) => {
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
        fault.because(error)
    }
}

impl From<LedgerError> for Fault {
    fn from(error: LedgerError) -> Self {
        let fault = match &error {
            LedgerError::KeyTaken => Self::new(Problem::KeyReused, "the Idempotency-Key belongs to another request"),
            busy if busy.is_busy() => Self::new(Problem::Busy, "the ledger is busy; try again"),
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
