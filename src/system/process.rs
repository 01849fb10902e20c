//! The process itself: its user and groups, its limits, descriptors and terminal, its memory.

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::Mode;
use rustix::io::Errno;
use rustix::process::{DumpableBehavior, Gid, Pid, Resource, Rlimit, Signal, Uid};
use thiserror::Error;

use crate::system::clock::{self, Deadline};
use crate::system::trusted_file::{self, FileError, Owner};

const PASSWD: &str = "/etc/passwd";
const GROUP: &str = "/etc/group";

/// Bytes of either.
const MAX_ACCOUNTS: u64 = 16 * 1024 * 1024;

/// Bytes of `/proc/self/status` (proc_pid_status(5)), which has some fifty lines.
const MAX_STATUS: u64 = 64 * 1024;

/// The least that a command of the console or the CA needs of each limit (bytes, seconds, files, processes).
/// No command may run longer than 3600 s; the rest is what a small Rails application or a revocation list of a
/// million entries takes.
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
    #[error("started with SIGCHLD ignored, so children cannot be reaped; start espm with 'env --default-signal=CHLD'")]
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
    match line(PASSWD, 2, &user().to_string()).and_then(|fields| number(&fields, 3)) {
        Some(own) if own != group => Err(StartError::Group { group, own }),
        _ => Ok(()),
    }
}

/// Checks that children can be reaped.
/// An ignored SIGCHLD is inherited (signal(7)), and wait(2) then fails.
pub(crate) fn check_children() -> Result<(), StartError> {
    let ignored = status("SigIgn").and_then(|mask| u64::from_str_radix(&mask, 16).ok());
    let child = 1 << (Signal::CHILD.as_raw() - 1);
    match ignored {
        Some(mask) if mask & child != 0 => Err(StartError::ChildrenIgnored),
        _ => Ok(()),
    }
}

/// The number of threads of this process.
/// It is not counted in `/proc/self/task`: the kernel cuts that list short where a thread ends while it is
/// read.
pub(crate) fn threads() -> usize {
    status("Threads").and_then(|threads| threads.parse().ok()).unwrap_or(usize::MAX)
}

/// A field of proc_pid_status(5).
fn status(field: &str) -> Option<String> {
    let text = trusted_file::read(Path::new("/proc/self/status"), MAX_STATUS, Owner::RootOrSelf).ok()?;
    text.lines().find_map(|line| Some(line.strip_prefix(field)?.strip_prefix(':')?.trim().to_owned()))
}

/// The kernel's word for the present boot of the machine (random(4)).
pub(crate) fn boot_id() -> Result<String, FileError> {
    let id = trusted_file::read(Path::new("/proc/sys/kernel/random/boot_id"), MAX_STATUS, Owner::Root)?;
    Ok(id.trim().to_owned())
}

/// When the machine was started, in seconds since 1970.
pub(crate) fn booted_at() -> Result<i64, FileError> {
    let path = Path::new("/proc/uptime");
    let text = trusted_file::read(path, MAX_STATUS, Owner::Root)?;
    let seconds = text.split('.').next().and_then(|seconds| seconds.parse::<i64>().ok());
    let seconds = seconds.ok_or_else(|| FileError::io(path, io::ErrorKind::InvalidData.into()))?;
    Ok(clock::now() - seconds - 1)
}

/// Detaches from the controlling terminal.
/// Its holder could type into root's (TIOCSTI, tty_ioctl(4)).
pub(crate) fn leave_terminal() {
    // A group's leader cannot. Without sudo this process is one, and joins its parent's group first.
    if rustix::process::setsid().is_err() {
        let group = rustix::process::getppid().and_then(group_of_process);
        let _ = rustix::process::setpgid(None, group).and_then(|()| rustix::process::setsid());
    }
}

/// The group of a process; `None` where its leader is outside this PID namespace, as in a container.
/// `rustix::process::getpgid` panics there.
fn group_of_process(pid: Pid) -> Option<Pid> {
    let path = Path::new("/proc").join(pid.as_raw_pid().to_string()).join("stat");
    let stat = trusted_file::read(&path, MAX_STATUS, Owner::Anyone).ok()?;
    // proc_pid_stat(5); the second field is a name in parentheses.
    let group = stat.rsplit_once(')')?.1.split_whitespace().nth(2)?.parse().ok()?;
    Pid::from_raw(group)
}

