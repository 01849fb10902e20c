//! A request: the steps of `service`, each of which can be the last.

use super::rake::Run;
use super::{Database, Output, Row, Site, World, node};
use crate::console::{Console, Evidence, Gap, Intent, Refusal, Standing, Verdict, Way};
use crate::ledger::{CertificateState, NodeState};
use crate::service::judgement::{ProvenGone, Purpose, Reason, Step, may_revoke_before_settling, next_step};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Request {
    Add,
    Change,
    Delete,
    Generate,
    Revoke,
    /// `espm check --settle`
    Settle,
}

impl Request {
    pub(super) const ALL: [Self; 6] =
        [Self::Add, Self::Change, Self::Delete, Self::Generate, Self::Revoke, Self::Settle];

    fn purpose(self) -> Purpose {
        if self == Self::Delete { Purpose::Delete } else { Purpose::Keep }
    }
}

/// The next step of a handler.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Phase {
    Begin,
    Settle,
    /// Settles after the console was asked: whether the node was listed, and whether the list named others.
    Settled {
        listed: Listed,
    },
    Act,
    Acted {
        listed: Listed,
    },
    /// rake runs for a recovery or for the request itself.
    Wait {
        recovers: bool,
    },
    /// The reason is at hand; the intent is recorded, the CA revokes, and the outcome is recorded.
    Revoke {
        asked: bool,
        at: u8,
    },
    Generate {
        at: u8,
    },
}

/// What a list said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Listed {
    There,
    OthersAlone,
    Nothing,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Handler {
    request: Request,
    phase: Phase,
    /// The exit code that espm-helper gave.
    pub(super) ended: Option<u32>,
}

impl Handler {
    pub(super) fn begin(request: Request) -> Self {
        Self { request, phase: Phase::Begin, ended: None }
    }
}

/// The change in a row.
fn intent(site: &Site, world: &World) -> Option<Intent> {
    Some(match world.state()? {
        NodeState::Creating => Intent::Add { node: node() },
        NodeState::Deleting => Intent::Delete { node: node() },
        NodeState::Changing => Intent::unfinished_change(&world.output.text, node(), site.way),
        NodeState::Active | NodeState::Unproven => return None,
    })
}

/// Asks the console; `None` when it fails.
fn list(world: &World) -> Option<Listed> {
    match world.database {
        Database::Down => None,
        Database::Empty => Some(Listed::Nothing),
        Database::Right if world.node.is_some() => Some(Listed::There),
        Database::Right => Some(Listed::OthersAlone),
    }
}

/// The judgement of a list, which is an error where it proves nothing.
fn standing(listed: Listed) -> Option<Standing> {
    let names: &[&str] = match listed {
        Listed::There => &["other01", "web01"],
        Listed::OthersAlone => &["other01"],
        Listed::Nothing => &[],
    };
    Standing::among(&node().name, names.iter().map(|name| (*name).to_owned()).collect())
}

/// Takes the next step of the handler. `None` where it waits.
pub(super) fn step(site: &Site, world: &mut World) -> Option<()> {
    let handler = world.handler.clone()?;
    let (request, purpose) = (handler.request, handler.request.purpose());
    let state = world.state();
    let next = match handler.phase {
        Phase::Begin => match state {
            None if request == Request::Add => start(site, world, Intent::Add { node: node() }),
            None | Some(NodeState::Unproven) => None,
            Some(state) if matches!(request, Request::Delete | Request::Revoke) => {
                world.asked = true;
                let first = may_revoke_before_settling(state);
                Some(if first { Phase::Revoke { asked: true, at: 0 } } else { Phase::Settle })
            }
            Some(NodeState::Active) => Some(Phase::Act),
            Some(_) => Some(Phase::Settle),
        },
        Phase::Settle | Phase::Settled { .. } => {
            let listed = if let Phase::Settled { listed } = handler.phase { Some(listed) } else { None };
            settle(site, world, purpose, listed)
        }
        Phase::Act => act(site, world, request),
        Phase::Acted { listed } => acted(site, world, request, listed),
        Phase::Wait { recovers } => {
            if world.run.is_some() {
                return None;
            }
            conclude(site, world, handler.ended, recovers)
        }
        Phase::Revoke { asked, at } => revoke(world, request, asked, at),
        Phase::Generate { at } => generate(world, at),
    };
    world.handler = next.map(|phase| Handler { request, phase, ended: None });
    Some(())
}

