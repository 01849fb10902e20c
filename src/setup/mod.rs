//! Set-up: makes the key, the certificate, the configuration and the empty ledger; prints the vhost;
//! rotates keys.
//!
//! Everything is checked before anything is written; what exists is never overwritten, and what was
//! written is taken away again when a later step fails.

#![allow(clippy::print_stdout, reason = "its output is for the administrator who runs it")]

mod certificate;
mod detect;
mod distribution;
mod error;
mod espm_ini;
mod files;
mod key;
mod next_steps;
mod templates;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};

use self::distribution::System;
use self::error::SetupError;
use self::templates::{Printer, Unit, Vhost};
use crate::audit;
use crate::config::layout;
use crate::config::{self, Config, ConfigError};
use crate::console::rake::task::Release;
use crate::system::trusted_file::Owner;
use crate::system::x509;

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
        /// Which
        kind: Vhost,
        #[command(flatten)]
        of: Of,
    },
    /// Print sudo's rules with the users and paths of a configuration
    Sudoers {
        /// With those that Apache's CGI script needs
        #[arg(long)]
        cgi: bool,
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
        /// Which
        kind: Unit,
        /// The web server's group [default: that of the system's nginx]
        #[arg(long, value_name = "GROUP")]
        group: Option<String>,
        #[command(flatten)]
        of: Of,
    },
    /// Add or retire a client's preshared key; two may be valid while clients change over
    Psk {
        #[command(subcommand)]
        act: PskAct,
    },
}

/// What is printed is printed for this configuration, on this system.
#[derive(Debug, Args)]
struct Of {
    /// The configuration
    #[arg(long, default_value = layout::this().ini, value_name = "FILE")]
    config: PathBuf,
    /// Whose paths and users [default: this machine's]
    #[arg(long, value_enum)]
    system: Option<System>,
}

#[derive(Debug, Subcommand)]
enum PskAct {
    /// Make a key for a new name, print it once, and keep its digest
    Add(PskName),
    /// Make a key invalid from the next request on
    Retire(PskName),
}

#[derive(Debug, Args)]
struct PskName {
    /// The client's name: lower-case letters, digits, '-' and '_'; it is in every audit record
    name: String,
    /// The configuration
    #[arg(long, default_value = layout::this().ini, value_name = "FILE")]
    config: PathBuf,
}

/// The type of the certificate's key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum KeyType {
    /// P-256
    Ecdsa,
    /// 3072 bits, for clients that cannot do ECDSA
    Rsa,
}

#[derive(Debug, Clone, Args)]
struct New {
    /// Directory for espm.ini
    #[arg(short = 'd', long, default_value = layout::this().etc, value_name = "DIR")]
    directory: PathBuf,
    /// Directory for the certificate and its key
    #[arg(short = 'c', long, default_value = layout::this().certificates, value_name = "DIR")]
    certificates: PathBuf,
    /// Port of the web server
    #[arg(short = 'p', long, default_value_t = 8443, value_parser = clap::value_parser!(u16).range(1..))]
    port: u16,
    /// Directory for the ledger; its owner is the user that espm runs as
    #[arg(long, default_value = layout::this().state, value_name = "DIR")]
    state: PathBuf,
    /// Socket between the web server and espm
    #[arg(long, default_value = "/run/espm/espm.sock", value_name = "PATH")]
    listen: PathBuf,
    /// The program espm-helper
    #[arg(long, default_value = layout::this().helper, value_name = "PATH")]
    helper: PathBuf,
    /// The host's name, for the certificate [default: this host's]
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
    /// Find Puppet's paths and users out from `puppet config print` [default PUPPET: the installed one]
    #[arg(long, value_name = "PUPPET", num_args = 0..=1, default_missing_value = detect::INSTALLED)]
    detect: Option<PathBuf>,
    /// rake (a console) or enc (none: a catalogue and espm-enc) [default: rake]
    #[arg(long, value_name = "KIND", value_parser = ["rake", "enc"])]
    console_kind: Option<String>,
    /// The console's rake, up to the task [default: Puppet Enterprise's]
    #[arg(long, value_name = "COMMAND")]
    console_command: Option<String>,
    /// Directory that rake runs in [default: /opt/puppet/share/puppet-dashboard]
    #[arg(long, value_name = "DIR")]
    console_directory: Option<PathBuf>,
    /// User that rake runs as [default: espm's own]
    #[arg(long, value_name = "USER")]
    console_user: Option<String>,
    /// The console's release: 1.2.2, 1.2.7, 1.2.23 or 3.0 [default: found out from rake's tasks]
    #[arg(long, value_name = "RELEASE", value_parser = parse_release)]
    console_release: Option<Release>,
    /// With enc: the operator's catalogue of classes and groups
    #[arg(long, value_name = "FILE", default_value = layout::this().catalogue)]
    catalogue: PathBuf,
    /// With enc: directory that nodes are published in; belongs to espm's user
    #[arg(long, value_name = "DIR", default_value = layout::this().nodes)]
    published: PathBuf,
    /// Whose certificate commands: puppet-cert or puppetserver-ca [default: puppet-cert]
    #[arg(long, value_name = "KIND", value_parser = ["puppet-cert", "puppetserver-ca"])]
    authority_kind: Option<String>,
    /// The certificate command, up to the verb [default: /opt/puppet/bin/puppet cert]
    #[arg(long, value_name = "COMMAND")]
    authority_command: Option<String>,
    /// User that the certificate command runs as [default: espm's own]
    #[arg(long, value_name = "USER")]
    authority_user: Option<String>,
    /// puppet.conf, for puppetserver-ca run by another user than root
    #[arg(long, value_name = "FILE")]
    authority_config: Option<PathBuf>,
    /// Puppet's ssldir [default: /etc/puppetlabs/puppet/ssl]
    #[arg(long, value_name = "DIR")]
    ssldir: Option<PathBuf>,
    /// Puppet's cadir [default: /etc/puppetlabs/puppet/ssl/ca]
    #[arg(long, value_name = "DIR")]
    cadir: Option<PathBuf>,
    /// Directory for the records of espm's certificates; belongs to the CA's user
    #[arg(long, default_value = layout::this().records, value_name = "DIR")]
    records: PathBuf,
    /// The master's own certname, which is never touched [default: the host's name]
    #[arg(long, value_name = "NAME")]
    master: Option<String>,
    /// Whose paths and users the next steps are printed with [default: this machine's]
    #[arg(long, value_enum)]
    system: Option<System>,
    /// Syslog's socket
    #[arg(long, default_value = "/dev/log", value_name = "PATH")]
    syslog: PathBuf,
}

