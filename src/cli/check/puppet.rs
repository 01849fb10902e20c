//! Puppet's own settings, asked of Puppet, against those of espm.ini; and the start of the Puppet server.

use std::fs;
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::renewal;
use super::report::Report;
use crate::authority::executor::Kind;
use crate::cli::{Failure, failure};
use crate::config::{Authority, CaCommand, Config, enc_ini, layout};
use crate::setup::PUPPETS;
use crate::system::clock::Deadline;
use crate::system::command::Program;
use crate::system::process;
use crate::system::text::excerpt;
use crate::system::trusted_file::{self, Owner};

/// How long Puppet may take to print its settings.
const PATIENCE: Duration = Duration::from_secs(60);

/// The settings that are read.
const SETTINGS: [&str; 6] = ["cadir", "certname", "config", "external_nodes", "node_terminus", "ssldir"];

/// Bytes of a file of proc(5).
const MAX_PROC: u64 = 1024 * 1024;

/// Clock ticks in a second, of which proc_pid_stat(5) counts a start (`USER_HZ`, 100 on every architecture of Linux).
const TICKS: u64 = 100;

/// How exactly a start is known: the kernel tells its own boot in whole seconds.
const EXACT: Duration = Duration::from_secs(2);

/// Puppet's settings, as far as they can be asked for.
pub(super) enum Settings {
    Printed(Printed),
    Unasked(&'static str),
    Failed(String),
}

/// What Puppet has printed, and what is wrong with its server.
pub(super) struct Printed {
    values: Vec<(String, String)>,
    flaw: Option<String>,
}

impl Printed {
    fn value(&self, name: &str) -> Option<&str> {
        self.values.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }
}

/// Asks Puppet. As another user than root it would print that user's settings.
pub(super) fn look(config: &Config) -> Settings {
    if !process::is_root() {
        return Settings::Unasked("root alone can ask Puppet; run 'espm check' as root");
    }
    let argv = match config.authority.command() {
        Some(ca) => beside(&config.authority, ca)
            .ok_or("[authority] command has no 'cert' or 'ca', so it does not show where puppet is"),
        None => installed(&config.authority),
    };
    let argv = match argv {
        Ok(argv) => argv,
        Err(why) => return Settings::Unasked(why),
    };
    let program = argv.first().map(PathBuf::from).unwrap_or_default();
    if !program.exists() {
        return Settings::Unasked("there is no puppet beside the program of [authority] command");
    }
    if let Err(error) = trusted_file::check_program(&program) {
        return Settings::Failed(format!("[authority] command: {error}"));
    }
    let environment = config.authority.command().map(|command| command.environment.clone()).unwrap_or_default();
    let shown = argv.join(" ");
    match (Program { argv, environment, directory: "/".into() }).capture(Vec::new(), Deadline::after(PATIENCE)) {
        Err(error) => Settings::Failed(format!("'{shown}': {error}")),
        Ok(ended) => {
            let stdout = String::from_utf8_lossy(&ended.stdout);
            let values: Vec<(String, String)> = stdout
                .lines()
                .filter_map(|line| line.split_once(" = "))
                .map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned()))
                .collect();
            let stderr = String::from_utf8_lossy(&ended.stderr);
            // Puppet prints defaults where it cannot read its file.
            if values.is_empty() || stderr.contains("Could not parse") {
                return Settings::Failed(format!("'{shown}' fails: {}", excerpt(&(stdout.into_owned() + &stderr))));
            }
            let mut printed = Printed { values, flaw: None };
            let puppet_conf = printed.value("config").map(PathBuf::from);
            printed.flaw = puppet_conf.and_then(|path| renewal::flaw(config, &path, Deadline::after(PATIENCE)));
            Settings::Printed(printed)
        }
    }
}

