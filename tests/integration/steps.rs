//! Death and failure at every step: strace kills a handler, or espm-helper, at each system call
//! that can change something, or has the call fail; the same request, sent again, finds everything done or
//! undone.
//!
//! Every so manyth call here, each one under `tests/run --long`.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

use crate::certificates::{serial, valid};
use crate::shop::{Answer, Plan, Shop, USER, is_long, wait_until};

/// The system calls by which a process changes what outlives it, or tells somebody something.
pub const CHANGING: &str = "open,openat,creat,write,writev,pwrite64,pwritev,fsync,fdatasync,ftruncate,unlink,unlinkat,\
     link,linkat,rename,renameat,renameat2,flock,fcntl,connect,sendto,sendmsg,clone,clone3,fork,vfork,fchmod,mkdir,chdir";

/// How many deaths of each walk there are when time is short.
const SAMPLE: usize = 12;

/// A request, without a web server between.
#[derive(Debug, Clone)]
pub struct Request {
    method: &'static str,
    path: String,
    body: Option<Value>,
    key: Option<String>,
}

impl Request {
    pub fn new(method: &'static str, path: String) -> Self {
        Self { method, path, body: None, key: None }
    }

    pub fn body(self, body: Value) -> Self {
        Self { body: Some(body), ..self }
    }

    pub fn key(self, key: &str) -> Self {
        Self { key: Some(key.to_owned()), ..self }
    }
}

impl Shop {
    /// Handles a request as the gate has it handled, under strace with these options.
    pub fn handle_traced(&self, request: &Request, options: &[String]) -> Output {
        let body = request.body.as_ref().map(Value::to_string).unwrap_or_default();
        let mut handler = Command::new("strace");
        handler.args(["-qq", "-u", USER]).args(options).arg(self.bin("espm")).env_clear();
        handler.envs([("GATEWAY_INTERFACE", "CGI/1.1"), ("HTTPS", "on"), ("REMOTE_ADDR", "127.0.0.1")]);
        handler.env("ESPM_CONFIG", self.ini()).env("HTTP_X_ESPM_PSK", &self.psk);
        handler.env("REQUEST_METHOD", request.method).env("REQUEST_URI", &request.path);
        handler.env("CONTENT_TYPE", "application/json").env("CONTENT_LENGTH", body.len().to_string());
        if let Some(key) = &request.key {
            handler.env("HTTP_IDEMPOTENCY_KEY", key);
        }
        let mut child = handler.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // A handler that is killed early does not read it.
        let _ = child.stdin.take().unwrap().write_all(body.as_bytes());
        child.wait_with_output().unwrap()
    }

    /// Handles a request as the gate has it handled.
    pub fn handle(&self, request: &Request) -> Answer {
        let output = self.handle_traced(request, &["-e".into(), "trace=none".into()]);
        assert!(output.status.success(), "{request:?}: {output:?}");
        Answer::from_cgi(&String::from_utf8(output.stdout).unwrap())
    }

    /// Sends a request until it is not told to come back, as a client does.
    pub fn handle_at_last(&self, request: &Request) -> Answer {
        let mut answer = self.handle(request);
        wait_until("the request is done", || {
            if answer.status == 503 {
                answer = self.handle(request);
            }
            answer.status != 503
        });
        answer
    }
}

/// A call in the course of a program: its name and the how manyth of that name it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    pub call: String,
    pub nth: usize,
    pub line: String,
}

/// The changing calls in a trace; to open a file that is there, or to ask for a descriptor's flags, is none.
pub fn steps(trace: &str) -> Vec<Step> {
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    let mut steps = vec![];
    for line in trace.lines() {
        let Some((call, _)) = line.split_once('(') else { continue };
        if !CHANGING.split(',').any(|name| name.trim() == call) {
            continue;
        }
        let nth = seen.entry(call).or_default();
        *nth += 1;
        let changes = match call {
            "open" | "openat" => line.contains("O_CREAT"),
            "fcntl" => line.contains("F_SETLK"),
            _ => true,
        };
        if changes {
            steps.push(Step { call: call.to_owned(), nth: *nth, line: line.to_owned() });
        }
    }
    steps
}