fn parse_release(word: &str) -> Result<Release, &'static str> {
    Release::parse(word).ok_or("want 1.2.2, 1.2.7, 1.2.23 or 3.0")
}

/// The command line, as its help, its manual page and its completions have it.
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
    let cli = Cli::parse();
    let done = match cli.command {
        None => set_up(cli.new),
        Some(Command::Vhost { kind, of }) => of.print(|printer| printer.vhost(kind)),
        Some(Command::Sudoers { cgi, of }) => of.print(|printer| printer.sudoers(cgi)),
        Some(Command::Cgi { of }) => of.print(|printer| printer.cgi()),
        Some(Command::Unit { kind, group, of }) => {
            of.print(|printer| printer.unit(kind, group.as_deref().unwrap_or(printer.system.names().nginx_group)))
        }
        Some(Command::Psk { act: PskAct::Add(PskName { name, config }) }) => key::add(&config, &name).map(|psk| {
            println!(
                "Key of {name}, shown this once:\n\n    {}\n\nIt is valid from the next request on.",
                psk.reveal()
            );
        }),
        Some(Command::Psk { act: PskAct::Retire(PskName { name, config }) }) => {
            key::retire(&config, &name).map(|()| println!("The key of {name} is not valid any more."))
        }
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
        let config = load(&self.config)?;
        let system = self.system.unwrap_or_else(System::here);
        // The path goes into files that are read elsewhere.
        let ini = std::path::absolute(&self.config).unwrap_or_else(|_| self.config.clone());
        print!("{}", text(&Printer { config: &config, ini: &ini, system }));
        Ok(())
    }
}

fn load(path: &Path) -> Result<Config, ConfigError> {
    Config::load(path, Owner::RootOrSelf)
}

impl New {
    fn ini(&self) -> PathBuf {
        self.directory.join("espm.ini")
    }

    fn certificate(&self) -> PathBuf {
        self.certificates.join("espm.pem")
    }

    fn key(&self) -> PathBuf {
        self.certificates.join("espm.key")
    }

    fn has_console(&self) -> bool {
        self.console_kind.as_deref() != Some("enc")
    }
}

fn set_up(mut new: New) -> Result<(), SetupError> {
    if !config::is_client_name(&new.client) {
        return Err(SetupError::ClientName(format!("--client {}", new.client)));
    }
    detect::fill_in(&mut new)?;
    if !new.has_console() && new.console_release.is_some() {
        return Err(SetupError::ReleaseWithoutConsole);
    }
    let group = files::check(&new)?;
    let psk = key::make()?;
    let tls = certificate::make(new.host.as_deref().unwrap_or_default(), &new.san, new.key_type)?;
    new.console_release = new.console_release.or_else(|| detect::release(&new));
    let text = espm_ini::text(&new, &psk.digest());
    let config = Config::from_text(&text)?;
    let identity = x509::identity(&tls.certificate)?;
    files::write(&new, group, &text, &tls)?;

    println!("Key of {}, shown this once:\n\n    {}\n", new.client, psk.reveal());
    println!(
        "Certificate for the client to pin, SHA-256 fingerprint:\n{}\n\n{}",
        identity.fingerprint, tls.certificate
    );
    println!("Certificate:    {}\nIts key:        {}", new.certificate().display(), new.key().display());
    println!("Configuration:  {}\nLedger:         {}", new.ini().display(), new.state.display());
    match new.console_release {
        Some(release) => println!("Console:        rake, with the tasks of release {}\n", release.word()),
        None => println!("Console:        none; {} says what may be assigned\n", new.catalogue.display()),
    }
    let ini = std::path::absolute(new.ini()).unwrap_or_else(|_| new.ini());
    let system = new.system.unwrap_or_else(System::here);
    print!("{}", next_steps::steps(&Printer { config: &config, ini: &ini, system }));
    Ok(())
}
