//! In whose hands the state directory is, and the key before anybody has seen it.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::{chown, lchown, symlink};
use std::process::{Command, Stdio};

use super::{Place, script};
use crate::harness::{USER, run};

/// Runs espm at the shell with the configuration of a place.
fn espm(place: &Place, words: &[&str]) -> std::process::Output {
    let mut espm = Command::new(env!("CARGO_BIN_EXE_espm"));
    espm.arg("-c").arg(place.path("etc/espm.ini")).args(words).stdin(Stdio::null()).output().unwrap()
}

#[test]
fn state_below_link_of_root_works_and_below_link_of_another_does_not() {
    for last in [true, false] {
        let place = Place::new();
        // As /opt -> /srv/opt, and as /var/lib/espm/state -> /srv/state.
        let (link, state) = if last { ("link", "link") } else { ("opt", "opt/state") };
        if last {
            symlink("state", place.path(link)).unwrap();
        } else {
            fs::create_dir(place.path("disk")).unwrap();
            fs::rename(place.path("state"), place.path("disk/state")).unwrap();
            symlink("disk", place.path(link)).unwrap();
        }
        let state = place.path(state).display().to_string();
        let rejected = |place: &Place| {
            let said = espm(place, &["nodes"]);
            let text = String::from_utf8_lossy(&said.stderr).into_owned();
            assert!(!said.status.success() && text.contains("is owned by user 5, want root"), "{text}");
        };
        lchown(place.path(link), Some(5), None).unwrap();
        let complaint = place.refused(&["--state", &state]);
        assert!(complaint.contains("is owned by user 5, want root"), "{complaint}");
        lchown(place.path(link), Some(0), None).unwrap();
        place.done(&["--state", &state]);
        let listed = espm(&place, &["nodes"]);
        assert!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));
        let copy = place.path("records/copy").display().to_string();
        assert!(espm(&place, &["backup", &copy]).status.success());
        lchown(place.path(link), Some(5), None).unwrap();
        rejected(&place);
    }
}

#[test]
fn state_directory_of_root_is_refused_before_anything_runs() {
    let place = Place::new();
    let (state, rake) = (place.path("state"), place.path("rake"));
    script(&rake, "#!/bin/sh\ntouch \"$0.booted\"\n");
    let words = ["--console-command", &rake.display().to_string()];
    chown(&state, Some(0), Some(0)).unwrap();
    let complaint = place.refused_to(&mut place.command_without(&["--console-release"], &words, &[]));
    let advice = format!("{} belongs to root, and espm does not run as root; '", state.display());
    assert!(complaint.contains(&advice) && complaint.contains(&format!("chown -R espm:espm {}'", state.display())));
    assert!(!place.path("rake.booted").exists());

    // Nor does the gate, or a command, of one that has become root's since.
    run(Command::new("chown").arg(format!("{USER}:{USER}")).arg(&state));
    place.done(&["--listen", &place.path("espm.sock").display().to_string()]);
    chown(&state, Some(0), Some(0)).unwrap();
    for words in [&[][..], &["nodes"], &["forget", "web01"]] {
        let said = espm(&place, words);
        let text = String::from_utf8_lossy(&said.stderr).into_owned();
        assert!(!said.status.success() && text.contains(&advice), "{words:?}: {text}");
    }
    assert!(!place.path("espm.sock").exists());
}

#[test]
fn user_espm_that_is_root_is_told_apart() {
    let place = Place::new();
    chown(place.path("state"), Some(0), Some(0)).unwrap();
    let accounts = fs::read_to_string("/etc/passwd").unwrap();
    let others: String =
        accounts.lines().filter(|line| !line.starts_with("espm:")).map(|line| format!("{line}\n")).collect();
    fs::write(place.path("passwd"), format!("{others}espm:x:0:0::/:/bin/sh\n")).unwrap();
    let passwd = place.path("passwd").display().to_string();
    let mounted = ["unshare", "--mount", "sh", "-c", "mount --bind \"$0\" /etc/passwd && exec \"$@\"", &passwd];
    let complaint = place.refused_to(&mut place.command_without(&[], &[], &mounted));
    assert!(complaint.contains("because the user espm is number 0 in /etc/passwd"), "{complaint}");
}

#[test]
fn key_that_nobody_could_see_is_not_kept() {
    let place = Place::new();
    let full = || OpenOptions::new().write(true).open("/dev/full").unwrap();
    let before = place.listing();
    let said = place.command(&[]).stdout(full()).stderr(Stdio::piped()).spawn().unwrap().wait_with_output().unwrap();
    let text = String::from_utf8(said.stderr).unwrap();
    assert_eq!((said.status.code(), text.lines().count()), (Some(1), 1), "{text}");
    assert!(text.starts_with("espm: the key cannot be shown: standard output cannot be written: No space"), "{text}");
    assert!(place.listing() == before, "something is left");
    place.done(&[]);

    let before = place.listing();
    let ini = place.path("etc/espm.ini").display().to_string();
    for (words, starts) in [
        (&["client", "add", "second"][..], "espm: the key cannot be shown: "),
        (&["vhost", "nginx"], "espm: standard output cannot be written: "),
    ] {
        let mut setup = Command::new(env!("CARGO_BIN_EXE_espm-setup"));
        let setup = setup.args(words).args(["--config", &ini]).stdout(full()).stderr(Stdio::piped());
        let said = setup.spawn().unwrap().wait_with_output().unwrap();
        let text = String::from_utf8(said.stderr).unwrap();
        assert!(said.status.code() == Some(1) && text.starts_with(starts), "{text}");
        assert!(place.listing() == before, "{words:?}");
    }
}