/// Records an intent and starts its run.
fn start(site: &Site, world: &mut World, intent: Intent) -> Option<Phase> {
    let state = match intent {
        Intent::Add { .. } => NodeState::Creating,
        Intent::Change { .. } => NodeState::Changing,
        Intent::Delete { .. } => NodeState::Deleting,
    };
    let certificate = world.row.as_ref().and_then(|row| row.certificate);
    let recovers = world.row.as_ref().is_some_and(|row| row.state != NodeState::Active);
    world.row = Some(Row { state, certificate });
    let head = site.head(&intent, world.boot);
    world.output = Output { durable: head.len(), text: head };
    world.run = Some(Run::of(&intent));
    Some(Phase::Wait { recovers })
}

fn record(world: &mut World, state: NodeState) {
    if let Some(row) = &mut world.row {
        row.state = state;
    }
}

/// Settles the open intent, before and after the console was asked.
fn settle(site: &Site, world: &mut World, purpose: Purpose, listed: Option<Listed>) -> Option<Phase> {
    let Some(intent) = intent(site, world) else {
        return world.row.is_some().then_some(Phase::Act).filter(|_| world.state() != Some(NodeState::Unproven));
    };
    let request = world.handler.as_ref()?.request;
    let waits = matches!(request, Request::Delete | Request::Revoke) && world.valid;
    if waits && world.state() != Some(NodeState::Creating) {
        world.breaks("a revocation waits for the console");
    }
    // An earlier command still runs.
    if world.run.is_some() {
        return None;
    }
    let boot = world.boot.to_string();
    let text = world.output.text.clone();
    world.output.durable = text.len();
    let evidence = Evidence::left(&text, Some(&boot));
    let standing = match listed {
        Some(listed) => Some(standing(listed)?),
        None => None,
    };
    let verdict = site.console.verdict(&intent, evidence.and(standing.as_ref()));
    match next_step(&intent, &verdict, standing.as_ref(), purpose) {
        Step::AskConsole => list(world).map(|listed| Phase::Settled { listed }),
        Step::RecordDone => {
            record(world, NodeState::Active);
            Some(Phase::Act)
        }
        Step::Restore => {
            record(world, NodeState::Active);
            give_up(world, &standing?)
        }
        Step::Forget => {
            world.row = None;
            None
        }
        Step::Assign | Step::Republish => {
            let way = if let Intent::Change { way: Way::InPlace, .. } = intent { Way::InPlace } else { Way::Rebuild };
            start(site, world, Intent::Change { node: node(), way })
        }
        Step::AddAgain => start(site, world, Intent::Change { node: node(), way: Way::AddAgain }),
        Step::Delete => start(site, world, Intent::Delete { node: node() }),
        Step::Accept => Some(Phase::Act),
        Step::MarkUnproven => {
            record(world, NodeState::Unproven);
            None
        }
    }
}

/// A node without an open intent that a list lacks.
fn give_up(world: &World, standing: &Standing) -> Option<Phase> {
    let gone = ProvenGone::of(world.state()?, standing)?;
    let Reason::Gone(_) = Reason::Gone(gone) else { return None };
    Some(Phase::Revoke { asked: false, at: 0 })
}

fn act(site: &Site, world: &mut World, request: Request) -> Option<Phase> {
    match request {
        Request::Add => None,
        Request::Change | Request::Delete | Request::Settle => list(world).map(|listed| Phase::Acted { listed }),
        Request::Generate => Some(Phase::Generate { at: 0 }),
        Request::Revoke => {
            let _ = site;
            Some(Phase::Revoke { asked: true, at: 0 })
        }
    }
}

fn acted(site: &Site, world: &mut World, request: Request, listed: Listed) -> Option<Phase> {
    let standing = standing(listed)?;
    let there = matches!(standing, Standing::Listed(_));
    match request {
        Request::Change if there => start(site, world, Intent::Change { node: node(), way: site.way }),
        Request::Delete if there => start(site, world, Intent::Delete { node: node() }),
        Request::Delete => {
            world.row = None;
            None
        }
        Request::Settle if there => match world.row.as_ref()?.certificate {
            Some(CertificateState::Revoking) => {
                world.asked = true;
                Some(Phase::Revoke { asked: true, at: 0 })
            }
            Some(CertificateState::Generating) => Some(Phase::Generate { at: 0 }),
            _ => None,
        },
        _ => give_up(world, &standing),
    }
}

