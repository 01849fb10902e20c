//! `espm.ini`: what the administrator decides.
//!
//! Every message names the file, the section and the key. What is not known is an error.

mod client;
mod command;
mod console;
pub mod enc_ini;
pub mod layout;
mod section;

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use self::client::Client;
pub use self::command::Command;
pub use self::console::{Console, Enc, Rake};
use self::section::Section;
use crate::audit::{self, Destination};
use crate::authority::executor::Kind;
use crate::model::psk::PskDigest;
use crate::model::state_directory;
use crate::system::ini;
use crate::system::trusted_file::{self, FileError, Owner};

/// Bytes of the file.
const MAX_FILE: u64 = 64 * 1024;

/// Why the configuration is not used.
#[derive(Debug)]
pub enum ConfigError {
    /// The file cannot be used.
    File(FileError),
    /// Something in it is wrong: the file, and what.
    Content(PathBuf, String),
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(error) => error.fmt(f),
            Self::Content(path, what) => write!(f, "{}: {what}", path.display()),
        }
    }
}

impl std::error::Error for ConfigError {}

/// `[tls]`
#[derive(Debug)]
pub struct Tls {
    /// The web server's certificate.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// The port.
    pub port: u16,
}

/// `[authority]`
#[derive(Debug)]
pub struct Authority {
    /// Whose commands.
    pub kind: Kind,
    /// The command.
    pub command: Command,
    /// `puppet.conf`, for `puppetserver ca`.
    pub config: Option<PathBuf>,
    /// Puppet's `ssldir`.
    pub ssldir: PathBuf,
    /// Puppet's `cadir`.
    pub cadir: PathBuf,
    /// The records of the CA's verbs.
    pub records: PathBuf,
    /// The master's own certname, which is never touched.
    pub master: String,
}

/// The configuration.
#[derive(Debug)]
pub struct Config {
    /// The socket that the gate makes when it is given none.
    pub listen: PathBuf,
    /// The state directory.
    pub state: PathBuf,
    /// Whether requests must come over TLS.
    pub require_tls: bool,
    /// Seconds for one request.
    pub request_timeout: Duration,
    /// The program that runs commands as the console's or the CA's user.
    pub helper: PathBuf,
    /// sudo.
    pub sudo: PathBuf,
    /// The clients and their keys' digests.
    pub clients: Vec<Client>,
    /// `[tls]`
    pub tls: Tls,
    /// `[console]`
    pub console: Console,
    /// `[authority]`
    pub authority: Authority,
    /// `[audit]`
    pub audit: Destination,
}

/// Every section and its keys. `[psk]` has a key for each client.
pub const KEYS: &[(&str, &[&str])] = &[
    ("espm", &["listen", "state", "require_tls", "request_timeout", "helper", "sudo"]),
    ("psk", &[]),
    ("tls", &["certificate", "key", "port"]),
    (
        "console",
        &[
            "kind",
            "command",
            "directory",
            "environment",
            "user",
            "worker",
            "release",
            "concurrency",
            "queue",
            "queue_timeout",
            "timeout",
            "cache",
            "catalogue",
            "published",
        ],
    ),
    (
        "authority",
        &[
            "kind",
            "command",
            "directory",
            "environment",
            "user",
            "config",
            "ssldir",
            "cadir",
            "records",
            "master",
            "queue",
            "queue_timeout",
            "timeout",
        ],
    ),
    ("audit", &["socket", "facility", "required"]),
];

impl Config {
    /// Reads the file, which only root, or the user that reads it, may be able to write or to replace.
    ///
    /// # Errors
    /// When the file cannot be trusted, or something in it is wrong.
    pub fn load(path: &Path, owner: Owner) -> Result<Self, ConfigError> {
        trusted_file::check_way(path, owner).map_err(ConfigError::File)?;
        let text = trusted_file::read(path, MAX_FILE, owner).map_err(ConfigError::File)?;
        Self::from_text(&text).map_err(|what| ConfigError::Content(path.to_owned(), what))
    }

    /// Reads the text of a file.
    ///
    /// # Errors
    /// A sentence that names the section and the key.
    pub fn from_text(text: &str) -> Result<Self, String> {
        let sections = ini::read(text).map_err(|error| error.to_string())?;
        check_known(&sections)?;
        let section = |name| Section::of(&sections, name);
        let espm = section("espm");
        let tls = section("tls");
        let console = section("console");
        let authority = section("authority");
        let audit = section("audit");
        let state = espm.placed("state", |layout| layout.state)?;
        Ok(Self {
            listen: espm.path("listen", Some("/run/espm/espm.sock"))?,
            require_tls: espm.flag("require_tls", true)?,
            request_timeout: espm.seconds("request_timeout", 300, 1)?,
            helper: espm.placed("helper", |layout| layout.helper)?,
            sudo: espm.path("sudo", Some("/usr/bin/sudo"))?,
            clients: read_clients(&section("psk"))?,
            tls: Tls {
                certificate: tls.path("certificate", None)?,
                key: tls.path("key", None)?,
                port: u16::try_from(tls.number("port", 8443, 1, 65_535)?).unwrap_or(8443),
            },
            console: Console::read(&console)?,
            authority: Authority {
                kind: authority.word("kind", None, parse_kind, "puppet-cert or puppetserver-ca")?,
                command: Command::read(&authority, Some("/"))?,
                config: if authority.has("config") { Some(authority.path("config", None)?) } else { None },
                ssldir: authority.path("ssldir", None)?,
                cadir: authority.path("cadir", None)?,
                records: authority.placed("records", |layout| layout.records)?,
                master: authority.text("master", None)?.to_ascii_lowercase(),
            },
            audit: Destination {
                socket: audit.path("socket", Some("/dev/log"))?,
                facility: audit.word("facility", Some("authpriv"), audit::facility, "a syslog facility")?,
                required: audit.flag("required", true)?,
                unsent: state_directory::unsent(&state),
            },
            state,
        })
    }
}

