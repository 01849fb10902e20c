//! The report of a check: lines, a plugin's output, or metrics.

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write as _};
use std::process::ExitCode;

use crate::authority::protocol::{Ends, WITHIN_DAYS};
use crate::cli::Failure;
use crate::ledger::{CertificateState, Entry, NodeState};
use crate::system::clock;
use crate::system::text;

/// Days before its end at which the certificate is a warning.
pub(in crate::cli) const DAYS_LEFT: i64 = 30;

/// Days before its end at which the certificate is critical.
pub(in crate::cli) const DAYS_CRITICAL: i64 = 7;

/// The form of the report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cli) enum Form {
    /// For the operator: a line for each check; exit 1 on a failure.
    Lines,
    /// For Nagios or Icinga, with performance data: exit 0, 1, 2 or 3 by the level.
    Nagios,
    /// For Prometheus: metrics for the node exporter's textfile collector; exit 0.
    Prometheus,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    Good,
    Skipped,
    Warning,
    Critical,
    Unknown,
}

/// The findings so far.
pub(in crate::cli) struct Report {
    form: Form,
    lines: Vec<(Level, String, String)>,
    /// Days that the web server's certificate is good for.
    days: Option<i64>,
    /// Nodes and certificates of the ledger by state.
    counts: Option<Counts>,
    /// Ends of the certificates that espm made.
    ends: Option<Ends>,
    /// Audit records that wait for syslog.
    unsent: Option<usize>,
    /// Whether a human watches standard error.
    terminal: bool,
}

