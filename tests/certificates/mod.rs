//! Certificates: the answer describes them, none is lost or left behind, and none of others is touched.
//! openssl says here what is true of a certificate, not espm.

mod api_server;
mod asked_facts;
mod bodies;
mod by_api;
mod command_faults;
mod earlier_records;
mod made_by_hand;
mod odd_authorities;
mod other_cas;
mod renewals;
mod trusted_facts;

/// Behind each web server (tests/run).
mod every_server {
    mod lifecycle;
}

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::harness::certificates::{openssl, serial, valid, x509};
use crate::harness::{API, Answer, Plan, Site};

const NAME: &str = "web01.example.com";
const CERT: Kind = Kind("puppet-cert");
const CA: Kind = Kind("puppetserver-ca");
const BY_API: Kind = Kind(API);
const ALL: [Kind; 3] = [CERT, CA, BY_API];

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Kind(&'static str);

impl Kind {
    fn site(self) -> Site {
        Site::with(Plan { authority: self.0, ..Plan::default() })
    }

    /// A site with our node.
    fn with_node(self) -> Site {
        let site = self.site();
        site.add(NAME);
        site
    }

    /// How often the CA was asked to make a certificate.
    fn generated(self, site: &Site) -> usize {
        if self == BY_API {
            site.count_exchanges("PUT certificate_status signed")
        } else {
            site.count("ca", "generate")
        }
    }

    /// How often the CA was asked to revoke.
    fn revoked(self, site: &Site) -> usize {
        if self == BY_API { site.count_exchanges("PUT certificate_status revoked") } else { site.count("ca", "revoke") }
    }

    /// A human at the shell.
    fn human(self, site: &Site, verb: &str, name: &str) {
        match self {
            CERT => site.puppet(&["cert", verb, name]),
            _ => site.puppet(&["ca", verb, &format!("--certname={name}")]),
        }
    }
}

fn path(name: &str) -> String {
    format!("/v1/nodes/{name}/certificate")
}

fn generate(site: &Site, name: &str) -> Answer {
    site.ask("POST", &path(name), None, &[])
}

/// That an answer holds a certificate of that name with its key and its CA, and describes it.
#[track_caller]
fn assert_whole(site: &Site, answer: &Answer, name: &str) -> Value {
    let json = answer.json();
    let members: BTreeSet<_> = json.as_object().unwrap().keys().map(String::as_str).collect();
    let wanted =
        ["ca_certificate", "certificate", "certname", "fingerprint", "not_after", "private_key", "serial"].into();
    assert_eq!(members, wanted);
    let text = |member: &str| json[member].as_str().unwrap();
    let certificate = text("certificate");
    assert_eq!(text("certname"), name);
    assert_eq!(x509(certificate, &["-subject", "-nameopt", "RFC2253"]), format!("CN={name}"));
    assert_eq!(
        openssl(&["x509", "-noout", "-pubkey"], certificate),
        openssl(&["pkey", "-pubout"], text("private_key"))
    );
    let bundle = site.write("bundle.pem", text("ca_certificate"));
    assert_eq!(openssl(&["verify", "-CAfile", &bundle], certificate), "stdin: OK");
    assert_eq!(text("serial"), x509(certificate, &["-serial"]));
    assert_eq!(text("fingerprint"), x509(certificate, &["-fingerprint", "-sha256"]));
    assert_eq!(text("not_after"), x509(certificate, &["-enddate", "-dateopt", "iso_8601"]).replace(' ', "T"));
    json
}

fn walk(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
}

/// The files of a name in the CA and in our records.
fn files(site: &Site, name: &str) -> BTreeSet<String> {
    let files = walk(&site.dir.join("ca")).into_iter().chain(walk(&site.dir.join("records")));
    let relative = files.map(|path| path.strip_prefix(&site.dir).unwrap().display().to_string());
    relative.filter(|path| path.contains(name)).collect()
}

fn contents(site: &Site, name: &str) -> Vec<String> {
    files(site, name).iter().map(|path| site.file(path)).collect()
}

/// That our node has a certificate now, and the CA has no other valid one that it made for us.
#[track_caller]
fn assert_made(site: &Site, answer: &Answer) {
    assert_whole(site, answer, NAME);
    assert_eq!(valid(site), [serial(answer)].into());
}

/// Lets the CA's command, or its server, be another Puppet's.
fn flavour(site: &Site, flavour: &str) {
    if site.has_ca_server() {
        site.write("ca/flavour", flavour);
        return;
    }
    let ini = fs::read_to_string(site.ini()).unwrap();
    let command = ini.lines().find(|line| line.starts_with("command") && line.contains("/authority/puppet ")).unwrap();
    site.configure("authority", &command.replace(" --root", &format!(" --flavour {flavour} --root")));
}

/// What the log says about the cause of a failure.
fn cause(site: &Site, answer: &Answer) -> String {
    site.records_of(answer).into_iter().find(|record| record.contains("outcome=cause")).unwrap_or_default()
}
