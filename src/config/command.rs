//! The keys of a command of the master's, the console's or the CA's.

use std::path::PathBuf;
use std::time::Duration;

use super::section::Section;

/// A command of the master and how it is run.
#[derive(Debug, Clone)]
pub struct Command {
    /// The words up to ours.
    pub argv: Vec<String>,
    /// Where it runs.
    pub directory: PathBuf,
    /// Variables beyond the basic ones.
    pub environment: Vec<(String, String)>,
    /// The user that it runs as; `None` when that is espm's own.
    pub user: Option<String>,
    /// Seconds for one run.
    pub timeout: Duration,
    /// Requests that may wait.
    pub queue: usize,
    /// How long one may wait.
    pub queue_timeout: Duration,
}

impl Command {
    pub(super) fn read(section: &Section<'_>, default_directory: Option<&str>) -> Result<Self, String> {
        let line = section.text("command", None)?;
        let argv: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        if !line.starts_with('/') {
            return Err(section.wrong("command", "a program's absolute path and its arguments", &line));
        }
        if let Some(word) = argv.iter().find(|word| word.contains(['"', '\'', '$', '`', '\\', '|', '&', '<', '>'])) {
            return Err(section.wrong("command", "plain words, since no shell reads them", word));
        }
        let environment = if section.has("environment") { section.text("environment", None)? } else { String::new() };
        let pair = |word: &str| match word.split_once('=') {
            Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
            // What follows the sign may be secret.
            _ => Err(section.wrong("environment", "NAME=VALUE words", word.split('=').next().unwrap_or_default())),
        };
        Ok(Self {
            argv,
            directory: section.path("directory", default_directory)?,
            environment: environment.split_whitespace().map(pair).collect::<Result<_, _>>()?,
            user: if section.has("user") { Some(section.user()?) } else { None },
            timeout: section.seconds("timeout", 120, 1)?,
            queue: section.count("queue", 64, 0)?,
            queue_timeout: section.seconds("queue_timeout", 60, 0)?,
        })
    }
}
