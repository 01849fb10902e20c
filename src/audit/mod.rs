//! The audit: one syslog record for every request, and one more before each change.
//!
//! A record is logfmt of at most `MAX_RECORD` bytes. Values are quoted and escaped, so that no
//! input can forge a record or a field. No key, parameter value or certificate is ever in one.

mod field;
mod logfmt;

use std::cell::Cell;
use std::io::{self, Write as _};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

pub use syslog::Facility;
use syslog::{Formatter3164, Logger, LoggerBackend, Severity};
use thiserror::Error;

pub use self::field::{Field, Note};
use self::logfmt::{MAX_RECORD, escape, list, logfmt};
use crate::model::extension::Extensions;
use crate::model::name::{ClientName, NodeName};
use crate::model::node::{Assignment, Lost};
use crate::model::value::{Parameters, Value};
use crate::system::lock;
use crate::system::text::without;
use crate::system::trusted_file::{self, FileError, Owner};

/// Bytes of the cause of a failure, in a record of its own.
const MAX_CAUSE: usize = 700;

/// How long a send may wait while syslog does not read.
const SEND_TIMEOUT: Duration = Duration::from_secs(1);

/// Kept records that one request sends, so that no request waits long for others' backlog.
const MAX_RESENT: usize = 64;

/// Kept records from which on only those of attempted changes are kept.
/// While syslog is gone nothing is changed, and a client that tries again and again must not fill the disk.
const MAX_KEPT: usize = 1000;