/// All of them, or a sample of that size that always has the last.
pub fn chosen(steps: Vec<Step>, sample: usize) -> Vec<Step> {
    if is_long() {
        return steps;
    }
    let apart = steps.len().div_ceil(sample);
    let last = steps.len() - 1;
    steps.into_iter().enumerate().filter(|(at, _)| (last - at).is_multiple_of(apart)).map(|(_, step)| step).collect()
}

/// strace's options that record the changing calls.
pub fn recording(to: &str) -> Vec<String> {
    ["-o", to, "-e", &format!("trace={CHANGING}"), "-e", "signal=none"].map(str::to_owned).to_vec()
}

/// What befalls a program at a step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Blow {
    /// It is killed before the call is made.
    Death,
    /// The call fails, as on a disk that is full or broken, or where a resource is short.
    Failure,
}

impl Blow {
    /// strace's options for it.
    pub fn at(self, step: &Step, to: &str) -> Vec<String> {
        let Step { call, nth, .. } = step;
        let what = match (self, call.as_str()) {
            (Self::Death, _) => "signal=KILL",
            (_, "open" | "openat" | "creat" | "write" | "writev" | "pwrite64" | "pwritev" | "mkdir") => "error=ENOSPC",
            (_, "clone" | "clone3" | "fork" | "vfork") => "error=EAGAIN",
            (_, "connect" | "sendto" | "sendmsg") => "error=ECONNREFUSED",
            (_, "flock" | "fcntl") => "error=ENOLCK",
            (..) => "error=EIO",
        };
        let inject = format!("inject={call}:{what}:when={nth}");
        ["-o", to, "-e", &format!("trace={call}"), "-e", &inject].map(str::to_owned).to_vec()
    }

    /// How many steps of each walk are tried when time is short.
    pub fn sample(self) -> usize {
        if self == Self::Death { SAMPLE } else { 2 }
    }
}

/// What is walked through.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Verb {
    Add,
    Change,
    Delete,
    Generate,
    Revoke,
}

use Blow::{Death, Failure};
use Verb::{Add, Change, Delete, Generate, Revoke};

fn node(name: &str) -> Value {
    json!({"name": name, "groups": ["web servers"], "classes": ["ntp"], "parameters": {"role": "web"}})
}

fn changed(name: &str) -> Value {
    json!({"name": name, "groups": ["databases"], "classes": ["mysql"], "parameters": {"role": "db"}})
}

impl Verb {
    fn request(self, name: &str) -> Request {
        let (node_path, certificate) = (format!("/v1/nodes/{name}"), format!("/v1/nodes/{name}/certificate"));
        match self {
            Add => Request::new("POST", "/v1/nodes".into()).body(node(name)).key(name),
            Change => {
                let mut change = changed(name);
                change.as_object_mut().unwrap().remove("name");
                Request::new("PATCH", node_path).body(change)
            }
            Delete => Request::new("DELETE", node_path),
            Generate => Request::new("POST", certificate),
            Revoke => Request::new("DELETE", certificate),
        }
    }

    /// What has to be there before.
    fn prepare(self, shop: &Shop, name: &str) {
        if self != Add {
            shop.handle(&Add.request(name)).expect(201);
        }
        if self == Revoke {
            shop.handle(&Generate.request(name)).expect(201);
        }
    }

    /// The statuses that say that it is done.
    fn done(self) -> &'static [u16] {
        match self {
            Add => &[201],
            Change => &[200],
            // Done by the one that died.
            Delete => &[204, 404],
            Generate => &[200, 201],
            Revoke => &[204],
        }
    }
}

/// Where the walked program dies.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Victim {
    Handler,
    Raise,
}

/// A shop without a gate, whose espm-helper can be traced.
fn shop_for(release: &'static str, authority: &'static str) -> Shop {
    let ini = vec![("console", "cache = 3600"), ("console", "concurrency = 2")];
    let shop = Shop::prepare(&Plan { release, authority, ini, ..Plan::default() });
    shop.handle(&Request::new("GET", "/v1/classes".into())).expect(200);
    shop.handle(&Request::new("GET", "/v1/groups".into())).expect(200);
    shop
}

