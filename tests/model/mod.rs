//! A model of one node and its certificate, in which espm's own judgement runs: every order of requests, commands,
//! deaths, power losses, reports, humans and lies of the console within the bounds.
//!
//! The judgement is the code of `src/service/judgement.rs` and of the console's verdict. What is modelled here is what
//! carries it out: the ledger and the output file as far as they are durable, rake task by task, the CA. A promise
//! that breaks is noted in the world where it breaks, so that the path to it is the shortest.

mod handler;
mod published;
mod rake;

use std::path::Path;
use std::time::Duration;

use stateright::{Checker, Model, Property};

use self::handler::{Handler, Request};
use self::rake::Run;
use crate::console::rake::task::Release;
use crate::console::rake::{Rake, Settings};
use crate::console::{Console, Intent, Way};
use crate::ledger::{CertificateState, NodeState};
use crate::model::name::NodeName;
use crate::model::node::{Assignment, Node};
use crate::system::helper_call::Helper;
use crate::system::lock::Queue;

/// Who made the node that is in the console.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Maker {
    Espm,
    /// Somebody else, while espm had deleted its own or never had one.
    Another,
    /// Somebody else, after somebody else had deleted espm's: no console tells the two apart, and the documents say so.
    Remaker,
}

/// The console's database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Database {
    Right,
    /// A wrong or restored one, without any node.
    Empty,
    Down,
}

/// The ledger's row; durable.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Row {
    state: NodeState,
    certificate: Option<CertificateState>,
}

/// The output file of the row's intent.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
struct Output {
    text: String,
    /// Bytes of it that a power loss leaves.
    durable: usize,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct World {
    row: Option<Row>,
    output: Output,
    boot: u8,
    node: Option<Maker>,
    /// The node is not there because somebody else deleted it, or because its client had it deleted.
    gone: bool,
    database: Database,
    /// The certificate is valid, and its client or the operator has asked for its revocation.
    valid: bool,
    asked: bool,
    run: Option<Run>,
    handler: Option<Handler>,
    /// What else can happen: requests, deaths, power losses, acts of others, failures of the database.
    left: Budget,
    /// Something happened after which nobody can know whose the node is.
    doubt: bool,
    broken: Option<&'static str>,
}

/// How often each thing can still happen.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Budget {
    requests: u8,
    deaths: u8,
    power_losses: u8,
    others: u8,
    failures: u8,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Act {
    Ask(Request),
    /// The handler takes its next step.
    Step,
    HandlerDies,
    /// rake does or prints what comes next.
    Rake,
    RakeDies,
    /// espm-helper dies; rake goes on.
    HelperDies,
    /// The database gives up the statement and rolls back.
    Deadlock,
    /// The connection is lost, after the statement or before.
    Lost {
        done: bool,
    },
    /// Whatever is not durable is on the disk all the same, or is not.
    PowerLoss {
        keeps: bool,
    },
    Report,
    HumanDeletes,
    Breaks(Database),
    Mends,
}

/// A console of one release, with its bounds.
struct Site {
    console: Rake,
    way: Way,
    budget: Budget,
}

impl Site {
    fn of(release: Release, budget: Budget) -> Self {
        let helper = Helper { argv: vec![], sudo: "/nonexistent".into(), user: None };
        let settings = Settings {
            helper,
            worker: None,
            release,
            timeout: Duration::ZERO,
            concurrency: None,
            queue_timeout: Duration::ZERO,
            cache: Duration::ZERO,
        };
        let queue = Queue::new(Path::new("/nonexistent"), "queue", 0, None);
        let console = Rake::new(settings, queue, Path::new("/nonexistent"));
        let way = console.way(&Assignment::default(), &Assignment::default());
        Self { console, way, budget }
    }

    /// The head of an output file, with the boot of the world.
    fn head(&self, intent: &Intent, boot: u8) -> String {
        let head = self.console.head(intent).unwrap();
        let rest = head.lines().filter(|line| !line.starts_with("espm: boot "));
        std::iter::once(format!("espm: boot {boot}")).chain(rest.map(str::to_owned)).map(|line| line + "\n").collect()
    }
}

fn node() -> Node {
    Node { name: NodeName::parse("web01").unwrap(), assignment: Assignment::default() }
}

impl World {
    fn breaks(&mut self, promise: &'static str) {
        self.broken.get_or_insert(promise);
    }

    fn state(&self) -> Option<NodeState> {
        self.row.as_ref().map(|row| row.state)
    }

    /// What must hold after each act.
    fn look(&mut self) {
        if self.node == Some(Maker::Espm) && self.row.is_none() {
            self.breaks("a node of espm's is in the console and not in the ledger");
        }
        if self.valid && self.row.is_none() && self.handler.is_none() {
            self.breaks("a valid certificate is left of a node that is forgotten");
        }
        if self.state() == Some(NodeState::Unproven) && !self.doubt {
            self.breaks("a node that is known to be espm's is unproven");
        }
    }
}

impl Model for Site {
    type State = World;
    type Action = Act;

