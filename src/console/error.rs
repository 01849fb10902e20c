//! The errors of the console.

use std::path::PathBuf;

use thiserror::Error;

use super::catalogue::CatalogueError;
use super::publisher::MAX_NODE;
use super::rake::task::Release;
use crate::model::name::NodeName;
use crate::system::command::CommandError;
use crate::system::lock::LockError;
use crate::system::trusted_file::FileError;

/// A failure of the console.
#[derive(Debug, Error)]
pub(crate) enum ConsoleError {
    /// No slot, or no place in the queue.
    #[error("console: {0}")]
    Busy(LockError),
    #[error("console: rake ran past its time limit")]
    TimedOut,
    /// The command could not be started, or its result not be read.
    #[error("console: {0}")]
    Command(CommandError),
    /// rake was not started; the text is for the log.
    #[error("console: rake was not started: {0}")]
    NotStarted(String),
    /// rake failed; the text is for the log.
    #[error("console: rake failed: {0}")]
    Failed(String),
    /// A file of the cache or of the catalogue cannot be used.
    #[error("console: {0}")]
    File(FileError),
    /// The file of the catalogue cannot be read.
    #[error("console: {0}")]
    CatalogueFile(FileError),
    #[error("console: {path}: {wrong}", path = .0.display(), wrong = .1)]
    Catalogue(PathBuf, CatalogueError),
    #[error("[console] release: has the tasks of {0}, configured is {1}; write {0}", found.word(), configured.word())]
    Release { found: Release, configured: Release },
    #[error("[console] command: rake lists no tasks of a console; name the console's Rakefile after -f")]
    NoTasks,
    /// A list without any node, from which nothing follows about one.
    #[error(
        "console: lists no node, not even the master; name the right console in [console] command, or its database"
    )]
    NoNodes,
    #[error("{0}")]
    Worker(String),
    #[error("console: rake cannot assign {1} of {0}; remove it with a request, or delete the node")]
    NotForRake(NodeName, String),
    #[error(
        "console: the classification of {0} has {1} bytes, and espm-enc reads {MAX_NODE} at most; give its groups less"
    )]
    TooLong(NodeName, usize),
}

impl ConsoleError {
    /// True if no command was started.
    pub(crate) fn nothing_was_run(&self) -> bool {
        match self {
            Self::Busy(_)
            | Self::CatalogueFile(_)
            | Self::Catalogue(..)
            | Self::NotStarted(_)
            | Self::Worker(_)
            | Self::NotForRake(..)
            | Self::TooLong(..) => true,
            Self::File(error) => !error.is_done(),
            Self::Command(error) => matches!(error, CommandError::Start(..)),
            Self::TimedOut | Self::Failed(_) | Self::Release { .. } | Self::NoTasks | Self::NoNodes => false,
        }
    }
}

impl From<LockError> for ConsoleError {
    fn from(error: LockError) -> Self {
        match error {
            LockError::File(error) => Self::File(error),
            busy => Self::Busy(busy),
        }
    }
}

impl From<CommandError> for ConsoleError {
    fn from(error: CommandError) -> Self {
        match error {
            CommandError::TimedOut => Self::TimedOut,
            other => Self::Command(other),
        }
    }
}
