//! A request: the steps of the executor, each of which can be the last.

use std::collections::BTreeSet;

use super::super::plan::{Left, Next, is_blocked};
use super::super::record::{Made, Record, Sent, State};
use super::ca::Run;
use super::{Site, World, name};
use crate::model::extension::Extensions;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Verb {
    Generate,
    Revoke,
}

/// The next step.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Phase {
    Begin,
    /// With what the CA had signed for the name before a command of this very call.
    Conclude {
        lines: Option<usize>,
    },
    /// Goes on with what the record says.
    Act,
    Late,
    /// Revokes what is left; these were revoked before.
    Revoke {
        before: Option<BTreeSet<String>>,
        then: Then,
    },
    /// Removes the files, then drops the record.
    Free {
        then: Then,
    },
    Drop {
        then: Then,
    },
    Room,
    Intend {
        lines: usize,
    },
    Start {
        lines: usize,
    },
}

/// What follows a revocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Then {
    Answer,
    Generate,
    /// A certificate with a flaw is revoked, and the request has failed.
    Fail,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Handler {
    pub(super) verb: Verb,
    phase: Phase,
}

impl World {
    pub(super) fn ask(&mut self, verb: Verb) {
        if verb == Verb::Revoke {
            self.certs.iter_mut().filter(|cert| cert.key > 0).for_each(|cert| cert.asked = true);
        }
        self.handler = Some(Handler { verb, phase: Phase::Begin });
    }

    fn state(&self) -> Option<&State> {
        self.record.as_ref().map(|record| &record.state)
    }

    fn write_or_forget(&mut self, record: Record) {
        self.record = (!record.holds_nothing()).then_some(record);
        (self.output, self.durable) = (String::new(), 0);
    }

    fn record_or_new(&self) -> Record {
        self.record.clone().unwrap_or_else(|| Record::new(&name(), State::Settled, vec![]))
    }

    fn has_files(&self) -> bool {
        self.key.is_some() || self.copy.is_some() || self.files.signed.is_some() || self.files.request.is_some()
    }

    fn remove_made(&mut self) {
        let key = self.key.map(|(key, _)| key);
        self.files.request = self.files.request.filter(|request| Some(*request) != key);
        (self.key, self.copy, self.files.signed) = (None, None, None);
    }

    /// As `Ca::remove_ours`.
    fn remove_ours(&mut self, record: &Record) {
        let ours = |key: u8| record.has_key(&format!("k{key}"));
        let key_at = |at: Option<usize>| at.map(|at| self.certs[at].key);
        let (signed, copy) = (key_at(self.files.signed.map(|(at, _)| at)), key_at(self.copy));
        self.files.request = self.files.request.filter(|key| !ours(*key));
        if signed.is_some_and(ours) {
            (self.key, self.copy, self.files.signed) = (None, None, None);
        }
        self.key = self.key.filter(|(key, _)| !ours(*key));
        self.copy = self.copy.filter(|_| !copy.is_some_and(ours));
    }
}

/// Takes the next step of the handler.
pub(super) fn step(site: &Site, world: &mut World) {
    let Some(Handler { verb, phase }) = world.handler.take() else { return };
    let next = match phase {
        Phase::Begin => match world.state() {
            Some(State::Generating { .. }) => Ok(Phase::Conclude { lines: None }),
            _ => Ok(Phase::Act),
        },
        Phase::Conclude { lines } => conclude(world, verb, lines),
        Phase::Act => act(world, verb),
        Phase::Late => late(world, verb),
        Phase::Revoke { before, then } => revoke(site, world, before, then),
        Phase::Free { then } => {
            let mut gone = world.record_or_new();
            if gone.state != State::Revoking {
                let survey = world.survey(&gone);
                gone.made.retain(|made| !survey.is_live(made));
            }
            world.remove_ours(&gone);
            Ok(Phase::Drop { then })
        }
        Phase::Drop { then } => {
            let mut record = world.record_or_new();
            record.retain_live(&world.survey(&record));
            record.state = State::Settled;
            world.write_or_forget(record);
            match then {
                Then::Answer => Err("revoked"),
                Then::Generate => Ok(Phase::Room),
                Then::Fail => Err("flawed"),
            }
        }
        Phase::Room => room(site, world),
        Phase::Intend { lines } => {
            let mut record = world.record_or_new();
            record.retain_live(&world.survey(&record));
            record.state = State::Generating { boot: world.boot.to_string(), since: 0, asked: Extensions::default() };
            world.record = Some(record);
            Ok(Phase::Start { lines })
        }
        Phase::Start { lines } => {
            (world.output, world.durable) = (String::new(), 0);
            world.keys += 1;
            world.run = Some(Run::Generate { key: world.keys, at: 0 });
            Ok(Phase::Conclude { lines: Some(lines) })
        }
    };
    match next {
        Ok(phase) => world.handler = Some(Handler { verb, phase }),
        Err(answer) => world.answered(verb, answer),
    }
}

