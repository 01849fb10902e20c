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

#[test]
fn catalogue_of_puppets_environments_is_printed_and_valid() {
    let place = Place::new();
    let code = place.path("code");
    for (file, text) in [
        ("environments/production/modules/ntp/manifests/init.pp", "class ntp(Array $servers = ['a'], $panic = 0) { }"),
        ("environments/production/modules/ntp/manifests/client.pp", "class ntp::client { fail('is evaluated') }"),
        ("environments/production/manifests/site.pp", "class of_the_site($a) { }\nnode default { }"),
        ("environments/staging/modules/ntp/manifests/init.pp", "class ntp($tinker) { }"),
        ("environments/staging/modules/odd/manifests/init.pp", "class odd {"),
        ("modules/common/manifests/init.pp", "class common { }"),
    ] {
        let path = code.join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let at = |name: &str| place.path(name).display().to_string();
    ["bin", "conf", "var"].iter().for_each(|name| fs::create_dir(place.path(name)).unwrap());
    let settings = format!("user = {USER}\nconfdir = {}\ncodedir = {}\nvardir = {}", at("conf"), at("code"), at("var"));
    let puppet = place.path("bin/puppet");
    script(&puppet, &format!("#!/bin/sh\n[ \"$1\" = --version ] && exec echo 7.9.5\ncat <<'END'\n{settings}\nEND\n"));
    std::os::unix::fs::symlink("/usr/bin/ruby", place.path("bin/ruby")).unwrap();
    let setup = || {
        let mut setup = Command::new(env!("CARGO_BIN_EXE_espm-setup"));
        setup.args(["catalogue", "--puppet", &puppet.display().to_string()]);
        setup
    };
    let printed = run(&mut setup());
    for part in [
        "\n[environments]\nnames = production, staging\n",
        "\n[classes]\nnames = common, ntp::client\n",
        "\n[class ntp]\nparameters = panic, servers, tinker\n",
        "\n[class of_the_site]\nparameters = a\n",
        "/odd/manifests/init.pp",
    ] {
        assert!(printed.contains(part), "{part}: {printed}");
    }
    assert_eq!(printed.lines().filter(|line| line.starts_with("# Not read: ")).count(), 1, "{printed}");
    espm::console::catalogue::Catalogue::from_text(&printed).unwrap();
    // Nothing is left in Puppet's directories.
    assert_eq!(fs::read_dir(place.path("var")).unwrap().count() + fs::read_dir(place.path("conf")).unwrap().count(), 0);
    // As whom it runs, and what happens where that cannot read the environments.
    fs::remove_file(place.path("bin/ruby")).unwrap();
    script(
        &place.path("bin/ruby"),
        &format!("#!/bin/sh\nid -un >&2\n[ \"$(id -un)\" = {USER} ] || echo '[]'\nexit 1\n"),
    );
    let failed = setup().output().unwrap();
    let said = String::from_utf8(failed.stderr).unwrap();
    assert!(failed.status.code() == Some(1) && said.contains("bin/ruby cannot list the classes"), "{said}");
}
