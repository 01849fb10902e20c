//! The judgement about an unfinished change, and about a certificate: pure functions from what is known.
//!
//! Whatever is irreversible takes a reason that only these functions, or a request, can make.

use crate::console::{Intent, Refusal, Standing, Verdict};
use crate::ledger::NodeState;

/// The purpose for which an unfinished change is settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// The node stays, so its change is finished or undone.
    Keep,
    /// The node is to be deleted, so it need only be proven to be espm's.
    /// A console that can finish no change may still delete.
    Delete,
}

/// The next step of a recovery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Ask the console about the name.
    AskConsole,
    /// Record the change as done.
    RecordDone,
    /// Record the node as it was before a change that cannot have removed it, and judge it without an intent.
    Restore,
    /// Delete the row: the node is not espm's, or was deleted as intended.
    Forget,
    /// Assign as intended or, where the console refuses that, as before.
    Assign,
    /// Publish what the ledger last confirmed.
    Republish,
    /// Add the node again that espm's own run may have deleted.
    AddAgain,
    /// Delete the node.
    Delete,
    /// Leave the intent: the node is proven to be espm's, and is about to be deleted.
    Accept,
    /// Leave the decision to a human.
    MarkUnproven,
}

/// Chooses the next step; `standing` is `None` until the console was asked.
///
/// No step revokes: while an intent is open, a missing node is not proven to be gone.
pub(crate) fn next_step(intent: &Intent, verdict: &Verdict, standing: Option<&Standing>, purpose: Purpose) -> Step {
    match intent {
        Intent::Add { .. } => match (verdict, standing) {
            (Verdict::Done, _) => Step::RecordDone,
            (Verdict::Partial(_), _) => Step::Delete,
            (Verdict::Refused(Refusal::Taken | Refusal::Error(_)), _) => Step::Forget,
            (_, None) => Step::AskConsole,
            (_, Some(Standing::Listed(_) | Standing::Published(_))) => Step::MarkUnproven,
            (_, Some(Standing::Unlisted(_) | Standing::Unpublished)) => Step::Forget,
        },
        Intent::Change { way, .. } => match (verdict, standing) {
            (Verdict::Refused(Refusal::Taken) | Verdict::Unknown(_), None) => Step::AskConsole,
            // After the node was deleted, somebody has made another; a report of its server does so.
            (
                Verdict::Refused(Refusal::Taken) | Verdict::Unknown(_),
                Some(Standing::Listed(_) | Standing::Published(_)),
            ) => Step::MarkUnproven,
            // Whatever has the name from now on is another's.
            (_, Some(Standing::Unlisted(_) | Standing::Unpublished)) if purpose == Purpose::Delete => Step::Forget,
            _ if purpose == Purpose::Delete => Step::Accept,
            (_, None) => Step::AskConsole,
            (_, Some(Standing::Published(_) | Standing::Unpublished)) => Step::Republish,
            (_, Some(Standing::Unlisted(_))) if way.keeps_node() => Step::Restore,
            (_, Some(Standing::Unlisted(_))) => Step::AddAgain,
            (Verdict::Done, Some(Standing::Listed(_))) => Step::RecordDone,
            (_, Some(Standing::Listed(_))) => Step::Assign,
        },
        Intent::Delete { .. } => match (verdict, standing) {
            (_, None) => Step::AskConsole,
            (_, Some(Standing::Unlisted(_) | Standing::Unpublished)) | (Verdict::Done, _) => Step::Forget,
            (Verdict::Unknown(_), Some(Standing::Listed(_) | Standing::Published(_))) => Step::MarkUnproven,
            (_, Some(Standing::Listed(_) | Standing::Published(_))) => Step::Delete,
        },
    }
}

/// True if a certificate is revoked for its client before the node's change is settled, which needs the console.
///
/// A node that is not added yet may be another's.
pub(crate) fn may_revoke_before_settling(state: NodeState) -> bool {
    match state {
        NodeState::Active | NodeState::Changing | NodeState::Deleting => true,
        NodeState::Creating | NodeState::Unproven => false,
    }
}

/// Proof that a node is gone: no intent is open, and the console's list names others and lacks it.
#[derive(Debug)]
pub(crate) struct ProvenGone(());

impl ProvenGone {
    pub(crate) fn of(state: NodeState, standing: &Standing) -> Option<Self> {
        match (state, standing) {
            (NodeState::Active, Standing::Unlisted(_)) => Some(Self(())),
            _ => None,
        }
    }
}

/// The reason for which a certificate is revoked. There is no other.
///
/// The CA revokes a certificate that it has just signed and that is not the one asked for; that is the executor's.
#[derive(Debug)]
pub(crate) enum Reason {
    /// The client asks for it, or for the deletion of the node.
    Client,
    /// The operator asks for it, or for the end of a revocation that was begun.
    Operator,
    /// The node is gone from the console.
    Gone(ProvenGone),
}

#[cfg(test)]
mod tests {
    use super::{ProvenGone, Purpose, Step, next_step};
    use crate::console::{Gap, Intent, Refusal, Standing, Verdict, Way};
    use crate::ledger::NodeState;
    use crate::model::name::NodeName;
    use crate::model::node::{Assignment, Node};
    use crate::system::trusted_file::Identity;

    fn name() -> NodeName {
        NodeName::parse("web01").unwrap()
    }

