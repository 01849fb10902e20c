//! What takes long to make and is the same for every test: made once for all processes and kept beside what cargo
//! builds, by what it is made of.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::SystemTime;

use sha2::{Digest, Sha256};

use super::{API, Plan, run};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// The scripts that make them, and all that these read.
const SOURCES: [&str; 3] = ["tests/authority", "tests/console", "tests/doubles"];

/// A console with what every console has.
pub fn console() -> PathBuf {
    directory().join("console")
}

/// A new CA of the kind that a plan wants. Command and API are two ways to ask one server.
pub fn authority(plan: &Plan) -> PathBuf {
    directory().join(if plan.authority == API { "puppetserver-ca" } else { plan.authority })
}

fn directory() -> &'static Path {
    static DIRECTORY: OnceLock<PathBuf> = OnceLock::new();
    DIRECTORY.get_or_init(|| {
        let all = Path::new(env!("CARGO_TARGET_TMPDIR")).join("fixtures");
        fs::create_dir_all(&all).unwrap();
        let (made, unfinished) = (all.join(key()), all.join("unfinished"));
        // Who does not make them waits until they are whole.
        let lock = File::create(all.join("lock")).unwrap();
        lock.lock().unwrap();
        if !made.exists() {
            let _ = fs::remove_dir_all(&unfinished);
            fs::create_dir(&unfinished).unwrap();
            make(&unfinished);
            fs::rename(&unfinished, &made).unwrap();
        }
        made
    })
}

fn make(directory: &Path) {
    let script = |path: &str| Command::new(Path::new(ROOT).join(path));
    run(script("tests/console/seed").arg(directory.join("console")));
    for (kind, flag) in [("puppet-cert", None), ("puppetserver-ca", Some("--intermediate"))] {
        let root = directory.join(kind);
        run(script("tests/authority/puppet").arg("--root").arg(&root).arg("setup").args(flag));
        fs::create_dir(root.join("faults")).unwrap();
    }
}

/// A digest of what decides what is in them: how they are made, the scripts, the packages of this machine, and the
/// month, because a CA is valid from its first day on and not for ever.
fn key() -> String {
    let mut digest = Sha256::new_with_prefix(include_str!("fixtures.rs"));
    for source in SOURCES {
        add(&mut digest, &Path::new(ROOT).join(source));
    }
    let packages = fs::metadata("/var/lib/dpkg/status").map(|status| (status.len(), status.mtime()));
    let days = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs() / 86_400;
    digest.update(format!("{:?} {}", packages.ok(), days / 30));
    digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn add(digest: &mut Sha256, path: &Path) {
    digest.update(path.as_os_str().as_encoded_bytes());
    if path.is_dir() {
        let mut entries: Vec<_> = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()).collect();
        entries.sort();
        entries.iter().for_each(|entry| add(digest, entry));
    } else {
        digest.update(fs::read(path).unwrap());
    }
}