/// The command line that prints the settings of the Puppet server: `puppet` beside the CA's own program.
fn beside(authority: &Authority, ca: &CaCommand) -> Option<Vec<String>> {
    let word = if authority.kind == Kind::PuppetCert { "cert" } else { "ca" };
    let mut argv = ca.argv.clone();
    let at = argv.iter().rposition(|found| found == word)?;
    let options = argv.split_off(at + 1);
    argv.pop();
    let program = PathBuf::from(argv.first()?);
    if program.file_name().is_some_and(|name| name == "puppetserver") {
        *argv.first_mut()? = program.with_file_name("puppet").display().to_string();
    }
    if authority.kind == Kind::PuppetCert {
        // 'puppet config print' of Puppet 2.7 knows no section.
        argv.extend(["master".to_owned(), "--configprint".to_owned(), SETTINGS.join(",")]);
        argv.extend(options);
    } else {
        argv.extend(print(authority.config.as_deref()));
    }
    Some(argv)
}

/// The same of the `puppet` that is installed, where no command shows which one.
fn installed(authority: &Authority) -> Result<Vec<String>, &'static str> {
    let config =
        authority.config.as_deref().ok_or("[authority] config does not name the puppet.conf to compare with")?;
    let puppet = PUPPETS.into_iter().find(|path| Path::new(path).exists()).ok_or("no puppet is installed")?;
    Ok([puppet.to_owned()].into_iter().chain(print(Some(config))).collect())
}

/// The words that print the settings of a server.
fn print(config: Option<&Path>) -> impl Iterator<Item = String> {
    // Puppet 7 and newer take it for [server].
    let words = ["config", "print", "--section", "master"].into_iter().chain(SETTINGS).map(str::to_owned);
    words.chain(config.into_iter().flat_map(|config| ["--config".to_owned(), config.display().to_string()]))
}

/// Adds the line about Puppet.
pub(super) fn report(report: &mut Report, config: &Config, ini: &Path, settings: &Settings) {
    match settings {
        Settings::Unasked(why) => report.skip("Puppet", why),
        Settings::Failed(why) => report.line("Puppet", failure(format!("its settings cannot be read: {why}"))),
        Settings::Printed(printed) => report.line("Puppet", judge(config, ini, printed)),
    }
}

fn judge(config: &Config, ini: &Path, printed: &Printed) -> Result<String, Failure> {
    let value = |name| printed.value(name);
    let authority = &config.authority;
    let mut wrong: Vec<_> = printed.flaw.iter().cloned().collect();
    if let Some(certname) = value("certname").filter(|name| *name != authority.master) {
        let master = &authority.master;
        wrong.push(format!("[authority] master: is {master}, Puppet's certname is {certname}; write {certname}"));
    }
    for (key, path) in [("ssldir", &authority.ssldir), ("cadir", &authority.cadir)] {
        // A missing one has its own line.
        let differs = |other: &&Path| path.is_dir() && other.is_dir() && !is_same(other, path);
        if let Some(other) = value(key).map(Path::new).filter(differs) {
            let (path, other) = (path.display(), other.display());
            wrong.push(format!("[authority] {key}: is {path}, Puppet's is {other}; write {key} = {other}"));
        }
    }
    let mut good = "has the same certname and directories as espm.ini";
    if config.console.published().is_some() {
        good = "asks espm-enc, and has read its settings; its certname and directories are those of espm.ini";
        let section = authority.kind.section();
        wrong.extend(terminus(section, value("node_terminus"), value("external_nodes"), ini));
        if wrong.is_empty() {
            wrong.extend(value("config").and_then(|path| started_before(Path::new(path))));
        }
    }
    if wrong.is_empty() { Ok(good.to_owned()) } else { failure(wrong.join("; ")) }
}

fn is_same(one: &Path, other: &Path) -> bool {
    let whole = |path: &Path| fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    whole(one) == whole(other)
}

