//! `espm check`: does what a request does, and prints each part on a line.

mod certificate;
mod clients;
mod ends;
mod gate;
mod lost;
mod nodes;
mod paths;
mod puppet;
mod renewal;
pub(super) mod report;
mod settings;
mod state;
mod sudo;
mod web;

use std::io::ErrorKind;
use std::mem;
use std::path::Path;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use self::gate::Gate;
use self::nodes::Listed;
use self::report::{DAYS_LEFT, Form, Report};
use self::web::Web;
use super::{Failure, load};
use crate::audit;
use crate::authority::protocol::{Answer, Verb};
use crate::authority::{Authority, AuthorityError};
use crate::config::Config;
use crate::console::{Console, ConsoleError};
use crate::ledger::{Entry, Ledger};
use crate::model::client::Caller;
use crate::model::name::NodeName;
use crate::service::context;
use crate::system::clock::{self, DAY, Deadline};
use crate::system::text;
use crate::system::trusted_file::{self, Owner};

/// The longest wait for the console's and the CA's answers.
const PATIENCE: Duration = Duration::from_secs(300);

/// Time between two questions to what is busy.
const PAUSE: Duration = Duration::from_millis(200);

/// The longest wait for a web server or a gate that is busy.
const BUSY: Duration = Duration::from_secs(60);

/// A name that no node has, for a harmless question to the CA.
const NO_NODE: &str = "espm-check.espm-check.invalid";

/// Runs all checks; with `settle`, also settles unfinished changes.
pub(super) fn main(path: &Path, settle: bool, form: Form) -> ExitCode {
    let mut report = Report::new(form);
    // Before the user changes: root alone can read the web server's key and sudo's rules, and Puppet as another user has
    // other settings.
    let seen = Config::load(path, Owner::RootOrSelf).map(|config| {
        report.asking("Puppet's settings");
        (certificate::look(&config.tls), puppet::look(&config), sudo::look(&config))
    });
    match load(path) {
        Ok(config) => {
            report.line("configuration", Ok(path.display().to_string()));
            if let Ok((mut certificate, puppet, sudo)) = seen {
                certificate.report(&mut report);
                sudo::report(&mut report, &sudo);
                Check { report: &mut report, path, config: &config, settle }.run(certificate.shown, &puppet);
            }
        }
        // To a monitoring system, an unreadable configuration proves nothing about espm.
        Err(wrong) if is_unreadable(path) => report.unknown("configuration", wrong.0),
        Err(wrong) => report.line("configuration", Err(wrong)),
    }
    report.end()
}

fn is_unreadable(path: &Path) -> bool {
    trusted_file::open_existing(path).is_err_and(|error| error.io_kind() == Some(ErrorKind::PermissionDenied))
}

/// Asks until the answer is another than that too much is asked at once.
fn ask_again<T>(until: Deadline, mut ask: impl FnMut() -> T, is_busy: impl Fn(&T) -> bool) -> T {
    loop {
        let answer = ask();
        if until.passed() || !is_busy(&answer) {
            return answer;
        }
        thread::sleep(PAUSE);
    }
}

/// The checks of espm's user.
struct Check<'a> {
    report: &'a mut Report,
    path: &'a Path,
    config: &'a Config,
    settle: bool,
}