/// Has the CA's verbs run under strace with these options; with none, as ever.
pub fn trace_helper(shop: &Shop, options: Option<&[String]>) {
    let real = shop.bin("espm-helper");
    let Some(options) = options else { return shop.configure("espm", &format!("helper = {}", real.display())) };
    let (options, real) = (options.join(" "), real.display());
    let script =
        format!("#!/bin/sh\n[ \"$1\" = authority ] || exec {real} \"$@\"\nexec strace -qq {options} {real} \"$@\"\n");
    let path = shop.write("traced-helper", &script);
    fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
    shop.configure("espm", &format!("helper = {path}"));
}

/// Deals a blow at each step of a verb, sends the same request again, and holds console, CA and ledger
/// against each other at the end.
fn walk(shop: &Shop, verb: Verb, victim: Victim, blow: Blow) {
    let trace = shop.dir.join("run/trace");
    let to = trace.display().to_string();
    verb.prepare(shop, "model");
    let model = verb.request("model");
    match victim {
        Victim::Handler => {
            let output = shop.handle_traced(&model, &recording(&to));
            let answer = Answer::from_cgi(&String::from_utf8(output.stdout).unwrap());
            assert!(verb.done().contains(&answer.status), "{answer:?}");
        }
        Victim::Raise => {
            trace_helper(shop, Some(&recording(&to)));
            assert!(verb.done().contains(&shop.handle(&model).status));
            trace_helper(shop, None);
        }
    }
    let all = steps(&fs::read_to_string(&trace).unwrap());
    assert!(all.len() > 20, "{all:?}");
    let (count, chosen) = (all.len(), chosen(all, blow.sample()));
    let mut blows = 0;
    let mut names = vec!["model".to_owned()];
    for (number, step) in chosen.iter().enumerate() {
        let name = format!("{}{number}", format!("{verb:?}").to_lowercase());
        verb.prepare(shop, &name);
        let request = verb.request(&name);
        let _ = fs::remove_file(&trace);
        let options = blow.at(step, &to);
        let died = match victim {
            Victim::Handler => shop.handle_traced(&request, &options).status.signal() == Some(9),
            Victim::Raise => {
                trace_helper(shop, Some(&options));
                let answer = shop.handle(&request);
                trace_helper(shop, None);
                !verb.done().contains(&answer.status)
            }
        };
        let failed = || shop.file("run/trace").contains("(INJECTED)");
        blows += usize::from(if blow == Blow::Death { died } else { failed() });
        let known = shop.states().contains_key(&name);
        assert!(known || shop.node_in_console(&name).is_null(), "{verb:?}, {blow:?} at {step:?}: nothing shows it");
        let again = shop.handle_at_last(&request);
        assert!(verb.done().contains(&again.status), "{verb:?}, {blow:?} at {step:?}: {again:?}");
        names.push(name);
    }
    eprintln!("{verb:?} {victim:?} {blow:?}: {count} steps, {} tried, {blows} blows", chosen.len());
    // How often a lock is tried depends on time, so that the last steps of some runs are not come to.
    assert!(blows * 10 >= chosen.len() * 8, "{blows} blows");
    expect_done(shop, verb, &names);
}

/// Console, CA, ledger and answers are of one mind about all that was walked through.
fn expect_done(shop: &Shop, verb: Verb, names: &[String]) {
    let (console, states) = (shop.console(), shop.states());
    let mut serials = std::collections::BTreeSet::new();
    for name in names {
        let there = &console["nodes"][name];
        let wanted = match verb {
            Delete => None,
            Change => Some(changed(name)),
            _ => Some(node(name)),
        };
        let shown = shop.handle(&Request::new("GET", format!("/v1/nodes/{name}")));
        match wanted {
            None => {
                assert!(there.is_null() && !states.contains_key(name), "{name}");
                shown.expect(404);
            }
            Some(wanted) => {
                assert_eq!(states.get(name).map(String::as_str), Some("active"), "{name}");
                assert_eq!(shown.expect(200).json(), wanted, "{name}");
                let parameters: Vec<_> = wanted["parameters"].as_object().unwrap().iter().collect();
                let (groups, classes) = (&wanted["groups"], &wanted["classes"]);
                assert_eq!(*there, json!({"groups": groups, "classes": classes, "parameters": parameters}), "{name}");
            }
        }
        let certificate = shop.handle(&Request::new("GET", format!("/v1/nodes/{name}/certificate")));
        match verb {
            Generate => drop(serials.insert(serial(certificate.expect(200)))),
            _ => drop(certificate.expect(404)),
        }
    }
    assert_eq!(valid(shop), serials, "no certificate is valid but those that are ours and shown");
    assert!(shop.unfinished().is_empty());
    assert_eq!(shop.count_double_parameters(), 0);
    shop.expect_foreign_untouched();
}

