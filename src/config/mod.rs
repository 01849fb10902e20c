//! `espm.ini`, the administrator's decisions.
//!
//! Each key is declared once, as a field of its section: here, in `console` and in `authority`. Reader, messages,
//! sample and manual page come from it.
//! Every message names the file, the section and the key. An unknown key is an error, and so is one without a meaning.

mod authority;
mod client;
mod console;
mod declare;
pub mod enc_ini;
pub mod layout;
mod wrong;

use std::path::{Path, PathBuf};
use std::time::Duration;

pub use self::authority::{Api, Authority, CaCommand, Way};
use self::client::ClientKeys;
pub use self::console::{Command, Console, Enc, Rake};
pub use self::declare::{Absent, Key};
use self::declare::{File, Text, Value, keys};
pub use self::wrong::{ConfigError, Wrong};
use crate::audit::{self, Destination};
use crate::model::client::Client;
use crate::model::state_directory;
use crate::system::ini;
use crate::system::trusted_file::{self, Owner};

/// Bytes of a file.
pub(crate) const MAX_FILE: u64 = 64 * 1024;

keys! {
    /// The configuration.
    pub struct Config in "espm" {
        /// Socket between the web server and espm, which makes it when systemd passes none.
        listen: PathBuf = declare::PATH, default("/run/espm/espm.sock");
        /// Directory of the ledger, mode 0750; its owner is the user that espm runs as.
        state: PathBuf = declare::PATH, default(state);
        /// Whether a request that did not come over TLS is refused.
        require_tls: bool = declare::FLAG, default("yes");
        /// Longest time for one request, waiting included. The web server waits 15 s longer, so print its vhost again
        /// (espm-setup vhost) after a change.
        request_timeout: Duration = declare::SECONDS, default("300");
        /// Program that runs a command as the console's or the CA's user; /etc/sudoers.d/espm names it, too.
        helper: PathBuf = declare::PATH, default(helper);
        /// Program that starts the helper where a section below has a user.
        sudo: PathBuf = declare::PATH, default("/usr/bin/sudo");
    } with |file| {
        /// `[client NAME]`, each.
        clients: Vec<Client> = client::read(file)?;
        /// `[tls]`.
        tls: Tls = Tls::read(file)?;
        /// `[console]`.
        console: Console = Console::read(file)?;
        /// `[authority]`.
        authority: Authority = Authority::read(file)?;
        /// `[audit]`.
        audit: Destination = Audit::read(file)?.destination(&state);
    }
}

keys! {
    /// `[tls]`.
    pub struct Tls in "tls" {
        /// Certificate of the web server; espm checks it and prints its path into vhosts.
        certificate: PathBuf = declare::PATH, required(certificate);
        /// Private key of the certificate, root's, mode 0600.
        key: PathBuf = declare::PATH, required(key);
        /// Port of the web server.
        port: u16 = declare::PORT, default("8443");
    }
}

const FACILITY: Value<audit::Facility> =
    Value { want: "a syslog facility", parse: |text| audit::facility(text).ok_or(text) };

keys! {
    /// `[audit]`.
    struct Audit in "audit" {
        /// Socket of syslog.
        socket: PathBuf = declare::PATH, default("/dev/log");
        /// Syslog facility of the audit records.
        facility: audit::Facility = FACILITY, default("authpriv");
        /// Whether a change is refused when its audit record cannot be sent.
        required: bool = declare::FLAG, default("yes");
    }
}

impl Audit {
    fn destination(self, state: &Path) -> Destination {
        let Self { socket, facility, required } = self;
        Destination { socket, facility, required, unsent: state_directory::unsent(state) }
    }
}

/// Every key, in the order in which documents have them.
pub const KEYS: [&[&Key]; 11] = {
    let [which, command, rake, enc] = Console::KEYS;
    let [authority, ca, api] = [Authority::KEYS, CaCommand::KEYS, Api::KEYS];
    [Config::KEYS, ClientKeys::KEYS, Tls::KEYS, which, command, rake, enc, authority, ca, api, Audit::KEYS]
};

impl Config {
    /// Reads the file, which only root, or the user that reads it, may be able to write or to replace.
    ///
    /// # Errors
    /// When the file cannot be trusted, or something in it is wrong.
    pub fn load(path: &Path, owner: Owner) -> Result<Self, ConfigError> {
        load(path, owner, Self::from_text)
    }

    /// Reads the text of a file.
    ///
    /// # Errors
    /// The section, the key, and what is wrong with it.
    pub fn from_text(text: &str) -> Result<Self, Wrong> {
        let sections = ini::read(text)?;
        client::refuse_psk(&sections)?;
        let file = File::of(&sections, &KEYS)?;
        let config = Self::read(&file)?;
        file.check_kinds()?;
        Ok(config)
    }
}

