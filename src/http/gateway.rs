//! The gate: takes FastCGI requests and starts a handler for each.
//!
//! It knows nothing of keys, nodes or rake. It passes a fixed list of variables and none of the client's other
//! headers. It bounds how many handlers run at once, and answers 503 beyond that. The FastCGI library can panic or
//! overflow a stack on a hostile server's input, so the gate is a process of its own, which a supervisor restarts.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, IsTerminal, Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::panic;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use thiserror::Error;

use super::permits::Permits;
use crate::audit::{self, Audit, Destination};
use crate::authority;
use crate::config::{Config, ConfigError};
use crate::http::cgi;
use crate::http::response;
use crate::model::fault::Fault;
use crate::model::problem::Problem;
use crate::model::request_id::RequestId;
use crate::model::state_directory;
use crate::system::clock::Deadline;
use crate::system::command;
use crate::system::lock;
use crate::system::process;
use crate::system::text::chain;
use crate::system::trusted_file::{self, FileError, Owner};

/// Handlers for quick requests, beyond those that wait for the console and the CA.
const RESERVE: usize = 32;

/// Threads of an idle gate: the main one and the one that waits for signals.
const IDLE_THREADS: usize = 2;

/// Time to wait for the last handlers, beyond a request's time limit.
const DRAIN_MARGIN: Duration = Duration::from_secs(15);

/// A failure of the gate.
#[derive(Debug, Error)]
pub enum GateError {
    /// The configuration cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The socket cannot be created or used.
    #[error("[espm] listen: {path}: {error}", path = .0.display(), error = .1)]
    Socket(PathBuf, io::Error),
    /// The process cannot be set up.
    #[error("cannot start: {0}")]
    Process(io::Error),
    /// Accepting connections failed.
    #[error("the gate cannot accept connections any more; start it again")]
    Accept,
}

struct Gate {
    program: PathBuf,
    config: OsString,
    audit: Destination,
    permits: Permits,
}

/// An event that ends the main thread's wait.
enum Event {
    Stop,
    AcceptEnded,
}

/// Serves until SIGTERM or SIGINT, then lets running handlers end.
pub fn main(config_path: &Path) -> Result<(), GateError> {
    process::keep_memory_private().map_err(GateError::Process)?;
    process::raise_file_limit().map_err(GateError::Process)?;
    process::check_children().map_err(|why| GateError::Process(io::Error::other(why)))?;
    let config = Config::load(config_path, Owner::RootOrSelf).map_err(GateError::Config)?;
    process::become_owner_of(&config.state).map_err(GateError::Process)?;
    let mut listener = listen(&config.listen)?;
    // For 'espm check': a gate whose socket is not the one in the configuration is at another path than the web server's.
    let _mark = lock::mark(&state_directory::gate(&config.state), &socket_path(&listener).unwrap_or_default());
    let most = config.console.most_at_once() + authority::most_at_once(config.authority.places()) + RESERVE;
    let gate = Arc::new(Gate {
        program: std::env::current_exe().map_err(GateError::Process)?,
        config: config_path.as_os_str().to_owned(),
        audit: config.audit.clone(),
        permits: Permits::new(most),
    });
    panic::set_hook(Box::new(|_| audit::complain("a FastCGI connection was dropped: it did not speak the protocol")));

    let (sender, events) = mpsc::channel();
    wait_for_signals(sender.clone()).map_err(GateError::Process)?;
    let descriptor = listener.as_raw_fd();
    let accept = thread::spawn(move || {
        // The library panics when accepting fails: once stop_accepting replaces the descriptor, or without descriptors.
        let _ = panic::catch_unwind(|| fastcgi::run_raw(move |request| gate.serve(request), descriptor));
        let _ = sender.send(Event::AcceptEnded);
    });
    let event = events.recv();
    let _ = panic::take_hook();
    panic::set_hook(Box::new(|_| {}));
    let stop = matches!(event, Ok(Event::Stop));
    let ends = if stop { stop_accepting(&mut listener).map_err(GateError::Process)? } else { true };
    drain(ends.then_some(&accept), Deadline::after(config.request_timeout + DRAIN_MARGIN));
    if stop { Ok(()) } else { Err(GateError::Accept) }
}

fn wait_for_signals(sender: mpsc::Sender<Event>) -> io::Result<()> {
    use signal_hook::consts::{SIGINT, SIGTERM};
    let mut signals = signal_hook::iterator::Signals::new([SIGTERM, SIGINT])?;
    thread::spawn(move || {
        for _ in signals.forever() {
            let _ = sender.send(Event::Stop);
        }
    });
    Ok(())
}

/// Returns the socket that systemd passes, the one on descriptor 0, or a new one.
fn listen(path: &Path) -> Result<OwnedFd, GateError> {
    let error = |error| GateError::Socket(path.to_owned(), error);
    if let Some(passed) = listenfd::ListenFd::from_env().take_unix_listener(0).map_err(error)? {
        passed.set_nonblocking(false).map_err(error)?;
        return Ok(passed.into());
    }
    let stdin = io::stdin();
    if !stdin.is_terminal() && rustix::net::sockopt::socket_acceptconn(stdin.as_fd()).unwrap_or(false) {
        return stdin.as_fd().try_clone_to_owned().map_err(error);
    }
    if path.symlink_metadata().is_ok_and(|metadata| metadata.file_type().is_socket()) {
        if UnixStream::connect(path).is_ok() {
            return Err(error(io::Error::other("another gate listens there; stop it first")));
        }
        trusted_file::remove(path).map_err(|e| error(file_error(&e)))?;
    }
    let before = rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o117));
    let bound = UnixListener::bind(path);
    rustix::process::umask(before);
    bound.map(OwnedFd::from).map_err(|e| error(with_hint(path, e)))
}

