//! The installed Puppet: its paths, its users, and whether it has a console.

use std::path::{Path, PathBuf};
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
pub(crate) const PUPPETS: [&str; 3] = ["/opt/puppetlabs/bin/puppet", "/opt/puppet/bin/puppet", "/usr/bin/puppet"];

/// Puppet Enterprise's console.
const RAKEFILE: &str = "/opt/puppet/share/puppet-dashboard/Rakefile";

/// Word for the first of [`PUPPETS`] that is there.
pub(super) const INSTALLED: &str = "installed";

/// The argument by which this program starts itself before a command that may have no terminal.
const APART: &str = "apart";

/// How long Puppet or rake may take to answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// Puppet's own name for its master; the programs know it as "server" from this version on.
const SERVER_SINCE: u32 = 7;

/// The version from which on `puppet cert` is gone, and `puppetserver ca` is there.
const SERVER_CA_SINCE: u32 = 6;

/// The versions that, run by another user than root, look for their own directories below that user's home.
const AT_HOME: std::ops::RangeInclusive<u32> = 3..=5;

/// The version from which on the code is in a directory of its own.
const CODE_SINCE: u32 = 4;

/// A `puppet` program and its version.
struct Puppet {
    path: PathBuf,
    major: u32,
}

impl Puppet {
    /// A `puppet` program, or the installed one.
    fn named(puppet: &Path) -> Result<Self, SetupError> {
        let installed = || PUPPETS.iter().map(Path::new).find(|path| path.exists());
        let path = if puppet == Path::new(INSTALLED) { installed() } else { Some(puppet) };
        Self::at(path.ok_or(SetupError::NoPuppet)?)
    }

    fn at(path: &Path) -> Result<Self, SetupError> {
        let failed = || SetupError::PuppetFailed { puppet: path.to_owned(), words: "--version".into() };
        let printed = ask(path, &["--version"]).ok_or_else(failed)?;
        let digits: String = printed.trim().chars().take_while(char::is_ascii_digit).collect();
        Ok(Self { path: path.to_owned(), major: digits.parse().map_err(|_| failed())? })
    }

