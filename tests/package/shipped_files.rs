//! Files that a package installs: the system's own programs accept them as they are.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use crate::harness::{Site, run, scratch, wait_until};

/// What `systemd-analyze security` may say at most, in tenths: sudo keeps the sandbox open. See the unit's comments.
const EXPOSURE: &str = "65";

fn shipped(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("conf").join(name)
}

fn read(name: &str) -> String {
    fs::read_to_string(shipped(name)).unwrap()
}

/// What espm-setup prints of a site's configuration; a package has the same with its own places.
pub(super) fn printed(site: &Site, words: &[&str]) -> String {
    run(Command::new(site.bin("espm-setup")).args(words).arg("--config").arg(site.ini()))
}

/// The units in a directory, with a program that is there.
fn units() -> PathBuf {
    let (dir, site) = (scratch(), Site::prepare(&crate::harness::Plan::default()));
    for kind in ["socket", "service"] {
        fs::write(dir.join(format!("espm.{kind}")), printed(&site, &["unit", kind])).unwrap();
    }
    dir
}

pub(super) fn analyze(words: &[&str], units: &[PathBuf]) -> Output {
    Command::new("systemd-analyze").args(words).args(units).env("SYSTEMD_COLORS", "0").output().unwrap()
}

#[test]
fn systemd_accepts_units_and_their_exposure() {
    let dir = units();
    let (socket, service) = (dir.join("espm.socket"), dir.join("espm.service"));
    let verified = analyze(&["verify", "--man=no"], &[socket, service.clone()]);
    assert!(verified.status.success() && verified.stderr.is_empty(), "{verified:?}");
    let threshold = format!("--threshold={EXPOSURE}");
    let scored = analyze(&["security", "--offline=true", "--no-pager", &threshold], std::slice::from_ref(&service));
    assert!(scored.status.success(), "{}", String::from_utf8_lossy(&scored.stdout));
    let _ = fs::remove_dir_all(dir);
}

#[test]
fn systemd_accepts_units_that_publish_and_closes_their_sandbox() {
    let dir = scratch();
    let site = Site::prepare_without_console(&crate::harness::Plan::default(), "[classes]\nnames = ntp\n");
    let unit = |kind: &str, file: &str| {
        let path = dir.join(file);
        fs::write(&path, printed(&site, &["unit", kind])).unwrap();
        path
    };
    let (path, service) = (unit("publish-path", "espm-publish.path"), unit("publish", "espm-publish.service"));
    let watched = format!("PathChanged={}", site.dir.join("etc/catalogue.ini").display());
    assert!(fs::read_to_string(&path).unwrap().lines().any(|line| line == watched));
    let writes = format!("ReadWritePaths={} {}", site.dir.join("state").display(), site.dir.join("nodes").display());
    assert!(fs::read_to_string(&service).unwrap().lines().any(|line| line == writes));
    let verified = analyze(&["verify", "--man=no"], &[path, service.clone()]);
    assert!(verified.status.success() && verified.stderr.is_empty(), "{verified:?}");
    let scored = analyze(&["security", "--offline=true", "--no-pager", "--threshold=20"], &[service]);
    assert!(scored.status.success(), "{}", String::from_utf8_lossy(&scored.stdout));
    let _ = fs::remove_dir_all(dir);
}

#[test]
fn stop_or_death_of_gateway_kills_no_command() {
    // The gate itself waits request_timeout and 15 s; systemd waits longer.
    let site =
        Site::prepare(&crate::harness::Plan { ini: vec![("espm", "request_timeout = 77")], ..Default::default() });
    let printed = printed(&site, &["unit", "service"]);
    for line in ["KillMode=process", "OOMPolicy=continue", "Restart=on-failure", "StartLimitIntervalSec=0"] {
        assert!(printed.lines().any(|found| found == line), "{line}");
    }
    let stop = printed.lines().find_map(|line| line.strip_prefix("TimeoutStopSec=")).unwrap();
    assert!(stop.parse::<u64>().unwrap() > 77 + 15, "{printed}");
    let start = format!("ExecStart={} -c {}", site.bin("espm").display(), site.ini().display());
    assert!(printed.lines().any(|line| line == start), "{printed}");
}

