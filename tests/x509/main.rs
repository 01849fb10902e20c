//! Certificates, chains and lists of odd CAs, each asked of openssl and of espm.
//!
//! openssl says here what is true. espm gives the same answer, or refuses before it would have anything made.
#![allow(clippy::disallowed_methods, reason = "a test starts programs and reads files as a person would")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod requests;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::SystemTime;

use espm::system::x509;

/// The corpus, and the keys that it needs, which take long to make.
fn corpus() -> &'static Path {
    static CORPUS: OnceLock<PathBuf> = OnceLock::new();
    CORPUS.get_or_init(|| {
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("x509");
        fs::create_dir_all(&directory).unwrap();
        let lock = File::create(directory.join("lock")).unwrap();
        lock.lock().unwrap();
        let made = directory.join("corpus");
        let _ = fs::remove_dir_all(&made);
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/x509/corpus.py");
        let mut python = Command::new("/usr/bin/python3");
        python.args(["-B", "-W", "ignore"]).arg(script).arg(&made).arg(directory.join("keys"));
        assert!(python.status().unwrap().success());
        made
    })
}

fn now() -> i64 {
    i64::try_from(SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs()).unwrap()
}

/// A case of the corpus.
struct Case {
    name: String,
    directory: PathBuf,
    ca: Vec<u8>,
    lists: Vec<u8>,
    leaf: Vec<u8>,
}

impl Case {
    fn all() -> Vec<Self> {
        let mut cases: Vec<_> =
            fs::read_dir(corpus()).unwrap().map(|entry| Self::read(&entry.unwrap().path())).collect();
        cases.sort_by(|one, other| one.name.cmp(&other.name));
        cases
    }

    fn read(directory: &Path) -> Self {
        let file = |name| fs::read(directory.join(name)).unwrap();
        Self {
            name: directory.file_name().unwrap().to_str().unwrap().to_owned(),
            directory: directory.to_owned(),
            ca: file("ca.pem"),
            lists: file("crl.pem"),
            leaf: file("leaf.pem"),
        }
    }

    fn openssl_accepts(&self) -> (bool, String) {
        let mut openssl = Command::new("openssl");
        let arguments = ["verify", "-crl_check", "-CAfile", "ca.pem", "-CRLfile", "crl.pem", "leaf.pem"];
        let output = openssl.args(arguments).current_dir(&self.directory).output().unwrap();
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    }

    fn espm(&self) -> Result<bool, x509::X509Error> {
        x509::verify(&self.leaf, &self.ca, now())?;
        x509::is_revoked(&self.leaf, &self.lists[..], &self.ca, now())
    }

    /// What is asked before a command runs.
    fn is_refused(&self) -> bool {
        x509::ca_until(&self.ca, now()).is_err() || x509::list_until(&self.ca, &self.lists[..], now()).is_err()
    }
}

#[test]
fn certificate_is_accepted_as_by_openssl_or_refused_beforehand() {
    let (mut wrong, cases) = (Vec::new(), Case::all());
    let mut accepted = 0;
    for case in &cases {
        let ((openssl, said), espm) = (case.openssl_accepts(), case.espm());
        let good = if case.name.starts_with("refused-") {
            openssl && espm != Ok(false) && case.is_refused()
        } else if case.name.starts_with("keyed-") {
            !openssl && espm == Ok(false)
        } else {
            openssl == (espm == Ok(false))
        };
        accepted += usize::from(espm == Ok(false));
        if !good {
            wrong.push(format!("{}: openssl {openssl}, espm {espm:?}; {said}", case.name));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
    assert!(accepted > 80 && cases.len() > 150, "{accepted} of {}", cases.len());
}

#[test]
fn serial_number_and_fingerprint_are_those_that_openssl_prints() {
    for case in Case::all() {
        let options = ["x509", "-in", "leaf.pem", "-noout", "-serial", "-fingerprint", "-sha256"];
        let output = Command::new("openssl").args(options).current_dir(&case.directory).output().unwrap();
        let Ok(identity) = x509::identity(&case.leaf) else {
            assert!(case.name.contains("pem-"), "{}", case.name);
            continue;
        };
        let printed = String::from_utf8(output.stdout).unwrap();
        assert!(printed.contains(&format!("serial={}\n", identity.serial)), "{}: {printed}{identity:?}", case.name);
        assert!(printed.contains(&format!("={}\n", identity.fingerprint)), "{}: {printed}{identity:?}", case.name);
    }
}