/// Concludes a run whose end the handler has seen.
fn conclude(site: &Site, world: &mut World, ended: Option<u32>, recovers: bool) -> Option<Phase> {
    let request = world.handler.as_ref()?.request;
    let intent = intent(site, world)?;
    // espm-helper was killed: the intent stays.
    let exit = Some(ended?);
    world.output.durable = world.output.text.len();
    let text = world.output.text.clone();
    let evidence = Evidence { output: &text, exit, whole: true, standing: None };
    let verdict = site.console.verdict(&intent, evidence);
    match (&intent, &verdict) {
        (Intent::Delete { .. }, Verdict::Done) => {
            world.row = None;
            None
        }
        (Intent::Delete { .. }, Verdict::Refused(Refusal::Missing))
            if matches!(list(world).and_then(standing), Some(Standing::Unlisted(_))) =>
        {
            world.row = None;
            None
        }
        (Intent::Delete { .. }, Verdict::Refused(Refusal::Missing)) if list(world).and_then(standing).is_none() => None,
        (Intent::Delete { .. }, Verdict::Refused(_) | Verdict::NotBegun) if !recovers => {
            record(world, NodeState::Active);
            None
        }
        (Intent::Delete { .. }, _) => None,
        (_, Verdict::Done) => {
            record(world, NodeState::Active);
            (recovers && request != Request::Add).then_some(Phase::Act)
        }
        (Intent::Change { .. }, Verdict::Refused(Refusal::Taken)) => {
            record(world, NodeState::Unproven);
            None
        }
        (Intent::Change { .. }, Verdict::Refused(Refusal::Missing)) if !recovers => {
            record(world, NodeState::Active);
            let standing = standing(list(world)?)?;
            give_up(world, &standing)
        }
        // The lists of the model are never short of a name.
        (_, Verdict::Partial(Gap::UnknownNames(_))) => None,
        (Intent::Change { .. }, _) => None,
        (Intent::Add { .. }, _) => match next_step(&intent, &verdict, None, Purpose::Keep) {
            Step::Forget => {
                world.row = None;
                None
            }
            Step::Delete => start(site, world, Intent::Delete { node: node() }),
            Step::AskConsole => {
                let standing = standing(list(world)?)?;
                match next_step(&intent, &verdict, Some(&standing), Purpose::Keep) {
                    Step::Forget => world.row = None,
                    _ => record(world, NodeState::Unproven),
                }
                None
            }
            _ => None,
        },
    }
}

/// Revokes for a reason: intent, the CA, outcome.
fn revoke(world: &mut World, request: Request, asked: bool, at: u8) -> Option<Phase> {
    let row = world.row.as_mut()?;
    let known = !matches!(row.certificate, None | Some(CertificateState::Revoked));
    match at {
        0 if known => {
            row.certificate = Some(CertificateState::Revoking);
            Some(Phase::Revoke { asked, at: 1 })
        }
        1 => {
            if world.valid && !world.asked && !world.gone {
                world.breaks("a certificate is revoked without a request and without proof");
            }
            world.valid = false;
            Some(Phase::Revoke { asked, at: 2 })
        }
        2 if known => {
            row.certificate = Some(CertificateState::Revoked);
            Some(Phase::Revoke { asked, at: 3 })
        }
        _ if !asked => {
            world.row = None;
            None
        }
        _ if request == Request::Delete => Some(Phase::Settle),
        _ => None,
    }
}

/// Generates a certificate, or finishes that: intent, the CA, outcome.
fn generate(world: &mut World, at: u8) -> Option<Phase> {
    let row = world.row.as_mut()?;
    match at {
        0 => row.certificate = Some(CertificateState::Generating),
        1 => (world.valid, world.asked) = (true, world.asked && world.valid),
        _ => {
            row.certificate = Some(CertificateState::Issued);
            return None;
        }
    }
    Some(Phase::Generate { at: at + 1 })
}
