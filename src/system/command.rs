//! The one door through which programs are started.
//!
//! A program is a list of words, never a line for a shell. Its environment is built here from
//! nothing. It runs in a process group of its own, with a limit on its time and its output, and is
//! reaped whatever it does. The second door starts a handler for the gate: `std::process` uses
//! `posix_spawn`, which costs a gate with many threads far less than a fork.

#![expect(clippy::disallowed_types, clippy::disallowed_methods, reason = "this is the door that the lints name")]

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

pub(crate) use subprocess::IntoInputSource as Input;
use subprocess::{ExecExt, Job, JobExt, Redirection};
use thiserror::Error;

use crate::system::clock::Deadline;

/// Bytes of output, both streams together, after which a command is stopped.
pub(crate) const MAX_OUTPUT: usize = 8 * 1024 * 1024;

/// How long a command has from SIGTERM to SIGKILL.
const GRACE: Duration = Duration::from_secs(2);

/// How long the output of a command that has ended is read while a child of it holds it open.
const LINGER: Duration = Duration::from_millis(300);

/// Time between two checks of a running command's limits.
/// Its end is noticed at once.
const TICK: Duration = Duration::from_millis(50);

/// Bytes of most responses.
/// One read takes them, where the standard library would begin with 32 bytes.
const ANSWER: usize = 8 * 1024;

const SIGTERM: i32 = 15;
const SIGKILL: i32 = 9;

/// A program with its arguments, environment and directory.
#[derive(Debug, Clone)]
pub struct Program {
    /// The program's path and its arguments.
    pub(crate) argv: Vec<String>,
    /// Variables beside or instead of `BASIC`.
    pub(crate) environment: Vec<(String, String)>,
    /// Its working directory.
    pub(crate) directory: PathBuf,
}

/// The environment of every command, as a daemon has it.
const BASIC: [(&str, &str); 3] =
    [("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"), ("HOME", "/"), ("LANG", "C.UTF-8")];

/// Why a command gave no result.
#[derive(Debug, Error)]
#[expect(missing_docs, reason = "its text says what a variant is")]
pub enum CommandError {
    #[error("{0} cannot be started: {1}")]
    Start(String, io::Error),
    #[error("the command ran past its time limit")]
    TimedOut,
    #[error("the command printed more than {MAX_OUTPUT} bytes")]
    TooMuchOutput,
    #[error("the command's output cannot be read: {0}")]
    Io(io::Error),
}

/// A command that has ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// `None` when a signal ended it.
    pub(crate) code: Option<u32>,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
}

impl Program {
    fn exec(&self) -> Result<subprocess::Exec, CommandError> {
        let (program, arguments) = self
            .argv
            .split_first()
            .ok_or_else(|| CommandError::Start(String::new(), io::Error::from(io::ErrorKind::InvalidInput)))?;
        let mut exec = subprocess::Exec::cmd(program).args(arguments).env_clear().cwd(&self.directory).setpgid();
        for (name, value) in BASIC {
            exec = exec.env(name, value);
        }
        for (name, value) in &self.environment {
            exec = exec.env(name, value);
        }
        Ok(exec)
    }

    fn start(&self, exec: subprocess::Exec) -> Result<Job, CommandError> {
        exec.start().map_err(|error| CommandError::Start(self.argv.first().cloned().unwrap_or_default(), error))
    }

    /// Runs it with an input, bytes or an open file, and captures what it prints.
    /// After an error it is gone.
    pub(crate) fn capture(&self, input: impl Input, until: Deadline) -> Result<Ended, CommandError> {
        let exec = self.exec()?.stdin(input).stdout(Redirection::Pipe).stderr(Redirection::Pipe);
        let mut job = self.start(exec)?;
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        let mut communicator = job.communicate().map_err(CommandError::Io)?;
        let mut lingers: Option<Deadline> = None;
        loop {
            let room = (MAX_OUTPUT + 1).saturating_sub(stdout.len() + stderr.len());
            communicator = communicator.limit_size(room).limit_time(TICK.min(until.left()));
            match communicator.read_to(&mut stdout, &mut stderr) {
                Ok(()) if stdout.len() + stderr.len() > MAX_OUTPUT => return stop(&job, CommandError::TooMuchOutput),
                Ok(()) => break,
                Err(error) if error.kind() == io::ErrorKind::TimedOut => {}
                Err(error) => return stop(&job, CommandError::Io(error)),
            }
            if until.passed() {
                return stop(&job, CommandError::TimedOut);
            }
            if job.poll().is_some() && lingers.get_or_insert_with(|| Deadline::after(LINGER)).passed() {
                end_group(&job);
                break;
            }
        }
        match job.wait_timeout(until.left()).map_err(CommandError::Io)? {
            Some(status) => Ok(Ended { code: status.code(), stdout, stderr }),
            None => stop(&job, CommandError::TimedOut),
        }
    }

