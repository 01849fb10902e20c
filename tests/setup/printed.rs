//! Vhosts, sudo rules, next steps and help that set-up prints.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use super::{MADE, Place};
use crate::harness::{USER, run};

#[test]
fn vhosts_have_configured_paths_and_port() {
    let place = Place::new();
    let directory = place.path("").display().to_string().trim_end_matches('/').to_owned();
    let listen = "/place/run/x.sock";
    place.done(&["-p", "9443", "--listen", &place.path("run/x.sock").display().to_string()]);
    let ini = place.path("etc/espm.ini");
    let text = fs::read_to_string(&ini).unwrap();
    fs::write(&ini, text.replace("[espm]\n", "[espm]\nrequest_timeout = 77\n")).unwrap();
    for kind in ["nginx", "apache", "apache-cgi"] {
        let mut setup = Command::new(env!("CARGO_BIN_EXE_espm-setup"));
        // Without the directory of this run, whose name has numbers of its own.
        let vhost = run(setup.args(["vhost", kind, "--config"]).arg(&ini)).replace(&directory, "/place");
        for part in ["9443", "etc/certs/espm.pem", "etc/certs/espm.key", "92"] {
            assert!(vhost.contains(part), "{kind} {part}: {vhost}");
        }
        // As a CGI program espm is started without a socket.
        assert_eq!(vhost.contains(listen), kind != "apache-cgi", "{kind}: {vhost}");
        for default in ["8443", "/opt/espm/etc", "/run/espm", "315"] {
            assert!(!vhost.contains(default), "{kind} still has {default}: {vhost}");
        }
    }
    let complaint = Command::new(env!("CARGO_BIN_EXE_espm-setup"))
        .args(["vhost", "nginx", "--config"])
        .arg(place.path("nothing.ini"))
        .output()
        .unwrap();
    assert_eq!(complaint.status.code(), Some(1));
    assert!(complaint.stdout.is_empty() && String::from_utf8_lossy(&complaint.stderr).contains("nothing.ini"));
}

/// What set-up prints after the heading, without indentation.
fn lines_under<'a>(printed: &'a str, heading: &str) -> Vec<&'a str> {
    let (_, after) = printed.split_once(&format!("{heading}\n\n")).unwrap_or_else(|| panic!("{heading}: {printed}"));
    after.lines().take_while(|line| !line.is_empty()).map(str::trim).collect()
}

#[test]
fn next_steps_are_exact_for_debian_and_red_hat() {
    let place = Place::new();
    let ini = place.path("etc/espm.ini");
    let setup = Path::new(env!("CARGO_BIN_EXE_espm-setup")).display().to_string();
    let of = format!("--config {}", ini.display());
    for (system, nginx, apache) in [
        (
            "debian",
            vec![
                format!("{setup} vhost nginx {of} >/etc/nginx/sites-available/espm"),
                "ln -s ../sites-available/espm /etc/nginx/sites-enabled/espm".to_owned(),
                "nginx -t && systemctl reload nginx".to_owned(),
            ],
            vec![
                format!("{setup} vhost apache {of} >/etc/apache2/sites-available/espm.conf"),
                "a2enmod ssl proxy proxy_fcgi alias headers reqtimeout && a2ensite espm".to_owned(),
                "apachectl configtest && systemctl restart apache2".to_owned(),
            ],
        ),
        (
            "redhat",
            vec![
                format!("{setup} vhost nginx {of} >/etc/nginx/conf.d/espm.conf"),
                "nginx -t && systemctl reload nginx".to_owned(),
            ],
            vec![
                format!("{setup} unit socket --group apache {of} >/etc/systemd/system/espm.socket"),
                "systemctl daemon-reload && systemctl restart espm.socket".to_owned(),
                "dnf install mod_ssl".to_owned(),
                format!("{setup} vhost apache {of} >/etc/httpd/conf.d/espm.conf"),
                "apachectl configtest && systemctl restart httpd".to_owned(),
            ],
        ),
    ] {
        let printed = place.done(&["--system", system, "--authority-user", "nobody"]);
        assert!(!printed.contains("ESPM_CONFIG"), "{printed}");
        assert_eq!(lines_under(&printed, "And one web server. nginx:"), nginx, "{printed}");
        assert_eq!(lines_under(&printed, "Apache, FastCGI:"), apache, "{printed}");
        let cgi = lines_under(&printed, "Apache, CGI, without the gate:");
        let line = format!("{setup} sudoers --cgi {of} >/etc/sudoers.d/espm");
        assert!(cgi.contains(&line.as_str()), "{line}: {printed}");
        // A reload starts no daemon of mod_cgid's.
        assert!(cgi.last().unwrap().contains(" systemctl restart "), "{printed}");
        // The CA's user reads the configuration.
        let next = lines_under(&printed, "Next, as root:");
        assert!(next.contains(&format!("usermod -aG {USER} nobody").as_str()), "{printed}");
        for name in MADE {
            let path = place.path(name);
            let _ = fs::remove_file(&path).or_else(|_| fs::remove_dir(&path));
        }
    }
}

