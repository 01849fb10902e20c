//! Set-up: makes the key, the certificate, the configuration and the empty ledger; prints the vhost;
//! adds and retires clients and their keys.
//!
//! Everything is checked before anything is written. No existing file is overwritten, and the files that were
//! written are removed when a later step fails.

mod catalogue;
mod certificate;
mod client;
mod detect;
mod distribution;
mod error;
mod files;
mod next_steps;
mod options;
mod renewal;
mod templates;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};

pub(crate) use self::detect::PUPPETS;
use self::distribution::System;
use self::error::SetupError;
use self::options::{GivenRights, Values};
use self::templates::{Printer, Unit, Vhost};
use crate::audit;
use crate::config::layout;
use crate::config::{Config, ConfigError, Console};
use crate::system::process;
use crate::system::trusted_file::Owner;
use crate::system::x509;

/// `[console] release`.
const RELEASE: [&str; 2] = ["console", "release"];

/// `[authority] master`.
const MASTER: [&str; 2] = ["authority", "master"];

/// Set up espm on a Puppet master
///
/// Makes a preshared key, a self-signed certificate, espm.ini and the empty ledger; overwrites
/// nothing. Prints the key, once, and the certificate.
#[derive(Debug, Parser)]
#[command(name = "espm-setup", version, args_conflicts_with_subcommands = true, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    new: New,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Print the web server's vhost with the paths of a configuration
    Vhost {
        /// Web server and protocol
        kind: Vhost,
        #[command(flatten)]
        of: Of,
    },
    /// Print sudo's rules with the users and paths of a configuration
    Sudoers {
        /// Also print the rules that Apache's CGI script needs
        #[arg(long)]
        cgi: bool,
        /// Print instead the rule that lets this user run 'espm check --nagios' as root
        #[arg(long, value_name = "USER", conflicts_with = "cgi")]
        nagios: Option<String>,
        #[command(flatten)]
        of: Of,
    },
    /// Print the script that Apache's mod_cgid starts
    Cgi {
        #[command(flatten)]
        of: Of,
    },
    /// Print a unit for systemd
    Unit {
        /// Unit
        kind: Unit,
        /// Group of the web server [default: that of the system's nginx]
        #[arg(long, value_name = "GROUP")]
        group: Option<String>,
        #[command(flatten)]
        of: Of,
    },
    /// Renew the web server's certificate without an outage
    Certificate {
        #[command(subcommand)]
        act: CertificateAct,
    },
    /// Print a catalogue of all that Puppet's environments have, for you to cut down
    Catalogue {
        /// The puppet program
        #[arg(long, default_value = detect::INSTALLED, value_name = "PUPPET")]
        puppet: PathBuf,
    },
    /// Add, retire or list clients, and their preshared keys
    Client {
        #[command(subcommand)]
        act: client::Act,
    },
}

/// The configuration and the system that a file is printed for.
#[derive(Debug, Args)]
struct Of {
    /// The configuration
    #[arg(long, default_value = layout::this().ini, value_name = "FILE")]
    config: PathBuf,
    /// System whose paths and users are printed [default: this machine's]
    #[arg(long, value_enum)]
    system: Option<System>,
}

#[derive(Debug, Subcommand)]
enum CertificateAct {
    /// Make the next certificate beside today's, with the same names, and print the steps that clients need
    Renew(Renew),
}

#[derive(Debug, Args)]
struct Renew {
    /// A further name or address for the certificate; can be repeated
    #[arg(long, value_name = "NAME")]
    san: Vec<String>,
    /// Type of the certificate's key [default: that of today's]
    #[arg(long, value_enum)]
    key_type: Option<KeyType>,
    #[command(flatten)]
    of: Of,
}

/// The type of the certificate's key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum KeyType {
    /// P-256
    Ecdsa,
    /// 3072 bits, for clients that cannot do ECDSA
    Rsa,
}

