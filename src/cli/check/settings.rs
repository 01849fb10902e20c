//! The check of values that each are possible, and of which the reader refuses none.

use std::path::Path;
use std::time::Duration;

use crate::cli::Failure;
use crate::config::{Config, Console};
use crate::system::trusted_file::{self, Owner};

/// Memory of one run of rake, in MB.
const RAKE_MEMORY: usize = 100;

/// Bytes of `/proc/meminfo` (proc_meminfo(5)).
const MAX_MEMINFO: u64 = 64 * 1024;

/// Variables that the console's tasks read where a command line has none (`name=...`).
const TASK_VARIABLES: [&str; 7] = ["name", "groups", "classes", "parameters", "variables", "delvariables", "match"];

/// Looks for values with which espm works, but not as it should.
pub(super) fn check(config: &Config) -> Result<String, Failure> {
    let mut wrong = Vec::new();
    if !config.require_tls {
        wrong.push("[espm] require_tls: no lets a key pass without TLS; write require_tls = yes".to_owned());
    }
    if !config.audit.required {
        wrong.push("[audit] required: no lets changes pass that no record shows; write required = yes".to_owned());
    }
    wrong.extend(config.console.command().and_then(|command| limits(config, "console", command.timeout)));
    wrong.extend(limits(config, "authority", config.authority.timeout));
    if let Console::Rake(rake) = &config.console {
        wrong.extend(concurrency(rake.concurrency));
        let names = rake.command.environment.iter().map(|(name, _)| name.as_str());
        wrong.extend(names.filter(|name| TASK_VARIABLES.contains(name)).map(|name| {
            format!("[console] environment: the console's tasks read {name} where a request gives none; remove {name}")
        }));
    }
    if wrong.is_empty() { Ok("are sensible".to_owned()) } else { Err(Failure(wrong.join("; "))) }
}

fn limits(config: &Config, section: &str, timeout: Duration) -> Option<String> {
    let (whole, one) = (config.request_timeout.as_secs(), timeout.as_secs());
    (whole < one).then(|| {
        let what = format!("{whole} s end a command before [{section}] timeout does ({one} s)");
        format!("[espm] request_timeout: {what}; write request_timeout = {one} or more, and print the vhost anew")
    })
}

fn concurrency(runs: Option<usize>) -> Option<String> {
    let memory = memory()?;
    let most = (memory / RAKE_MEMORY).max(1);
    let runs = runs.filter(|runs| *runs > most)?;
    let need = runs * RAKE_MEMORY;
    Some(format!("[console] concurrency: {runs} runs need {need} MB, the machine has {memory}; write {most} or less"))
}

/// The machine's memory in MB.
fn memory() -> Option<usize> {
    let text = trusted_file::read(Path::new("/proc/meminfo"), MAX_MEMINFO, Owner::Root).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    Some(line.split_whitespace().next()?.parse::<usize>().ok()? / 1000)
}

#[cfg(test)]
mod tests {
    use super::concurrency;

    #[test]
    fn more_runs_than_memory_are_named_with_a_number_that_fits() {
        assert_eq!(concurrency(None), None);
        assert_eq!(concurrency(Some(1)), None);
        let wrong = concurrency(Some(1_000_000)).unwrap();
        assert!(wrong.starts_with("[console] concurrency: 1000000 runs need 100000000 MB"), "{wrong}");
    }
}