impl Check<'_> {
    fn run(&mut self, shown: Option<certificate::Shown>, puppet: &puppet::Settings) {
        let config = self.config;
        self.settings();
        let state = state::check(config);
        let usable = state.is_ok();
        self.report.line("state directory", state);
        self.report.line("syslog", probe_syslog(config));
        self.report.unsent(audit::kept_records(&config.audit.unsent).count());
        let paths = paths::check(config);
        let there = paths.is_ok() && usable;
        self.report.line("programs and directories", paths);
        if let Some(enc) = config.console.published() {
            match paths::classifier(self.path, enc) {
                Some(result) => self.report.line("classifier", result),
                None => {
                    let because = "there is no enc.ini beside espm.ini; try espm-enc by hand";
                    self.report.skip("classifier", because);
                }
            }
        }
        // Before the console is asked: a node that is deleted meanwhile is no longer listed.
        let entries = if usable { self.ledger() } else { None };
        if !usable {
            self.report.skip("ledger", "the state directory is not right; see above");
        }
        self.health(shown.as_ref());
        if !there {
            let because = "a program or a directory that it needs is not right; see above";
            self.report.skip("console", because);
            self.report.skip("authority", because);
        }
        let console = context::console(config, self.path, &Caller::Operator);
        let nodes = if there { self.console(console.as_ref()) } else { None };
        if there {
            self.authority(entries.as_deref().unwrap_or_default());
        }
        puppet::report(self.report, config, self.path, puppet);
        match (entries, nodes) {
            (Some(entries), Some(nodes)) => {
                lost::report(self.report, console.as_ref(), &entries);
                let listed = Listed::new(console.as_ref(), &nodes);
                nodes::compare(self.report, config, self.path, &entries, &listed, self.settle);
            }
            (None, _) => {}
            (Some(_), None) => self.report.skip("nodes", "the console does not list them, so they cannot be compared"),
        }
    }

    fn settings(&mut self) {
        match settings::check(self.config) {
            Ok(good) => self.report.line("settings", Ok(good)),
            // espm works with them.
            Err(wrong) => self.report.warn("settings", wrong.0),
        }
    }

    fn ledger(&mut self) -> Option<Vec<Entry>> {
        self.report.asking("the ledger");
        let read = Ledger::open(&self.config.state, "check").and_then(|ledger| {
            ledger.check_integrity()?;
            if self.settle {
                ledger.sweep_outputs()?;
            }
            ledger.entries(false)
        });
        match read {
            Err(error) => {
                self.report.line("ledger", Err(error.into()));
                None
            }
            Ok(entries) => {
                self.report.line("ledger", Ok(text::count(entries.len(), "node", "nodes")));
                self.report.entries(&entries);
                clients::report(self.report, self.config, &entries);
                Some(entries)
            }
        }
    }

    /// Asks for health as the web server does, and as a client does.
    fn health(&mut self, shown: Option<&certificate::Shown>) {
        self.report.asking("the gate and the web server for health");
        let until = Deadline::after(BUSY);
        let gate = gate::look(self.config, until);
        let web = web::look(&self.config.tls, shown, until);
        let sound = matches!(gate, Gate::Sound);
        if self.settle && matches!((&gate, &web), (Gate::Absent(_), Web::Wrong(_) | Web::Unavailable(_) | Web::Unasked))
        {
            // As after a restore: what is settled is settled before requests are taken.
            self.report.skip("gate", "it does not run; when all is settled: systemctl start espm.socket");
            return self.report.skip("web server", "the gate does not run");
        }
        self.report.line("gate", gate::line(gate, self.config, matches!(web, Web::Sound(_))));
        match web {
            Web::Sound(good) => self.report.line("web server", Ok(good)),
            Web::Unavailable(_) if !sound => self.report.skip("web server", "the gate does not answer; see above"),
            Web::Unavailable(wrong) | Web::Wrong(wrong) => self.report.line("web server", Err(wrong)),
            Web::Unasked => self.report.skip("web server", "openssl is not installed, so nothing here can ask it"),
        }
    }

    /// The nodes that the console lists; one failure is one line.
    fn console(&mut self, console: &dyn Console) -> Option<Vec<String>> {
        self.report.asking("the console");
        let until = Deadline::after(PATIENCE);
        let probed = patiently(until, || console.probe(until)).map_err(|error| self.with_hint(&error));
        let listed = patiently(until, || console.nodes(until));
        let nodes = match (listed, &probed) {
            (Ok(nodes), Ok(_)) => {
                let count = text::count(nodes.len(), "node", "nodes");
                self.report.line("console", probed.map(|good| format!("{good}; lists {count}")));
                Some(nodes)
            }
            (listed, Err(_)) => {
                self.report.line("console", probed);
                listed.ok()
            }
            (Err(error), Ok(_)) => {
                let wrong = self.with_hint(&error);
                self.report.line("console", Err(wrong));
                None
            }
        };
        if let Some(worker) = patiently(until, || console.probe_worker().transpose()).transpose() {
            self.report.line("console worker", worker.map_err(Failure::from));
        }
        nodes
    }

    fn authority(&mut self, entries: &[Entry]) {
        self.report.asking("the CA");
        let authority = context::authority(self.config, self.path, &Caller::Operator);
        let until = Deadline::after(PATIENCE);
        let mut asked = NodeName::parse(NO_NODE).map_err(Failure::from).and_then(|name| {
            // A list that is being written is not judged.
            let answer = authority.ask(Verb::Check, &name, until).or_else(|_| ask_alone(&authority, &name, until));
            answer.map_err(|error| self.with_hint(&error))
        });
        let ends = match &mut asked {
            Ok(Answer::Sound { ends, .. }) => Some(mem::take(ends)),
            _ => None,
        };
        match asked {
            Ok(Answer::Sound { until, .. }) if is_near(until) => {
                let end = clock::rfc3339(until);
                let what = format!("the CA's certificate ends at {end}, and with it each that it has signed");
                self.report.warn("authority", format!("{what}; renew it as Puppet's documentation says"));
            }
            Ok(Answer::Sound { list_until: Some(until), .. }) if is_near(until) => {
                let what = format!("the CA's revocation list ends at {}", clock::rfc3339(until));
                self.report.warn("authority", format!("{what}; have the CA write it anew, as a revocation does"));
            }
            Ok(Answer::Sound { .. }) => {
                let good = "answers; the master's certificate is valid, and the records can be read";
                let starts = self.config.authority.kind.master_reads_list_at_start();
                let restart = if starts { "; restart the master after a revocation" } else { "" };
                self.report.line("authority", Ok(format!("{good}{restart}")));
            }
            Ok(other) => self.report.line("authority", Err(Failure(format!("gave an unexpected answer: {other:?}")))),
            Err(wrong) => self.report.line("authority", Err(wrong)),
        }
        if let Some(ends) = ends {
            ends::report(self.report, ends, entries);
        }
    }

    /// An error with the file or the command that puts it right.
    fn with_hint(&self, error: &dyn std::error::Error) -> Failure {
        let what = text::chain(error);
        if ["sudo: ", "sudo-rs: "].iter().any(|program| what.contains(program)) {
            return Failure(format!("{what}; /etc/sudoers.d/espm must allow it"));
        }
        Failure(paths::unreadable(self.path, self.config, &what).unwrap_or(what))
    }
}

/// True if a certificate or a list that ends then must be renewed soon.
fn is_near(until: i64) -> bool {
    until < clock::now() + DAYS_LEFT * DAY
}

/// Asks the console again while requests have all its slots and places.
fn patiently<T>(until: Deadline, ask: impl FnMut() -> Result<T, ConsoleError>) -> Result<T, ConsoleError> {
    ask_again(until, ask, |answer| matches!(answer, Err(ConsoleError::Busy(_))))
}

fn ask_alone(authority: &Authority, name: &NodeName, until: Deadline) -> Result<Answer, AuthorityError> {
    ask_again(
        until,
        || authority.ask_alone(Verb::Check, name, until),
        |answer| matches!(answer, Err(AuthorityError::Busy(_))),
    )
}

fn probe_syslog(config: &Config) -> Result<String, Failure> {
    audit::probe(&config.audit.socket).map_err(|error| {
        Failure(format!("{}; start syslog, or name its socket in [audit] socket", text::chain(&error)))
    })?;
    Ok(config.audit.socket.display().to_string())
}