#[derive(Debug, Args)]
struct New {
    /// Directory for espm.ini
    #[arg(short = 'd', long, default_value = layout::this().etc, value_name = "DIR")]
    directory: PathBuf,
    /// Directory for the certificate and its key
    #[arg(short = 'c', long, default_value = layout::this().certificates, value_name = "DIR")]
    certificates: PathBuf,
    /// Host name for the certificate [default: this host's]
    #[arg(long, value_name = "HOST")]
    host: Option<String>,
    /// Another name or address for the certificate; can be repeated
    #[arg(long, value_name = "NAME")]
    san: Vec<String>,
    /// Type of the certificate's key
    #[arg(long, value_enum, default_value_t = KeyType::Ecdsa)]
    key_type: KeyType,
    /// Name of the first client
    #[arg(long, default_value = "cloud", value_name = "NAME")]
    client: String,
    /// Ask `puppet config print` for Puppet's paths and users [default PUPPET: the installed one]
    #[arg(long, value_name = "PUPPET", num_args = 0..=1, default_missing_value = detect::INSTALLED)]
    detect: Option<PathBuf>,
    /// System whose paths and users the next steps have [default: this machine's]
    #[arg(long, value_enum)]
    system: Option<System>,
    /// Remove what set-up has made, as long as espm has no node; a set-up can then begin anew
    #[arg(long)]
    undo: bool,
    #[command(flatten)]
    keys: Values,
}

/// The command line, from which help, manual page and completions come.
pub fn command_line() -> clap::Command {
    Cli::command()
}

/// The files that packages install as they are: names and texts, for Debian and below `redhat` for Red Hat.
pub fn packaged(config: &Config) -> Vec<(PathBuf, String)> {
    let below = |directory: &'static str, system| {
        let files = templates::packaged(config, system).into_iter();
        files.map(move |(name, text)| (Path::new(directory).join(name), text))
    };
    below("", System::Debian).chain(below("redhat", System::Redhat)).collect()
}

/// Runs `espm-setup`.
pub fn main() -> ExitCode {
    if let Some(failed) = detect::become_apart() {
        return failed;
    }
    // Nothing that root has open goes on to the console's user or to Puppet.
    process::seal_inherited_descriptors();
    let cli = Cli::parse();
    let done = match cli.command {
        None if cli.new.undo => undo(cli.new),
        None => set_up(cli.new),
        Some(Command::Vhost { kind, of }) => of.print(|printer| printer.vhost(kind)),
        Some(Command::Sudoers { nagios: Some(user), of, .. }) => of.print(|printer| printer.sudoers_nagios(&user)),
        Some(Command::Sudoers { cgi, nagios: None, of }) => of.print(|printer| printer.sudoers(cgi)),
        Some(Command::Cgi { of }) => of.print(|printer| printer.cgi()),
        Some(Command::Unit { kind, group, of }) => {
            of.print(|printer| printer.unit(kind, group.as_deref().unwrap_or(printer.system.names().nginx_group)))
        }
        Some(Command::Catalogue { puppet }) => catalogue::text(&puppet).and_then(|text| say(&text)),
        Some(Command::Certificate { act: CertificateAct::Renew(renew) }) => renewal::renew(&renew),
        Some(Command::Client { act }) => act.run(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            audit::complain(&error.to_string());
            ExitCode::FAILURE
        }
    }
}

