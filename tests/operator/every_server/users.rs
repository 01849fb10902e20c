//! `espm check` where there are several users: sudo, programs, published nodes, the classifier.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::os::unix::net::UnixStream;
use std::process::{Command, Output};

use crate::harness::check::{all_is_well, check, one_fault, text};
use crate::harness::{Plan, Site, as_user, run, wait_until};

#[test]
fn check_with_other_users_verifies_sudo_and_owners() {
    let site = Site::installed();
    all_is_well(&site);
    // As the user espm nothing is wrong either: what root alone can read is left to root.
    let output = site.inside_as("espm", "/opt/espm/bin/espm").arg("check").output().unwrap();
    let printed = text(&output);
    assert!(output.status.success(), "{printed}");
    let others: Vec<_> = printed.lines().filter(|line| !line.starts_with("ok    ")).collect();
    let skipped = [
        "skip  certificate: root alone can read it; run 'espm check' as root to check it",
        "skip  sudo: root alone can read its rules; run 'espm check' as root",
        "skip  Puppet: root alone can ask Puppet; run 'espm check' as root",
    ];
    assert_eq!(others, skipped);

    // Each line of the sudoers file is needed and missed.
    let sudoers = site.dir.join("system/sudoers.d/espm");
    let good = fs::read_to_string(&sudoers).unwrap();
    let without = |line: &str| fs::write(&sudoers, good.replace(line, &format!("#{line}"))).unwrap();
    without("espm ALL = (pe-puppet)");
    one_fault(&site, &["FAIL  authority: ", "sudo: ", "; /etc/sudoers.d/espm must allow it"]);
    without("espm ALL = (puppet-dashboard)");
    one_fault(&site, &["FAIL  console: ", "sudo: ", "; /etc/sudoers.d/espm must allow it"]);
    fs::write(&sudoers, &good).unwrap();

    // Who can change the program that sudo starts becomes the user that it starts it as.
    let espm: u32 = run(site.inside("id").args(["-u", "espm"])).trim().parse().unwrap();
    for (place, known) in [("opt/espm/bin/espm-helper", "/opt/espm/bin/espm-helper"), ("opt/espm/bin", "/opt/espm/bin")]
    {
        let path = site.dir.join(place);
        chown(&path, Some(espm), None).unwrap();
        one_fault(&site, &[&format!("[espm] helper: {known}: is owned by user {espm}, want root")]);
        chown(&path, Some(0), None).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o775)).unwrap();
        one_fault(&site, &[&format!("[espm] helper: {known}: others can write it (mode 0775); chmod go-w {known}")]);
        fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
    }
    all_is_well(&site);
}

#[test]
fn sudo_log_of_what_commands_print_fails_check_until_it_is_off() {
    let site = Site::installed();
    let (rules, own) = (site.dir.join("system/sudoers.d/audit"), site.dir.join("system/sudoers.d/espm"));
    let line = "Defaults!ESPM_CONSOLE, ESPM_AUTHORITY !log_output";
    fs::write(&rules, "Defaults log_output, iolog_dir = /run/io\n").unwrap();
    fs::set_permissions(&rules, Permissions::from_mode(0o440)).unwrap();
    let why = "FAIL  sudo: a setting of sudo's would log private keys, or keep espm's commands from running; ";
    one_fault(&site, &[&format!("{why}add to /etc/sudoers.d/espm: {line}")]);
    // What set-up prints now has it, too.
    let printed = run(site.inside("/opt/espm/bin/espm-setup").arg("sudoers"));
    assert!(printed.contains(line), "{printed}");
    let cgi = "Defaults!ESPM_CGI !log_output";
    let lines = if site.without_gateway() { format!("{line}\n{cgi}\n") } else { format!("{line}\n") };
    fs::write(&own, fs::read_to_string(&own).unwrap() + &lines).unwrap();
    all_is_well(&site);
}

