//! A throw-away Puppet site: a console, a CA, espm and a real web server in a temporary directory.
//!
//! Needs root: all but the web server's master process runs as www-data, whom no file of root's trusts. On an
//! installed site each part runs as the user that it has on a master.
//! `ESPM_TEST_SERVER` chooses nginx, apache or apache-cgi, `ESPM_TEST_CONSOLE` cold or warm.

mod answer;
pub mod audit;
pub mod ca_server;
pub mod certificates;
pub mod check;
pub mod concurrency;
mod fixtures;
pub mod inspection;
pub mod installed;
mod plan;
pub mod processes;
mod programs;
pub mod raw_http;
mod requests;
mod sockets;
pub mod strace;
mod web_server;
pub mod worker;

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

pub use self::answer::Answer;
pub use self::ca_server::API;
use self::ca_server::CaServer;
pub use self::inspection::without_copies;
pub use self::plan::{Plan, Server};
pub use self::programs::template;
pub use self::requests::node;
use self::sockets::{Port, Syslog};
use self::worker::Temperature;

/// How long something that must happen may take on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// The user that espm, the console and the CA run as here.
pub const USER: &str = "www-data";

/// Puppet 4 and 5 look for these directories below the home of another user than root.
pub const PUPPET_CERT: &str = "cert --confdir /etc/puppet --vardir /var/lib/puppet --codedir /etc/puppet/code \
                               --logdir /var/log/puppet --rundir /run/puppet";

pub struct Site {
    pub dir: PathBuf,
    pub port: u16,
    pub psk: String,
    /// The key of a second client, which has nothing to do with the first.
    pub other_psk: String,
    pub server: Server,
    users: Users,
    /// What holds the mounts that only an installed site's own processes see.
    namespace: Option<Child>,
    limited: bool,
    _port: Port,
    syslog: Syslog,
    children: Vec<Child>,
    gate: Option<Child>,
    pub worker: Mutex<Option<Child>>,
    ca_server: Option<CaServer>,
}

/// The user ids, or names, of a site's parts.
struct Users {
    espm: String,
    console: String,
    authority: String,
}

impl Users {
    fn of(&self, double: &str) -> &str {
        if double == "console" { &self.console } else { &self.authority }
    }
}

impl Default for Users {
    fn default() -> Self {
        Self { espm: USER.into(), console: USER.into(), authority: USER.into() }
    }
}

static NUMBER: AtomicUsize = AtomicUsize::new(0);

/// Whether tests run for minutes, to find rare failures (`tests/run --long`).
pub fn is_long() -> bool {
    std::env::var_os("ESPM_TEST_LONG").is_some_and(|on| on == "1")
}

pub fn scratch() -> PathBuf {
    let number = NUMBER.fetch_add(1, Ordering::SeqCst);
    let dir = std::env::temp_dir().join(format!("espm-test-{}-{number}", std::process::id()));
    let _ = fs::remove_dir_all(&dir);
    fs::create_dir_all(&dir).unwrap();
    fs::set_permissions(&dir, Permissions::from_mode(0o755)).unwrap();
    dir
}

/// Runs a program to its end; it must succeed.
#[track_caller]
pub fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

pub fn as_user(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--reuid", USER, "--regid", USER, "--clear-groups", "--"]).arg(program);
    command
}

