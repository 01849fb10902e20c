//! The web server's certificate, renewed while clients ask.

use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::Path;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::Place;
use crate::harness::{Server, Site, run, wait_until};

/// curl's exit code for a certificate that it does not trust.
const DISTRUST: i32 = 60;

fn renew(ini: &Path, more: &[&str]) -> Output {
    let mut setup = Command::new(env!("CARGO_BIN_EXE_espm-setup"));
    setup.args(["certificate", "renew", "--config"]).arg(ini).args(more).output().unwrap()
}

#[track_caller]
fn renewed(ini: &Path, more: &[&str]) -> String {
    let output = renew(ini, more);
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Types the printed lines that begin with this word, and with systemctl left out.
#[track_caller]
fn type_lines(printed: &str, word: &str) {
    let lines = printed.lines().filter_map(|line| line.strip_prefix("    ")).filter(|line| line.starts_with(word));
    let script: Vec<_> = lines.collect();
    assert!(!script.is_empty(), "{printed}");
    run(Command::new("sh").args(["-euc", &script.join("\n")]));
}

/// What a client gets that trusts the certificates in a file.
fn ask(site: &Site, pin: &Path) -> Output {
    let url = format!("https://localhost:{}/v1/health", site.port);
    Command::new("curl").args(["-sS", "--cacert"]).arg(pin).arg(url).output().unwrap()
}

/// The main process of the web server reads its files again, as `systemctl reload` has it do.
fn reload(site: &Site) {
    let (file, signal) = match site.server {
        Server::Nginx => ("nginx.pid", "-HUP"),
        Server::Apache | Server::ApacheCgi => ("apache.pid", "-USR1"),
    };
    run(Command::new("kill").arg(signal).arg(site.file(file).trim()));
}

#[test]
fn renewal_ends_no_clients_trust() {
    let site = Site::open();
    let certs = site.dir.join("etc/certs");
    let (old, both, new) = (site.dir.join("old.pem"), site.dir.join("both.pem"), site.dir.join("new.pem"));
    fs::copy(certs.join("espm.pem"), &old).unwrap();
    let printed = renewed(&site.ini(), &[]);
    assert!(ask(&site, &old).status.success(), "nothing is changed yet");
    fs::copy(certs.join("espm.pem.both"), &both).unwrap();
    fs::copy(certs.join("espm.pem.new"), &new).unwrap();
    assert!(ask(&site, &both).status.success());
    assert_eq!(ask(&site, &new).status.code(), Some(DISTRUST));

    let (done, asked) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        let asking = scope.spawn(|| {
            while !done.load(Ordering::SeqCst) {
                let mut answer = ask(&site, &both);
                // A web server may close a connection that its old process has just accepted. That says nothing of trust.
                if !answer.status.success() && answer.status.code() != Some(DISTRUST) {
                    answer = ask(&site, &both);
                }
                assert!(answer.status.success(), "{answer:?}");
                asked.fetch_add(1, Ordering::SeqCst);
            }
        });
        wait_until("a client asks", || asked.load(Ordering::SeqCst) > 3 || asking.is_finished());
        type_lines(&printed, "mv ");
        reload(&site);
        wait_until("the new certificate is served", || ask(&site, &new).status.success() || asking.is_finished());
        let before = asked.load(Ordering::SeqCst);
        wait_until("clients asked on", || asked.load(Ordering::SeqCst) > before + 3 || asking.is_finished());
        done.store(true, Ordering::SeqCst);
        asking.join().unwrap();
    });
    assert!(ask(&site, &both).status.success());
    assert_eq!(ask(&site, &old).status.code(), Some(DISTRUST));
    // Python takes them without curl's partial chain; from 3.13 on with it, and strictly.
    for flags in [&[][..], &["-x509_strict"], &["-x509_strict", "-partial_chain"]] {
        for certificate in [&old, &new] {
            run(Command::new("openssl").arg("verify").args(flags).arg("-CAfile").arg(&both).arg(certificate));
        }
    }
    run(Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("conf/examples/espm-client"))
        .arg("classes")
        .env("ESPM_URL", format!("https://localhost:{}", site.port))
        .env("ESPM_TLS_CERT", &both)
        .env("ESPM_PSK", &site.psk));
    type_lines(&printed, "rm ");
    let mut names: Vec<_> = fs::read_dir(&certs).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["espm.key", "espm.pem"]);
    assert!(site.espm(&["check"]).status.success());
}

