//! `[console]`: rake, or no console.

use std::path::PathBuf;
use std::time::Duration;

use super::declare::{self, Absent, File, Key, Text, Value, keys};
use super::wrong::Wrong;
use crate::console::rake::task::Release;
use crate::system::process;

/// How nodes are classified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Rake,
    Enc,
}

const KIND: Value<Kind> = Value {
    want: "rake or enc",
    parse: |text| match text {
        "rake" => Ok(Kind::Rake),
        "enc" => Ok(Kind::Enc),
        _ => Err(text),
    },
};

const RELEASE: Value<Release> =
    Value { want: "1.2.2, 1.2.7, 1.2.23 or 3.0", parse: |text| Release::parse(text).ok_or(text) };

keys! {
    /// The kind of `[console]`.
    struct Which in "console" {
        /// How nodes are classified: rake runs the tasks of Puppet Enterprise's console or of Puppet Dashboard; enc
        /// needs no console.
        kind: Kind = KIND, default("rake");
    }
}

keys! {
    /// rake, and how it is run.
    #[derive(Clone)]
    pub struct Command in "console" for "rake" {
        /// Command line of rake up to the task or the action.
        argv as "command": Vec<String> = declare::COMMAND, required("/opt/puppet/bin/rake -f /opt/puppet/share/puppet-dashboard/Rakefile RAILS_ENV=production");
        /// Directory that rake runs in and may read, so nobody else may write it.
        directory: PathBuf = declare::PATH, required("/opt/puppet/share/puppet-dashboard");
        /// Variables for rake beyond PATH, HOME and LANG.
        environment: Vec<(String, String)> = declare::ENVIRONMENT, list("RUBYLIB=/opt/puppet/lib");
        /// User that rake runs as, through sudo; by default espm's own.
        user: Option<String> = declare::USER, optional("puppet-dashboard");
        /// Longest time for one run of rake.
        timeout: Duration = declare::SECONDS, default("120");
        /// Requests that may wait for a run of rake, half of them one client's; the next one is answered 503.
        queue: usize = declare::PLACES, default("64");
        /// Longest time that a request waits for a run of rake before it is answered 503.
        queue_timeout: Duration = declare::SECONDS_OR_NONE, default("60");
    }
}

keys! {
    /// `[console]` with `kind = rake`.
    pub struct Rake in "console" for "rake" {
        /// Oldest console release that has the same tasks: 1.2.2 (to 1.2.6), 1.2.7 (to 1.2.22), 1.2.23 (and 2.0) or
        /// 3.0 (and newer).
        release: Release = RELEASE, required("1.2.7");
        /// Socket of a worker that has booted the console already (espm.rake), asked before rake is started; its
        /// directory belongs to the console's user and the group espm.
        worker: Option<PathBuf> = declare::PATH, optional("/run/espm-console/worker.sock");
        /// Runs of rake at once, each about 2 s of a processor and 100 MB; by default as many as there are processors.
        concurrency: Option<usize> = declare::RUNS, optional("2");
        /// How long a list of classes or groups is kept; 0 asks the console each time.
        cache: Duration = declare::SECONDS_OR_NONE, default("60");
    } with |file| {
        /// How rake is run.
        command: Command = Command::read(file)?;
    }
}

keys! {
    /// `[console]` with `kind = enc`.
    pub struct Enc in "console" for "enc" {
        /// Catalogue of the classes and groups that may be assigned, root's.
        catalogue: PathBuf = declare::PATH, default(catalogue);
        /// Directory where espm publishes each node for espm-enc; its owner is espm, its mode 0750.
        published: PathBuf = declare::PATH, default(nodes);
        /// Requests that may wait for another one about the same node, half of them one client's; the next one is
        /// answered 503.
        queue: usize = declare::PLACES, default("64");
    }
}

/// `[console]`.
#[derive(Debug)]
pub enum Console {
    /// The console that rake runs.
    Rake(Rake),
    /// No console: the operator's catalogue and espm's own classifier.
    Enc(Enc),
}

impl Console {
    pub(super) const KEYS: [&'static [&'static Key]; 4] = [Which::KEYS, Command::KEYS, Rake::KEYS, Enc::KEYS];

    pub(super) fn read(file: &File) -> Result<Self, Wrong> {
        match Which::read(file)?.kind {
            Kind::Rake => Rake::read(file).map(Self::Rake),
            Kind::Enc => Enc::read(file).map(Self::Enc),
        }
    }

    /// The command that is run for it, where its kind has one.
    pub(crate) fn command(&self) -> Option<&Command> {
        match self {
            Self::Rake(rake) => Some(&rake.command),
            Self::Enc(_) => None,
        }
    }

    /// The catalogue and where nodes are published, where its kind has them.
    pub(crate) fn published(&self) -> Option<&Enc> {
        match self {
            Self::Rake(_) => None,
            Self::Enc(enc) => Some(enc),
        }
    }

    /// Handlers that can wait for the console or work with it at once.
    pub fn most_at_once(&self) -> usize {
        match self {
            Self::Rake(rake) => rake.concurrency.unwrap_or_else(process::processors) + rake.command.queue,
            Self::Enc(enc) => enc.queue,
        }
    }
}
