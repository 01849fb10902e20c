//! The commands that list the ledger's nodes, revoke and delete, adopt and forget.

use std::io::{self, BufWriter, ErrorKind, Write};
use std::str::FromStr;

use serde::Serialize;

use crate::audit::{self, Note};
use crate::console::Standing;
use crate::ledger::{Entry, NodeState};
use crate::model::fault::Fault;
use crate::model::name::{ClassName, ClientName, GroupName, NameError, NodeName, ParameterName, ParameterValue};
use crate::model::node::{Assignment, Change, Lost, Node};
use crate::model::problem::Problem;
use crate::model::value::{Parameters, Value};
use crate::service::change::LockedName;
use crate::service::context::Context;
use crate::service::judgement::Reason;
use crate::service::outcome::Outcome;
use crate::service::{certificates, nodes};
use crate::system::clock;

/// Revokes the certificate of a node of espm's, as a client's request does.
pub(super) fn revoke(context: &mut Context, name: &NodeName) -> Result<(), Fault> {
    refuse_master(context, name)?;
    let revoked = certificates::revoke(context, name, &Reason::Operator);
    conclude(context, name, revoked)
}

/// Deletes a node of espm's, as a client's request does.
pub(super) fn delete(context: &mut Context, name: &NodeName) -> Result<(), Fault> {
    refuse_master(context, name)?;
    let deleted = nodes::delete(context, name, &Reason::Operator);
    conclude(context, name, deleted)
}

fn refuse_master(context: &Context, name: &NodeName) -> Result<(), Fault> {
    if name.as_str() != context.master {
        return Ok(());
    }
    Err(Fault::new(Problem::NotFound, format!("{name} is the master's own name, which is never espm's")))
}

/// Tells the operator what a client is not told.
fn conclude(context: &Context, name: &NodeName, done: Result<Outcome, Fault>) -> Result<(), Fault> {
    match done {
        Ok(_) if context.audit.has(Note::ForeignCertificateLeft) => {
            audit::complain(&format!("the CA has a certificate of {name} that espm did not have made; it stays valid"));
            Ok(())
        }
        Ok(_) => Ok(()),
        Err(fault) if fault.problem == Problem::NotFound => Err(match context.ledger()?.entry(name)? {
            None => not_in_ledger(name),
            Some(entry) if entry.state == NodeState::Unproven => {
                let decide = format!("look at it in the console, then 'espm adopt {name}' or 'espm forget {name}'");
                Fault::new(Problem::NotFound, format!("{name} may be espm's or not; {decide}"))
            }
            Some(_) => Fault::new(Problem::NotFound, format!("{name} has no certificate of espm's")),
        }),
        Err(fault) => Err(fault),
    }
}

fn not_in_ledger(name: &NodeName) -> Fault {
    Fault::new(Problem::NotFound, format!("{name} is not in the ledger; 'espm nodes' lists all that are"))
}

/// The assignment that the operator tells; what is not told is `None`.
#[derive(Debug, clap::Args)]
pub(super) struct Told {
    /// The node's groups, instead of what the console says
    #[arg(long, value_name = "NAME,...")]
    groups: Option<Names<GroupName>>,
    /// The node's classes
    #[arg(long, value_name = "NAME,...")]
    classes: Option<Names<ClassName>>,
    /// The node's parameters
    #[arg(long, value_name = "NAME=VALUE,...")]
    parameters: Option<Pairs>,
    /// All of it instead, as a client sees the node
    #[arg(long, value_name = "JSON", conflicts_with_all = ["groups", "classes", "parameters"])]
    assignment: Option<Json>,
}

/// An assignment as JSON.
#[derive(Debug, Clone)]
struct Json(Assignment);

impl FromStr for Json {
    type Err = serde_json::Error;
    fn from_str(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text).map(Self)
    }
}

/// Names that commas separate.
#[derive(Debug, Clone)]
struct Names<T>(Vec<T>);

impl<T: TryFrom<String, Error = NameError>> FromStr for Names<T> {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        text.split_terminator(',').map(|name| T::try_from(name.to_owned())).collect::<Result<_, _>>().map(Self)
    }
}

