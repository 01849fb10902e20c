//! `espm-helper`: runs one task of the console or one verb of the CA, as that user.
//!
//! sudo starts it by a line that fixes its arguments. It reads a request from standard input, and takes nothing from
//! its starter's environment, terminal, limits or groups. It trusts only a configuration of root's. It parses every
//! name again and builds the arguments itself. It enforces the time limit, because espm cannot signal another user's
//! process.
//!
//! A run of rake that only lists ends when this program dies: this program starts itself again as `follow`, which
//! asks the kernel for that signal and becomes rake. A run that changes something always goes on to its end.

use std::error::Error;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use serde::de::DeserializeOwned;

use crate::authority::executor::{self, ApiSettings, CommandSettings, Settings, Way};
use crate::authority::protocol;
use crate::config::{self, Config};
use crate::console::rake::task;
use crate::console::{EXIT_NOT_STARTED, EXIT_TIMED_OUT, exit_line};
use crate::model::name::NodeName;
use crate::system::clock::Deadline;
use crate::system::command::{self, CommandError, Ended, Program};
use crate::system::lock;
use crate::system::process;
use crate::system::text::{chain, excerpt};
use crate::system::trusted_file::Owner;

/// The command line.
pub const USAGE: &str = "espm-helper console|authority FILE";

/// Most bytes of a request: a body of 64 KiB, with every byte escaped as JSON.
const MAX_REQUEST: usize = 512 * 1024;

/// The longest wait for a request; espm has it ready before it starts this program.
const REQUEST_WAIT: Duration = Duration::from_secs(10);

/// sysexits(3): the command line is wrong.
const EX_USAGE: u8 = 64;
/// sysexits(3): the request is wrong.
const EX_DATAERR: u8 = 65;
/// sysexits(3): the command failed on the way.
const EX_UNAVAILABLE: u8 = 69;
/// sysexits(3): the command could not be started.
const EX_OSFILE: u8 = 72;
/// sysexits(3): the process was not started as it must be.
const EX_NOPERM: u8 = 77;
/// sysexits(3): the configuration is wrong.
const EX_CONFIG: u8 = 78;

/// The first argument of `follow`, before the parent's process id and a command.
const FOLLOW: &str = "follow";

/// An exit code, and the reason for which nothing was done.
struct Refused(u8, String);

impl Refused {
    fn with<E: Error>(code: u8) -> impl Fn(E) -> Self {
        move |error| Self(code, chain(&error))
    }
}

type Done = Result<ExitCode, Refused>;

/// Runs the request on standard input; the arguments are `console|authority FILE`.
pub fn main(arguments: &[String]) -> ExitCode {
    process::seal_inherited_descriptors();
    match run(arguments) {
        Ok(code) => code,
        Err(Refused(code, why)) => {
            // One line, even if it quotes the request.
            let _ = writeln!(io::stderr(), "espm-helper: {}", excerpt(&why));
            ExitCode::from(code)
        }
    }
}

fn run(arguments: &[String]) -> Done {
    if let [FOLLOW, parent, command @ ..] = arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        return follow(parent, command);
    }
    let (act, path): (fn(&Config) -> Done, _) = match arguments {
        [system, path] if system == "console" => (console, path),
        [system, path] if system == "authority" => (authority, path),
        _ => return Err(Refused(EX_USAGE, format!("usage: {USAGE}"))),
    };
    process::stand_alone().map_err(Refused::with(EX_NOPERM))?;
    process::keep_memory_private().map_err(Refused::with(EX_UNAVAILABLE))?;
    let config = Config::load(Path::new(path), Owner::Root).map_err(Refused::with(EX_CONFIG))?;
    act(&config)
}

/// Becomes a command that the kernel ends when this program's parent dies.
fn follow(parent: &str, argv: &[&str]) -> Done {
    process::end_with(parent).map_err(Refused::with(EX_UNAVAILABLE))?;
    let (program, arguments) = argv.split_first().unwrap_or((&"", &[]));
    let error = command::become_program(program, arguments);
    Err(Refused::with(EX_OSFILE)(CommandError::Start((*program).to_owned(), error)))
}

