//! The operator's commands: `espm` at the shell.
//!
//! Started by root, they first become the owner of the state directory. Each change is audited.

#![allow(clippy::print_stdout, reason = "its output is for the operator who runs it")]

mod check;
mod nodes;
mod publish;

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use crate::audit::{self, Audit};
use crate::config::Config;
use crate::config::layout;
use crate::ledger::{Entry, Ledger};
use crate::model::client::Caller;
use crate::model::fault::Fault;
use crate::model::name::{ClientName, NodeName};
use crate::model::request_id::RequestId;
use crate::service::context::{self, Context};
use crate::system::process;
use crate::system::text;
use crate::system::trusted_file::Owner;

/// The operator's name in the audit, and as a request in the ledger.
const OPERATOR: &str = ClientName::OPERATOR;

/// The agent on a Puppet master that prepares nodes for a provisioning system.
///
/// Without a command it takes FastCGI requests in the foreground, from the socket that systemd
/// passes, from the one on descriptor 0, or from the one that the configuration names. With
/// GATEWAY_INTERFACE in the environment it is a CGI program and ignores all arguments.
#[derive(Debug, Parser)]
#[command(name = "espm", version, max_term_width = 100)]
struct Cli {
    /// The configuration
    #[arg(short, long, global = true, default_value = layout::this().ini, value_name = "FILE")]
    config: PathBuf,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Check all that a request needs, and the ledger's nodes; exit 1 on a failure
    Check {
        /// Also settle unfinished changes, and forget nodes missing in the console
        #[arg(long)]
        settle: bool,
        /// Print a Nagios plugin's output; exit 0 ok, 1 warning, 2 critical, 3 unknown
        #[arg(long, conflicts_with = "prometheus")]
        nagios: bool,
        /// Print metrics for the textfile collector of Prometheus; exit 0
        #[arg(long)]
        prometheus: bool,
    },
    /// List the nodes in the ledger
    Nodes {
        /// List only those that a human or a retry must settle
        #[arg(long)]
        unfinished: bool,
        /// Print them as JSON, with what is assigned to them; values of parameters may be secret
        #[arg(long)]
        json: bool,
    },
    /// Revoke the certificate of a node that espm created
    Revoke {
        /// The node
        name: NodeNameArg,
    },
    /// Revoke the certificate of a node that espm created, then delete the node
    Delete {
        /// The node
        name: NodeNameArg,
    },
    /// Record a node of the console as espm's, with what it has there
    Adopt {
        /// The node
        name: NodeNameArg,
        #[command(flatten)]
        told: nodes::Told,
    },
    /// Remove a node from the ledger; the console and the CA are not touched
    Forget {
        /// The node
        name: NodeNameArg,
    },
    /// Publish nodes anew that are not what the catalogue makes of them now (kind = enc)
    Publish,
    /// Give a node in the ledger to a client, which alone sees it from then on
    Assign {
        /// The node
        name: NodeNameArg,
        /// The client
        client: ClientNameArg,
    },
    /// Copy the ledger to a new file while espm runs
    Backup {
        /// The new file; with --keep the directory in which it is named by the time
        file: PathBuf,
        /// Remove the oldest of such copies in that directory, beyond this number
        #[arg(long, value_name = "NUMBER")]
        keep: Option<NonZeroUsize>,
    },
}

/// A failure, in a sentence for the operator.
#[derive(Debug)]
struct Failure(String);

impl<E: std::error::Error> From<E> for Failure {
    fn from(error: E) -> Self {
        Self(text::chain(&error))
    }
}

fn failure<T>(what: String) -> Result<T, Failure> {
    Err(Failure(what))
}

/// A node's name on the command line.
#[derive(Debug, Clone)]
struct NodeNameArg(NodeName);

impl std::str::FromStr for NodeNameArg {
    type Err = crate::model::name::NameError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        NodeName::parse(text).map(Self)
    }
}

/// A client's name on the command line.
#[derive(Debug, Clone)]
struct ClientNameArg(ClientName);

impl std::str::FromStr for ClientNameArg {
    type Err = crate::model::name::NameError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        ClientName::parse(text).map(Self)
    }
}

/// The command line, from which help, manual page and completions come.
pub fn command_line() -> clap::Command {
    Cli::command()
}