/// Parameters that commas separate.
#[derive(Debug, Clone)]
struct Pairs(Parameters);

impl FromStr for Pairs {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        let pair = |pair: &str| {
            let (name, value) = pair.split_once('=').ok_or(NameError("a parameter is written NAME=VALUE"))?;
            Ok((ParameterName::parse(name)?, ParameterValue::parse(value)?.into()))
        };
        text.split_terminator(',').map(pair).collect::<Result<_, _>>().map(Self)
    }
}

impl Told {
    fn all(&self) -> bool {
        self.assignment.is_some() || self.groups.is_some() && self.classes.is_some() && self.parameters.is_some()
    }

    fn nothing(&self) -> bool {
        self.assignment.is_none() && self.groups.is_none() && self.classes.is_none() && self.parameters.is_none()
    }

    fn replace(self, assignment: &mut Assignment) {
        if let Some(Json(told)) = self.assignment {
            *assignment = told;
        }
        let Assignment { groups, classes, parameters, .. } = assignment;
        self.groups.into_iter().for_each(|Names(told)| *groups = told);
        self.classes.into_iter().for_each(|Names(told)| *classes = told);
        self.parameters.into_iter().for_each(|Pairs(told)| *parameters = told);
    }
}

/// The present assignment of a node; what of it is in doubt is added to `doubts`.
fn assigned(
    context: &Context,
    name: &NodeName,
    entry: Option<Entry>,
    doubts: &mut Vec<String>,
) -> Result<Assignment, Fault> {
    let known = entry.map(|entry| entry.wanted.into_iter().chain([entry.node.assignment]).collect());
    let known: Vec<Assignment> = known.unwrap_or_default();
    if let Some(found) = context.console.found(name, &known, context.until)? {
        let beyond = found.beyond.into_iter();
        doubts.extend(beyond.map(|what| {
            format!("{name} also has {what}, which espm cannot assign; its next change can take that away")
        }));
        return Ok(found.assignment);
    }
    let assignment = known.into_iter().next().unwrap_or_default();
    doubts.push(format!(
        "the console cannot say what {name} has, and its next change can set what is recorded now; \
         if that is not what it has, correct this command and run it: {}",
        command(name, &assignment)
    ));
    Ok(assignment)
}

/// The command that records an assignment.
fn command(name: &NodeName, assignment: &Assignment) -> String {
    let quoted = |words: Vec<String>| format!("'{}'", words.join(",").replace('\'', r"'\''"));
    let plain = |value: &Value| value.as_str().is_some_and(|text| ParameterValue::parse(text).is_ok());
    if assignment.environment.is_some() || !assignment.values().all(plain) || !assignment.class_parameters.is_empty() {
        let json = serde_json::to_string(assignment).unwrap_or_default();
        return format!("espm adopt {name} --assignment={}", quoted(vec![json]));
    }
    let groups = quoted(assignment.groups.iter().map(ToString::to_string).collect());
    let classes = quoted(assignment.classes.iter().map(ToString::to_string).collect());
    let parameters = quoted(
        assignment
            .parameters
            .iter()
            .map(|(name, value)| format!("{name}={}", value.as_str().unwrap_or_default()))
            .collect(),
    );
    format!("espm adopt {name} --groups={groups} --classes={classes} --parameters={parameters}")
}

/// Refuses what a console cannot assign: every later change of the node would fail.
fn refuse_unassignable(context: &Context, assignment: &Assignment) -> Result<(), Fault> {
    // A catalogue can have it again.
    if context.console.publisher().is_some() {
        return Ok(());
    }
    let change = Change::setting(assignment.clone());
    let errors = context.console.judge(&change, &Assignment::default(), &mut assignment.clone(), &|_| true)?;
    match errors.first() {
        None => Ok(()),
        Some(first) => Err(Fault::new(Problem::Invalid, format!("{}: {}", first.field, first.detail))),
    }
}

