//! Each key of espm.ini set to something plausible and wrong, on a working installation: refused by the reader, seen by
//! `espm check`, or harmless, and then the row says why.
//!
//! `espm check --nagios` is asked: it is the same check, and its exit code tells more.

mod rows;

use std::collections::BTreeSet;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::symlink;

use serde_json::json;

use self::rows::ROWS;
use crate::harness::check::{all_is_well, one_fault};
use crate::harness::{Plan, Server, Site, template};

/// Sites on which a key has a meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum On {
    Rake,
    Enc,
    ServerCa,
    Api,
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
use On::{Api, Enc, Rake, ServerCa};

/// A port that nobody listens at.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

pub(super) fn open(on: On) -> Site {
    match on {
        Rake => Site::open(),
        ServerCa => Site::with(Plan { authority: "puppetserver-ca", ..Plan::default() }),
        Api => Site::with(Plan { authority: "puppet-ca-api", ..Plan::default() }),
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
fn each_mistake_with_the_api_of_the_ca_is_refused_or_seen_or_harmless() {
    judge(Api);
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
