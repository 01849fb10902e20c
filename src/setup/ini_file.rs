//! The text of a new espm.ini.

use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

use super::New;
use crate::clock::Deadline;
use crate::command::Program;
use crate::console::task::{Release, Task};
use crate::secret::PskDigest;

/// How long rake may take to list its tasks.
const PROBE_TIMEOUT: Duration = Duration::from_secs(60);

/// Finds the console's release out from `rake -s -T`; PE 2.5's when rake does not answer.
pub(super) fn find_release(command: &str, directory: &Path) -> Release {
    let mut argv: Vec<String> = command.split_whitespace().map(str::to_owned).collect();
    argv.extend(Task::Tasks.words(Release::V1_2_7));
    let program = Program { argv, environment: Vec::new(), directory: directory.to_owned() };
    let listed = program.capture(Vec::new(), Deadline::after(PROBE_TIMEOUT)).ok();
    let output = listed.filter(|ended| ended.code == Some(0)).map(|ended| ended.stdout).unwrap_or_default();
    Release::from_task_list(&String::from_utf8_lossy(&output)).unwrap_or(Release::V1_2_7)
}

/// The text; what has its default is left out.
pub(super) fn text(
    new: &New,
    certificate: &Path,
    key: &Path,
    release: Release,
    master: &str,
    digest: &PskDigest,
) -> String {
    let mut text = String::from("# espm.ini: every key and its default is in espm.ini of the documentation.\n");
    let mut put = |line: String| {
        let _ = writeln!(text, "{line}");
    };
    put(format!("\n[espm]\nlisten = {}", new.listen.display()));
    put(format!("state = {}", new.state.display()));
    put(format!("raise = {}", new.raise.display()));
    put(format!("\n[psk]\n{} = {digest}", new.client));
    put(format!("\n[tls]\ncertificate = {}", certificate.display()));
    put(format!("key = {}\nport = {}", key.display(), new.port));
    put(format!("\n[console]\nkind = rake\ncommand = {}", new.console_command));
    put(format!("directory = {}", new.console_directory.display()));
    put(format!("release = {}", release.word()));
    if let Some(user) = &new.console_user {
        put(format!("user = {user}"));
    }
    put(format!("\n[authority]\nkind = {}\ncommand = {}", new.authority_kind, new.authority_command));
    if let Some(config) = &new.authority_config {
        put(format!("config = {}", config.display()));
    }
    if let Some(user) = &new.authority_user {
        put(format!("user = {user}"));
    }
    put(format!("ssldir = {}\ncadir = {}", new.ssldir.display(), new.cadir.display()));
    put(format!("records = {}\nmaster = {master}", new.records.display()));
    put(format!("\n[audit]\nsocket = {}", new.syslog.display()));
    text
}
