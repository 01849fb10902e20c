//! The judgement of what a client may: its operations, and the names in a request.
//!
//! A refusal names the field, never the pattern that did not match.

use super::context::Context;
use super::draft::Draft;
use crate::console::listing::Listing;
use crate::ledger::NodeOwner;
use crate::model::client::{Caller, Client, May, Rights};
use crate::model::fault::{Fault, FieldError};
use crate::model::node::{Assignment, List};
use crate::model::problem::Problem;

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
            let detail = format!("{:?} is nothing that this client may assign", wanted.name);
            Some(FieldError::new(format!("{}[{}]", list.member(), wanted.index?), detail))
        })
    });
    name.chain(lists).collect()
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