/// As `Ca::generate` and `Ca::revoke` once no generating is open.
fn act(world: &mut World, verb: Verb) -> Result<Phase, &'static str> {
    let then = if verb == Verb::Revoke { Then::Answer } else { Then::Generate };
    match (verb, world.state()) {
        (_, Some(State::Abandoned { .. })) => Ok(Phase::Late),
        (Verb::Generate, Some(State::Revoking)) => Ok(Phase::Revoke { before: None, then }),
        (Verb::Generate, _) if world.record.as_ref().is_some_and(Record::has_flaw) => {
            Ok(Phase::Revoke { before: None, then })
        }
        (Verb::Generate, _) => Ok(Phase::Room),
        (Verb::Revoke, _) if world.record.as_ref().is_none_or(|record| record.made.is_empty()) => {
            Err(if world.has_files() { "foreign" } else { "absent" })
        }
        (Verb::Revoke, _) => Ok(Phase::Revoke { before: None, then }),
    }
}

/// As `Ca::late`, and what follows it.
fn late(world: &mut World, verb: Verb) -> Result<Phase, &'static str> {
    let mut record = world.record_or_new();
    let State::Abandoned(Sent { key, .. }) = record.state.clone() else { return Ok(Phase::Act) };
    record.state = State::Settled;
    if let Some((at, _)) = world.files.signed.filter(|(at, _)| world.made(*at).key == key) {
        record.made.push(Made { flawed: true, ..world.made(at) });
        (world.certs[at].recorded, world.certs[at].flawed) = (true, true);
    }
    world.write_or_forget(record);
    match verb {
        Verb::Generate if world.record.as_ref().is_none_or(|record| record.made.is_empty()) => Ok(Phase::Room),
        Verb::Generate => Ok(Phase::Revoke { before: None, then: Then::Generate }),
        Verb::Revoke => Ok(Phase::Act),
    }
}

fn revoke(site: &Site, world: &mut World, before: Option<BTreeSet<String>>, then: Then) -> Result<Phase, &'static str> {
    let mut record = world.record_or_new();
    match then {
        Then::Answer => record.state = State::Revoking,
        Then::Generate if record.state == State::Settled && !record.has_flaw() => return Ok(Phase::Room),
        Then::Generate | Then::Fail => {}
    }
    let survey = world.survey(&record);
    if before.as_ref().is_some_and(|before| survey.revoked.is_subset(before)) {
        return Err("not revoked");
    }
    match Next::of(site.flavour.kind(), &record, &survey) {
        Next::Void if before.is_none() && then == Then::Generate => Ok(Phase::Room),
        Next::Void if before.is_none() => Err("void"),
        Next::Done | Next::Void => {
            if then == Then::Answer {
                world.nothing_is_left();
            }
            Ok(Phase::Free { then })
        }
        Next::Cannot(_) => {
            world.record = Some(record);
            Err("replaced")
        }
        Next::Revoke(serial, by) => {
            world.record = Some(record);
            world.run = Some(Run::Revoke { serial, by });
            Ok(Phase::Revoke { before: Some(survey.revoked), then })
        }
    }
}