/// Whether Puppet asks espm-enc about its nodes, with the configuration beside espm.ini.
fn terminus(section: &str, terminus: Option<&str>, external_nodes: Option<&str>, ini: &Path) -> Option<String> {
    let set = |key: &str, value: &str| {
        format!("puppet config set --section {section} {key} {value}, then restart the Puppet server")
    };
    let (terminus, program) = (terminus.unwrap_or("plain"), external_nodes.unwrap_or("none"));
    if terminus != "exec" {
        let advice = set("node_terminus", "exec");
        return Some(format!("node_terminus is {terminus}, so no node gets what espm publishes; {advice}"));
    }
    let ours = ini.with_file_name(enc_ini::FILE);
    let option =
        if ours == Path::new(layout::this().enc_ini) { String::new() } else { format!(" -c {}", ours.display()) };
    let mut words = program.split_whitespace();
    let is_enc = words.next().is_some_and(|path| Path::new(path).file_name().is_some_and(|name| name == "espm-enc"));
    if is_enc && words.collect::<Vec<_>>() == option.split_whitespace().collect::<Vec<_>>() {
        return None;
    }
    let wanted = format!("'{}{option}'", layout::this().enc);
    let advice = set("external_nodes", &wanted);
    // Another classifier goes on to serve the nodes that are not espm's.
    let keep = if is_enc || program == "none" {
        String::new()
    } else {
        format!("name it as fallback in {}, then ", ours.display())
    };
    Some(format!("external_nodes is {program}; {keep}{advice}"))
}

/// The Puppet server that runs with settings of before.
fn started_before(config: &Path) -> Option<String> {
    let changed = fs::metadata(config).ok()?.modified().ok()?;
    let started = start(config)?;
    (started + EXACT < changed).then(|| {
        let path = config.display();
        format!("the Puppet server was started before {path} was changed last; systemctl restart puppetserver")
    })
}

/// The last start or reload of the Puppet server of a configuration.
fn start(config: &Path) -> Option<SystemTime> {
    let processes = fs::read_dir("/proc").ok()?.filter_map(|entry| Some(entry.ok()?.path()));
    processes.filter_map(|process| start_of(&process, config)).max()
}

/// The last start of a process, if it is the Puppet server of a configuration.
fn start_of(process: &Path, config: &Path) -> Option<SystemTime> {
    let read = |path: &Path| trusted_file::read(path, MAX_PROC, Owner::Anyone).ok();
    let line = read(&process.join("cmdline"))?;
    let words: Vec<&str> = line.split('\0').collect();
    let after = |option: &str| words.iter().skip_while(|word| **word != option).nth(1).map(Path::new);
    let is_java = Path::new(words.first()?).file_name().is_some_and(|name| name == "java");
    // One of another Puppet has its files elsewhere.
    let is_its = after("--config").is_some_and(|found| top(found) == top(config));
    if !is_java || !is_its || !line.contains("puppetserver") && !line.contains("puppet-server") {
        return None;
    }
    let stat = read(&process.join("stat"))?;
    let ticks: u64 = stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()?;
    let booted = read(Path::new("/proc/stat"))?;
    let booted: u64 = booted.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()?;
    let started = SystemTime::UNIX_EPOCH + Duration::from_secs(booted) + Duration::from_millis(ticks * 1000 / TICKS);
    let reloaded = after("--restart-file").and_then(|path| fs::metadata(path).ok()?.modified().ok());
    Some(reloaded.map_or(started, |reloaded| reloaded.max(started)))
}

/// The directory that a Puppet has its files in, such as `/etc/puppetlabs`.
fn top(path: &Path) -> PathBuf {
    path.components().filter(|part| *part != Component::RootDir).take(2).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::terminus;

    #[test]
    fn puppet_asks_espm_enc_with_the_file_beside_espm_ini() {
        let ini = Path::new("/x/espm.ini");
        let at = |node: &str, program: &str| terminus("server", Some(node), Some(program), ini);
        assert_eq!(at("exec", "/usr/bin/espm-enc -c /x/enc.ini"), None);
        for (node, program, said) in [
            ("plain", "none", "node_terminus is plain"),
            ("exec", "none", "external_nodes is none; puppet config set"),
            ("exec", "/usr/bin/espm-enc", "external_nodes is /usr/bin/espm-enc;"),
            ("exec", "/usr/bin/espm-enc -c /y/enc.ini", "external_nodes is /usr/bin/espm-enc -c /y"),
            (
                "exec",
                "/usr/local/bin/other -c /x/enc.ini",
                "external_nodes is /usr/local/bin/other -c /x/enc.ini; name it as fallback in",
            ),
        ] {
            let found = at(node, program).unwrap();
            assert!(found.starts_with(said), "{found}");
        }
        let old = terminus("master", None, None, ini).unwrap();
        assert!(old.contains("puppet config set --section master node_terminus exec"), "{old}");
    }
}