#[test]
fn renewed_certificate_keeps_names_and_kind_of_key() {
    for (options, kind) in [(&[][..], "NIST CURVE: P-256"), (&["--key-type", "rsa"], "Public-Key: (3072 bit)")] {
        let place = Place::new();
        let sans = ["--san", "puppet", "--san", "192.0.2.7", "--san", "2001:db8::7", "--san", "*.example.com"];
        place.done(&[options, &sans].concat());
        for name in ["espm.pem", "espm.key"] {
            chown(place.path("etc/certs").join(name), None, Some(33)).unwrap();
        }
        let names = |file: &str| place.openssl(&["x509", "-in", file, "-noout", "-subject", "-ext", "subjectAltName"]);
        let before = names("espm.pem");
        assert!(before.contains("2001:DB8:0:0:0:0:0:7") && before.contains("DNS:*.example.com"), "{before}");
        let printed = renewed(&place.path("etc/espm.ini"), &["--san", "added.example.com", "--san", "puppet"]);
        assert_eq!(names("espm.pem.new"), before.trim_end().to_owned() + ", DNS:added.example.com\n");
        let text = place.openssl(&["x509", "-in", "espm.pem.new", "-noout", "-text"]);
        assert!(text.contains(kind), "{text}");
        let public = place.openssl(&["x509", "-in", "espm.pem.new", "-noout", "-pubkey"]);
        assert_eq!(public, place.openssl(&["pkey", "-in", "espm.key.new", "-pubout"]));
        assert_ne!(public, place.openssl(&["pkey", "-in", "espm.key", "-pubout"]));
        let fingerprint = place.openssl(&["x509", "-in", "espm.pem.new", "-noout", "-fingerprint", "-sha256"]);
        assert!(printed.contains(fingerprint.trim().split('=').nth(1).unwrap()), "{printed}");
        assert_eq!(
            place.read("etc/certs/espm.pem.both"),
            place.read("etc/certs/espm.pem") + &place.read("etc/certs/espm.pem.new")
        );
        for (name, mode) in [("espm.pem.new", 0o640), ("espm.key.new", 0o600), ("espm.pem.both", 0o640)] {
            let found = fs::metadata(place.path("etc/certs").join(name)).unwrap();
            assert_eq!((found.uid(), found.gid(), found.mode() & 0o7777), (0, 33, mode), "{name}");
        }
    }
    // Another kind, where one is asked for.
    let place = Place::new();
    place.done(&[]);
    renewed(&place.path("etc/espm.ini"), &["--key-type", "rsa"]);
    assert!(place.openssl(&["x509", "-in", "espm.pem.new", "-noout", "-text"]).contains("Public-Key: (3072 bit)"));
}

#[test]
fn renewal_that_cannot_be_made_changes_nothing() {
    let place = Place::new();
    place.done(&[]);
    let ini = place.path("etc/espm.ini");
    let refused = |more: &[&str], words: &[&str]| {
        let before = place.listing();
        let output = renew(&ini, more);
        let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(1), &b""[..]), "{output:?}");
        assert!(words.iter().all(|word| complaint.contains(word)), "{words:?}: {complaint}");
        assert_eq!(place.listing(), before);
    };
    refused(&["--san", "a b"], &["\"a b\" is no host name"]);
    let at = |name: &str| place.path("etc/certs").join(name).display().to_string();
    renewed(&ini, &[]);
    // A second time, on the terminal that has not seen the first one's lines.
    refused(
        &[],
        &[
            "a renewal was begun; finish it:",
            &format!(
                "    mv -f {} {} && mv -f {} {}\n",
                at("espm.key.new"),
                at("espm.key"),
                at("espm.pem.new"),
                at("espm.pem")
            ),
            "or begin anew:",
            &format!("    rm -f {} {} {}\n", at("espm.key.new"), at("espm.pem.new"), at("espm.pem.both")),
        ],
    );
    for name in ["espm.key.new", "espm.pem.new", "espm.pem.both"] {
        fs::remove_file(at(name)).unwrap();
    }
    // One that a CA has signed: another of espm's would not be trusted by its clients.
    let signed = "openssl req -x509 -newkey rsa:2048 -nodes -days 9 -subj /CN=ca -keyout ca.key -out ca.pem 2>/dev/null && \
                  openssl req -newkey rsa:2048 -nodes -subj /CN=master.example.com -keyout espm.key -out csr 2>/dev/null && \
                  openssl x509 -req -in csr -CA ca.pem -CAkey ca.key -days 9 -out espm.pem 2>/dev/null && rm -f ca.key ca.pem csr ca.srl";
    run(Command::new("sh").args(["-euc", signed]).current_dir(place.path("etc/certs")));
    refused(&[], &[&at("espm.pem"), "is signed by CN=ca; ask that CA for the next one"]);
    fs::remove_file(at("espm.pem")).unwrap();
    refused(&[], &[&at("espm.pem"), "No such file"]);
}
