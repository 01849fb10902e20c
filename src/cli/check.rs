//! `espm check`: everything that has to be right, each on a line.

use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use super::report::{DAYS_CRITICAL, DAYS_LEFT, Form, Report};
use super::{as_operator, load, places};
use crate::audit;
use crate::authority::Authority;
use crate::authority::protocol::{Answer, Verb};
use crate::config::{Config, Console, Tls};
use crate::console::Standing;
use crate::ledger::{CertificateState, Entry, Ledger, NodeState};
use crate::model::fault::Fault;
use crate::model::name::NodeName;
use crate::service::certificates;
use crate::service::change::{Locked, LockedNode};
use crate::service::context;
use crate::service::recovery::{self, Aim, Settled};
use crate::system::clock::{self, Deadline};
use crate::system::process;
use crate::system::text;
use crate::system::trusted_file::{self, Owner};
use crate::system::x509;

/// Bytes of a certificate or key.
const MAX_PEM: u64 = 256 * 1024;

/// Bytes that must be free where the ledger is: a proof, a journal and a cache are made at once by every
/// slot and place in the queue.
const LEAST_FREE: u64 = 16 * 1024 * 1024;

/// How long the console and the CA may take to answer.
const PATIENCE: Duration = Duration::from_secs(300);

/// A name that no node has, to ask the CA's verbs with: its labels are too many to be a host's.
const NOBODY: &str = "espm-check.espm-check.invalid";

/// Checks everything; with `settle` also mends what was left unfinished.
pub(super) fn main(path: &Path, settle: bool, form: Form) -> ExitCode {
    let mut report = Report::new(form);
    // The web server's key is root's alone, so it is looked at before the user changes.
    let tls = Config::load(path, Owner::RootOrSelf).map(|config| (days_left(&config.tls), check_tls(&config.tls)));
    match load(path) {
        Ok(config) => {
            report.line("configuration", Ok(path.display().to_string()));
            if let Ok((days, checked)) = tls {
                certificate(&mut report, days, checked);
            }
            look(&mut report, path, &config, settle);
        }
        // Who may not read it knows nothing about espm.
        Err(what) if is_kept_from(path) => report.unknown("configuration", what),
        Err(what) => report.line("configuration", Err(what)),
    }
    report.end()
}

fn is_kept_from(path: &Path) -> bool {
    trusted_file::open_existing(path).is_err_and(|error| error.io_kind() == Some(ErrorKind::PermissionDenied))
}

/// What is looked at as espm's user.
fn look(report: &mut Report, path: &Path, config: &Config, settle: bool) {
    let state = check_state(config);
    let usable = state.is_ok();
    report.line("state directory", state);
    report.line("syslog", probe_syslog(config));
    report.unsent(std::fs::read_dir(&config.audit.unsent).map_or(0, Iterator::count));
    let (console, authority) = (context::console(config, path), context::authority(config, path));
    let until = Deadline::after(PATIENCE);
    let places = places::check(config);
    let there = places.is_ok();
    report.line("programs and directories", places);
    if let Console::Enc(enc) = &config.console {
        match places::classifier(path, enc) {
            Some(result) => report.line("classifier", result),
            None => report.skip("classifier", "there is no enc.ini beside espm.ini; try espm-enc by hand"),
        }
    }
    let mut nodes = None;
    if there && usable {
        let probed = console.probe(until).map_err(|error| with_hint(error.to_string()));
        let listed = console.nodes(until).map_err(|error| error.to_string());
        // What is wrong is said once; a console of another release lists its nodes all the same.
        nodes = Some(listed).filter(|listed| probed.is_ok() || listed.is_ok());
        report.line("console", probed);
        if let Some(worker) = console.probe_worker() {
            report.line("console worker", worker.map_err(|error| error.to_string()));
        }
        report.line("authority", ask_authority(&authority, until).map_err(with_hint));
    } else {
        report.skip("console", "needs a program or a directory that is not right");
        report.skip("authority", "needs a program or a directory that is not right");
    }
    let entries = Ledger::open(&config.state, "check").and_then(|ledger| {
        ledger.check_integrity()?;
        if settle {
            ledger.sweep_proofs()?;
        }
        ledger.entries(false)
    });
    match entries {
        Err(error) => report.line("ledger", Err(error.to_string())),
        Ok(entries) => {
            report.line("ledger", Ok(text::count(entries.len(), "node", "nodes")));
            report.entries(&entries);
            match nodes {
                Some(nodes) => compare(report, config, path, &entries, nodes, settle),
                None => report.skip("nodes", "cannot be compared while the console does not answer"),
            }
        }
    }
}

