//! A site in memory: a console and a CA that do what they are asked, and espm's own ledger and judgement.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fs::File;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use super::Asked;
use crate::audit::Audit;
use crate::authority::{self, Authority};
use crate::config::Config;
use crate::console::catalogue::Catalogue;
use crate::console::listing::Listing;
use crate::console::published::Published;
use crate::console::{Claim, Console, ConsoleError, Evidence, Found, Intent, Permit, Refusal, Standing, Verdict, Way};
use crate::http::handler::answer;
use crate::http::request::{Body, Method, Request};
use crate::http::response;
use crate::ledger::{self, Ledger, NodeState};
use crate::model::client::Caller;
use crate::model::fault::FieldError;
use crate::model::name::{ClientName, EnvironmentName, NodeName};
use crate::model::node::{Assignment, Change, List, Node};
use crate::model::psk::Psk;
use crate::model::request_id::RequestId;
use crate::service::change::LockedName;
use crate::service::context::Context;
use crate::service::recovery::{self, Purpose};
use crate::system::clock::Deadline;
use crate::system::helper_call::Helper;
use crate::system::lock::Queue;
use crate::system::scratch::scratch;

/// A node that a human made.
pub(super) const HUMANS: &str = "foreign.example.com";

/// Keys of the clients, which are named after them.
const KEYS: [&str; 2] = ["a", "b"];

/// The values that the console takes.
const CATALOGUE: &str = "
[environments]
names = production, staging
[classes]
names = apache
[class ntp]
parameters = panic
[class mysql]
parameters = port
";

/// The CA: a directory with a file for each certificate.
const AUTHORITY: &str = r#"
request=$(cat)
name=${request#*\"name\":\"} && name=$1/${name%%\"*}
issued='"issued":{"certificate":"c","private_key":null,"ca_certificate":"a","serial":"01","fingerprint":"F","not_after":9}'
case $request in
*'"generate"'*) if [ -e "$name" ]; then a='"there",'$issued; else : >"$name"; a='"generated","void":false,'$issued; fi ;;
*'"revoke"'*) if [ -e "$name" ]; then rm "$name"; a='"revoked"'; else a='"absent"'; fi ;;
*) if [ -e "$name" ]; then a='"there",'$issued; else a='"absent"'; fi ;;
esac
echo "{\"answer\":$a}"
"#;

/// A console that has its nodes in memory.
#[derive(Debug, Clone)]
struct Double {
    nodes: Rc<RefCell<BTreeSet<String>>>,
    queue: Rc<Queue>,
}

impl Console for Double {
    fn queue(&self) -> &Queue {
        &self.queue
    }

    fn way(&self, _: &Assignment, _: &Assignment) -> Way {
        Way::InPlace
    }

    fn verdict(&self, _: &Intent, _: Evidence<'_>) -> Verdict {
        Verdict::Unknown("no request dies here".to_owned())
    }

    fn probe(&self, _: Deadline) -> Result<String, ConsoleError> {
        Ok(String::new())
    }

    fn names(&self, list: List, _: bool, _: Deadline) -> Result<Listing, ConsoleError> {
        let names: &[&str] = match list {
            List::Groups => &["default", "databases"],
            List::Classes => &["apache", "mysql", "ntp", "db", "Db"],
        };
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        Ok(Listing::new(list, &names, 0))
    }

    fn judge(
        &self,
        change: &Change,
        before: &Assignment,
        after: &mut Assignment,
        shows: &dyn Fn(&EnvironmentName) -> bool,
    ) -> Result<Vec<FieldError>, ConsoleError> {
        Ok(Catalogue::from_text(CATALOGUE).unwrap().judge(change, before, after, shows))
    }

    fn folds(&self) -> bool {
        true
    }

    fn nodes(&self, _: Deadline) -> Result<Vec<String>, ConsoleError> {
        Ok(self.nodes.borrow().iter().cloned().collect())
    }

    fn outdated(&self, _: &[&Node]) -> Result<Vec<(NodeName, Option<ConsoleError>)>, ConsoleError> {
        Ok(Vec::new())
    }

    fn found(&self, _: &NodeName, _: &[Assignment], _: Deadline) -> Result<Option<Found>, ConsoleError> {
        Ok(None)
    }

    fn may_be_empty(&self) -> bool {
        false
    }

    fn standing(&self, name: &NodeName, until: Deadline) -> Result<Standing, ConsoleError> {
        Standing::among(name, self.nodes(until)?).ok_or(ConsoleError::NoNodes)
    }

    fn claim(&self, _: &NodeName) -> Result<Claim, ConsoleError> {
        Ok(Claim::CommandTells)
    }

    fn permit(&self, until: Deadline) -> Result<Permit, ConsoleError> {
        let none = Path::new("/nonexistent");
        Published::new(none, none, Queue::new(none, "queue", 0, None)).permit(until)
    }

    fn run(&self, intent: &Intent, _: Permit, _: &File, _: Deadline) -> Result<Verdict, ConsoleError> {
        let name = intent.node().name.to_string();
        let mut nodes = self.nodes.borrow_mut();
        Ok(match intent {
            Intent::Add { .. } if !nodes.insert(name) => Verdict::Refused(Refusal::Taken),
            Intent::Change { .. } if !nodes.contains(intent.node().name.as_str()) => Verdict::Refused(Refusal::Missing),
            Intent::Delete { .. } if !nodes.remove(intent.node().name.as_str()) => Verdict::Refused(Refusal::Missing),
            _ => Verdict::Done,
        })
    }
}

/// A request with this key.
pub(super) fn request(key: &str, method: &str, path: &str, body: &str) -> Request {
    Request {
        method: Method::parse(method),
        path: path.to_owned(),
        addr: "-".into(),
        https: true,
        psk: Some(Psk::new(key.to_owned())),
        content_type: Some("application/json".into()),
        if_none_match: None,
        no_cache: false,
        idempotency_key: None,
        body: Body::Whole(body.as_bytes().to_vec()),
    }
}

