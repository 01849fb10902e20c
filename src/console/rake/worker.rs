//! The warm console: a worker of the console's user that has booted it once, and runs each task in a
//! child of its own (`conf/console/espm.rake`).
//!
//! espm asks it through a socket that espm's group can open, and believes no worker of another user. The
//! child gets the proof's descriptor as its output and with it the lock, and the slot's with its lock, as a
//! rake has them that espm starts. Until the worker has said that it is there, nothing is asked of it:
//! whoever finds no worker can run rake. Once it is asked, only its answer, or recovery, says what was done.

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

/// What a worker says at once.
const HELLO: &[u8] = b"espm 2\n";

/// How long a worker may take to say that it is there: a fork of a large process on a loaded machine.
const GREETING: Duration = Duration::from_secs(5);

/// How much longer than its limit a child is waited for; its worker kills it within a second or two.
const GRACE: Duration = Duration::from_secs(6);

/// Bytes of an answer.
const MAX_ANSWER: usize = 256;

/// Why a worker did not say how a task ended.
#[derive(Debug)]
pub(crate) enum WorkerError {
    /// Nothing was run; the text is for the log.
    NotRun(String),
    /// The child ran past its time.
    TimedOut,
    /// The child died on the way.
    Died,
}

/// A worker.
#[derive(Debug)]
pub(crate) struct Worker {
    /// Its socket.
    pub(crate) socket: PathBuf,
    /// The console's user, if that is known; root, who passes the socket in, is believed too.
    pub(crate) user: Option<u32>,
}

impl Worker {
    /// Runs tasks with their output in two files, and returns their exit code. Their child has the lock of
    /// the slot's file for as long as it lives.
    pub(crate) fn run(
        &self,
        words: &[String],
        outputs: [&File; 2],
        slot: &File,
        limit: Duration,
    ) -> Result<u32, WorkerError> {
        let mut stream = self.connect().map_err(|error| self.not_run(&error))?;
        let running = Deadline::after(limit);
        // Cut short it is no request, and the child says so or is gone.
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

    /// A connection to a worker of the console's user that has said that it is there.
    fn connect(&self) -> io::Result<UnixStream> {
        let user = self.user.ok_or_else(|| io::Error::other("[console] user is not in /etc/passwd"))?;
        let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
        // It bounds connecting, too, which waits for a place in the worker's backlog.
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
        if hello == HELLO { Ok(stream) } else { Err(io::Error::other("is not the worker of this espm")) }
    }
}

/// Each file goes with one byte, since who reads one descriptor reads one byte; words end in NUL.
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
    // What was sent is whole; the worker need not be told so twice.
    let _ = stream.shutdown(Shutdown::Write);
    Ok(())
}

/// The line that comes until then; an empty one when none does.
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
    // Cut short it is no answer: 12 is not 124.
    let text = String::from_utf8_lossy(&line);
    text.strip_suffix('\n').unwrap_or_default().to_owned()
}
