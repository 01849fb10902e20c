//! A throw-away shop: a console, a CA, espm and a real web server in a temporary directory.
//!
//! Needs root: everything but the web server's master process runs as www-data, whom no file of
//! root's trusts; in an installed shop each part runs as the user that it has on a master.
//! `ESPM_TEST_SERVER` chooses nginx, apache or apache-cgi, `ESPM_TEST_CONSOLE` cold or warm.

mod answer;
pub mod installed;

use std::fs::{self, Permissions};
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use serde_json::Value;

pub use self::answer::Answer;
use self::answer::parse_answer;
use crate::worker::Temperature;

/// How long something that must happen may take on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// The user that espm, the console and the CA run as here.
pub const USER: &str = "www-data";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Server {
    Nginx,
    Apache,
    ApacheCgi,
}

impl Server {
    pub fn chosen() -> Self {
        match std::env::var("ESPM_TEST_SERVER").as_deref() {
            Ok("apache") => Self::Apache,
            Ok("apache-cgi") => Self::ApacheCgi,
            Ok("nginx") | Err(_) => Self::Nginx,
            Ok(other) => panic!("ESPM_TEST_SERVER: want nginx, apache or apache-cgi, found {other:?}"),
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Nginx => "nginx",
            Self::Apache => "apache",
            Self::ApacheCgi => "apache-cgi",
        }
    }
}

/// What a test wants to be different from the usual shop.
#[derive(Debug, Clone)]
pub struct Plan {
    pub release: &'static str,
    pub authority: &'static str,
    /// Lines for sections of espm.ini.
    pub ini: Vec<(&'static str, &'static str)>,
    pub setup: Vec<&'static str>,
    pub server: Server,
    /// Whether the web server limits how often one asks, as its vhost says.
    pub limited: bool,
    /// Whether a worker serves the console.
    pub console: Temperature,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            release: "1.2.8",
            authority: "puppet-cert",
            ini: vec![],
            setup: vec![],
            server: Server::chosen(),
            limited: false,
            console: Temperature::chosen(),
        }
    }
}

pub struct Shop {
    pub dir: PathBuf,
    pub port: u16,
    pub psk: String,
    pub server: Server,
    users: Users,
    /// What holds the mounts that only an installed shop's own processes see.
    namespace: Option<Child>,
    limited: bool,
    records: Arc<Mutex<Vec<String>>>,
    children: Vec<Child>,
    gate: Option<Child>,
    pub worker: Mutex<Option<Child>>,
}

/// The user ids, or names, of a shop's parts.
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

/// Whether tests run for as long as they need to find what is rare (`tests/run --long`).
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

/// Has a directory removed when this process is gone, however it ends: then the pipe is closed.
#[expect(clippy::zombie_processes, reason = "it outlives this process")]
fn remove_at_our_end(dir: &Path) {
    static PIPE: OnceLock<std::process::ChildStdin> = OnceLock::new();
    let mut shell = Command::new("sh");
    shell.args(["-c", "trap '' INT TERM; read -r _; exec rm -rf \"$1\"", "sh"]).arg(dir).process_group(0);
    let mut child = shell.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    PIPE.set(child.stdin.take().unwrap()).unwrap();
}

