//! espm-setup: what it makes, what it refuses, and what it leaves behind when it fails.

mod detection;
mod files;
mod keys;
mod printed;
mod renewal;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::harness::{USER, run, scratch};

/// Where the administrator has made the directories, and nothing more.
struct Place(PathBuf);

impl Place {
    fn new() -> Self {
        let place = Self(scratch());
        for (name, mode) in [("etc", "0755"), ("etc/certs", "0755")] {
            run(Command::new("install").args(["-d", "-m", mode]).arg(place.0.join(name)));
        }
        for (name, mode) in [("state", "0750"), ("records", "0700")] {
            run(Command::new("install").args(["-d", "-o", USER, "-g", USER, "-m", mode]).arg(place.0.join(name)));
        }
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    /// The command with what a test wants, and with this place's paths for the rest.
    fn command(&self, more: &[&str]) -> Command {
        let at = |name: &str| self.path(name).display().to_string();
        let mut command = Command::new(env!("CARGO_BIN_EXE_espm-setup"));
        for (option, value) in [
            ("-d", at("etc")),
            ("-c", at("etc/certs")),
            ("--state", at("state")),
            ("--records", at("records")),
            ("--host", "master.example.com".to_owned()),
            ("--console-release", "1.2.7".to_owned()),
        ] {
            let of_a_console =
                option != "--console-release" || !["--detect", "enc"].iter().any(|word| more.contains(word));
            if of_a_console && !more.contains(&option) {
                command.args([option, &value]);
            }
        }
        command.args(more);
        command
    }

    fn set_up(&self, more: &[&str]) -> Output {
        self.command(more).output().unwrap()
    }

    /// Sets up and tells what was printed.
    #[track_caller]
    fn done(&self, more: &[&str]) -> String {
        let output = self.set_up(more);
        assert!(output.status.success(), "{output:?}");
        assert!(output.stderr.is_empty(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Sets up in vain: nothing is printed or changed; the complaint.
    #[track_caller]
    fn refused(&self, more: &[&str]) -> String {
        let before = self.listing();
        let output = self.set_up(more);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert!(output.stdout.is_empty(), "{output:?}");
        assert_eq!(self.listing(), before);
        String::from_utf8(output.stderr).unwrap()
    }

    /// Every file with its kind and mode, owner, size, content and time of change.
    fn listing(&self) -> BTreeMap<PathBuf, (u32, u32, Vec<u8>, i64)> {
        fn walk(directory: &Path, all: &mut BTreeMap<PathBuf, (u32, u32, Vec<u8>, i64)>) {
            for entry in fs::read_dir(directory).unwrap() {
                let path = entry.unwrap().path();
                let metadata = path.symlink_metadata().unwrap();
                let content = if metadata.is_file() { fs::read(&path).unwrap() } else { vec![] };
                // A directory in which something was made and removed again has another time, and that is all.
                let time = if metadata.is_file() { metadata.mtime_nsec() } else { 0 };
                all.insert(path.clone(), (metadata.mode(), metadata.uid(), content, time));
                if metadata.is_dir() {
                    walk(&path, all);
                }
            }
        }
        let mut all = BTreeMap::new();
        walk(&self.0, &mut all);
        all
    }

    fn openssl(&self, words: &[&str]) -> String {
        run(Command::new("openssl").args(words).current_dir(self.path("etc/certs")))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn psk_of(printed: &str) -> String {
    printed.lines().map(str::trim).find(|line| line.len() == 48 && !line.contains(' ')).unwrap().to_owned()
}

/// The files that set-up makes.
const MADE: [&str; 8] = [
    "etc/espm.ini",
    "etc/certs/espm.pem",
    "etc/certs/espm.key",
    "state/ledger.sqlite",
    "state/locks",
    "state/proofs",
    "state/cache",
    "state/unsent",
];