fn load<T>(path: &Path, owner: Owner, from_text: fn(&str) -> Result<T, Wrong>) -> Result<T, ConfigError> {
    trusted_file::check_way(path, owner)?;
    let text = trusted_file::read(path, MAX_FILE, owner)?;
    from_text(&text).map_err(|wrong| ConfigError::Content { path: path.to_owned(), wrong })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Config, Console, KEYS};

    const GOOD: &str = "
        [client cloud]
        keys = sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad
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

    const ESPM: &str = "[espm]\nstate = /s\nhelper = /h\n";

    fn error(from: &str, to: &str) -> String {
        Config::from_text(&GOOD.replace(from, to)).unwrap_err().to_string()
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
            (
                "[tls]",
                "[espm]\nraise = /r\n[tls]",
                "[espm] raise: line 5: is not known; want one of helper, listen, request_timeout, require_tls, state, sudo",
            ),
            ("key = /k.pem", "kye = /k.pem", "[tls] kye: line 6: is not known; want one of certificate, key, port"),
            ("key = /k.pem", "key = k.pem", "[tls] key: want an absolute path, found \"k.pem\""),
            ("key = /k.pem", "key =", "[tls] key: is empty"),
            ("key = /k.pem", "", "[tls] key: is missing; add a line such as key = /opt/espm/etc/certs/espm.key"),
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
            (
                "release =",
                "catalogue = /c\nrelease =",
                "[console] catalogue: is for kind = enc alone, found kind = rake; remove line 10",
            ),
            ("/opt/puppet/bin/rake -f", "rake -f", "[console] command: want a program's absolute path"),
            (
                "RAILS_ENV=production",
                "$ENV",
                "[console] command: want a program's absolute path and plain words, because no shell reads them, found \"$ENV\"",
            ),
            (
                "kind = puppet-cert",
                "kind = puppet-cert\nconfig = /puppet.conf",
                "[authority] config: is for kind = puppetserver-ca or puppet-ca-api alone, found kind = puppet-cert; remove line 13",
            ),
            (
                "command = /opt/puppet/bin/puppet cert",
                "environment = TOKEN",
                "[authority] command: is missing; add a line such as command = /opt/puppet/bin/puppet cert",
            ),
            (
                "command = /opt/puppet/bin/puppet cert",
                "command = /puppet cert\nenvironment = A=1 =hidden",
                "[authority] environment: want NAME=VALUE words, found \"\"",
            ),
            ("master =", "user = -u\nmaster =", "[authority] user: want a user's name"),
            ("keys = sha256:ba", "keys = sha256:", "[client cloud] keys: want sha256: and 64 hexadecimal digits"),
            ("[client cloud]", "[client Cloud]", "[client Cloud] line 2: a client's name is"),
            ("[client cloud]", "[client]", "[client] line 2: is not known; want [espm], [client NAME], [tls]"),
            ("[client cloud]", "[clients cloud]", "[clients cloud] line 2: is not known"),
            (
                "keys = sha256",
                "key = sha256",
                "[client cloud] key: line 3: is not known; want one of classes, environments,",
            ),
            (
                "[tls]",
                "nodes = web*, Db*\n[tls]",
                "[client cloud] nodes: want patterns with commas between them, each of the letters that names of nodes \
                 have and of '*', which stands for any text, found \"Db*\"",
            ),
            (
                "[tls]",
                "classes = ntp apache\n[tls]",
                "[client cloud] classes: want patterns with commas between them and no",
            ),
            (
                "[tls]",
                "environments = a-b\n[tls]",
                "[client cloud] environments: want patterns with commas between them",
            ),
            ("[tls]", "groups = a,\n[tls]", "[client cloud] groups: want patterns"),
            ("[tls]", "may = list node\n[tls]", "[client cloud] may: want list, nodes or certificates"),
            ("[tls]", "may = list, node\n[tls]", "[client cloud] may: want list, nodes or certificates"),
            ("[tls]", "most = many\n[tls]", "[client cloud] most: want a whole number from 0 to 1000000"),
        ] {
            let found = error(from, to);
            assert!(found.starts_with(message), "{found:?} for {message:?}");
        }
        assert!(Config::from_text("").unwrap_err().to_string().contains("[client NAME]: there is none"));
    }

    #[test]
    fn key_of_another_kind_is_refused_whatever_its_value() {
        let (before, rest) = GOOD.split_once("command = /opt/puppet/bin/rake").unwrap();
        let enc = format!("{before}kind = enc\n{}", &rest[rest.find("[authority]").unwrap()..]);
        Config::from_text(&enc).unwrap();
        for key in KEYS.into_iter().flatten().copied().filter(|key| key.kinds == ["rake"] && key.name != "queue") {
            let text = enc.replace("kind = enc", &format!("kind = enc\n{} = banana", key.name));
            let message = format!("[console] {}: is for kind = rake alone, found kind = enc; remove line 9", key.name);
            assert_eq!(Config::from_text(&text).unwrap_err().to_string(), message);
        }
        let text = enc.replace("kind = enc", "kind = enc\nqueue = banana");
        assert!(Config::from_text(&text).unwrap_err().to_string().starts_with("[console] queue: want a whole number"));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn inserted_text_takes_away_no_client_and_makes_no_path_relative(
            at in prop_oneof![0..ESPM.len(), 0..GOOD.len()],
            what in prop_oneof![".{0,8}", "(\\[espm\\]|state|helper| |=|/|\n|#|.){0,12}"],
        ) {
            let mut text = format!("{ESPM}{GOOD}");
            text.insert_str(at, &what);
            if let Ok(config) = Config::from_text(&text) {
                prop_assert!(!config.clients.is_empty() && config.state.is_absolute() && config.helper.is_absolute());
            }
        }
    }
}