/// Whole days until the certificate ends.
fn days_left(tls: &Tls) -> Option<i64> {
    let certificate = trusted_file::read(&tls.certificate, MAX_PEM, Owner::RootOrSelf).ok()?;
    Some((x509::identity(&certificate).ok()?.not_after - clock::now()) / 86_400)
}

fn certificate(report: &mut Report, days: Option<i64>, checked: Option<Result<String, String>>) {
    if let Some(days) = days {
        report.days(days);
    }
    let Some(checked) = checked else {
        return report.skip("certificate", "root alone can read it; run 'espm check' as root to look at it");
    };
    match checked.map_err(|what| format!("[tls] {what}")) {
        Err(what) if days.is_some_and(|days| (DAYS_CRITICAL..DAYS_LEFT).contains(&days)) => {
            report.warn("certificate", what);
        }
        result => report.line("certificate", result),
    }
}

/// `None` when it is root's alone to read and this is not root, which is as it should be.
fn check_tls(tls: &Tls) -> Option<Result<String, String>> {
    let read = trusted_file::read(&tls.certificate, MAX_PEM, Owner::RootOrSelf);
    let denied = read.is_err_and(|error| error.io_kind() == Some(ErrorKind::PermissionDenied));
    (process::is_root() || !denied).then(|| check_pair(tls))
}

fn check_pair(tls: &Tls) -> Result<String, String> {
    let read = |path: &Path| trusted_file::read(path, MAX_PEM, Owner::RootOrSelf).map_err(|error| error.to_string());
    let certificate = read(&tls.certificate)?;
    let identity = x509::identity(&certificate).map_err(|error| format!("{}: {error}", tls.certificate.display()))?;
    let (path, now) = (tls.certificate.display(), clock::now());
    if now < identity.not_before {
        let begins = clock::rfc3339(identity.not_before);
        return Err(format!("{path}: is valid only from {begins} on, now is {}; set the clock", clock::rfc3339(now)));
    }
    if now > identity.not_after {
        let ended = clock::rfc3339(identity.not_after);
        return Err(format!("{path}: ended at {ended}; renew it as README.md says, or set the clock"));
    }
    let days = (identity.not_after - now) / 86_400;
    let left = text::count(usize::try_from(days).unwrap_or_default(), "day", "days");
    if days < DAYS_LEFT {
        return Err(format!("{path}: ends in {left}; renew it as README.md says"));
    }
    if !process::is_root() {
        return Ok(format!("ends in {left}; run as root to compare it with its key"));
    }
    let mode = std::fs::metadata(&tls.key).map(|metadata| metadata.mode() & 0o7777);
    if mode.is_ok_and(|mode| mode & 0o077 != 0) {
        return Err(format!("{}: others can read it; chmod 0600 {0}", tls.key.display()));
    }
    match x509::key_fits(&certificate, &read(&tls.key)?) {
        Ok(true) => Ok(format!("ends in {left}")),
        Ok(false) => Err(format!(
            "{} does not belong to {}; put the right one there, or renew both as README.md says",
            tls.key.display(),
            tls.certificate.display()
        )),
        Err(error) => Err(format!("{}: {error}", tls.key.display())),
    }
}

fn check_state(config: &Config) -> Result<String, String> {
    trusted_file::check_directory(&config.state, Owner::RootOrSelf).map_err(|error| error.to_string())?;
    let metadata = std::fs::metadata(&config.state).map_err(|error| error.to_string())?;
    if metadata.uid() != process::user() {
        return Err(format!(
            "{} is owned by user {}, want the one espm runs as",
            config.state.display(),
            metadata.uid()
        ));
    }
    let path = config.state.display();
    if let Err(error) = rustix::fs::access(&config.state, rustix::fs::Access::WRITE_OK) {
        return Err(format!(
            "[espm] state: {path} cannot be written: {}; mend its file system",
            std::io::Error::from(error)
        ));
    }
    let space = rustix::fs::statvfs(&config.state).map_err(|error| std::io::Error::from(error).to_string())?;
    let free = space.f_bavail.saturating_mul(space.f_frsize);
    if free < LEAST_FREE {
        return Err(format!("[espm] state: {path} has {} KiB left; make room on its disk", free / 1024));
    }
    Ok(path.to_string())
}

