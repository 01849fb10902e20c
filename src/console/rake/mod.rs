//! The console that rake runs: Puppet Enterprise's until 3.3, and Puppet Dashboard.
//!
//! Each task is one run in a shared slot: by the worker, if one is configured and answers, else by rake through
//! espm-helper, as the console's user. `verdict` judges messages and exit codes together. The console silently
//! ignores unknown classes and groups, so each run lists them too.

pub mod node;
pub mod output;
pub mod task;
mod verdict;
pub(crate) mod worker;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use self::output::{excerpt, names};
use self::task::{Release, Request, Task};
use self::verdict::verdict;
use self::worker::{Worker, WorkerError};
use super::listing::Listing;
use super::{
    Claim, Console, ConsoleError, EXIT_NOT_STARTED, EXIT_TIMED_OUT, Evidence, Found, Intent, Permit, Standing, Verdict,
    Way,
};
use crate::model::fault::FieldError;
use crate::model::name::{ClassName, EnvironmentName, GroupName, NodeName, ParameterName, ParameterValue};
use crate::model::node::{Assignment, Change, List, Node};
use crate::model::state_directory;
use crate::system::clock::{self, Deadline};
use crate::system::command::{self, CommandError};
use crate::system::helper_call::{Helper, HelperCall};
use crate::system::lock::{self, InheritedLock, Lock, Permits, Queue};
use crate::system::process;
use crate::system::trusted_file;

/// The settings of `[console]` for rake.
#[derive(Debug)]
pub(crate) struct Settings {
    /// The program that runs a task.
    pub(crate) helper: Helper,
    /// The worker to ask before `helper`.
    pub(crate) worker: Option<Worker>,
    pub(crate) release: Release,
    /// The time limit of one task.
    pub(crate) timeout: Duration,
    /// Tasks at once; by default as many as there are processors.
    pub(crate) concurrency: Option<usize>,
    pub(crate) queue_timeout: Duration,
    /// The life of a cached list; zero asks the console for each request.
    pub(crate) cache: Duration,
}

/// A console run by rake.
#[derive(Debug)]
pub(crate) struct Rake {
    settings: Settings,
    state: PathBuf,
    queue: Queue,
    /// The reason for which the worker was not used.
    cold: OnceLock<String>,
}

impl Rake {
    pub(crate) fn new(settings: Settings, queue: Queue, state: &Path) -> Self {
        Self { queue, state: state.to_owned(), settings, cold: OnceLock::new() }
    }

    fn ask_for_classes(&self) -> Result<(), ConsoleError> {
        let limit = self.settings.timeout;
        let slot = self.slot(Deadline::after(limit))?;
        match self.warm_lines(&Task::Names { list: List::Classes }, &slot, limit)? {
            Some((0, ..)) => Ok(()),
            Some((code, _, stderr)) => {
                Err(ConsoleError::Worker(format!("nodeclass:list ends with {code}: {}", excerpt(&stderr))))
            }
            None => Err(ConsoleError::Worker(self.ran_cold().unwrap_or_default().to_owned())),
        }
    }

    fn tasks(&self, until: Deadline) -> Result<String, ConsoleError> {
        Ok(self.lines(Task::Tasks, until)?.join("\n"))
    }

    /// Runs a task that prints names and changes nothing.
    fn lines(&self, task: Task, until: Deadline) -> Result<Vec<String>, ConsoleError> {
        let slot = self.slot(until)?;
        let (code, stdout, stderr) = match self.warm_lines(&task, &slot, self.limit(until))? {
            Some(ended) => ended,
            None => self.cold_lines(task, &slot, self.limit(until))?,
        };
        if code == 0 { Ok(names(&stdout)) } else { Err(ConsoleError::Failed(excerpt(&(stdout + "\n" + &stderr)))) }
    }

    /// The worker's exit code, output and error output; `None` when it has run nothing.
    fn warm_lines(
        &self,
        task: &Task,
        slot: &InheritedLock,
        limit: Duration,
    ) -> Result<Option<(u32, String, String)>, ConsoleError> {
        if self.settings.worker.is_none() {
            return Ok(None);
        }
        let nameless = || trusted_file::nameless(&state_directory::cache(&self.state)).map_err(ConsoleError::File);
        let (stdout, stderr) = (nameless()?, nameless()?);
        let Some(code) = self.ask_worker(task, slot, [&stdout, &stderr], limit)? else { return Ok(None) };
        Ok(Some((code, read_back(&stdout)?, read_back(&stderr)?)))
    }

