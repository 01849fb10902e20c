//! The releases of the Puppet server whose agents renew certificates that it then cannot revoke.
//!
//! From 8.1.0 on an agent renews its certificate, where `ca.conf` allows it; up to 8.2.1 the server revokes only the
//! certificate that it has a copy of, and that is the renewed one.

use std::fs;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use crate::authority::executor::Kind;
use crate::config::Config;
use crate::setup::PUPPETS;
use crate::system::clock::Deadline;
use crate::system::command::Program;
use crate::system::trusted_file::{self, Owner};

type Version = [u32; 3];

/// Those releases.
const CANNOT_REVOKE: RangeInclusive<Version> = [8, 1, 0]..=[8, 2, 1];

/// The setting of the server's that allows renewals.
const SETTING: &str = "allow-auto-renewal";

/// Most bytes of a file of the server's configuration.
const MAX_CONF: u64 = 1024 * 1024;

/// What the operator has to do; `puppet_conf` is the file that Puppet reads.
///
/// Only root's programs are asked, because root asks them.
pub(super) fn flaw(config: &Config, puppet_conf: &Path, until: Deadline) -> Option<String> {
    if config.authority.kind == Kind::PuppetCert {
        return None;
    }
    let printed = version(config, until)?;
    if !CANNOT_REVOKE.contains(&parse(&printed)?) {
        return None;
    }
    let (file, line) = directories(puppet_conf).iter().find_map(|directory| allowed_in(directory))?;
    let place = format!("{} line {line}", file.display());
    Some(format!(
        "Puppet Server {printed} cannot revoke a certificate that its agent has renewed, and {place} allows renewals; \
         upgrade the server to 8.2.2 or newer, or write {SETTING}: false there and restart it"
    ))
}

/// The server's own version: `puppetserver version: 8.7.0`.
fn version(config: &Config, until: Deadline) -> Option<String> {
    let (mut argv, environment) = match config.authority.command() {
        Some(command) => {
            let before = command.argv.iter().rposition(|word| word == "ca")?;
            (command.argv.get(..before)?.to_vec(), command.environment.clone())
        }
        None => {
            let puppet = PUPPETS.into_iter().map(Path::new).find(|path| path.exists())?;
            (vec![puppet.with_file_name("puppetserver").display().to_string()], Vec::new())
        }
    };
    trusted_file::check_program(Path::new(argv.first()?)).ok()?;
    argv.push("--version".to_owned());
    let ended = Program { argv, environment, directory: "/".into() }.capture(Vec::new(), until).ok()?;
    String::from_utf8_lossy(&ended.stdout).split_whitespace().last().map(str::to_owned)
}

fn parse(version: &str) -> Option<Version> {
    let numbers: Vec<u32> = version.split('.').map_while(|number| number.parse().ok()).collect();
    numbers.first_chunk().copied()
}

/// Where the server's own configuration can be: Debian has it below the directory of puppet.conf, Puppet's own
/// packages beside it.
fn directories(puppet_conf: &Path) -> Vec<PathBuf> {
    puppet_conf.ancestors().skip(1).take(2).map(|directory| directory.join("puppetserver/conf.d")).collect()
}

/// The file and the line that allow renewals. The server reads each file of the directory.
fn allowed_in(directory: &Path) -> Option<(PathBuf, usize)> {
    let files = fs::read_dir(directory).ok()?.filter_map(|entry| Some(entry.ok()?.path()));
    files.filter(|path| path.extension().is_some_and(|extension| extension == "conf")).find_map(|path| {
        let text = trusted_file::read(&path, MAX_CONF, Owner::Anyone).ok()?;
        let line = text.lines().position(allows)?;
        Some((path, line + 1))
    })
}

/// True if a line of HOCON switches renewals on.
fn allows(line: &str) -> bool {
    let code = line.split(['#']).next().and_then(|line| line.split("//").next()).unwrap_or_default();
    let value = code.split_once(SETTING).map(|(_, rest)| rest.trim_start_matches(['"', ' ', '\t', ':', '=']));
    value.is_some_and(|value| ["true", "yes", "on"].iter().any(|on| value.starts_with(on)))
}

#[cfg(test)]
mod tests {
    use super::{CANNOT_REVOKE, allows, parse};

    #[test]
    fn only_releases_from_8_1_0_to_8_2_1_cannot_revoke_a_renewal() {
        for (version, cannot) in [
            ("7.17.3", false),
            ("8.0.1", false),
            ("8.1.0", true),
            ("8.2.1.4", true),
            ("8.2.2", false),
            ("8.10.0", false),
        ] {
            assert_eq!(CANNOT_REVOKE.contains(&parse(version).unwrap()), cannot, "{version}");
        }
        for unknown in ["", "8", "8.2", "server", "8.x.1"] {
            assert_eq!(parse(unknown), None, "{unknown}");
        }
    }

    #[test]
    fn renewal_is_on_only_where_a_line_says_so() {
        for on in
            ["allow-auto-renewal: true", "  allow-auto-renewal = yes # x", "{ \"allow-auto-renewal\" : \"true\" }"]
        {
            assert!(allows(on), "{on}");
        }
        for off in ["# allow-auto-renewal: true", "// allow-auto-renewal: true", "allow-auto-renewal: false", ""] {
            assert!(!allows(off), "{off}");
        }
    }
}
