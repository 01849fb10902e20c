//! One request: receive, authenticate, route, parse, service, audit, respond.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use sha2::{Digest, Sha256};

use super::node_body::{self, Shape};
use super::request::{Method, Request};
use super::routes::{self, Operation, Route};
use super::{auth, certificate_body, cgi, response};
use crate::audit::{self, Audit, Destination};
use crate::config::{Config, layout};
use crate::model::client::{Caller, Client};
use crate::model::fault::Fault;
use crate::model::problem::Problem;
use crate::model::request_id::RequestId;
use crate::service::change::LockedNode;
use crate::service::context::Context;
use crate::service::judgement::Reason;
use crate::service::nodes::Retry;
use crate::service::outcome::{self, Outcome};
use crate::service::recovery::Purpose;
use crate::service::{certificates, nodes, rights};
use crate::system::process;
use crate::system::text::chain;
use crate::system::trusted_file::Owner;

/// Most bytes of an `Idempotency-Key`.
const MAX_KEY: usize = 255;

/// Handles the CGI request in this process's environment and standard input.
pub fn main() -> ExitCode {
    process::seal_inherited_descriptors();
    let Ok(id) = RequestId::random() else { return ExitCode::FAILURE };
    let variable = |name: &str| std::env::var_os(name);
    let (result, head) = match process::keep_memory_private() {
        Ok(()) => handle(&variable, &id),
        Err(error) => (Err(Fault::new(Problem::Internal, "espm cannot protect its memory").because(error)), false),
    };
    let answer = response::render(&result, Some(&id), head);
    match process::unbuffered_output().and_then(|output| cgi::send(&answer, output)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// Handles a request; the flag says whether the answer's body is left out.
fn handle(variable: &impl Fn(&str) -> Option<OsString>, id: &RequestId) -> (Result<Outcome, Fault>, bool) {
    let path = variable(cgi::CONFIG_VARIABLE).map_or_else(|| PathBuf::from(layout::this().ini), PathBuf::from);
    let request = cgi::receive(variable, io::stdin().lock());
    let addr = request.as_ref().map_or("-", |request| request.addr.as_str()).to_owned();
    let config = match Config::load(&path, Owner::RootOrSelf) {
        Ok(config) => config,
        Err(error) => {
            let detail = "espm's configuration cannot be used; the master's log says why";
            let fault = Fault::new(Problem::Internal, detail).because(error);
            return (respond(&Audit::begin(Destination::default(), &id.to_string(), &addr), Err(fault), false), false);
        }
    };
    let audit = Audit::begin(config.audit.clone(), &id.to_string(), &addr);
    let request = match request {
        Ok(request) => request,
        Err(malformed) => return (respond(&audit, Err(Fault::new(Problem::BadRequest, malformed.0)), false), false),
    };
    audit.send_kept();
    let head = request.method == Method::Head;
    if let Err(fault) = auth::check_transport(&request, config.require_tls) {
        return (respond(&audit, Err(fault), false), head);
    }
    if routes::needs_no_key(&request) {
        return (Ok(Outcome::Healthy), head);
    }
    let open = |audit, caller| Context::new(&config, &path, audit, caller, id);
    (answer(request, &config.clients, audit, open), head)
}

/// Answers a request; `open` gives the systems that it works with.
fn answer(
    request: Request,
    clients: &[Client],
    mut audit: Audit,
    open: impl FnOnce(Audit, Caller) -> Context,
) -> Result<Outcome, Fault> {
    let authenticated = match auth::authenticate(request, clients) {
        Ok(authenticated) => authenticated,
        Err(fault) => return respond(&audit, Err(fault), false),
    };
    audit.client(authenticated.client().name.as_str(), Some(authenticated.key()));
    let (route, operation) = match routes::route(&authenticated) {
        Ok(routed) => routed,
        Err(fault) => return respond(&audit, Err(fault), false),
    };
    audit.event(route.event);
    let mut context = open(audit, Caller::Client(Box::new(authenticated.client().clone())));
    let result = serve(route, operation, authenticated.request(), &mut context);
    if let Some(why) = context.console.ran_cold() {
        context.audit.cold(why);
    }
    respond(&context.audit, result, route.changes)
}

/// Serves an operation; it judges the operation, ownership, media type, JSON and content in order.
fn serve(route: &Route, operation: Operation, request: &Request, context: &mut Context) -> Result<Outcome, Fault> {
    if let Some(name) = operation.node() {
        context.audit.node(name);
    }
    rights::check_operation(context, route.right)?;
    if operation.node().is_some_and(|name| name.as_str() == context.master) {
        return Err(Fault::not_found());
    }
    match operation {
        Operation::Health => Ok(Outcome::Healthy),
        Operation::Describe => Ok(Outcome::Description),
        Operation::ListNames(list) => match nodes::list_names(context, list, request.no_cache)? {
            Outcome::Names { etag, .. } if request.has_already(&etag) => Ok(Outcome::NotModified { etag }),
            outcome => Ok(outcome),
        },
        Operation::AddNode => add_node(request, context),
        Operation::ShowNode(name) => nodes::show(context, &name),
        Operation::ChangeNode(name) => {
            let node = LockedNode::open(context, &name, Purpose::Keep)?;
            nodes::change(node, node_body::parse(request, Shape::Change)?)
        }
        Operation::DeleteNode(name) => nodes::delete(context, &name, &Reason::Client),
        Operation::GenerateCertificate(name) => {
            let node = LockedNode::open(context, &name, Purpose::Keep)?;
            let draft = certificate_body::parse(request, &name)?;
            certificates::ask(node, draft)
        }
        Operation::ShowCertificate(name) => certificates::show(context, &name),
        Operation::RevokeCertificate(name) => certificates::revoke(context, &name, &Reason::Client),
    }
}

fn add_node(request: &Request, context: &mut Context) -> Result<Outcome, Fault> {
    let visible = |key: &String| key.len() <= MAX_KEY && key.bytes().all(|b| b.is_ascii_graphic());
    if !request.idempotency_key.as_ref().is_none_or(visible) {
        return Err(Fault::new(Problem::BadRequest, "send an Idempotency-Key of 1 to 255 visible ASCII characters"));
    }
    let draft = node_body::parse(request, Shape::New)?;
    if let Some(name) = &draft.name {
        context.audit.node(name);
    }
    let body = node_body::bytes(request, Shape::New)?;
    let retry = request
        .idempotency_key
        .clone()
        .map(|key| Retry { key, digest: data_encoding::HEXLOWER.encode(&Sha256::digest(body)) });
    nodes::add(context, draft, retry.as_ref())
}

/// Audits and returns a result; standard error gets a record that cannot be kept.
fn respond(audit: &Audit, result: Result<Outcome, Fault>, changes: bool) -> Result<Outcome, Fault> {
    if let Err(error) = outcome::record(audit, &result, changes) {
        let (word, status) = outcome::ending(&result);
        audit::complain(&format!("{}: outcome={word} status={status}", chain(&error)));
    }
    result
}

#[cfg(test)]
#[path = "../../tests/clients/mod.rs"]
#[allow(clippy::disallowed_methods, clippy::unwrap_used, clippy::indexing_slicing, reason = "a test panics")]
mod clients;