/// Runs a command or, without one, `take_requests`.
pub fn main<E: std::fmt::Display>(take_requests: impl FnOnce(&Path) -> Result<(), E>) -> ExitCode {
    let mut cli = match Cli::try_parse() {
        Ok(cli) => cli,
        // Nagios reads a plugin's standard output alone.
        Err(error) if error.use_stderr() && std::env::args_os().any(|word| word == "--nagios") => {
            return check::report::misused(error.to_string().trim_end());
        }
        Err(error) => error.exit(),
    };
    // Other programs get the path, and sudo compares it with its rules.
    cli.config = std::path::absolute(&cli.config).unwrap_or(cli.config);
    let Some(command) = cli.command else {
        return match take_requests(&cli.config) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(&error.to_string()),
        };
    };
    if let Command::Check { settle, nagios, prometheus } = command {
        let form = match (nagios, prometheus) {
            (true, _) => check::report::Form::Nagios,
            (_, true) => check::report::Form::Prometheus,
            _ => check::report::Form::Lines,
        };
        return check::main(&cli.config, settle, form);
    }
    match serve(&cli.config, command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => fail(&failure.0),
    }
}

fn fail(what: &str) -> ExitCode {
    audit::complain(what);
    ExitCode::FAILURE
}

fn serve(path: &Path, command: Command) -> Result<(), Failure> {
    let config = load(path)?;
    match command {
        Command::Check { .. } => Ok(()),
        Command::Nodes { unfinished, json } => {
            let ledger = Ledger::open(&config.state, OPERATOR)?;
            let entries = ledger.entries(unfinished)?;
            let publisher = match context::console(&config, path, &Caller::Operator).publisher().transpose() {
                Ok(publisher) => publisher,
                Err(error) => {
                    audit::complain(&text::chain(&error));
                    None
                }
            };
            let lost = |entry: &Entry| publisher.iter().flat_map(|known| known.lost(&entry.node.assignment)).collect();
            nodes::print(&entries, &lost, json).map_err(|error| Failure(format!("standard output: {error}")))
        }
        Command::Backup { file, keep } => {
            let ledger = Ledger::open(&config.state, OPERATOR)?;
            match keep {
                Some(keep) => ledger.back_up_into(&file, keep)?,
                None => ledger.back_up(&file)?,
            }
            Ok(())
        }
        Command::Publish => publish::main(&config, path),
        Command::Revoke { name } => {
            as_operator(&config, path, "operator.revoke", Some(&name.0), |context| nodes::revoke(context, &name.0))
        }
        Command::Delete { name } => {
            as_operator(&config, path, "operator.delete", Some(&name.0), |context| nodes::delete(context, &name.0))
        }
        Command::Adopt { name, told } => {
            let mut doubts = Vec::new();
            let adopt = |context: &mut Context| nodes::adopt(context, &name.0, told, &mut doubts);
            as_operator(&config, path, "operator.adopt", Some(&name.0), adopt)?;
            doubts.iter().for_each(|doubt| audit::complain(doubt));
            Ok(())
        }
        Command::Forget { name } => {
            as_operator(&config, path, "operator.forget", Some(&name.0), |context| nodes::forget(context, &name.0))
        }
        Command::Assign { name, client: ClientNameArg(client) } => {
            let clients: Vec<_> = config.clients.iter().map(|client| client.name.to_string()).collect();
            if !clients.iter().any(|there| there == client.as_str()) {
                let there = clients.join(", ");
                return failure(format!(
                    "there is no client {client}; 'espm-setup client add {client}' adds it, or name one of {there}"
                ));
            }
            as_operator(&config, path, "operator.assign", Some(&name.0), |context| {
                nodes::assign(context, &name.0, &client)
            })
        }
    }
}

/// Reads the configuration as the starting user, then becomes espm's user.
fn load(path: &Path) -> Result<Config, Failure> {
    let config = Config::load(path, Owner::RootOrSelf)?;
    process::become_owner_of(&config.state)
        .map_err(|error| Failure(format!("[espm] state: {}: {error}", config.state.display())))?;
    Ok(config)
}

/// Runs an audited act of the operator's, on a node or on all.
fn as_operator(
    config: &Config,
    path: &Path,
    event: &'static str,
    name: Option<&NodeName>,
    act: impl FnOnce(&mut Context) -> Result<(), Fault>,
) -> Result<(), Failure> {
    let id = RequestId::random()?;
    // A ledger that cannot be opened has its own advice.
    drop(Ledger::open(&config.state, OPERATOR)?);
    let mut audit = Audit::begin(config.audit.clone(), &id.to_string(), "-");
    audit.client(OPERATOR, None);
    audit.event(event);
    name.into_iter().for_each(|name| audit.node(name));
    let mut context = Context::new(config, path, audit, Caller::Operator, &id);
    let result = act(&mut context);
    if let Some(why) = context.console.ran_cold() {
        context.audit.cold(why);
    }
    let (word, status) = match &result {
        Ok(()) => ("ok", 200),
        Err(fault) => (fault.problem.word(), fault.problem.status()),
    };
    context.audit.result(word, status, true)?;
    result.map_err(|fault| {
        let cause = fault.for_log();
        Failure(if cause.is_empty() { fault.detail.into_owned() } else { format!("{}: {cause}", fault.detail) })
    })
}