    /// The settings of the master, which may differ from those of the agent on its machine.
    fn print(&self, keys: &[&'static str]) -> Result<Printed, SetupError> {
        let section = if self.major < SERVER_SINCE { "master" } else { "server" };
        let words = [&["config", "print"], keys, &["--section", section]].concat();
        // The face of 2.7 and of early 3 knows no sections.
        let old = ["master", "--configprint", &keys.join(",")];
        let printed = ask(&self.path, &words).or_else(|| ask(&self.path, &old).filter(|_| self.major <= 3));
        let failed = || SetupError::PuppetFailed { puppet: self.path.clone(), words: words.join(" ") };
        let mut text = printed.ok_or_else(failed)?;
        // Of a single one the value alone is printed.
        if let [key] = keys {
            text = format!("{key} = {text}");
        }
        Ok(Printed { puppet: self.path.clone(), text })
    }
}

/// The answer of `puppet config print`.
struct Printed {
    puppet: PathBuf,
    text: String,
}

impl Printed {
    fn value(&self, key: &'static str) -> Result<&str, SetupError> {
        let mut values = self.text.lines().filter_map(|line| line.split_once(" = "));
        let found = values.find(|(name, _)| *name == key).map(|(_, value)| value.trim());
        found.ok_or_else(|| SetupError::NotPrinted { puppet: self.puppet.clone(), key })
    }
}

/// Asks a `puppet` program, or the installed one.
pub(super) fn detect(puppet: &Path, keys: &mut Values) -> Result<(), SetupError> {
    let puppet = Puppet::named(puppet)?;
    let mut settings = vec!["ssldir", "cadir", "certname", "user", "config", "confdir", "vardir", "logdir", "rundir"];
    if puppet.major >= CODE_SINCE {
        settings.push("codedir");
    }
    if puppet.major >= SERVER_CA_SINCE {
        settings.push("ca_port");
    }
    let printed = puppet.print(&settings)?;
    keys.fill(["console", "kind"], if Path::new(RAKEFILE).exists() { "rake" } else { "enc" });
    if puppet.major >= SERVER_CA_SINCE {
        let server = puppet.path.with_file_name("puppetserver");
        if !server.exists() && keys.get(["authority", "command"]).is_none() {
            return Err(SetupError::NoServer { puppet: puppet.path, major: puppet.major, server });
        }
        // Who names a command wants it.
        let kind = if keys.get(["authority", "command"]).is_some() { "puppetserver-ca" } else { "puppet-ca-api" };
        keys.fill(["authority", "kind"], kind);
        match keys.get(["authority", "kind"]) {
            Some("puppet-ca-api") => {
                keys.fill(["authority", "address"], &format!("127.0.0.1:{}", printed.value("ca_port")?));
                keys.fill(["authority", "config"], printed.value("config")?);
            }
            Some("puppetserver-ca") => {
                keys.fill(["authority", "command"], &format!("{} ca", server.display()));
                keys.fill(["authority", "config"], printed.value("config")?);
            }
            _ => {}
        }
    }
    keys.fill(["authority", "kind"], "puppet-cert");
    for (name, key) in [("user", "user"), ("ssldir", "ssldir"), ("cadir", "cadir"), ("master", "certname")] {
        keys.fill(["authority", name], printed.value(key)?);
    }
    if keys.get(["authority", "kind"]) == Some("puppet-ca-api") {
        return Ok(());
    }
    let mut command = format!("{} cert", puppet.path.display());
    if AT_HOME.contains(&puppet.major) && keys.get(["authority", "user"]) != Some("root") {
        for key in settings.iter().skip_while(|key| **key != "confdir") {
            command = format!("{command} --{key} {}", printed.value(key)?);
        }
    }
    keys.fill(["authority", "command"], &command);
    Ok(())
}

/// Asks the Puppet of the CA's command for the master's certname.
///
/// The host's name proves nothing: it may be short, or the name of the agent on the same machine. A client would get
/// the certificate and the key of any other name of the master's.
pub(super) fn master(keys: &Values) -> Result<String, SetupError> {
    let program = keys.get(["authority", "command"]).and_then(|command| command.split_whitespace().next());
    let puppet = puppet_of(program.map(Path::new), keys.get(["authority", "kind"]).unwrap_or_default());
    let asked = || Puppet::at(&puppet)?.print(&["certname"])?.value("certname").map(str::to_owned);
    asked().map_err(|_| SetupError::NoMaster(puppet.clone()))
}

/// The `puppet` program that belongs to the program of the CA's command, or is installed.
pub(super) fn puppet_of(program: Option<&Path>, kind: &str) -> PathBuf {
    match program {
        Some(program) if kind == "puppet-cert" => program.to_owned(),
        Some(program) => program.with_file_name("puppet"),
        None => PUPPETS.iter().map(Path::new).find(|path| path.exists()).unwrap_or(Path::new("puppet")).to_owned(),
    }
}

/// Runs a script with Puppet's own Ruby, with these settings of the master as its arguments: Ruby's path, and what the
/// script printed.
///
/// It runs as the Puppet server's user and without root's terminal, because what it reads is not root's.
pub(super) fn run_script(
    puppet: &Path,
    script: &str,
    settings: &[&'static str],
) -> Result<(PathBuf, String), SetupError> {
    let puppet = Puppet::named(puppet)?;
    let printed = puppet.print(&[&["user"], settings].concat())?;
    let ruby = ruby_of(&puppet.path);
    let mut argv = vec!["/proc/self/exe".to_owned(), APART.to_owned(), ruby.display().to_string()];
    argv.extend(["-e".to_owned(), script.to_owned()]);
    for key in settings {
        argv.push(printed.value(key)?.to_owned());
    }
    let output = process::as_user(printed.value("user")?, || run(argv, Path::new("/"))).map_err(SetupError::Become)?;
    let output = output.ok_or_else(|| SetupError::NoClasses(ruby.clone()))?;
    Ok((ruby, output))
}

/// The Ruby of a `puppet` program: Puppet's packages have one of their own.
fn ruby_of(puppet: &Path) -> PathBuf {
    let beside = puppet.with_file_name("ruby");
    let own = puppet.with_file_name("../puppet/bin/ruby");
    if own.exists() { own } else { beside }
}

/// Asks rake's tasks for the console's release.
///
/// rake runs as the user that it will run as, the console's or espm's own, and without root's terminal. Otherwise the
/// console's code could become root, and what a console writes while it boots, its log above all, would be root's and
/// closed to the console from then on.
pub(super) fn release(rake: &config::Command, state: &Path) -> Result<Release, SetupError> {
    let mut argv = vec!["/proc/self/exe".to_owned(), APART.to_owned()];
    argv.extend(rake.argv.iter().cloned());
    argv.extend(Task::Tasks.words(Release::V1_2_7));
    let ask = || run(argv, &rake.directory);
    let listed = match &rake.user {
        Some(user) => process::as_user(user, ask),
        None => process::as_owner_of(state, ask),
    };
    let listed = listed.map_err(SetupError::Become)?.unwrap_or_default();
    Release::from_task_list(&listed).ok_or_else(|| SetupError::NoTasks {
        directory: rake.directory.clone(),
        user: rake.user.clone().unwrap_or_else(|| process::owner_of(state)),
        command: rake.argv.join(" "),
    })
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

/// The host's name with its domain, where the system knows one.
pub(super) fn full_name(short: &str) -> Option<String> {
    let name = ask(Path::new("/bin/hostname"), &["-f"])?.trim().to_ascii_lowercase();
    name.starts_with(&format!("{short}.")).then_some(name)
}

/// The output of a program of the system's that succeeds.
fn ask(program: &Path, words: &[&str]) -> Option<String> {
    let argv = std::iter::once(program.display().to_string()).chain(words.iter().map(|word| (*word).to_owned()));
    run(argv.collect(), Path::new("/"))
}

/// The output of a command that succeeds.
fn run(argv: Vec<String>, directory: &Path) -> Option<String> {
    let program = Program { argv, environment: Vec::new(), directory: directory.to_owned() };
    let ended = program.capture(Vec::new(), Deadline::after(PATIENCE)).ok()?;
    (ended.code == Some(0)).then(|| String::from_utf8_lossy(&ended.stdout).into_owned())
}