#[test]
fn socket_unit_of_red_hat_differs_in_group_alone() {
    let site = Site::prepare(&crate::harness::Plan::default());
    let lines = |system: &str| {
        let text = printed(&site, &["unit", "socket", "--system", system]);
        text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect::<Vec<_>>()
    };
    let (debian, red_hat) = (lines("debian"), lines("redhat"));
    let different: Vec<_> = debian.iter().zip(&red_hat).filter(|(one, other)| one != other).collect();
    assert_eq!(debian.len(), red_hat.len());
    assert_eq!(different, [(&"SocketGroup=www-data".to_owned(), &"SocketGroup=nginx".to_owned())]);
}

#[test]
fn removal_is_refused_while_puppet_conf_names_espm_enc() {
    let root = scratch();
    let removal = || Command::new(shipped("in-use")).env("DPKG_ROOT", &root).output().unwrap();
    assert!(removal().status.success(), "there is no Puppet");
    for conf in ["etc/puppetlabs/puppet/puppet.conf", "etc/puppet/puppet.conf"] {
        let path = root.join(conf);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        for line in [
            "external_nodes = /usr/bin/espm-enc",
            "  external_nodes=/bin/espm-enc -c /srv/enc.ini",
            "external_nodes\t= \"/usr/bin/espm-enc\"",
        ] {
            fs::write(&path, format!("[main]\nserver = x\n[server]\nnode_terminus = exec\n{line}\n")).unwrap();
            let refused = removal();
            let said = String::from_utf8(refused.stderr).unwrap();
            assert!(refused.status.code() == Some(1) && said.contains(&format!("{} names espm-enc", path.display())));
            // What it says is typed.
            let typed = said.lines().find_map(|line| line.strip_prefix("    sed ")).unwrap();
            run(Command::new("sh").args(["-c", &format!("sed {typed}")]));
            assert_eq!(fs::read_to_string(&path).unwrap(), "[main]\nserver = x\n[server]\n");
            assert!(removal().status.success());
        }
        for line in
            ["# external_nodes = /usr/bin/espm-enc", "external_nodes = /opt/espm/bin/espm-enc", "external_nodes = /c"]
        {
            fs::write(&path, format!("[server]\n{line}\n")).unwrap();
            assert!(removal().status.success(), "{line}");
        }
    }
    // And the service that is here.
    fs::write(root.join("etc/puppet/puppet.conf"), "external_nodes = /usr/bin/espm-enc\n").unwrap();
    for (unit, typed) in [
        ("none", "puppetserver"),
        ("lib/systemd/system/puppet-master.service", "puppet-master"),
        ("etc/systemd/system/puppetserver.service", "puppetserver"),
    ] {
        let unit = root.join(unit);
        fs::create_dir_all(unit.parent().unwrap()).unwrap();
        fs::write(&unit, "").unwrap();
        let said = String::from_utf8(removal().stderr).unwrap();
        assert!(said.contains(&format!("\n    systemctl restart {typed}\n")), "{said}");
    }
    // Both packages ask it before anything else is done, and not while they are upgraded.
    assert!(read("debian/prerm").contains("if [ \"$1\" = remove ]; then\n    /usr/libexec/espm/in-use\n"));
    assert!(read("rpm/preun").contains("\n[ \"$1\" -ne 0 ] || /usr/libexec/espm/in-use || exit 1\n"));
    let _ = fs::remove_dir_all(root);
}

#[test]
fn apparmor_accepts_profile() {
    // -Q: it is read and compiled, and not loaded; this needs nothing of the kernel.
    let parsed = Command::new("apparmor_parser").args(["-Q", "-K"]).arg(shipped("apparmor/usr.sbin.espm")).output();
    let parsed = parsed.unwrap();
    assert!(parsed.status.success(), "{parsed:?}");
}

#[test]
fn nginx_snippet_has_lines_of_vhost() {
    let site = Site::prepare(&crate::harness::Plan::default());
    let vhost = printed(&site, &["vhost", "nginx"]);
    let known: Vec<&str> = vhost.lines().map(str::trim).collect();
    let snippet = printed(&site, &["vhost", "nginx-snippet"]);
    let (_, body) = snippet.split_once("\nlocation ").unwrap();
    for line in body.lines().skip(1).map(str::trim).filter(|line| !line.starts_with('#')) {
        assert!(known.contains(&line), "{line}");
    }
    for line in vhost.lines().map(str::trim).filter(|line| line.starts_with("fastcgi_")) {
        assert!(body.lines().any(|found| found.trim() == line), "{line}");
    }
}

