//! `espm backup`, and a backup that is put in the ledger's place.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use super::state_belongs_to_espm;
use crate::harness::check::{all_is_well, one_fault};
use crate::harness::strace::{Blow, chosen, recording, steps};
use crate::harness::{Plan, Site, USER, run};

/// A directory in which espm's user can make files.
fn directory(site: &Site) -> PathBuf {
    let directory = site.dir.join("backup");
    run(Command::new("install").args(["-d", "-o", USER, "-m", "0700"]).arg(&directory));
    directory
}

fn traced(site: &Site, options: &[String], to: &Path) -> Output {
    let mut strace = Command::new("strace");
    strace.arg("-qq").args(options).arg(site.bin("espm")).arg("-c").arg(site.ini());
    strace.arg("backup").arg(to).output().unwrap()
}

fn names(directory: &Path) -> Vec<std::ffi::OsString> {
    fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name()).collect()
}

#[test]
fn killed_backup_leaves_nothing() {
    let site = Site::prepare(&Plan::default());
    let (directory, trace) = (directory(&site), site.dir.join("trace").display().to_string());
    assert!(traced(&site, &recording(&trace), &directory.join("whole")).status.success());
    let all = steps(&fs::read_to_string(&trace).unwrap());
    assert!(all.len() > 3, "{all:?}");
    fs::remove_file(directory.join("whole")).unwrap();
    for step in chosen(all, 20) {
        let to = directory.join("ledger-9999.sqlite");
        let output = traced(&site, &Blow::Death.at(&step, &trace), &to);
        assert!(!output.status.success(), "{step:?}: {output:?}");
        // Only its name and what comes after it may be there, and then it is whole.
        if to.exists() {
            assert_eq!(run(Command::new("sqlite3").arg(&to).arg("PRAGMA integrity_check")), "ok\n", "{step:?}");
            fs::remove_file(&to).unwrap();
        }
        assert_eq!(names(&directory).len(), 0, "{step:?}");
    }
}

#[test]
fn backup_to_file_system_without_nameless_files_says_what_to_do() {
    let site = Site::prepare(&Plan::default());
    let directory = directory(&site);
    let refuse = ["-e", "trace=open,openat", "-e", "inject=open,openat:error=EOPNOTSUPP", "-P"].map(str::to_owned);
    let options = [refuse.as_slice(), &[directory.display().to_string()]].concat();
    let output = traced(&site, &options, &directory.join("ledger"));
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(complaint.contains("back up to a local disk, and copy the file from there"), "{output:?}");
    assert_eq!((output.status.code(), names(&directory).len()), (Some(1), 0));
}

#[test]
fn backup_goes_into_working_directory() {
    let site = Site::prepare(&Plan::default());
    let directory = directory(&site);
    let mut espm = Command::new(site.bin("espm"));
    run(espm.arg("-c").arg(site.ini()).args(["backup", "ledger"]).current_dir(&directory));
    assert_eq!(names(&directory), ["ledger"]);
}

#[test]
fn backup_made_during_request_can_be_restored() {
    let site = Site::open();
    site.add("web01");
    let directory = directory(&site);
    let (backup, ledger) = (directory.join("ledger"), site.dir.join("state/ledger.sqlite"));
    let adding = std::thread::scope(|scope| {
        let adding = scope.spawn(|| site.add("web02").status);
        assert!(site.espm(&["backup", backup.to_str().unwrap()]).status.success());
        adding.join().unwrap()
    });
    assert_eq!(adding, 201);
    assert_eq!(fs::metadata(&backup).unwrap().mode() & 0o777, 0o600);
    let again = site.espm(&["backup", backup.to_str().unwrap()]);
    assert_eq!(again.status.code(), Some(1), "a backup is never overwritten: {again:?}");
    assert_eq!(run(Command::new("sqlite3").arg(&backup).arg("PRAGMA integrity_check")), "ok\n");
    // A node that was deleted after the backup is shown as missing after it was restored.
    site.add("web03");
    fs::remove_file(&backup).unwrap();
    assert!(site.espm(&["backup", backup.to_str().unwrap()]).status.success());
    site.delete("/v1/nodes/web03").expect(204);
    run(Command::new("cp").arg(&backup).arg(&ledger));
    state_belongs_to_espm(&site);
    one_fault(&site, &["FAIL  node: web03 is missing in the console"]);
    assert!(site.espm(&["check", "--settle"]).status.success());
    site.get("/v1/nodes/web01").expect(200);
    site.delete("/v1/nodes/web02").expect(204);
    all_is_well(&site);
}

#[test]
fn failed_backup_leaves_no_file_and_can_be_repeated() {
    let site = Site::open();
    site.add("web01");
    let directory = site.dir.join("backup");
    fs::create_dir(&directory).unwrap();
    let owner = fs::metadata(site.dir.join("state")).unwrap();
    let options = format!("size=16k,uid={},gid={},mode=700", owner.uid(), owner.gid());
    run(Command::new("mount").args(["-t", "tmpfs", "-o", &options, "espm-test"]).arg(&directory));
    let backup = directory.join("ledger");
    let failed = site.espm(&["backup", backup.to_str().unwrap()]);
    let left = fs::read_dir(&directory).unwrap().count();
    run(Command::new("mount").args(["-o", "remount,size=1m", "espm-test"]).arg(&directory));
    let made = site.espm(&["backup", backup.to_str().unwrap()]);
    let names = names(&directory);
    run(Command::new("umount").arg(&directory));
    let complaint = String::from_utf8(failed.stderr).unwrap();
    assert!(complaint.contains(backup.to_str().unwrap()) && complaint.contains("the disk is full"), "{complaint}");
    assert_eq!((failed.status.code(), left), (Some(1), 0));
    assert!(made.status.success(), "{made:?}");
    assert_eq!(names, ["ledger"]);
}

#[test]
fn kept_backups_are_the_newest_of_that_name_and_other_files_stay() {
    let site = Site::prepare(&Plan::default());
    let directory = directory(&site);
    let [first, second] = ["ledger-2001-01-01T030000Z.sqlite", "ledger-2001-01-02T030000Z.sqlite"];
    let others = ["ledger-2001-01-01.sqlite", "ledger-2001-01-01T030000Z.sqlite.gz"];
    for name in [first, second].iter().chain(&others) {
        fs::write(directory.join(name), "").unwrap();
    }
    let keep = |number: &str| site.espm(&["backup", "--keep", number, directory.to_str().unwrap()]);
    let there = |name: &str| directory.join(name).exists();

    // One that fails removes nothing.
    let ledger = site.dir.join("state/ledger.sqlite");
    fs::rename(&ledger, site.dir.join("away")).unwrap();
    assert_eq!(keep("1").status.code(), Some(1));
    assert_eq!(names(&directory).len(), 4);
    fs::rename(site.dir.join("away"), &ledger).unwrap();

    let kept = keep("2");
    assert!(kept.status.success(), "{kept:?}");
    assert!(!there(first) && there(second) && others.iter().all(|name| there(name)), "{:?}", names(&directory));
    let known = [second, others[0], others[1]];
    let made: Vec<_> = names(&directory).into_iter().filter(|name| !known.iter().any(|known| name == known)).collect();
    let [made] = made.as_slice() else { panic!("{made:?}") };
    assert_eq!(run(Command::new("sqlite3").arg(directory.join(made)).arg("PRAGMA integrity_check")), "ok\n");
    // None would be no backup.
    assert_eq!(keep("0").status.code(), Some(2));
}
