//! rake, one effect or one line at a time, with the console's database.

use super::{Database, Maker, Site, World};
use crate::console::{Intent, Way, exit_line};

/// What a task does to the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Effect {
    /// Changes a node that must be there.
    Change,
    Delete,
    Create,
    /// Lists the nodes.
    List,
}

/// A run of rake, at its next task.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Run {
    tasks: &'static [(Effect, &'static str)],
    /// The task has changed the database and has not said so.
    changed: bool,
    /// espm-helper waits for it.
    pub(super) helper: bool,
}

const GROUPS: (Effect, &str) = (Effect::Change, "Node groups successfully edited for web01!");
const CREATE: (Effect, &str) = (Effect::Create, "Node successfully created!");
const PARAMETERS: (Effect, &str) = (Effect::Change, "Node parameters successfully edited for web01!");
const DELETE: (Effect, &str) = (Effect::Delete, "");

impl Run {
    pub(super) fn of(intent: &Intent) -> Self {
        let tasks: &[_] = match intent {
            Intent::Add { .. } | Intent::Change { way: Way::AddAgain, .. } => &[CREATE, GROUPS],
            Intent::Change { way: Way::InPlace, .. } => &[PARAMETERS, GROUPS],
            Intent::Change { way: Way::Groups, .. } => &[GROUPS],
            Intent::Change { way: Way::Rebuild, .. } => &[GROUPS, DELETE, CREATE, PARAMETERS],
            Intent::Delete { .. } => &[GROUPS, DELETE, (Effect::List, "other01")],
        };
        Self { tasks, changed: false, helper: true }
    }

    /// True if its next step changes the database.
    pub(super) fn changes_next(&self) -> bool {
        !self.changed && self.tasks.first().is_some_and(|(effect, _)| *effect != Effect::List)
    }
}

/// Takes the next step.
pub(super) fn step(_: &Site, world: &mut World) {
    let Some(run) = world.run.clone() else { return };
    let Some((effect, line)) = run.tasks.first() else { return end(world, Some(0)) };
    let print = |world: &mut World, line: &str| world.output.text.push_str(&format!("{line}\n"));
    if run.changed {
        if !line.is_empty() {
            print(world, line);
        }
        if let Some(run) = &mut world.run {
            (run.changed, run.tasks) = (false, &run.tasks[1..]);
        }
        return;
    }
    let there = world.node.is_some() && world.database == Database::Right;
    let refused = match (world.database, effect) {
        (Database::Down, _) => Some("rake aborted!\nMysql::Error: Unknown column"),
        (Database::Right, Effect::Create) if there => Some("Node already exists!"),
        (Database::Empty, Effect::Create) => Some("There was a problem saving the node: read only"),
        (_, Effect::Change) if !there => Some("Node web01 doesn't exist!"),
        (_, Effect::Delete) if !there => Some("Node does not exist!"),
        _ => None,
    };
    if let Some(text) = refused {
        // Only the two errors that roll back prove something.
        world.doubt |= world.database != Database::Right;
        print(world, text);
        return end(world, Some(1));
    }
    change(world);
    if let Some(run) = &mut world.run {
        run.changed = true;
    }
}

/// Does what the next task does to the node.
pub(super) fn change(world: &mut World) {
    let Some((effect, _)) = world.run.as_ref().and_then(|run| run.tasks.first()).copied() else { return };
    let touches = matches!(effect, Effect::Change | Effect::Delete);
    if touches && world.node == Some(Maker::Another) {
        world.breaks("a node is touched that espm did not create");
    }
    match effect {
        Effect::Delete if world.node.is_some() => (world.node, world.gone) = (None, world.asked && world.gone),
        Effect::Create if world.node.is_none() => (world.node, world.gone) = (Some(Maker::Espm), false),
        _ => {}
    }
}

/// The next task fails with the words of the database, and rake ends.
pub(super) fn fail(world: &mut World, words: &str) {
    let effect = world.run.as_ref().and_then(|run| run.tasks.first()).map(|(effect, _)| *effect);
    let before = match effect {
        Some(Effect::Delete) => "",
        Some(Effect::Create) => "There was a problem saving the node: ",
        _ => "rake aborted!\n",
    };
    world.output.text.push_str(&format!("{before}Mysql::Error: {words}: DELETE FROM `nodes`\n"));
    end(world, Some(1));
}

/// rake ends by itself with a code, or is killed.
pub(super) fn end(world: &mut World, code: Option<u32>) {
    let Some(run) = world.run.take() else { return };
    if run.helper {
        if let Some(code) = code {
            world.output.text.push_str(&exit_line(code));
        }
        world.output.durable = world.output.text.len();
    }
    if let Some(handler) = &mut world.handler {
        // espm-helper has a code of its own for a rake that was killed.
        handler.ended = run.helper.then_some(code.unwrap_or(69));
    }
}