    fn init_states(&self) -> Vec<World> {
        let world = |row: Option<Row>, valid| World {
            node: row.as_ref().map(|_| Maker::Espm),
            row,
            output: Output::default(),
            boot: 0,
            gone: false,
            database: Database::Right,
            valid,
            asked: false,
            run: None,
            handler: None,
            left: self.budget.clone(),
            doubt: false,
            broken: None,
        };
        let active = |certificate| Some(Row { state: NodeState::Active, certificate });
        vec![world(None, false), world(active(None), false), world(active(Some(CertificateState::Issued)), true)]
    }

    fn actions(&self, world: &World, acts: &mut Vec<Act>) {
        let Budget { requests, deaths, power_losses, others, failures } = world.left;
        if world.handler.is_some() {
            acts.push(Act::Step);
            if deaths > 0 {
                acts.push(Act::HandlerDies);
            }
        } else if requests > 0 {
            acts.extend(Request::ALL.map(Act::Ask));
        }
        if let Some(run) = &world.run {
            acts.push(Act::Rake);
            if deaths > 0 {
                acts.extend([Act::RakeDies, Act::HelperDies]);
            }
            if failures > 0 && run.changes_next() && world.database == Database::Right {
                acts.extend([Act::Deadlock, Act::Lost { done: false }, Act::Lost { done: true }]);
            }
        }
        if power_losses > 0 {
            acts.extend([true, false].map(|keeps| Act::PowerLoss { keeps }));
        }
        if others > 0 && world.database == Database::Right {
            acts.push(if world.node.is_some() { Act::HumanDeletes } else { Act::Report });
        }
        match world.database {
            Database::Right if failures > 0 => acts.extend([Database::Empty, Database::Down].map(Act::Breaks)),
            Database::Right => {}
            Database::Empty | Database::Down => acts.push(Act::Mends),
        }
    }

    fn next_state(&self, last: &World, act: Act) -> Option<World> {
        let mut world = last.clone();
        match act {
            Act::Ask(request) => {
                world.left.requests -= 1;
                world.handler = Some(Handler::begin(request));
            }
            Act::Step => handler::step(self, &mut world)?,
            Act::HandlerDies => {
                world.left.deaths -= 1;
                world.handler = None;
            }
            Act::Rake => rake::step(self, &mut world),
            Act::RakeDies => {
                world.left.deaths -= 1;
                world.doubt = true;
                rake::end(&mut world, None);
            }
            Act::HelperDies => {
                world.left.deaths -= 1;
                world.doubt = true;
                world.run.as_mut()?.helper = false;
            }
            Act::Deadlock => {
                world.left.failures -= 1;
                rake::fail(&mut world, "Deadlock found when trying to get lock; try restarting transaction");
            }
            Act::Lost { done } => {
                world.left.failures -= 1;
                world.doubt = true;
                if done {
                    rake::change(&mut world);
                }
                rake::fail(&mut world, "MySQL server has gone away");
            }
            Act::PowerLoss { keeps } => {
                world.left.power_losses -= 1;
                world.doubt = true;
                world.boot += 1;
                (world.handler, world.run) = (None, None);
                if !keeps {
                    let durable = world.output.durable;
                    world.output.text.truncate(durable);
                }
                world.output.durable = world.output.text.len();
            }
            Act::Report => {
                world.left.others -= 1;
                world.doubt = true;
                world.node = Some(if world.gone { Maker::Remaker } else { Maker::Another });
            }
            Act::HumanDeletes => {
                world.left.others -= 1;
                world.gone = world.node == Some(Maker::Espm) || world.gone;
                world.node = None;
            }
            Act::Breaks(database) => {
                world.left.failures -= 1;
                world.database = database;
            }
            Act::Mends => world.database = Database::Right,
        }
        world.look();
        Some(world)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("each promise is kept", |_, world: &World| world.broken.is_none()),
            // The model reaches what it is about.
            Property::sometimes("a certificate is revoked", |_, world: &World| {
                world.row.as_ref().is_some_and(|row| row.certificate == Some(CertificateState::Revoked)) && !world.valid
            }),
            Property::sometimes("a node is unproven", |_, world: &World| world.state() == Some(NodeState::Unproven)),
            Property::sometimes("a node that somebody deleted is forgotten", |_, world: &World| {
                world.row.is_none() && world.gone && !world.asked
            }),
        ]
    }
}

fn explore(release: Release, budget: Budget) -> usize {
    let checker = Site::of(release, budget).checker().threads(2).spawn_bfs().join();
    for (name, path) in checker.discoveries() {
        if name == "each promise is kept" {
            panic!("{:?}: {path}", path.last_state().broken);
        }
    }
    checker.assert_properties();
    checker.unique_state_count()
}

/// In the bounds of a few minutes, or of an hour with `ESPM_TEST_LONG` where the build is optimized.
#[test]
fn no_order_of_events_breaks_a_promise() {
    let long = !cfg!(debug_assertions) && std::env::var_os("ESPM_TEST_LONG").is_some_and(|on| on == "1");
    let bounds = if long { (3, 2, 1, 2, 2) } else { (2, 1, 1, 2, 1) };
    let (requests, deaths, power_losses, others, failures) = bounds;
    for release in [Release::V1_2_7, Release::V1_2_23] {
        let budget = Budget { requests, deaths, power_losses, others, failures };
        let states = explore(release, budget);
        assert!(states > 10_000, "{states}");
    }
}