/// Runs a program to its end; it must succeed.
#[track_caller]
pub fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// The parts that every shop starts with, made once: programs and doubles that www-data can reach,
/// a seeded console, a CA.
pub fn template() -> &'static Path {
    static TEMPLATE: OnceLock<PathBuf> = OnceLock::new();
    TEMPLATE.get_or_init(|| {
        assert!(
            fs::metadata("/proc/self").map(|m| std::os::unix::fs::MetadataExt::uid(&m) == 0).unwrap_or(false),
            "these tests start web servers and change users: run them as root"
        );
        let dir = scratch();
        remove_at_our_end(&dir);
        let source = Path::new(env!("CARGO_MANIFEST_DIR"));
        fs::create_dir(dir.join("bin")).unwrap();
        for (name, path) in [
            ("espm", env!("CARGO_BIN_EXE_espm")),
            ("espm-setup", env!("CARGO_BIN_EXE_espm-setup")),
            ("espm-raise", env!("CARGO_BIN_EXE_espm-raise")),
        ] {
            let to = dir.join("bin").join(name);
            fs::hard_link(path, &to).or_else(|_| fs::copy(path, &to).map(drop)).unwrap();
        }
        run(Command::new("cp")
            .arg("-r")
            .args(["console", "authority", "doubles"].map(|part| source.join("tests").join(part)))
            .arg(&dir));
        run(Command::new("cp").arg("-r").arg(source.join("conf/console")).arg(dir.join("worker")));
        run(Command::new("chmod").args(["-R", "go+rX"]).arg(&dir));
        run(Command::new(dir.join("console/seed")).arg(dir.join("seeded")));
        for (flavour, flag) in [("puppet-cert", None), ("puppetserver-ca", Some("--intermediate"))] {
            let mut setup = Command::new(dir.join("authority/puppet"));
            run(setup.arg("--root").arg(dir.join(flavour)).arg("setup").args(flag));
            fs::create_dir_all(dir.join(flavour).join("faults")).unwrap();
        }
        dir
    })
}

