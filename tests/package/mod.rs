//! The files that a package installs. The packages themselves are tried by `tests/package/run`.

mod shipped_files;
mod timers;