#[test]
fn next_steps_make_missing_catalogue_and_published_directory() {
    let place = Place::new();
    let at = |name: &str| place.path(name).display().to_string();
    let (catalogue, published) = (at("etc/catalogue.ini"), at("nodes"));
    let options = ["--console-kind", "enc", "--catalogue", &catalogue, "--published", &published];
    let printed = place.done(&options);
    for part in [
        format!("install -d -o {USER} -g {USER} -m 0750 {published}"),
        format!("editor {catalogue}"),
        format!("printf '[enc]\\npublished = {published}\\n' >{0} && chmod 0644 {0}", at("etc/enc.ini")),
        format!("-c {}'\n    systemctl restart puppetserver\n", at("etc/enc.ini")),
    ] {
        assert!(printed.contains(&part), "{part}: {printed}");
    }
    // With the strictest umask, the files are readable for the users that have to read them.
    fs::write(&catalogue, "[classes]\nnames = ntp\n").unwrap();
    let made = [&at("etc/enc.ini"), &catalogue];
    let types = |line: &&str| line.starts_with("printf ") || line.starts_with("chmod ");
    let typed: Vec<_> = lines_under(&printed, "Next, as root:").into_iter().filter(types).collect();
    run(Command::new("sh").args(["-ec", &format!("umask 077; chmod 0600 {catalogue}\n{}", typed[..2].join("\n"))]));
    for path in made {
        assert_eq!(fs::metadata(path).unwrap().mode() & 0o777, 0o644, "{path}: {typed:?}");
    }
}

#[test]
fn vhost_for_kernel_without_ipv6_does_not_stop_nginx() {
    let place = Place::new();
    place.done(&["-p", "9443"]);
    let ini = place.path("etc/espm.ini").display().to_string();
    // As after ipv6.disable=1.
    let trace = place.path("trace").display().to_string();
    let without = |error: &str, words: &[&str]| {
        let mut strace = Command::new("strace");
        strace.args(["-qq", "-o", &trace, "-e", "trace=socket", "-e"]);
        strace.arg(format!("inject=socket:error=EAFNOSUPPORT{error}")).args(words).output().unwrap()
    };
    let setup = env!("CARGO_BIN_EXE_espm-setup");
    let printed = [
        run(Command::new(setup).args(["vhost", "nginx", "--config", &ini])),
        String::from_utf8(without("", &[setup, "vhost", "nginx", "--config", &ini]).stdout).unwrap(),
    ];
    let has = |text: &str| text.lines().any(|line| line.trim() == "listen [::]:9443 ssl http2;");
    assert_eq!(printed.each_ref().map(|text| has(text)), [true, false], "{printed:?}");
    for (vhost, starts) in printed.iter().zip([false, true]) {
        let at = place.path("").display().to_string();
        let vhost = vhost.replace("/var/log/nginx", &at);
        let main = format!("pid {at}/nginx.pid;\nerror_log {at}/err;\nevents {{}}\nhttp {{\n{vhost}\n}}\n");
        let conf = place.path("nginx.conf").display().to_string();
        fs::write(&conf, main).unwrap();
        let words = ["nginx", "-t", "-c", &conf, "-e", &format!("{at}/err")];
        run(Command::new("strace").args(["-qq", "-o", &trace, "-e", "trace=socket"]).args(words));
        let before = fs::read_to_string(&trace).unwrap().lines().take_while(|line| !line.contains("AF_INET6")).count();
        let tried = without(&format!(":when={}", before + 1), &words);
        let said = String::from_utf8_lossy(&tried.stderr).into_owned();
        assert_eq!(tried.status.success(), starts, "{said}");
        assert!(starts || said.contains("socket() [::]:9443 failed (97: "), "{said}");
    }
}

