//! Certificates: that they are what the answer says, that none is lost or left behind, and that no
//! other's is touched. What is true of a certificate, openssl says here, not espm.
use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Barrier;

use serde_json::{Value, json};

use crate::shop::{Answer, Plan, Shop};

mod faults;
mod humans;

const NAME: &str = "web01.example.com";
const CERT: Kind = Kind("puppet-cert");
const CA: Kind = Kind("puppetserver-ca");

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Kind(&'static str);

impl Kind {
    fn shop(self) -> Shop {
        Shop::with(Plan { authority: self.0, ..Plan::default() })
    }

    /// A shop with our node.
    fn with_node(self) -> Shop {
        let shop = self.shop();
        shop.add(NAME);
        shop
    }

    /// A human at the shell.
    fn human(self, shop: &Shop, verb: &str, name: &str) {
        match self {
            CERT => shop.puppet(&["cert", verb, name]),
            _ => shop.puppet(&["ca", verb, &format!("--certname={name}")]),
        }
    }
}

fn path(name: &str) -> String {
    format!("/v1/nodes/{name}/certificate")
}

fn generate(shop: &Shop, name: &str) -> Answer {
    shop.ask("POST", &path(name), None, &[])
}

fn openssl(arguments: &[&str], input: &str) -> String {
    let mut command = Command::new("openssl");
    let mut child = command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "openssl {arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
}

fn x509(certificate: &str, options: &[&str]) -> String {
    let printed = openssl(&[&["x509", "-noout"], options].concat(), certificate);
    printed.split_once('=').map_or(printed.clone(), |(_, value)| value.to_owned())
}

/// That an answer holds a certificate of that name with its key and its CA, and describes it.
#[track_caller]
fn assert_whole(shop: &Shop, answer: &Answer, name: &str) -> Value {
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
    let bundle = shop.write("bundle.pem", text("ca_certificate"));
    assert_eq!(openssl(&["verify", "-CAfile", &bundle], certificate), "stdin: OK");
    assert_eq!(text("serial"), x509(certificate, &["-serial"]));
    assert_eq!(text("fingerprint"), x509(certificate, &["-fingerprint", "-sha256"]));
    assert_eq!(text("not_after"), x509(certificate, &["-enddate", "-dateopt", "iso_8601"]).replace(' ', "T"));
    json
}

/// The serial numbers in the revocation list of the CA that signs; any other list is empty.
fn revoked(shop: &Shop) -> BTreeSet<String> {
    let bundle = shop.file("ca/ca/ca_crt.pem");
    let own = openssl(&["x509", "-noout", "-subject"], &bundle).replace("subject=", "issuer=");
    let lists = shop.file("ca/ca/ca_crl.pem");
    let mut serials = None;
    for list in lists.split_inclusive("-----END X509 CRL-----\n") {
        let text = openssl(&["crl", "-noout", "-text"], list);
        let numbers = text.lines().filter_map(|line| line.trim().strip_prefix("Serial Number: ")).map(str::to_owned);
        if openssl(&["crl", "-noout", "-issuer"], list) == own {
            assert!(serials.replace(numbers.collect()).is_none(), "two lists of one CA");
        } else {
            assert_eq!(numbers.count(), 0, "{text}");
        }
    }
    serials.unwrap()
}

/// The serial numbers of everything that the CA ever signed, but the master's, and has not revoked.
pub fn valid(shop: &Shop) -> BTreeSet<String> {
    let revoked = revoked(shop);
    let inventory = shop.file("ca/ca/inventory.txt");
    let of_nodes = inventory.lines().filter(|line| !line.ends_with("/CN=master.example.com"));
    // In whole bytes, as openssl prints it.
    let serial = |line: &str| {
        let number = u32::from_str_radix(line[2..].split(' ').next().unwrap(), 16).unwrap();
        let digits = format!("{number:X}");
        if digits.len() % 2 == 0 { digits } else { format!("0{digits}") }
    };
    of_nodes.map(serial).filter(|serial| !revoked.contains(serial)).collect()
}

pub fn serial(answer: &Answer) -> String {
    answer.json()["serial"].as_str().unwrap().to_owned()
}

fn walk(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
}

/// The files of a name in the CA and in our records.
fn files(shop: &Shop, name: &str) -> BTreeSet<String> {
    let files = walk(&shop.dir.join("ca")).into_iter().chain(walk(&shop.dir.join("records")));
    let relative = files.map(|path| path.strip_prefix(&shop.dir).unwrap().display().to_string());
    relative.filter(|path| path.contains(name)).collect()
}

fn contents(shop: &Shop, name: &str) -> Vec<String> {
    files(shop, name).iter().map(|path| shop.file(path)).collect()
}

/// That our node has a certificate now, and the CA has no other valid one that it made for us.
#[track_caller]
fn assert_made(shop: &Shop, answer: &Answer) {
    assert_whole(shop, answer, NAME);
    assert_eq!(valid(shop), [serial(answer)].into());
}

#[test]
fn a_new_certificate_fits_its_name_its_key_and_its_ca() {
    for kind in [CERT, CA] {
        let shop = kind.with_node();
        shop.get(&path(NAME)).expect(404);
        let made = generate(&shop, NAME);
        made.expect(201);
        let json = assert_whole(&shop, &made, NAME);
        let authorities = json["ca_certificate"].as_str().unwrap().matches("BEGIN CERTIFICATE").count();
        assert_eq!(authorities, if kind == CERT { 1 } else { 2 });
        assert_eq!(generate(&shop, NAME).expect(200).body, made.body, "asked again, it is the same");
        assert_eq!(shop.count("ca", "generate"), 1);
        let shown = shop.get(&path(NAME));
        let mut without_key = json;
        without_key.as_object_mut().unwrap().remove("private_key");
        assert_eq!(shown.expect(200).json(), without_key);
    }
}

#[test]
fn a_certificate_whose_key_is_gone_can_be_revoked_and_made_again() {
    for kind in [CERT, CA] {
        let shop = kind.with_node();
        let first = generate(&shop, NAME);
        let key = shop.dir.join(format!("ca/ssl/private_keys/{NAME}.pem"));
        fs::remove_file(&key).unwrap();
        assert_eq!(generate(&shop, NAME).expect(409).problem(), "key-gone");
        assert!(shop.unfinished().is_empty());
        shop.get(&path(NAME)).expect(200);
        shop.delete(&path(NAME)).expect(204);
        let second = generate(&shop, NAME);
        assert_made(&shop, second.expect(201));
        assert_eq!(revoked(&shop), [serial(&first)].into());
        // A key that is another's is as good as none.
        fs::copy(shop.dir.join("ca/ssl/private_keys/master.example.com.pem"), &key).unwrap();
        assert_eq!(generate(&shop, NAME).expect(409).problem(), "key-gone");
        shop.delete(&path(NAME)).expect(204);
        assert_made(&shop, generate(&shop, NAME).expect(201));
    }
}

#[test]
fn a_revoked_certificate_is_in_its_issuers_list_and_nobody_elses() {
    for kind in [CERT, CA] {
        let shop = kind.with_node();
        shop.delete(&path(NAME)).expect(404);
        let made = generate(&shop, NAME);
        assert_eq!(revoked(&shop), [].into());
        shop.delete(&path(NAME)).expect(204);
        assert_eq!(revoked(&shop), [serial(&made)].into());
        let commands = shop.runs("ca").len();
        shop.delete(&path(NAME)).expect(204);
        shop.get(&path(NAME)).expect(404);
        assert_eq!(shop.runs("ca").len(), commands, "what is revoked is not revoked again");
    }
}

#[test]
fn a_node_is_deleted_only_after_its_certificate_is_revoked_and_its_name_is_free_then() {
    for kind in [CERT, CA] {
        let shop = kind.with_node();
        let first = generate(&shop, NAME);
        let places = ["ca/ca/signed", "ca/ssl/certs", "ca/ssl/private_keys", "ca/ssl/public_keys"];
        let mut there: BTreeSet<_> = places.map(|place| format!("{place}/{NAME}.pem")).into();
        there.insert(format!("records/{NAME}.json"));
        assert_eq!(files(&shop, NAME), there);
        shop.fault("ca", "no_crl", "");
        let node = format!("/v1/nodes/{NAME}");
        assert_eq!(shop.delete(&node).expect(502).problem(), "command-failed");
        assert!(!shop.node_in_console(NAME).is_null());
        shop.get(&node).expect(200);
        shop.no_faults("ca");
        shop.delete(&node).expect(204);
        assert!(shop.node_in_console(NAME).is_null());
        assert_eq!(revoked(&shop), [serial(&first)].into());
        assert_eq!(files(&shop, NAME), [].into());
        shop.add(NAME);
        shop.get(&path(NAME)).expect(404);
        assert_made(&shop, generate(&shop, NAME).expect(201));
    }
}

#[test]
fn a_node_that_somebody_deleted_or_forgot_leaves_no_valid_certificate_to_its_successor() {
    for kind in [CERT, CA] {
        let shop = kind.with_node();
        let deleted = generate(&shop, NAME);
        shop.rake(&["node:del", &format!("name={NAME}")]);
        shop.patch(&format!("/v1/nodes/{NAME}"), &json!({"groups": []})).expect(404);
        assert_eq!(revoked(&shop), [serial(&deleted)].into());
        shop.add(NAME);
        let forgotten = generate(&shop, NAME);
        assert!(shop.desk(&["forget", NAME]).status.success());
        assert!(shop.desk(&["adopt", NAME]).status.success());
        let new = generate(&shop, NAME);
        assert_made(&shop, new.expect(201));
        assert_eq!(revoked(&shop), [serial(&deleted), serial(&forgotten)].into());
        assert!(shop.desk(&["forget", NAME]).status.success());
        assert!(shop.desk(&["adopt", NAME]).status.success());
        shop.delete(&format!("/v1/nodes/{NAME}")).expect(204);
        assert_eq!(valid(&shop), [].into());
    }
}

#[test]
fn no_name_is_ever_taken_as_a_pattern() {
    let shop = CERT.shop();
    let (ours, like_it) = ("web.example.com", "webxexample.com");
    CERT.human(&shop, "generate", like_it);
    let others = valid(&shop);
    assert_eq!(others.len(), 1);
    shop.add(ours);
    shop.delete(&path(ours)).expect(404);
    shop.delete(&format!("/v1/nodes/{ours}")).expect(204);
    assert_eq!(shop.count("ca", "revoke"), 0);
    // The same when ours has lost the file by which the command would have found it.
    for again in [false, true] {
        shop.add(ours);
        let made = generate(&shop, ours);
        fs::remove_file(shop.dir.join(format!("ca/ca/signed/{ours}.pem"))).unwrap();
        shop.get(&path(ours)).expect(404);
        if again {
            assert_ne!(serial(generate(&shop, ours).expect(201)), serial(&made));
        }
        shop.delete(&format!("/v1/nodes/{ours}")).expect(204);
        assert!(revoked(&shop).contains(&serial(&made)));
        assert_eq!(valid(&shop), others);
    }
}

#[test]
fn a_certificate_that_is_not_ours_is_as_absent_as_one_that_never_was() {
    for kind in [CERT, CA] {
        let shop = kind.shop();
        kind.human(&shop, "generate", "foreign.example.com");
        assert!(!shop.node_in_console("foreign.example.com").is_null());
        let (commands, crl) = (shop.runs("ca").len(), shop.file("ca/ca/ca_crl.pem"));
        let mut answers = BTreeSet::new();
        for name in ["foreign.example.com", "master.example.com", "absent.example.com", "ca", "0x0003", "Upper"] {
            for method in ["POST", "GET", "DELETE"] {
                let mut answer = shop.ask(method, &path(name), None, &[]);
                assert_eq!(answer.expect(404).problem(), "not-found");
                // How Apache frames a CGI program's answer depends on when the program ends.
                let chance = ["x-request-id", "date", "content-length", "transfer-encoding"];
                answer.headers.retain(|header, _| !chance.contains(&header.as_str()));
                answers.insert(format!("{answer:?}"));
            }
        }
        assert_eq!(answers.len(), 1, "{answers:#?}");
        assert_eq!((shop.runs("ca").len(), shop.file("ca/ca/ca_crl.pem")), (commands, crl));
    }
}

#[test]
fn two_requests_for_one_certificate_make_one() {
    for kind in [CERT, CA] {
        let shop = kind.with_node();
        let start = Barrier::new(2);
        let ask = || {
            start.wait();
            generate(&shop, NAME)
        };
        let (one, two) = std::thread::scope(|scope| {
            let (one, two) = (scope.spawn(ask), scope.spawn(ask));
            (one.join().unwrap(), two.join().unwrap())
        });
        let (first, second) = if one.status == 201 { (one, two) } else { (two, one) };
        assert_made(&shop, first.expect(201));
        match second.status {
            200 => assert_eq!(second.body, first.body),
            _ => assert_eq!(second.expect(503).problem(), "busy"),
        }
        assert_eq!(shop.count("ca", "generate"), 1);
    }
}

#[test]
fn the_ca_does_one_thing_at_a_time() {
    for kind in [CERT, CA] {
        let shop = kind.shop();
        let names: Vec<_> = (0..10).map(|number| format!("node{number}.example.com")).collect();
        let all = |ask: &(dyn Fn(&str) -> Answer + Sync)| -> Vec<Answer> {
            std::thread::scope(|scope| {
                let threads: Vec<_> = names.iter().map(|name| scope.spawn(move || ask(name))).collect();
                threads.into_iter().map(|thread| thread.join().unwrap()).collect()
            })
        };
        all(&|name| shop.add(name));
        let start = Barrier::new(names.len());
        let made = all(&|name| {
            start.wait();
            generate(&shop, name)
        });
        for answer in &made {
            answer.expect(201);
        }
        for (name, answer) in names.iter().zip(&made) {
            assert_whole(&shop, answer, name);
        }
        assert_eq!(valid(&shop), made.iter().map(serial).collect());
        assert_eq!(valid(&shop).len(), names.len());
        let log = shop.file("ca/log");
        let ends: Vec<_> = log.lines().map(|line| line.contains("\"end\":true")).collect();
        assert_eq!(ends, [false, true].repeat(names.len()), "{log}");
    }
}

#[test]
fn a_private_key_is_in_its_answer_and_nowhere_else_and_the_ca_hears_nothing_of_the_client() {
    for kind in [CERT, CA] {
        let shop = kind.with_node();
        let holding = |line: &str| -> Vec<_> {
            let regular = |path: &PathBuf| fs::metadata(path).is_ok_and(|metadata| metadata.is_file());
            let holds = |path: &PathBuf| String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).contains(line);
            walk(&shop.dir).into_iter().filter(regular).filter(holds).collect()
        };
        let made = generate(&shop, NAME).json();
        let key = made["private_key"].as_str().unwrap();
        let line = key.lines().nth(key.lines().count() / 2).unwrap();
        assert_eq!(line.len(), 64);
        assert_eq!(holding(line), [shop.dir.join(format!("ca/ssl/private_keys/{NAME}.pem"))]);
        shop.records_of(&generate(&shop, NAME));
        shop.delete(&path(NAME)).expect(204);
        assert_eq!(holding(line), Vec::<PathBuf>::new(), "the revoked key is gone from the master, too");
        shop.fault("ca", "mismatch", "");
        shop.records_of(generate(&shop, NAME).expect(502));
        assert!(!shop.audit().iter().any(|record| record.contains(line) || record.contains("PRIVATE KEY")));
        for logs in ["gate.err", "server.err", "nginx.err", "apache.err", "espm.error.log", "espm.access.log"] {
            assert!(!shop.file(logs).contains("PRIVATE KEY"), "{logs}");
        }
        let runs = shop.runs("ca");
        assert!(runs.len() >= 3);
        for run in runs {
            let environment = json!({"HOME": "/", "LANG": "C.UTF-8",
                "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"});
            assert_eq!(run["exec_env"], environment);
            assert!(!run.to_string().contains(&shop.psk));
        }
    }
}
