//! Locks, slots and queues shared by all handler processes, as `flock`s on files.
//!
//! The kernel releases them when the last process that holds them is gone, so a death leaks none.
//! They are always taken in the order node, list, slot.

use std::fs::{self, File, TryLockError};
use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::system::clock::Deadline;
use crate::system::trusted_file::{self, FileError};

/// Why a lock could not be acquired.
#[derive(Debug, Error)]
#[expect(missing_docs, reason = "its text says what a variant is")]
pub enum LockError {
    #[error("the queue is full")]
    Full,
    #[error("waited too long")]
    TimedOut,
    #[error(transparent)]
    File(#[from] FileError),
}

/// A lock that is held until it is dropped.
#[derive(Debug)]
pub struct Lock {
    /// Removed when the lock is given back, so that a directory of locks does not grow.
    removed_at_end: Option<PathBuf>,
    _file: File,
}

impl Drop for Lock {
    fn drop(&mut self) {
        if let Some(path) = &self.removed_at_end {
            let _ = fs::remove_file(path);
        }
    }
}

/// Takes the lock on an open file, if it is free.
pub(crate) fn try_lock(file: &File) -> std::io::Result<bool> {
    match file.try_lock() {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Takes the lock of a file that stays, if it is free.
pub(crate) fn try_take(path: &Path) -> Result<Option<Lock>, FileError> {
    let file = trusted_file::open_lock(path)?;
    Ok(matches!(file.try_lock(), Ok(())).then_some(Lock { removed_at_end: None, _file: file }))
}

/// Takes the lock of a file that goes away with the lock, if it is free.
pub(crate) fn try_take_passing(path: &Path) -> Result<Option<Lock>, FileError> {
    Ok(lock_passing(trusted_file::open_lock(path)?, path))
}

/// The lock of an open file, if it is free and the file still the one at the path.
/// The holder before may have removed it between our opening and our locking it.
fn lock_passing(file: File, path: &Path) -> Option<Lock> {
    file.try_lock().ok()?;
    let same = match (file.metadata(), fs::symlink_metadata(path)) {
        (Ok(ours), Ok(there)) => ours.ino() == there.ino() && ours.dev() == there.dev(),
        _ => false,
    };
    same.then(|| Lock { removed_at_end: Some(path.to_owned()), _file: file })
}

/// A lock that a program shares which gets its file as standard input, the one descriptor beside the outputs
/// that sudo passes on, or as a descriptor through a socket. It is held until this process and the program,
/// with every process that the program has started, are gone, or until one of them gives it back.
#[derive(Debug)]
pub struct Lease {
    path: PathBuf,
    file: File,
}

impl Lease {
    /// Takes the lock of a file that stays, if it is free.
    pub(crate) fn try_take(path: &Path) -> Result<Option<Self>, FileError> {
        drop(trusted_file::open_lock(path)?);
        // The program, which may be another user's, can only read it.
        let file = trusted_file::open_existing(path)?;
        let taken = try_lock(&file).map_err(|error| FileError::io(path, error))?;
        Ok(taken.then(|| Self { path: path.to_owned(), file }))
    }

    /// The file as a program's standard input, which is these bytes.
    pub(crate) fn input(&self, bytes: &[u8]) -> Result<File, FileError> {
        let error = |error| FileError::io(&self.path, error);
        let mut file = trusted_file::open_lock(&self.path)?;
        file.set_len(0).and_then(|()| file.write_all(bytes)).map_err(error)?;
        self.file.try_clone().map_err(error)
    }

    /// The open file, for a process that gets it as a descriptor and shares the lock with it.
    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// Gives the lock back, although a process that the program has left behind may have the file open.
    /// To be called only when the program has ended.
    pub(crate) fn give_back(self) {
        let _ = self.file.unlock();
    }
}

/// Gives back the lease whose file is this process's standard input, as its program does at its end.
pub(crate) fn give_back_input() {
    if let Ok(input) = std::io::stdin().as_fd().try_clone_to_owned() {
        let _ = File::from(input).unlock();
    }
}

/// A bounded number of things that can be done at once, each with one lock file.
#[derive(Debug)]
pub(crate) struct Slots {
    directory: PathBuf,
    name: &'static str,
    count: usize,
}

impl Slots {
    /// So many slots of that name in a directory.
    pub(crate) fn new(directory: &Path, name: &'static str, count: usize) -> Self {
        Self { directory: directory.to_owned(), name, count }
    }

    /// A free slot, if there is one.
    pub(crate) fn try_take(&self) -> Result<Option<Lock>, FileError> {
        self.first(try_take)
    }

    /// As [`Slots::try_take`], to be shared with a program.
    pub(crate) fn try_lease(&self) -> Result<Option<Lease>, FileError> {
        self.first(Lease::try_take)
    }

    fn first<T>(&self, take: impl Fn(&Path) -> Result<Option<T>, FileError>) -> Result<Option<T>, FileError> {
        for number in 0..self.count {
            if let Some(taken) = take(&self.directory.join(format!("{}.{number}", self.name)))? {
                return Ok(Some(taken));
            }
        }
        Ok(None)
    }
}

/// A bounded number of places to wait in.
#[derive(Debug)]
pub struct Queue(Slots);

impl Queue {
    /// A queue of so many places in a directory.
    pub(crate) fn new(directory: &Path, name: &'static str, places: usize) -> Self {
        Self(Slots::new(directory, name, places))
    }

    /// Waits in a place of the queue until an attempt gives something.
    /// What is free at once needs no place.
    pub(crate) fn wait<T>(
        &self,
        until: Deadline,
        mut attempt: impl FnMut() -> Result<Option<T>, FileError>,
    ) -> Result<T, LockError> {
        if let Some(got) = attempt()? {
            return Ok(got);
        }
        let Some(_place) = self.0.try_take()? else {
            return Err(LockError::Full);
        };
        until.attempt(attempt)?.ok_or(LockError::TimedOut)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Lease, LockError, Queue, Slots, lock_passing, try_take, try_take_passing};
    use crate::system::clock::Deadline;
    use crate::system::scratch::{at_last, scratch};
    use crate::system::trusted_file;

    #[test]
    fn a_lock_is_exclusive_and_free_again_when_dropped() {
        let path = scratch("lock-one").join("lock");
        let lock = try_take(&path).unwrap().unwrap();
        assert!(try_take(&path).unwrap().is_none());
        drop(lock);
        at_last(|| try_take(&path).unwrap());
    }

    #[test]
    fn a_passing_lock_leaves_no_file() {
        let path = scratch("lock-passing").join("lock");
        let lock = try_take_passing(&path).unwrap().unwrap();
        assert!(try_take_passing(&path).unwrap().is_none());
        drop(lock);
        assert!(!path.exists());
    }

    #[test]
    fn a_passing_lock_is_not_had_of_a_file_that_its_last_holder_has_removed() {
        let path = scratch("lock-removed").join("lock");
        let late = || trusted_file::open_lock(&path).unwrap();
        let [one, two] = [late(), late()];
        drop(try_take_passing(&path).unwrap().unwrap());
        assert!(lock_passing(one, &path).is_none());
        let _held = try_take_passing(&path).unwrap().unwrap();
        assert!(lock_passing(two, &path).is_none());
    }

    #[test]
    fn to_ask_for_a_lock_changes_nothing_of_what_its_holders_program_reads() {
        let path = scratch("lock-lease").join("lock");
        let lease = Lease::try_take(&path).unwrap().unwrap();
        let mut input = lease.input(b"order").unwrap();
        assert!(Lease::try_take(&path).unwrap().is_none() && try_take(&path).unwrap().is_none());
        let mut read = String::new();
        std::io::Read::read_to_string(&mut input, &mut read).unwrap();
        assert_eq!(read, "order");
    }

    #[test]
    fn slots_and_places_are_bounded() {
        let directory = scratch("lock-slots");
        let slots = Slots::new(&directory, "slot", 2);
        let _held = (slots.try_take().unwrap().unwrap(), slots.try_take().unwrap().unwrap());
        let soon = || Deadline::after(Duration::from_millis(30));
        let none = Queue::new(&directory, "place", 0);
        assert!(matches!(none.wait(soon(), || slots.try_take()), Err(LockError::Full)));
        let one = Queue::new(&directory, "place", 1);
        assert!(matches!(one.wait(soon(), || slots.try_take()), Err(LockError::TimedOut)));
    }
}