/// A real rsyslogd with the shipped drop-in, its log in a directory of its own.
struct Rsyslog {
    daemon: Child,
    dir: PathBuf,
}

impl Rsyslog {
    fn start() -> Self {
        let dir = scratch();
        let at = dir.display();
        let drop_in = read("rsyslog/espm.conf").replace("/var/log/espm.log", &format!("{at}/espm.log"));
        let main = format!(
            "module(load=\"imuxsock\" SysSock.Use=\"off\")\n\
             input(type=\"imuxsock\" Socket=\"{at}/log.sock\" CreatePath=\"off\")\n\
             $FileOwner root\n$FileGroup adm\n$FileCreateMode 0640\n$Umask 0022\n{drop_in}\n\
             authpriv.* {at}/auth.log\n"
        );
        fs::write(dir.join("rsyslog.conf"), main).unwrap();
        let daemon = Command::new("rsyslogd")
            .args(["-n", "-f"])
            .arg(dir.join("rsyslog.conf"))
            .arg("-i")
            .arg(dir.join("rsyslogd.pid"))
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let socket = dir.join("log.sock");
        wait_until("rsyslogd listens", || socket.exists());
        run(Command::new("chmod").arg("0666").arg(&socket));
        Self { daemon, dir }
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.dir.join(name)).unwrap_or_default()
    }

    /// Rotates with the shipped file, as the daily job does when the week is over.
    fn rotate(&self) {
        let signal = format!("kill -HUP {}", self.daemon.id());
        let text = read("logrotate/espm")
            .replace("/var/log/espm.log", &self.dir.join("espm.log").display().to_string())
            .replace("/usr/lib/rsyslog/rsyslog-rotate\n", &format!("{signal}\n"))
            .replace("/usr/bin/systemctl kill -s HUP rsyslog.service", &signal);
        let path = self.dir.join("logrotate.conf");
        fs::write(&path, text).unwrap();
        run(Command::new("chmod").arg("0644").arg(&path));
        let mut rotate = Command::new("logrotate");
        let rotated = rotate.arg("-f").arg("-s").arg(self.dir.join("logrotate.state")).arg(&path).output().unwrap();
        assert!(rotated.status.success() && rotated.stderr.is_empty(), "{rotated:?}");
        // Until it has heard the signal it writes to the old file.
        let old = self.dir.join("espm.log.1");
        wait_until("rsyslogd has closed the old file", || {
            let open = fs::read_dir(format!("/proc/{}/fd", self.daemon.id())).unwrap();
            !open.filter_map(Result::ok).any(|entry| fs::read_link(entry.path()).is_ok_and(|file| file == old))
        });
    }
}

impl Drop for Rsyslog {
    fn drop(&mut self) {
        let _ = run(Command::new("kill").arg(self.daemon.id().to_string()));
        let _ = self.daemon.wait();
        let _ = fs::remove_dir_all(&self.dir);
    }
}

