//! The check of the state directory.

use std::os::unix::fs::MetadataExt;

use crate::cli::{Failure, failure};
use crate::config::Config;
use crate::model::state_directory;
use crate::system::process;
use crate::system::trusted_file::{self, Owner};

/// Least free bytes beside the ledger.
///
/// Every slot and place in the queue can write an output file, a journal and a cache at once.
const LEAST_FREE: u64 = 16 * 1024 * 1024;

/// Checks that the state directory is espm's own, and that espm can write there.
pub(super) fn check(config: &Config) -> Result<String, Failure> {
    let (state, path) = (&config.state, config.state.display());
    // No advice about the owner and mode of a directory that is not espm's.
    let ours = state_directory::all(state).iter().any(|path| path.symlink_metadata().is_ok());
    if state.is_dir() && !ours {
        return failure(format!(
            "[espm] state: {path} holds nothing of espm's; name the directory that espm-setup filled"
        ));
    }
    trusted_file::check_directory(state, Owner::RootOrSelf)
        .map_err(|error| Failure(format!("[espm] state: {error}")))?;
    let metadata = std::fs::metadata(state)?;
    if metadata.uid() == 0 {
        let advice = format!("chown -R espm:espm {path}");
        return failure(format!("[espm] state: {path} is owned by root, so that espm runs as root; {advice}"));
    }
    if metadata.uid() != process::user() {
        let owner = metadata.uid();
        let advice = "run 'espm check' as root or as that user";
        return failure(format!("[espm] state: {path} is owned by user {owner}; {advice}"));
    }
    if let Err(error) = rustix::fs::access(state, rustix::fs::Access::WRITE_OK) {
        let error = std::io::Error::from(error);
        return failure(format!("[espm] state: {path} cannot be written: {error}; repair or remount its file system"));
    }
    let space = rustix::fs::statvfs(state).map_err(std::io::Error::from)?;
    let free = space.f_bavail.saturating_mul(space.f_frsize);
    if free < LEAST_FREE {
        return failure(format!("[espm] state: {path} has {} KiB left; make room on its disk", free / 1024));
    }
    Ok(path.to_string())
}