/// As `Ca::generate` from the current certificate on, and `Ca::make_room`.
fn room(site: &Site, world: &mut World) -> Result<Phase, &'static str> {
    let mut record = world.record_or_new();
    if world.current(&record) {
        let key = world.files.signed.map(|(at, _)| world.certs[at].key);
        return Err(if world.key.map(|(key, _)| key) == key { "there" } else { "key gone" });
    }
    let survey = world.survey(&record);
    if survey.copy.as_ref().is_some_and(|copy| survey.ours.contains(copy)) {
        return Err("not yet");
    }
    let before = record.clone();
    record.retain_live(&survey);
    if is_blocked(site.flavour.kind(), &survey) {
        if record != before {
            world.write_or_forget(record);
        }
        return Err(if survey.ours.is_empty() { "blocked" } else { "replaced" });
    }
    if !before.made.is_empty() {
        world.remove_ours(&before);
    }
    if world.has_files() { Err("blocked") } else { Ok(Phase::Intend { lines: survey.lines }) }
}

/// As `Ca::conclude`.
fn conclude(world: &mut World, verb: Verb, lines: Option<usize>) -> Result<Phase, &'static str> {
    let this_call = lines.is_some();
    let mut record = world.record_or_new();
    let State::Generating { boot, .. } = record.state.clone() else { return Ok(Phase::Act) };
    record.state = State::Settled;
    let nothing = |world: &mut World, record: Record| {
        world.remove_made();
        world.write_or_forget(record);
        if this_call { Err("nothing") } else { Ok(Phase::Act) }
    };
    let foreign = if verb == Verb::Revoke { Ok(Phase::Act) } else { Err("foreign") };
    let Some((at, signed_at)) = world.files.signed else {
        let key = world.key.filter(|_| world.output.contains("saved private key"));
        if let Some((key, _)) = key {
            record.state = State::Abandoned(Sent::by_own(format!("k{key}")));
        }
        return nothing(world, record);
    };
    let cert = world.certs[at];
    let fits = world.key.is_some_and(|(key, _)| key == cert.key);
    let restarted = boot != world.boot.to_string();
    let earlier = signed_at < world.boot && world.key.is_some_and(|(_, at)| at < world.boot);
    let in_time = this_call || (restarted && earlier);
    let left = Left { has_key: world.key.is_some(), may_fit: fits, in_time };
    if !left.is_commands(&world.output, &name()) {
        world.write_or_forget(record);
        return foreign;
    }
    if !fits {
        // As `Ca::of_another_key`.
        let is_commands = |at: &usize| {
            let copy = world.certs[*at];
            world.key.is_some_and(|(key, _)| key == copy.key) && copy.ca == world.files.ca && copy.era == world.era
        };
        if let Some(copy) = world.copy.filter(is_commands) {
            world.certs[copy].recorded = true;
            record.made.push(Made { flawed: world.certs[copy].flawed, ..world.made(copy) });
            world.record = Some(record);
            (world.output, world.durable) = (String::new(), 0);
            return if this_call { Err("replaced") } else { Ok(Phase::Act) };
        }
        if record.has_key(&world.made(at).key) {
            world.write_or_forget(record);
            return if this_call { Err("nothing") } else { Ok(Phase::Act) };
        }
        let now = world.inventory().lines.len();
        if lines.is_none_or(|before| now != before + 1) {
            world.write_or_forget(record);
            return foreign;
        }
    }
    if world.inventory().shared.contains(&world.made(at).serial) {
        return nothing(world, record);
    }
    let flawed = !fits || cert.flawed || !world.is_valid(cert);
    world.certs[at].recorded |= cert.key > 0;
    record.made.push(Made { flawed, ..world.made(at) });
    world.record = Some(record);
    (world.output, world.durable) = (String::new(), 0);
    match (flawed, verb, this_call) {
        (true, _, true) => Ok(Phase::Revoke { before: None, then: Then::Fail }),
        (true, Verb::Generate, false) => Ok(Phase::Revoke { before: None, then: Then::Generate }),
        (false, Verb::Generate, _) => Err("generated"),
        (_, Verb::Revoke, _) => Ok(Phase::Act),
    }
}