fn parse_kind(word: &str) -> Option<Kind> {
    match word {
        "puppet-cert" => Some(Kind::PuppetCert),
        "puppetserver-ca" => Some(Kind::PuppetserverCa),
        _ => None,
    }
}

fn check_known(sections: &[ini::Section]) -> Result<(), String> {
    for section in sections {
        let name = &section.name;
        let Some((_, known)) = KEYS.iter().find(|(known, _)| known == name) else {
            let names: Vec<_> = KEYS.iter().map(|(name, _)| format!("[{name}]")).collect();
            return Err(format!("[{name}] line {}: is not known; want {}", section.line, names.join(", ")));
        };
        let unknown = section.entries.iter().find(|(key, _, _)| name != "psk" && !known.contains(&key.as_str()));
        if let Some((key, _, line)) = unknown {
            return Err(format!("[{name}] {key}: line {line}: is not known; want one of {}", known.join(", ")));
        }
    }
    Ok(())
}

/// Checks the name of a client.
///
/// # Errors
/// A sentence that says what a name is.
pub fn check_client_name(name: &str) -> Result<(), &'static str> {
    let good = (1..=32).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_');
    if good { Ok(()) } else { Err("a client's name is 1 to 32 lower-case letters, digits, '-' and '_'") }
}

/// The keys of `[psk]`: each is a client.
fn read_clients(psk: &Section<'_>) -> Result<Vec<Client>, String> {
    let mut clients = Vec::new();
    for (name, value, _) in psk.entries {
        check_client_name(name).map_err(|what| format!("[psk] {name}: {what}"))?;
        let digest = PskDigest::parse(value).ok_or_else(|| {
            format!("[psk] {name}: want sha256: and 64 hexadecimal digits; 'espm-setup psk add {name}' makes a key")
        })?;
        clients.push(Client { name: name.clone(), digest });
    }
    if clients.is_empty() {
        return Err("[psk]: has no key, so nobody could ask; 'espm-setup psk add NAME' makes one".into());
    }
    Ok(clients)
}

#[cfg(test)]
mod tests {
    use super::{Config, Console};

    const GOOD: &str = "
        [psk]
        cloud = sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad
        [tls]
        certificate = /c.pem
        key = /k.pem
        [console]
        command = /opt/puppet/bin/rake -f /opt/puppet/share/puppet-dashboard/Rakefile RAILS_ENV=production
        directory = /opt/puppet/share/puppet-dashboard
        release = 1.2.7
        [authority]
        kind = puppet-cert
        command = /opt/puppet/bin/puppet cert
        ssldir = /etc/puppetlabs/puppet/ssl
        cadir = /etc/puppetlabs/puppet/ssl/ca
        master = Puppet.example.com
    ";

    fn error(from: &str, to: &str) -> String {
        Config::from_text(&GOOD.replace(from, to)).unwrap_err()
    }

    #[test]
    fn what_is_not_given_has_its_default() {
        let config = Config::from_text(GOOD).unwrap();
        assert_eq!(config.tls.port, 8443);
        let Console::Rake(rake) = config.console else { panic!("kind = rake is the default") };
        assert_eq!((rake.cache.as_secs(), rake.command.argv.len()), (60, 4));
        assert_eq!(config.authority.master, "puppet.example.com");
        assert!(config.require_tls && config.audit.required);
    }

    #[test]
    fn every_message_names_section_and_key() {
        for (from, to, message) in [
            ("[tls]", "[tsl]", "[tsl] line 4: is not known"),
            ("key = /k.pem", "kye = /k.pem", "[tls] kye: line 6: is not known; want one of certificate, key, port"),
            ("key = /k.pem", "key = k.pem", "[tls] key: want an absolute path, found \"k.pem\""),
            ("key = /k.pem", "key =", "[tls] key: is empty"),
            ("key = /k.pem", "", "[tls] key: is missing"),
            ("key = /k.pem", "key = /a\nkey = /b", "[tls] key: is given twice"),
            ("key = /k.pem", "key = /a ; old", "[tls] key: a value holds no '#' or ';'"),
            ("key = /k.pem", "key", "[tls] line 6: want KEY = VALUE"),
            ("key = /k.pem", "key = /k.pem\nport = 0", "[tls] port: want a whole number from 1 to 65535, found \"0\""),
            ("release = 1.2.7", "release = 1.2.8", "[console] release: want 1.2.2, 1.2.7, 1.2.23 or 3.0"),
            (
                "release =",
                "timeout = ten\nrelease =",
                "[console] timeout: want whole seconds from 1 to 3600, found \"ten\"",
            ),
            ("release =", "kind = perl\nrelease =", "[console] kind: want rake or enc, found \"perl\""),
            ("release =", "catalogue = /c\nrelease =", "[console] catalogue: is for kind = enc alone"),
            ("/opt/puppet/bin/rake -f", "rake -f", "[console] command: want a program's absolute path"),
            ("RAILS_ENV=production", "$ENV", "[console] command: want plain words, since no shell reads them"),
            ("master =", "user = -u\nmaster =", "[authority] user: want a user's name"),
            ("cloud = sha256:ba", "cloud = sha256:", "[psk] cloud: want sha256: and 64 hexadecimal digits"),
            ("cloud = sha256:ba", "Cloud = sha256:ba", "[psk] Cloud: a client's name is"),
        ] {
            let found = error(from, to);
            assert!(found.starts_with(message), "{found:?} for {message:?}");
        }
        assert!(Config::from_text("").unwrap_err().contains("[psk]: has no key"));
    }
}