fn read_request<T: DeserializeOwned>() -> Result<T, Refused> {
    let read = process::read_input(MAX_REQUEST, Deadline::after(REQUEST_WAIT));
    let json = read.map_err(|error| Refused(EX_DATAERR, format!("the request cannot be read: {error}")))?;
    serde_json::from_slice(&json).map_err(|error| Refused(EX_DATAERR, format!("the request is malformed: {error}")))
}

fn refuse_master(config: &Config, name: &NodeName) -> Result<(), Refused> {
    if name.as_str() == config.authority.master {
        return Err(Refused(EX_DATAERR, "the master's own name is not touched".into()));
    }
    Ok(())
}

fn console(config: &Config) -> Done {
    let request: task::Request = read_request()?;
    if let Some(name) = request.task.node() {
        refuse_master(config, name)?;
    }
    let config::Console::Rake(rake) = &config.console else {
        return Err(Refused(EX_CONFIG, "[console] kind: is not rake, so there is no task to run".into()));
    };
    let command = &rake.command;
    let mut argv = Vec::new();
    if !request.task.changes() {
        argv.extend(["/proc/self/exe".to_owned(), FOLLOW.to_owned(), std::process::id().to_string()]);
    }
    argv.extend(command.argv.iter().cloned());
    argv.extend(request.task.words(rake.release));
    let program = Program { argv, environment: command.environment.clone(), directory: command.directory.clone() };
    let limit = command.timeout.min(Duration::from_secs(request.limit));
    let ended = program.run_inheriting(Deadline::after(limit));
    // Recovery judges what a run that changes something has left, also after a power loss.
    if let (Ok(Ended { code: Some(code), .. }), true) = (&ended, request.task.changes()) {
        let told = io::stdout().lock().write_all(exit_line(*code).as_bytes());
        let _ = told.and_then(|()| process::sync_output());
    }
    // Processes that rake has left behind must not keep the slot.
    lock::release_input();
    match ended {
        Ok(ended) => Ok(ExitCode::from(ended.code.map_or(EX_UNAVAILABLE, rake_exit_code))),
        Err(CommandError::TimedOut) => Ok(ExitCode::from(u8::try_from(EXIT_TIMED_OUT).unwrap_or(EX_UNAVAILABLE))),
        Err(error @ CommandError::Start(..)) => Err(Refused::with(EX_OSFILE)(error)),
        Err(error) => Err(Refused::with(EX_UNAVAILABLE)(error)),
    }
}

/// Returns rake's exit code, or `EX_UNAVAILABLE` if this program uses that code.
fn rake_exit_code(code: u32) -> u8 {
    let own = code == EXIT_TIMED_OUT || EXIT_NOT_STARTED.contains(&code);
    u8::try_from(code).ok().filter(|_| !own).unwrap_or(EX_UNAVAILABLE)
}

fn authority(config: &Config) -> Done {
    let request: protocol::Request = read_request()?;
    refuse_master(config, &request.name)?;
    if !request.asked.is_judged(&request.name) {
        return Err(Refused(EX_DATAERR, "the client's request for a certificate is malformed".into()));
    }
    let authority = &config.authority;
    if let Some((member, why)) = authority.kind.refusal(authority.config.is_some(), &request.asked) {
        return Err(Refused(EX_DATAERR, format!("{member}: {why}")));
    }
    let settings = Settings {
        kind: authority.kind,
        way: match &authority.way {
            config::Way::Command(command) => Way::Command(CommandSettings {
                program: Program {
                    argv: command.argv.clone(),
                    environment: command.environment.clone(),
                    directory: command.directory.clone(),
                },
                config: authority.config.clone(),
            }),
            config::Way::Api(api) => Way::Api(ApiSettings { key: api.key, address: api.address.clone() }),
        },
        ssldir: authority.ssldir.clone(),
        cadir: authority.cadir.clone(),
        master: authority.master.clone(),
        records: authority.records.clone(),
        timeout: authority.timeout,
    };
    let answer = serde_json::to_vec(&executor::execute(&settings, &request)).unwrap_or_default();
    io::stdout().lock().write_all(&answer).map_err(Refused::with(EX_UNAVAILABLE))?;
    Ok(ExitCode::SUCCESS)
}
