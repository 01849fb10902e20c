//! A model of the certificates of one name, in which the executor's own judgement runs: every order of requests,
//! deaths, power losses, renewals, humans, and CAs that are made anew or restored, within the bounds.
//!
//! The judgement is the code of `survey.rs`, `plan.rs`, `record.rs` and `inventory.rs`. What is modelled here is what
//! carries it out: the record, the CA's files, its commands step by step. A human does nothing while a command revokes,
//! since no command can tell what happened between espm's look and its act, and stops espm while a CA is restored.

mod ca;
mod handler;
mod survey;

use std::collections::BTreeSet;

use stateright::{Checker, Model, Property};

use self::ca::{Cert, Files, Name, Run};
use self::handler::{Handler, Verb};
use super::Kind;
use super::record::Record;
use crate::model::name::NodeName;

/// What a CA's command can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flavour {
    /// `puppet cert` before 2.7.26: revokes its copy alone.
    CertByName,
    /// `puppet cert`: revokes its copy, or a serial number.
    Cert,
    /// A server before 8.2.2: revokes its copy alone.
    ServerByCopy,
    /// A server: revokes every unexpired certificate of the name.
    Server,
}

impl Flavour {
    const ALL: [Self; 4] = [Self::CertByName, Self::Cert, Self::ServerByCopy, Self::Server];

