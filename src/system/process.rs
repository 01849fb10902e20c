//! What a process of espm does to itself before it touches a secret or a user's input.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::Mode;
use rustix::io::Errno;
use rustix::process::{DumpableBehavior, Gid, Pid, Resource, Rlimit, Signal, Uid};
use thiserror::Error;

use crate::system::clock::Deadline;
use crate::system::trusted_file::{self, Owner};

/// Bytes of `/etc/passwd` and `/etc/group`.
const MAX_PASSWD: u64 = 16 * 1024 * 1024;

/// Bytes of `/proc/self/status` (proc_pid_status(5)), which has some fifty lines.
const MAX_STATUS: u64 = 64 * 1024;

/// What a command of the console or the CA needs at least: the limit, its name, and how much (bytes,
/// seconds, files, processes). 3600 s is the longest that one may run; the rest is what a small Rails
/// application or a revocation list of a million entries takes.
const LEAST: [(Resource, &str, u64); 7] = [
    (Resource::Fsize, "the size of a file", 1 << 30),
    (Resource::Cpu, "processor time", 3600),
    (Resource::As, "address space", 1 << 30),
    (Resource::Data, "data", 1 << 30),
    (Resource::Stack, "the stack", 8 << 20),
    (Resource::Nofile, "open files", 256),
    (Resource::Nproc, "processes", 64),
];

/// Why a process cannot do its work as it was started.
#[derive(Debug, Error)]
pub(crate) enum StartError {
    #[error(
        "started with SIGCHLD ignored, so that no program's end can be waited for; \
             env --default-signal=CHLD before it mends that"
    )]
    ChildrenIgnored,
    #[error("the limit on {what} is {found}, want at least {least}; see limits.conf(5)")]
    Limit { what: &'static str, found: u64, least: u64 },
    #[error("the limit on {what}: {error}")]
    SetLimit { what: &'static str, error: Errno },
    #[error("started with group {group}, want the user's own group {own}")]
    Group { group: u32, own: u32 },
}

/// Undoes what the starter of this process could choose for it and for what it starts: the terminal, the
/// file mode mask, limits on resources, the group.
///
/// A limit that ends a command while it writes the CA's files would leave them cut short; a mask of
/// 0777 would make files that their owner cannot read; another group could read what is made.
pub(crate) fn stand_alone() -> Result<(), StartError> {
    check_children()?;
    leave_terminal();
    rustix::process::umask(Mode::WGRP | Mode::WOTH);
    for (resource, what, least) in LEAST {
        let limit = rustix::process::getrlimit(resource);
        let enough = |limit: Option<u64>| limit.is_none_or(|limit| limit >= least);
        if !enough(limit.maximum) {
            let found = limit.maximum.unwrap_or_default();
            return Err(StartError::Limit { what, found, least });
        }
        if !enough(limit.current) {
            let raised = Rlimit { current: Some(least), maximum: limit.maximum };
            rustix::process::setrlimit(resource, raised).map_err(|error| StartError::SetLimit { what, error })?;
        }
    }
    let group = rustix::process::getegid().as_raw();
    match account(|fields| fields.get(2) == Some(&user().to_string())).and_then(|account| account.group) {
        Some(own) if own != group => Err(StartError::Group { group, own }),
        _ => Ok(()),
    }
}

/// Checks that children can be reaped: an ignored SIGCHLD is inherited (signal(7)), and wait(2) then fails.
pub(crate) fn check_children() -> Result<(), StartError> {
    let ignored = status("SigIgn").and_then(|mask| u64::from_str_radix(&mask, 16).ok());
    let child = 1 << (Signal::CHILD.as_raw() - 1);
    match ignored {
        Some(mask) if mask & child != 0 => Err(StartError::ChildrenIgnored),
        _ => Ok(()),
    }
}

/// How many threads this process has. Not from the list of them, which the kernel ends at one that ends
/// while it is read.
pub(crate) fn threads() -> usize {
    status("Threads").and_then(|threads| threads.parse().ok()).unwrap_or(usize::MAX)
}

/// What the kernel says of this process.
fn status(field: &str) -> Option<String> {
    let text = trusted_file::read(Path::new("/proc/self/status"), MAX_STATUS, Owner::RootOrSelf).ok()?;
    text.lines().find_map(|line| Some(line.strip_prefix(field)?.strip_prefix(':')?.trim().to_owned()))
}

/// Leaves the terminal, into which whoever has it can type (TIOCSTI, tty_ioctl(4)): root's, when root has
/// started what started this process.
pub(crate) fn leave_terminal() {
    // The leader of a group cannot. It is one when espm has started it without sudo, and goes into espm's first.
    if rustix::process::setsid().is_err() {
        let group = rustix::process::getppid().and_then(|parent| rustix::process::getpgid(Some(parent)).ok());
        let _ = rustix::process::setpgid(None, group).and_then(|()| rustix::process::setsid());
    }
}

/// Makes the kernel end this process when its parent ends, which must be the one with that number.
pub(crate) fn end_with(parent: &str) -> io::Result<()> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    let is_parent = rustix::process::getppid().map(Pid::as_raw_pid).is_some_and(|pid| pid.to_string() == parent);
    if is_parent { Ok(()) } else { Err(io::Error::other("the process that waited for the command is gone")) }
}

