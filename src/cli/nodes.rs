//! The commands that list, adopt and forget nodes of the ledger.

use std::str::FromStr;

use crate::console::Standing;
use crate::ledger::{Entry, NodeState};
use crate::model::fault::Fault;
use crate::model::name::{ClassName, GroupName, NameError, NodeName, ParameterName, ParameterValue, Parameters};
use crate::model::node::{Assignment, Node};
use crate::model::problem::Problem;
use crate::service::change::LockedName;
use crate::service::context::Context;
use crate::system::clock;

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
            Ok((ParameterName::parse(name)?, ParameterValue::parse(value)?))
        };
        text.split_terminator(',').map(pair).collect::<Result<_, _>>().map(Self)
    }
}

impl Told {
    fn all(&self) -> bool {
        self.groups.is_some() && self.classes.is_some() && self.parameters.is_some()
    }

    fn nothing(&self) -> bool {
        self.groups.is_none() && self.classes.is_none() && self.parameters.is_none()
    }

    fn replace(self, assignment: &mut Assignment) {
        let Assignment { groups, classes, parameters } = assignment;
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
        "the console cannot say what {name} has, and its next change sets what is recorded now; \
         if that is not what it has, correct this command and run it: {}",
        command(name, &assignment)
    ));
    Ok(assignment)
}

/// The command that records an assignment.
fn command(name: &NodeName, assignment: &Assignment) -> String {
    let quoted = |words: Vec<String>| format!("'{}'", words.join(",").replace('\'', r"'\''"));
    let groups = quoted(assignment.groups.iter().map(ToString::to_string).collect());
    let classes = quoted(assignment.classes.iter().map(ToString::to_string).collect());
    let parameters = quoted(assignment.parameters.iter().map(|(name, value)| format!("{name}={value}")).collect());
    format!("espm adopt {name} --groups={groups} --classes={classes} --parameters={parameters}")
}

/// Records a node of the console as espm's, with what it has now.
pub(super) fn adopt(context: &mut Context, name: &NodeName, told: Told, doubts: &mut Vec<String>) -> Result<(), Fault> {
    let ledger = context.ledger()?;
    let mut locked = LockedName::acquire(context, ledger, name)?;
    let entry = locked.ledger.entry(name)?;
    if told.nothing() && entry.as_ref().is_some_and(|entry| entry.state == NodeState::Active) {
        return Ok(());
    }
    if name.as_str() == locked.context.master {
        return Err(Fault::new(Problem::NotFound, format!("{name} is the master's own name, which is never espm's")));
    }
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
    locked.context.audit.assignment(&assignment);
    Ok(locked.audited()?.locked.ledger.adopt(&Node { name: name.clone(), assignment })?)
}

/// Removes a node from the ledger.
pub(super) fn forget(context: &mut Context, name: &NodeName) -> Result<(), Fault> {
    let ledger = context.ledger()?;
    let mut locked = LockedName::acquire(context, ledger, name)?;
    let Some(entry) = locked.ledger.entry(name)? else {
        let detail = format!("{name} is not in the ledger; 'espm nodes' lists all that are");
        return Err(Fault::new(Problem::NotFound, detail));
    };
    // A command that still runs could add a node that the ledger does not show.
    locked.output(&entry)?;
    Ok(locked.audited()?.locked.ledger.forget(name)?)
}

/// Prints a line of `espm nodes`.
pub(super) fn print(entry: &Entry) {
    let certificate = entry.certificate.map_or("-", |state| state.word());
    let since = clock::rfc3339(entry.since);
    println!("{:<10} {certificate:<10} {since} {}", entry.state.word(), entry.node.name);
}