#[test]
fn audit_records_arrive_whole_in_rotated_file_of_rsyslog() {
    let rsyslog = Rsyslog::start();
    let site = Site::open();
    site.configure("audit", &format!("socket = {}", rsyslog.dir.join("log.sock").display()));
    let of = |answer: &crate::harness::Answer, name: &str| {
        let id = format!("request={}", answer.header("x-request-id"));
        let lines =
            || rsyslog.read(name).lines().filter(|line| line.contains(&id)).map(str::to_owned).collect::<Vec<_>>();
        wait_until("both records arrive", || lines().len() == 2);
        lines()
    };
    let answer = site.add("web01");
    for line in of(&answer, "espm.log") {
        assert!(line.contains(" espm[") && line.contains("event=node.add outcome="), "{line}");
    }
    assert!(rsyslog.read("espm.log").lines().any(|line| line.contains("outcome=created") && line.contains("took_ms=")));
    let mode = fs::metadata(rsyslog.dir.join("espm.log")).unwrap();
    assert_eq!((mode.uid(), mode.mode() & 0o777), (0, 0o640));
    // The longest record there is.
    let log = |tag: &str, text: &str| {
        let socket = rsyslog.dir.join("log.sock");
        run(Command::new("logger").args(["-p", "authpriv.info", "-i", "-t", tag, "-u"]).arg(socket).args(["--", text]));
    };
    let longest = format!("event=test note={}", "x".repeat(900 - "event=test note=".len()));
    log("espm", &longest);
    let whole = || rsyslog.read("espm.log").lines().any(|line| line.ends_with(&longest));
    wait_until("900 bytes arrive", whole);
    // Other programs' records are not in it; sudo's are in the system's own.
    log("sudo", "not espm");
    wait_until("the other record arrives", || rsyslog.read("auth.log").contains("not espm"));
    assert!(!rsyslog.read("espm.log").contains("not espm"));

    let before = rsyslog.read("espm.log");
    rsyslog.rotate();
    let answer = site.delete("/v1/nodes/web01");
    answer.expect(204);
    assert_eq!(of(&answer, "espm.log").len(), 2);
    assert_eq!(rsyslog.read("espm.log.1"), before);
    log("espm", &longest);
    wait_until("900 bytes arrive", whole);
    assert!(!rsyslog.read("espm.log").contains("event=node.add"), "the new file begins empty");
}

#[test]
fn purge_leaves_what_others_have_put_there_and_it_is_roots() {
    let dir = scratch();
    let at = dir.display().to_string();
    for name in [
        "etc/espm/certs",
        "var/lib/espm/state/locks",
        "var/lib/espm/nodes",
        "var/lib/espm/metrics",
        "var/lib/systemd/timers",
        "var/backups/espm",
        "run/espm",
        "run/espm-console",
    ] {
        fs::create_dir_all(dir.join(name)).unwrap();
    }
    let made = [
        "etc/espm/espm.ini",
        "etc/espm/certs/espm.key",
        "var/lib/espm/state/ledger.sqlite",
        "var/lib/espm/metrics/espm.prom",
        "var/lib/systemd/timers/stamp-espm-backup.timer",
        "var/backups/espm/ledger-2026-11-27T030000Z.sqlite",
    ];
    for name in made.iter().chain(&["var/lib/espm/state/unsent.lock", "var/lib/espm/state/locks/x", "etc/espm/theirs"])
    {
        fs::write(dir.join(name), "").unwrap();
    }
    run(Command::new("chown").args(["-R", "4711:4711"]).arg(&dir));
    let script =
        read("debian/postrm").replace(" /etc/", &format!(" {at}/etc/")).replace("\"/etc/", &format!("\"{at}/etc/"));
    let script = ["/var/lib/espm", "/run/espm", "/var/backups/espm", "/var/lib/systemd"]
        .iter()
        .fold(script, |script, path| script.replace(path, &format!("{at}{path}")));
    // No user of that name is here, and the logs of this machine stay.
    let script =
        script.replace("getent ", "false ").replace("/var/log/", &format!("{at}/")).replace("/var/lib/apache2", &at);
    run(Command::new("sh").args(["-ec", &script, "postrm", "purge"]));
    let left = run(Command::new("find").arg(&dir).args(["-mindepth", "1", "-printf", "%P %U:%G\n"]));
    let mut left: Vec<_> = left.lines().filter(|line| line.contains("espm")).collect();
    left.sort_unstable();
    let backup = "var/backups/espm/ledger-2026-11-27T030000Z.sqlite 0:0";
    assert_eq!(left, ["etc/espm 0:0", "etc/espm/theirs 0:0", "var/backups/espm 0:0", backup]);
    let _ = fs::remove_dir_all(dir);
}

#[test]
fn removal_of_rpm_stops_every_unit_that_can_run() {
    let script = read("rpm/preun");
    let (_, stops) = script.split_once("disable --now").unwrap();
    for unit in fs::read_dir(shipped("templates")).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap())
    {
        if [".service", ".socket", ".path", ".timer"].iter().any(|kind| unit.ends_with(kind)) {
            assert!(stops.contains(&unit), "{unit}: {stops}");
        }
    }
}
