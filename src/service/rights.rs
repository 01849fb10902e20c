//! The judgement of what a client may: its operations, and the names in a request.
//!
//! A refusal names the field, never the pattern that did not match.

use super::context::Context;
use super::draft::{CertificateDraft, Draft};
use crate::console::listing::Listing;
use crate::ledger::NodeOwner;
use crate::model::client::{Caller, Client, May, Rights};
use crate::model::extension::name;
use crate::model::fault::{Fault, FieldError};
use crate::model::name::{ClassName, EnvironmentName, ParameterName};
use crate::model::node::{Assignment, Change, List};
use crate::model::problem::Problem;
use crate::model::value::Value;

/// Fails if the caller may not ask for this kind of operation at all.
pub(crate) fn check_operation(context: &Context, needed: Option<May>) -> Result<(), Fault> {
    match (context.caller.client(), needed) {
        (Some(client), Some(needed)) if !client.rights.may.contains(&needed) => {
            let detail = format!("this client may not do this; its operator can allow it (may = {})", needed.word());
            Err(Fault::new(Problem::Forbidden, detail))
        }
        _ => Ok(()),
    }
}

/// The names of a draft that the caller may not give, by their fields.
///
/// Judged is what the node does not have yet, whether or not the console knows it.
pub(super) fn refusals(caller: &Caller, draft: &Draft, before: &Assignment) -> Vec<FieldError> {
    let Some(Client { rights, .. }) = caller.client() else { return Vec::new() };
    let name = draft.name.iter().filter(|name| !rights.nodes.matches(name.as_str()));
    let name = name.map(|_| FieldError::new("name", "is no name that this client may give a node"));
    let lists = [List::Groups, List::Classes].into_iter().flat_map(|list| {
        let new = draft.wanted(list, before).into_iter().filter(move |wanted| !before.has(list, &wanted.name));
        new.filter(move |wanted| !rights.of(list).matches(&wanted.name)).filter_map(move |wanted| {
            Some(not_to_assign(format!("{}[{}]", list.member(), wanted.index?), &wanted.name))
        })
    });
    let environment = draft.environment.iter().flatten().filter(|name| !may_be_in(rights, name, before));
    let environment = environment.map(|name| not_to_assign("environment".to_owned(), name.as_str()));
    let classes = draft.class_parameters.iter().filter(|(class, settings)| {
        settings.iter().flatten().any(|(name, value)| !may_set(rights, class, name, value.as_ref(), before))
    });
    let classes = classes.map(|(class, _)| not_to_assign(format!("class_parameters.{class}"), class.as_str()));
    name.chain(lists).chain(environment).chain(classes).collect()
}

/// The trusted facts of a request for a certificate that the caller may not ask for, by their fields.
pub(super) fn refused_extensions(caller: &Caller, draft: &CertificateDraft) -> Vec<FieldError> {
    let Some(Client { rights, .. }) = caller.client() else { return Vec::new() };
    let refused = draft.asked.extensions.iter().filter(|(oid, value)| !rights.extensions.permit(oid, value));
    let refused = refused.map(|(oid, _)| {
        let place = draft.places.iter().find(|(placed, _)| placed == oid);
        let field = place.map_or("csr", |(_, field)| field);
        FieldError::new(field, format!("{} with this value is nothing that this client may ask for", name(oid)))
    });
    refused.collect()
}

fn not_to_assign(field: String, name: &str) -> FieldError {
    FieldError::new(field, format!("{name:?} is nothing that this client may assign"))
}

fn may_be_in(rights: &Rights, environment: &EnvironmentName, before: &Assignment) -> bool {
    before.environment.as_ref() == Some(environment) || rights.environments.matches(environment.as_str())
}

/// Whether a client may set a class's parameter: it may assign the class, or the node has this value already.
fn may_set(
    rights: &Rights,
    class: &ClassName,
    name: &ParameterName,
    value: Option<&Value>,
    before: &Assignment,
) -> bool {
    let has = || before.class_parameters.get(class).and_then(|parameters| parameters.get(name));
    value.is_none() || rights.classes.matches(class.as_str()) || has() == value
}

/// A change without what the caller may not assign, which is not looked up: the answer would tell what the catalogue
/// has.
pub(super) fn permitted(caller: &Caller, mut change: Change, before: &Assignment) -> Change {
    let Some(Client { rights, .. }) = caller.client() else { return change };
    change.environment = change.environment.filter(|set| set.iter().all(|name| may_be_in(rights, name, before)));
    for (class, settings) in &mut change.class_parameters {
        if let Some(settings) = settings {
            settings.retain(|(name, value)| may_set(rights, class, name, value.as_ref(), before));
        }
    }
    change
}

/// Whether the caller may see the name of an environment.
pub(super) fn shows_environment(caller: &Caller, name: &EnvironmentName) -> bool {
    caller.client().is_none_or(|client| client.rights.environments.matches(name.as_str()))
}

/// A list without the names that the caller may not assign.
pub(super) fn cut(caller: &Caller, list: List, listing: Listing) -> Listing {
    match caller.client().map(|client| client.rights.of(list)) {
        Some(may) if !may.match_all() => {
            let mut names = listing.names(list);
            names.retain(|name| may.matches(name));
            Listing::new(list, &names, listing.as_of_ms)
        }
        _ => listing,
    }
}

/// Whether the caller may see a name of a list.
pub(super) fn shows(caller: &Caller, list: List, name: &str) -> bool {
    caller.client().is_none_or(|client| client.rights.of(list).matches(name))
}

/// The owner of the nodes that a client adds.
pub(super) fn owner(client: &Client) -> NodeOwner<'_> {
    let Client { name, rights: Rights { most, .. }, .. } = client;
    NodeOwner { client: name, most: *most }
}