/// Has the kernel kill this process when its parent ends, which must have that number.
pub(crate) fn end_with(parent: &str) -> io::Result<()> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    let is_parent = rustix::process::getppid().map(Pid::as_raw_pid).is_some_and(|pid| pid.to_string() == parent);
    if is_parent { Ok(()) } else { Err(io::Error::other("the parent process is gone")) }
}

/// As root: acts as the owner of a directory, with its group and no other.
/// By a link, that user could put elsewhere what root creates there.
pub(crate) fn as_owner_of<T: Send>(directory: &Path, act: impl FnOnce() -> T + Send) -> io::Result<T> {
    apart(|| become_owner_of(directory).map(|()| act()))
}

/// As root: acts as another user, with all of that user's groups.
pub(crate) fn as_user<T: Send>(name: &str, act: impl FnOnce() -> T + Send) -> io::Result<T> {
    apart(|| become_user(name).map(|()| act()))
}

/// Acts in a thread of its own: to the kernel, users belong to threads.
fn apart<T: Send>(act: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    let acted = std::thread::scope(|scope| scope.spawn(act).join());
    acted.unwrap_or_else(|_| Err(io::Error::other("the thread panicked")))
}

/// Forbids core files, and tracing by processes of the same user.
pub(crate) fn keep_memory_private() -> io::Result<()> {
    rustix::process::setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    Ok(())
}

/// Closes inherited descriptors in each program that this process starts.
/// The gate's FastCGI library accepts connections without `FD_CLOEXEC`.
pub(crate) fn seal_inherited_descriptors() {
    close_fds::set_fds_cloexec(3, &[]);
}

/// Raises the limit on open files to the hard one.
/// Each request takes a connection and two pipes.
pub(crate) fn raise_file_limit() -> io::Result<()> {
    let limit = rustix::process::getrlimit(Resource::Nofile);
    rustix::process::setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })?;
    Ok(())
}

/// As root: becomes the owner of a directory, with its group and no other.
/// Call it while the process has one thread: to the kernel, users belong to threads.
///
/// # Errors
/// Where that is root: nothing of espm's, and no code of the console's, runs as root.
pub(crate) fn become_owner_of(directory: &Path) -> io::Result<()> {
    if !is_root() {
        return Ok(());
    }
    let owner = check_owner_of(directory)?;
    become_ids(owner.uid(), owner.gid(), &[])
}

/// Checks that a directory is not root's.
pub(crate) fn check_owner_of(directory: &Path) -> io::Result<Metadata> {
    let owner = std::fs::metadata(directory)?;
    if owner.uid() == 0 { Err(io::Error::other(root_owns(directory))) } else { Ok(owner) }
}

/// The name of the user who owns a directory; espm's usual one where the directory is missing.
pub(crate) fn owner_of(directory: &Path) -> String {
    let uid = std::fs::metadata(directory).map(|found| found.uid());
    uid.map_or_else(|_| "espm".to_owned(), |uid| user_name(uid).unwrap_or_else(|| format!("#{uid}")))
}

/// The name of the group that a directory belongs to; espm's usual one where the directory is missing.
pub(crate) fn group_of(directory: &Path) -> String {
    let gid = std::fs::metadata(directory).map(|found| found.gid());
    gid.map_or_else(|_| "espm".to_owned(), |gid| group_name(gid).unwrap_or_else(|| gid.to_string()))
}

/// Says that a directory is root's, with the command to type.
fn root_owns(directory: &Path) -> String {
    let path = directory.display();
    let user = "useradd --system --user-group --shell /usr/sbin/nologin";
    match uid_of("espm") {
        Some(0) => format!(
            "{path} belongs to root, because the user espm is number 0 in {PASSWD}, and espm does not run as root; \
             '{user} espm-agent && chown -R espm-agent:espm-agent {path}'"
        ),
        Some(_) => format!("{path} belongs to root, and espm does not run as root; 'chown -R espm:espm {path}'"),
        None => {
            format!("{path} belongs to root, and espm does not run as root; '{user} espm && chown -R espm:espm {path}'")
        }
    }
}

