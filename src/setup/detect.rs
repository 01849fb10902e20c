//! The installed Puppet: its paths, its users, and whether it has a console.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use super::{New, SetupError};
use crate::audit;
use crate::console::rake::task::{Release, Task};
use crate::system::clock::Deadline;
use crate::system::command::{self, Program};
use crate::system::process;

/// Where Puppet's own packages, Puppet Enterprise's and the distributions' have the program.
pub(super) const PUPPETS: [&str; 3] = ["/opt/puppetlabs/bin/puppet", "/opt/puppet/bin/puppet", "/usr/bin/puppet"];

/// Puppet Enterprise's console.
const CONSOLE: &str = "/opt/puppet/share/puppet-dashboard";

/// Word for the first of [`PUPPETS`] that is there.
pub(super) const INSTALLED: &str = "installed";

/// The argument by which this program starts itself before a command that may have no terminal.
const APART: &str = "apart";

/// How long Puppet or rake may take to answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// Fills in what the administrator has not given: from the installed Puppet where that is asked for, from this host,
/// and from Puppet Enterprise 2.5's documents.
pub(super) fn fill_in(new: &mut New) -> Result<(), SetupError> {
    if let Some(puppet) = new.detect.clone() {
        detect(&puppet, new)?;
    }
    let host = new.host.get_or_insert_with(host_name).clone();
    new.master.get_or_insert(host);
    set(&mut new.console_kind, "rake");
    set(
        &mut new.console_command,
        "/opt/puppet/bin/rake -f /opt/puppet/share/puppet-dashboard/Rakefile RAILS_ENV=production",
    );
    set(&mut new.console_directory, CONSOLE);
    set(&mut new.authority_kind, "puppet-cert");
    set(&mut new.authority_command, "/opt/puppet/bin/puppet cert");
    set(&mut new.ssldir, "/etc/puppetlabs/puppet/ssl");
    set(&mut new.cadir, "/etc/puppetlabs/puppet/ssl/ca");
    Ok(())
}

/// This host's name.
fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().to_ascii_lowercase()
}

fn set<T: for<'a> From<&'a str>>(slot: &mut Option<T>, value: &str) {
    slot.get_or_insert_with(|| value.into());
}

/// Asks a `puppet` program, or the installed one.
fn detect(puppet: &Path, new: &mut New) -> Result<(), SetupError> {
    let installed = || PUPPETS.iter().map(Path::new).find(|path| path.exists());
    let puppet = if puppet == Path::new(INSTALLED) { installed() } else { Some(puppet) };
    let puppet = puppet.ok_or(SetupError::NoPuppet)?;
    let words = ["config", "print", "ssldir", "cadir", "certname", "user", "config"];
    let argv = [puppet.display().to_string()].into_iter().chain(words.map(str::to_owned)).collect();
    let output = run(argv, Path::new("/")).ok_or_else(|| SetupError::PuppetFailed(puppet.to_owned()))?;
    let value = |key: &'static str| {
        let mut values = output.lines().filter_map(|line| line.split_once(" = "));
        let found = values.find(|(name, _)| *name == key).map(|(_, value)| value.trim());
        found.ok_or_else(|| SetupError::NotPrinted { puppet: puppet.to_owned(), key })
    };
    set(&mut new.console_kind, if Path::new(CONSOLE).join("Rakefile").exists() { "rake" } else { "enc" });
    let server = puppet.with_file_name("puppetserver");
    set(&mut new.authority_kind, if server.exists() { "puppetserver-ca" } else { "puppet-cert" });
    if new.authority_kind.as_deref() == Some("puppetserver-ca") {
        set(&mut new.authority_command, &format!("{} ca", server.display()));
        set(&mut new.authority_config, value("config")?);
    }
    set(&mut new.authority_command, &format!("{} cert", puppet.display()));
    set(&mut new.authority_user, value("user")?);
    set(&mut new.ssldir, value("ssldir")?);
    set(&mut new.cadir, value("cadir")?);
    set(&mut new.master, value("certname")?);
    Ok(())
}

/// Asks rake's tasks for the console's release; Puppet Enterprise 2.5's when rake does not answer.
///
/// rake runs as the user that it will run as, the console's or espm's own, and without root's terminal. Otherwise the
/// console's code could become root, and what a console writes while it boots, its log above all, would be root's and
/// closed to the console from then on.
pub(super) fn release(new: &New) -> Option<Release> {
    let directory = new.console_directory.as_deref().filter(|_| new.has_console())?;
    let mut argv = vec!["/proc/self/exe".to_owned(), APART.to_owned()];
    argv.extend(new.console_command.as_deref()?.split_whitespace().map(str::to_owned));
    argv.extend(Task::Tasks.words(Release::V1_2_7));
    let ask = || run(argv, directory);
    let listed = match &new.console_user {
        Some(user) => process::as_user(user, ask),
        None => process::as_owner_of(&new.state, ask),
    };
    let listed = listed.ok().flatten().unwrap_or_default();
    Some(Release::from_task_list(&listed).unwrap_or(Release::V1_2_7))
}

/// Becomes the command in this program's arguments, where it has started itself for that.
pub(super) fn become_apart() -> Option<ExitCode> {
    let arguments: Vec<String> = std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
    if let [APART, command @ ..] = arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        process::leave_terminal();
        audit::complain(&command::become_words(command).to_string());
        return Some(ExitCode::FAILURE);
    }
    None
}

/// The output of a command that succeeds.
fn run(argv: Vec<String>, directory: &Path) -> Option<String> {
    let program = Program { argv, environment: Vec::new(), directory: directory.to_owned() };
    let ended = program.capture(Vec::new(), Deadline::after(PATIENCE)).ok()?;
    (ended.code == Some(0)).then(|| String::from_utf8_lossy(&ended.stdout).into_owned())
}
