//! `espm publish`: publishes nodes anew after a change of the catalogue.

use std::io::{self, IsTerminal, Write as _};
use std::path::Path;

use super::{Failure, OPERATOR, as_operator, failure};
use crate::audit;
use crate::config::Config;
use crate::ledger::Ledger;
use crate::model::fault::Fault;
use crate::model::name::NodeName;
use crate::service::publish::{self, Observer, Tally};
use crate::system::text;

/// Most nodes that are named; of many one cause is likely.
const MOST: usize = 20;

/// Tells a human at the terminal how far it is, and everybody what went wrong.
struct Watcher {
    terminal: bool,
    all: usize,
    named: usize,
}

impl Observer for Watcher {
    fn seen(&mut self, tally: &Tally) {
        if self.terminal {
            let Tally { all, anew, .. } = tally;
            let _ = write!(io::stderr(), "\r\x1b[K{all} of {}, {anew} published anew", self.all);
        }
    }

    fn failed(&mut self, name: &NodeName, fault: &Fault) {
        self.named += 1;
        if self.named <= MOST {
            self.wipe();
            let why = fault.for_log();
            let why = if why.is_empty() { fault.detail.as_ref() } else { &why };
            audit::complain(&format!("{name} is not published: {why}"));
        }
    }
}

impl Watcher {
    fn wipe(&self) {
        if self.terminal {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}

/// Publishes what differs, and says what it did.
pub(super) fn main(config: &Config, path: &Path) -> Result<(), Failure> {
    let all = Ledger::open(&config.state, OPERATOR)?.count()?;
    let mut watcher = Watcher { terminal: io::stderr().is_terminal(), all, named: 0 };
    let mut tally = Tally::default();
    let published = as_operator(config, path, "operator.publish", None, |context| {
        tally = publish::publish(context, &mut watcher)?;
        Ok(())
    });
    watcher.wipe();
    published?;
    let nodes = text::count(tally.all, "node", "nodes");
    println!("{nodes}: {} published anew", tally.anew);
    let mut left = Vec::new();
    if tally.unfinished > 0 {
        left.push(format!("{} unfinished; 'espm nodes --unfinished' lists them", tally.unfinished));
    }
    if tally.failed > 0 {
        left.push(format!(
            "{} not published; see above, or 'espm forget NAME' if a human wrote the file",
            tally.failed
        ));
    }
    if left.is_empty() { Ok(()) } else { failure(left.join(", ")) }
}