    /// The worker's exit code; `None` when it has changed nothing, and rake can be run instead.
    fn ask_worker(
        &self,
        task: &Task,
        slot: &InheritedLock,
        outputs: [&File; 2],
        limit: Duration,
    ) -> Result<Option<u32>, ConsoleError> {
        let asks = task.is_for_worker() && self.ran_cold().is_none();
        let Some(worker) = self.settings.worker.as_ref().filter(|_| asks) else { return Ok(None) };
        match worker.run(&task.tasks(self.settings.release), outputs, slot.file(), limit) {
            Ok(code) => Ok(Some(code)),
            Err(WorkerError::NotRun(why)) => {
                let _ = self.cold.set(why);
                Ok(None)
            }
            Err(WorkerError::TimedOut) => Err(ConsoleError::TimedOut),
            Err(WorkerError::Died) if !task.changes() => {
                let _ = self.cold.set(format!("console worker {}: its child has died", worker.socket.display()));
                Ok(None)
            }
            // Recovery judges its effect once the output file's lock is free.
            Err(WorkerError::Died) => Err(ConsoleError::Failed("the worker's child died on the way".into())),
        }
    }

    fn cold_lines(
        &self,
        task: Task,
        slot: &InheritedLock,
        limit: Duration,
    ) -> Result<(u32, String, String), ConsoleError> {
        let call = HelperCall::new(&self.settings.helper, limit);
        let ended = call.capture(request(task, slot, &call)?)?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (stdout, stderr) = (text(&ended.stdout), text(&ended.stderr));
        Ok((judge_code(ended.code, &stderr)?, stdout, stderr))
    }

    fn run_cold(&self, task: Task, slot: &InheritedLock, proof: &File, limit: Duration) -> Result<u32, ConsoleError> {
        let call = HelperCall::new(&self.settings.helper, limit);
        let ended = call.run_into(proof, request(task, slot, &call)?)?;
        judge_code(ended.code, &read_back(proof)?)
    }

    fn slot(&self, until: Deadline) -> Result<InheritedLock, ConsoleError> {
        let at_once = self.settings.concurrency.unwrap_or_else(process::processors);
        let slots = Permits::new(&state_directory::locks(&self.state), "console", at_once);
        Ok(self.queue.wait(until.within(self.settings.queue_timeout), || slots.try_acquire_inherited())?)
    }

    fn limit(&self, until: Deadline) -> Duration {
        self.settings.timeout.min(until.left())
    }
}

impl Console for Rake {
    fn queue(&self) -> &Queue {
        &self.queue
    }

    fn has_parameters(&self) -> bool {
        self.settings.release.has_parameters()
    }

    fn way(&self, before: &Assignment, after: &Assignment) -> Way {
        self.settings.release.way(before, after)
    }

    fn verdict(&self, intent: &Intent, evidence: Evidence<'_>) -> Verdict {
        verdict(intent, evidence)
    }

    fn probe(&self, until: Deadline) -> Result<String, ConsoleError> {
        let configured = self.settings.release;
        match Release::from_task_list(&self.tasks(until)?) {
            Some(found) if found == configured => Ok(format!("answers, with the tasks of release {}", found.word())),
            Some(found) => Err(ConsoleError::Release { found, configured }),
            None => Err(ConsoleError::NoTasks),
        }
    }

    fn probe_worker(&self) -> Option<Result<String, ConsoleError>> {
        let worker = self.settings.worker.as_ref()?;
        Some(self.ask_for_classes().map(|()| format!("answers at {}", worker.socket.display())))
    }

    fn ran_cold(&self) -> Option<&str> {
        self.cold.get().map(String::as_str)
    }

    /// Lists names from the cache or, when that is stale, from the console.
    ///
    /// Requests that ask at once share one run. With `fresh`, or without a cache, that run began after this call.
    fn names(&self, list: List, fresh: bool, until: Deadline) -> Result<Listing, ConsoleError> {
        let cache = state_directory::cache(&self.state);
        let life = self.settings.cache;
        let fresh = fresh || life.is_zero();
        if !fresh && let Some(kept) = Listing::load(&cache, list, life) {
            return Ok(kept);
        }
        let asked_ms = clock::now_ms();
        let answered = || {
            if fresh {
                Listing::load(&cache, list, Duration::MAX).filter(|kept| kept.as_of_ms >= asked_ms)
            } else {
                Listing::load(&cache, list, life)
            }
        };
        let lock_path = state_directory::locks(&self.state).join(format!("list.{}", list.member()));
        let turn = self.queue.wait(until.within(self.settings.queue_timeout), || {
            Ok(match answered() {
                Some(listing) => Some(Turn::Answered(listing)),
                None => lock::try_acquire(&lock_path)?.map(Turn::Ask),
            })
        })?;
        let _turn = match turn {
            Turn::Answered(listing) => return Ok(listing),
            Turn::Ask(lock) => lock,
        };
        if let Some(listing) = answered() {
            return Ok(listing);
        }
        let as_of_ms = clock::now_ms();
        let names = self.lines(Task::Names { list }, until)?;
        let listing = Listing::new(list, &names, as_of_ms);
        listing.save(&cache, list).map_err(ConsoleError::File)?;
        Ok(listing)
    }

