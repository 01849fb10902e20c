//! What Puppet there is: its paths, its users, and whether it has a console.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use super::{New, SetupError, say};
use crate::audit;
use crate::console::rake::task::{Release, Task};
use crate::system::clock::Deadline;
use crate::system::command::{self, Program};
use crate::system::process;

/// Where Puppet's own packages, Puppet Enterprise's and the distributions' have the program.
const PUPPETS: [&str; 3] = ["/opt/puppetlabs/bin/puppet", "/opt/puppet/bin/puppet", "/usr/bin/puppet"];

/// Stands for the first of them that is there.
pub(super) const INSTALLED: &str = "installed";

/// The argument by which this program starts itself before a command that shall have no terminal.
const APART: &str = "apart";

/// How long Puppet or rake may take to answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// Puppet's parts on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Puppet {
    pub(super) console_kind: String,
    pub(super) console_command: String,
    pub(super) console_directory: PathBuf,
    pub(super) authority_kind: String,
    pub(super) authority_command: String,
    pub(super) authority_user: Option<String>,
    pub(super) authority_config: Option<PathBuf>,
    pub(super) ssldir: PathBuf,
    pub(super) cadir: PathBuf,
    pub(super) master: Option<String>,
}

/// Puppet Enterprise 2.5, as its documents describe it.
pub(super) fn enterprise() -> Puppet {
    Puppet {
        console_kind: "rake".into(),
        console_command: "/opt/puppet/bin/rake -f /opt/puppet/share/puppet-dashboard/Rakefile RAILS_ENV=production"
            .into(),
        console_directory: "/opt/puppet/share/puppet-dashboard".into(),
        authority_kind: "puppet-cert".into(),
        authority_command: "/opt/puppet/bin/puppet cert".into(),
        authority_user: None,
        authority_config: None,
        ssldir: "/etc/puppetlabs/puppet/ssl".into(),
        cadir: "/etc/puppetlabs/puppet/ssl/ca".into(),
        master: None,
    }
}

/// Asks a `puppet` program, or the installed one.
pub(super) fn detect(puppet: &Path) -> Result<Puppet, SetupError> {
    let installed = || PUPPETS.iter().map(Path::new).find(|path| path.exists());
    let puppet = if puppet == Path::new(INSTALLED) { installed() } else { Some(puppet) };
    let Some(puppet) = puppet else {
        return say(format!("no puppet found in {}; give --detect PUPPET", PUPPETS.join(", ")));
    };
    let words = ["config", "print", "ssldir", "cadir", "certname", "user", "config"];
    let argv = [puppet.display().to_string()].into_iter().chain(words.map(str::to_owned)).collect();
    let output = run(argv, Path::new("/")).ok_or_else(|| {
        SetupError::Say(format!("{} config print failed; run it by hand to see why", puppet.display()))
    })?;
    let value = |key: &str| {
        let mut values = output.lines().filter_map(|line| line.split_once(" = "));
        let found = values.find(|(name, _)| *name == key).map(|(_, value)| value.trim().to_owned());
        found.ok_or_else(|| SetupError::Say(format!("{} config print did not print {key}", puppet.display())))
    };
    let usual = enterprise();
    let server = puppet.with_file_name("puppetserver");
    let console = usual.console_directory.join("Rakefile").exists();
    let (authority_kind, authority_command, authority_config) = if server.exists() {
        ("puppetserver-ca", format!("{} ca", server.display()), Some(value("config")?.into()))
    } else {
        ("puppet-cert", format!("{} cert", puppet.display()), None)
    };
    Ok(Puppet {
        console_kind: if console { "rake" } else { "enc" }.into(),
        authority_kind: authority_kind.into(),
        authority_command,
        authority_user: Some(value("user")?),
        authority_config,
        ssldir: value("ssldir")?.into(),
        cadir: value("cadir")?.into(),
        master: Some(value("certname")?),
        ..usual
    })
}

impl Puppet {
    /// What the administrator has said counts.
    pub(super) fn overridden_by(self, new: &New) -> Self {
        let new = new.clone();
        Self {
            console_kind: new.console_kind.unwrap_or(self.console_kind),
            console_command: new.console_command.unwrap_or(self.console_command),
            console_directory: new.console_directory.unwrap_or(self.console_directory),
            authority_kind: new.authority_kind.unwrap_or(self.authority_kind),
            authority_command: new.authority_command.unwrap_or(self.authority_command),
            authority_user: new.authority_user.or(self.authority_user),
            authority_config: new.authority_config.or(self.authority_config),
            ssldir: new.ssldir.unwrap_or(self.ssldir),
            cadir: new.cadir.unwrap_or(self.cadir),
            master: self.master,
        }
    }
}

/// The console's release, out of `rake -s -T`; PE 2.5's when rake does not answer, none without a console.
///
/// rake runs as the user that it will run as, the console's or espm's own, and without root's terminal: who can
/// write the console's code shall not become root by this, and what a console writes while it boots, its log
/// first of all, would be root's, and closed to the console from then on.
pub(super) fn release(puppet: &Puppet, user: Option<&str>, state: &Path) -> Option<Release> {
    if puppet.console_kind != "rake" {
        return None;
    }
    let mut argv = vec!["/proc/self/exe".to_owned(), APART.to_owned()];
    argv.extend(puppet.console_command.split_whitespace().map(str::to_owned));
    argv.extend(Task::Tasks.words(Release::V1_2_7));
    let ask = || run(argv, &puppet.console_directory);
    let listed = match user {
        Some(user) => process::as_user(user, ask),
        None => process::as_owner_of(state, ask),
    };
    let listed = listed.ok().flatten().unwrap_or_default();
    Some(Release::from_task_list(&listed).unwrap_or(Release::V1_2_7))
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
