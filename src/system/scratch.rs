//! Directories of unit tests, removed with the thread of their test, and a loop to wait.

use std::cell::RefCell;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// The directories that this thread's test has made.
struct Made(Vec<PathBuf>);

impl Drop for Made {
    fn drop(&mut self) {
        for directory in &self.0 {
            let _ = fs::remove_dir_all(directory);
        }
    }
}

thread_local! {
    static MADE: RefCell<Made> = const { RefCell::new(Made(Vec::new())) };
}

/// A new directory for the test that runs in this thread.
pub fn scratch(name: &str) -> PathBuf {
    let directory = std::env::temp_dir().join(format!("espm-{name}-{}", std::process::id()));
    let _ = fs::remove_dir_all(&directory);
    fs::create_dir(&directory).unwrap();
    MADE.with(|made| made.borrow_mut().0.push(directory.clone()));
    directory
}

/// The value that an attempt gives at last.
/// A released lock can be held for a moment more: a child of another test has each descriptor of this process
/// until it has become its program (execve(2)).
pub fn at_last<T>(mut attempt: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(given) = attempt() {
            return given;
        }
        assert!(start.elapsed() < Duration::from_secs(60), "waited in vain");
        std::thread::yield_now();
    }
}
