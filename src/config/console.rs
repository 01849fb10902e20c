//! `[console]`: the one that rake runs, or none.

use std::path::PathBuf;
use std::time::Duration;

use super::command::Command;
use super::section::Section;
use crate::console::rake::task::Release;
use crate::system::process;

/// The keys of `[console]` that belong to one kind alone.
const RAKE_KEYS: [&str; 9] =
    ["command", "directory", "environment", "user", "worker", "release", "concurrency", "timeout", "cache"];
const ENC_KEYS: [&str; 2] = ["catalogue", "published"];

/// `[console]` with `kind = rake`
#[derive(Debug)]
pub struct Rake {
    /// rake.
    pub command: Command,
    /// The socket of the worker that is asked before rake is started.
    pub worker: Option<PathBuf>,
    /// Its tasks.
    pub release: Release,
    /// Runs at once; by default as many as there are processors, which only those count who run something.
    pub concurrency: Option<usize>,
    /// How long a list is good.
    pub cache: Duration,
}

/// `[console]` with `kind = enc`
#[derive(Debug)]
pub struct Enc {
    /// The operator's catalogue.
    pub catalogue: PathBuf,
    /// Where nodes are published.
    pub published: PathBuf,
    /// Requests that may wait.
    pub queue: usize,
}

/// `[console]`
#[derive(Debug)]
pub enum Console {
    /// The one that rake runs.
    Rake(Rake),
    /// None: the operator's catalogue and espm's own classifier.
    Enc(Enc),
}

impl Console {
    pub(super) fn read(section: &Section<'_>) -> Result<Self, String> {
        let rake = section.word(
            "kind",
            Some("rake"),
            |word| ["enc", "rake"].iter().position(|kind| *kind == word),
            "rake or enc",
        )? == 1;
        let others: &[&str] = if rake { &ENC_KEYS } else { &RAKE_KEYS };
        if let Some(key) = others.iter().find(|key| section.has(key)) {
            return Err(format!("[console] {key}: is for kind = {} alone", if rake { "enc" } else { "rake" }));
        }
        if !rake {
            return Ok(Self::Enc(Enc {
                catalogue: section.placed("catalogue", |layout| layout.catalogue)?,
                published: section.placed("published", |layout| layout.nodes)?,
                queue: section.count("queue", 64, 0)?,
            }));
        }
        Ok(Self::Rake(Rake {
            command: Command::read(section, None)?,
            worker: section.has("worker").then(|| section.path("worker", None)).transpose()?,
            release: section.word("release", None, Release::parse, "1.2.2, 1.2.7, 1.2.23 or 3.0")?,
            concurrency: if section.has("concurrency") { Some(section.count("concurrency", 1, 1)?) } else { None },
            cache: section.seconds("cache", 60, 0)?,
        }))
    }

    /// Handlers that can wait for it or work with it at once.
    pub fn most_at_once(&self) -> usize {
        match self {
            Self::Rake(rake) => rake.concurrency.unwrap_or_else(process::processors) + rake.command.queue,
            Self::Enc(enc) => enc.queue,
        }
    }
}