pub fn as_user(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--reuid", USER, "--regid", USER, "--clear-groups", "--"]).arg(program);
    command
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[track_caller]
pub fn wait_until(what: &str, mut ready: impl FnMut() -> bool) {
    let start = Instant::now();
    while !ready() {
        assert!(start.elapsed() < PATIENCE, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

impl Shop {
    pub fn open() -> Self {
        Self::with(Plan::default())
    }

    pub fn with(plan: Plan) -> Self {
        let mut shop = Self::prepare(&plan);
        if plan.console == Temperature::Warm {
            shop.start_worker();
        }
        shop.start_gate();
        shop.start_server();
        shop
    }

    /// A shop where no console is: a catalogue, and a directory to publish in.
    pub fn without_console(plan: &Plan, catalogue: &str) -> Self {
        let mut shop = Self::prepare(plan);
        let catalogue = shop.write("etc/catalogue.ini", catalogue);
        let nodes = shop.dir.join("nodes");
        run(Command::new("install").args(["-d", "-o", USER, "-g", USER, "-m", "0755"]).arg(&nodes));
        let ini = fs::read_to_string(shop.ini()).unwrap();
        let (before, rest) = ini.split_once("[console]").unwrap();
        let (_, after) = rest.split_once("[authority]").unwrap();
        let console = format!("kind = enc\ncatalogue = {catalogue}\npublished = {}\n", nodes.display());
        fs::write(shop.ini(), format!("{before}[console]\n{console}\n[authority]{after}")).unwrap();
        shop.start_gate();
        shop.start_server();
        shop
    }

    /// Everything set up, nothing started.
    pub fn prepare(plan: &Plan) -> Self {
        let mut shop = Self::doubles(plan);
        for (name, mode) in [("etc", "0755"), ("etc/certs", "0755")] {
            run(Command::new("install").args(["-d", "-m", mode]).arg(shop.dir.join(name)));
        }
        for (name, mode) in [("state", "0750"), ("records", "0700"), ("run", "2750")] {
            run(Command::new("install").args(["-d", "-o", USER, "-g", USER, "-m", mode]).arg(shop.dir.join(name)));
        }
        let at = |path: &str| shop.dir.join(path).display().to_string();
        let raise = format!("{}/bin/espm-raise", template().display());
        let mut words = vec!["-d".into(), at("etc"), "-c".into(), at("etc/certs"), "--state".into(), at("state")];
        words.extend(["--listen".into(), at("run/espm.sock"), "--raise".into(), raise]);
        words.extend(["--records".into(), at("records")]);
        shop.set_up(plan, &words);
        shop
    }

    /// A console and a CA in a new directory, and what receives the audit.
    fn doubles(plan: &Plan) -> Self {
        let (dir, template) = (scratch(), template());
        run(Command::new("cp").arg("-r").arg(template.join("seeded")).arg(dir.join("console")));
        run(Command::new("cp").arg("-r").arg(template.join(plan.authority)).arg(dir.join("ca")));
        fs::write(dir.join("console/release"), plan.release).unwrap();
        let records = receive_syslog(&dir.join("log.sock"));
        Self {
            port: free_port(),
            psk: String::new(),
            server: plan.server,
            users: Users::default(),
            namespace: None,
            limited: plan.limited,
            records,
            children: vec![],
            gate: None,
            worker: Mutex::new(None),
            dir,
        }
    }

    /// Runs espm-setup with the words that say where things are, then gives the doubles to their users.
    fn set_up(&mut self, plan: &Plan, words: &[String]) {
        let at = |path: &str| self.dir.join(path).display().to_string();
        let template = template().display();
        let rake =
            format!("/usr/bin/rake -f {template}/console/Rakefile RAILS_ENV=production CONSOLE={}", at("console"));
        let part = if plan.authority == "puppet-cert" { "cert" } else { "ca" };
        let puppet = format!("{template}/authority/puppet --root {} {part}", at("ca"));
        let output = self
            .inside(self.bin("espm-setup"))
            .args(["-p", &self.port.to_string(), "--host", "master.example.com", "--console-command", &rake])
            .args(["--san", "localhost", "--san", "127.0.0.1", "--console-directory", &at("console")])
            .args(["--authority-kind", plan.authority, "--authority-command", &puppet])
            .args(["--ssldir", &at("ca/ssl"), "--cadir", &at("ca/ca"), "--syslog", &at("log.sock")])
            .args(words)
            .args(&plan.setup)
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        let printed = String::from_utf8(output.stdout).unwrap();
        self.psk = printed.lines().nth(2).unwrap().trim().to_owned();
        assert_eq!(self.psk.len(), 48, "{printed}");
        if plan.console == Temperature::Warm {
            self.configure("console", &format!("worker = {}", at("run/worker.sock")));
        }
        for (section, line) in &plan.ini {
            self.configure(section, line);
        }
        // The log of rake's runs, which finding out the release has begun.
        let _ = fs::remove_file(self.dir.join("console/log"));
        for double in ["console", "ca"] {
            let user = self.users.of(double);
            run(self.inside("chown").args(["-R", &format!("{user}:{user}")]).arg(self.dir.join(double)));
        }
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

    /// espm.ini as the shop's own processes know it.
    fn known_ini(&self) -> PathBuf {
        if self.namespace.is_some() { installed::INI.into() } else { self.ini() }
    }

    /// A program among the shop's own processes, as root.
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

    pub fn start_gate(&mut self) {
        if self.server == Server::ApacheCgi {
            return;
        }
        let mut gate = self.inside_as(&self.users.espm, self.bin("espm"));
        gate.arg("-c").arg(self.known_ini()).stdin(Stdio::null()).stderr(self.append("gate.err"));
        self.gate = Some(gate.spawn().unwrap());
        let socket = self.dir.join("run/espm.sock");
        wait_until("the gate listens", || std::os::unix::net::UnixStream::connect(&socket).is_ok());
    }

    pub fn gate_pid(&self) -> u32 {
        self.gate.as_ref().unwrap().id()
    }

    /// Ends the gate with a signal and waits for it.
    pub fn stop_gate(&mut self, signal: &str) -> std::process::ExitStatus {
        let mut gate = self.gate.take().unwrap();
        run(Command::new("kill").args([signal, &gate.id().to_string()]));
        gate.wait().unwrap()
    }

    pub fn append(&self, name: &str) -> fs::File {
        fs::OpenOptions::new().create(true).append(true).open(self.dir.join(name)).unwrap()
    }

    /// The vhost that espm-setup prints, its logs and its program moved into this shop.
    pub fn vhost(&self) -> String {
        let printed = run(self
            .inside(self.bin("espm-setup"))
            .args(["vhost", self.server.word(), "--config"])
            .arg(self.known_ini()));
        let dir = self.dir.display().to_string();
        let printed = printed
            .replace("/var/log/nginx", &dir)
            .replace("/var/log/apache2", &dir)
            .replace("${APACHE_LOG_DIR}", &dir);
        if self.namespace.is_some() { printed } else { printed.replace("/opt/espm/lib", &dir) }
    }

    pub fn start_server(&mut self) {
        let dir = self.dir.display().to_string();
        // Tests ask faster than a provisioning system does; the limit has a test of its own.
        let mut vhost = self.vhost();
        if !self.limited {
            vhost = vhost.replace("rate=20r/s", "rate=10000r/s").replace("burst=40 ", "burst=10000 ");
        } else if self.server == Server::ApacheCgi {
            // A loaded machine starts fewer CGI programs than the limit of a second.
            vhost = vhost.replace("Count 60", "Count 10");
        }
        fs::write(self.dir.join("vhost.conf"), vhost).unwrap();
        let mut server = match self.server {
            Server::Nginx => {
                let temps = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
                    .map(|name| format!("{name}_temp_path {dir}/nginx-{name};"))
                    .join("\n");
                let main = format!(
                    "user {USER};\npid {dir}/nginx.pid;\ndaemon off;\nworker_processes 2;\nworker_rlimit_nofile 65536;\nerror_log {dir}/nginx.err;\n\
                     events {{ worker_connections 4096; }}\nhttp {{\n{temps}\ninclude {dir}/vhost.conf;\n}}\n"
                );
                fs::write(self.dir.join("nginx.conf"), main).unwrap();
                let mut nginx = self.inside("nginx");
                nginx.arg("-c").arg(self.dir.join("nginx.conf")).args(["-e", &format!("{dir}/nginx.err")]);
                nginx
            }
            Server::Apache | Server::ApacheCgi => {
                if self.server == Server::ApacheCgi && self.namespace.is_none() {
                    self.install_cgi();
                }
                fs::write(self.dir.join("apache.conf"), self.apache_main()).unwrap();
                let mut apache = self.inside("apache2");
                apache.arg("-f").arg(self.dir.join("apache.conf")).arg("-DFOREGROUND");
                apache
            }
        };
        let log = self.append("server.err");
        server.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        self.children.push(server.spawn().unwrap());
        let port = self.port;
        wait_until("the web server listens", || TcpStream::connect(("127.0.0.1", port)).is_ok());
    }

    fn apache_main(&self) -> String {
        let dir = self.dir.display().to_string();
        let modules = [
            "mpm_event",
            "authz_core",
            "ssl",
            "proxy",
            "proxy_fcgi",
            "headers",
            "reqtimeout",
            "setenvif",
            "env",
            "alias",
            "cgid",
            "socache_shmcb",
        ];
        let load: String = modules
            .iter()
            .map(|name| format!("LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so\n"))
            .collect();
        let evasive =
            if self.limited { "LoadModule evasive20_module /usr/lib/apache2/modules/mod_evasive20.so\n" } else { "" };
        format!(
            "ServerRoot {dir}\nServerName localhost\nPidFile {dir}/apache.pid\nDefaultRuntimeDir {dir}\n\
             Mutex file:{dir} default\nErrorLog {dir}/apache.err\nUser {USER}\nGroup {USER}\n{load}{evasive}\
             <IfModule cgid_module>\nScriptSock {dir}/cgid.sock\n</IfModule>\n\
             ServerLimit 8\nThreadsPerChild 64\nMaxRequestWorkers 512\nServerTokens Prod\nInclude {dir}/vhost.conf\n"
        )
    }

    /// The CGI script without sudo: here the web server's user is espm's.
    fn install_cgi(&self) {
        let script = format!("#!/bin/sh\nESPM_CONFIG={} exec {}\n", self.ini().display(), self.bin("espm").display());
        let path = self.dir.join("espm.cgi");
        fs::write(&path, script).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
    }

    // Asking.

    /// Asks with exactly these curl options, given on its standard input so that none is in an argv.
    pub fn curl(&self, path: &str, options: &[String]) -> Answer {
        let mut curl = Command::new("curl");
        curl.args(["-sS", "-i", "--http1.1", "--path-as-is", "--max-time", "120", "-K", "-"])
            .arg("--cacert")
            .arg(self.dir.join("etc/certs/espm.pem"));
        let mut config = format!("url = \"https://localhost:{}{path}\"\n", self.port);
        for option in options {
            config.push_str(option);
            config.push('\n');
        }
        let mut child = curl.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(config.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        parse_answer(&output)
    }

    fn options(&self, method: &str, body: Option<&str>, headers: &[&str]) -> Vec<String> {
        let quote =
            |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n").replace('\r', "\\r");
        let mut options = vec![];
        match method {
            "HEAD" => options.push("head".to_owned()),
            _ => options.push(format!("request = \"{method}\"")),
        }
        if !headers.iter().any(|header| header.to_ascii_lowercase().starts_with("x-espm-psk")) {
            options.push(format!("header = \"X-ESPM-PSK: {}\"", self.psk));
        }
        if let Some(body) = body {
            options.push(format!("data-binary = \"{}\"", quote(body)));
            if !headers.iter().any(|header| header.to_ascii_lowercase().starts_with("content-type")) {
                options.push("header = \"Content-Type: application/json\"".to_owned());
            }
        }
        options.extend(headers.iter().map(|header| format!("header = \"{}\"", quote(header))));
        options
    }

    pub fn ask(&self, method: &str, path: &str, body: Option<&str>, headers: &[&str]) -> Answer {
        self.curl(path, &self.options(method, body, headers))
    }

    pub fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, None, &[])
    }

    pub fn delete(&self, path: &str) -> Answer {
        self.ask("DELETE", path, None, &[])
    }

    pub fn post(&self, path: &str, body: &Value) -> Answer {
        self.ask("POST", path, Some(&body.to_string()), &[])
    }

    pub fn patch(&self, path: &str, body: &Value) -> Answer {
        self.ask("PATCH", path, Some(&body.to_string()), &[])
    }

    /// Adds a node with a group, a class and a parameter.
    #[track_caller]
    pub fn add(&self, name: &str) -> Answer {
        let answer = self.post(
            "/v1/nodes",
            &serde_json::json!({"name": name, "groups": ["default"], "classes": ["ntp"], "parameters": {"role": "web"}}),
        );
        answer.expect(201);
        answer
    }

    /// Sends bytes over TLS as they are; what comes back until the server closes.
    pub fn raw(&self, bytes: &[u8]) -> Vec<u8> {
        let mut client = Command::new("openssl");
        client.args(["s_client", "-quiet", "-connect", &format!("127.0.0.1:{}", self.port)]);
        let mut child = client.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let bytes = bytes.to_vec();
        let writer = std::thread::spawn(move || {
            // A server that has heard enough closes early.
            let _ = stdin.write_all(&bytes);
            stdin
        });
        let output = child.wait_with_output().unwrap();
        drop(writer.join());
        output.stdout
    }

    /// The status of the answer to raw bytes, if there is an answer.
    pub fn raw_status(&self, bytes: &[u8]) -> Option<u16> {
        let answer = self.raw(bytes);
        let text = String::from_utf8_lossy(&answer);
        text.split_whitespace().nth(1).and_then(|status| status.parse().ok())
    }

    // Looking.

    /// What is in the console.
    pub fn console(&self) -> Value {
        let shown = run(Command::new(template().join("console/show")).arg(self.dir.join("console")));
        serde_json::from_str(&shown).unwrap()
    }

    pub fn node_in_console(&self, name: &str) -> Value {
        self.console()["nodes"][name].clone()
    }

    /// The runs of a double, each with argv and environment.
    pub fn runs(&self, double: &str) -> Vec<Value> {
        let log = fs::read_to_string(self.dir.join(double).join("log")).unwrap_or_default();
        let lines = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        lines.filter(|line| line.get("argv").is_some()).collect()
    }

    /// How many runs of a double had this word.
    pub fn count(&self, double: &str, word: &str) -> usize {
        let has = |run: &&Value| run["argv"].as_array().unwrap().iter().any(|argument| argument == word);
        self.runs(double).iter().filter(has).count()
    }

    pub fn fault(&self, double: &str, name: &str, content: &str) {
        let path = self.dir.join(double).join("faults").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        run(self.inside("chown").args(["-R", self.users.of(double)]).arg(path.parent().unwrap()));
    }

    pub fn no_faults(&self, double: &str) {
        let _ = fs::remove_dir_all(self.dir.join(double).join("faults"));
        fs::create_dir(self.dir.join(double).join("faults")).unwrap();
    }

    /// Runs rake as a human would.
    pub fn rake(&self, words: &[&str]) {
        run(self
            .inside_as(&self.users.console, "/usr/bin/rake")
            .args(["-s", "-f"])
            .arg(template().join("console/Rakefile"))
            .args(["RAILS_ENV=production", &format!("CONSOLE={}", self.dir.join("console").display())])
            .args(words)
            .current_dir(&self.dir));
    }

    /// Runs `puppet cert` or `puppetserver ca` as a human would.
    pub fn puppet(&self, words: &[&str]) {
        run(self
            .inside_as(&self.users.authority, template().join("authority/puppet"))
            .arg("--root")
            .arg(self.dir.join("ca"))
            .args(words));
    }

    /// Runs espm at the shell.
    pub fn desk(&self, words: &[&str]) -> Output {
        self.inside(self.bin("espm")).arg("-c").arg(self.known_ini()).args(words).output().unwrap()
    }

    /// The audit records so far.
    pub fn audit(&self) -> Vec<String> {
        self.records.lock().unwrap().clone()
    }

    /// The audit records of an answer's request.
    pub fn records_of(&self, answer: &Answer) -> Vec<String> {
        let id = format!("request={}", answer.header("x-request-id"));
        assert!(id.len() > 20, "{answer:?}");
        let of = || self.audit().into_iter().filter(|record| record.contains(&id)).collect::<Vec<_>>();
        wait_until("the result is in the audit", || of().iter().any(|record| record.contains("took_ms=")));
        of()
    }

    pub fn file(&self, name: &str) -> String {
        fs::read_to_string(self.dir.join(name)).unwrap_or_default()
    }

    pub fn write(&self, name: &str, content: &str) -> String {
        let path = self.dir.join(name);
        fs::write(&path, content).unwrap();
        path.display().to_string()
    }
}

fn receive_syslog(path: &Path) -> Arc<Mutex<Vec<String>>> {
    let socket = UnixDatagram::bind(path).unwrap();
    fs::set_permissions(path, Permissions::from_mode(0o666)).unwrap();
    let records = Arc::new(Mutex::new(Vec::new()));
    let received = Arc::clone(&records);
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(length) = socket.recv(&mut buffer) {
            let record = String::from_utf8_lossy(&buffer[..length]).into_owned();
            received.lock().unwrap().push(record);
        }
    });
    records
}

impl Drop for Shop {
    fn drop(&mut self) {
        self.end_worker();
        for child in self.gate.iter_mut().chain(self.children.iter_mut()) {
            let _ = Command::new("kill").arg(child.id().to_string()).status();
            let _ = child.wait();
        }
        if let Some(mut holder) = self.namespace.take() {
            drop(holder.stdin.take());
            let _ = holder.wait();
        }
        if std::thread::panicking() {
            for log in ["gate.err", "worker.log", "server.err", "nginx.err", "apache.err", "espm.error.log"] {
                eprintln!("--- {log}\n{}", self.file(log));
            }
            eprintln!("--- audit\n{}", self.audit().join("\n"));
            eprintln!("--- kept in {}", self.dir.display());
        } else {
            let _ = fs::remove_dir_all(&self.dir);
        }
    }
}