fn probe_syslog(config: &Config) -> Result<String, String> {
    audit::probe(&config.audit.socket)
        .map_err(|error| format!("{error}; start syslog, or name its socket in [audit] socket"))?;
    Ok(config.audit.socket.display().to_string())
}

/// What sudo says does not say where to look.
fn with_hint(what: String) -> String {
    if what.contains("sudo: ") { format!("{what}; /etc/sudoers.d/espm must allow it") } else { what }
}

fn ask_authority(authority: &Authority, until: Deadline) -> Result<String, String> {
    let nobody = NodeName::parse(NOBODY).map_err(|error| error.to_string())?;
    check_answer(authority.ask(Verb::Check, &nobody, until).map_err(|error| error.to_string())?)
}

fn check_answer(answer: Answer) -> Result<String, String> {
    match answer {
        Answer::Sound => Ok("answers; its certificate, its revocation list and the records can be read".into()),
        other => Err(format!("gave an unexpected answer: {other:?}")),
    }
}

/// What is said of a node that a human has to decide about.
const IN_DOUBT: &str = "may be espm's or not; 'espm adopt' or 'espm forget' it";

/// Holds the ledger against the console.
fn compare(
    report: &mut Report,
    config: &Config,
    path: &Path,
    entries: &[Entry],
    nodes: Result<Vec<String>, String>,
    settle: bool,
) {
    let nodes = match nodes {
        Ok(nodes) => nodes,
        Err(what) => return report.line("nodes", Err(what)),
    };
    // Every certificate would be revoked for it.
    if settle && nodes.is_empty() && !entries.is_empty() && matches!(config.console, Console::Rake(_)) {
        let what = "the console lists none, not even the master; nothing is settled: is it the right one?";
        return report.line("nodes", Err(what.to_owned()));
    }
    let mut wrong = 0;
    for entry in entries {
        let name = &entry.node.name;
        let there = nodes.iter().any(|node| node == name.as_str());
        let what = match entry.state {
            NodeState::Active if !there => "is missing in the console",
            NodeState::Active => match entry.certificate {
                Some(CertificateState::Generating | CertificateState::Revoking) => "has an unfinished certificate",
                _ => continue,
            },
            NodeState::Unproven => IN_DOUBT,
            NodeState::Creating | NodeState::Changing | NodeState::Deleting => "has an unfinished change",
        };
        if !settle || entry.state == NodeState::Unproven {
            wrong += 1;
            let advice = if entry.state == NodeState::Unproven { "" } else { "; 'espm check --settle' settles it" };
            report.warn("node", format!("{name} {what}{advice}"));
            continue;
        }
        let mut in_doubt = false;
        let mended = as_operator(config, path, "operator.settle", name, |context| {
            let ledger = context.ledger()?;
            let mut locked = Locked::acquire(context, ledger, name)?;
            match recovery::settle(&mut locked, Aim::Keep)? {
                Settled::Ours(entry) => settle_active(LockedNode { locked, entry: *entry }, there),
                Settled::NotOurs => Ok(()),
                Settled::Unproven => {
                    in_doubt = true;
                    Ok(())
                }
            }
        });
        wrong += usize::from(in_doubt || mended.is_err());
        match mended {
            Ok(()) if in_doubt => report.warn("node", format!("{name} {IN_DOUBT}")),
            mended => report.line("node", mended.map(|()| format!("{name} {what}: settled"))),
        }
    }
    if wrong == 0 {
        report.line("nodes", Ok("every node in the ledger is in the console".into()));
    }
}

/// Settles a node that no intent is open of, and that the console's list had or lacked when the check began.
fn settle_active(mut node: LockedNode<'_>, listed: bool) -> Result<(), Fault> {
    if !listed {
        let context = &node.locked.context;
        match context.console.standing(&node.entry.node.name, context.until)? {
            Standing::Listed(_) | Standing::Published => {}
            missing @ (Standing::Unlisted | Standing::Unpublished) => {
                return recovery::settle_missing(&mut node, &missing);
            }
        }
    }
    certificates::settle(node)
}
