//! The installed Puppet: its paths, its users, and whether it has a console.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use super::SetupError;
use super::options::Values;
use crate::audit;
use crate::config;
use crate::console::rake::task::{Release, Task};
use crate::system::clock::Deadline;
use crate::system::command::{self, Program};
use crate::system::process;

/// Where Puppet's own packages, Puppet Enterprise's and the distributions' have the program.
pub(super) const PUPPETS: [&str; 3] = ["/opt/puppetlabs/bin/puppet", "/opt/puppet/bin/puppet", "/usr/bin/puppet"];

/// Puppet Enterprise's console.
const RAKEFILE: &str = "/opt/puppet/share/puppet-dashboard/Rakefile";

/// Word for the first of [`PUPPETS`] that is there.
pub(super) const INSTALLED: &str = "installed";

/// The argument by which this program starts itself before a command that may have no terminal.
const APART: &str = "apart";

/// How long Puppet or rake may take to answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// Asks a `puppet` program, or the installed one.
pub(super) fn detect(puppet: &Path, keys: &mut Values) -> Result<(), SetupError> {
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
    keys.fill(["console", "kind"], if Path::new(RAKEFILE).exists() { "rake" } else { "enc" });
    let server = puppet.with_file_name("puppetserver");
    keys.fill(["authority", "kind"], if server.exists() { "puppetserver-ca" } else { "puppet-cert" });
    if keys.get(["authority", "kind"]) == Some("puppetserver-ca") {
        keys.fill(["authority", "command"], &format!("{} ca", server.display()));
        keys.fill(["authority", "config"], value("config")?);
    }
    keys.fill(["authority", "command"], &format!("{} cert", puppet.display()));
    for (name, key) in [("user", "user"), ("ssldir", "ssldir"), ("cadir", "cadir"), ("master", "certname")] {
        keys.fill(["authority", name], value(key)?);
    }
    Ok(())
}

/// Asks rake's tasks for the console's release; Puppet Enterprise 2.5's when rake does not answer.
///
/// rake runs as the user that it will run as, the console's or espm's own, and without root's terminal. Otherwise the
/// console's code could become root, and what a console writes while it boots, its log above all, would be root's and
/// closed to the console from then on.
pub(super) fn release(rake: &config::Command, state: &Path) -> Release {
    let mut argv = vec!["/proc/self/exe".to_owned(), APART.to_owned()];
    argv.extend(rake.argv.iter().cloned());
    argv.extend(Task::Tasks.words(Release::V1_2_7));
    let ask = || run(argv, &rake.directory);
    let listed = match &rake.user {
        Some(user) => process::as_user(user, ask),
        None => process::as_owner_of(state, ask),
    };
    Release::from_task_list(&listed.ok().flatten().unwrap_or_default()).unwrap_or(Release::V1_2_7)
}

/// Becomes the command in this program's arguments, where it has started itself for that.
pub(super) fn become_apart() -> Option<ExitCode> {
    let arguments: Vec<String> = std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
    if let [APART, program, arguments @ ..] = arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        process::leave_terminal();
        audit::complain(&command::become_program(program, arguments).to_string());
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