/// Does something as the owner of a directory, with its group and no other, when started by root.
///
/// What root would make in a directory of another user's, that user could put elsewhere by a link.
pub(crate) fn as_owner_of<T: Send>(directory: &Path, act: impl FnOnce() -> T + Send) -> io::Result<T> {
    apart(|| become_owner_of(directory).map(|()| act()))
}

/// Does something as a user of `/etc/passwd`, with all of that user's groups, when started by root.
pub(crate) fn as_user<T: Send>(name: &str, act: impl FnOnce() -> T + Send) -> io::Result<T> {
    apart(|| become_user(name).map(|()| act()))
}

/// In a thread of its own, for it is threads that have users.
fn apart<T: Send>(act: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    let acted = std::thread::scope(|scope| scope.spawn(act).join());
    acted.unwrap_or_else(|_| Err(io::Error::other("it ended half-way")))
}

/// Leaves no memory behind: no core files, and no tracing by processes of the same user.
pub(crate) fn keep_memory_private() -> io::Result<()> {
    rustix::process::setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    Ok(())
}

/// Keeps descriptors that were inherited by accident from going on to the programs that are started.
///
/// The gate's FastCGI library accepts connections without `FD_CLOEXEC`.
pub(crate) fn seal_inherited_descriptors() {
    close_fds::set_fds_cloexec(3, &[]);
}

/// Allows as many open files as the hard limit does: a connection and two pipes a request.
pub(crate) fn raise_file_limit() -> io::Result<()> {
    let limit = rustix::process::getrlimit(Resource::Nofile);
    rustix::process::setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })?;
    Ok(())
}

/// Started by root: becomes the owner of a directory, with its group and no other.
///
/// To be called while the process has one thread, for it is threads that have users.
pub(crate) fn become_owner_of(directory: &Path) -> io::Result<()> {
    let owner = std::fs::metadata(directory)?;
    if !rustix::process::geteuid().is_root() || owner.uid() == 0 {
        return Ok(());
    }
    become_ids(owner.uid(), owner.gid(), &[])
}

fn become_user(name: &str) -> io::Result<()> {
    let found = account(|fields| fields.first() == Some(&name.to_owned()));
    let Some(Account { user: Some(uid), group: Some(gid) }) = found else {
        return Err(io::Error::other(format!("there is no user {name} in /etc/passwd")));
    };
    if !is_root() { Ok(()) } else { become_ids(uid, gid, &groups_of(name)) }
}

fn become_ids(uid: u32, gid: u32, others: &[u32]) -> io::Result<()> {
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
    let others: Vec<_> = others.iter().copied().map(Gid::from_raw).collect();
    rustix::thread::set_thread_groups(&others)?;
    rustix::thread::set_thread_res_gid(gid, gid, gid)?;
    rustix::thread::set_thread_res_uid(uid, uid, uid)?;
    Ok(())
}

