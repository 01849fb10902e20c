//! The Puppet that set-up finds, Debian's or the vendor's, and what it writes about it.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;
use std::process::{Command, Stdio};

use super::Place;
use crate::harness::{USER, run};

/// Makes a program of a script. Another process writes it: a program that a thread of this one starts meanwhile has
/// all its files open for a moment, and what somebody can write to cannot be run (ETXTBSY).
fn script(path: &Path, text: &str) {
    let mut install = Command::new("install");
    install.args(["-m", "0755", "/dev/stdin"]).arg(path).stdin(Stdio::piped());
    let mut child = install.spawn().unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success(), "{}", path.display());
}

/// Makes the programs of a Puppet installation; `puppet config print` answers as the vendor's does.
fn install_puppet(bin: &Path, programs: &[&str]) {
    fs::create_dir_all(bin).unwrap();
    for program in programs {
        script(
            &bin.join(program),
            "#!/bin/sh
[ \"$1 $2\" = 'config print' ] || exit 1
shift 2
for key in \"$@\"; do
    case $key in
        ssldir) echo 'ssldir = /etc/puppetlabs/puppet/ssl' ;;
        cadir) echo 'cadir = /etc/puppetlabs/puppetserver/ca' ;;
        certname) echo 'certname = master.example.com' ;;
        user) echo 'user = puppet' ;;
        config) echo 'config = /etc/puppetlabs/puppet/puppet.conf' ;;
    esac
done
",
        );
    }
}

/// A section of the espm.ini that set-up wrote, without comments.
fn section(place: &Place, name: &str) -> String {
    let ini = place.read("etc/espm.ini");
    let (_, after) = ini.split_once(&format!("[{name}]\n")).unwrap();
    let lines = after.lines().take_while(|line| !line.starts_with('['));
    lines.filter(|line| !line.is_empty() && !line.starts_with('#')).collect::<Vec<_>>().join("\n")
}

/// Where a test's `kind = enc` keeps its nodes.
fn with_published(place: &Place) -> String {
    let published = place.path("nodes");
    fs::create_dir(&published).unwrap();
    published.display().to_string()
}

#[test]
fn configuration_has_values_of_debian_puppet() {
    let place = Place::new();
    let published = with_published(&place);
    place.done(&["--detect", "--published", &published]);
    let asked = run(Command::new("/usr/bin/puppet").args(["config", "print", "certname"]));
    assert_eq!(
        section(&place, "authority"),
        format!(
            "kind = puppetserver-ca\ncommand = /usr/bin/puppetserver ca\nconfig = /etc/puppet/puppet.conf\n\
             user = puppet\nssldir = /var/lib/puppet/ssl\ncadir = /etc/puppet/puppetserver/ca\n\
             records = {}\nmaster = {}",
            place.path("records").display(),
            asked.trim()
        )
    );
    assert!(section(&place, "console").starts_with("kind = enc\n"));
}

#[test]
fn vendor_puppet_is_taken_before_distribution_puppet() {
    let place = Place::new();
    let published = with_published(&place);
    install_puppet(&place.path("opt/puppetlabs/bin"), &["puppet", "puppetserver"]);
    let set_up = place.command(&["--detect", "--published", &published]);
    let mut command = Command::new("unshare");
    // A private /opt, so that the machine's own stays as it is.
    command.args(["--mount", "sh", "-c", "mount --bind \"$0\" /opt && exec \"$@\""]).arg(place.path("opt"));
    run(command.arg(set_up.get_program()).args(set_up.get_args()));
    let authority = section(&place, "authority");
    let found = "kind = puppetserver-ca\ncommand = /opt/puppetlabs/bin/puppetserver ca\n\
                 config = /etc/puppetlabs/puppet/puppet.conf\nuser = puppet\nssldir = /etc/puppetlabs/puppet/ssl\n\
                 cadir = /etc/puppetlabs/puppetserver/ca\n";
    assert!(authority.starts_with(found), "{authority}");
    assert!(authority.ends_with("master = master.example.com"), "{authority}");
    assert!(section(&place, "console").starts_with("kind = enc\n"));
}