/// Why a record was not written.
#[derive(Debug, Error)]
#[expect(missing_docs, reason = "its text says what a variant is")]
pub enum AuditError {
    #[error("syslog cannot be reached at {path}: {error}", path = .0.display(), error = .1)]
    Socket(PathBuf, io::Error),
    #[error("syslog did not take the audit record")]
    Send(#[source] syslog::Error),
    /// Syslog did not take it either.
    #[error("the audit record cannot be kept")]
    Keep(#[source] FileError),
}

/// Where audit records go.
#[derive(Debug, Clone)]
pub struct Destination {
    /// Syslog's socket.
    pub(crate) socket: PathBuf,
    /// The facility.
    pub(crate) facility: Facility,
    /// Whether a change is refused when its record cannot be written.
    pub(crate) required: bool,
    /// The directory of outcomes that syslog did not take.
    pub(crate) unsent: PathBuf,
}

impl Default for Destination {
    /// The destination while the configuration cannot be read.
    fn default() -> Self {
        Self {
            socket: "/dev/log".into(),
            facility: Facility::LOG_AUTHPRIV,
            required: true,
            unsent: "/nonexistent".into(),
        }
    }
}

/// The facility of that name (RFC 5424, table 1), in lower case.
pub(crate) fn facility(name: &str) -> Option<Facility> {
    name.parse().ok()
}

/// The audit of one request.
#[derive(Debug)]
pub struct Audit {
    destination: Destination,
    request: String,
    client: String,
    key: Option<String>,
    addr: String,
    event: &'static str,
    subject: Vec<(Field, String)>,
    secret: Vec<String>,
    attempted: Cell<bool>,
    start: Instant,
}

impl Audit {
    /// Begins the audit of a request.
    pub(crate) fn begin(destination: Destination, request: &str, addr: &str) -> Self {
        Self {
            destination,
            request: request.to_owned(),
            client: "-".to_owned(),
            key: None,
            addr: addr.to_owned(),
            event: "request",
            subject: Vec::new(),
            secret: Vec::new(),
            attempted: Cell::new(false),
            start: Instant::now(),
        }
    }

    /// Adds who asks, and with which key.
    pub(crate) fn client(&mut self, name: &str, key: Option<&str>) {
        name.clone_into(&mut self.client);
        self.key = key.map(str::to_owned);
    }

    pub(crate) fn event(&mut self, event: &'static str) {
        self.event = event;
    }

    pub(crate) fn node(&mut self, name: &NodeName) {
        self.set(Field::Node, name.to_string());
    }

    /// Adds the client that a node is given to.
    pub(crate) fn given_to(&mut self, client: &ClientName) {
        self.set(Field::To, client.to_string());
    }

    /// Adds an assignment; of parameters only the names.
    pub(crate) fn assignment(&mut self, assignment: &Assignment) {
        self.set(Field::Groups, list(assignment.groups.iter().map(ToString::to_string)));
        self.set(Field::Classes, list(assignment.classes.iter().map(ToString::to_string)));
        self.set(Field::Parameters, list(assignment.parameters.keys().map(ToString::to_string)));
        if let Some(environment) = &assignment.environment {
            self.set(Field::Environment, environment.to_string());
        }
        if !assignment.class_parameters.is_empty() {
            let of = |(class, parameters)| Parameters::keys(parameters).map(move |name| format!("{class}::{name}"));
            let names: Vec<_> = assignment.class_parameters.iter().flat_map(of).collect();
            self.set(Field::ClassParameters, list(names.into_iter()));
        }
    }

    /// Adds what a certificate is asked for with; of trusted facts the names.
    pub(crate) fn asked(&mut self, extensions: &Extensions, csr: bool) {
        if !extensions.is_empty() {
            self.set(Field::Extensions, list(extensions.names().map(str::to_owned)));
        }
        csr.then(|| self.set(Field::Csr, "yes".to_owned()));
    }

    /// Adds what is assigned and the console no longer has.
    pub(crate) fn lost(&mut self, lost: &[Lost]) {
        self.set(Field::Lost, list(lost.iter().map(Lost::name)));
    }

    /// Adds the number of nodes that were published anew.
    pub(crate) fn published(&mut self, nodes: usize) {
        self.set(Field::Published, nodes.to_string());
    }

    /// Conceals values that a command may be given and quote.
    /// None of them will be in a record.
    pub(crate) fn conceal<'a>(&mut self, values: impl IntoIterator<Item = &'a Value>) {
        self.secret.extend(values.into_iter().flat_map(Value::strings).map(str::to_owned));
    }

    /// Adds what a human should know.
    pub(crate) fn note(&mut self, note: Note) {
        self.set(Field::Note, note.word().to_owned());
    }

    /// Whether this note is the last that was added.
    pub(crate) fn has(&self, note: Note) -> bool {
        self.subject.contains(&(Field::Note, note.word().to_owned()))
    }

    /// Adds what a human should know where nothing else is noted.
    pub(crate) fn note_if_none(&mut self, note: Note) {
        if !self.subject.iter().any(|(field, _)| *field == Field::Note) {
            self.note(note);
        }
    }

    /// Adds that rake was run although a worker is configured.
    /// The reason is a record of its own.
    pub(crate) fn cold(&mut self, why: &str) {
        self.set(Field::Console, "cold".to_owned());
        self.explain(&self.concealed(why));
    }

    fn set(&mut self, field: Field, value: String) {
        self.subject.retain(|(name, _)| *name != field);
        self.subject.push((field, value));
    }

    /// Writes that a change is about to be made, once for each request.
    ///
    /// # Errors
    /// When the record is required and cannot be written; then the change may not be made.
    pub(crate) fn attempt(&self) -> Result<(), AuditError> {
        if self.attempted.get() {
            return Ok(());
        }
        match self.send(Severity::LOG_NOTICE, &self.record("attempt", 0, false)) {
            Err(error) if self.destination.required => Err(error),
            _ => {
                self.attempted.set(true);
                Ok(())
            }
        }
    }

    /// Writes how the request ended.
    /// The outcome of a change is kept for later when syslog does not take it.
    pub(crate) fn result(&self, outcome: &str, status: u16, changed: bool) -> Result<(), AuditError> {
        let severity = match status {
            500.. => Severity::LOG_ERR,
            400.. => Severity::LOG_WARNING,
            _ => Severity::LOG_NOTICE,
        };
        let record = self.record(outcome, status, true);
        match self.send(severity, &record) {
            Err(_) if changed && (self.attempted.get() || self.kept() < MAX_KEPT) => {
                // Another request may read it as soon as it has its name.
                trusted_file::replace(&self.destination.unsent.join(&self.request), 0o600, record.as_bytes())
                    .map_err(AuditError::Keep)
            }
            result => result,
        }
    }

    /// A text without what it may tell about the concealed values.
    pub(crate) fn concealed(&self, text: &str) -> String {
        without(text, &self.secret)
    }

    /// Writes why something failed, for the operator; whatever may quote a value is [`Audit::concealed`] before.
    /// To standard error when syslog does not take it.
    pub(crate) fn explain(&self, cause: &str) {
        let cause: String = cause.chars().take(MAX_CAUSE).collect();
        let (event, outcome, request) = (Field::Event.word(), Field::Outcome.word(), Field::Request.word());
        let record = format!(
            "{event}={} {outcome}=cause {request}={} {}=\"{}\"",
            self.event,
            self.request,
            Field::Cause.word(),
            escape(&cause, MAX_CAUSE)
        );
        if self.send(Severity::LOG_ERR, &record).is_err() {
            complain(&record);
        }
    }

    /// The number of kept records, counted up to `MAX_KEPT`.
    fn kept(&self) -> usize {
        kept_records(&self.destination.unsent).take(MAX_KEPT).count()
    }

    /// Sends the records that earlier requests had to keep.
    pub(crate) fn send_kept(&self) {
        let directory = &self.destination.unsent;
        let mut kept = kept_records(directory).peekable();
        if kept.peek().is_none() {
            return;
        }
        let Ok(Some(_lock)) = lock::try_acquire(&directory.with_extension("lock")) else { return };
        for path in kept.take(MAX_RESENT) {
            let Ok(record) = trusted_file::read(&path, MAX_RECORD as u64, Owner::RootOrSelf) else { continue };
            if self.send(Severity::LOG_NOTICE, &record).is_err() || trusted_file::remove(&path).is_err() {
                return;
            }
        }
    }

    fn record(&self, outcome: &str, status: u16, ended: bool) -> String {
        let value = |field: Field| match field {
            Field::Event => Some(self.event.to_owned()),
            Field::Outcome => Some(outcome.to_owned()),
            Field::Status => Some(if ended { status.to_string() } else { "-".to_owned() }),
            Field::Request => Some(self.request.clone()),
            Field::Client => Some(self.client.clone()),
            Field::Key => self.key.clone(),
            Field::Addr => Some(self.addr.clone()),
            Field::Cause => None,
            Field::TookMs => ended.then(|| self.start.elapsed().as_millis().to_string()),
            subject => self.subject.iter().find(|(name, _)| *name == subject).map(|(_, value)| value.clone()),
        };
        let fields: Vec<_> = Field::ALL.iter().filter_map(|field| Some((field.word(), value(*field)?))).collect();
        logfmt(fields.iter().map(|(word, value)| (*word, value)))
    }

    fn send(&self, severity: Severity, record: &str) -> Result<(), AuditError> {
        let path = &self.destination.socket;
        let socket = connect(path).map_err(|error| AuditError::Socket(path.clone(), error))?;
        let formatter = Formatter3164 {
            facility: self.destination.facility,
            hostname: None,
            process: "espm".to_owned(),
            pid: std::process::id(),
        };
        let mut logger = Logger::new(LoggerBackend::Unix(socket), formatter);
        let sent = match severity {
            Severity::LOG_ERR => logger.err(record),
            Severity::LOG_WARNING => logger.warning(record),
            _ => logger.notice(record),
        };
        sent.map_err(AuditError::Send)
    }
}

/// The files of a directory's kept records; one that is being written has an extension.
pub(crate) fn kept_records(directory: &Path) -> impl Iterator<Item = PathBuf> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().filter_map(Result::ok);
    entries.map(|entry| entry.path()).filter(|path| path.extension().is_none())
}