/// Standard output without the buffer that the standard library puts before it, which would hand an
/// answer over in two parts and wake its reader twice.
pub(crate) fn unbuffered_output() -> io::Result<File> {
    Ok(File::from(io::stdout().as_fd().try_clone_to_owned()?))
}

/// Standard input to its end, or so many bytes of it.
pub(crate) fn read_input(limit: usize, until: Deadline) -> io::Result<Vec<u8>> {
    let mut input = File::from(io::stdin().as_fd().try_clone_to_owned()?);
    let (mut bytes, mut part) = (Vec::new(), vec![0; limit.min(64 * 1024)]);
    while bytes.len() < limit {
        let left = Timespec::try_from(until.left()).map_err(io::Error::other)?;
        match rustix::event::poll(&mut [PollFd::new(&input, PollFlags::IN)], Some(&left)) {
            Err(Errno::INTR) => continue,
            Ok(0) => return Err(io::Error::new(io::ErrorKind::TimedOut, "it does not come to its end")),
            other => other?,
        };
        match input.read(&mut part)? {
            0 => break,
            length => bytes.extend_from_slice(part.get(..length).unwrap_or_default()),
        }
    }
    bytes.truncate(limit);
    Ok(bytes)
}

/// How many processors this process may use: its affinity and its control group's quota, read from a
/// handful of files.
pub(crate) fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Whether this process runs as root.
pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Whether this process runs as the user of that name in `/etc/passwd`.
pub(crate) fn runs_as(name: &str) -> bool {
    uid_of(name) == Some(user())
}

/// The user id of that name in `/etc/passwd`.
pub(crate) fn uid_of(name: &str) -> Option<u32> {
    account(|fields| fields.first() == Some(&name.to_owned())).and_then(|account| account.user)
}

/// The numbers of a user and its group.
struct Account {
    user: Option<u32>,
    group: Option<u32>,
}

/// The first line of `/etc/passwd` whose fields are the ones that are looked for.
fn account(is_it: impl Fn(&[String]) -> bool) -> Option<Account> {
    let users = read_accounts("/etc/passwd");
    let mut lines = users.lines().map(|line| line.split(':').map(str::to_owned).collect::<Vec<_>>());
    let fields = lines.find(|fields| is_it(fields))?;
    let number = |place: usize| fields.get(place).and_then(|field| field.parse().ok());
    Some(Account { user: number(2), group: number(3) })
}

/// The name of a group in `/etc/group`.
pub(crate) fn group_name(gid: u32) -> Option<String> {
    let groups = read_accounts("/etc/group");
    let group = groups.lines().find(|line| line.split(':').nth(2) == Some(&gid.to_string()))?;
    group.split(':').next().map(str::to_owned)
}

/// Whether a user belongs to a group, according to `/etc/passwd` and `/etc/group`.
pub(crate) fn is_member(user: &str, gid: u32) -> bool {
    let gid = gid.to_string();
    let field = |line: &str, number: usize| line.split(':').nth(number).unwrap_or_default().to_owned();
    let first = read_accounts("/etc/passwd").lines().any(|line| field(line, 0) == user && field(line, 3) == gid);
    first
        || read_accounts("/etc/group")
            .lines()
            .any(|line| field(line, 2) == gid && field(line, 3).split(',').any(|member| member == user))
}

/// The groups that name a user as a member in `/etc/group`.
fn groups_of(user: &str) -> Vec<u32> {
    let has = |members: &str| members.split(',').any(|member| member == user);
    let groups = read_accounts("/etc/group");
    let members = groups.lines().filter(|line| has(line.split(':').nth(3).unwrap_or_default()));
    members.filter_map(|line| line.split(':').nth(2)?.parse().ok()).collect()
}

fn read_accounts(path: &str) -> String {
    trusted_file::read(Path::new(path), MAX_PASSWD, Owner::Root).unwrap_or_default()
}

/// The user that this process runs as.
pub(crate) fn user() -> u32 {
    rustix::process::geteuid().as_raw()
}