/// A site without a console, set up and not started.
fn without_console() -> Site {
    Site::prepare_without_console(&Plan::default(), "[classes]\nnames = apache, ntp\n")
}

#[test]
fn check_without_console_verifies_published_nodes_and_classifier() {
    let site = Site::without_console(&Plan::default(), "[classes]\nnames = apache, ntp\n");
    let nodes = site.dir.join("nodes");
    let (failed, code) = check(&site);
    assert_eq!((failed, code), (vec![], 0));
    let skipped = text(&site.espm(&["check"]));
    assert!(skipped.contains("skip  classifier: there is no enc.ini beside espm.ini"), "{skipped}");
    let published = format!("[enc]\npublished = {}\n", nodes.display());
    let enc = site.write("etc/enc.ini", &published);
    all_is_well(&site);
    let fallback = site.write("classifier", "#!/bin/sh\n");
    for (content, words) in [
        ("[enc]\npublished = /elsewhere\n".to_owned(), "[enc] published: is /elsewhere, espm publishes in "),
        ("[enc]\npublish = /x\n".to_owned(), "[enc] publish: line 2: is not known"),
        (format!("{published}fallback = /nonexistent\n"), "[enc] fallback: /nonexistent does not exist"),
        (format!("{published}fallback = {fallback}\n"), "is not an executable program; name the right one"),
    ] {
        fs::write(&enc, content).unwrap();
        one_fault(&site, &["FAIL  classifier: ", &enc, words]);
    }
    fs::set_permissions(&fallback, Permissions::from_mode(0o755)).unwrap();
    all_is_well(&site);
    fs::set_permissions(&enc, Permissions::from_mode(0o666)).unwrap();
    one_fault(&site, &["FAIL  classifier: ", "others can write it (mode 0666)"]);
    fs::set_permissions(&enc, Permissions::from_mode(0o644)).unwrap();
    let espm = fs::metadata(site.dir.join("state")).map(|found| std::os::unix::fs::MetadataExt::uid(&found)).unwrap();
    for other in [0, 65_534] {
        chown(&nodes, Some(other), None).unwrap();
        one_fault(
            &site,
            &[
                &format!("[console] published: {} is owned by user {other}; ", nodes.display()),
                &format!("name the right directory in published, or type: chown www-data {}", nodes.display()),
            ],
        );
    }
    chown(&nodes, Some(espm), None).unwrap();
    for mode in [0o700, 0o770, 0o777] {
        fs::set_permissions(&nodes, Permissions::from_mode(mode)).unwrap();
        let wrong = format!("[console] published: {} has mode {mode:04o}", nodes.display());
        one_fault(&site, &[&wrong, &format!("&& chmod 0750 {}", nodes.display())]);
    }
    for (mode, group) in [(0o755, 0), (0o750, 65_534)] {
        chown(&nodes, None, Some(group)).unwrap();
        fs::set_permissions(&nodes, Permissions::from_mode(mode)).unwrap();
        all_is_well(&site);
    }
}