#[test]
fn espm_has_user_and_group_of_its_state_directory_everywhere() {
    let place = Place::new();
    run(Command::new("chown").arg("games:backup").arg(place.path("state")));
    let at = |name: &str| place.path(name).display().to_string();
    let printed = place.done(&["--console-user", "proxy", "--authority-user", "nobody", "--host", "m.example.com"]);
    assert!(printed.contains("usermod -aG backup nobody"), "{printed}");
    let ini = place.path("etc/espm.ini");
    let text = fs::read_to_string(&ini).unwrap();
    fs::write(&ini, text.replace("[console]\n", &format!("[console]\nworker = {}\n", at("work/er.sock")))).unwrap();
    let print =
        |words: &[&str]| run(Command::new(env!("CARGO_BIN_EXE_espm-setup")).args(words).arg("--config").arg(&ini));
    for (words, lines) in [
        (
            &["sudoers", "--cgi"][..],
            vec![
                "games ALL = (proxy) NOPASSWD: NOSETENV: ESPM_CONSOLE".to_owned(),
                "games ALL = (nobody) NOPASSWD: NOSETENV: ESPM_AUTHORITY".into(),
                "www-data ALL = (games) NOPASSWD: NOSETENV: ESPM_CGI".into(),
            ],
        ),
        (&["unit", "socket"], vec!["SocketUser=games".into(), "SocketGroup=www-data".into()]),
        (&["unit", "service"], vec!["User=games".into(), "Group=backup".into()]),
        (
            &["unit", "console"],
            vec![
                "User=proxy".into(),
                format!("ExecStartPre=+/usr/bin/install -d -o proxy -g backup -m 2750 {}", at("work")),
            ],
        ),
        (
            &["cgi"],
            vec![
                "exec /usr/bin/sudo -n -u games -- /opt/espm/lib/espm.cgi".into(),
                format!("[ -z \"$SUDO_USER\" ] || ESPM_CONFIG={} exec {}", ini.display(), env!("CARGO_BIN_EXE_espm")),
            ],
        ),
    ] {
        let text = print(words);
        for line in lines {
            assert!(text.lines().any(|found| found == line), "{words:?}: {line}: {text}");
        }
        assert!(!text.contains("/run/espm-console"), "{text}");
    }
}

#[test]
fn sudoers_rules_have_configured_users_and_paths() {
    let place = Place::new();
    place.done(&["--console-user", "games", "--authority-user", "puppet", "--helper", "/srv/espm-helper"]);
    let ini = place.path("etc/espm.ini").display().to_string();
    let print = |more: &[&str]| {
        let mut setup = Command::new(env!("CARGO_BIN_EXE_espm-setup"));
        let rules = run(setup.args(["sudoers", "--config", &ini]).args(more));
        fs::write(place.path("rules"), &rules).unwrap();
        run(Command::new("visudo").args(["-c", "-q", "-f"]).arg(place.path("rules")));
        rules.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).map(str::to_owned).collect::<Vec<_>>()
    };
    let plain = print(&[]);
    for line in [
        format!("Cmnd_Alias ESPM_CONSOLE = /srv/espm-helper console {ini}"),
        format!("Cmnd_Alias ESPM_AUTHORITY = /srv/espm-helper authority {ini}"),
        format!("{USER} ALL = (games) NOPASSWD: NOSETENV: ESPM_CONSOLE"),
        format!("{USER} ALL = (puppet) NOPASSWD: NOSETENV: ESPM_AUTHORITY"),
    ] {
        assert!(plain.contains(&line), "{line}: {plain:#?}");
    }
    assert!(plain.iter().all(|line| !line.contains("ESPM_CGI")), "{plain:#?}");
    let cgi = print(&["--cgi", "--system", "redhat"]);
    for line in [
        format!("apache ALL = ({USER}) NOPASSWD: NOSETENV: ESPM_CGI"),
        "Cmnd_Alias ESPM_CGI = /opt/espm/lib/espm.cgi \"\"".to_owned(),
    ] {
        assert!(cgi.contains(&line), "{line}: {cgi:#?}");
    }
    // Where a command runs as espm itself, nobody is to be become.
    let other = Place::new();
    other.done(&[]);
    let ini = other.path("etc/espm.ini").display().to_string();
    let rules = run(Command::new(env!("CARGO_BIN_EXE_espm-setup")).args(["sudoers", "--config", &ini]));
    assert!(!rules.lines().any(|line| line.starts_with(USER)), "{rules}");
}

#[test]
fn help_describes_each_option() {
    for words in [
        &[][..],
        &["vhost"],
        &["sudoers"],
        &["cgi"],
        &["unit"],
        &["client"],
        &["client", "add"],
        &["client", "retire"],
        &["client", "list"],
        &["client", "key", "add"],
        &["client", "key", "retire"],
    ] {
        let help = run(Command::new(env!("CARGO_BIN_EXE_espm-setup")).args(words).arg("--help"));
        let entries =
            help.lines().filter(|line| line.trim_start().starts_with('-') && !line.trim_start().starts_with("- "));
        let lines: Vec<&str> = help.lines().collect();
        for entry in entries {
            let at = lines.iter().position(|line| *line == entry).unwrap();
            // What an option does stands after two blanks, or on the line below.
            let said = entry.trim_start().contains("  ") || lines[at + 1].starts_with("          ");
            assert!(said, "{words:?}: {entry}\n{help}");
        }
    }
    let help = run(Command::new(env!("CARGO_BIN_EXE_espm-setup")).arg("--help"));
    for option in [
        "-d, --directory <DIR>",
        "-c, --certificates <DIR>",
        "-p, --port <PORT>",
        "--san",
        "--key-type",
        "/opt/espm/etc/certs",
        "8443",
    ] {
        assert!(help.contains(option), "{option}: {help}");
    }
}
