//! Clients and their preshared keys: added and retired.

use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::process::{Command, Output};

use super::psk_of;
use crate::harness::Site;

fn client(site: &Site, words: &[&str]) -> Output {
    Command::new(site.bin("espm-setup")).arg("client").args(words).arg("--config").arg(site.ini()).output().unwrap()
}

#[track_caller]
fn done(site: &Site, words: &[&str]) -> String {
    let output = client(site, words);
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// The error of words that change nothing.
#[track_caller]
fn refused(site: &Site, words: &[&str]) -> String {
    let before = fs::read(site.ini()).unwrap();
    let output = client(site, words);
    assert!(output.status.code() == Some(1) && output.stdout.is_empty(), "{words:?}: {output:?}");
    assert_eq!(fs::read(site.ini()).unwrap(), before, "{words:?}");
    String::from_utf8(output.stderr).unwrap()
}

fn with(site: &Site, psk: &str) -> u16 {
    site.ask("GET", "/v1/classes", None, &[&format!("X-ESPM-PSK: {psk}")]).status
}

/// The digits by which a printed key is named.
fn digits_of(printed: &str) -> String {
    printed.strip_prefix("Key ").unwrap()[..8].to_owned()
}

#[test]
fn key_is_rotated_without_outage_and_its_client_stays_who_it_is() {
    let site = Site::open();
    let text = fs::read_to_string(site.ini()).unwrap();
    let text = text.replace("[client cloud]", "[ client cloud ]\n# keys = a remark that stays");
    fs::write(site.ini(), format!("{text}\n; keys = another\n")).unwrap();
    chown(site.ini(), None, Some(33)).unwrap();
    let of = || fs::metadata(site.ini()).map(|found| (found.uid(), found.gid(), found.mode())).unwrap();
    let before = of();
    site.add("web01");
    let first = site.records_of(&site.get("/v1/nodes/web01")).remove(0);
    let first = first.split(" key=").nth(1).unwrap()[..8].to_owned();
    assert!(refused(&site, &["key", "retire", "cloud", &first]).contains("it is the only key of [client cloud]"));

    let printed = done(&site, &["key", "add", "cloud"]);
    let second = psk_of(&printed);
    assert_eq!((with(&site, &site.psk), with(&site, &second)), (200, 200));
    assert!(!fs::read_to_string(site.ini()).unwrap().contains(&second));
    for digits in ["0123456", "", "ffffffffff", "sha256:0"] {
        let said = refused(&site, &["key", "retire", "cloud", digits]);
        assert!(said.contains(&first) && said.contains(&digits_of(&printed)), "{digits}: {said}");
    }
    assert!(refused(&site, &["key", "retire", "other", &first]).contains("[client other] has no one key"));

    let said = done(&site, &["key", "retire", "cloud", &first]);
    assert_eq!(said, format!("The key {first} of cloud is not valid any more.\n"));
    assert_eq!((with(&site, &site.psk), with(&site, &second)), (401, 200));
    refused(&site, &["key", "retire", "cloud", &first]);
    // It has the node that it has made with the first key.
    let shown = site.ask("GET", "/v1/nodes/web01", None, &[&format!("X-ESPM-PSK: {second}")]);
    let key = format!(" client=cloud key={} ", digits_of(&printed));
    assert!(site.records_of(shown.expect(200)).iter().all(|record| record.contains(&key)), "{key}");

    assert_eq!(of(), before);
    let after = fs::read_to_string(site.ini()).unwrap();
    for kept in ["# keys = a remark that stays", "; keys = another", "# Every key and its default"] {
        assert!(after.contains(kept), "{after}");
    }
    let others =
        |text: &str| text.lines().filter(|line| !line.contains("sha256:")).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(others(&after)[..others(&text).len()], others(&text)[..]);
    assert_eq!(fs::read_dir(site.dir.join("etc")).unwrap().count(), 2);
}

#[test]
fn client_is_added_with_rights_and_retired_and_its_nodes_stay() {
    let site = Site::open();
    let more =
        ["--nodes", "app*", "--nodes", "db*, x-*", "--may", "list, nodes", "--most", "2", "--groups", "web servers"];
    let printed = done(&site, &[&["add", "staging"], &more[..]].concat());
    let key = psk_of(&printed);
    assert!(printed.ends_with("It is valid from the next request on.\n"), "{printed}");
    let text = fs::read_to_string(site.ini()).unwrap();
    let own = text.split("[client staging]\n").nth(1).unwrap().split("\n\n").next().unwrap();
    let rights: Vec<&str> = own.lines().skip(1).collect();
    assert_eq!(rights, ["may = list, nodes", "nodes = app*, db*, x-*", "groups = web servers", "most = 2"]);
    assert_eq!(with(&site, &key), 200);

    for (words, why) in [
        (&["add", "staging"][..], "'espm-setup client key add staging' gives it another key, or take another name"),
        (&["add", "Bad Name"], "Bad Name: a client's name is"),
        (&["add", "operator"], "operator: a client's name is"),
        (&["add", "x", "--nodes", "Web*"], "[client x] nodes: want patterns"),
        (&["add", "x", "--may", "everything"], "[client x] may: want list, nodes or certificates"),
        (&["key", "add", "nobody"], "there is no [client nobody]; there is cloud, other, staging"),
        (&["key", "retire", "nobody", "01234567"], "there is no [client nobody]"),
        (&["retire", "nobody"], "there is no [client nobody]"),
    ] {
        let said = refused(&site, words);
        assert!(said.contains(why), "{words:?}: {said}");
    }

    let psk = format!("X-ESPM-PSK: {key}");
    site.ask("POST", "/v1/nodes", Some(r#"{"name": "app1"}"#), &[&psk]).expect(201);
    let digits = digits_of(&printed);
    let listed = done(&site, &["list"]);
    let line = format!(
        "staging: 1 node; keys {digits}; may = list, nodes; nodes = app*, db*, x-*; groups = web servers; most = 2\n"
    );
    assert!(listed.contains(&line) && listed.starts_with("cloud: 0 nodes; keys "), "{listed}");

    let said = done(&site, &["retire", "staging"]);
    assert!(
        said.contains("No key of staging is valid any more.\nIt leaves 1 node, which no client sees now;"),
        "{said}"
    );
    assert_eq!(with(&site, &key), 401);
    assert!(done(&site, &["list"]).ends_with("of staging, which is no client now: 1 node\n"));
    assert!(!fs::read_to_string(site.ini()).unwrap().contains("app*"));
    site.get("/v1/nodes/app1").expect(404);

    let printed = done(&site, &["add", "staging"]);
    assert!(
        printed.contains("An earlier client of this name has left it 1 node; 'espm nodes' lists them."),
        "{printed}"
    );
    site.ask("GET", "/v1/nodes/app1", None, &[&format!("X-ESPM-PSK: {}", psk_of(&printed))]).expect(200);
    for name in ["staging", "other"] {
        done(&site, &["retire", name]);
    }
    assert!(refused(&site, &["retire", "cloud"]).contains("[client cloud] is the only client"));
}

#[test]
fn key_is_added_where_none_is_left() {
    let site = Site::open();
    let good = fs::read_to_string(site.ini()).unwrap();
    let without = |left_out: &[&str]| -> String {
        let kept = good.lines().filter(|line| !left_out.iter().any(|start| line.starts_with(start)));
        kept.map(|line| format!("{line}\n")).collect()
    };
    // No client; no keys of any; a key that is none.
    for (text, add, advice) in [
        (without(&["keys", "[client"]), &["add", "cloud"][..], "'espm-setup client add NAME'"),
        (without(&["keys"]), &["key", "add", "cloud"], "'espm-setup client key add cloud'"),
        (
            good.replace("sha256:", "sha256:x"),
            &["key", "add", "cloud"],
            "remove the line, then 'espm-setup client key add cloud'",
        ),
    ] {
        fs::write(site.ini(), &text).unwrap();
        let checked = String::from_utf8(site.espm(&["check"]).stdout).unwrap();
        assert!(checked.contains(advice), "{advice}: {checked}");
        if text.contains("sha256:x") {
            fs::write(site.ini(), without(&["keys"])).unwrap();
        }
        let psk = psk_of(&done(&site, add));
        if add[0] == "key" {
            done(&site, &["key", "add", "other"]);
        }
        assert_eq!(with(&site, &psk), 200, "{add:?}");
    }
}

#[test]
fn section_of_0_1_is_an_error_that_says_what_to_write() {
    let site = Site::open();
    let text = fs::read_to_string(site.ini()).unwrap();
    let digest = text.lines().find_map(|line| line.strip_prefix("keys = ")).unwrap();
    let (before, _) = text.split_once("[client cloud]").unwrap();
    let (_, after) = text.split_once("[tls]").unwrap();
    fs::write(site.ini(), format!("{before}[psk]\ncloud = {digest}\n\n[tls]{after}")).unwrap();
    let said = String::from_utf8(site.espm(&["nodes"]).stderr).unwrap();
    let what = "each client has a section now; in the place of 'cloud = sha256:...' write '[client cloud]' and, on the \
                next line, 'keys = sha256:...'";
    assert!(said.contains("[psk] line ") && said.contains(what), "{said}");
    fs::write(site.ini(), format!("{before}[client cloud]\nkeys = {digest}\n\n[tls]{after}")).unwrap();
    assert_eq!(with(&site, &site.psk), 200);
}

#[test]
fn simultaneous_changes_of_clients_are_all_kept() {
    let site = Site::open();
    let (ini, setup) = (site.ini(), site.bin("espm-setup"));
    // Each writes the file a while after it has read it, as on a slow disk.
    let slowly = &|words: &[&str]| {
        let mut strace = Command::new("strace");
        strace.args(["-qq", "-o", "/dev/null", "-e", "trace=rename", "-e", "inject=rename:delay_enter=100000"]);
        strace.arg(&setup).arg("client").args(words).arg("--config").arg(&ini).output().unwrap()
    };
    let keys: Vec<_> = std::thread::scope(|scope| {
        let adding: Vec<_> = (1..5)
            .map(|number| format!("cloud-{number}"))
            .map(|name| scope.spawn(move || slowly(&["add", &name])))
            .collect();
        let another = scope.spawn(|| slowly(&["key", "add", "other"]));
        let retired = scope.spawn(|| slowly(&["retire", "cloud"])).join().unwrap();
        assert!(retired.status.success(), "{retired:?}");
        let all = adding.into_iter().chain([another]);
        all.map(|added| psk_of(&String::from_utf8(added.join().unwrap().stdout).unwrap())).collect()
    });
    assert_eq!(with(&site, &site.psk), 401, "what is retired does not come back");
    for key in keys {
        assert_eq!(with(&site, &key), 200);
    }
    assert_eq!(fs::read_dir(site.dir.join("etc")).unwrap().count(), 2);
}