/// Writes a line to standard error, which the web server or the supervisor keeps.
pub(crate) fn complain(line: &str) {
    let _ = writeln!(io::stderr(), "espm: {line}");
}

/// Connects to syslog's socket; a full one blocks for `SEND_TIMEOUT` at most.
fn connect(path: &Path) -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    socket.connect(path)?;
    socket.set_write_timeout(Some(SEND_TIMEOUT))?;
    Ok(socket)
}

/// Whether syslog can be reached.
pub(crate) fn probe(path: &Path) -> Result<(), AuditError> {
    connect(path).map(drop).map_err(|error| AuditError::Socket(path.to_owned(), error))
}

#[cfg(test)]
mod tests {
    use super::{Audit, Destination, Note, facility};
    use crate::system::scratch::scratch;
    use crate::system::trusted_file::{self, Owner};

    #[test]
    fn what_is_known_anew_takes_the_place_of_what_was_known_before() {
        let mut audit = Audit::begin(Destination::default(), "r", "127.0.0.1");
        audit.note(Note::Recovered);
        audit.note(Note::Unproven);
        let record = audit.record("ok", 200, true);
        assert!(record.contains(" note=unproven ") && !record.contains("recovered"), "{record}");
    }

    const RECORDS: usize = 200;

    #[test]
    fn kept_record_is_whole_whenever_it_can_be_read() {
        let unsent = scratch("audit-unsent");
        let destination =
            Destination { socket: "/nonexistent".into(), unsent: unsent.clone(), ..Destination::default() };
        let record_of = |number: usize| format!("r{number}");
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for number in 0..RECORDS {
                    let path = unsent.join(record_of(number));
                    let read = || trusted_file::read(&path, 1000, Owner::RootOrSelf);
                    let record = std::iter::repeat_with(read).flatten().next().unwrap();
                    assert!(record.contains(" took_ms="), "{number}: {record:?}");
                }
            });
            for number in 0..RECORDS {
                let audit = Audit::begin(destination.clone(), &record_of(number), "-");
                audit.result("created", 201, true).unwrap();
            }
        });
        assert_eq!(super::kept_records(&unsent).count(), RECORDS);
    }

    #[test]
    fn filter_of_fail2ban_takes_the_record_of_a_refusal() {
        let record =
            Audit::begin(Destination::default(), &"0".repeat(32), "192.0.2.7").record("unauthorized", 401, true);
        let (start, _) = record.split_once("took_ms=").unwrap();
        let filter = include_str!("../../conf/fail2ban/filter.d/espm.conf")
            .replace("[0-9a-f]{32}", &"0".repeat(32))
            .replace("<ADDR>", "192.0.2.7");
        assert!(filter.contains(&format!("^%(__prefix_line)s{start}took_ms=\\d+$")), "{record}");
    }

    #[test]
    fn facilities_are_named_as_syslog_names_them() {
        assert!(facility("authpriv").is_some() && facility("local7").is_some());
        assert!(facility("nonsense").is_none());
    }
}
