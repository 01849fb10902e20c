//! The CA, as the handler sees it: verbs about the certificate of one name.
//!
//! espm-helper does them as the CA's user: changes one at a time, and a few that only read, each kind with a bounded
//! queue before it. Its answer may hold a private key and comes through a pipe, never through a file.

pub mod executor;
pub mod protocol;

use std::path::Path;
use std::time::Duration;

use thiserror::Error;

use self::executor::Kind;
use self::protocol::{Answer, Asked, Request, Verb};
use crate::model::name::NodeName;
use crate::model::state_directory;
use crate::system::clock::Deadline;
use crate::system::command::CommandError;
use crate::system::helper_call::{Helper, HelperCall};
use crate::system::lock::{Lock, LockError, Permits, Queue};
use crate::system::text::excerpt;

/// Requests that read the CA's files at once.
/// Each holds a whole revocation list in memory, which may have hundreds of thousands of entries.
const READERS: usize = 4;

/// Why the CA did not do it.
#[derive(Debug, Error)]
#[expect(missing_docs, reason = "its text says what a variant is")]
pub enum AuthorityError {
    /// Another request has the CA, and the queue is full or no time was left.
    #[error("the CA is busy")]
    Busy(#[source] LockError),
    #[error("the CA's command ran past its time limit")]
    TimedOut,
    #[error("espm-helper cannot be run for the CA")]
    Command(#[source] CommandError),
    /// The text is for the log.
    #[error("the CA failed: {0}")]
    Failed(String),
    /// Nothing of it is left.
    #[error("the CA failed, and nothing is left of it: {0}")]
    Undone(String),
    #[error("an earlier command of the CA about this certificate still runs")]
    Running,
}

impl AuthorityError {
    /// Whether everything is as before: nothing was begun, or it was undone.
    pub(crate) fn nothing_is_left(&self) -> bool {
        matches!(self, Self::Busy(_) | Self::Undone(_) | Self::Command(CommandError::Start(..)))
    }
}

impl From<CommandError> for AuthorityError {
    fn from(error: CommandError) -> Self {
        match error {
            CommandError::TimedOut => Self::TimedOut,
            other => Self::Command(other),
        }
    }
}

/// How the CA's verbs are run.
#[derive(Debug)]
pub(crate) struct Settings {
    /// The program that does a verb.
    pub(crate) helper: Helper,
    /// Seconds for one verb.
    pub(crate) timeout: Duration,
    /// Requests that may change the CA at once, and those that may wait.
    pub(crate) places: [usize; 2],
    /// How long one may wait.
    pub(crate) queue_timeout: Duration,
    /// Whose CA it is.
    pub(crate) kind: Kind,
    /// Whether its `puppet.conf` is named.
    pub(crate) has_config: bool,
}

/// The CA.
#[derive(Debug)]
pub struct Authority {
    settings: Settings,
    changes: Places,
    readers: Places,
}

/// Handlers that can wait for the CA or work with it at once, by how many may change it and the length of each of its two
/// queues.
pub(crate) fn most_at_once([changes, queue]: [usize; 2]) -> usize {
    changes + READERS + 2 * queue
}

/// Places for requests that run, and for those that wait.
#[derive(Debug)]
struct Places {
    permits: Permits,
    queue: Queue,
}

impl Places {
    fn acquire(&self, until: Deadline) -> Result<Lock, AuthorityError> {
        self.queue.wait(until, || self.permits.try_acquire()).map_err(AuthorityError::Busy)
    }
}

impl Authority {
    /// The CA, with its locks in the state directory; `client` is the one whose share of its queues is bounded.
    pub(crate) fn new(settings: Settings, client: Option<&str>, state: &Path) -> Self {
        let locks = state_directory::locks(state);
        let [changes, length] = settings.places;
        let places = |name, queue, count| Places {
            permits: Permits::new(&locks, name, count),
            queue: Queue::new(&locks, queue, length, client),
        };
        Self {
            changes: places("authority", "authority-queue", changes),
            readers: places("authority-read", "authority-read-queue", READERS),
            settings,
        }
    }

    /// Why this CA cannot be asked for this: the member of a body, and what to do.
    pub(crate) fn refusal(&self, asked: &Asked) -> Option<(&'static str, &'static str)> {
        self.settings.kind.refusal(self.settings.has_config, asked)
    }

    /// Has a verb done.
    pub(crate) fn ask(&self, verb: Verb, name: &NodeName, until: Deadline) -> Result<Answer, AuthorityError> {
        let nothing = Asked::default();
        match verb {
            Verb::Check => self.call(verb, name, &nothing, until),
            Verb::Show => {
                let _permit = self.readers.acquire(until.within(self.settings.queue_timeout))?;
                self.call(verb, name, &nothing, until)
            }
            Verb::Generate | Verb::Settle | Verb::Revoke => self.ask_alone(verb, name, until),
        }
    }

    /// Has a verb done while no other changes the CA.
    pub(crate) fn ask_alone(&self, verb: Verb, name: &NodeName, until: Deadline) -> Result<Answer, AuthorityError> {
        let _permit = self.changes.acquire(until.within(self.settings.queue_timeout))?;
        self.call(verb, name, &Asked::default(), until)
    }

    /// Has a certificate generated while no other request changes the CA.
    pub(crate) fn generate(&self, name: &NodeName, asked: &Asked, until: Deadline) -> Result<Answer, AuthorityError> {
        let _permit = self.changes.acquire(until.within(self.settings.queue_timeout))?;
        self.call(Verb::Generate, name, asked, until)
    }

    fn call(&self, verb: Verb, name: &NodeName, asked: &Asked, until: Deadline) -> Result<Answer, AuthorityError> {
        let call = HelperCall::new(&self.settings.helper, self.settings.timeout.min(until.left()));
        let request = Request { verb, name: name.clone(), limit: call.seconds(), asked: asked.clone() };
        let ended = call.capture(HelperCall::json(&request))?;
        match serde_json::from_slice(&ended.stdout) {
            Ok(Answer::Failed { text }) => Err(AuthorityError::Failed(text)),
            Ok(Answer::TimedOut) => Err(AuthorityError::TimedOut),
            Ok(Answer::Busy) => Err(AuthorityError::Busy(LockError::TimedOut)),
            Ok(Answer::Running) => Err(AuthorityError::Running),
            Ok(Answer::Undone { text }) => Err(AuthorityError::Undone(text)),
            Ok(answer) => Ok(answer),
            // Standard output may hold a key and is never quoted.
            Err(_) => Err(AuthorityError::Failed(excerpt(&String::from_utf8_lossy(&ended.stderr)))),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind::NotFound;
    use std::path::Path;

    use super::AuthorityError;
    use crate::system::command::CommandError;
    use crate::system::lock::LockError;
    use crate::system::text::chain;
    use crate::system::trusted_file::FileError;

    #[test]
    fn each_cause_is_printed_once() {
        let file = FileError::io(Path::new("/x"), NotFound.into());
        let start = CommandError::Start("sudo".to_owned(), NotFound.into());
        for (error, text) in [
            (AuthorityError::Busy(LockError::Full), "the CA is busy: the queue is full"),
            (AuthorityError::Busy(LockError::File(file)), "the CA is busy: /x: entity not found"),
            (start.into(), "espm-helper cannot be run for the CA: sudo cannot be started: entity not found"),
            (AuthorityError::Failed("text".to_owned()), "the CA failed: text"),
        ] {
            assert_eq!(chain(&error), text);
        }
    }
}