/// A site with two clients.
pub(super) struct Site {
    config: Config,
    console: Double,
    syslog: UnixDatagram,
    directory: PathBuf,
}

impl Site {
    pub(super) fn open(name: &str, rights: &[String; 2]) -> Self {
        let directory = scratch(&format!("clients-{name}"));
        for part in ["state", "ca"] {
            std::fs::create_dir(directory.join(part)).unwrap();
        }
        ledger::create(&directory.join("state")).unwrap();
        std::fs::write(directory.join("authority"), AUTHORITY).unwrap();
        let client = |(key, rights): (&str, &String)| {
            format!("[client {key}]\nkeys = {}\n{rights}", Psk::new(key.to_owned()).digest())
        };
        let clients: String = KEYS.into_iter().zip(rights).map(client).collect();
        let state = directory.join("state");
        let config = Config::from_text(&format!(
            "[espm]\nstate = {}\nhelper = /h\n{clients}[tls]\ncertificate = /c\nkey = /k\n[console]\nkind = enc\nqueue = 2\n\
             catalogue = /c\npublished = /p\n[authority]\nkind = puppet-cert\ncommand = /puppet cert\nssldir = /s\n\
             cadir = /c\nrecords = /r\nqueue = 2\nmaster = master.example.com\n[audit]\nsocket = {}\n",
            state.display(),
            directory.join("syslog").display()
        ));
        let queue = Rc::new(Queue::new(&state.join("locks"), "console-queue", 4, None));
        let console = Double { nodes: Rc::new(RefCell::new([HUMANS.to_owned()].into())), queue };
        let syslog = UnixDatagram::bind(directory.join("syslog")).unwrap();
        syslog.set_nonblocking(true).unwrap();
        Self { config: config.unwrap(), console, syslog, directory }
    }

    /// The answer to a request, but for its number.
    pub(super) fn ask(&self, asked: &Asked) -> String {
        let request = Request {
            idempotency_key: asked.key.map(str::to_owned),
            ..request(KEYS[asked.client], asked.method, &asked.path, &asked.body)
        };
        self.send(request)
    }

    pub(super) fn send(&self, request: Request) -> String {
        let asked = format!("{request:?}");
        let result = answer(request, &self.config.clients, self.audit(), |audit, caller| self.context(audit, caller));
        // Records that are not read would fill the socket.
        while self.syslog.recv(&mut [0; 2048]).is_ok() {}
        let text = String::from_utf8(response::render(&result, None, false).to_bytes()).unwrap();
        assert!(!text.starts_with("Status: 5"), "{asked}: {text} {:?}", result.err());
        text
    }

    fn audit(&self) -> Audit {
        Audit::begin(self.config.audit.clone(), &RequestId::random().unwrap().to_string(), "-")
    }

    fn context(&self, audit: Audit, caller: Caller) -> Context {
        let id = RequestId::random().unwrap();
        let mut context = Context::new(&self.config, Path::new("/nonexistent"), audit, caller, &id);
        context.console = Box::new(self.console.clone());
        context.authority = self.authority();
        context
    }

    fn authority(&self) -> Authority {
        let at = |name: &str| self.directory.join(name).display().to_string();
        let settings = authority::Settings {
            helper: Helper { argv: vec!["/bin/sh".into(), at("authority"), at("ca")], sudo: "/s".into(), user: None },
            timeout: Duration::from_secs(60),
            places: [1, 4],
            queue_timeout: Duration::from_secs(60),
            kind: self.config.authority.kind,
            has_config: true,
        };
        Authority::new(settings, None, &self.directory.join("state"))
    }

    pub(super) fn config(&self) -> &Config {
        &self.config
    }

    pub(super) fn state(&self) -> PathBuf {
        self.directory.join("state")
    }

    /// The nodes of a client.
    pub(super) fn nodes_of(&self, client: usize) -> BTreeSet<String> {
        let entries = self.ledger().entries(false).unwrap();
        let own =
            entries.into_iter().filter(|entry| entry.client.as_ref().is_some_and(|of| of.as_str() == KEYS[client]));
        own.map(|entry| entry.node.name.to_string()).collect()
    }

    fn ledger(&self) -> Ledger {
        Ledger::open(&self.directory.join("state"), "r").unwrap()
    }

    /// The state of a request that has died in the middle of a deletion.
    pub(super) fn begin_to_delete(&self, name: &str) {
        let ledger = self.ledger();
        let (output, _) = ledger.new_output("").unwrap();
        ledger.intend(&NodeName::parse(name).unwrap(), NodeState::Deleting, None, &output).unwrap();
    }

    /// The state of a node after a client's request has settled it; `None` where that is as before.
    pub(super) fn settles(&self, name: &str, client: usize) -> Option<&'static str> {
        let name = NodeName::parse(name).unwrap();
        let state = || self.ledger().entry(&name).unwrap().unwrap().state;
        let before = state();
        let mut context = self.context(self.audit(), Caller::Client(Box::new(self.config.clients[client].clone())));
        let mut locked = LockedName::acquire(&mut context, self.ledger(), &name).unwrap();
        recovery::settle(&mut locked, Purpose::Keep).unwrap();
        (state() != before).then(|| state().word())
    }

    /// Gives a node to another client.
    pub(super) fn assign(&self, name: &str, client: &str) {
        self.ledger().assign(&NodeName::parse(name).unwrap(), &ClientName::parse(client).unwrap()).unwrap();
    }

    pub(super) fn in_console(&self) -> BTreeSet<String> {
        self.console.nodes.borrow().clone()
    }
}
