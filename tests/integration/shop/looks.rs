//! Looking at a shop from behind: its console, its doubles, its audit; and making its doubles fail.

use std::fs;
use std::process::{Command, Output};

use serde_json::Value;

use super::answer::Answer;
use super::{Shop, run, template, wait_until};

impl Shop {
    /// What is in the console.
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
        run(self
            .inside_as(&self.users.authority, template().join("authority/puppet"))
            .arg("--root")
            .arg(self.dir.join("ca"))
            .args(words));
    }

    /// Runs espm at the shell.
    pub fn desk(&self, words: &[&str]) -> Output {
        self.inside(self.bin("espm")).arg("-c").arg(self.known_ini()).args(words).output().unwrap()
    }

    /// The audit records so far.
    pub fn audit(&self) -> Vec<String> {
        self.records.lock().unwrap().clone()
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

    pub fn write(&self, name: &str, content: &str) -> String {
        let path = self.dir.join(name);
        fs::write(&path, content).unwrap();
        path.display().to_string()
    }
}
