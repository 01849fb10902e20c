//! Each key of espm.ini set to something plausible and wrong, on a working installation: refused by the reader, seen by
//! `espm check`, or harmless, and then the row says why.
//!
//! `espm check --nagios` is asked: it is the same check, and its exit code tells more.

use std::collections::BTreeSet;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::symlink;

use serde_json::json;

use crate::harness::check::{all_is_well, one_fault};
use crate::harness::{Plan, Server, Site, template};

/// Sites on which a key has a meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum On {
    Rake,
    Enc,
    ServerCa,
}

enum Expect {
    /// The reader refuses it, in these words.
    Refused(&'static str),
    /// A check fails, in these words.
    Seen(&'static [&'static str]),
    /// Everything works; the reason.
    Harmless(&'static str),
}

use Expect::{Harmless, Refused, Seen};
use On::{Enc, Rake, ServerCa};

const ROWS: [(On, &str, &str, Expect); 54] = [
    (
        Rake,
        "espm",
        "listen = {dir}/run/other.sock",
        Seen(&[
            "gate: [espm] listen: the gate that runs serves {dir}/run/espm.sock, not {dir}/run/other.sock; write listen = ",
        ]),
    ),
    (
        Rake,
        "espm",
        "state = /var/tmp",
        Seen(&[
            "[espm] state: /var/tmp: /var/tmp belongs to root, and espm does not run as root; name a directory of espm's own",
        ]),
    ),
    (Rake, "espm", "state = {dir}/run", Seen(&["[espm] state: {dir}/run holds nothing of espm's; name the directory"])),
    (Rake, "espm", "require_tls = no", Seen(&["settings: [espm] require_tls: no lets a key pass without TLS"])),
    (
        Rake,
        "espm",
        "request_timeout = 60",
        Seen(&[
            "[espm] request_timeout: 60 s end a command before [console] timeout does (120 s)",
            "before [authority] timeout",
        ]),
    ),
    (Rake, "espm", "helper = {bin}/espm", Seen(&["console: ", "authority: "])),
    (Rake, "espm", "sudo = /usr/bin/doas", Harmless("no section names a user, so sudo is not started")),
    (
        Rake,
        "client cloud",
        "keys = sha256:0123",
        Refused(
            "[client cloud] keys: want sha256: and 64 hexadecimal digits, with commas between keys; remove the line",
        ),
    ),
    (Rake, "client cloud", "may = list, node", Refused("[client cloud] may: want list, nodes or certificates")),
    (Rake, "client cloud", "nodes = Web*", Refused("[client cloud] nodes: want patterns with commas between them")),
    (Rake, "client cloud", "groups = default;db", Refused("[client cloud] groups: a value holds no '#' or ';'")),
    (
        Rake,
        "client cloud",
        "classes = apache ntp",
        Refused("[client cloud] classes: want patterns with commas between"),
    ),
    (
        Enc,
        "client cloud",
        "environments = pre-production",
        Refused("[client cloud] environments: want patterns with commas between them, each of letters, digits, '_'"),
    ),
    (Rake, "client cloud", "most = none", Refused("[client cloud] most: want a whole number from 0 to 1000000")),
    (
        Rake,
        "tls",
        "certificate = {dir}/etc/certs/espm.key",
        Seen(&["certificate: [tls] {dir}/etc/certs/espm.key: there is no certificate"]),
    ),
    (
        Rake,
        "tls",
        "key = {dir}/etc/certs/espm.pem",
        Seen(&["there is no private key; name the certificate's key in [tls] key"]),
    ),
    (
        Rake,
        "tls",
        "port = {free}",
        Seen(&[
            "web server: [tls] port: nothing speaks TLS at 127.0.0.1:{free} (connection refused); start the web server, or name the port",
        ]),
    ),
    (Rake, "console", "kind = enc", Refused("is for kind = rake alone, found kind = enc")),
    (Rake, "console", "command = /usr/bin/rake RAILS_ENV=production", Seen(&["console: "])),
    (
        Rake,
        "console",
        "directory = /tmp",
        Seen(&["[console] directory: all can write /tmp (mode 1777); name the console's own directory"]),
    ),
    (
        Rake,
        "console",
        "environment = name=web01",
        Seen(&["[console] environment: the console's tasks read name where a request gives none; remove name"]),
    ),
    (Rake, "console", "user = daemon", Seen(&["console: ", "sudo: "])),
    (Rake, "console", "timeout = 3600", Seen(&["end a command before [console] timeout does (3600 s)"])),
    (
        Rake,
        "console",
        "queue = 0",
        Harmless("a request that finds every slot taken is 503 at once, and its client asks again"),
    ),
    (
        Rake,
        "console",
        "queue_timeout = 0",
        Harmless("a request that finds every slot taken is 503 at once, and its client asks again"),
    ),
    (
        Rake,
        "console",
        "release = 3.0",
        Seen(&["[console] release: has the tasks of 1.2.7, configured is 3.0; write 1.2.7"]),
    ),
    (Rake, "console", "worker = {dir}/run/none.sock", Seen(&["console worker: "])),
    (Rake, "console", "concurrency = 1000", Seen(&["[console] concurrency: 1000 runs need 100000 MB"])),
    (
        Rake,
        "console",
        "cache = 3600",
        Harmless("a new class is known after an hour, or to who asks with no-cache; adding a node asks anew"),
    ),
    (Enc, "console", "kind = rake", Refused("[console] ")),
    (Enc, "console", "catalogue = {dir}/etc/espm.ini", Seen(&["console: ", "{dir}/etc/espm.ini: [espm] line "])),
    (
        Enc,
        "console",
        "published = /var/tmp",
        Seen(&["[console] published: /var/tmp is owned by user 0; name a directory of espm's own in published"]),
    ),
    (
        Enc,
        "console",
        "queue_timeout = banana",
        Refused("[console] queue_timeout: is for kind = rake alone, found kind = enc"),
    ),
    (
        Enc,
        "console",
        "queue = 0",
        Harmless("a request that finds its node worked on is 503 at once, and its client asks again"),
    ),
    (Rake, "authority", "kind = puppetserver-ca", Seen(&["authority: ", "[authority] command: "])),
    (
        ServerCa,
        "authority",
        "kind = puppet-cert",
        Seen(&["authority: ", "for Puppet 6 and newer write kind = puppetserver-ca"]),
    ),
    (
        ServerCa,
        "authority",
        "config = {dir}/none/puppet.conf",
        Seen(&["[authority] config: {dir}/none/puppet.conf does not exist; name the right path"]),
    ),
    (ServerCa, "authority", "config = {dir}/ca", Seen(&["[authority] config: {dir}/ca is not a file; name another"])),
    (
        Rake,
        "authority",
        "ssldir = {dir}/console",
        Seen(&[
            "[authority] ssldir: {dir}/console/private_keys/master.example.com.pem is not the key of the master's certificate",
            "[authority] ssldir: is {dir}/console, Puppet's is {dir}/ca/ssl; write ssldir = {dir}/ca/ssl",
        ]),
    ),
    (
        Rake,
        "authority",
        "cadir = {dir}/ca/ssl",
        Seen(&[
            "{dir}/ca/ssl/ca_crt.pem: No such file",
            "[authority] cadir: is {dir}/ca/ssl, Puppet's is {dir}/ca/ca; write cadir = {dir}/ca/ca",
        ]),
    ),
    (
        Rake,
        "authority",
        "records = {dir}/state",
        Seen(&["[authority] records: {dir}/state is not apart from {dir}/state; name a directory of its own"]),
    ),
    (
        Rake,
        "authority",
        "records = /var/tmp",
        Seen(&["[authority] records: /var/tmp is owned by user 0; name a directory of espm's own in records"]),
    ),
    (
        Rake,
        "authority",
        "master = puppet",
        Seen(&[
            "[authority] master: there is no {dir}/ca/ca/signed/puppet.pem; write the certname",
            "[authority] master: is puppet, Puppet's certname is master.example.com; write master.example.com",
        ]),
    ),
    (Rake, "authority", "command = {authority}/puppet --root {dir}/ca", Seen(&["[authority] command: "])),
    (
        ServerCa,
        "authority",
        "command = {authority}/puppet --root {dir}/ca",
        Seen(&["[authority] command: ", "start the Puppet server, or name the right command"]),
    ),
    (Rake, "authority", "directory = /tmp", Harmless("the CA's commands read nothing from it")),
    (
        Rake,
        "authority",
        "environment = RUBYLIB=/nonexistent",
        Harmless("where a command needs it, the check of the CA fails"),
    ),
    (
        Rake,
        "authority",
        "user = daemon",
        Seen(&[
            "[authority] records: {dir}/records is owned by user 33; name the right directory in records, or the right user",
        ]),
    ),
    (Rake, "authority", "timeout = 3600", Seen(&["end a command before [authority] timeout does (3600 s)"])),
    (
        Rake,
        "authority",
        "queue = 0",
        Harmless("a request that finds the CA busy is 503 at once, and its client asks again"),
    ),
    (
        Rake,
        "authority",
        "queue_timeout = 0",
        Harmless("a request that finds the CA busy is 503 at once, and its client asks again"),
    ),
    (
        Rake,
        "audit",
        "socket = {dir}/etc/espm.ini",
        Seen(&["syslog: ", "start syslog, or name its socket in [audit] socket"]),
    ),
    (
        Rake,
        "audit",
        "facility = local7",
        Harmless("each record has the program's name, by which the shipped file of rsyslog sorts"),
    ),
    (Rake, "audit", "required = no", Seen(&["settings: [audit] required: no lets changes pass that no record shows"])),
];

/// A port that nobody listens at.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

pub(super) fn open(on: On) -> Site {
    match on {
        Rake => Site::open(),
        ServerCa => Site::with(Plan { authority: "puppetserver-ca", ..Plan::default() }),
        Enc => {
            let site = Site::without_console(&Plan::default(), "[classes]\nnames = apache, ntp\n[group default]\n");
            site.write("etc/enc.ini", &format!("[enc]\npublished = {}/nodes\n", site.dir.display()));
            site
        }
    }
}

pub(super) fn nagios(site: &Site) -> (String, i32) {
    let output = site.espm(&["check", "--nagios"]);
    (String::from_utf8(output.stdout).unwrap(), output.status.code().unwrap())
}

/// No advice loosens a directory that is not espm's own.
fn is_safe(said: &str) -> bool {
    let loosens = ["chmod", "chown"].iter().flat_map(|word| said.split(word).skip(1));
    loosens.into_iter().all(|rest| !["/var/tmp", "/tmp ", "/etc "].iter().any(|path| rest.contains(path)))
}

/// True where a row's value is not wrong: without a gate no socket matters, with enough memory no number of runs is.
fn is_right_here(site: &Site, line: &str) -> bool {
    let memory = || {
        let text = fs::read_to_string("/proc/meminfo").unwrap();
        text.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1000
    };
    line.starts_with("listen") && site.server == Server::ApacheCgi
        || line.starts_with("concurrency") && memory() > 100_000
}

/// What is not as a row says.
fn judge_row(site: &Site, line: &str, expect: &Expect, fill: impl Fn(&str) -> String) -> Option<String> {
    let (said, code) = nagios(site);
    let has = |words: &[&str]| words.iter().all(|word| said.contains(&fill(word)));
    let right = is_safe(&said)
        && match expect {
            Refused(words) => code == 2 && has(&["FAIL  configuration: ", words]),
            Seen(_) if is_right_here(site, line) => code == 0,
            Seen(words) => matches!(code, 1 | 2) && has(words),
            Harmless(_) => code == 0,
        };
    if right && matches!(expect, Harmless(_)) {
        let path = "/v1/nodes/web01";
        site.post("/v1/nodes", &json!({"name": "web01", "groups": ["default"]})).expect(201);
        site.ask("POST", &format!("{path}/certificate"), None, &[]).expect(201);
        site.delete(path).expect(204);
    }
    let why = if let Harmless(why) = expect { why } else { "" };
    (!right).then(|| format!("{line} {why}: exit {code}: {said}"))
}

fn judge(on: On) {
    let site = open(on);
    let good = fs::read(site.ini()).unwrap();
    let (said, code) = nagios(&site);
    assert_eq!(code, 0, "{said}");
    let free = free_port().to_string();
    let fill = |text: &str| {
        let text = text.replace("{dir}", site.dir.to_str().unwrap()).replace("{free}", &free);
        text.replace("{bin}", template().join("bin").to_str().unwrap())
            .replace("{authority}", template().join("authority").to_str().unwrap())
    };
    let mut wrong = Vec::new();
    for (_, section, line, expect) in ROWS.iter().filter(|(of, ..)| *of == on) {
        site.configure(section, &fill(line));
        wrong.extend(judge_row(&site, line, expect, fill));
        fs::write(site.ini(), &good).unwrap();
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    let (said, code) = nagios(&site);
    assert_eq!(code, 0, "{said}");
}

#[test]
fn every_key_has_a_plausible_mistake() {
    let name = |line: &str| line.split('=').next().unwrap().trim().to_owned();
    let tried: BTreeSet<_> = ROWS.iter().map(|(_, section, line, _)| ((*section).to_owned(), name(line))).collect();
    let keys = espm::config::KEYS.iter().copied().flatten();
    let all: BTreeSet<_> = keys.map(|key| (key.section.replace("NAME", "cloud"), key.name.to_owned())).collect();
    assert_eq!(all.difference(&tried).collect::<Vec<_>>(), Vec::<&(String, String)>::new());
}

#[test]
fn each_mistake_with_a_console_is_refused_or_seen_or_harmless() {
    judge(Rake);
}

#[test]
fn each_mistake_without_a_console_is_refused_or_seen_or_harmless() {
    judge(Enc);
}

#[test]
fn each_mistake_with_puppetserver_ca_is_refused_or_seen_or_harmless() {
    judge(ServerCa);
}

#[test]
fn server_that_cannot_revoke_what_agents_renew_fails_check() {
    let site = open(ServerCa);
    let at = |path: &str| site.dir.join(path).display().to_string();
    fs::create_dir_all(at("server")).unwrap();
    for name in ["puppet", "puppetserver"] {
        symlink(template().join("authority/puppet"), at(&format!("server/{name}"))).unwrap();
    }
    let (server, root) = (at("server/puppetserver"), at("ca"));
    let is_release = |release: &str| {
        site.configure("authority", &format!("command = {server} --root {root} --flavour {release} ca"))
    };
    fs::create_dir_all(at("ca/puppetserver/conf.d")).unwrap();
    let allow = |allowed: &str| {
        let text = format!("certificate-authority: {{\n    allow-auto-renewal: {allowed}\n}}\n");
        site.write("ca/puppetserver/conf.d/ca.conf", &text)
    };
    is_release("8.2.1");
    allow("false");
    all_is_well(&site);
    let conf = allow("true");
    one_fault(
        &site,
        &[
            "FAIL  Puppet: Puppet Server 8.2.1 cannot revoke a certificate that its agent has renewed",
            &format!(
                "and {conf} line 2 allows renewals; upgrade the server to 8.2.2 or newer, or write allow-auto-renewal: false"
            ),
        ],
    );
    is_release("8.2.2");
    all_is_well(&site);
}
