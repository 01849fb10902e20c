//! Clients' preshared keys: added and retired.

use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::process::Command;

use super::psk_of;
use crate::harness::Site;

#[test]
fn psk_is_added_and_retired_without_outage() {
    let site = Site::open();
    let setup = |words: &[&str]| {
        Command::new(site.bin("espm-setup")).arg("psk").args(words).arg("--config").arg(site.ini()).output().unwrap()
    };
    let with = |psk: &str| site.ask("GET", "/v1/classes", None, &[&format!("X-ESPM-PSK: {psk}")]).status;
    let text = fs::read_to_string(site.ini()).unwrap();
    let text = text.replace("[psk]", "[ psk ]");
    fs::write(site.ini(), format!("{text}\n# cloud = a remark that stays\n; another = remark\n")).unwrap();
    chown(site.ini(), None, Some(33)).unwrap();
    let of = || fs::metadata(site.ini()).map(|found| (found.uid(), found.gid(), found.mode())).unwrap();
    let before = of();

    let refused = setup(&["retire", "cloud"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("[psk] cloud is the only key; add another first"));

    let added = setup(&["add", "cloud-2"]);
    assert!(added.status.success(), "{added:?}");
    let second = psk_of(&String::from_utf8(added.stdout).unwrap());
    assert_eq!((with(&site.psk), with(&second)), (200, 200));
    assert_eq!(setup(&["add", "cloud-2"]).status.code(), Some(1));
    assert_eq!(setup(&["add", "Bad Name"]).status.code(), Some(1));
    assert!(!fs::read_to_string(site.ini()).unwrap().contains(&second));

    assert!(setup(&["retire", "cloud"]).status.success());
    assert_eq!((with(&site.psk), with(&second)), (401, 200));
    assert_eq!(setup(&["retire", "cloud"]).status.code(), Some(1));
    assert_eq!(setup(&["retire", "cloud-2"]).status.code(), Some(1));

    assert_eq!(of(), before);
    let after = fs::read_to_string(site.ini()).unwrap();
    for kept in ["# cloud = a remark that stays", "; another = remark", "# Every key and its default"] {
        assert!(after.contains(kept), "{after}");
    }
    let lines =
        |text: &str| text.lines().filter(|line| !line.contains("sha256:")).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(lines(&after)[..lines(&text).len()], lines(&text)[..]);
    assert_eq!(fs::read_dir(site.dir.join("etc")).unwrap().count(), 2);
    // Who asked with which key is in the audit.
    let records = site.audit().join("\n");
    assert!(records.contains("client=cloud ") && records.contains("client=cloud-2 "), "{records}");
}

#[test]
fn psk_is_added_where_none_is_left() {
    let site = Site::open();
    let good = fs::read_to_string(site.ini()).unwrap();
    let keyless: String =
        good.lines().filter(|line| !line.contains("sha256:")).map(|line| format!("{line}\n")).collect();
    let malformed = good.replace("sha256:", "sha256:x");
    for text in [keyless.clone(), keyless.replace("[psk]\n", ""), malformed.clone()] {
        fs::write(site.ini(), &text).unwrap();
        let checked = String::from_utf8(site.espm(&["check"]).stdout).unwrap();
        assert!(checked.contains("'espm-setup psk add "), "{checked}");
        if text == malformed {
            assert!(checked.contains("remove the line, then"), "{checked}");
            fs::write(site.ini(), &keyless).unwrap();
        }
        let add = ["psk", "add", "cloud", "--config"];
        let added = Command::new(site.bin("espm-setup")).args(add).arg(site.ini()).output().unwrap();
        assert!(added.status.success(), "{added:?}");
        let psk = psk_of(&String::from_utf8(added.stdout).unwrap());
        site.ask("GET", "/v1/classes", None, &[&format!("X-ESPM-PSK: {psk}")]).expect(200);
    }
}

#[test]
fn simultaneous_psk_changes_are_all_kept() {
    let site = Site::open();
    let (ini, setup) = (site.ini(), site.bin("espm-setup"));
    // Each writes the file a while after it has read it, as on a slow disk.
    let slowly = &|words: &[&str]| {
        let mut strace = Command::new("strace");
        strace.args(["-qq", "-o", "/dev/null", "-e", "trace=rename", "-e", "inject=rename:delay_enter=100000"]);
        strace.arg(&setup).arg("psk").args(words).arg("--config").arg(&ini).output().unwrap()
    };
    assert!(slowly(&["add", "cloud-0"]).status.success());
    let keys: Vec<_> = std::thread::scope(|scope| {
        let adding: Vec<_> = (1..5)
            .map(|number| format!("cloud-{number}"))
            .map(|name| scope.spawn(move || slowly(&["add", &name])))
            .collect();
        let retired = scope.spawn(|| slowly(&["retire", "cloud"])).join().unwrap();
        assert!(retired.status.success(), "{retired:?}");
        adding.into_iter().map(|added| psk_of(&String::from_utf8(added.join().unwrap().stdout).unwrap())).collect()
    });
    let with = |psk: &str| site.ask("GET", "/v1/classes", None, &[&format!("X-ESPM-PSK: {psk}")]).status;
    assert_eq!(with(&site.psk), 401, "what is retired does not come back");
    for key in keys {
        assert_eq!(with(&key), 200);
    }
    assert_eq!(fs::read_dir(site.dir.join("etc")).unwrap().count(), 2);
}