struct Counts {
    nodes: Vec<(&'static str, usize)>,
    certificates: Vec<(&'static str, usize)>,
    all: usize,
    unfinished: usize,
}

impl Report {
    pub(in crate::cli) fn new(form: Form) -> Self {
        let terminal = io::stderr().is_terminal();
        Self { form, lines: Vec::new(), days: None, counts: None, ends: None, unsent: None, terminal }
    }

    /// Adds a check that is right, or a failure that keeps espm from working.
    pub(in crate::cli) fn line(&mut self, what: &str, result: Result<String, Failure>) {
        match result {
            Ok(good) => self.put(Level::Good, what, good),
            Err(wrong) => self.put(Level::Critical, what, wrong.0),
        }
    }

    /// Adds a failure with which espm still works.
    pub(in crate::cli) fn warn(&mut self, what: &str, text: String) {
        self.put(Level::Warning, what, text);
    }

    /// Adds a check that this user may not run.
    pub(in crate::cli) fn unknown(&mut self, what: &str, text: String) {
        self.put(Level::Unknown, what, text);
    }

    /// Adds a check that cannot run because of another line's failure.
    pub(in crate::cli) fn skip(&mut self, what: &str, because: &str) {
        self.put(Level::Skipped, what, because.to_owned());
    }

    pub(in crate::cli) fn days(&mut self, days: i64) {
        self.days = Some(days);
    }

    pub(in crate::cli) fn ends(&mut self, ends: Ends) {
        self.ends = Some(ends);
    }

    pub(in crate::cli) fn unsent(&mut self, records: usize) {
        self.unsent = Some(records);
    }

    /// Counts the ledger's rows by their states.
    pub(in crate::cli) fn entries(&mut self, entries: &[Entry]) {
        let certificates: Vec<_> = entries.iter().filter_map(|entry| entry.certificate).collect();
        let nodes = |state: &NodeState| entries.iter().filter(|entry| entry.state == *state).count();
        let issued = |state: &CertificateState| certificates.iter().filter(|found| *found == state).count();
        self.counts = Some(Counts {
            nodes: NodeState::ALL.iter().map(|state| (state.word(), nodes(state))).collect(),
            certificates: CertificateState::ALL.iter().map(|state| (state.word(), issued(state))).collect(),
            all: entries.len(),
            unfinished: entries.iter().filter(|entry| entry.is_unfinished()).count(),
        });
    }

    /// Names on a terminal what takes its time; the next line replaces it.
    pub(in crate::cli) fn asking(&mut self, what: &str) {
        if self.terminal {
            let _ = write!(io::stderr(), "\r\x1b[Kasking {what} ...");
        }
    }

    /// Wipes what [`Report::asking`] has written.
    fn wipe(&self) {
        if self.terminal {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }

    fn put(&mut self, level: Level, what: &str, text: String) {
        self.wipe();
        if self.form == Form::Lines {
            println!("{}", human(level, what, &text));
        }
        self.lines.push((level, what.to_owned(), text));
    }

    fn count(&self, level: impl Fn(Level) -> bool) -> usize {
        self.lines.iter().filter(|(found, _, _)| level(*found)).count()
    }

    fn failures(&self) -> usize {
        self.count(|level| level >= Level::Warning)
    }

    /// Prints the rest of the report and returns the exit code.
    pub(in crate::cli) fn end(self) -> ExitCode {
        self.wipe();
        let worst = self.lines.iter().map(|(level, _, _)| *level).max().unwrap_or(Level::Unknown);
        match self.form {
            Form::Lines if self.failures() > 0 => ExitCode::FAILURE,
            Form::Lines => ExitCode::SUCCESS,
            Form::Nagios => {
                print!("{}", self.plugin(worst));
                ExitCode::from(status(worst).0)
            }
            Form::Prometheus => {
                print!("{}", self.metrics());
                ExitCode::SUCCESS
            }
        }
    }

    /// A plugin's output: a line with performance data, then the lines for humans.
    fn plugin(&self, worst: Level) -> String {
        let (_, word) = status(worst);
        let wrong = self.lines.iter().find(|(level, _, _)| *level == worst && worst >= Level::Warning);
        let said = wrong.map_or_else(
            || text::count(self.lines.len(), "check", "checks"),
            |(_, what, text)| format!("{} of {} checks; {what}: {text}", self.failures(), self.lines.len()),
        );
        let mut data = format!("failures={}", self.failures());
        if let Some(days) = self.days {
            let _ = write!(data, " certificate_days={days};{DAYS_LEFT}:;{DAYS_CRITICAL}:");
        }
        if let Some(counts) = &self.counts {
            let _ = write!(data, " nodes={};;;0 unfinished={};0;;0", counts.all, counts.unfinished);
        }
        if let Some(ends) = &self.ends {
            let _ = write!(data, " ending={};0;;0;{}", ends.soon, ends.all);
        }
        if let Some(unsent) = self.unsent {
            let _ = write!(data, " unsent={unsent};0;;0");
        }
        // In a plugin's output a bar begins performance data.
        let mut text = format!("ESPM {word}: {} | {data}\n", said.replace('|', "/"));
        for (level, what, line) in &self.lines {
            let _ = writeln!(text, "{}", human(*level, what, line).replace('|', "/"));
        }
        text
    }

    /// Metrics in Prometheus's text format, version 0.0.4.
    fn metrics(&self) -> String {
        let mut text = String::new();
        let mut metric = |name: &str, help: &str, values: Vec<(String, i64)>| {
            let _ = write!(text, "# HELP espm_{name} {help}\n# TYPE espm_{name} gauge\n");
            for (labels, value) in values {
                let _ = writeln!(text, "espm_{name}{labels} {value}");
            }
        };
        let one = |value: i64| vec![(String::new(), value)];
        let number = |value: usize| i64::try_from(value).unwrap_or(i64::MAX);
        let mut checks: Vec<(String, i64)> = Vec::new();
        for (level, what, _) in self.lines.iter().filter(|(level, _, _)| *level != Level::Skipped) {
            let labels = format!("{{check=\"{what}\"}}");
            let good = i64::from(*level == Level::Good);
            // A check with several lines is right if all are.
            match checks.iter_mut().find(|(found, _)| *found == labels) {
                Some((_, value)) => *value = (*value).min(good),
                None => checks.push((labels, good)),
            }
        }
        metric("check_ok", "Whether a check of espm is right.", checks);
        metric("check_failures", "Lines of the check that are not right.", one(number(self.failures())));
        if let Some(days) = self.days {
            metric("certificate_days_left", "Days until the web server's certificate ends.", one(days));
        }
        if let Some(counts) = &self.counts {
            let by_state = |states: &[(&str, usize)]| {
                states.iter().map(|(state, count)| (format!("{{state=\"{state}\"}}"), number(*count))).collect()
            };
            metric("nodes", "Nodes in the ledger by state.", by_state(&counts.nodes));
            metric("certificates", "Certificates in the ledger by state.", by_state(&counts.certificates));
            metric(
                "unfinished_intents",
                "Nodes that a retry or a human has to settle.",
                one(number(counts.unfinished)),
            );
        }
        if let Some(ends) = &self.ends {
            metric("node_certificates", "Certificates that espm made, one for each node.", one(number(ends.all)));
            let within = WITHIN_DAYS.iter().zip(ends.within);
            metric(
                "node_certificates_ending",
                "Those of espm_node_certificates that end within so many days; 0 is for those that have ended.",
                within.map(|(days, count)| (format!("{{within_days=\"{days}\"}}"), number(count))).collect(),
            );
        }
        if let Some(unsent) = self.unsent {
            metric("audit_unsent", "Audit records that wait for syslog.", one(number(unsent)));
        }
        metric("check_time_seconds", "When this was looked at, in seconds since 1970.", one(clock::now()));
        text
    }
}

fn human(level: Level, what: &str, text: &str) -> String {
    let word = match level {
        Level::Good => "ok   ",
        Level::Skipped => "skip ",
        Level::Warning | Level::Critical | Level::Unknown => "FAIL ",
    };
    format!("{word} {what}: {text}")
}

/// Reports a wrong command line as unknown, since exit code 2 would be critical.
pub(in crate::cli) fn misused(what: &str) -> ExitCode {
    let (code, word) = status(Level::Unknown);
    println!("ESPM {word}: {}", what.replace('|', "/"));
    ExitCode::from(code)
}

/// A plugin's exit code and its word (Monitoring Plugins Development Guidelines).
fn status(worst: Level) -> (u8, &'static str) {
    match worst {
        Level::Good | Level::Skipped => (0, "OK"),
        Level::Warning => (1, "WARNING"),
        Level::Critical => (2, "CRITICAL"),
        Level::Unknown => (3, "UNKNOWN"),
    }
}