    fn judge(
        &self,
        change: &Change,
        _: &Assignment,
        _: &mut Assignment,
        _: &dyn Fn(&EnvironmentName) -> bool,
    ) -> Result<Vec<FieldError>, ConsoleError> {
        Ok(node::judge(change))
    }

    fn folds(&self) -> bool {
        true
    }

    fn outdated(&self, _: &[&Node]) -> Result<Vec<(NodeName, Option<ConsoleError>)>, ConsoleError> {
        Ok(Vec::new())
    }

    fn found(&self, name: &NodeName, _: &[Assignment], until: Deadline) -> Result<Option<Found>, ConsoleError> {
        if !self.settings.release.shows_nodes() {
            return Ok(None);
        }
        let mut found = Found::default();
        for group in self.lines(Task::Assigned { name: name.clone(), list: List::Groups }, until)? {
            match GroupName::parse(&group) {
                Ok(group) => found.assignment.groups.push(group),
                Err(_) => found.beyond.push(format!("the group {group:?}")),
            }
        }
        for class in self.lines(Task::Assigned { name: name.clone(), list: List::Classes }, until)? {
            match ClassName::parse(&class) {
                Ok(class) => found.assignment.classes.push(class),
                Err(_) => found.beyond.push(format!("the class {class:?}")),
            }
        }
        for line in self.lines(Task::Parameters { name: name.clone() }, until)? {
            let (key, value) = line.split_once('=').unwrap_or((&line, ""));
            match (ParameterName::parse(key), ParameterValue::parse(value)) {
                (Ok(key), Ok(value)) if !found.assignment.parameters.contains_key(&key) => {
                    found.assignment.parameters.insert(key, value.into());
                }
                _ => found.beyond.push(format!("the parameter {line:?}")),
            }
        }
        Ok(Some(found))
    }

    fn nodes(&self, until: Deadline) -> Result<Vec<String>, ConsoleError> {
        self.lines(Task::Nodes, until)
    }

    fn may_be_empty(&self) -> bool {
        false
    }

    fn standing(&self, name: &NodeName, until: Deadline) -> Result<Standing, ConsoleError> {
        let standing = Standing::among(name, self.nodes(until)?).ok_or(ConsoleError::NoNodes)?;
        if matches!(standing, Standing::Listed(_)) {
            return Ok(standing);
        }
        // A missing node is forgotten, so the list counts only if this rake has a console's tasks.
        match Release::from_task_list(&self.tasks(until)?) {
            Some(_) => Ok(standing),
            None => Err(ConsoleError::Failed("it lists neither the node nor the console's tasks".into())),
        }
    }

    fn claim(&self, _: &NodeName) -> Result<Claim, ConsoleError> {
        Ok(Claim::CommandTells)
    }

    fn permit(&self, until: Deadline) -> Result<Permit, ConsoleError> {
        Ok(Permit(Some(self.slot(until)?)))
    }

    fn run(&self, intent: &Intent, permit: Permit, output: &File, until: Deadline) -> Result<Verdict, ConsoleError> {
        let slot = match permit.0 {
            Some(slot) => slot,
            None => self.slot(until)?,
        };
        let task = Task::of(intent)?;
        let code = match self.ask_worker(&task, &slot, [output, output], self.limit(until))? {
            Some(code) => code,
            // The worker may have taken a part of the time.
            None => self.run_cold(task, &slot, output, self.limit(until))?,
        };
        // The output proves what was done, after a power loss too.
        output.sync_data().map_err(|error| ConsoleError::Command(CommandError::Io(error)))?;
        let printed = read_back(output)?;
        Ok(verdict(intent, Evidence { output: &printed, exit: Some(code), whole: true, standing: None }))
    }
}

/// Writes the request into the slot's file, which is the run's standard input.
///
/// So the slot stays locked while any process of the run lives, even if this one dies.
fn request(task: Task, slot: &InheritedLock, call: &HelperCall<'_>) -> Result<File, ConsoleError> {
    let request = Request { task, limit: call.seconds() };
    slot.input(&HelperCall::json(&request)).map_err(ConsoleError::File)
}

fn read_back(output: &File) -> Result<String, ConsoleError> {
    command::read_back(output).map_err(ConsoleError::Command)
}

/// Returns rake's exit code, or an error when rake did not end by itself.
fn judge_code(code: Option<u32>, output: &str) -> Result<u32, ConsoleError> {
    match code {
        Some(EXIT_TIMED_OUT) => Err(ConsoleError::TimedOut),
        Some(code) if EXIT_NOT_STARTED.contains(&code) => Err(ConsoleError::NotStarted(excerpt(output))),
        Some(code) => Ok(code),
        // rake may still run: recovery judges its effect once the output file's lock is free.
        None => Err(ConsoleError::Failed(format!("espm-helper was killed: {}", excerpt(output)))),
    }
}

/// The result of waiting for the console's list.
enum Turn {
    /// Another process has asked meanwhile.
    Answered(Listing),
    /// This process asks, under the lock.
    Ask(Lock),
}
