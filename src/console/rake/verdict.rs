//! The verdict on a run of rake, from its output and its exit code.

use super::output::{By, Completeness, Output, Separator, excerpt};
use crate::console::{Evidence, Gap, Intent, Refusal, Standing, Verdict, Way};
use crate::model::name::NodeName;
use crate::model::node::Node;

/// Judges a run; without an exit code, only its lines count.
pub(in crate::console) fn verdict(intent: &Intent, evidence: Evidence<'_>) -> Verdict {
    match intent {
        Intent::Add { node } => judge_assignment(node, None, evidence),
        Intent::Change { node, way } => judge_assignment(node, Some(*way), evidence),
        Intent::Delete { node } => judge_deletion(&node.name, evidence),
    }
}

/// Judges an addition (`way` is `None`) or a change.
fn judge_assignment(node: &Node, way: Option<Way>, evidence: Evidence<'_>) -> Verdict {
    let output = Output::read(evidence.output, &node.name);
    let separator = if way == Some(Way::Rebuild) { Separator::Parameters } else { Separator::Groups };
    let keeps_node = way.is_some_and(Way::keeps_node);
    // In place, only the exit code proves that all was assigned.
    let succeeded = evidence.exit.map_or(!keeps_node && output.created(), |code| code == 0);
    let mut assigned = node.assignment.clone();
    if way == Some(Way::Groups) {
        (assigned.classes, assigned.parameters) = Default::default();
    }
    match output.complete(&assigned, separator) {
        Completeness::Whole if succeeded => return Verdict::Done,
        Completeness::Lost(names) if succeeded => return Verdict::Partial(Gap::UnknownNames(names)),
        Completeness::Whole | Completeness::Lost(_) | Completeness::Unfinished => {}
    }
    let said = excerpt(evidence.output);
    let ended = evidence.exit.is_some();
    let rolled_back = |by| evidence.exit == Some(1) && output.rolled_back(by);
    if output.created() {
        Verdict::Partial(Gap::Unfinished(said))
    } else if output.taken() {
        Verdict::Refused(Refusal::Taken)
    } else if ended && output.missing() {
        Verdict::Refused(Refusal::Missing)
    } else {
        match way {
            Some(Way::InPlace | Way::Groups) => Verdict::Partial(Gap::Unfinished(said)),
            Some(Way::Rebuild) if !output.groups_edited() && ended => Verdict::Refused(Refusal::Error(said)),
            Some(Way::Rebuild) if !output.groups_edited() && evidence.whole => Verdict::NotBegun,
            Some(Way::Rebuild) if rolled_back(By::Deletion) => Verdict::Refused(Refusal::Error(said)),
            None if rolled_back(By::Addition) => Verdict::Refused(Refusal::Error(said)),
            // The node may be deleted, and somebody else may have added the name.
            Some(Way::Rebuild | Way::AddAgain) | None => Verdict::Unknown(said),
        }
    }
}

