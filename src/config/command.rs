//! The keys of a command, which `[console]` and `[authority]` have both.

use std::path::PathBuf;
use std::time::Duration;

/// A command of the console's or the CA's, and how it is run.
#[derive(Debug, Clone)]
pub struct Command {
    /// The words before those of a task or an action.
    pub(crate) argv: Vec<String>,
    /// Where it runs.
    pub(crate) directory: PathBuf,
    /// Variables beyond the basic ones.
    pub(crate) environment: Vec<(String, String)>,
    /// The user that it runs as; `None` when that is espm's own.
    pub(crate) user: Option<String>,
    /// How long one run may take.
    pub(crate) timeout: Duration,
    /// Requests that may wait.
    pub(crate) queue: usize,
    /// How long one may wait.
    pub(crate) queue_timeout: Duration,
}

/// Declares the keys of a command in a section.
///
/// `of` names the command in their help; `timeout` adds to the help of that key.
macro_rules! command_keys {
    (
        $name:ident in $section:literal $(for $kind:literal)?, of $of:literal,
        command $argv:literal, directory $directory:ident($place:literal), user $user:literal
        $(, timeout $timeout:literal)?
    ) => {
        keys! {
            impl Command by $name in $section $(for $kind)? {
                #[doc = concat!("Command line of ", $of, " up to the task or the action.")]
                argv as "command": Vec<String> = declare::COMMAND, required($argv);
                #[doc = concat!("Directory that ", $of, " runs in and may read, so nobody else may write it.")]
                directory: PathBuf = declare::PATH, $directory($place);
                #[doc = concat!("Variables for ", $of, " beyond PATH, HOME and LANG.")]
                environment: Vec<(String, String)> = declare::ENVIRONMENT, list("RUBYLIB=/opt/puppet/lib");
                #[doc = concat!("User that ", $of, " runs as, through sudo; by default espm's own.")]
                user: Option<String> = declare::USER, optional($user);
                #[doc = concat!("Longest time for one run of ", $of, $($timeout,)? ".")]
                timeout: Duration = declare::SECONDS, default("120");
                #[doc = concat!("Requests that may wait for a run of ", $of, ", half of them one client's; the next one is answered 503.")]
                queue: usize = declare::PLACES, default("64");
                #[doc = concat!("Longest time that a request waits for a run of ", $of, " before it is answered 503.")]
                queue_timeout: Duration = declare::SECONDS_OR_NONE, default("60");
            }
        }
    };
}
pub(super) use command_keys;
