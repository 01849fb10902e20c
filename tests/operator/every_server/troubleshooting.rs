//! Each fault of docs/troubleshoot.md's table is caused, and its message is the one of the table.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::harness::{API, Plan, Server, Site, USER, as_user, run, wait_until};

/// A message of the table, the web server that alone says it, and what makes somebody say it.
type Fault = (&'static str, Option<Server>, fn(&mut Site) -> String);

const FAULTS: [Fault; 39] = [
    ("these directories are missing; make them first:", None, |site| set_up(site, "nowhere")),
    ("nothing is overwritten; these exist already:", None, |site| set_up(site, "etc")),
    ("[console] command: there is no ", None, |site| set_up_anew(site, USER, &[])),
    ("the master's certname is not known", None, |site| set_up_anew(site, USER, &PROGRAMS)),
    ("belongs to root, and espm does not run as root", None, |site| set_up_anew(site, "root", &PROGRAMS)),
    ("espm.ini: No such file or directory", None, |site| {
        said(Command::new(site.bin("espm")).arg("-c").arg(site.dir.join("espm.ini")).arg("check"))
    }),
    ("espm.ini: Permission denied", None, |site| {
        fs::set_permissions(site.ini(), Permissions::from_mode(0o640)).unwrap();
        said(
            Command::new("setpriv")
                .args(["--reuid=65534", "--clear-groups"])
                .arg(site.bin("espm"))
                .arg("-c")
                .arg(site.ini())
                .arg("nodes"),
        )
    }),
    ("espm.ini: Permission denied; add the console's user to the file's group: usermod -aG", None, |site| {
        fs::set_permissions(site.ini(), Permissions::from_mode(0o640)).unwrap();
        let rake = site.worker_command(&[]);
        let mut as_nobody = Command::new("setpriv");
        as_nobody.args(["--reuid=65534", "--clear-groups"]).args(rake.get_args().skip_while(|word| *word != "--"));
        said(as_nobody.env("LANG", "C.UTF-8"))
    }),
    ("Permission denied (os error 13); add the Puppet server's user to the group of ...: usermod -aG", None, |site| {
        classify(site, 33)
    }),
    ("Permission denied (os error 13); ... belongs to root's group; give it that of its owner: chown", None, |site| {
        classify(site, 0)
    }),
    ("started with SIGCHLD ignored, so children cannot be reaped", None, |site| {
        let mut ignoring = as_user("env");
        ignoring.arg("--ignore-signal=CHLD").arg(site.bin("espm")).arg("-c").arg(site.ini());
        said(&mut ignoring)
    }),
    ("[psk] line ...: each client has a section now", None, |site| {
        let text = fs::read_to_string(site.ini()).unwrap();
        fs::write(site.ini(), text.replace("[client cloud]\nkeys", "[psk]\ncloud")).unwrap();
        check(site)
    }),
    ("[espm] listen: ...: another gate listens there; stop it first", None, |site| {
        site.configure("espm", &format!("listen = {}/other.sock", site.dir.join("run").display()));
        let mut first = gate(site).spawn().unwrap();
        let socket = site.dir.join("run/other.sock");
        wait_until("the first gate listens", || std::os::unix::net::UnixStream::connect(&socket).is_ok());
        let said = said(&mut gate(site));
        run(Command::new("kill").arg(first.id().to_string()));
        first.wait().unwrap();
        said
    }),
    ("[espm] listen: ...; make its directory: install -d -o espm", None, |site| {
        site.configure("espm", "listen = /nonexistent/espm.sock");
        said(&mut gate(site))
    }),
    ("[espm] listen: ...; name a path whose directory is espm's", None, |site| {
        site.configure("espm", "listen = /etc/espm.sock");
        said(&mut gate(site))
    }),
    ("[console] command: ... does not exist; name the right path, or create it", None, |site| {
        check_with(site, "console", "command = /nonexistent/rake")
    }),
    ("rake failed: ", None, |site| check_with(site, "console", "command = /usr/bin/rake -f /nonexistent/Rakefile")),
    ("sudo: ...; /etc/sudoers.d/espm must allow it", None, |site| check_with(site, "console", "user = nobody")),
    ("[authority] cadir: ... does not exist; name the right path, or create it", None, |site| {
        check_with(site, "authority", "cadir = /nonexistent")
    }),
    ("[authority] address: the Puppet server cannot be reached at", None, |_| {
        by_the_api(|site| site.ca_server().stop("-TERM"))
    }),
    ("has no subject alternative name ...; write kind = puppetserver-ca", None, |_| {
        by_the_api(|site| site.fault("ca", "served_by", "no_san"))
    }),
    ("the Puppet server does not let the master's certificate sign", None, |_| {
        by_the_api(|site| site.fault("ca", "answer_status", "403 Forbidden request: /puppet-ca/v1/ (method :get)."))
    }),
    ("FAIL  authority: ", None, |site| {
        let signed = site.dir.join("ca/ca/signed");
        give(&signed, 0, 0o700);
        let said = check(site);
        give(&signed, 33, 0o755);
        said
    }),
    ("[espm] state: ... holds nothing of espm's", None, |site| {
        check_with(site, "espm", &format!("state = {}", site.dir.join("run").display()))
    }),
    ("[tls] port: nothing speaks TLS at", None, |site| check_with(site, "tls", "port = 1")),
    ("; start syslog, or name its socket in [audit] socket", None, |site| {
        check_with(site, "audit", "socket = /nonexistent")
    }),
    (": is valid only from ... on, now is ...; set the clock", None, |site| certificate(site, 86_400, 86_400 * 90)),
    (": ended at ...; set the clock, or renew it: espm-setup certificate renew", None, |site| {
        certificate(site, -86_400, -3600)
    }),
    ("does not belong to ...; put the right one there", None, |site| {
        certificate(site, -60, 86_400 * 90);
        let (mine, other) = (site.dir.join("etc/certs/espm.key"), site.dir.join("made.key"));
        assert!(other.exists());
        check_with(
            site,
            "tls",
            &format!("certificate = {}\nkey = {}", site.dir.join("made.pem").display(), mine.display()),
        )
    }),
    ("socket() [::]:... failed (97: Address family not supported by protocol)", Some(Server::Nginx), |site| {
        without_ipv6(site)
    }),
    ("(98: Address already in use)", Some(Server::Nginx), |site| {
        said(Command::new("nginx").arg("-c").arg(site.dir.join("nginx.conf")).args([
            "-e",
            "stderr",
            "-g",
            "error_log stderr;",
        ])) + &site.file("nginx.err")
    }),
    ("(98)Address already in use", Some(Server::Apache), |site| {
        let mut second = Command::new("apache2");
        second.arg("-f").arg(site.dir.join("apache.conf")).arg("-DFOREGROUND");
        // With the first one's file for its process id it would take itself for the first one.
        said(second.args(["-c", &format!("PidFile {}/second.pid", site.dir.display())])) + &site.file("apache.err")
    }),
    ("failed (13: Permission denied) while connecting to upstream", Some(Server::Nginx), no_right_to_the_socket),
    ("(13)Permission denied: ", Some(Server::Apache), no_right_to_the_socket),
    ("The plain HTTP request was sent to HTTPS port", Some(Server::Nginx), plain),
    ("speaking plain HTTP to an SSL-enabled server port", Some(Server::Apache), plain),
    ("\"status\":401", None, |site| site.ask("GET", "/v1/classes", None, &["X-ESPM-PSK: wrong"]).body),
    ("SSL certificate problem", None, |site| {
        said(Command::new("curl").arg("-sS").arg(format!("https://localhost:{}/v1/health", site.port)))
    }),
    ("no alternative certificate subject name matches", None, |site| {
        let (name, port) = ("other.example.com", site.port);
        said(
            Command::new("curl")
                .args([
                    "-sS",
                    "--resolve",
                    &format!("{name}:{port}:127.0.0.1"),
                    &format!("https://{name}:{port}/v1/health"),
                ])
                .arg("--cacert")
                .arg(site.dir.join("etc/certs/espm.pem")),
        )
    }),
];

fn give(path: &Path, owner: u32, mode: u32) {
    chown(path, Some(owner), None).unwrap();
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

fn said(command: &mut Command) -> String {
    let Output { status, stdout, stderr } = command.stdin(Stdio::null()).output().unwrap();
    assert!(!status.success(), "{command:?}");
    format!("{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr))
}

fn gate(site: &Site) -> Command {
    let mut gate = as_user(site.bin("espm"));
    gate.arg("-c").arg(site.ini()).stdin(Stdio::null());
    gate
}

fn check(site: &Site) -> String {
    said(Command::new(site.bin("espm")).arg("-c").arg(site.ini()).arg("check"))
}

fn check_with(site: &Site, section: &str, lines: &str) -> String {
    lines.lines().for_each(|line| site.configure(section, line));
    check(site)
}

fn set_up(site: &Site, directory: &str) -> String {
    let at = |name: &str| site.dir.join(name);
    let mut setup = Command::new(site.bin("espm-setup"));
    setup.arg("-d").arg(at(directory)).arg("-c").arg(at("etc/certs"));
    said(setup.arg("--state").arg(at("state")).arg("--records").arg(at("records")))
}

/// What nobody's espm-enc says where the published nodes belong to www-data and a group.
fn classify(site: &Site, group: u32) -> String {
    let nodes = site.dir.join("nodes");
    fs::create_dir_all(&nodes).unwrap();
    chown(&nodes, Some(33), Some(group)).unwrap();
    fs::set_permissions(&nodes, Permissions::from_mode(0o750)).unwrap();
    let enc = site.write("etc/enc.ini", &format!("[enc]\npublished = {}\n", nodes.display()));
    let mut as_nobody = Command::new("setpriv");
    as_nobody.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(site.bin("espm-enc"));
    said(as_nobody.args(["-c", &enc, "web01"]))
}

/// A check of a site that asks the CA's HTTP API, whose server has a fault.
fn by_the_api(fault: fn(&mut Site)) -> String {
    let mut site = Site::with(Plan { authority: API, ..Plan::default() });
    fault(&mut site);
    check(&site)
}

/// A console and a CA that are here, but say nothing.
const PROGRAMS: [&str; 6] =
    ["--console-command", "/bin/true", "--console-directory", "/", "--authority-command", "/bin/true cert"];

fn set_up_anew(site: &Site, owner: &str, words: &[&str]) -> String {
    let at = |name: &str| site.dir.join("anew").join(name);
    run(Command::new("install").args(["-d", "-o", owner]).arg(at("state")).arg(at("etc")));
    let mut setup = Command::new(site.bin("espm-setup"));
    setup.arg("-d").arg(at("etc")).arg("-c").arg(at("etc")).args(words);
    said(setup.arg("--state").arg(at("state")).arg("--records").arg(at("state")))
}

/// Tries the site's nginx as on a kernel without IPv6.
fn without_ipv6(site: &Site) -> String {
    let nginx = |injected: &str| {
        let mut strace = Command::new("strace");
        strace
            .args(["-qq", "-e", "trace=socket", "-e", injected, "nginx", "-t", "-c"])
            .arg(site.dir.join("nginx.conf"));
        strace.arg("-e").arg(site.dir.join("nginx.err"));
        String::from_utf8(strace.output().unwrap().stderr).unwrap()
    };
    let calls = nginx("signal=none");
    let sockets = calls.lines().filter(|line| line.starts_with("socket("));
    let before = sockets.take_while(|line| !line.contains("AF_INET6")).count();
    nginx(&format!("inject=socket:error=EAFNOSUPPORT:when={}", before + 1))
}

/// Checks with a certificate that is valid between these times, in seconds from now.
fn certificate(site: &Site, from: i64, to: i64) -> String {
    let script = "key = OpenSSL::PKey::EC.generate('prime256v1'); made = OpenSSL::X509::Certificate.new; made.version = 2; \
                  made.serial = 1; made.subject = made.issuer = OpenSSL::X509::Name.parse('/CN=master.example.com'); \
                  made.public_key = key; made.not_before = Time.now + ARGV[1].to_i; made.not_after = Time.now + ARGV[2].to_i; \
                  made.sign(key, 'SHA256'); File.write(ARGV[0] + '.pem', made.to_pem); File.write(ARGV[0] + '.key', key.to_pem, perm: 0600)";
    let made = site.dir.join("made");
    run(Command::new("ruby").args(["-ropenssl", "-e", script]).arg(&made).args([from.to_string(), to.to_string()]));
    for (key, extension) in [("certificate", "pem"), ("key", "key")] {
        site.configure("tls", &format!("{key} = {}.{extension}", made.display()));
    }
    let output = Command::new(site.bin("espm")).arg("-c").arg(site.ini()).arg("check").output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

fn no_right_to_the_socket(site: &mut Site) -> String {
    let socket = site.dir.join("run/espm.sock");
    chown(&socket, Some(0), Some(0)).unwrap();
    assert_eq!(site.get("/v1/health").expect(503).problem(), "unavailable");
    chown(&socket, Some(33), Some(33)).unwrap();
    site.get("/v1/health").expect(200);
    ["nginx.err", "apache.err", "espm.error.log"].map(|name| site.file(name)).concat()
}

fn plain(site: &mut Site) -> String {
    let before = site.audit().len();
    let answer = run(Command::new("curl").args(["-sS", "-i", &format!("http://localhost:{}/v1/classes", site.port)]));
    assert!(answer.contains(" 400 ") && site.audit().len() == before, "{answer}");
    answer
}

/// The messages of the page's table, in its order.
fn table() -> Vec<String> {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/troubleshoot.md")).unwrap();
    let section = page.split("\n## The first run\n").nth(1).unwrap();
    let rows = section.lines().take_while(|line| !line.starts_with('#')).filter_map(|line| line.strip_prefix("| `"));
    rows.map(|row| row.split('`').next().unwrap().to_owned()).collect()
}

#[test]
fn each_fault_of_readme_table_prints_its_message() {
    assert_eq!(table(), FAULTS.map(|(message, ..)| message));
    let mut site = Site::open();
    let ini = fs::read(site.ini()).unwrap();
    for (message, server, cause) in FAULTS {
        if server.is_some_and(|server| server != site.server) {
            continue; // another web server's message, which another run of this test causes
        }
        let said = cause(&mut site);
        let mut rest = said.as_str();
        for part in message.split("...") {
            let (_, after) = rest.split_once(part).unwrap_or_else(|| panic!("{message}: {part:?} is not in {said}"));
            rest = after;
        }
        fs::write(site.ini(), &ini).unwrap();
    }
    site.get("/v1/classes").expect(200);
}
