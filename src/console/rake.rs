//! The console that rake runs: Puppet Enterprise's until 3.3, and Puppet Dashboard.
//!
//! Each verb is one run of rake in one of the shared slots, through the program that raises to the
//! console's user. Messages and exit codes are judged together, by pure functions in `proof`; the
//! console ignores unknown classes and groups without a word, so what it lists is compared.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::listing::Listing;
use super::proof::{self, Completeness, Proof, Separator};
use super::task::{Order, Release, Task};
use super::{Assigned, ConsoleError, EXIT_NOT_STARTED, EXIT_TIMED_OUT};
use crate::clock::{self, Deadline};
use crate::command::Program;
use crate::lock::{self, Lock, Queue, Slots};
use crate::name::NodeName;
use crate::operation::{Assignment, List, Node};
use crate::state;
use crate::text::excerpt;

/// How much longer than the raised program's own limit it is waited for; it needs time to kill.
const RAISE_GRACE: Duration = Duration::from_secs(6);

/// How the console is run and what is kept of it.
#[derive(Debug)]
pub struct Settings {
    /// The program that runs a task, through sudo where it must.
    pub raise: Program,
    /// Its tasks.
    pub release: Release,
    /// Seconds for one task.
    pub timeout: Duration,
    /// Tasks at once.
    pub concurrency: usize,
    /// Requests that may wait.
    pub queue: usize,
    /// How long one may wait.
    pub queue_timeout: Duration,
    /// How long a list is good; zero keeps none.
    pub cache: Duration,
}

/// The console.
#[derive(Debug)]
pub struct Rake {
    settings: Settings,
    state: PathBuf,
    slots: Slots,
    queue: Queue,
}

impl Rake {
    /// The console, with its slots and its cache in the state directory.
    pub fn new(settings: Settings, state: &Path) -> Self {
        let locks = state::locks(state);
        Self {
            slots: Slots::new(&locks, "console", settings.concurrency),
            queue: Queue::new(&locks, "console-queue", settings.queue),
            state: state.to_owned(),
            settings,
        }
    }

    /// Whether nodes can have parameters.
    pub fn has_parameters(&self) -> bool {
        self.settings.release.has_parameters()
    }

    /// Whether a change can be made in place.
    pub fn changes_in_place(&self, removes_parameters: bool) -> bool {
        self.settings.release.changes_in_place(removes_parameters)
    }

    /// Whether the console answers, with the tasks that are configured.
    ///
    /// # Errors
    /// A sentence that says what is wrong.
    pub fn probe(&self, until: Deadline) -> Result<String, String> {
        let tasks = self.lines(Task::Tasks, until).map_err(|error| error.to_string())?.join("\n");
        let configured = self.settings.release;
        match Release::from_task_list(&tasks) {
            Some(found) if found == configured => Ok(format!("answers, with the tasks of release {}", found.word())),
            Some(found) => {
                let (found, configured) = (found.word(), configured.word());
                Err(format!("[console] release: has the tasks of {found}, configured is {configured}; write {found}"))
            }
            None => Err("rake answers, but lists no console tasks; is this the console's Rakefile?".into()),
        }
    }

    /// The queue in which requests wait for each other, too.
    pub fn queue(&self) -> &Queue {
        &self.queue
    }