    /// Runs it with an open file as its input and with both output streams into another.
    pub(crate) fn run_into(&self, output: &File, input: File, until: Deadline) -> Result<Ended, CommandError> {
        self.watch(&self.start_into(output, input)?, Some(output), until)
    }

    /// As [`Program::run_into`], for espm-helper.
    /// It limits the output of its command itself; to stop espm-helper for that would leave the command
    /// running.
    pub(crate) fn run_helper_into(&self, output: &File, input: File, until: Deadline) -> Result<Ended, CommandError> {
        self.watch(&self.start_into(output, input)?, None, until)
    }

    fn start_into(&self, output: &File, input: File) -> Result<Job, CommandError> {
        let clone = || output.try_clone().map_err(CommandError::Io);
        self.start(self.exec()?.stdin(input).stdout(clone()?).stderr(clone()?))
    }

    /// Runs it with this process's own streams.
    pub(crate) fn run_inheriting(&self, until: Deadline) -> Result<Ended, CommandError> {
        let own_stdout = io::stdout().as_fd().try_clone_to_owned().map_err(CommandError::Io)?;
        let job = self.start(self.exec()?)?;
        self.watch(&job, Some(&File::from(own_stdout)), until)
    }

    fn watch(&self, job: &Job, limited: Option<&File>, until: Deadline) -> Result<Ended, CommandError> {
        loop {
            if let Some(status) = job.wait_timeout(TICK.min(until.left())).map_err(CommandError::Io)? {
                return Ok(Ended { code: status.code(), stdout: Vec::new(), stderr: Vec::new() });
            }
            let written = limited.map_or(Ok(0), |file| file.metadata().map(|metadata| metadata.len()));
            if written.map_err(CommandError::Io)? > MAX_OUTPUT as u64 {
                return stop(job, CommandError::TooMuchOutput);
            }
            if until.passed() {
                return stop(job, CommandError::TimedOut);
            }
        }
    }
}

/// Reads what a command has written into a file, from its beginning.
pub(crate) fn read_back(output: &File) -> Result<String, CommandError> {
    let mut bytes = vec![0; MAX_OUTPUT.min(output.metadata().map_or(0, |m| usize::try_from(m.len()).unwrap_or(0)))];
    output.read_exact_at(&mut bytes, 0).map_err(CommandError::Io)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Kills a command and its group, reaps it, and says why.
/// A command of another user cannot be signalled from here and is left to espm-helper's limits.
fn stop(job: &Job, why: CommandError) -> Result<Ended, CommandError> {
    for signal in [SIGTERM, SIGKILL] {
        let _ = job.send_signal_group(signal);
        if matches!(job.wait_timeout(GRACE), Ok(Some(_))) {
            end_group(job);
            return Err(why);
        }
    }
    job.detach();
    Err(why)
}

/// Kills what is left of a command's group. A group with members keeps its number.
fn end_group(job: &Job) {
    if let Some(group) = i32::try_from(job.pid()).ok().and_then(rustix::process::Pid::from_raw) {
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
    }
}

/// A handler that has ended.
#[derive(Debug)]
pub(crate) struct Handled {
    /// Its standard output.
    pub(crate) output: Vec<u8>,
    /// Whether it exited with 0.
    pub(crate) well: bool,
}

/// Runs a handler with exactly these variables, feeds it the body and reads its response.
pub(crate) fn run_handler(program: &Path, environment: &[(&str, OsString)], body: &[u8]) -> io::Result<Handled> {
    let mut child = std::process::Command::new(program)
        .env_clear()
        .envs(environment.iter().map(|(name, value)| (*name, value)))
        .stdin(if body.is_empty() { Stdio::null() } else { Stdio::piped() })
        .stdout(Stdio::piped())
        .spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        // A handler that refuses the request early does not read the body.
        let _ = stdin.write_all(body);
    }
    let mut output = Vec::with_capacity(ANSWER);
    if let Some(stdout) = child.stdout.take() {
        stdout.take(MAX_OUTPUT as u64).read_to_end(&mut output)?;
    }
    let well = child.wait()?.success();
    Ok(Handled { output, well })
}

