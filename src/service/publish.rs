//! The publishing of all nodes after a change of the catalogue.
//!
//! Only what differs is written. A node is published under its lock and only while no intent of it is open, so that its
//! row stays as it is: whenever this dies, its file is an earlier one of espm's or the new one.

use super::context::Context;
use crate::console::publisher::Publisher;
use crate::ledger::{Entry, Ledger, NodeState};
use crate::model::fault::Fault;
use crate::model::name::NodeName;
use crate::model::problem::Problem;

/// Nodes that are read at once; the ledger is free between.
const PAGE: u32 = 1000;

/// Nodes that are locked and written at once, with one sync for all of them. A request for one of them waits meanwhile,
/// and each lock is an open file.
const BATCH: usize = 200;

/// The numbers of nodes by their result.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tally {
    pub all: usize,
    pub anew: usize,
    /// Nodes with an unfinished change, or that may not be espm's.
    pub unfinished: usize,
    pub failed: usize,
}

/// Hears how far a run is.
pub(crate) trait Observer {
    fn seen(&mut self, tally: &Tally);
    fn failed(&mut self, name: &NodeName, fault: &Fault);
}

/// A run over all nodes.
struct Run<'a> {
    context: &'a Context,
    ledger: &'a Ledger,
    publisher: Publisher,
    tally: Tally,
    observer: &'a mut dyn Observer,
}

/// Publishes every node whose file is not what the catalogue makes of it.
pub(crate) fn publish(context: &mut Context, observer: &mut dyn Observer) -> Result<Tally, Fault> {
    let ledger = context.ledger()?;
    let mut anew = 0;
    loop {
        let Some(publisher) = context.console.publisher() else {
            let detail = "nothing is published here: [console] kind is not enc";
            return Err(Fault::new(Problem::NotFound, detail));
        };
        let tally = Tally { anew, ..Tally::default() };
        let mut run = Run { context, ledger: &ledger, publisher: publisher?, tally, observer };
        run.all()?;
        let Run { publisher, tally, .. } = run;
        anew = tally.anew;
        // It may have been changed again meanwhile.
        if publisher.is_current()? {
            context.audit.published(anew);
            return Ok(tally);
        }
    }
}

impl Run<'_> {
    fn all(&mut self) -> Result<(), Fault> {
        let before = self.tally.anew;
        let (mut batch, mut busy) = (Vec::new(), Vec::new());
        let mut page = self.ledger.page(None, PAGE)?;
        while let Some(last) = page.last().map(|entry| entry.node.name.clone()) {
            for entry in &page {
                batch.extend(self.is_outdated(entry).then(|| entry.node.name.clone()));
                if batch.len() == BATCH {
                    busy.extend(self.batch(std::mem::take(&mut batch), false)?);
                }
            }
            self.observer.seen(&self.tally);
            page = self.ledger.page(Some(&last), PAGE)?;
        }
        busy.extend(self.batch(batch, false)?);
        for name in busy {
            self.batch(vec![name], true)?;
        }
        if self.tally.anew > before {
            self.publisher.finish()?;
        }
        Ok(())
    }

    fn is_outdated(&mut self, entry: &Entry) -> bool {
        self.tally.all += 1;
        if entry.state != NodeState::Active {
            self.tally.unfinished += 1;
            return false;
        }
        match self.publisher.anew(&entry.node) {
            Ok(anew) => anew.is_some(),
            Err(error) => {
                self.failed(&entry.node.name, &error.into());
                false
            }
        }
    }

    fn failed(&mut self, name: &NodeName, fault: &Fault) {
        self.tally.failed += 1;
        self.observer.failed(name, fault);
    }

    /// Publishes nodes as their rows are now. Those on which a request works are waited for, or returned.
    fn batch(&mut self, names: Vec<NodeName>, waits: bool) -> Result<Vec<NodeName>, Fault> {
        if !names.is_empty() {
            self.context.audit.attempt()?;
        }
        let (mut locks, mut nodes, mut busy) = (Vec::new(), Vec::new(), Vec::new());
        for name in names {
            let lock = if waits {
                let what = "another request works on this node; try again";
                self.context.wait(what, || self.ledger.try_lock(&name)).map(Some)
            } else {
                self.ledger.try_lock(&name).map_err(Fault::from)
            };
            match lock {
                Ok(Some(lock)) => locks.push(lock),
                Ok(None) => {
                    busy.push(name);
                    continue;
                }
                Err(fault) => {
                    self.failed(&name, &fault);
                    continue;
                }
            }
            let entry = self.ledger.entry(&name)?.filter(|entry| entry.state == NodeState::Active);
            match entry.map_or(Ok(None), |entry| self.publisher.anew(&entry.node)) {
                Ok(anew) => nodes.extend(anew),
                Err(error) => self.failed(&name, &error.into()),
            }
        }
        if !nodes.is_empty() {
            for (node, published) in nodes.iter().zip(self.publisher.publish(&nodes)?) {
                match published {
                    Ok(()) => self.tally.anew += 1,
                    Err(error) => self.failed(&node.name, &error.into()),
                }
            }
        }
        Ok(busy)
    }
}
