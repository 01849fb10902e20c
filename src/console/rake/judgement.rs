//! What a run of rake has done, by what it printed and the code that it ended with.

use super::super::Assigned;
use super::output::{Completeness, Proof, Separator, excerpt};
use crate::model::node::Assignment;

/// How much of an assignment a run has made.
pub(super) fn judge(read: &Proof<'_>, code: u32, wanted: &Assignment, separator: Separator, output: &str) -> Assigned {
    match read.complete(wanted, separator) {
        Completeness::Whole if code == 0 => Assigned::Whole,
        Completeness::Lost(lost) if code == 0 => Assigned::Lost(lost),
        _ if read.created() => Assigned::Partly(excerpt(output)),
        _ if read.taken() => Assigned::Taken,
        _ if read.missing() => Assigned::Missing,
        _ => Assigned::Failed(excerpt(output)),
    }
}

/// Whether a node is gone after a run that shall delete it: by that run, or because it was not there.
pub(super) fn is_gone(read: &Proof<'_>, code: u32) -> bool {
    if read.groups_edited() { code == 0 && !read.remains() } else { read.missing() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{is_gone, judge};
    use crate::console::Assigned;
    use crate::console::rake::output::{Proof, Separator};
    use crate::model::name::{ClassName, NodeName};
    use crate::model::node::{Assignment, List};

    const DONE: &str = "Node groups successfully edited for web01!";

    #[test]
    fn a_node_is_gone_when_the_run_and_its_list_say_so_or_it_never_was() {
        for (output, code, gone) in [
            (format!("{DONE}\nweb011\n"), 0, true),
            (format!("{DONE}\n"), 0, true),
            (format!("{DONE}\nweb011\n"), 1, false),
            (format!("{DONE}\nweb01\n"), 0, false),
            // Somebody has deleted it in between.
            ("Node web01 doesn't exist!\n".to_owned(), 1, true),
            (format!("{DONE}\nNode web01 doesn't exist!\n"), 1, false),
            ("Node web011 doesn't exist!\n".to_owned(), 1, false),
            ("web011\n".to_owned(), 0, false),
            (String::new(), 0, false),
        ] {
            let name = NodeName::parse("web01").unwrap();
            assert_eq!(is_gone(&Proof::read(&output, &name), code), gone, "{code} {output:?}");
        }
    }

    #[test]
    fn an_assignment_is_judged_by_what_was_said_and_how_it_ended() {
        let created = "Node successfully created!\n";
        let (whole, lost) = (format!("{created}ntp\n{DONE}\n"), format!("{created}{DONE}\n"));
        let classes = vec![ClassName::parse("ntp").unwrap()];
        let wanted = Assignment { classes, ..Assignment::default() };
        let missing = || Assigned::Lost(vec![(List::Classes, "ntp".to_owned())]);
        for (output, code, expected) in [
            (whole.as_str(), 0, Assigned::Whole),
            (&whole, 1, Assigned::Partly(String::new())),
            (&lost, 0, missing()),
            (&lost, 1, Assigned::Partly(String::new())),
            (created, 0, Assigned::Partly(String::new())),
            ("Node already exists!\n", 0, Assigned::Taken),
            ("Node web01 doesn't exist!\n", 0, Assigned::Missing),
            // What was edited was there.
            (&format!("ntp\n{DONE}\n"), 1, Assigned::Failed(String::new())),
            ("", 0, Assigned::Failed(String::new())),
        ] {
            let name = NodeName::parse("web01").unwrap();
            let judged = match judge(&Proof::read(output, &name), code, &wanted, Separator::Groups, output) {
                Assigned::Partly(_) => Assigned::Partly(String::new()),
                Assigned::Failed(_) => Assigned::Failed(String::new()),
                judged => judged,
            };
            assert_eq!(judged, expected, "{code} {output:?}");
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
            let name = NodeName::parse("web01").unwrap();
            let judged = judge(&Proof::read(&output, &name), code, &Assignment::default(), Separator::Groups, &output);
            prop_assert_eq!(judged == Assigned::Whole, marker && code == 0, "{:?}", judged);
        }
    }
}
