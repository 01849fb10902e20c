//! What a site's console, its stand-ins and its audit hold; faults of the stand-ins.

use std::fs;
use std::io::Write;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use super::answer::Answer;
use super::{PUPPET_CERT, Site, run, template, wait_until};

/// Processes without those whose parent is one of them: a child that has not become its program yet looks as
/// its parent does.
pub fn without_copies(pids: Vec<u32>) -> Vec<u32> {
    let parent = |pid: &u32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.rsplit(") ").next().and_then(|rest| rest.split(' ').nth(1)?.parse::<u32>().ok())
    };
    pids.iter().filter(|pid| parent(pid).is_some_and(|parent| !pids.contains(&parent))).copied().collect()
}

impl Site {
    /// The console's nodes, classes and groups.
    pub fn console(&self) -> Value {
        let shown = run(Command::new(template().join("console/show")).arg(self.dir.join("console")));
        serde_json::from_str(&shown).unwrap()
    }

    pub fn node_in_console(&self, name: &str) -> Value {
        self.console()["nodes"][name].clone()
    }

    /// The runs of a double, each with argv and environment.
    pub fn runs(&self, double: &str) -> Vec<Value> {
        let log = fs::read_to_string(self.dir.join(double).join("log")).unwrap_or_default();
        // A line that is being written now is seen up to the end of a page.
        let whole = log.split_inclusive('\n').filter(|line| line.ends_with('\n'));
        let lines = whole.map(|line| serde_json::from_str::<Value>(line).unwrap());
        lines.filter(|line| line.get("argv").is_some()).collect()
    }

    /// How many runs of a double had this word.
    pub fn count(&self, double: &str, word: &str) -> usize {
        let has = |run: &&Value| run["argv"].as_array().unwrap().iter().any(|argument| argument == word);
        self.runs(double).iter().filter(has).count()
    }

    pub fn fault(&self, double: &str, name: &str, content: &str) {
        let path = self.dir.join(double).join("faults").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        run(self.inside("chown").args(["-R", self.users.of(double)]).arg(path.parent().unwrap()));
    }

    pub fn no_faults(&self, double: &str) {
        let _ = fs::remove_dir_all(self.dir.join(double).join("faults"));
        fs::create_dir(self.dir.join(double).join("faults")).unwrap();
    }

    /// Runs rake as a human would.
    pub fn rake(&self, words: &[&str]) {
        run(self
            .inside_as(&self.users.console, "/usr/bin/rake")
            .args(["-s", "-f"])
            .arg(template().join("console/Rakefile"))
            .args(["RAILS_ENV=production", &format!("CONSOLE={}", self.dir.join("console").display())])
            .args(words)
            .current_dir(&self.dir));
    }

    /// Runs `puppet cert` or `puppetserver ca` as a human would.
    pub fn puppet(&self, words: &[&str]) {
        let words = words.iter().flat_map(|word| if *word == "cert" { PUPPET_CERT } else { *word }.split(' '));
        run(self
            .inside_as(&self.users.authority, template().join("authority/puppet"))
            .arg("--root")
            .arg(self.dir.join("ca"))
            .args(words));
    }

    /// Runs espm at the shell.
    pub fn espm(&self, words: &[&str]) -> Output {
        self.inside(self.bin("espm")).arg("-c").arg(self.known_ini()).args(words).output().unwrap()
    }

    /// The audit records so far; those of a request that has been answered are among them.
    pub fn audit(&self) -> Vec<String> {
        self.syslog.records()
    }

    /// The audit records of an answer's request.
    pub fn records_of(&self, answer: &Answer) -> Vec<String> {
        let id = format!("request={}", answer.header("x-request-id"));
        assert!(id.len() > 20, "{answer:?}");
        let of = || self.audit().into_iter().filter(|record| record.contains(&id)).collect::<Vec<_>>();
        wait_until("the result is in the audit", || of().iter().any(|record| record.contains("took_ms=")));
        of()
    }

    pub fn file(&self, name: &str) -> String {
        fs::read_to_string(self.dir.join(name)).unwrap_or_default()
    }

    /// Writes a file. A script is written by another process: a program that a thread of this one starts
    /// meanwhile has all its files open for a moment, and what somebody can write to cannot be run (ETXTBSY).
    pub fn write(&self, name: &str, content: &str) -> String {
        let path = self.dir.join(name);
        if content.starts_with("#!") {
            let mut cat = Command::new("sh");
            let mut cat = cat.args(["-c", "cat >\"$1\"", "sh"]).arg(&path).stdin(Stdio::piped()).spawn().unwrap();
            cat.stdin.take().unwrap().write_all(content.as_bytes()).unwrap();
            assert!(cat.wait().unwrap().success());
        } else {
            fs::write(&path, content).unwrap();
        }
        path.display().to_string()
    }
}