    fn intents() -> Vec<Intent> {
        let node = Node { name: name(), assignment: Assignment::default() };
        let change = |way| Intent::Change { node: node.clone(), way };
        let mut all: Vec<_> = [Way::InPlace, Way::Groups, Way::Rebuild, Way::AddAgain].map(change).into();
        all.extend([Intent::Add { node: node.clone() }, Intent::Delete { node }]);
        all
    }

    fn verdicts() -> Vec<Verdict> {
        let text = String::new;
        vec![
            Verdict::Done,
            Verdict::Partial(Gap::UnknownNames(vec![])),
            Verdict::Partial(Gap::Unfinished(text())),
            Verdict::Refused(Refusal::Taken),
            Verdict::Refused(Refusal::Missing),
            Verdict::Refused(Refusal::Error(text())),
            Verdict::NotBegun,
            Verdict::Unknown(text()),
        ]
    }

    fn unlisted() -> Standing {
        Standing::among(&name(), vec!["web02".to_owned()]).unwrap()
    }

    fn standings() -> Vec<Standing> {
        let published = Standing::Published(Identity::parse("1 2 3 4").unwrap());
        vec![Standing::Listed(vec!["web01".to_owned()]), unlisted(), published, Standing::Unpublished]
    }

    /// Checks every combination.
    fn each(check: impl Fn(&Intent, &Verdict, Option<&Standing>, Purpose, Step)) {
        for intent in intents() {
            for verdict in verdicts() {
                for standing in standings().into_iter().map(Some).chain([None]) {
                    for purpose in [Purpose::Keep, Purpose::Delete] {
                        let step = next_step(&intent, &verdict, standing.as_ref(), purpose);
                        check(&intent, &verdict, standing.as_ref(), purpose, step);
                    }
                }
            }
        }
    }

    #[test]
    fn console_is_asked_once() {
        each(|intent, verdict, standing, _, step| {
            assert!(step != Step::AskConsole || standing.is_none(), "{intent:?} {verdict:?} {standing:?}");
        });
    }

    #[test]
    fn node_that_is_there_is_touched_only_when_it_is_known_to_be_ours() {
        each(|intent, verdict, standing, purpose, step| {
            let there = matches!(standing, Some(Standing::Listed(_) | Standing::Published(_)));
            if there && matches!(verdict, Verdict::Unknown(_)) {
                assert_eq!(step, Step::MarkUnproven, "{intent:?} {purpose:?}");
            }
            if there && *verdict == Verdict::Refused(Refusal::Taken) && matches!(intent, Intent::Change { .. }) {
                assert_eq!(step, Step::MarkUnproven, "{intent:?} {purpose:?}");
            }
        });
    }

    /// Every revocation that no request asks for needs a [`ProvenGone`], which needs a node without an intent.
    /// A recovery leaves one only where the node's own change cannot have removed the node.
    #[test]
    fn missing_node_is_judged_gone_only_without_an_intent_that_can_have_removed_it() {
        each(|intent, verdict, standing, purpose, step| {
            if step == Step::Restore {
                let in_place = matches!(intent, Intent::Change { way: Way::InPlace | Way::Groups, .. });
                assert!(in_place && purpose == Purpose::Keep && *standing.unwrap() == unlisted(), "{verdict:?}");
            }
            let removes = matches!(intent, Intent::Change { way: Way::Rebuild | Way::AddAgain, .. });
            if removes && purpose == Purpose::Keep && standing == Some(&unlisted()) {
                assert_eq!(step, Step::AddAgain, "{intent:?} {verdict:?}");
            }
            let keeps = matches!(intent, Intent::Change { .. }) && purpose == Purpose::Keep;
            assert!(!keeps || step != Step::Forget, "{intent:?} {verdict:?} {standing:?}");
        });
        for state in NodeState::ALL.iter().copied() {
            for standing in standings() {
                let gone = ProvenGone::of(state, &standing).is_some();
                assert_eq!(gone, state == NodeState::Active && standing == unlisted(), "{state:?} {standing:?}");
            }
        }
    }

    #[test]
    fn list_without_another_node_proves_nothing() {
        let of = |names: &[&str]| Standing::among(&name(), names.iter().map(|name| (*name).to_owned()).collect());
        for empty in [&[][..], &[""], &["", "  ", "\t"], &["\0\0\0"]] {
            assert_eq!(of(empty), None, "{empty:?}");
        }
        for listed in [&["web01"][..], &["web02", "web01"], &["\u{1b}[1;32mweb01\u{1b}[0m"]] {
            assert!(matches!(of(listed), Some(Standing::Listed(_))), "{listed:?}");
        }
        assert_eq!(of(&["web011", "WEB01"]), Some(unlisted()));
    }

    #[test]
    fn what_is_published_never_decides_that_a_known_node_is_gone() {
        each(|intent, verdict, standing, purpose, step| {
            let keeps = purpose == Purpose::Keep && matches!(intent, Intent::Change { .. });
            if keeps && standing == Some(&Standing::Unpublished) {
                assert_eq!(step, Step::Republish, "{verdict:?}");
            }
        });
    }

    #[test]
    fn node_that_is_about_to_be_deleted_is_not_changed_before() {
        each(|intent, verdict, standing, purpose, step| {
            let changes = matches!(step, Step::Assign | Step::Republish | Step::AddAgain);
            assert!(purpose == Purpose::Keep || !changes, "{intent:?} {verdict:?} {standing:?}");
        });
    }
}
