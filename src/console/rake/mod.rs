//! The console that rake runs: Puppet Enterprise's until 3.3, and Puppet Dashboard.
//!
//! Each verb is one run in one of the shared slots: by the worker, where one is configured and answers, else
//! by rake through espm-helper, as the console's user. Messages and exit codes are judged
//! together, by pure functions in `proof`; the console ignores unknown classes and groups without a word, so
//! what it lists is compared.

pub mod output;
pub mod task;
mod verdict;
pub(crate) mod worker;

use std::cell::OnceCell;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use self::output::{excerpt, names};
use self::task::{Release, Request, Task};
use self::verdict::verdict;
use self::worker::{Worker, WorkerError};
use super::listing::Listing;
use super::{
    Claim, Console, ConsoleError, EXIT_NOT_STARTED, EXIT_TIMED_OUT, Evidence, Intent, Permit, Standing, Verdict, Way,
};
use crate::model::name::NodeName;
use crate::model::node::{Assignment, List};
use crate::model::state_directory;
use crate::system::clock::{self, Deadline};
use crate::system::command::Program;
use crate::system::helper_call::HelperCall;
use crate::system::lock::{self, InheritedLock, Lock, Permits, Queue};
use crate::system::process;
use crate::system::text::plain;
use crate::system::trusted_file;

/// How the console is run and what is kept of it.
#[derive(Debug)]
pub(crate) struct Settings {
    /// The program that runs a task, through sudo where it must.
    pub(crate) helper: Program,
    /// The worker that is asked before that.
    pub(crate) worker: Option<Worker>,
    /// Its tasks.
    pub(crate) release: Release,
    /// Seconds for one task.
    pub(crate) timeout: Duration,
    /// Tasks at once; by default as many as there are processors.
    pub(crate) concurrency: Option<usize>,
    /// Requests that may wait.
    pub(crate) queue: usize,
    /// How long one may wait.
    pub(crate) queue_timeout: Duration,
    /// How long a list is good; zero asks for each request anew.
    pub(crate) cache: Duration,
}

/// The console.
#[derive(Debug)]
pub(crate) struct Rake {
    settings: Settings,
    state: PathBuf,
    queue: Queue,
    /// Why the worker was not used.
    cold: OnceCell<String>,
}

impl Rake {
    /// The console, with its slots and its cache in the state directory.
    pub(crate) fn new(settings: Settings, state: &Path) -> Self {
        let locks = state_directory::locks(state);
        Self {
            queue: Queue::new(&locks, "console-queue", settings.queue),
            state: state.to_owned(),
            settings,
            cold: OnceCell::new(),
        }
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

    /// A run whose output is names; it changes nothing.
    fn lines(&self, task: Task, until: Deadline) -> Result<Vec<String>, ConsoleError> {
        let slot = self.slot(until)?;
        let (code, stdout, stderr) = match self.warm_lines(&task, &slot, self.limit(until))? {
            Some(ended) => ended,
            None => self.cold_lines(task, &slot, self.limit(until))?,
        };
        if code == 0 { Ok(names(&stdout)) } else { Err(ConsoleError::Failed(excerpt(&(stdout + "\n" + &stderr)))) }
    }

    /// Exit code, standard output and standard error of a run of the worker; `None` when it runs nothing.
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

    /// The exit code of a run of the worker; `None` when it runs nothing.
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
            // Only who gets the proof's lock may judge what it did.
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

    /// Waits for a slot, in which one run may be made.
    fn slot(&self, until: Deadline) -> Result<InheritedLock, ConsoleError> {
        let at_once = self.settings.concurrency.unwrap_or_else(process::processors);
        let slots = Permits::new(&state_directory::locks(&self.state), "console", at_once);
        Ok(self.queue.wait(until.within(self.settings.queue_timeout), || slots.try_acquire_inherited())?)
    }

    /// What a run may take now.
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
        let removes = !before.parameters.keys().all(|name| after.parameters.contains_key(name));
        if self.settings.release.changes_in_place(removes) { Way::InPlace } else { Way::Rebuild }
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

    /// A list of names: the kept one while it is good, else the console's.
    ///
    /// Many who ask at once get the answer of one run. With `fresh`, or where no list is kept, only an
    /// answer counts that was asked for after this call.
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

    fn lost(&self, _: &Assignment) -> Result<Vec<(List, String)>, ConsoleError> {
        Ok(Vec::new())
    }

    fn nodes(&self, until: Deadline) -> Result<Vec<String>, ConsoleError> {
        self.lines(Task::Nodes, until)
    }

    fn standing(&self, name: &NodeName, until: Deadline) -> Result<Standing, ConsoleError> {
        let nodes = self.nodes(until)?;
        if nodes.iter().any(|node| plain(node) == name.as_str()) {
            return Ok(Standing::Listed(nodes));
        }
        // A node that is missing is forgotten. So the list is believed only of a rake that makes sense.
        match Release::from_task_list(&self.tasks(until)?) {
            Some(_) => Ok(Standing::Unlisted),
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
        let task = Task::of(intent);
        let limit = self.limit(until);
        let code = match self.ask_worker(&task, &slot, [output, output], limit)? {
            Some(code) => code,
            None => self.run_cold(task, &slot, output, limit)?,
        };
        let printed = read_back(output)?;
        Ok(verdict(intent, Evidence { output: &printed, exit: Some(code), nodes: &[] }))
    }
}

/// The request in the slot's own file, which is the run's standard input: so the slot is taken for as long
/// as any process of the run lives, whatever becomes of this one; who runs rake gives it back after that.
fn request(task: Task, slot: &InheritedLock, call: &HelperCall<'_>) -> Result<File, ConsoleError> {
    let request = Request { task, limit: call.seconds() };
    slot.input(&HelperCall::json(&request)).map_err(ConsoleError::File)
}

fn read_back(output: &File) -> Result<String, ConsoleError> {
    crate::system::command::read_back(output).map_err(ConsoleError::Command)
}

/// rake's exit code, if espm-helper has run it to its end.
fn judge_code(code: Option<u32>, output: &str) -> Result<u32, ConsoleError> {
    match code {
        Some(EXIT_TIMED_OUT) => Err(ConsoleError::TimedOut),
        Some(code) if EXIT_NOT_STARTED.contains(&code) => Err(ConsoleError::NotStarted(excerpt(output))),
        Some(code) => Ok(code),
        // espm-helper was killed and rake may still run: only who gets the proof's lock
        // may judge what it did.
        None => Err(ConsoleError::Failed(format!("the program that runs it was killed: {}", excerpt(output)))),
    }
}

/// Whose turn it is to ask the console for a list.
enum Turn {
    /// Another process has asked meanwhile.
    Answered(Listing),
    /// Ours.
    Ask(Lock),
}
