//! One request as a CGI program: read it, judge it, do it, audit it, answer it, exit.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::audit::{self, Audit, Destination};
use crate::config::Config;
use crate::config::layout;
use crate::http::auth;
use crate::http::cgi;
use crate::http::request::{Method, Request};
use crate::http::response;
use crate::http::routes::{self, HEALTH};
use crate::model::fault::{Fault, Problem};
use crate::model::request_id::RequestId;
use crate::service::context::{self, Offices};
use crate::service::nodes::perform;
use crate::service::operation::Operation;
use crate::service::outcome::Outcome;
use crate::system::clock::Deadline;
use crate::system::process;
use crate::system::trusted_file::Owner;

/// Handles the request in this process's environment and standard input.
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

/// The result of the request, and whether its body is left out.
fn handle(variable: &impl Fn(&str) -> Option<OsString>, id: &RequestId) -> (Result<Outcome, Fault>, bool) {
    let path = variable(cgi::CONFIG_VARIABLE).map_or_else(|| PathBuf::from(layout::this().ini), PathBuf::from);
    let request = cgi::receive(variable, io::stdin().lock());
    let addr = request.as_ref().map_or_else(|_| "-".to_owned(), |request| request.addr.clone());
    let refuse =
        |destination, fault| (record(&Audit::begin(destination, &id.to_string(), &addr), Err(fault), false), false);
    let config = match Config::load(&path, Owner::RootOrSelf) {
        Ok(config) => config,
        Err(error) => {
            let detail = "espm's configuration cannot be used; the master's log says why";
            return refuse(Destination::default(), Fault::new(Problem::Internal, detail).because(error));
        }
    };
    let request = match request {
        Ok(request) => request,
        Err(malformed) => return refuse(config.audit, Fault::new(Problem::BadRequest, malformed.0)),
    };
    let head = request.method == Method::Head;
    let mut audit = Audit::begin(config.audit.clone(), &id.to_string(), &request.addr);
    audit.send_kept();
    if let Err(fault) = auth::check_transport(&request, config.require_tls) {
        return (record(&audit, Err(fault), false), head);
    }
    if is_health(&request) {
        return (Ok(Outcome::Healthy), head);
    }
    let (operation, client) = match admit_and_route(request, &config, &mut audit) {
        Ok(operation) => operation,
        Err(fault) => return (record(&audit, Err(fault), false), head),
    };
    let changes = operation.changes();
    let result = work(operation, &client, &config, &path, &mut audit, id);
    (record(&audit, result, changes), head)
}

fn is_health(request: &Request) -> bool {
    request.path == HEALTH && matches!(request.method, Method::Get | Method::Head)
}

fn admit_and_route(request: Request, config: &Config, audit: &mut Audit) -> Result<(Operation, String), Fault> {
    let admitted = auth::admit(request, &config.clients)?;
    let client = admitted.client().to_owned();
    audit.client(&client);
    let operation = routes::route(admitted)?;
    audit.event(operation.event());
    if let Some(name) = operation.node() {
        audit.node(name);
        if name.as_str() == config.authority.master {
            return Err(Fault::not_found());
        }
    }
    Ok((operation, client))
}

fn work(
    operation: Operation,
    client: &str,
    config: &Config,
    path: &Path,
    audit: &mut Audit,
    id: &RequestId,
) -> Result<Outcome, Fault> {
    let (console, authority) = context::wire(config, path);
    let mut offices = Offices {
        state: &config.state,
        console: &console,
        authority: &authority,
        audit,
        master: &config.authority.master,
        client,
        request: &id.to_string(),
        until: Deadline::after(config.request_timeout),
    };
    let result = perform(operation, &mut offices);
    if let Some(why) = console.ran_cold() {
        audit.cold(why);
    }
    result
}

/// Audits a result; one that can be neither written nor kept goes to standard error.
fn record(audit: &Audit, result: Result<Outcome, Fault>, changes: bool) -> Result<Outcome, Fault> {
    let (word, status, cause) = match &result {
        Ok(outcome) => (outcome.word(), outcome.status(), String::new()),
        Err(fault) => (fault.problem.word(), fault.problem.status(), fault.for_log()),
    };
    if !cause.is_empty() {
        audit.explain(&cause);
    }
    if let Err(error) = audit.result(word, status, changes) {
        audit::complain(&format!("{error}: outcome={word} status={status}"));
    }
    result
}
