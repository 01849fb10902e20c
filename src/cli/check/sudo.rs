//! sudo's settings, which root alone can read: none of them may log what espm's commands print.

use super::report::Report;
use crate::cli::failure;
use crate::config::Config;
use crate::system::process;
use crate::system::sudoers;

/// The lines that sudo's rules lack.
pub(super) enum Found {
    /// No command runs as another user.
    Unused,
    Unread,
    Missing(Vec<String>),
}

/// Reads the rules.
pub(super) fn look(config: &Config) -> Found {
    let console = config.console.command().is_some_and(|command| command.user.is_some());
    if !console && config.authority.user.is_none() {
        Found::Unused
    } else if process::is_root() {
        Found::Missing(sudoers::missing_lines())
    } else {
        Found::Unread
    }
}

/// Adds the line about sudo.
pub(super) fn report(report: &mut Report, found: &Found) {
    match found {
        Found::Unused => {}
        Found::Unread => report.skip("sudo", "root alone can read its rules; run 'espm check' as root"),
        Found::Missing(lines) if lines.is_empty() => {
            report.line("sudo", Ok("logs nothing that espm's commands print".into()))
        }
        Found::Missing(lines) => {
            let what = "a setting of sudo's would log private keys, or keep espm's commands from running";
            report.line("sudo", failure(format!("{what}; add to /etc/sudoers.d/espm: {}", lines.join(" and "))));
        }
    }
}
