//! sudo, the environment, descriptors, limits and signals in the hands of the user espm.

use std::fs;
use std::process::Command;

use serde_json::json;

use super::{AUTHORITY, CONSOLE, add, task, verb, with_sudo};
use crate::harness::{Site, run, wait_until};

const NAME: &str = "web01.example.com";

/// A directory that the user espm owns.
fn lair(site: &Site) -> String {
    let lair = site.dir.join("lair");
    run(site.inside("install").args(["-d", "-o", "espm", "-g", "espm", "-m", "0777"]).arg(&lair));
    lair.display().to_string()
}

#[test]
fn sudo_allows_two_exact_commands_alone() {
    let site = Site::installed();
    let lair = lair(&site);
    site.attack(&format!("cp /opt/espm/etc/espm.ini {lair}/evil.ini"), "").done("");
    site.attack(&format!("ln -s /opt/espm/etc/espm.ini {lair}/link.ini; cp /bin/sh {lair}/espm-helper"), "").done("");
    let before = site.untouched();
    let (helper, ini) = ("/opt/espm/bin/espm-helper", "/opt/espm/etc/espm.ini");
    let mut attacks = vec![
        // A configuration of its own.
        format!("sudo -n -u puppet-dashboard {helper} console {lair}/evil.ini"),
        format!("sudo -n -u pe-puppet {helper} authority {lair}/link.ini"),
        format!("sudo -n -u puppet-dashboard {helper} console /opt/espm/etc/../etc/espm.ini"),
        format!("sudo -n -u puppet-dashboard {helper} console /{ini}"),
        format!("cd /opt/espm/etc; sudo -n -u puppet-dashboard {helper} console espm.ini"),
        format!("sudo -n -u puppet-dashboard {helper} console /proc/self/fd/3 3<{lair}/evil.ini"),
        format!("sudo -n -u puppet-dashboard {helper} console '{ini} '"),
        // Other arguments, more or fewer of them.
        format!("{CONSOLE} db:drop"),
        format!("{CONSOLE} --trace"),
        format!("{AUTHORITY} --all"),
        format!("sudo -n -u pe-puppet {helper} authority"),
        format!("sudo -n -u pe-puppet {helper}"),
        format!("sudo -n -u pe-puppet {helper} follow 1 /bin/sh -c id"),
        // Other users and groups.
        format!("sudo -n -u pe-puppet {helper} console {ini}"),
        format!("sudo -n -u puppet-dashboard {helper} authority {ini}"),
        format!("sudo -n {helper} console {ini}"),
        format!("sudo -n -u '#0' {helper} authority {ini}"),
        format!("sudo -n -u '#4294967295' {helper} authority {ini}"),
        format!("sudo -n -u pe-puppet -g root {helper} authority {ini}"),
        format!("sudo -n -u pe-puppet -g www-data {helper} authority {ini}"),
        // Other programs.
        "sudo -n -u puppet-dashboard /usr/bin/rake db:drop".to_owned(),
        "sudo -n -u puppet-dashboard /bin/sh -c id".to_owned(),
        "sudo -n -u pe-puppet cat /opt/espm/etc/espm.ini".to_owned(),
        "sudo -n /opt/espm/bin/espm check".to_owned(),
        format!("sudo -n -u pe-puppet {lair}/espm-helper authority {ini}"),
        format!("cd {lair}; PATH={lair}:$PATH sudo -n -u pe-puppet espm-helper authority {ini} extra"),
        "sudo -n -u pe-puppet -i".to_owned(),
        "sudo -n -u pe-puppet -s".to_owned(),
        "sudo -n -e /opt/espm/etc/espm.ini".to_owned(),
        format!("sudo -n -u pe-puppet -e {ini}"),
        format!("sudo -n -u pe-puppet {helper} authority '{ini}\n/bin/sh'"),
    ];
    // Options of sudo's own: the environment, descriptors, a root, a time limit.
    for option in ["LD_PRELOAD=/x.so", "RUBYOPT=-r/x", "-C 100", "-R /tmp", "-T 1", "-i"] {
        attacks.push(format!("sudo -n {option} -u pe-puppet {helper} authority {ini}"));
    }
    for attack in attacks {
        let came = site.attack(&attack, verb("generate", NAME));
        assert!(came.code != 0 && came.stdout.is_empty(), "{attack}: {came:?}");
        // sudo-rs says "invalid option provided" before its usage, and "error: " of what it does not have yet.
        let starts = ["sudo: ", "sudo-rs: ", "usage: sudo", "invalid ", "error: "];
        assert!(starts.iter().any(|words| came.stderr.starts_with(words)), "{attack}: {came:?}");
        assert_eq!(site.untouched(), before, "{attack}");
    }
    // sudo-rs has no such option yet: it says so, and passes nothing on.
    for option in ["-E", "--preserve-env=RUBYOPT"] {
        let attack = format!("RUBYOPT=-r/x sudo -n {option} -u pe-puppet {helper} authority {ini}");
        let came = site.attack(&attack, verb("show", NAME));
        let ignored = came.stderr == "warning: `--preserve-env` has not yet been implemented and will be ignored\n";
        assert!(ignored || (came.code != 0 && came.stderr.starts_with("sudo: ")), "{attack}: {came:?}");
        assert_eq!(site.untouched(), before, "{attack}");
    }
    // sudo compares the words as one text, so this one passes it; sudo-rs compares each.
    let joined = site.attack(&format!("sudo -n -u puppet-dashboard {helper} 'console {ini}'"), "");
    if joined.code == 1 {
        assert!(joined.stderr.starts_with("sudo-rs: "), "{joined:?}");
    } else {
        joined.refused(64, "espm-helper: usage: ");
    }
    assert_eq!(site.untouched(), before);
    // The allowed commands run, so that nothing else refused the others.
    site.attack(AUTHORITY, verb("show", NAME)).done(r#"{"answer":"absent"}"#);
    site.attack(CONSOLE, task(r#"{"task":"names","list":"groups"}"#)).done("web servers\n");
}

#[test]
fn user_of_monitoring_system_may_check_and_nothing_else() {
    let site = Site::installed();
    run(site.inside("useradd").args(["--system", "--no-log-init", "nagios"]));
    let rules = "/etc/sudoers.d/espm-nagios";
    let printed = format!("/opt/espm/bin/espm-setup sudoers --nagios nagios >{rules} && chmod 0440 {rules}");
    run(site.inside("sh").args(["-c", &printed]));
    run(site.inside("visudo").arg("-c"));
    let check = "/opt/espm/bin/espm check --nagios";
    let allowed = |environment: &str| {
        let came = site.attack_as("nagios", &format!("{environment} sudo -n {check}"), "");
        assert!(came.code == 0 && came.stdout.starts_with("ESPM OK: "), "{came:?}");
    };
    allowed("");
    // With these variables espm would be another program, or have another configuration.
    allowed("GATEWAY_INTERFACE=CGI/1.1 REQUEST_METHOD=GET ESPM_CONFIG=/tmp/x.ini LD_PRELOAD=/x.so");
    let before = site.untouched();
    for attack in [
        "/opt/espm/bin/espm",
        "/opt/espm/bin/espm check",
        "/opt/espm/bin/espm check --settle",
        "/opt/espm/bin/espm check --nagios --settle",
        "/opt/espm/bin/espm check --settle --nagios",
        "/opt/espm/bin/espm check --nagios -c /tmp/x.ini",
        "/opt/espm/bin/espm -c /tmp/x.ini check --nagios",
        "/opt/espm/bin/espm -c /opt/espm/etc/espm.ini check --nagios",
        "/opt/espm/bin/espm nodes --json",
        "/opt/espm/bin/espm-setup client add x",
        "GATEWAY_INTERFACE=CGI/1.1 /opt/espm/bin/espm check --nagios",
        "-u espm /opt/espm/bin/espm check --nagios",
        "-u pe-puppet /opt/espm/bin/espm-helper authority /opt/espm/etc/espm.ini",
        "-R /tmp /opt/espm/bin/espm check --nagios",
        "/bin/sh -c id",
    ] {
        let came = site.attack_as("nagios", &format!("sudo -n {attack}"), "");
        assert!(came.code != 0 && came.stdout.is_empty(), "{attack}: {came:?}");
    }
    // sudo compares the words as one text, so this one passes it; espm does not take it.
    let joined = site.attack_as("nagios", "sudo -n /opt/espm/bin/espm 'check --nagios'", "");
    assert!(joined.code != 0 && joined.stdout.is_empty(), "{joined:?}");
    assert_eq!(site.untouched(), before);
}

#[test]
fn environment_terminal_limits_umask_and_group_of_espm_reach_no_command() {
    let site = Site::installed();
    let lair = lair(&site);
    let came = site.attack(
        &format!(
            "printf 'File.write(%cqq, %cqq)' \\' \\' >{lair}/evil.rb; echo 'touch {lair}/ran' >{lair}/evil.sh
             for name in rake ruby puppet sudo espm-helper; do cp {lair}/evil.sh {lair}/$name; done; chmod 755 {lair}/*"
        ),
        "",
    );
    came.done("");
    let hostile = format!(
        "LD_PRELOAD={lair}/evil.so LD_LIBRARY_PATH={lair} LD_AUDIT={lair}/evil.so PATH={lair} HOME={lair} \
         RUBYOPT=-r{lair}/evil.rb RUBYLIB={lair} RUBYGEMS_GEMDEPS={lair} GEM_HOME={lair} BUNDLE_GEMFILE={lair}/Gemfile \
         RAKEOPT=-f{lair}/Rakefile RAILS_ENV=evil CONSOLE={lair} PUPPET_CONFDIR={lair} PUPPETLIB={lair} \
         FACTERLIB={lair} ESPM_CONFIG={lair}/evil.ini GATEWAY_INTERFACE=CGI/1.1 BASH_ENV={lair}/evil.sh \
         ENV={lair}/evil.sh IFS=/ TZ={lair}/tz LC_ALL={lair} LANG=evil TERM=evil OPENSSL_CONF={lair}/evil.cnf \
         SUDO_ASKPASS={lair}/evil.sh SUDO_EDITOR={lair}/evil.sh EDITOR={lair}/evil.sh name=evil groups=evil match=."
    );
    site.attack(&format!("env {hostile} /usr/bin/{CONSOLE}"), task(r#"{"task":"names","list":"groups"}"#))
        .done("web servers\n");
    site.attack(&format!("env {hostile} /usr/bin/{CONSOLE}"), add(NAME)).done("Node successfully created!\n");
    // With the strictest umask, new files must be readable for their owner all the same.
    site.attack(&format!("umask 0777; env {hostile} /usr/bin/{AUTHORITY}"), verb("generate", NAME))
        .done(r#""answer":"generated""#);
    let built = json!({"HOME": "/", "LANG": "C.UTF-8",
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"});
    let runs = [site.runs("console"), site.runs("ca")].concat();
    assert_eq!(runs.len(), 3);
    for run in runs {
        assert_eq!(run["exec_env"], built);
    }
    for trace in ["q", "ran", "Gemfile"] {
        assert!(!site.dir.join("lair").join(trace).exists(), "{trace}");
    }
    site.attack(AUTHORITY, verb("revoke", NAME)).done(r#"{"answer":"revoked"}"#);
    let unreadable = run(Command::new("find").arg(site.dir.join("ca")).args(["!", "-perm", "-0400"]));
    assert_eq!(unreadable, "");

    // Another group would own the new files and could read them.
    let before = site.untouched();
    for command in [CONSOLE, AUTHORITY] {
        let came = site.attack(&command.replace("sudo -n", "sudo -n -g espm"), verb("generate", NAME));
        came.refused(77, "espm-helper: started with group ");
    }
    // Nobody would know of a command's end.
    for (command, order) in [(CONSOLE, add(NAME)), (AUTHORITY, verb("generate", NAME))] {
        let came = site.attack(&format!("env --ignore-signal=CHLD {command}"), order);
        came.refused(77, "espm-helper: started with SIGCHLD ignored");
    }
    // A limit would end a command while it writes the CA's files.
    for (limit, name) in [
        ("-f 0", "the size of a file"),
        ("-f 100000", "the size of a file"),
        ("-t 5", "processor time"),
        ("-v 500000", "address space"),
        ("-d 500000", "data"),
        ("-s 512", "the stack"),
        ("-n 40", "open files"),
        ("-p 10", "processes"),
    ] {
        let came = site.attack(&format!("ulimit {limit}; exec {AUTHORITY}"), verb("generate", NAME));
        came.refused(77, &format!("espm-helper: the limit on {name} is "));
    }
    assert_eq!(site.untouched(), before);
    // One that can be raised again is.
    let direct = AUTHORITY.rsplit_once("pe-puppet ").unwrap().1;
    let came = site.attack_as("pe-puppet", &format!("ulimit -Sf 0; exec {direct}"), verb("generate", NAME));
    came.done(r#""answer":"generated""#);
    site.attack(AUTHORITY, verb("revoke", NAME)).done(r#"{"answer":"revoked"}"#);
    let soft = "ulimit -Sf 0; ulimit -St 1; ulimit -Sn 20; ulimit -Ss 2000; ulimit -Sv 300000";
    site.attack(&format!("{soft}; exec {AUTHORITY}"), verb("generate", NAME)).done(r#""answer":"generated""#);
    site.attack(&format!("{soft}; exec {AUTHORITY}"), verb("revoke", NAME)).done(r#"{"answer":"revoked"}"#);
}

#[test]
fn closed_or_open_descriptors_change_nothing() {
    let site = Site::installed();
    let lair = lair(&site);
    // Nothing to read an order from.
    for closed in ["0<&-", "0<&- 1>&- 2>&-", "</dev/null"] {
        let came = site.attack(&format!("{AUTHORITY} {closed}"), "");
        assert_eq!(came.code, 65, "{closed}: {came:?}");
    }
    assert_eq!(site.runs("ca").len(), 0);
    // Nobody to hear the answer: what was done is recorded all the same, and nothing of it is lost.
    for (number, deaf) in ["1>&-", "1>&- 2>&-", "1>/dev/full", "| true"].into_iter().enumerate() {
        let name = format!("web{number}.example.com");
        site.attack(&format!("{AUTHORITY} {deaf}"), verb("generate", &name));
        wait_until("the certificate is recorded", || {
            site.file(&format!("records/{name}.json")).contains("fingerprint")
        });
        site.attack(AUTHORITY, verb("generate", &name)).done(r#""answer":"there""#);
        assert_eq!(site.count("ca", "generate"), number + 1);
    }
    // What the attacker holds open does not come along.
    site.pause_at("before_node_add");
    std::thread::scope(|scope| {
        let asked = scope.spawn(|| {
            let open: String = (3..10).map(|number| format!(" {number}<>{lair}/held")).collect();
            site.attack(&format!("{CONSOLE}{open}"), add(NAME))
        });
        site.wait_for_pause();
        for program in ["espm-helper", "rake"] {
            for pid in site.pids(program) {
                let open = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().map(|entry| entry.unwrap().path());
                let held: Vec<_> =
                    open.filter(|path| fs::read_link(path).is_ok_and(|to| to.ends_with("held"))).collect();
                assert!(held.is_empty(), "{program}: {held:?}");
            }
        }
        site.go_on();
        asked.join().unwrap().done("Node successfully created!\n");
    });
}

#[test]
fn espm_cannot_signal_helper_and_death_of_sudo_is_settled() {
    let site = Site::installed();
    // Under a terminal of the attacker's.
    site.pause_at("before_node_add");
    {
        let command = with_sudo(&format!("{CONSOLE} <{}", site.write("order", &add(NAME))));
        let mut terminal = site.inside_as("espm", "script");
        terminal.args(["-qec", &command, "/dev/null"]);
        let mut terminal =
            terminal.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::null()).spawn().unwrap();
        site.wait_for_pause();
        let (helper, rake) = (site.pids("espm-helper"), site.pids("rake"));
        assert_eq!((helper.len(), rake.len()), (1, 1));
        for pid in helper.iter().chain(&rake) {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
            let terminal = stat.rsplit_once(") ").unwrap().1.split(' ').nth(4).unwrap();
            assert_eq!(terminal, "0", "no terminal, so no key reaches it: {stat}");
            for signal in ["-9", "-TERM", "-STOP"] {
                let came = site.attack(&format!("kill {signal} {pid}"), "");
                assert!(came.code != 0 && came.stderr.contains("not permitted"), "{came:?}");
            }
        }
        std::io::Write::write_all(terminal.stdin.as_mut().unwrap(), b"\x03\x1c\x1a").unwrap();
        site.go_on();
        drop(terminal.stdin.take());
        terminal.wait().unwrap();
    }
    wait_until("the node is there", || !site.node_in_console(NAME).is_null());

    // sudo is the attacker's to kill, and with a timer makes it kill what it started. The CA's command goes on.
    for (number, timer) in [true, false].into_iter().enumerate() {
        let name = format!("db{number}.example.com");
        let script =
            if timer { format!("exec perl -e 'alarm 5; exec @ARGV' {AUTHORITY}") } else { AUTHORITY.to_owned() };
        let kill = || {
            if timer {
                wait_until("sudo has killed what it started", || site.pids("espm-helper").is_empty());
            } else {
                let status = fs::read_to_string(format!("/proc/{}/status", site.pids("espm-helper")[0])).unwrap();
                let sudo = status.lines().find_map(|line| line.strip_prefix("PPid:\t")).unwrap().to_owned();
                site.attack(&format!("kill -9 {sudo}"), "").done("");
            }
            let again = verb("generate", &name).replace("60", "1");
            site.attack(AUTHORITY, again).done(r#"{"answer":"busy"}"#);
        };
        let came = site.paused_in("ca", "after_sign", || site.attack(&script, verb("generate", &name)), kill);
        assert_ne!(came.code, 0, "{came:?}");
        assert_eq!(came.stdout.contains("generated"), !timer, "{came:?}");
        let settled = if timer { r#""answer":"generated""# } else { r#""answer":"there""# };
        site.attack(AUTHORITY, verb("generate", &name)).done(settled);
        site.attack(AUTHORITY, verb("generate", &name)).done(r#""answer":"there""#);
        assert_eq!(site.count("ca", &name), 1);
        site.attack(AUTHORITY, verb("revoke", &name)).done(r#"{"answer":"revoked"}"#);
    }
}

#[test]
fn order_cannot_shorten_time_limit_of_ca_command() {
    let site = Site::installed();
    let short = |act| verb(act, NAME).replace("60", "0");
    site.attack(AUTHORITY, short("generate")).done(r#""answer":"generated""#);
    site.attack(AUTHORITY, short("revoke")).done(r#"{"answer":"revoked"}"#);
}

#[test]
fn listing_rake_ends_with_its_helper() {
    let site = Site::open();
    site.fault("console", "hang", "once");
    let answer = std::thread::scope(|scope| {
        let asked = scope.spawn(|| site.get("/v1/classes"));
        wait_until("rake hangs", || !site.dir.join("console/faults/hang").exists());
        site.kill_one("espm-helper");
        wait_until("rake has ended", || site.pids("rake").is_empty());
        asked.join().unwrap()
    });
    assert_eq!(answer.expect(502).problem(), "command-failed");
    site.get("/v1/classes").expect(200);
    // Who has ended before is not waited for.
    let late = Command::new(site.bin("espm-helper")).args(["follow", "1", "/bin/echo", "done"]).output().unwrap();
    assert_eq!((late.status.code(), late.stdout.len()), (Some(69), 0), "{late:?}");
}