#[track_caller]
pub fn wait_until(what: &str, mut ready: impl FnMut() -> bool) {
    let start = Instant::now();
    while !ready() {
        assert!(start.elapsed() < PATIENCE, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

impl Site {
    pub fn open() -> Self {
        Self::with(Plan::default())
    }

    pub fn with(plan: Plan) -> Self {
        let mut site = Self::prepare(&plan);
        if plan.console == Temperature::Warm {
            site.start_worker();
        }
        site.start_gateway();
        site.start_server();
        site
    }

    /// A site where no console is: a catalogue, and a directory to publish in.
    pub fn without_console(plan: &Plan, catalogue: &str) -> Self {
        let mut site = Self::prepare_without_console(plan, catalogue);
        site.start_gateway();
        site.start_server();
        site
    }

    /// The same set up, and nothing started.
    pub fn prepare_without_console(plan: &Plan, catalogue: &str) -> Self {
        let site = Self::prepare(plan);
        let catalogue = site.write("etc/catalogue.ini", catalogue);
        let nodes = site.dir.join("nodes");
        run(Command::new("install").args(["-d", "-o", USER, "-g", USER, "-m", "0750"]).arg(&nodes));
        let ini = fs::read_to_string(site.ini()).unwrap();
        let (before, rest) = ini.split_once("[console]").unwrap();
        let (_, after) = rest.split_once("[authority]").unwrap();
        let console = format!("kind = enc\ncatalogue = {catalogue}\npublished = {}\n", nodes.display());
        fs::write(site.ini(), format!("{before}[console]\n{console}\n[authority]{after}")).unwrap();
        let program = site.bin("espm-enc").display().to_string();
        let settings =
            format!("node_terminus = exec\nexternal_nodes = {program} -c {}/etc/enc.ini\n", site.dir.display());
        site.write("ca/puppet.conf", &settings);
        site
    }

    /// Everything set up, nothing started.
    pub fn prepare(plan: &Plan) -> Self {
        let mut site = Self::doubles(plan);
        for (name, mode) in [("etc", "0755"), ("etc/certs", "0755")] {
            run(Command::new("install").args(["-d", "-m", mode]).arg(site.dir.join(name)));
        }
        for (name, mode) in [("state", "0750"), ("records", "0700"), ("run", "2750")] {
            run(Command::new("install").args(["-d", "-o", USER, "-g", USER, "-m", mode]).arg(site.dir.join(name)));
        }
        let at = |path: &str| site.dir.join(path).display().to_string();
        let helper = format!("{}/bin/espm-helper", template().display());
        let mut words = vec!["-d".into(), at("etc"), "-c".into(), at("etc/certs"), "--state".into(), at("state")];
        words.extend(["--listen".into(), at("run/espm.sock"), "--helper".into(), helper]);
        words.extend(["--records".into(), at("records")]);
        site.set_up(plan, &words);
        site
    }

    /// A console and a CA in a new directory, and what receives the audit.
    fn doubles(plan: &Plan) -> Self {
        let dir = scratch();
        run(Command::new("cp").arg("-r").arg(fixtures::console()).arg(dir.join("console")));
        run(Command::new("cp").arg("-r").arg(fixtures::authority(plan)).arg(dir.join("ca")));
        fs::write(dir.join("console/release"), plan.release).unwrap();
        let (port, syslog) = (Port::reserve(), Syslog::listen(&dir.join("log.sock")));
        Self {
            port: port.number,
            psk: String::new(),
            other_psk: String::new(),
            server: plan.server,
            users: Users::default(),
            namespace: None,
            limited: plan.limited,
            _port: port,
            syslog,
            children: vec![],
            gate: None,
            worker: Mutex::new(None),
            ca_server: CaServer::planned(plan),
            dir,
        }
    }

    /// Gives the doubles to their users, then runs espm-setup with the words that say where things are.
    fn set_up(&mut self, plan: &Plan, words: &[String]) {
        let dir = self.dir.clone();
        let at = |path: &str| dir.join(path).display().to_string();
        let template = template().display();
        let rake =
            format!("/usr/bin/rake -f {template}/console/Rakefile RAILS_ENV=production CONSOLE={}", at("console"));
        for double in ["console", "ca"] {
            let user = self.users.of(double);
            run(self.inside("chown").args(["-R", &format!("{user}:{user}")]).arg(self.dir.join(double)));
        }
        self.start_ca_server();
        let authority = self.authority_words(plan);
        let output = self
            .inside(self.bin("espm-setup"))
            .args(["-p", &self.port.to_string(), "--host", "master.example.com", "--master", "master.example.com"])
            .args(["--console-command", &rake])
            .args(["--san", "localhost", "--san", "127.0.0.1", "--console-directory", &at("console")])
            .args(["--authority-kind", plan.authority])
            .args(authority)
            .args(["--ssldir", &at("ca/ssl"), "--cadir", &at("ca/ca"), "--syslog", &at("log.sock")])
            .args(words)
            .args(&plan.setup)
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        let printed = String::from_utf8(output.stdout).unwrap();
        self.psk = printed.lines().nth(2).unwrap().trim().to_owned();
        assert_eq!(self.psk.len(), 48, "{printed}");
        self.other_psk = self.add_client(&["other"]);
        if plan.console == Temperature::Warm {
            self.configure("console", &format!("worker = {}", at("run/worker.sock")));
        }
        if let Some(server) = &self.ca_server {
            self.configure("authority", &format!("address = 127.0.0.1:{}", server.port()));
            // Made in no time, even by a program that is not optimized.
            self.configure("authority", "key = p256");
        }
        for (section, line) in &plan.ini {
            self.configure(section, line);
        }
        // The log of rake's runs, which finding out the release has begun.
        let _ = fs::remove_file(self.dir.join("console/log"));
    }

    /// How the CA is asked, for espm-setup.
    fn authority_words(&self, plan: &Plan) -> Vec<String> {
        let part = match plan.authority {
            API => return vec![],
            "puppet-cert" => PUPPET_CERT,
            _ => "ca",
        };
        let root = self.dir.join("ca");
        let command = format!("{}/authority/puppet --root {} {part}", template().display(), root.display());
        vec!["--authority-command".into(), command]
    }

    /// Adds a client, and gives its key.
    pub fn add_client(&self, words: &[&str]) -> String {
        let mut setup = self.inside(self.bin("espm-setup"));
        let printed = run(setup.args(["client", "add"]).args(words).arg("--config").arg(self.known_ini()));
        printed.lines().nth(2).unwrap().trim().to_owned()
    }

    /// Adds a line to a section of espm.ini; a key that is there is replaced.
    pub fn configure(&self, section: &str, line: &str) {
        let path = self.ini();
        let text = fs::read_to_string(&path).unwrap();
        let key = line.split('=').next().unwrap().trim();
        let mut here = "";
        let mut edited = String::new();
        for row in text.lines() {
            if row.starts_with('[') {
                here = row;
            }
            let same = row.split('=').next().is_some_and(|name| name.trim() == key);
            if !(here == format!("[{section}]") && same) {
                edited.push_str(row);
                edited.push('\n');
            }
            if row == format!("[{section}]") && !line.is_empty() {
                edited.push_str(line);
                edited.push('\n');
            }
        }
        fs::write(&path, edited).unwrap();
    }

    pub fn ini(&self) -> PathBuf {
        self.dir.join("etc/espm.ini")
    }

    pub fn bin(&self, name: &str) -> PathBuf {
        if self.namespace.is_some() { installed::bin(name) } else { template().join("bin").join(name) }
    }

    /// espm.ini as the site's own processes know it.
    fn known_ini(&self) -> PathBuf {
        if self.namespace.is_some() { installed::INI.into() } else { self.ini() }
    }

    /// A program among the site's own processes, as root.
    pub fn inside(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        match &self.namespace {
            None => Command::new(program),
            Some(holder) => {
                let mut command = Command::new("nsenter");
                command.arg(format!("--mount=/proc/{}/ns/mnt", holder.id())).arg("--").arg(program);
                command
            }
        }
    }

    /// The same, as a user with all its groups.
    pub fn inside_as(&self, user: &str, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = self.inside("setpriv");
        command.args(["--reuid", user, "--regid", user, "--init-groups", "--"]).arg(program);
        command
    }

    /// The double of a console that answers at once.
    pub fn quick_rake(&self) -> PathBuf {
        template().join("doubles/quick-rake")
    }

    pub fn start_gateway(&mut self) {
        if self.server == Server::ApacheCgi {
            return;
        }
        let mut gate = self.inside_as(&self.users.espm, self.bin("espm"));
        gate.arg("-c").arg(self.known_ini()).stdin(Stdio::null()).stderr(self.append("gate.err"));
        self.gate = Some(gate.spawn().unwrap());
        let socket = self.dir.join("run/espm.sock");
        wait_until("the gate listens", || std::os::unix::net::UnixStream::connect(&socket).is_ok());
    }

    pub fn gateway_pid(&self) -> u32 {
        self.gate.as_ref().unwrap().id()
    }

    /// Ends the gate with a signal and waits for it.
    pub fn stop_gateway(&mut self, signal: &str) -> std::process::ExitStatus {
        let mut gate = self.gate.take().unwrap();
        run(Command::new("kill").args([signal, &gate.id().to_string()]));
        gate.wait().unwrap()
    }

    pub fn append(&self, name: &str) -> fs::File {
        open_to_append(&self.dir.join(name))
    }
}

fn open_to_append(path: &std::path::Path) -> fs::File {
    fs::OpenOptions::new().create(true).append(true).open(path).unwrap()
}

impl Drop for Site {
    fn drop(&mut self) {
        self.end_worker();
        for child in self.gate.iter_mut().chain(self.children.iter_mut()) {
            let _ = Command::new("kill").arg(child.id().to_string()).status();
            let _ = child.wait();
        }
        drop(self.ca_server.take());
        if let Some(mut holder) = self.namespace.take() {
            drop(holder.stdin.take());
            let _ = holder.wait();
        }
        if std::thread::panicking() {
            for log in
                ["gate.err", "ca/server.err", "worker.log", "server.err", "nginx.err", "apache.err", "espm.error.log"]
            {
                eprintln!("--- {log}\n{}", self.file(log));
            }
            eprintln!("--- audit\n{}", self.audit().join("\n"));
            eprintln!("--- kept in {}", self.dir.display());
        } else {
            // It answers that all is well, and loses revocations.
            assert_eq!(self.count_exchanges("PUT clean"), 0, "espm never asks for it");
            let _ = fs::remove_dir_all(&self.dir);
        }
    }
}