#[test]
fn classifier_prints_published_files_alone() {
    let site = without_console();
    let nodes = site.dir.join("nodes");
    fs::set_permissions(&nodes, Permissions::from_mode(0o755)).unwrap();
    let enc = site.write("etc/enc.ini", &format!("[enc]\npublished = {}\n", nodes.display()));
    let secret = site.write("secret", "a secret of the Puppet server's user");
    chown(&secret, Some(65_534), None).unwrap();
    fs::set_permissions(&secret, Permissions::from_mode(0o600)).unwrap();
    let classify_as = |group: &str, name: &str| -> Output {
        let mut nobody = Command::new("setpriv");
        nobody.args(["--reuid", "65534", "--regid", group, "--clear-groups", "--"]);
        nobody.arg(site.bin("espm-enc")).args(["-c", &enc, name]).output().unwrap()
    };
    let classify = |name: &str| classify_as("65534", name);
    symlink(&secret, nodes.join("link.yaml")).unwrap();
    fs::hard_link(&secret, nodes.join("hard.yaml")).unwrap();
    run(as_user("mkfifo").arg(nodes.join("pipe.yaml")));
    fs::create_dir(nodes.join("dir.yaml")).unwrap();
    for (name, words) in [
        ("link", "is a symbolic link, which is not followed"),
        ("hard", "is owned by user 65534, want root or user "),
        ("pipe", "is not a regular file"),
        ("dir", "is not a regular file"),
    ] {
        let output = classify(name);
        assert_eq!((output.status.code(), text(&output).as_str()), (Some(1), ""), "{name}");
        let complaint = String::from_utf8(output.stderr).unwrap();
        assert!(complaint.lines().count() == 1 && complaint.contains(words), "{name}: {complaint}");
    }
    fs::write(nodes.join("web01.yaml"), "---\nclasses: {ntp: {}}\n").unwrap();
    assert_eq!(text(&classify("web01")), "---\nclasses: {ntp: {}}\n");
    assert_eq!(text(&classify("--help")), "---\nclasses: {}\n");
    assert_eq!(text(&classify("../secret")), "---\nclasses: {}\n");
    // Closed to all but a group, its members read it.
    chown(&nodes, None, Some(65_534)).unwrap();
    fs::set_permissions(&nodes, Permissions::from_mode(0o750)).unwrap();
    assert_eq!(text(&classify("web01")), "---\nclasses: {ntp: {}}\n");
    let stranger = classify_as("65533", "web01");
    assert!(!stranger.status.success() && stranger.stdout.is_empty(), "{stranger:?}");
}

#[test]
fn enc_ini_of_another_user_is_refused() {
    let site = without_console();
    let enc = site.write("etc/enc.ini", "[enc]\n");
    let classify = || Command::new(site.bin("espm-enc")).args(["-c", &enc, "web01"]).output().unwrap();
    let etc = site.dir.join("etc").display().to_string();
    for path in [&enc, &etc] {
        assert!(classify().status.success());
        chown(path, Some(65_534), None).unwrap();
        let output = classify();
        let complaint = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && output.stdout.is_empty(), "{path}");
        assert!(complaint.contains(&format!("{path}: is owned by user 65534, want root")), "{complaint}");
        chown(path, Some(0), None).unwrap();
    }
}

#[test]
fn impossible_adopt_or_forget_is_one_sentence() {
    let site = Site::open();
    for (words, sentence) in [
        (["adopt", "nothing01"], "espm: nothing01 is not in the console; only a node that is there can be adopted\n"),
        (["adopt", "master.example.com"], "espm: master.example.com is the master's own name, which is never espm's\n"),
        (["forget", "nothing01"], "espm: nothing01 is not in the ledger; 'espm nodes' lists all that are\n"),
    ] {
        let output = site.espm(&words);
        assert_eq!(output.status.code(), Some(1));
        assert_eq!(String::from_utf8(output.stderr).unwrap(), sentence);
    }
}

#[test]
fn gateway_started_by_root_runs_as_espm_without_groups() {
    let site = Site::prepare(&Plan::default());
    let mut gate = Command::new("setpriv");
    gate.args(["--groups", "0,4,27", "--"]).arg(site.bin("espm")).arg("-c").arg(site.ini());
    let mut gate = gate.spawn().unwrap();
    wait_until("it listens", || UnixStream::connect(site.dir.join("run/espm.sock")).is_ok());
    let status = fs::read_to_string(format!("/proc/{}/status", gate.id())).unwrap();
    gate.kill().unwrap();
    gate.wait().unwrap();
    let state = fs::metadata(site.dir.join("state")).unwrap();
    let ids = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.split_whitespace().map(|id| id.parse().unwrap()).collect::<Vec<u32>>()
    };
    assert_eq!((ids("Uid:"), ids("Gid:")), (vec![state.uid(); 4], vec![state.gid(); 4]));
    assert!(state.uid() != 0 && ids("Groups:").is_empty(), "{status}");
}
