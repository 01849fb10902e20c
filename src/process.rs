//! What a process of espm does to itself before it touches a secret or a user's input.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::process::{DumpableBehavior, Gid, Resource, Rlimit, Uid};

use crate::trusted_file::{self, Owner};

/// Bytes of `/etc/passwd`.
const MAX_PASSWD: u64 = 16 * 1024 * 1024;

/// Leaves no memory behind: no core files, and no tracing by processes of the same user.
///
/// # Errors
/// When the kernel refuses.
pub fn keep_memory_private() -> io::Result<()> {
    rustix::process::setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    Ok(())
}

/// Keeps descriptors that were inherited by accident from going on to the programs that are started.
///
/// The gate's FastCGI library accepts connections without `FD_CLOEXEC`.
pub fn seal_inherited_descriptors() {
    close_fds::set_fds_cloexec(3, &[]);
}

/// Allows as many open files as the hard limit does: a connection and two pipes a request.
///
/// # Errors
/// When the kernel refuses.
pub fn raise_file_limit() -> io::Result<()> {
    let limit = rustix::process::getrlimit(Resource::Nofile);
    rustix::process::setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })?;
    Ok(())
}

/// Started by root: becomes the owner of a directory, with its group and no other.
///
/// To be called while the process has one thread, for it is threads that have users.
///
/// # Errors
/// When the directory cannot be looked at or the kernel refuses.
pub fn become_owner_of(directory: &Path) -> io::Result<()> {
    let owner = std::fs::metadata(directory)?;
    if !rustix::process::geteuid().is_root() || owner.uid() == 0 {
        return Ok(());
    }
    let (uid, gid) = (Uid::from_raw(owner.uid()), Gid::from_raw(owner.gid()));
    rustix::thread::set_thread_groups(&[])?;
    rustix::thread::set_thread_res_gid(gid, gid, gid)?;
    rustix::thread::set_thread_res_uid(uid, uid, uid)?;
    Ok(())
}

/// Whether this process runs as root.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Whether this process runs as the user of that name in `/etc/passwd`.
pub fn runs_as(name: &str) -> bool {
    uid_of(name) == Some(user())
}

/// The user id of that name in `/etc/passwd`.
pub fn uid_of(name: &str) -> Option<u32> {
    let users = trusted_file::read(Path::new("/etc/passwd"), MAX_PASSWD, Owner::Root).unwrap_or_default();
    let uid = users.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(name)).then(|| fields.nth(1))?
    });
    uid.and_then(|uid| uid.parse().ok())
}

/// The user that this process runs as.
pub fn user() -> u32 {
    rustix::process::geteuid().as_raw()
}
