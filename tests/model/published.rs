//! The kind without a console: a published file, a human who writes or removes it after a handler died, and espm's
//! judgement about whose it is.

use std::path::Path;

use stateright::{Checker, Model, Property};

use super::node;
use crate::console::published::{Published, line_of};
use crate::console::{Console, Evidence, Intent, Standing, Way};
use crate::ledger::NodeState;
use crate::service::judgement::{Purpose, Step, next_step};
use crate::system::lock::Queue;
use crate::system::trusted_file::Identity;

/// A file under the node's name: its number, and whether a human wrote it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct File {
    number: u8,
    humans: bool,
}

impl File {
    fn identity(self) -> Identity {
        Identity::parse(&format!("{} 0 0 0", self.number)).unwrap()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Request {
    Add,
    Change,
    Delete,
    /// `espm publish`, which records no intent.
    Publish,
}

/// The next step of a handler.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Phase {
    Begin,
    /// Writes the new file beside and tells of it.
    Tell,
    /// Gives the new file its name.
    Name,
    Remove,
    /// Makes the directory durable, and records the outcome.
    Record,
    /// Gives a new file the name of an active node's.
    Publish,
    /// Makes the directory durable; the row stays as it is.
    Sync,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct World {
    row: Option<NodeState>,
    output: String,
    file: Option<File>,
    /// What is there after a power loss, unless what is there now is.
    durable: Option<File>,
    numbers: u8,
    handler: Option<(Request, Phase)>,
    requests: u8,
    deaths: u8,
    humans: u8,
    broken: Option<&'static str>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Act {
    Ask(Request),
    Step,
    HandlerDies,
    PowerLoss { keeps: bool },
    HumanWrites,
    HumanRemoves,
}

struct Site(Published);

/// How often a human writes or removes a file.
const HUMANS: u8 = 2;

impl World {
    fn number(&mut self) -> u8 {
        self.numbers += 1;
        self.numbers
    }

    fn intent(&self) -> Option<Intent> {
        Some(match self.row? {
            NodeState::Creating => Intent::Add { node: node() },
            NodeState::Changing => Intent::Change { node: node(), way: Way::InPlace },
            NodeState::Deleting => Intent::Delete { node: node() },
            NodeState::Active | NodeState::Unproven => return None,
        })
    }

    /// Records an intent, whose head tells of the file that is there.
    fn intend(&mut self, state: NodeState) -> Phase {
        let there = self.file.filter(|_| state != NodeState::Creating);
        if there.is_some() {
            self.durable = there;
        }
        self.output = there.map(|file| line_of(&file.identity()) + "\n").unwrap_or_default();
        self.row = Some(state);
        if state == NodeState::Deleting { Phase::Remove } else { Phase::Tell }
    }

    /// Puts a file, or none, in the place of what is there.
    fn replace(&mut self, file: Option<File>) {
        if self.file.is_some_and(|file| file.humans) {
            self.broken.get_or_insert("a human's file is replaced or removed");
        }
        self.file = file;
    }

    fn look(&mut self) {
        let espms = |file: Option<File>| file.is_some_and(|file| !file.humans);
        if self.row.is_none() && self.handler.is_none() && (espms(self.file) || espms(self.durable)) {
            self.broken.get_or_insert("a file of espm's is left of a node that is forgotten");
        }
        if self.row == Some(NodeState::Unproven) && self.humans == HUMANS {
            self.broken.get_or_insert("a node is unproven although nobody else has written a file");
        }
    }
}

impl Site {
    fn step(&self, world: &mut World, request: Request, phase: Phase) -> Option<Phase> {
        match (phase, request) {
            (Phase::Begin, _) => self.begin(world, request),
            (Phase::Tell, _) => {
                let file = File { number: world.number(), humans: false };
                world.output += &(line_of(&file.identity()) + "\n");
                Some(Phase::Name)
            }
            (Phase::Name, _) => {
                let file = File { number: world.numbers, humans: false };
                if world.row == Some(NodeState::Creating) && world.file.is_some() {
                    world.row = None;
                    return None;
                }
                world.replace(Some(file));
                Some(Phase::Record)
            }
            (Phase::Remove, _) => {
                world.replace(None);
                Some(Phase::Record)
            }
            (Phase::Record, _) => {
                world.durable = world.file;
                world.row = world.row.filter(|state| *state != NodeState::Deleting).map(|_| NodeState::Active);
                None
            }
            (Phase::Publish, _) => {
                let number = world.number();
                world.replace(Some(File { number, humans: false }));
                Some(Phase::Sync)
            }
            (Phase::Sync, _) => {
                world.durable = world.file;
                None
            }
        }
    }

    fn begin(&self, world: &mut World, request: Request) -> Option<Phase> {
        match (world.row, request) {
            (None, Request::Add) if world.file.is_none() => Some(world.intend(NodeState::Creating)),
            (None | Some(NodeState::Unproven), _) | (Some(NodeState::Active), Request::Add) => None,
            (Some(NodeState::Active), Request::Change) => Some(world.intend(NodeState::Changing)),
            (Some(NodeState::Active), Request::Delete) => Some(world.intend(NodeState::Deleting)),
            (Some(NodeState::Active), Request::Publish) => Some(Phase::Publish),
            // It leaves what is unfinished to the next request.
            (_, Request::Publish) => None,
            (Some(_), _) => self.settle(world, request),
        }
    }

    /// Settles as `service::recovery` does; the next request goes on.
    fn settle(&self, world: &mut World, request: Request) -> Option<Phase> {
        let purpose = if request == Request::Delete { Purpose::Delete } else { Purpose::Keep };
        let intent = world.intent()?;
        let standing = match world.file {
            Some(file) => Standing::Published(file.identity()),
            None => {
                world.durable = None;
                Standing::Unpublished
            }
        };
        let evidence = Evidence::left(&world.output, None);
        let verdict = self.0.verdict(&intent, evidence);
        let standing = match next_step(&intent, &verdict, None, purpose) {
            Step::AskConsole => Some(standing),
            _ => None,
        };
        let verdict = self.0.verdict(&intent, evidence.and(standing.as_ref()));
        match next_step(&intent, &verdict, standing.as_ref(), purpose) {
            Step::Forget => world.row = None,
            Step::MarkUnproven => world.row = Some(NodeState::Unproven),
            Step::RecordDone | Step::Restore => world.row = Some(NodeState::Active),
            Step::Republish | Step::Assign | Step::AddAgain => return Some(world.intend(NodeState::Changing)),
            Step::Delete => return Some(world.intend(NodeState::Deleting)),
            Step::Accept => return Some(world.intend(NodeState::Deleting)),
            Step::AskConsole => {}
        }
        None
    }
}

impl Model for Site {
    type State = World;
    type Action = Act;

    fn init_states(&self) -> Vec<World> {
        let world = |row: Option<NodeState>| {
            let file = row.map(|_| File { number: 0, humans: false });
            World {
                row,
                output: String::new(),
                file,
                durable: file,
                numbers: 0,
                handler: None,
                requests: 4,
                deaths: 2,
                humans: HUMANS,
                broken: None,
            }
        };
        vec![world(None), world(Some(NodeState::Active))]
    }

    fn actions(&self, world: &World, acts: &mut Vec<Act>) {
        if world.handler.is_some() {
            acts.push(Act::Step);
            if world.deaths > 0 {
                acts.extend([Act::HandlerDies, Act::PowerLoss { keeps: true }, Act::PowerLoss { keeps: false }]);
            }
        } else {
            if world.requests > 0 {
                acts.extend([Request::Add, Request::Change, Request::Delete, Request::Publish].map(Act::Ask));
            }
            // What a human puts in the place of an active node's file is replaced with the next change of the node.
            if world.humans > 0 && world.row != Some(NodeState::Active) {
                acts.push(Act::HumanWrites);
                acts.extend(world.file.map(|_| Act::HumanRemoves));
            }
        }
    }

    fn next_state(&self, last: &World, act: Act) -> Option<World> {
        let mut world = last.clone();
        match act {
            Act::Ask(request) => {
                world.requests -= 1;
                world.handler = Some((request, Phase::Begin));
            }
            Act::Step => {
                let (request, phase) = world.handler?;
                world.handler = self.step(&mut world, request, phase).map(|phase| (request, phase));
            }
            Act::HandlerDies => {
                world.deaths -= 1;
                world.handler = None;
            }
            Act::PowerLoss { keeps } => {
                world.deaths -= 1;
                world.handler = None;
                world.file = if keeps { world.file } else { world.durable };
                world.durable = world.file;
            }
            Act::HumanWrites => {
                world.humans -= 1;
                world.file = Some(File { number: world.number(), humans: true });
                world.durable = world.file;
            }
            Act::HumanRemoves => {
                world.humans -= 1;
                (world.file, world.durable) = (None, None);
            }
        }
        world.look();
        Some(world)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("each promise is kept", |_, world: &World| world.broken.is_none()),
            Property::sometimes("a human's file is there and its node is unproven", |_, world: &World| {
                world.row == Some(NodeState::Unproven) && world.file.is_some_and(|file| file.humans)
            }),
            Property::sometimes("a deletion that died is finished", |_, world: &World| {
                world.row.is_none() && world.file.is_none() && world.deaths == 0 && world.numbers == 0
            }),
        ]
    }
}

#[test]
fn no_order_of_events_touches_a_humans_file() {
    let none = Path::new("/nonexistent");
    let checker =
        Site(Published::new(none, none, Queue::new(none, "queue", 0, None))).checker().threads(2).spawn_bfs().join();
    if let Some(path) = checker.discovery("each promise is kept") {
        panic!("{:?}: {path}", path.last_state().broken);
    }
    checker.assert_properties();
    let states = checker.unique_state_count();
    assert!(states > 1000, "{states}");
}