/// Adds the remedy to the error of a socket that cannot be created.
fn with_hint(path: &Path, error: io::Error) -> io::Error {
    let directory = path.parent().unwrap_or(path).display();
    let hint = match error.kind() {
        io::ErrorKind::NotFound => format!("make its directory: install -d -o espm -g www-data -m 2750 {directory}"),
        io::ErrorKind::PermissionDenied => {
            "name a path whose directory is espm's in [espm] listen, such as /run/espm/espm.sock".to_owned()
        }
        _ => return error,
    };
    io::Error::other(format!("{error}; {hint}"))
}

fn file_error(error: &FileError) -> io::Error {
    io::Error::other(error.to_string())
}

/// Stops accepting; waiting connections stay in the queue for the next gate.
/// Returns false when the accepting thread cannot be woken, because the socket's file is gone.
fn stop_accepting(listener: &mut OwnedFd) -> io::Result<bool> {
    let path = socket_path(listener);
    let nothing = OwnedFd::from(open_null()?);
    rustix::io::dup2(&nothing, listener)?;
    // The thread that waits in accept(2) still has the socket; a connection wakes it. If a client has just woken it,
    // the socket is closed and refuses.
    let woken = path.map(UnixStream::connect);
    Ok(woken.is_some_and(|woken| woken.map_or_else(|e| e.kind() == io::ErrorKind::ConnectionRefused, |_| true)))
}

fn socket_path(listener: &OwnedFd) -> Option<String> {
    let address = rustix::net::SocketAddrUnix::try_from(rustix::net::getsockname(listener).ok()?).ok()?;
    address.path()?.into_owned().into_string().ok()
}

fn open_null() -> io::Result<File> {
    trusted_file::open_existing(Path::new("/dev/null")).map_err(|error| file_error(&error))
}

/// Waits until no connection is served: until only the idle threads are left.
fn drain(accept: Option<&JoinHandle<()>>, until: Deadline) {
    let serving = || match accept {
        // In this order: the last accepted connection has its thread once the accepting one has ended.
        Some(accept) => !accept.is_finished() || process::threads() > IDLE_THREADS,
        None => process::threads() > IDLE_THREADS + 1,
    };
    while serving() && !until.passed() {
        thread::sleep(Duration::from_millis(20));
    }
}

/// Reads a body up to one byte beyond the limit; an aborted one counts as empty.
fn read_body(request: &mut fastcgi::Request) -> Vec<u8> {
    let mut body = Vec::new();
    if request.stdin().take(cgi::MAX_BODY as u64 + 1).read_to_end(&mut body).is_err() {
        body.clear();
    }
    body
}

impl Gate {
    fn serve(&self, mut request: fastcgi::Request) {
        // Before the permit, so that a client that sends slowly keeps nobody out.
        let body = read_body(&mut request);
        let answer = match self.permits.acquire() {
            Some(_permit) => self.handle(&request, &body),
            None => self.refuse(&request, Problem::Busy, "too many requests at once; try again"),
        };
        // The client may have left; its request stands.
        let _ = request.stdout().write_all(&answer);
    }

    fn handle(&self, request: &fastcgi::Request, body: &[u8]) -> Vec<u8> {
        let mut environment: Vec<(&str, OsString)> =
            vec![("GATEWAY_INTERFACE", "CGI/1.1".into()), (cgi::CONFIG_VARIABLE, self.config.clone())];
        for name in cgi::VARIABLES {
            if let Some(value) = request.param(name).filter(|value| !value.contains('\0')) {
                environment.push((name, value.into()));
            }
        }
        match command::run_handler(&self.program, &environment, body) {
            Ok(handled) if handled.well && !handled.output.is_empty() => handled.output,
            Ok(_) => {
                self.refuse(request, Problem::Internal, "the request's handler died; its outcome is in the ledger")
            }
            Err(error) => {
                audit::complain(&format!("a handler cannot be started: {error}"));
                self.refuse(request, Problem::Unavailable, "a handler cannot be started; try again")
            }
        }
    }

    /// Answers and audits a request that no handler has answered.
    fn refuse(&self, request: &fastcgi::Request, problem: Problem, detail: &'static str) -> Vec<u8> {
        let Ok(id) = RequestId::random() else { return Vec::new() };
        let addr = request.param("REMOTE_ADDR").unwrap_or_else(|| "-".to_owned());
        let mut record = Audit::begin(self.audit.clone(), &id.to_string(), &addr);
        record.event("gate.refuse");
        if let Err(error) = record.result(problem.word(), problem.status(), false) {
            audit::complain(&chain(&error));
        }
        response::render(&Err(Fault::new(problem, detail)), Some(&id), false).to_bytes()
    }
}
