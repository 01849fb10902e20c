//! Processes of a site, and named points at which a run of the stand-in console stops.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::harness::{Answer, Site, run, wait_until};

/// The node that every seeded console has and that is not espm's.
pub const FOREIGN: &str = "foreign.example.com";

/// Lets the paused run go on even when a test fails meanwhile, so that nothing waits for its time limit.
struct GoOn(PathBuf);

impl Drop for GoOn {
    fn drop(&mut self) {
        let _ = fs::write(&self.0, "");
    }
}

impl Site {
    /// Sends a request whose run of rake stops at a point, does something there, lets it go on, and
    /// returns the answer.
    pub fn paused(&self, point: &str, request: impl FnOnce() -> Answer + Send, meanwhile: impl FnOnce()) -> Answer {
        self.paused_in("console", point, request, meanwhile)
    }

    /// The same with a command of a stand-in: "console" or "ca".
    pub fn paused_in<T: Send>(
        &self,
        double: &str,
        point: &str,
        request: impl FnOnce() -> T + Send,
        meanwhile: impl FnOnce(),
    ) -> T {
        let go_on = GoOn(self.dir.join(double).join("continue"));
        self.stopped_in(double, point, request, || {
            meanwhile();
            drop(go_on);
        })
    }

    /// The same, and rake stays stopped, although the request has its answer: who waited for it was killed.
    pub fn stopped_at(&self, point: &str, request: impl FnOnce() -> Answer + Send, meanwhile: impl FnOnce()) -> Answer {
        self.stopped_in("console", point, request, meanwhile)
    }

    /// The same with a command of a stand-in.
    pub fn stopped_in<T: Send>(
        &self,
        double: &str,
        point: &str,
        request: impl FnOnce() -> T + Send,
        meanwhile: impl FnOnce(),
    ) -> T {
        self.pause_in(double, point);
        std::thread::scope(|scope| {
            let asked = scope.spawn(request);
            self.wait_for_pause_in(double);
            meanwhile();
            asked.join().unwrap()
        })
    }

    /// The next run of rake that comes to this point stops there.
    pub fn pause_at(&self, point: &str) {
        self.pause_in("console", point);
    }

    fn pause_in(&self, double: &str, point: &str) {
        for name in ["reached", "continue"] {
            let _ = fs::remove_file(self.dir.join(double).join(name));
        }
        self.fault(double, &format!("pause_{point}"), "once");
    }

    pub fn wait_for_pause(&self) {
        self.wait_for_pause_in("console");
    }

    fn wait_for_pause_in(&self, double: &str) {
        let reached = self.dir.join(double).join("reached");
        wait_until("the command comes to the point", || reached.exists());
    }

    /// Lets the paused runs of rake go on to their end.
    pub fn go_on(&self) {
        let pids = self.pids("rake");
        // Each run that goes on takes the sign away.
        wait_until("rake has ended", || {
            drop(GoOn(self.dir.join("console/continue")));
            pids.iter().all(|pid| !is_there(*pid))
        });
    }

    /// The processes of this site: `espm` (handlers alone), `espm-helper` or `rake` (a worker's children too).
    pub fn pids(&self, program: &str) -> Vec<u32> {
        let dir = format!("{}/", self.dir.display());
        let is_one = |pid: &u32| {
            let read = |name: &str| fs::read(format!("/proc/{pid}/{name}")).unwrap_or_default();
            let (argv, environment) = (read("cmdline"), read("environ"));
            let (argv, environment) = (String::from_utf8_lossy(&argv), String::from_utf8_lossy(&environment));
            let first = argv.split('\0').next().unwrap_or_default();
            let inside = self.holds(*pid);
            match program {
                "rake" => argv.contains(&format!("CONSOLE={dir}console")),
                "espm" if inside => first.ends_with("/espm") && environment.contains("GATEWAY_INTERFACE="),
                "espm" => first.ends_with("/espm") && environment.contains(&format!("ESPM_CONFIG={dir}")),
                helper => first.ends_with(helper) && (inside || argv.contains(&dir)),
            }
        };
        let entries = fs::read_dir("/proc").unwrap().filter_map(Result::ok);
        let worker = self.worker_pid();
        let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        pids.filter(|pid| Some(*pid) != worker).filter(is_one).collect()
    }

    /// Sends all processes of that program a signal.
    pub fn signal(&self, signal: &str, program: &str) {
        for pid in self.pids(program) {
            run(Command::new("kill").args([signal, &pid.to_string()]));
        }
    }

    /// The one process of that program; one that has answered before may be on its way out still.
    pub fn only(&self, program: &str) -> u32 {
        let mut pids = vec![];
        wait_until(&format!("there is one {program}"), || {
            pids = self.pids(program);
            pids.len() == 1
        });
        pids[0]
    }

    /// Kills the one process of that program.
    pub fn kill_one(&self, program: &str) {
        let pid = self.only(program);
        run(Command::new("kill").args(["-9", &pid.to_string()]));
        wait_until("the killed process is gone", || !is_there(pid));
    }

    /// The states in the ledger, by node.
    pub fn states(&self) -> BTreeMap<String, String> {
        self.nodes(&["nodes"])
    }

    /// The unfinished states, by node.
    pub fn unfinished(&self) -> BTreeMap<String, String> {
        self.nodes(&["nodes", "--unfinished"])
    }

    fn nodes(&self, words: &[&str]) -> BTreeMap<String, String> {
        let output = self.espm(words);
        assert!(output.status.success(), "{output:?}");
        let row = |line: &str| {
            let words: Vec<_> = line.split_whitespace().collect();
            (words[4].to_owned(), words[0].to_owned())
        };
        String::from_utf8(output.stdout).unwrap().lines().map(row).collect()
    }

    /// Proofs of intents that are not finished.
    pub fn proofs(&self) -> usize {
        fs::read_dir(self.dir.join("state/proofs")).unwrap().count()
    }

    /// Runs of rake that could change something.
    pub fn changing_runs(&self) -> usize {
        let changes = |run: &&Value| {
            let words = run["argv"].as_array().unwrap().iter().filter_map(Value::as_str);
            words.into_iter().any(|word| word.starts_with("node:") && word != "node:list")
        };
        self.runs("console").iter().filter(changes).count()
    }

    #[track_caller]
    pub fn expect_foreign_untouched(&self) {
        let expected = json!({"groups": ["default"], "classes": ["ntp"], "parameters": [["owner", "human"]]});
        assert_eq!(self.node_in_console(FOREIGN), expected);
        assert!(!self.states().contains_key(FOREIGN));
    }

    /// The console has the node exactly as an answer describes it.
    #[track_caller]
    pub fn expect_in_console(&self, node: &Value) {
        let sorted = |list: &Value| {
            let mut names: Vec<_> = list.as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
            names.sort_unstable();
            json!(names)
        };
        let parameters: Vec<_> = node["parameters"].as_object().unwrap().iter().map(|(k, v)| json!([k, v])).collect();
        let expected = json!({
            "groups": sorted(&node["groups"]), "classes": sorted(&node["classes"]), "parameters": parameters
        });
        assert_eq!(self.node_in_console(node["name"].as_str().unwrap()), expected);
    }
}

/// Whether a process runs; one that has ended and is not reaped does not (proc_pid_stat(5)).
pub fn is_there(pid: u32) -> bool {
    let stat = fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

/// Time limits for a run that has to reach a point and no further, each for a slower machine than the one before.
pub fn limits() -> impl Iterator<Item = u64> {
    let none: fn() -> u64 = || panic!("rake does not come to the point");
    [1, 4, 16, 64].into_iter().chain(std::iter::once_with(none))
}