impl Of {
    fn print(&self, text: impl FnOnce(&Printer<'_>) -> String) -> Result<(), SetupError> {
        self.with(|printer| say(&text(printer)))
    }

    fn with(&self, act: impl FnOnce(&Printer<'_>) -> Result<(), SetupError>) -> Result<(), SetupError> {
        let config = load(&self.config)?;
        let system = self.system.unwrap_or_else(System::here);
        // The path goes into files that are read elsewhere.
        let ini = std::path::absolute(&self.config).unwrap_or_else(|_| self.config.clone());
        act(&Printer::of(&config, &ini, system))
    }
}

/// Prints a text, and finds out whether it has arrived.
fn say(text: &str) -> Result<(), SetupError> {
    let mut output = process::unbuffered_output().map_err(SetupError::Output)?;
    output.write_all(text.as_bytes()).map_err(SetupError::Output)
}

fn load(path: &Path) -> Result<Config, ConfigError> {
    Config::load(path, Owner::RootOrSelf)
}

fn set_up(mut new: New) -> Result<(), SetupError> {
    let first = client::name("--client ", &new.client)?;
    if let Some(puppet) = &new.detect {
        detect::detect(puppet, &mut new.keys)?;
    }
    let (host, short) = host_names(new.host.take());
    new.san.extend(short);
    let release = new.keys.get(RELEASE).map(str::to_owned);
    if release.is_some() && new.keys.get(["console", "kind"]) == Some("enc") {
        return Err(SetupError::ReleaseWithoutConsole);
    }
    let known = new.keys.get(MASTER).map(str::to_owned);
    new.keys.fill(MASTER, &host);
    new.keys.fill_rest();
    let psk = client::make()?;
    let (certificate, key) = new.tls();
    let first = client::section(&first, &psk.digest(), &GivenRights::default());
    let text = |keys: &Values| keys.text(&certificate, &key, &first);
    let mut config = Config::from_text(&text(&new.keys))?;
    let ini = new.ini();
    let group = files::check(&ini, &config)?;
    if known.is_none() {
        let master = detect::master(&new.keys)?;
        new.keys.replace(MASTER, &master);
    }
    let tls = certificate::make(&host, &new.san, new.key_type)?;
    if let (Console::Rake(rake), None) = (&config.console, release) {
        new.keys.replace(RELEASE, detect::release(&rake.command, &config.state)?.word());
    }
    config = Config::from_text(&text(&new.keys))?;
    let identity = x509::identity(&tls.certificate)?;
    let files = files::Unfinished::write(&ini, &text(&new.keys), &config, group, &tls)?;

    let ini = std::path::absolute(&ini).unwrap_or(ini);
    let console = match &config.console {
        Console::Rake(rake) => format!("rake, with the tasks of release {}", rake.release.word()),
        Console::Enc(enc) => format!("none; {} says what may be assigned", enc.catalogue.display()),
    };
    // The key is nowhere else: it is shown before anything counts.
    say(&format!(
        "Key of {client}, shown this once:\n\n    {psk}\n\n\
         Certificate for the client to pin, SHA-256 fingerprint:\n{fingerprint}\n\n{pem}\n\
         Certificate:    {certificate}\nIts key:        {key}\nConfiguration:  {ini}\nLedger:         {state}\n\
         Console:        {console}\n\n{next}",
        client = new.client,
        psk = psk.reveal(),
        fingerprint = identity.fingerprint,
        pem = tls.certificate,
        certificate = certificate.display(),
        key = key.display(),
        ini = ini.display(),
        state = config.state.display(),
        next = next_steps::steps(&Printer::of(&config, &ini, new.system.unwrap_or_else(System::here)), group),
    ))
    .map_err(SetupError::not_shown)?;
    files.finish()
}

/// The host's name for the certificate, and its short name where the system has a longer one.
fn host_names(given: Option<String>) -> (String, Option<String>) {
    let short = || Some(certificate::host_name()).filter(|name| !name.contains('.'));
    match (given, short()) {
        (Some(given), _) => (given, None),
        (None, Some(short)) => detect::full_name(&short).map_or((short.clone(), None), |full| (full, Some(short))),
        (None, None) => (certificate::host_name(), None),
    }
}

impl New {
    fn ini(&self) -> PathBuf {
        self.directory.join("espm.ini")
    }

    /// The certificate and its key.
    fn tls(&self) -> (PathBuf, PathBuf) {
        (self.certificates.join("espm.pem"), self.certificates.join("espm.key"))
    }
}

/// Goes back to where nothing was set up.
fn undo(mut new: New) -> Result<(), SetupError> {
    let (ini, (certificate, key)) = (new.ini(), new.tls());
    let config = if ini.exists() {
        load(&ini)?
    } else {
        // A set-up that was ended before its last file.
        new.keys.fill_rest();
        let first = client::section(
            &client::name("--client ", &new.client)?,
            &client::make()?.digest(),
            &GivenRights::default(),
        );
        Config::from_text(&new.keys.text(&certificate, &key, &first))?
    };
    let gone = files::undo(&ini, &config, [certificate, key])?;
    let lines: String = gone.iter().map(|path| format!("    {}\n", path.display())).collect();
    say(&format!("Removed; nothing was in the ledger:\n\n{lines}"))
}
