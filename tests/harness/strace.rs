//! Handlers and helpers under strace: the calls that they make, and deaths and failures at each.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::harness::{Answer, Site, USER, is_long, wait_until};

/// The system calls by which a process changes what outlives it, or tells somebody something.
pub const CHANGING: &str = "open,openat,creat,write,writev,pwrite64,pwritev,fsync,fdatasync,ftruncate,unlink,unlinkat,\
     link,linkat,rename,renameat,renameat2,flock,fcntl,connect,sendto,sendmsg,clone,clone3,fork,vfork,fchmod,mkdir,chdir";

/// How many deaths of each walk there are when time is short.
pub const SAMPLE: usize = 12;

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

impl Site {
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

/// Has the CA's verbs run under strace with these options; with none, as ever.
pub fn trace_helper(site: &Site, options: Option<&[String]>) {
    let real = site.bin("espm-helper");
    let Some(options) = options else { return site.configure("espm", &format!("helper = {}", real.display())) };
    let (options, real) = (options.join(" "), real.display());
    let script =
        format!("#!/bin/sh\n[ \"$1\" = authority ] || exec {real} \"$@\"\nexec strace -qq {options} {real} \"$@\"\n");
    let path = site.write("traced-helper", &script);
    fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
    site.configure("espm", &format!("helper = {path}"));
}
