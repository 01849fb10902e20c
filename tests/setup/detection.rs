//! The console that set-up finds, and as whom it asks there.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;
use std::process::{Command, Stdio};

use super::{Place, script};
use crate::harness::{USER, run};

/// What a console's rake says to `-T`.
const TASKS: &str = "echo 'rake nodeclass:list  # list'; echo 'rake node:add  # add'\n";

#[test]
fn console_is_asked_as_its_own_user() {
    // A user of the base system, which is given one more group here.
    const CONSOLE: (&str, u32) = ("games", 5);
    let place = Place::new();
    let (console, rake) = (place.path("console"), place.path("rake"));
    fs::create_dir(&console).unwrap();
    chown(&console, Some(CONSOLE.1), None).unwrap();
    script(&rake, &format!("#!/bin/sh\nid >>production.log\n{TASKS}"));
    let groups = fs::read_to_string("/etc/group").unwrap();
    fs::write(place.path("group"), format!("{groups}espm-test:x:4711:somebody,{}\n", CONSOLE.0)).unwrap();

    let at = |path: &Path| path.display().to_string();
    let words = ["--console-user", CONSOLE.0, "--console-command", &at(&rake), "--console-directory", &at(&console)];
    let group = at(&place.path("group"));
    let mounted = ["unshare", "--mount", "sh", "-c", "mount --bind \"$0\" /etc/group && exec \"$@\"", &group];
    // The release is not given, so that rake is asked.
    run(&mut place.command_without(&["--console-release"], &words, &mounted));

    let log = console.join("production.log");
    let (said, found) = (fs::read_to_string(&log).unwrap(), fs::metadata(&log).unwrap());
    assert_eq!(found.uid(), CONSOLE.1, "{said}");
    assert!(said.starts_with(&format!("uid={}({}) gid=", CONSOLE.1, CONSOLE.0)), "{said}");
    assert!(said.contains(",4711(espm-test)\n") && !said.contains("root"), "{said}");
}

#[test]
fn console_is_asked_without_root_and_without_terminal() {
    let espm = run(Command::new("id").args(["-u", USER]));
    for (console, uid) in [(None, espm.trim()), (Some("games"), "5")] {
        let place = Place::new();
        let (seen, rake) = (place.path("seen"), place.path("rake"));
        fs::create_dir(&seen).unwrap();
        fs::set_permissions(&seen, fs::Permissions::from_mode(0o777)).unwrap();
        // Its user, and its terminal (proc_pid_stat(5)).
        script(&rake, &format!("#!/bin/sh\necho \"$(id -u) $(cut -d ' ' -f 7 /proc/$$/stat)\" >seen\n{TASKS}"));
        let at = |path: &Path| path.display().to_string();
        let mut words = vec!["--console-command".to_owned(), at(&rake), "--console-directory".into(), at(&seen)];
        words.extend(console.into_iter().flat_map(|user| ["--console-user".to_owned(), user.to_owned()]));
        let words: Vec<_> = words.iter().map(String::as_str).collect();
        let set_up = place.command_without(&["--console-release"], &words, &[]);
        let words: Vec<_> = set_up.get_args().map(|word| format!("'{}'", word.to_str().unwrap())).collect();
        let line = format!("{} {}", set_up.get_program().display(), words.join(" "));
        // As the leader of the terminal's session, as over ssh, and as one of its jobs.
        let line = if console.is_some() { format!("exec {line}") } else { format!("{line}; true") };
        run(Command::new("script").args(["-qec", &line, "/dev/null"]).stdin(Stdio::null()));
        assert_eq!(place.read("seen/seen"), format!("{uid} 0\n"), "{console:?}");
    }
}

#[test]
fn console_is_asked_in_container_too() {
    let place = Place::new();
    let rake = place.path("rake");
    script(&rake, &format!("#!/bin/sh\n{TASKS}"));
    let words = ["--console-command", &rake.display().to_string(), "--console-user", "games"];
    // The leader of its process group is outside.
    let container = ["unshare", "--pid", "--fork", "--mount-proc"];
    run(&mut place.command_without(&["--console-release"], &words, &container));
}

#[test]
fn nothing_that_root_has_open_reaches_console() {
    let place = Place::new();
    let (seen, rake, secret) = (place.path("seen"), place.path("rake"), place.path("secret"));
    fs::create_dir(&seen).unwrap();
    fs::set_permissions(&seen, fs::Permissions::from_mode(0o777)).unwrap();
    fs::write(&secret, "root's").unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
    script(&rake, &format!("#!/bin/sh\n{{ cat <&7; }} >seen 2>/dev/null\n{TASKS}"));
    let at = |path: &Path| path.display().to_string();
    let words = ["--console-command", &at(&rake), "--console-directory", &at(&seen), "--console-user", "games"];
    let open = ["sh", "-c", "exec \"$@\" 7<\"$0\"", &at(&secret)];
    run(&mut place.command_without(&["--console-release"], &words, &open));
    assert_eq!(place.read("seen/seen"), "");
}

#[test]
fn console_release_for_kind_enc_is_refused() {
    let place = Place::new();
    let complaint = place.refused(&["--console-kind", "enc", "--console-release", "3.0"]);
    assert!(complaint.starts_with("espm: --console-release: is for a console that rake runs"), "{complaint}");
}
