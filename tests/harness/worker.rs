//! The site's warm console: `conf/console/espm.rake` beside the stand-in's Rakefile.

use std::fs::{self, File};
use std::io::{IoSlice, Read, Seek, SeekFrom, Write};
use std::mem::MaybeUninit;
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags};

use crate::harness::{Site, as_user, run, template, wait_until};

/// Whether a worker serves the console.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Temperature {
    Cold,
    Warm,
}

impl Temperature {
    pub fn chosen() -> Self {
        match std::env::var("ESPM_TEST_CONSOLE").as_deref() {
            Ok("warm") => Self::Warm,
            Ok("cold") | Err(_) => Self::Cold,
            Ok(other) => panic!("ESPM_TEST_CONSOLE: want cold or warm, found {other:?}"),
        }
    }
}

impl Site {
    pub fn worker_socket(&self) -> PathBuf {
        self.dir.join("run/worker.sock")
    }

    /// rake as it starts a worker, with more words.
    pub fn worker_command(&self, words: &[&str]) -> Command {
        let mut rake = as_user("/usr/bin/rake");
        rake.env_clear().env("PATH", "/usr/bin:/bin").env("LANG", "C.UTF-8").arg("-s");
        rake.arg("-f").arg(template().join("console/Rakefile")).arg("-R").arg(template().join("worker"));
        rake.args(["RAILS_ENV=production", &format!("CONSOLE={}", self.dir.join("console").display())]);
        rake.arg(format!("ESPM_CONFIG={}", self.ini().display())).arg("espm:serve").args(words);
        rake.stdin(Stdio::null()).stdout(self.append("worker.log")).stderr(self.append("worker.log"));
        rake.current_dir(&self.dir);
        rake
    }

    pub fn start_worker(&self) {
        self.start_worker_with(self.worker_command(&[]));
    }

    /// Starts a worker and waits until it is ready.
    pub fn start_worker_with(&self, mut command: Command) {
        let lines = || self.file("worker.log").matches("espm: ready").count();
        let before = lines();
        let mut child = command.spawn().unwrap();
        wait_until("the worker is ready", || {
            // Before the look for what it has said: one that has nothing to do may end soon after.
            let ended = child.try_wait().unwrap().is_some();
            let ready = lines() > before;
            assert!(ready || !ended, "the worker has ended: {}", self.file("worker.log"));
            ready
        });
        *self.worker.lock().unwrap() = Some(child);
    }

    /// A worker has to boot anew what it has read at its start.
    pub fn restart_worker(&self) {
        if self.worker_pid().is_some() {
            self.end_worker();
            self.start_worker();
        }
    }

    pub fn worker_pid(&self) -> Option<u32> {
        self.worker.lock().unwrap().as_ref().map(Child::id)
    }

    /// The worker that was started is still the one that runs.
    #[track_caller]
    pub fn expect_worker_alive(&self) {
        let ended = self.worker.lock().unwrap().as_mut().unwrap().try_wait().unwrap();
        assert!(ended.is_none(), "the worker has ended: {ended:?}");
    }

    /// Ends the worker with a signal and waits for it.
    pub fn stop_worker(&self, signal: &str) -> std::process::ExitStatus {
        let mut worker = self.worker.lock().unwrap().take().unwrap();
        run(Command::new("kill").args([signal, &worker.id().to_string()]));
        worker.wait().unwrap()
    }

    /// Ends the worker, if there is one, and whatever a failed test has left of its children.
    pub fn end_worker(&self) {
        if self.worker_pid().is_some() {
            self.stop_worker("-9");
            for pid in self.pids("rake") {
                let _ = Command::new("kill").args(["-9", &pid.to_string()]).status();
            }
            let _ = fs::remove_file(self.worker_socket());
        }
    }
}

/// A client of a worker's that need not be espm.
pub struct Client(UnixStream);

impl Client {
    /// Connects and waits for the worker's child.
    pub fn connect(site: &Site) -> Self {
        let mut stream = UnixStream::connect(site.worker_socket()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let mut hello = [0; 7];
        stream.read_exact(&mut hello).unwrap();
        assert_eq!(&hello, b"espm 2\n");
        Self(stream)
    }

    /// Passes descriptors with some bytes; a worker that has seen enough closes early.
    pub fn pass(&mut self, bytes: &[u8], files: &[&File]) {
        let descriptors: Vec<_> = files.iter().map(AsFd::as_fd).collect();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(100))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        assert!(descriptors.is_empty() || control.push(SendAncillaryMessage::ScmRights(&descriptors)));
        let sent = rustix::net::sendmsg(&self.0, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL);
        assert!(matches!(sent, Ok(_) | Err(Errno::PIPE | Errno::CONNRESET)), "{sent:?}");
    }

    /// Passes the two outputs and the slot, each with one byte.
    pub fn pass_files(&mut self, files: [&File; 3]) {
        files.iter().for_each(|file| self.pass(b".", &[*file]));
    }

    /// Sends bytes; a worker that has heard enough closes early.
    pub fn send(&mut self, bytes: &[u8]) {
        let _ = self.0.write_all(bytes);
    }

    /// What the child says when nothing more comes.
    pub fn end(mut self) -> String {
        let _ = self.0.shutdown(Shutdown::Write);
        let mut answer = String::new();
        // A child that left bytes unread has reset the connection.
        let _ = self.0.read_to_string(&mut answer);
        answer
    }
}

/// Asks a worker as espm does; the answer and the output.
pub fn ask(site: &Site, words: &[&[u8]]) -> (String, String) {
    let output = output(site);
    let mut client = Client::connect(site);
    client.pass_files([&output, &output, &output]);
    client.send(&words.iter().flat_map(|word| [*word, b"\0".as_slice()].concat()).collect::<Vec<_>>());
    let answer = client.end();
    let mut text = String::new();
    (&output).seek(SeekFrom::Start(0)).unwrap();
    (&output).read_to_string(&mut text).unwrap();
    (answer, text)
}

/// A file of its own for the output.
pub fn output(site: &Site) -> File {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    let path = site.dir.join(format!("output.{}", NUMBER.fetch_add(1, Ordering::SeqCst)));
    File::options().read(true).write(true).create_new(true).open(path).unwrap()
}