    /// A list of names: the kept one while it is good, else the console's.
    ///
    /// Many who ask at once get the answer of one run. With `fresh` only an answer counts that was
    /// asked for after this call.
    ///
    /// # Errors
    /// When the console cannot be asked.
    pub fn names(&self, list: List, fresh: bool, until: Deadline) -> Result<Listing, ConsoleError> {
        let cache = state::cache(&self.state);
        let life = self.settings.cache;
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
        let lock_path = state::locks(&self.state).join(format!("list.{}", list.member()));
        let turn = self.queue.wait(until.within(self.settings.queue_timeout), || {
            Ok(match answered() {
                Some(listing) => Some(Turn::Answered(listing)),
                None => lock::try_take(&lock_path)?.map(Turn::Ask),
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
        if !life.is_zero() {
            listing.save(&cache, list).map_err(ConsoleError::File)?;
        }
        Ok(listing)
    }

    /// Whether exactly this node is in the console.
    ///
    /// # Errors
    /// When the console cannot be asked.
    pub fn has(&self, name: &NodeName, until: Deadline) -> Result<bool, ConsoleError> {
        Ok(self.nodes(until)?.iter().any(|node| node == name.as_str()))
    }

    /// The names of all nodes.
    ///
    /// # Errors
    /// When the console cannot be asked.
    pub fn nodes(&self, until: Deadline) -> Result<Vec<String>, ConsoleError> {
        self.lines(Task::Nodes, until)
    }

    /// Adds a node. `proof` gets the output and is locked by the run for as long as it lasts.
    ///
    /// # Errors
    /// When the run has no known end.
    pub fn add(&self, node: &Node, proof: &File, until: Deadline) -> Result<Assigned, ConsoleError> {
        let (code, output) = self.run(Task::Add { node: node.clone() }, proof, until)?;
        let read = Proof::read(&output, &node.name);
        Ok(judge(&read, code, &node.assignment, Separator::Groups, &output))
    }

    /// Changes a node's assignment: in place where the console can, else by deleting it and adding it again.
    ///
    /// # Errors
    /// When the run has no known end.
    pub fn change(&self, node: &Node, rebuild: bool, proof: &File, until: Deadline) -> Result<Assigned, ConsoleError> {
        let (task, separator) = if rebuild {
            (Task::Rebuild { node: node.clone() }, Separator::Parameters)
        } else {
            (Task::Change { node: node.clone() }, Separator::Groups)
        };
        let (code, output) = self.run(task, proof, until)?;
        let read = Proof::read(&output, &node.name);
        Ok(judge(&read, code, &node.assignment, separator, &output))
    }

    /// Deletes a node; one that is not there is deleted.
    ///
    /// # Errors
    /// When it is still there, or the run has no known end.
    pub fn delete(&self, node: &Node, proof: &File, until: Deadline) -> Result<(), ConsoleError> {
        let task = Task::Delete { name: node.name.clone(), groups: node.assignment.groups.clone() };
        let (code, output) = self.run(task, proof, until)?;
        let read = Proof::read(&output, &node.name);
        let gone = code == Some(0) && read.groups_edited() && !read.remains();
        if gone || (!read.groups_edited() && read.missing()) {
            Ok(())
        } else {
            Err(ConsoleError::Failed(excerpt(&output)))
        }
    }

    /// A run whose output is names; it changes nothing.
    fn lines(&self, task: Task, until: Deadline) -> Result<Vec<String>, ConsoleError> {
        let (_slot, order, limit) = self.order(task, until)?;
        let ended = self.settings.raise.capture(order, limit)?;
        let text = String::from_utf8_lossy(&ended.stdout);
        match ended.code {
            Some(0) => Ok(proof::names(&text)),
            Some(EXIT_TIMED_OUT) => Err(ConsoleError::TimedOut),
            Some(code) if EXIT_NOT_STARTED.contains(&code) => {
                Err(ConsoleError::NotStarted(excerpt(&String::from_utf8_lossy(&ended.stderr))))
            }
            _ => Err(ConsoleError::Failed(excerpt(&format!("{text}\n{}", String::from_utf8_lossy(&ended.stderr))))),
        }
    }

    /// A run that changes a node, its output in the proof.
    fn run(&self, task: Task, proof: &File, until: Deadline) -> Result<(Option<u32>, String), ConsoleError> {
        let (_slot, order, limit) = self.order(task, until)?;
        let ended = self.settings.raise.raise_into(proof, order, limit)?;
        let output = crate::command::read_back(proof).map_err(ConsoleError::Command)?;
        match ended.code {
            Some(EXIT_TIMED_OUT) => Err(ConsoleError::TimedOut),
            Some(code) if EXIT_NOT_STARTED.contains(&code) => Err(ConsoleError::NotStarted(excerpt(&output))),
            Some(_) => Ok((ended.code, output)),
            // The program that raises was killed and rake may still run: only who gets the proof's
            // lock may judge what it did.
            None => Err(ConsoleError::Failed(format!("the program that runs it was killed: {}", excerpt(&output)))),
        }
    }

    /// A slot, the order to send, and the moment after which its end is no longer waited for.
    fn order(&self, task: Task, until: Deadline) -> Result<(Lock, Vec<u8>, Deadline), ConsoleError> {
        let slot = self.queue.wait(until.within(self.settings.queue_timeout), || self.slots.try_take())?;
        let limit = self.settings.timeout.min(until.left());
        let order = Order { task, limit: limit.as_secs().max(1) };
        let bytes = serde_json::to_vec(&order).unwrap_or_default();
        Ok((slot, bytes, Deadline::after(limit + RAISE_GRACE)))
    }
}

/// Whose turn it is to ask the console for a list.
enum Turn {
    /// Another process has asked meanwhile.
    Answered(Listing),
    /// Ours.
    Ask(Lock),
}

fn judge(read: &Proof<'_>, code: Option<u32>, wanted: &Assignment, separator: Separator, output: &str) -> Assigned {
    match read.complete(wanted, separator) {
        Completeness::Whole if code == Some(0) => Assigned::Whole,
        Completeness::Lost(lost) if code == Some(0) => Assigned::Lost(lost),
        _ if read.created() => Assigned::Partly(excerpt(output)),
        _ if read.taken() => Assigned::Taken,
        _ if read.missing() => Assigned::Missing,
        _ => Assigned::Failed(excerpt(output)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Proof, Separator, judge};
    use crate::console::Assigned;
    use crate::name::NodeName;
    use crate::operation::Assignment;

    const DONE: &str = "Node groups successfully edited for web01!";

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn success_is_the_marker_and_exit_code_0_both(
            code in proptest::option::of(0_u32..3),
            before in "(.{0,20}\n){0,3}",
            marker in any::<bool>(),
            after in "(.{0,20}\n){0,3}",
        ) {
            let output = format!("{before}{}\n{after}", if marker { DONE } else { "" });
            let name = NodeName::parse("web01").unwrap();
            let judged = judge(&Proof::read(&output, &name), code, &Assignment::default(), Separator::Groups, &output);
            prop_assert_eq!(judged == Assigned::Whole, marker && code == Some(0), "{:?}", judged);
        }
    }
}
