//! The client of the warm console, a worker that has booted the console once.
//!
//! The worker (`conf/console/espm.rake`) runs as the console's user, and each task in a child of its own. espm trusts
//! no worker of another user. The child gets the descriptors, and so the locks, of the output file and the slot, as a
//! rake that espm starts does. Before the worker's greeting espm asks nothing, so it can still run rake itself. After
//! that, only the worker's answer or recovery tells the result.

use std::fs::File;
use std::io::{self, IoSlice, Read, Write};
use std::mem::MaybeUninit;
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use rustix::net::sockopt::{self, Timeout};
use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags, SocketType,
};

use crate::system::clock::Deadline;
use crate::system::process;

/// The worker's greeting.
const HELLO: &[u8] = b"espm 2\n";

/// The longest wait for the greeting: a large process forks on a loaded machine.
const GREETING: Duration = Duration::from_secs(5);

/// Time to wait beyond a child's limit; the worker kills it within two seconds.
const GRACE: Duration = Duration::from_secs(6);

/// Most bytes of an answer.
const MAX_ANSWER: usize = 256;

/// A task whose end the worker did not report.
#[derive(Debug)]
pub(crate) enum WorkerError {
    /// Nothing was run; the text is for the log.
    NotRun(String),
    TimedOut,
    Died,
}

#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) socket: PathBuf,
    /// The console's user, `None` when that is espm's own; root, who can pass the socket in, is trusted too.
    pub(crate) user: Option<String>,
}

impl Worker {
    /// Runs tasks with their output in two files, and returns their exit code.
    /// Their child keeps the lock of the slot's file while it lives.
    pub(crate) fn run(
        &self,
        words: &[String],
        outputs: [&File; 2],
        slot: &File,
        limit: Duration,
    ) -> Result<u32, WorkerError> {
        let mut stream = self.connect().map_err(|error| self.not_run(&error))?;
        let running = Deadline::after(limit);
        // The child refuses a request that is cut short.
        let [stdout, stderr] = outputs;
        send(&mut stream, words, [stdout, stderr, slot], limit).map_err(|error| self.not_run(&error))?;
        let answer = answer(&mut stream, Deadline::after(limit + GRACE));
        if let Some(code) = answer.strip_prefix("ended ").and_then(|code| code.parse().ok()) {
            return Ok(code);
        }
        match answer.strip_prefix("refused: ") {
            Some(why) => Err(WorkerError::NotRun(format!("console worker {}: refused: {why}", self.socket.display()))),
            None if running.passed() => Err(WorkerError::TimedOut),
            None => Err(WorkerError::Died),
        }
    }

    fn not_run(&self, error: &io::Error) -> WorkerError {
        WorkerError::NotRun(format!("console worker {}: {error}", self.socket.display()))
    }

    /// Connects to a worker of the console's user and reads its greeting.
    fn connect(&self) -> io::Result<UnixStream> {
        let user = self.user.as_deref().map_or_else(|| Some(process::user()), process::uid_of);
        let user = user.ok_or_else(|| io::Error::other("[console] user: is not in /etc/passwd; name another"))?;
        let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
        // The send timeout bounds connecting too, which waits for a place in the worker's backlog.
        sockopt::set_socket_timeout(&socket, Timeout::Send, Some(GREETING))?;
        sockopt::set_socket_timeout(&socket, Timeout::Recv, Some(GREETING))?;
        rustix::net::connect(&socket, &SocketAddrUnix::new(&self.socket)?)?;
        let listens = sockopt::socket_peercred(&socket)?.uid.as_raw();
        if listens != user && listens != 0 {
            return Err(io::Error::other(format!("is user {listens}'s, want the console's user {user}")));
        }
        let mut stream = UnixStream::from(socket);
        let mut hello = [0; HELLO.len()];
        stream.read_exact(&mut hello)?;
        if hello == HELLO { Ok(stream) } else { Err(io::Error::other("is not the worker of this espm; restart it")) }
    }
}

/// Sends each file with one byte, as Ruby's recv_io wants it, then the words.
fn send(stream: &mut UnixStream, words: &[String], files: [&File; 3], limit: Duration) -> io::Result<()> {
    for file in files {
        let descriptors = [file.as_fd()];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        control.push(SendAncillaryMessage::ScmRights(&descriptors));
        rustix::net::sendmsg(&*stream, &[IoSlice::new(b".")], &mut control, SendFlags::NOSIGNAL)?;
    }
    let mut request = format!("{}\0", limit.as_secs().max(1));
    for word in words.iter().map(String::as_str).chain(["end"]) {
        request.push_str(word);
        request.push('\0');
    }
    stream.write_all(request.as_bytes())?;
    // The request is whole without it: "end" ends it.
    let _ = stream.shutdown(Shutdown::Write);
    Ok(())
}

/// Reads a line; returns an empty one when none arrives in time.
fn answer(stream: &mut UnixStream, until: Deadline) -> String {
    let mut line = Vec::new();
    let mut buffer = [0; MAX_ANSWER];
    while !line.ends_with(b"\n") && line.len() < MAX_ANSWER && !until.passed() {
        match stream
            .set_read_timeout(Some(until.left().max(Duration::from_millis(1))))
            .and_then(|()| stream.read(&mut buffer))
        {
            Ok(0) => break,
            Ok(length) => line.extend_from_slice(buffer.get(..length).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => break,
        }
    }
    // A line that is cut short is no answer: 12 is not 124.
    let text = String::from_utf8_lossy(&line);
    text.strip_suffix('\n').unwrap_or_default().to_owned()
}
