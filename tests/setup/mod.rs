//! espm-setup: what it makes, what it refuses, and what it leaves behind when it fails.

mod absent;
mod clients;
mod detection;
mod files;
mod hands;
mod masters;
mod printed;
mod renewal;
mod undo;

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

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
        ] {
            if !more.contains(&option) {
                command.args([option, &value]);
            }
        }
        // A console and a CA that are here, unless the test has others or asks Puppet.
        for (option, value) in [
            ("--console-release", "1.2.7"),
            ("--console-command", "/bin/true"),
            ("--console-directory", "/"),
            ("--authority-command", "/bin/true cert"),
            ("--master", "master.example.com"),
        ] {
            let console = option.starts_with("--console") && more.contains(&"enc");
            if !(console || more.contains(&"--detect") || more.contains(&option)) {
                command.args([option, value]);
            }
        }
        command.args(more);
        command
    }

    /// The same without words and their values, run through another program such as `unshare`.
    fn command_without(&self, left_out: &[&str], more: &[&str], through: &[&str]) -> Command {
        let set_up = self.command(more);
        let mut words =
            std::iter::once(set_up.get_program()).chain(set_up.get_args()).map(|word| word.to_str().unwrap());
        let mut all: Vec<&str> = through.to_vec();
        while let Some(word) = words.next() {
            if left_out.contains(&word) {
                words.next()
            } else {
                all.push(word);
                None
            };
        }
        let mut command = Command::new(all[0]);
        command.args(&all[1..]);
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
        self.refused_to(&mut self.command(more))
    }

    #[track_caller]
    fn refused_to(&self, command: &mut Command) -> String {
        let before = self.listing();
        let output = command.output().unwrap();
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

/// Makes a program of a script. Another process writes it: a program that a thread of this one starts meanwhile has
/// all its files open for a moment, and what somebody can write to cannot be run (ETXTBSY).
fn script(path: &Path, text: &str) {
    let mut install = Command::new("install");
    install.args(["-m", "0755", "/dev/stdin"]).arg(path).stdin(Stdio::piped());
    let mut child = install.spawn().unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success(), "{}", path.display());
}