impl Shop {
    /// Nodes in the console with one parameter twice.
    fn count_double_parameters(&self) -> usize {
        let console = self.console();
        let twice = |node: &&Value| {
            let keys: Vec<_> = node["parameters"].as_array().unwrap().iter().map(|pair| &pair[0]).collect();
            keys.iter().enumerate().any(|(at, key)| keys[..at].contains(key))
        };
        console["nodes"].as_object().unwrap().values().filter(twice).count()
    }
}

#[test]
fn a_handler_that_dies_at_any_step_of_an_add_leaves_it_done_or_undone() {
    walk(&shop_for("1.2.8", "puppet-cert"), Add, Victim::Handler, Death);
}

#[test]
fn a_handler_that_dies_at_any_step_of_a_change_leaves_it_done_or_undone() {
    for release in ["1.2.8", "1.2.23"] {
        walk(&shop_for(release, "puppet-cert"), Change, Victim::Handler, Death);
    }
}

#[test]
fn a_handler_that_dies_at_any_step_of_a_deletion_leaves_it_done_or_undone() {
    walk(&shop_for("1.2.8", "puppet-cert"), Delete, Victim::Handler, Death);
}

#[test]
fn a_handler_that_dies_at_any_step_of_a_certificate_leaves_it_made_or_not() {
    for authority in ["puppet-cert", "puppetserver-ca"] {
        walk(&shop_for("1.2.8", authority), Generate, Victim::Handler, Death);
    }
}

#[test]
fn a_handler_that_dies_at_any_step_of_a_revocation_leaves_it_made_or_not() {
    for authority in ["puppet-cert", "puppetserver-ca"] {
        walk(&shop_for("1.2.8", authority), Revoke, Victim::Handler, Death);
    }
}

#[test]
fn a_ca_verb_that_dies_at_any_step_of_a_certificate_leaves_it_made_or_not() {
    for authority in ["puppet-cert", "puppetserver-ca"] {
        walk(&shop_for("1.2.8", authority), Generate, Victim::Raise, Death);
    }
}

#[test]
fn a_ca_verb_that_dies_at_any_step_of_a_revocation_leaves_it_made_or_not() {
    for authority in ["puppet-cert", "puppetserver-ca"] {
        walk(&shop_for("1.2.8", authority), Revoke, Victim::Raise, Death);
    }
}

/// The first of these walks when time is short: no step is particular to a verb in how it fails.
fn walks<T>(all: Vec<T>) -> impl Iterator<Item = T> {
    let most = if is_long() { all.len() } else { 1 };
    all.into_iter().take(most)
}

#[test]
fn a_call_of_a_handlers_that_fails_leaves_its_verb_done_or_undone() {
    let all = vec![
        ("1.2.23", Change),
        ("1.2.8", Change),
        ("1.2.8", Add),
        ("1.2.8", Delete),
        ("1.2.8", Generate),
        ("1.2.8", Revoke),
    ];
    for (release, verb) in walks(all) {
        walk(&shop_for(release, "puppet-cert"), verb, Victim::Handler, Failure);
    }
}

#[test]
fn a_call_of_a_ca_verbs_that_fails_leaves_it_done_or_undone() {
    for (authority, verb) in
        walks(vec![("puppet-cert", Generate), ("puppetserver-ca", Generate), ("puppet-cert", Revoke)])
    {
        walk(&shop_for("1.2.8", authority), verb, Victim::Raise, Failure);
    }
}