    fn kind(self) -> Kind {
        match self {
            Self::CertByName | Self::Cert => Kind::PuppetCert,
            Self::ServerByCopy | Self::Server => Kind::PuppetserverCa,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct World {
    /// Every certificate that was ever signed.
    certs: Vec<Cert>,
    /// CAs and espm's keys that were ever made.
    cas: u8,
    keys: u8,
    files: Files,
    backup: Files,
    /// The private key on the disk, and the boot during which it was written.
    key: Option<(u8, u8)>,
    /// The node's copy of a certificate.
    copy: Option<usize>,
    record: Option<Record>,
    output: String,
    /// Bytes of it that a power loss leaves.
    durable: usize,
    boot: u8,
    /// Whatever was signed in an earlier one has expired.
    era: u8,
    /// The server has a request with this key, and signs it although the command is gone.
    late: Option<u8>,
    run: Option<Run>,
    handler: Option<Handler>,
    left: Budget,
    answer: &'static str,
    broken: Option<&'static str>,
}

/// How often each thing can still happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Budget {
    requests: u8,
    deaths: u8,
    flaws: u8,
    others: u8,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Act {
    Ask(Verb),
    /// The handler takes its next step.
    Step,
    HandlerDies,
    /// The command takes its next step; a flaw is in what it signs.
    Run {
        flaw: bool,
    },
    RunDies,
    /// The server signs after its command is gone.
    ServerSigns,
    /// What was printed is on the disk, or is not.
    PowerLoss {
        keeps: bool,
    },
    Renews(usize),
    HumanSigns(Name),
    CopyIsLost,
    Backup,
    Restore,
    /// The number of the next certificate alone is restored.
    RestoreNumber,
    /// The CA is made anew; the master's certificate gets this number.
    Anew(u8),
    Expire,
}

struct Site {
    flavour: Flavour,
    budget: Budget,
}

fn name() -> NodeName {
    NodeName::parse("web01").unwrap()
}

impl World {
    fn new(budget: Budget) -> Self {
        let files =
            Files { ca: 0, master: 1, next: 2, lines: vec![], signed: None, request: None, revoked: BTreeSet::new() };
        Self {
            certs: vec![],
            cas: 0,
            keys: 0,
            backup: files.clone(),
            files,
            key: None,
            copy: None,
            record: None,
            output: String::new(),
            durable: 0,
            boot: 0,
            era: 0,
            late: None,
            run: None,
            handler: None,
            left: budget,
            answer: "",
            broken: None,
        }
    }

    fn breaks(&mut self, promise: &'static str) {
        self.broken.get_or_insert(promise);
    }

    /// What must hold after each act.
    fn look(&mut self) {
        let recorded = |at: usize| {
            let print = format!("f{at}");
            self.record.as_ref().is_some_and(|record| record.made.iter().any(|made| made.fingerprint == print))
        };
        let dropped = |(at, cert): (usize, &Cert)| {
            cert.recorded && !cert.done && !cert.flawed && cert.era == self.era && !recorded(at)
        };
        if self.certs.iter().enumerate().any(dropped) {
            self.breaks("a record is dropped while its certificate is valid");
        }
    }

    /// A revocation finds nothing more to do.
    fn nothing_is_left(&mut self) {
        if (0..self.certs.len()).any(|at| self.is_to_be_revoked(at)) {
            self.breaks("a revocation is answered, and a certificate of espm's is valid");
        }
    }

    /// A request is answered: what espm's client relies on from now on.
    fn answered(&mut self, verb: Verb, answer: &'static str) {
        self.answer = answer;
        self.handler = None;
        if verb == Verb::Revoke && matches!(answer, "absent" | "void" | "foreign") {
            self.nothing_is_left();
        }
        if matches!(answer, "generated" | "there") {
            let cert = self.files.signed.map(|(at, _)| self.certs[at]);
            match cert {
                Some(cert) if cert.key == 0 => self.breaks("another's certificate is handed out"),
                Some(cert) if !cert.flawed && self.is_valid(cert) => {}
                _ => self.breaks("a certificate is handed out that is not valid"),
            }
        }
    }
}

impl Model for Site {
    type State = World;
    type Action = Act;

    /// Nothing is there, or a certificate that was handed out.
    fn init_states(&self) -> Vec<World> {
        let empty = World::new(self.budget);
        let mut issued = self.next_state(&empty, Act::Ask(Verb::Generate)).unwrap();
        while issued.handler.is_some() {
            let act = if issued.run.is_some() { Act::Run { flaw: false } } else { Act::Step };
            issued = self.next_state(&issued, act).unwrap();
        }
        assert_eq!(issued.answer, "generated");
        issued.left = self.budget;
        vec![empty, issued]
    }

    fn actions(&self, world: &World, acts: &mut Vec<Act>) {
        let Budget { requests, deaths, flaws, others } = world.left;
        match &world.run {
            None if world.handler.is_some() => acts.push(Act::Step),
            None if requests > 0 => acts.extend([Verb::Generate, Verb::Revoke].map(Act::Ask)),
            None => {}
            Some(run) => {
                acts.push(Act::Run { flaw: false });
                if flaws > 0 && run.signs_next() {
                    acts.push(Act::Run { flaw: true });
                }
            }
        }
        if world.late.is_some() && world.run.is_none() {
            acts.push(Act::ServerSigns);
        }
        if deaths > 0 {
            acts.extend(world.handler.as_ref().map(|_| Act::HandlerDies));
            acts.extend(world.run.as_ref().map(|_| Act::RunDies));
            acts.extend([true, false].map(|keeps| Act::PowerLoss { keeps }));
        }
        if others > 0 {
            let revokes = matches!(world.run, Some(Run::Revoke { .. }));
            // Up to Puppet 5 a human signs what renews. Who renews what a restored CA has forgotten is as a human.
            let server = self.flavour.kind() == Kind::PuppetserverCa;
            let renews = |at: &usize| world.can_renew(*at) && (!revokes || (server && world.is_listed(*at)));
            acts.extend((0..world.certs.len()).filter(renews).map(Act::Renews));
            if !revokes {
                acts.extend([Name::Own, Name::Other].map(Act::HumanSigns));
                acts.extend([Act::CopyIsLost, Act::Backup, Act::Expire]);
            }
            if world.handler.is_none() && world.run.is_none() {
                acts.extend([Act::Restore, Act::RestoreNumber]);
                acts.extend([1, 2].map(Act::Anew));
            }
        }
    }

    fn next_state(&self, last: &World, act: Act) -> Option<World> {
        let mut world = last.clone();
        match act {
            Act::Ask(verb) => {
                world.left.requests -= 1;
                world.ask(verb);
            }
            Act::Step => handler::step(self, &mut world),
            Act::HandlerDies => {
                world.left.deaths -= 1;
                world.handler = None;
            }
            Act::Run { flaw } => {
                world.left.flaws -= u8::from(flaw);
                ca::step(self.flavour, &mut world, flaw);
            }
            Act::RunDies => {
                world.left.deaths -= 1;
                world.run = None;
            }
            Act::ServerSigns => {
                let key = world.late.take()?;
                if world.files.request.take_if(|request| *request == key).is_some() {
                    world.sign(Name::Own, key, true, false);
                }
            }
            Act::PowerLoss { keeps } => {
                world.left.deaths -= 1;
                world.boot += 1;
                (world.handler, world.run, world.late) = (None, None, None);
                let durable = world.durable;
                world.output.truncate(if keeps { world.output.len() } else { durable });
                world.durable = world.output.len();
            }
            other => {
                world.left.others -= 1;
                world.happens(&other)?;
            }
        }
        world.look();
        Some(world)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("each promise is kept", |_, world: &World| world.broken.is_none()),
            // The model reaches what it is about.
            Property::sometimes("a record is void", |_, world: &World| world.answer == "void"),
            Property::sometimes("the CA cannot revoke it alone", |_, world: &World| world.answer == "replaced"),
            Property::sometimes("what comes of a lost output is handed out", |_, world: &World| {
                world.boot > 0 && world.durable == 0 && world.answer == "generated"
            }),
            Property::sometimes("another's certificate of the name is left alone", |_, world: &World| {
                let humans = world.certs.iter().any(|cert| cert.key == 0 && cert.name == Name::Own && !cert.done);
                world.answer == "revoked" && humans && world.certs.iter().any(|cert| cert.done)
            }),
        ]
    }
}

/// In the bounds of a minute, or of an hour with `ESPM_TEST_LONG` where the build is optimized.
#[test]
fn no_order_of_events_breaks_a_promise_about_certificates() {
    let long = !cfg!(debug_assertions) && std::env::var_os("ESPM_TEST_LONG").is_some_and(|on| on == "1");
    let (requests, deaths, others) = if long { (3, 2, 3) } else { (2, 1, 2) };
    let mut seen = BTreeSet::new();
    for flavour in Flavour::ALL {
        let budget = Budget { requests, deaths, flaws: 1, others };
        let checker = Site { flavour, budget }.checker().threads(2).spawn_bfs().join();
        if let Some(path) = checker.discovery("each promise is kept") {
            panic!("{flavour:?}: {:?}: {path}", path.last_state().broken);
        }
        let states = checker.unique_state_count();
        assert!(states > 10_000, "{states}");
        seen.extend(checker.discoveries().into_keys());
    }
    assert_eq!(seen.len(), 4, "{seen:?}");
}

/// A certificate with a flaw is of a CA that was made anew and is gone again.
#[test]
fn flaw_of_one_ca_revokes_nothing_of_another_that_counts_the_same() {
    let budget = Budget { requests: 2, deaths: 1, flaws: 1, others: 3 };
    for flavour in Flavour::ALL {
        let site = Site { flavour, budget };
        let mut world = site.init_states().pop().unwrap();
        let act = |world: &World, act: Act| site.next_state(world, act).unwrap();
        for first in [Act::Backup, Act::Anew(1), Act::Ask(Verb::Generate)] {
            world = act(&world, first);
        }
        // Until the certificate is recorded, and its revocation has not begun.
        while world.record.as_ref().is_none_or(|record| !record.has_flaw()) {
            let flaw = world.run.as_ref().is_some_and(Run::signs_next);
            let next = if world.run.is_some() { Act::Run { flaw } } else { Act::Step };
            world = act(&world, next);
        }
        for next in [Act::PowerLoss { keeps: true }, Act::Restore, Act::Ask(Verb::Generate)] {
            world = act(&world, next);
        }
        while world.handler.is_some() {
            let next = if world.run.is_some() { Act::Run { flaw: false } } else { Act::Step };
            world = act(&world, next);
        }
        assert_eq!((world.broken, world.answer), (None, "key gone"), "{flavour:?}");
    }
}
