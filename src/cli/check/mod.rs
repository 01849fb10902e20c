//! `espm check`: checks all that a request needs, and prints each check on a line.

mod certificate;
mod nodes;
mod paths;
pub(super) mod report;

use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use self::report::{Form, Report};
use super::{Failure, load};
use crate::audit;
use crate::authority::Authority;
use crate::authority::executor::Kind;
use crate::authority::protocol::{Answer, Verb};
use crate::config::Config;
use crate::ledger::Ledger;
use crate::model::name::NodeName;
use crate::service::context;
use crate::system::clock::Deadline;
use crate::system::process;
use crate::system::text;
use crate::system::trusted_file::{self, Owner};

/// Least free bytes beside the ledger.
///
/// Every slot and place in the queue can write an output file, a journal and a cache at once.
const LEAST_FREE: u64 = 16 * 1024 * 1024;

/// The longest wait for the console's and the CA's answers.
const PATIENCE: Duration = Duration::from_secs(300);

/// A name that no node has, for a harmless question to the CA.
const NO_NODE: &str = "espm-check.espm-check.invalid";

/// Runs all checks; with `settle`, also settles unfinished changes.
pub(super) fn main(path: &Path, settle: bool, form: Form) -> ExitCode {
    let mut report = Report::new(form);
    // Before the user changes, since root alone can read the web server's key.
    let tls = Config::load(path, Owner::RootOrSelf).map(|config| certificate::look(&config.tls));
    match load(path) {
        Ok(config) => {
            report.line("configuration", Ok(path.display().to_string()));
            if let Ok(found) = tls {
                found.report(&mut report);
            }
            check_as_espm(&mut report, path, &config, settle);
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

/// Runs the checks of espm's user.
fn check_as_espm(report: &mut Report, path: &Path, config: &Config, settle: bool) {
    let state = check_state(config);
    let usable = state.is_ok();
    report.line("state directory", state);
    report.line("syslog", probe_syslog(config));
    report.unsent(audit::kept_records(&config.audit.unsent).count());
    let (console, authority) = (context::console(config, path), context::authority(config, path));
    let until = Deadline::after(PATIENCE);
    let paths = paths::check(config);
    let there = paths.is_ok();
    report.line("programs and directories", paths);
    if let Some(enc) = config.console.published() {
        match paths::classifier(path, enc) {
            Some(result) => report.line("classifier", result),
            None => report.skip("classifier", "there is no enc.ini beside espm.ini; try espm-enc by hand"),
        }
    }
    let mut listed = None;
    if there && usable {
        let probed = console.probe(until).map_err(with_hint);
        let nodes = console.nodes(until);
        // One failure, one line; a console of another release still lists its nodes.
        listed = Some(nodes).filter(|nodes| probed.is_ok() || nodes.is_ok());
        report.line("console", probed);
        if let Some(worker) = console.probe_worker() {
            report.line("console worker", worker.map_err(Failure::from));
        }
        report.line("authority", ask_authority(&authority, config.authority.kind, until));
    } else {
        report.skip("console", "a program or a directory that it needs is not right; see above");
        report.skip("authority", "a program or a directory that it needs is not right; see above");
    }
    let entries = Ledger::open(&config.state, "check").and_then(|ledger| {
        ledger.check_integrity()?;
        if settle {
            ledger.sweep_outputs()?;
        }
        ledger.entries(false)
    });
    match entries {
        Err(error) => report.line("ledger", Err(error.into())),
        Ok(entries) => {
            report.line("ledger", Ok(text::count(entries.len(), "node", "nodes")));
            report.entries(&entries);
            match listed {
                Some(Ok(nodes)) => nodes::compare(report, config, path, &entries, (console.as_ref(), &nodes), settle),
                Some(Err(error)) => report.line("nodes", Err(error.into())),
                None => report.skip("nodes", "the console does not answer, so they cannot be compared"),
            }
        }
    }
}

fn check_state(config: &Config) -> Result<String, Failure> {
    trusted_file::check_directory(&config.state, Owner::RootOrSelf)?;
    let metadata = std::fs::metadata(&config.state)?;
    if metadata.uid() != process::user() {
        return Err(Failure(format!(
            "[espm] state: {} is owned by user {}; run 'espm check' as root or as that user",
            config.state.display(),
            metadata.uid()
        )));
    }
    let path = config.state.display();
    if let Err(error) = rustix::fs::access(&config.state, rustix::fs::Access::WRITE_OK) {
        return Err(Failure(format!(
            "[espm] state: {path} cannot be written: {}; repair or remount its file system",
            std::io::Error::from(error)
        )));
    }
    let space = rustix::fs::statvfs(&config.state).map_err(std::io::Error::from)?;
    let free = space.f_bavail.saturating_mul(space.f_frsize);
    if free < LEAST_FREE {
        return Err(Failure(format!("[espm] state: {path} has {} KiB left; make room on its disk", free / 1024)));
    }
    Ok(path.to_string())
}

fn probe_syslog(config: &Config) -> Result<String, Failure> {
    audit::probe(&config.audit.socket).map_err(|error| {
        Failure(format!("{}; start syslog, or name its socket in [audit] socket", text::chain(&error)))
    })?;
    Ok(config.audit.socket.display().to_string())
}

/// Adds the file to look at to sudo's own message.
fn with_hint(error: impl std::error::Error) -> Failure {
    let what = text::chain(&error);
    Failure(if what.contains("sudo: ") { format!("{what}; /etc/sudoers.d/espm must allow it") } else { what })
}

fn ask_authority(authority: &Authority, kind: Kind, until: Deadline) -> Result<String, Failure> {
    let no_node = NodeName::parse(NO_NODE)?;
    match authority.ask(Verb::Check, &no_node, until).map_err(with_hint)? {
        Answer::Sound { .. } => {
            let restart =
                if kind.master_reads_list_at_start() { "; restart the master after a revocation" } else { "" };
            Ok(format!("answers; its certificate, its revocation list and the records can be read{restart}"))
        }
        other => Err(Failure(format!("gave an unexpected answer: {other:?}"))),
    }
}
