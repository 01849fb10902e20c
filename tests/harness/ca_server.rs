//! The server that answers for a site's CA: the stand-in of its HTTP API, on the files of the site's CA.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use super::sockets::Port;
use super::{Plan, Site, USER, run, template, wait_until};

/// The kind of `[authority]` that talks to it.
pub const API: &str = "puppet-ca-api";

/// A server on a port of its own, which it keeps when it is started again.
pub struct CaServer {
    port: Port,
    process: Option<Child>,
}

impl CaServer {
    /// None for a kind that asks no server.
    pub(super) fn planned(plan: &Plan) -> Option<Self> {
        (plan.authority == API).then(|| Self { port: Port::reserve(), process: None })
    }

    pub fn port(&self) -> u16 {
        self.port.number
    }

    /// Starts it on the CA in a directory; the command becomes the CA's user.
    fn start(&mut self, mut as_user: Command, root: &Path) {
        let errors = super::open_to_append(&root.join("server.err"));
        as_user.arg(root).arg(self.port().to_string());
        self.process = Some(as_user.stdin(Stdio::null()).stdout(Stdio::null()).stderr(errors).spawn().unwrap());
        wait_until("the CA's server listens", || std::net::TcpStream::connect(("127.0.0.1", self.port())).is_ok());
    }

    pub fn stop(&mut self, signal: &str) {
        if let Some(mut process) = self.process.take() {
            run(Command::new("kill").args([signal, &process.id().to_string()]));
            process.wait().unwrap();
        }
    }
}

impl Drop for CaServer {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

impl Site {
    /// A CA and its server, and nothing of espm.
    pub fn ca_server_alone() -> Self {
        let mut site = Self::doubles(&Plan { authority: API, ..Plan::default() });
        run(Command::new("chown").args(["-R", &format!("{USER}:{USER}")]).arg(site.dir.join("ca")));
        site.start_ca_server();
        site
    }

    pub fn start_ca_server(&mut self) {
        let program = self.inside_as(&self.users.authority, template().join("authority/api_server"));
        let root = self.dir.join("ca");
        if let Some(server) = &mut self.ca_server {
            server.start(program, &root);
        }
    }

    pub fn has_ca_server(&self) -> bool {
        self.ca_server.is_some()
    }

    pub fn ca_server(&mut self) -> &mut CaServer {
        self.ca_server.as_mut().expect("a site of a kind that asks a server")
    }

    /// What the CA's server was asked, in order: method, path, state and the number of the connection.
    pub fn exchanges(&self) -> Vec<Exchange> {
        let words = |run: &Value| {
            let all = run["argv"].as_array().unwrap().iter();
            all.map(|word| word.as_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        let runs = self.runs("ca");
        runs.iter().map(words).filter(|words| words.first().is_some_and(|word| word == "api")).map(Exchange).collect()
    }

    /// How many exchanges have this method, resource and state, such as `PUT certificate_status signed`.
    pub fn count_exchanges(&self, kind: &str) -> usize {
        self.exchanges().iter().filter(|exchange| exchange.kind() == kind).count()
    }
}

/// A request to the CA's server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exchange(Vec<String>);

impl Exchange {
    /// Method, resource and the state that was asked for.
    pub fn kind(&self) -> String {
        let resource = self.0[2].trim_start_matches("/puppet-ca/v1/").split('/').next().unwrap();
        format!("{} {resource} {}", self.0[1], self.0[3]).trim_end().to_owned()
    }

    /// The name that it is about.
    pub fn name(&self) -> &str {
        self.0[2].rsplit('/').next().unwrap()
    }

    pub fn connection(&self) -> &str {
        &self.0[4]
    }
}