fn become_user(name: &str) -> io::Result<()> {
    let ids = line(PASSWD, 0, name).and_then(|fields| Some((number(&fields, 2)?, number(&fields, 3)?)));
    let (uid, gid) = ids.ok_or_else(|| io::Error::other(format!("there is no user {name} in {PASSWD}")))?;
    if is_root() { become_ids(uid, gid, &groups_of(name)) } else { Ok(()) }
}

fn become_ids(uid: u32, gid: u32, others: &[u32]) -> io::Result<()> {
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
    let others: Vec<_> = others.iter().copied().map(Gid::from_raw).collect();
    rustix::thread::set_thread_groups(&others)?;
    rustix::thread::set_thread_res_gid(gid, gid, gid)?;
    rustix::thread::set_thread_res_uid(uid, uid, uid)?;
    Ok(())
}

/// Standard output without the standard library's buffer, which would send a response in two parts and wake
/// its reader twice.
pub(crate) fn unbuffered_output() -> io::Result<File> {
    Ok(File::from(io::stdout().as_fd().try_clone_to_owned()?))
}

/// Makes durable what this process and its children have written to standard output, which is a file.
pub(crate) fn sync_output() -> io::Result<()> {
    rustix::fs::fdatasync(io::stdout()).map_err(io::Error::from)
}

/// Reads standard input to its end, or so many bytes of it.
pub(crate) fn read_input(limit: usize, until: Deadline) -> io::Result<Vec<u8>> {
    let mut input = File::from(io::stdin().as_fd().try_clone_to_owned()?);
    let (mut bytes, mut part) = (Vec::new(), vec![0; limit.min(64 * 1024)]);
    while bytes.len() < limit {
        let left = Timespec::try_from(until.left()).map_err(io::Error::other)?;
        match rustix::event::poll(&mut [PollFd::new(&input, PollFlags::IN)], Some(&left)) {
            Err(Errno::INTR) => continue,
            Ok(0) => return Err(io::Error::new(io::ErrorKind::TimedOut, "its end does not come")),
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

/// The number of processors that this process may use, by its affinity and its control group's quota.
pub(crate) fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// The user that this process runs as.
pub(crate) fn user() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// Whether this process runs as the user of that name.
pub(crate) fn runs_as(name: &str) -> bool {
    uid_of(name) == Some(user())
}

pub(crate) fn uid_of(name: &str) -> Option<u32> {
    number(&line(PASSWD, 0, name)?, 2)
}

pub(crate) fn user_name(uid: u32) -> Option<String> {
    line(PASSWD, 2, &uid.to_string())?.into_iter().next()
}

pub(crate) fn group_name(gid: u32) -> Option<String> {
    line(GROUP, 2, &gid.to_string())?.into_iter().next()
}

/// Whether a group is a user's own or names the user as a member.
pub(crate) fn is_member(user: &str, gid: u32) -> bool {
    line(PASSWD, 0, user).and_then(|fields| number(&fields, 3)) == Some(gid) || groups_of(user).contains(&gid)
}

/// The groups that name a user as a member.
fn groups_of(user: &str) -> Vec<u32> {
    let text = trusted_file::read(Path::new(GROUP), MAX_ACCOUNTS, Owner::Root).unwrap_or_default();
    let group = |line: &str| {
        let mut fields = line.split(':').skip(2);
        let id = fields.next()?.parse().ok()?;
        fields.next()?.split(',').any(|member| member == user).then_some(id)
    };
    text.lines().filter_map(group).collect()
}

/// The first line of a file that has a value in that field, as its fields.
fn line(path: &str, field: usize, value: &str) -> Option<Vec<String>> {
    let text = trusted_file::read(Path::new(path), MAX_ACCOUNTS, Owner::Root).unwrap_or_default();
    let found = text.lines().find(|line| line.split(':').nth(field) == Some(value))?;
    Some(found.split(':').map(str::to_owned).collect())
}

fn number(fields: &[String], field: usize) -> Option<u32> {
    fields.get(field)?.parse().ok()
}