fn judge_deletion(name: &NodeName, evidence: Evidence<'_>) -> Verdict {
    let output = Output::read(evidence.output, name);
    let said = || excerpt(evidence.output);
    let nodes = match evidence.standing {
        Some(Standing::Listed(nodes)) => nodes.as_slice(),
        _ => &[],
    };
    match (output.groups_edited(), evidence.exit) {
        (true, Some(0)) if !output.remains() => Verdict::Done,
        (true, Some(1)) if output.rolled_back(By::Deletion) => Verdict::Refused(Refusal::Error(said())),
        (true, None) if output.deleted(nodes) => Verdict::Done,
        (true, _) => Verdict::Unknown(said()),
        // Somebody has deleted it, or the database is a wrong one; the list tells.
        (false, Some(_)) if output.missing() => Verdict::Refused(Refusal::Missing),
        (false, Some(_)) => Verdict::Refused(Refusal::Error(said())),
        (false, None) if evidence.whole => Verdict::NotBegun,
        (false, None) => Verdict::Unknown(said()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::verdict;
    use crate::console::{Evidence, Gap, Intent, Refusal, Standing, Verdict, Way};
    use crate::model::name::{ClassName, NodeName};
    use crate::model::node::{Assignment, List, Node};

    const DONE: &str = "Node groups successfully edited for web01!";

    fn node(classes: &[&str]) -> Node {
        let classes = classes.iter().map(|name| ClassName::parse(name).unwrap()).collect();
        let assignment = Assignment { classes, ..Assignment::default() };
        Node { name: NodeName::parse("web01").unwrap(), assignment }
    }

    /// The verdict without its text.
    fn judge(intent: &Intent, output: &str, exit: Option<u32>, nodes: &[&str]) -> Verdict {
        let standing = Standing::Listed(nodes.iter().map(|name| (*name).to_owned()).collect());
        without_text(verdict(intent, Evidence { output, exit, whole: true, standing: Some(&standing) }))
    }

    fn without_text(verdict: Verdict) -> Verdict {
        match verdict {
            Verdict::Partial(Gap::Unfinished(_)) => Verdict::Partial(Gap::Unfinished(String::new())),
            Verdict::Refused(Refusal::Error(_)) => Verdict::Refused(Refusal::Error(String::new())),
            Verdict::Unknown(_) => Verdict::Unknown(String::new()),
            other => other,
        }
    }

    #[test]
    fn node_is_gone_when_the_run_and_its_list_say_so() {
        for (output, code, gone) in [
            (format!("{DONE}\nweb011\n"), 0, true),
            (format!("{DONE}\n"), 0, true),
            (format!("{DONE}\nweb011\n"), 1, false),
            (format!("{DONE}\nweb01\n"), 0, false),
            // A wrong database says so too.
            ("Node web01 doesn't exist!\n".to_owned(), 1, false),
            (format!("{DONE}\nNode web01 doesn't exist!\n"), 1, false),
            ("Node web011 doesn't exist!\n".to_owned(), 1, false),
            ("web011\n".to_owned(), 0, false),
            (String::new(), 0, false),
        ] {
            let judged = judge(&Intent::Delete { node: node(&[]) }, &output, Some(code), &[]);
            assert_eq!(judged == Verdict::Done, gone, "{code} {output:?}");
        }
    }

    #[test]
    fn deletion_without_an_exit_code_is_done_when_a_list_follows_it_and_never_when_it_was_not_reached() {
        let deletion = Intent::Delete { node: node(&[]) };
        let unknown = Verdict::Unknown(String::new());
        for (output, expected) in [
            (format!("{DONE}\nweb011\n"), Verdict::Done),
            (format!("{DONE}\n"), Verdict::Unknown(String::new())),
            (format!("{DONE}\nrake aborted!\n"), unknown),
            (String::new(), Verdict::NotBegun),
            ("Node web01 doesn't exist!\n".to_owned(), Verdict::NotBegun),
        ] {
            assert_eq!(judge(&deletion, &output, None, &["web01", "web011"]), expected, "{output:?}");
        }
    }

    #[test]
    fn assignment_is_judged_by_what_was_said_and_how_it_ended() {
        let created = "Node successfully created!\n";
        let (whole, lost) = (format!("{created}ntp\n{DONE}\n"), format!("{created}{DONE}\n"));
        let edited = format!("ntp\n{DONE}\n");
        let parameters = "ntp\nNode parameters successfully edited for web01!\n";
        let add = Intent::Add { node: node(&["ntp"]) };
        let change = |way| Intent::Change { node: node(&["ntp"]), way };
        let (place, rebuild, again) = (change(Way::InPlace), change(Way::Rebuild), change(Way::AddAgain));
        let groups = change(Way::Groups);
        let missing = || Verdict::Partial(Gap::UnknownNames(vec![(List::Classes, "ntp".to_owned())]));
        let rest = || Verdict::Partial(Gap::Unfinished(String::new()));
        let said = || Verdict::Refused(Refusal::Error(String::new()));
        let unknown = || Verdict::Unknown(String::new());
        for (intent, output, exit, expected) in [
            (&add, whole.as_str(), Some(0), Verdict::Done),
            (&add, &whole, Some(1), rest()),
            (&add, &whole, None, Verdict::Done),
            (&add, &lost, Some(0), missing()),
            (&add, &lost, Some(1), rest()),
            (&add, created, Some(0), rest()),
            (&add, created, None, rest()),
            (&add, "Node already exists!\n", Some(0), Verdict::Refused(Refusal::Taken)),
            (&add, "Node web01 doesn't exist!\n", Some(0), Verdict::Refused(Refusal::Missing)),
            (&add, "", Some(1), unknown()),
            (&add, "", None, unknown()),
            (&place, &edited, Some(0), Verdict::Done),
            (&place, &edited, Some(1), rest()),
            // What was edited was there, and may lack the rest.
            (&place, &edited, None, rest()),
            (&place, "", None, rest()),
            // The class is not listed, because it was not set.
            (&groups, DONE, Some(0), Verdict::Done),
            (&groups, DONE, Some(1), rest()),
            (&groups, DONE, None, rest()),
            (&groups, "", Some(0), rest()),
            (&groups, "Node web01 doesn't exist!\n", Some(1), Verdict::Refused(Refusal::Missing)),
            (&rebuild, &format!("{DONE}\n{created}{parameters}"), Some(0), Verdict::Done),
            (&rebuild, &format!("{DONE}\n{created}{parameters}"), None, Verdict::Done),
            (&rebuild, &format!("{DONE}\n{created}"), None, rest()),
            (&rebuild, "rake aborted!\nMysql::Error: Deadlock found\n", Some(1), said()),
            (&rebuild, "", None, Verdict::NotBegun),
            (&rebuild, DONE, Some(1), unknown()),
            (&rebuild, DONE, None, unknown()),
            (&rebuild, &format!("{DONE}\nNode already exists!\n"), None, Verdict::Refused(Refusal::Taken)),
            (&again, &whole, None, Verdict::Done),
            (&again, "", None, unknown()),
        ] {
            assert_eq!(judge(intent, output, exit, &[]), expected, "{intent:?} {exit:?} {output:?}");
        }
    }

    /// What each release says when the database gives up a statement and rolls its transaction back: where
    /// `node:del` says it, and where `node:add` does.
    const ROLLED_BACK: [&str; 4] = [
        "Mysql::Error: Deadlock found when trying to get lock; try restarting transaction: DELETE FROM `nodes`\n",
        "Mysql2::Error: Deadlock found when trying to get lock; try restarting transaction\n",
        "Mysql::Error: Lock wait timeout exceeded; try restarting transaction: DELETE FROM `nodes` WHERE `id` = 2\n",
        "PG::TRDeadlockDetected: ERROR:  deadlock detected\n",
    ];

    #[test]
    fn node_is_there_when_its_deletion_was_rolled_back() {
        let (error, unknown) = (Verdict::Refused(Refusal::Error(String::new())), Verdict::Unknown(String::new()));
        let rebuild = Intent::Change { node: node(&[]), way: Way::Rebuild };
        for intent in [rebuild, Intent::Delete { node: node(&[]) }] {
            for said in ROLLED_BACK {
                let after = format!("{DONE}\n{said}");
                assert_eq!(judge(&intent, &after, Some(1), &["web01"]), error, "{said}");
                // Without rake's own end nothing tells which statement was the last.
                assert_eq!(judge(&intent, &after, None, &["web01"]), unknown, "{said}");
                for other in [
                    // The addition was rolled back, after the deletion.
                    format!("{DONE}\nThere was a problem saving the node: {said}"),
                    format!("{DONE}\nrake aborted!\n{said}"),
                    format!("{DONE}\nMysql::Error: MySQL server has gone away: '{said}'"),
                ] {
                    assert_eq!(judge(&intent, &other, Some(1), &["web01"]), unknown, "{intent:?} {other}");
                }
            }
        }
    }

    #[test]
    fn addition_that_was_rolled_back_has_added_nothing() {
        let add = Intent::Add { node: node(&[]) };
        let again = Intent::Change { node: node(&[]), way: Way::AddAgain };
        for said in ROLLED_BACK {
            let output = format!("There was a problem saving the node: {said}");
            assert_eq!(judge(&add, &output, Some(1), &[]), Verdict::Refused(Refusal::Error(String::new())));
            assert_eq!(judge(&add, &output, None, &[]), Verdict::Unknown(String::new()));
            // A node of that name would be somebody else's.
            assert_eq!(judge(&again, &output, Some(1), &[]), Verdict::Unknown(String::new()));
            assert_eq!(judge(&add, said, Some(1), &[]), Verdict::Unknown(String::new()));
        }
    }

    #[test]
    fn line_that_a_power_loss_may_have_taken_proves_nothing_by_its_absence() {
        let rebuild = Intent::Change { node: node(&[]), way: Way::Rebuild };
        let begun = "espm: boot a\nespm: rebuild\n";
        for intent in [rebuild, Intent::Delete { node: node(&[]) }] {
            let left = |output: &str, boot| without_text(verdict(&intent, Evidence::left(output, Some(boot))));
            assert_eq!(left(begun, "a"), Verdict::NotBegun);
            assert_eq!(left(begun, "b"), Verdict::Unknown(String::new()));
            assert_eq!(left("", "a"), Verdict::Unknown(String::new()));
            let ended = format!("{begun}rake aborted!\nespm: exit 1\n");
            assert_eq!(left(&ended, "b"), Verdict::Refused(Refusal::Error(String::new())));
            let torn = ended.replace("aborted", "\0\0\0\0\0\0\0");
            assert_eq!(left(&torn, "b"), Verdict::Unknown(String::new()));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn success_is_the_marker_and_exit_code_0_both(
            code in 0_u32..3,
            before in "(.{0,20}\n){0,3}",
            marker in any::<bool>(),
            after in "(.{0,20}\n){0,3}",
        ) {
            let output = format!("{before}{}\n{after}", if marker { DONE } else { "" });
            let judged = judge(&Intent::Change { node: node(&[]), way: Way::InPlace }, &output, Some(code), &[]);
            prop_assert_eq!(judged == Verdict::Done, marker && code == 0, "{:?}", judged);
        }
    }
}
