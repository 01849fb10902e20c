//! Locks, permits and queues that all processes share, as flock(2) on files.
//!
//! The kernel releases them with the last process that holds them, so a death leaks none. They are always
//! acquired in the order node, list, permit.

use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

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
    /// Removed when the lock is released, so that a directory of locks does not grow.
    removed: Option<PathBuf>,
    _file: File,
}

impl Drop for Lock {
    fn drop(&mut self) {
        if let Some(path) = &self.removed {
            let _ = fs::remove_file(path);
        }
    }
}

/// Acquires the lock of an open file, if it is free.
pub(crate) fn try_lock(file: &File) -> io::Result<bool> {
    match file.try_lock() {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Acquires the lock of a file that stays, if it is free.
pub(crate) fn try_acquire(path: &Path) -> Result<Option<Lock>, FileError> {
    let file = trusted_file::open_lock(path)?;
    Ok(matches!(file.try_lock(), Ok(())).then_some(Lock { removed: None, _file: file }))
}

/// Acquires the lock of a file that is removed with the lock, if it is free.
pub(crate) fn try_acquire_removed(path: &Path) -> Result<Option<Lock>, FileError> {
    Ok(lock_removed(trusted_file::open_lock(path)?, path))
}

/// Acquires the lock of an open file, if the file is still the one at the path.
/// The holder before may have removed it after it was opened here.
fn lock_removed(file: File, path: &Path) -> Option<Lock> {
    file.try_lock().ok()?;
    let same = match (file.metadata(), fs::symlink_metadata(path)) {
        (Ok(opened), Ok(there)) => opened.ino() == there.ino() && opened.dev() == there.dev(),
        _ => false,
    };
    same.then(|| Lock { removed: Some(path.to_owned()), _file: file })
}

/// How long [`marked`] waits for another that asks.
const ASKED: Duration = Duration::from_millis(300);

/// Writes a text into a file, and keeps the file locked until the returned one is closed.
pub(crate) fn mark(path: &Path, text: &str) -> Result<File, FileError> {
    let mut file = trusted_file::open_lock(path)?;
    let marked = file.lock_shared().and_then(|()| file.set_len(0)).and_then(|()| file.write_all(text.as_bytes()));
    marked.map_err(FileError::at(path)).map(|()| file)
}

/// The text that a running process has marked a file with.
pub(crate) fn marked(path: &Path) -> Result<Option<String>, FileError> {
    let Some(mut file) = trusted_file::optional(trusted_file::open_existing(path))? else { return Ok(None) };
    let error = FileError::at(path);
    if Deadline::after(ASKED).attempt(|| Ok(try_lock(&file).map_err(error)?.then_some(())))?.is_some() {
        return Ok(None);
    }
    let mut text = String::new();
    file.read_to_string(&mut text).map_err(error)?;
    Ok(Some(text))
}

/// A lock that a program inherits with the open file.
///
/// The program gets the file as standard input, the one descriptor beside the outputs that sudo passes on, or
/// through a socket. The lock is held until this process, the program and every process that the program has
/// started are gone, or until one of them releases it.
#[derive(Debug)]
pub struct InheritedLock {
    path: PathBuf,
    file: File,
}

impl InheritedLock {
    /// Acquires the lock of a file that stays, if it is free.
    pub(crate) fn try_acquire(path: &Path) -> Result<Option<Self>, FileError> {
        drop(trusted_file::open_lock(path)?);
        // The program, which may be another user's, can only read it.
        let file = trusted_file::open_existing(path)?;
        let acquired = try_lock(&file).map_err(FileError::at(path))?;
        Ok(acquired.then(|| Self { path: path.to_owned(), file }))
    }

    /// The file as a program's standard input, with these bytes.
    pub(crate) fn input(&self, bytes: &[u8]) -> Result<File, FileError> {
        let mut file = trusted_file::open_lock(&self.path)?;
        let written = file.set_len(0).and_then(|()| file.write_all(bytes));
        written.and_then(|()| self.file.try_clone()).map_err(FileError::at(&self.path))
    }

    /// The open file, for a process that gets it through a socket.
    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// Releases the lock, once the program has ended.
    /// A process that the program has left behind may still have the file open.
    pub(crate) fn release(self) {
        let _ = self.file.unlock();
    }
}

/// Releases the lock that this process has inherited as standard input.
pub(crate) fn release_input() {
    if let Ok(input) = io::stdin().as_fd().try_clone_to_owned() {
        let _ = File::from(input).unlock();
    }
}

/// A bounded number of permits, each the lock of a file.
#[derive(Debug)]
pub(crate) struct Permits {
    directory: PathBuf,
    name: String,
    count: usize,
}

impl Permits {
    /// So many permits of that name in a directory.
    pub(crate) fn new(directory: &Path, name: &str, count: usize) -> Self {
        Self { directory: directory.to_owned(), name: name.to_owned(), count }
    }

    /// Acquires a free permit, if there is one.
    pub(crate) fn try_acquire(&self) -> Result<Option<Lock>, FileError> {
        self.first(try_acquire)
    }

    /// As [`Permits::try_acquire`], for a program that inherits it.
    pub(crate) fn try_acquire_inherited(&self) -> Result<Option<InheritedLock>, FileError> {
        self.first(InheritedLock::try_acquire)
    }

    fn first<T>(&self, acquire: impl Fn(&Path) -> Result<Option<T>, FileError>) -> Result<Option<T>, FileError> {
        let path = |number| self.directory.join(format!("{}.{number}", self.name));
        (0..self.count).find_map(|number| acquire(&path(number)).transpose()).transpose()
    }
}

/// A bounded number of waiting requests, each with a permit; of one client half of them at most.
#[derive(Debug)]
pub struct Queue {
    places: Permits,
    share: Option<Permits>,
}

impl Queue {
    /// A queue of so many requests, its permits in a directory; `client` is the one whose share is bounded.
    pub(crate) fn new(directory: &Path, name: &str, length: usize, client: Option<&str>) -> Self {
        // A name of a client has no dot, so that its permits are no others'.
        let share = |client| Permits::new(directory, &format!("{name}.{client}"), length.div_ceil(2));
        Self { places: Permits::new(directory, name, length), share: client.map(share) }
    }

    /// Waits in the queue until an attempt gives a value. A value that is there at once needs no permit.
    pub(crate) fn wait<T>(
        &self,
        until: Deadline,
        mut attempt: impl FnMut() -> Result<Option<T>, FileError>,
    ) -> Result<T, LockError> {
        if let Some(value) = attempt()? {
            return Ok(value);
        }
        let _share = match &self.share {
            Some(share) => Some(share.try_acquire()?.ok_or(LockError::Full)?),
            None => None,
        };
        let _permit = self.places.try_acquire()?.ok_or(LockError::Full)?;
        until.attempt(attempt)?.ok_or(LockError::TimedOut)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{
        InheritedLock, LockError, Permits, Queue, lock_removed, mark, marked, try_acquire, try_acquire_removed,
    };
    use crate::system::clock::Deadline;
    use crate::system::scratch::{at_last, scratch};
    use crate::system::trusted_file;

    #[test]
    fn lock_is_exclusive_and_free_again_when_dropped() {
        let path = scratch("lock-one").join("lock");
        let lock = try_acquire(&path).unwrap().unwrap();
        assert!(try_acquire(&path).unwrap().is_none());
        drop(lock);
        at_last(|| try_acquire(&path).unwrap());
    }

    #[test]
    fn mark_is_there_while_its_process_keeps_it() {
        let path = scratch("lock-mark").join("gate");
        assert_eq!(marked(&path).unwrap(), None);
        let (one, two) = (mark(&path, "/one").unwrap(), mark(&path, "/2").unwrap());
        assert_eq!(marked(&path).unwrap().as_deref(), Some("/2"));
        drop(one);
        assert_eq!(marked(&path).unwrap().as_deref(), Some("/2"));
        drop(two);
        at_last(|| marked(&path).unwrap().is_none().then_some(()));
    }

    #[test]
    fn passing_lock_leaves_no_file() {
        let path = scratch("lock-passing").join("lock");
        let lock = try_acquire_removed(&path).unwrap().unwrap();
        assert!(try_acquire_removed(&path).unwrap().is_none());
        drop(lock);
        assert!(!path.exists());
    }

    #[test]
    fn passing_lock_is_not_had_of_a_file_that_its_last_holder_has_removed() {
        let path = scratch("lock-removed").join("lock");
        let late = || trusted_file::open_lock(&path).unwrap();
        let [one, two] = [late(), late()];
        drop(try_acquire_removed(&path).unwrap().unwrap());
        assert!(lock_removed(one, &path).is_none());
        let _held = try_acquire_removed(&path).unwrap().unwrap();
        assert!(lock_removed(two, &path).is_none());
    }

    #[test]
    fn to_ask_for_a_lock_changes_nothing_of_what_its_holders_program_reads() {
        let path = scratch("lock-lease").join("lock");
        let lease = InheritedLock::try_acquire(&path).unwrap().unwrap();
        let mut input = lease.input(b"order").unwrap();
        assert!(InheritedLock::try_acquire(&path).unwrap().is_none() && try_acquire(&path).unwrap().is_none());
        let mut read = String::new();
        std::io::Read::read_to_string(&mut input, &mut read).unwrap();
        assert_eq!(read, "order");
    }

    #[test]
    fn slots_and_places_are_bounded() {
        let directory = scratch("lock-slots");
        let slots = Permits::new(&directory, "slot", 2);
        let _held = (slots.try_acquire().unwrap().unwrap(), slots.try_acquire().unwrap().unwrap());
        let soon = || Deadline::after(Duration::from_millis(30));
        let none = Queue::new(&directory, "place", 0, None);
        assert!(matches!(none.wait(soon(), || slots.try_acquire()), Err(LockError::Full)));
        let one = Queue::new(&directory, "place", 1, None);
        assert!(matches!(one.wait(soon(), || slots.try_acquire()), Err(LockError::TimedOut)));
    }

    #[test]
    fn client_has_half_of_a_queue_and_leaves_the_rest_to_others() {
        let directory = scratch("lock-share");
        let queue = |client| Queue::new(&directory, "place", 4, client);
        // The requests of a client that wait already.
        let [a, b] = [queue(Some("a")), queue(Some("b"))];
        let wait = |queue: &Queue| queue.wait(Deadline::after(Duration::from_millis(30)), || Ok(None::<()>));
        let waiting =
            |queue: &Queue| (queue.share.as_ref().unwrap().try_acquire().unwrap(), queue.places.try_acquire().unwrap());
        let _one = waiting(&a);
        assert!(matches!(wait(&a), Err(LockError::TimedOut)));
        let _two = waiting(&a);
        assert!(matches!(wait(&a), Err(LockError::Full)));
        assert!(matches!(wait(&b), Err(LockError::TimedOut)));
        let _three = [waiting(&b), waiting(&b)];
        assert!(matches!(wait(&queue(Some("c"))), Err(LockError::Full)), "the whole is bounded, too");
        let one = Queue::new(&directory, "one", 1, Some("a"));
        assert!(matches!(wait(&one), Err(LockError::TimedOut)), "of one place half is one");
    }
}