/// Records a node of the console as espm's, with what it has now.
pub(super) fn adopt(context: &mut Context, name: &NodeName, told: Told, doubts: &mut Vec<String>) -> Result<(), Fault> {
    let ledger = context.ledger()?;
    let mut locked = LockedName::acquire(context, ledger, name)?;
    let entry = locked.ledger.entry(name)?;
    if told.nothing() && entry.as_ref().is_some_and(|entry| entry.state == NodeState::Active) {
        return Ok(());
    }
    refuse_master(locked.context, name)?;
    let belongs = entry.as_ref().is_some_and(|entry| entry.client.is_some());
    if let Some(entry) = &entry {
        locked.output(entry)?;
    }
    if let Standing::Unlisted(_) | Standing::Unpublished =
        locked.context.console.standing(name, locked.context.until)?
    {
        let detail = format!("{name} is not in the console; only a node that is there can be adopted");
        return Err(Fault::new(Problem::NotFound, detail));
    }
    let mut assignment = match told.all() {
        true => Assignment::default(),
        false => assigned(locked.context, name, entry, doubts)?,
    };
    told.replace(&mut assignment);
    refuse_unassignable(locked.context, &assignment)?;
    if !belongs {
        doubts
            .push(format!("{name} belongs to no client, so none sees it; 'espm assign {name} CLIENT' gives it to one"));
    }
    locked.context.audit.assignment(&assignment);
    Ok(locked.audited()?.locked.ledger.adopt(&Node { name: name.clone(), assignment })?)
}

/// Removes a node from the ledger.
pub(super) fn forget(context: &mut Context, name: &NodeName) -> Result<(), Fault> {
    let ledger = context.ledger()?;
    let mut locked = LockedName::acquire(context, ledger, name)?;
    let entry = locked.ledger.entry(name)?.ok_or_else(|| not_in_ledger(name))?;
    // A command that still runs could add a node that the ledger does not show.
    locked.output(&entry)?;
    Ok(locked.audited()?.locked.ledger.forget(name)?)
}

/// Gives a node to a client.
pub(super) fn assign(context: &mut Context, name: &NodeName, client: &ClientName) -> Result<(), Fault> {
    let ledger = context.ledger()?;
    let mut locked = LockedName::acquire(context, ledger, name)?;
    locked.ledger.entry(name)?.ok_or_else(|| not_in_ledger(name))?;
    locked.context.audit.given_to(client);
    Ok(locked.audited()?.locked.ledger.assign(name, client)?)
}

/// A row of `espm nodes --json`.
#[derive(Serialize)]
struct Row<'a> {
    #[serde(flatten)]
    node: &'a Node,
    state: &'static str,
    client: Option<&'a ClientName>,
    certificate: Option<&'static str>,
    since: String,
    /// Names that it has and the catalogue has no more.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    lost: Vec<String>,
}

/// The names that a node has and the catalogue has no more.
type LostOf<'a> = &'a dyn Fn(&Entry) -> Vec<Lost>;

/// Prints the lines of `espm nodes`, or an array of JSON.
pub(super) fn print(entries: &[Entry], lost: LostOf<'_>, json: bool) -> io::Result<()> {
    match write(entries, lost, json, BufWriter::new(io::stdout().lock())) {
        // A reader such as head(1) has seen enough.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

fn write(entries: &[Entry], lost: LostOf<'_>, json: bool, mut output: impl Write) -> io::Result<()> {
    let rows = entries.iter().map(|entry| Row {
        node: &entry.node,
        state: entry.state.word(),
        client: entry.client.as_ref(),
        certificate: entry.certificate.map(|state| state.word()),
        since: clock::rfc3339(entry.since),
        lost: lost(entry).iter().map(ToString::to_string).collect(),
    });
    if json {
        serde_json::to_writer(&mut output, &rows.collect::<Vec<_>>())?;
        writeln!(output)?;
    } else {
        for Row { node, state, client, certificate, since, lost } in rows {
            let certificate = certificate.unwrap_or("-");
            let client = client.map_or("-", ClientName::as_str);
            let lost = if lost.is_empty() { String::new() } else { format!(" lost: {}", lost.join(", ")) };
            writeln!(output, "{state:<10} {certificate:<10} {since} {client:<10} {}{lost}", node.name)?;
        }
    }
    output.flush()
}
