//! The operator's commands: each fault of a site is one line that says what to do.

mod adopt;
mod alerts;
mod assign;
mod busy;

/// Behind each web server (tests/run).
mod every_server {
    use std::fs;
    use std::os::unix::fs::MetadataExt;
    use std::process::Command;

    use crate::harness::{Site, run};

    mod backup;
    mod check;
    mod commands;
    mod delete_and_revoke;
    mod mistakes;
    mod monitoring;
    mod stopped;
    mod troubleshooting;
    mod users;

    /// Every file of the state directory still belongs to espm's user.
    #[track_caller]
    fn state_belongs_to_espm(site: &Site) {
        let owner = fs::metadata(site.dir.join("state")).unwrap().uid();
        let others = run(Command::new("find").arg(site.dir.join("state")).args(["!", "-uid", &owner.to_string()]));
        assert_eq!((others.as_str(), owner != 0), ("", true));
    }
}
