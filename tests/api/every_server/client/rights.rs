//! The example client with a key that may not everything.

use super::{client, says};
use crate::harness::Site;

#[test]
fn client_says_what_it_may_not_and_deletes_its_nodes() {
    let site = Site::open();
    let psk = site.add_client(&["narrow", "--nodes", "app*", "--classes", "ntp", "--may", "list, nodes"]);
    let run = |words: &[&str]| client(&site, words).env("ESPM_PSK", &psk).output().unwrap();
    assert_eq!(run(&["classes"]).stdout, b"ntp\n");
    let refused = run(&["launch", "web01", "--class", "apache"]);
    let said = says(&refused);
    assert!(refused.status.code() == Some(1) && refused.stdout.is_empty(), "{refused:?}");
    for what in
        ["name: is no name that this client may", "classes[0]: \"apache\" is nothing that", "403 nothing was changed"]
    {
        assert!(said.contains(what), "{what}: {said}");
    }
    // Without the right to certificates the node is there, and its deletion is allowed.
    let launched = run(&["launch", "app01"]);
    let said = says(&launched);
    assert!(launched.status.code() == Some(1) && said.contains("'espm-client terminate app01' removes it"), "{said}");
    assert!(said.contains("this client may not do this; its operator can allow it (may = certificates)"), "{said}");
    assert!(site.states().contains_key("app01"));
    let ended = run(&["terminate", "app01"]);
    assert!(ended.status.success() && says(&ended).is_empty(), "{ended:?}");
    assert!(site.states().is_empty());
}
