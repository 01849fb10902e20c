//! A console or a CA that this machine does not have is not set up.

use std::fs;

use super::{Place, script};

#[test]
fn command_directory_and_user_that_are_not_here_are_refused() {
    let place = Place::new();
    for (words, part) in [
        (["--console-command", "/nonexistent/rake -f x"], "[console] command: there is no /nonexistent/rake; "),
        (["--console-directory", "/nonexistent"], "[console] directory: there is no /nonexistent; "),
        (["--console-user", "nonesuch"], "[console] user: there is no user nonesuch in /etc/passwd; "),
        (["--authority-command", "/nonexistent/puppet cert"], "[authority] command: there is no /nonexistent/puppet; "),
        (["--authority-user", "nonesuch"], "[authority] user: there is no user nonesuch in /etc/passwd; "),
    ] {
        let complaint = place.refused(&words);
        let advice = format!("name another with {}, or let 'espm-setup --detect' ask", words[0]);
        assert!(complaint.contains(part) && complaint.contains(&advice), "{complaint}");
    }
    // As somebody types it who has read no further.
    let all = ["--console-command", "--console-directory", "--authority-command", "--master", "--console-release"];
    let complaint = place.refused_to(&mut place.command_without(&all, &[], &[]));
    assert!(complaint.contains("there is no /opt/puppet/bin/rake"), "{complaint}");
}

#[test]
fn rake_without_tasks_of_console_is_refused_and_said_how_to_run_by_hand() {
    let place = Place::new();
    let rake = place.path("rake");
    for said in ["exit 1", "echo 'rake routes  # list'", "true"] {
        script(&rake, &format!("#!/bin/sh\n{said}\n"));
        let (command, directory) = (format!("{} -f x", rake.display()), place.path("").display().to_string());
        let words = ["--console-command", &command, "--console-directory", &directory, "--console-user", "games"];
        let complaint = place.refused_to(&mut place.command_without(&["--console-release"], &words, &[]));
        let by_hand = format!("'cd {directory} && sudo -u games {command} -T'; or give --console-release");
        assert!(complaint.contains("lists no tasks of a console's") && complaint.contains(&by_hand), "{complaint}");
    }
}

#[test]
fn console_with_missing_user_is_not_booted_as_root() {
    let place = Place::new();
    let rake = place.path("rake");
    script(&rake, "#!/bin/sh\ntouch \"$0.booted\"\n");
    let words = ["--console-user", "nonesuch", "--console-command", &rake.display().to_string()];
    place.refused_to(&mut place.command_without(&["--console-release"], &words, &[]));
    assert!(!place.path("rake.booted").exists());
}

#[test]
fn missing_directories_are_made_by_lines_that_do_not_depend_on_umask() {
    let place = Place::new();
    let at = |name: &str| place.path(name).display().to_string();
    let words =
        ["-d", &at("new/etc"), "-c", &at("new/etc/certs"), "--state", &at("var/state"), "--records", &at("records")];
    let complaint = place.refused(&words);
    let lines: Vec<_> = complaint.lines().skip(1).map(str::trim).collect();
    let wanted = [
        format!("install -d -m 0755 {} {}", at("new"), at("new/etc")),
        format!("install -d -m 0755 {} {} {}", at("new"), at("new/etc"), at("new/etc/certs")),
        format!("install -d -m 0755 {} && install -d -o espm -g espm -m 0750 {}", at("var"), at("var/state")),
    ];
    assert_eq!(lines, wanted, "{complaint}");
    let typed = format!("umask 077\n{}\n", lines[..2].join("\n"));
    crate::harness::run(std::process::Command::new("sh").args(["-ec", &typed]));
    for name in ["new", "new/etc", "new/etc/certs"] {
        use std::os::unix::fs::MetadataExt;
        assert_eq!(fs::metadata(place.path(name)).unwrap().mode() & 0o777, 0o755, "{name}");
    }
}