#[test]
fn puppet_without_server_is_kind_puppet_cert() {
    let place = Place::new();
    let published = with_published(&place);
    install_puppet(&place.path("bin"), &["puppet"]);
    let puppet = place.path("bin/puppet").display().to_string();
    place.done(&["--detect", &puppet, "--published", &published]);
    let authority = section(&place, "authority");
    assert!(authority.starts_with(&format!("kind = puppet-cert\ncommand = {puppet} cert\nuser = puppet\nssldir =")));
}

#[test]
fn puppet_without_answer_is_error_with_command_to_run() {
    let place = Place::new();
    install_puppet(&place.path("bin"), &["puppet"]);
    let path = place.path("bin/puppet");
    script(&path, "#!/bin/sh\nexit 1\n");
    let puppet = path.display().to_string();
    let complaint = place.refused(&["--detect", &puppet]);
    assert_eq!(complaint, format!("espm: {puppet} config print failed; run it by hand to see why\n"));
    script(&path, "#!/bin/sh\necho 'ssldir = /x'\n");
    let complaint = place.refused(&["--detect", &puppet]);
    assert!(complaint.contains("config print did not print "), "{complaint}");
}

#[test]
fn console_is_asked_as_its_own_user() {
    // A user of the base system, which is given one more group here.
    const CONSOLE: (&str, u32) = ("games", 5);
    let place = Place::new();
    let (console, rake) = (place.path("console"), place.path("rake"));
    fs::create_dir(&console).unwrap();
    chown(&console, Some(CONSOLE.1), None).unwrap();
    script(&rake, "#!/bin/sh\nid >>production.log\necho 'rake nodegroup:list[match]  # list'\n");
    let groups = fs::read_to_string("/etc/group").unwrap();
    fs::write(place.path("group"), format!("{groups}espm-test:x:4711:somebody,{}\n", CONSOLE.0)).unwrap();

    let at = |path: &Path| path.display().to_string();
    let words = ["--console-user", CONSOLE.0, "--console-command", &at(&rake), "--console-directory", &at(&console)];
    let set_up = place.command(&words);
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", "mount --bind \"$0\" /etc/group && exec \"$@\""]).arg(place.path("group"));
    command.arg(set_up.get_program());
    // The release is not given, so that rake is asked.
    command.args(set_up.get_args().filter(|word| *word != "--console-release" && *word != "1.2.7"));
    run(&mut command);

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
        script(&rake, "#!/bin/sh\necho \"$(id -u) $(cut -d ' ' -f 7 /proc/$$/stat)\" >seen\n");
        let at = |path: &Path| path.display().to_string();
        let mut words = vec!["--console-command".to_owned(), at(&rake), "--console-directory".into(), at(&seen)];
        words.extend(console.into_iter().flat_map(|user| ["--console-user".to_owned(), user.to_owned()]));
        let set_up = place.command(&words.iter().map(String::as_str).collect::<Vec<_>>());
        let asks = |word: &&str| *word != "--console-release" && *word != "1.2.7";
        let words: Vec<_> = set_up.get_args().map(|word| word.to_str().unwrap()).filter(asks).collect();
        let line = format!("{} {}", set_up.get_program().display(), words.join(" "));
        // As the leader of the terminal's session, as over ssh, and as one of its jobs.
        let line = if console.is_some() { format!("exec {line}") } else { format!("{line}; true") };
        run(Command::new("script").args(["-qec", &line, "/dev/null"]).stdin(Stdio::null()));
        assert_eq!(place.read("seen/seen"), format!("{uid} 0\n"), "{console:?}");
    }
}

#[test]
fn console_with_missing_user_is_not_booted_as_root() {
    let place = Place::new();
    let rake = place.path("rake");
    script(&rake, "#!/bin/sh\ntouch \"$0.booted\"\n");
    let words = ["--console-user", "nonesuch", "--console-command", &rake.display().to_string()];
    let set_up = place.command(&words);
    let mut command = Command::new(set_up.get_program());
    run(command.args(set_up.get_args().filter(|word| *word != "--console-release" && *word != "1.2.7")));
    assert!(!place.path("rake.booted").exists());
    assert!(section(&place, "console").contains("user = nonesuch"));
}

#[test]
fn console_release_for_kind_enc_is_refused() {
    let place = Place::new();
    let complaint = place.refused(&["--console-kind", "enc", "--console-release", "3.0"]);
    assert!(complaint.starts_with("espm: --console-release: is for a console that rake runs"), "{complaint}");
}