/// Becomes another program, with this process's environment and streams.
/// Returns only when that fails.
pub(crate) fn become_program(program: impl AsRef<OsStr>, arguments: &[impl AsRef<OsStr>]) -> io::Error {
    std::process::Command::new(program).args(arguments).exec()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{CommandError, MAX_OUTPUT, Program};
    use crate::system::clock::Deadline;

    fn sh(script: &str) -> Program {
        let argv = ["/bin/sh", "-c", script].map(str::to_owned).to_vec();
        Program { argv, environment: vec![("GIVEN".into(), "1".into())], directory: "/".into() }
    }

    fn soon() -> Deadline {
        Deadline::after(Duration::from_secs(20))
    }

    #[test]
    fn streams_and_exit_code_are_captured() {
        let ended = sh("cat; echo err >&2; exit 3").capture(b"in".to_vec(), soon()).unwrap();
        assert_eq!((ended.code, &ended.stdout[..], &ended.stderr[..]), (Some(3), &b"in"[..], &b"err\n"[..]));
        assert_eq!(sh("kill -9 $$").capture(vec![], soon()).unwrap().code, None);
    }

    #[test]
    fn environment_is_built_not_inherited() {
        let ended = sh("env | sort").capture(vec![], soon()).unwrap();
        let text = String::from_utf8(ended.stdout).unwrap();
        let names: Vec<_> = text.lines().filter_map(|line| line.split('=').next()).collect();
        assert_eq!(names, ["GIVEN", "HOME", "LANG", "PATH", "PWD"]);
    }

    #[test]
    fn hung_command_is_stopped_even_when_it_ignores_sigterm() {
        let until = Deadline::after(Duration::from_millis(100));
        let result = sh("trap '' TERM; while :; do sleep 1; done").capture(vec![], until);
        assert!(matches!(result, Err(CommandError::TimedOut)));
    }

    /// How many processes have this in their environment.
    fn alive(mark: &str) -> usize {
        let processes =
            std::fs::read_dir("/proc").unwrap().filter_map(|entry| Some(entry.ok()?.path().join("environ")));
        let has = |text: Vec<u8>| text.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes());
        processes.filter(|path| std::fs::read(path).is_ok_and(has)).count()
    }

    #[test]
    fn nothing_of_a_command_that_is_stopped_goes_on_not_even_its_children() {
        let flood = MAX_OUTPUT + 1;
        let child = "(trap '' TERM; while :; do sleep 1; done) &";
        let scripts = [
            ("hung", format!("{child} trap '' TERM; while :; do sleep 1; done")),
            ("obedient", format!("{child} exec sleep 1000")),
            ("flooding", format!("{child} trap '' TERM; head -c {flood} /dev/zero; while :; do sleep 1; done")),
            ("ended", format!("{child} exit 0")),
        ];
        std::thread::scope(|scope| {
            for (name, script) in &scripts {
                scope.spawn(move || {
                    let mark = format!("{name}-{}", std::process::id());
                    let program = Program { environment: vec![("MARK".into(), mark.clone())], ..sh(script) };
                    let until = if matches!(*name, "hung" | "obedient") {
                        Duration::from_millis(300)
                    } else {
                        Duration::from_secs(60)
                    };
                    let ended = program.capture(vec![], Deadline::after(until));
                    assert_eq!(ended.is_ok(), *name == "ended", "{name}: {ended:?}");
                    // Who is killed needs a moment to be gone.
                    let patience = Deadline::after(Duration::from_secs(60));
                    while alive(&format!("MARK={mark}")) > 0 {
                        assert!(!patience.passed(), "{name}");
                        std::thread::yield_now();
                    }
                });
            }
        });
    }

    #[test]
    fn flood_is_stopped() {
        assert!(matches!(sh("yes").capture(vec![], soon()), Err(CommandError::TooMuchOutput)));
        let ended = sh("head -c 8388608 /dev/zero").capture(vec![], soon()).unwrap();
        assert_eq!(ended.stdout.len(), MAX_OUTPUT);
    }

    #[test]
    fn child_that_holds_the_output_open_does_not_hold_us() {
        let ended = sh("sleep 1000 & echo done").capture(vec![], soon()).unwrap();
        assert_eq!((ended.code, &ended.stdout[..]), (Some(0), &b"done\n"[..]));
    }

    #[test]
    fn missing_program_is_an_error_that_names_it() {
        let program = Program { argv: vec!["/nonexistent/rake".into()], environment: vec![], directory: "/".into() };
        let error = program.capture(vec![], soon()).unwrap_err().to_string();
        assert!(error.starts_with("/nonexistent/rake cannot be started"), "{error}");
    }
}
