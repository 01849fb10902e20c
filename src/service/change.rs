//! A change of one node, from its lock to its outcome: open, audited, intend, run, conclude.
//!
//! Each step is a value that only the step before it gives. So nothing is run whose intent is not in the ledger, no
//! intent is recorded whose attempt is not in the audit, and nothing is attempted without the node's lock.

use std::fs::File;

use super::context::Context;
use crate::authority::AuthorityError;
use crate::authority::protocol::{Answer, Verb};
use crate::console::{ConsoleError, Intent, Permit, Verdict};
use crate::ledger::{CertificateState, Entry, Key, Ledger, NodeState};
use crate::model::fault::Fault;
use crate::model::name::NodeName;
use crate::model::node::Node;
use crate::system::lock::Lock;

/// A name that this request alone works on.
#[derive(Debug)]
pub(crate) struct Locked<'c> {
    /// The request's context.
    pub context: &'c mut Context,
    /// The ledger.
    pub ledger: Ledger,
    /// The name.
    pub name: NodeName,
    _lock: Lock,
}

/// A node of ours that this request alone works on, with what the ledger says of it; nothing of it is unfinished
/// that its request needs finished.
#[derive(Debug)]
pub(crate) struct LockedNode<'c> {
    /// Its lock.
    pub locked: Locked<'c>,
    /// Its row in the ledger.
    pub entry: Entry,
}

impl<'c> Locked<'c> {
    /// Waits for the lock of a name.
    /// 503 when another request works on it for too long, or too many wait.
    pub(crate) fn acquire(context: &'c mut Context, ledger: Ledger, name: &NodeName) -> Result<Self, Fault> {
        let lock = context.wait("another request works on this node; try again", || ledger.try_lock(name))?;
        Ok(Self { context, ledger, name: name.clone(), _lock: lock })
    }

    /// Waits until the command of an unfinished intent has ended, and reads what it printed.
    /// 503 when it still runs.
    pub(crate) fn output(&self, entry: &Entry) -> Result<String, Fault> {
        let Some(name) = &entry.output else { return Ok(String::new()) };
        let busy = "an earlier command for this node still runs; try again";
        self.context.wait(busy, || self.ledger.try_read_output(name))
    }

    /// Waits for a permit to change the console.
    /// 503 when too many wait, or for too long; nothing was written then.
    pub(crate) fn permit(&self) -> Result<Permit, Fault> {
        Ok(self.context.console.permit(self.context.until)?)
    }

    /// Writes into the audit that a change is attempted.
    /// 503 when that cannot be written and must be.
    pub(crate) fn audited(&mut self) -> Result<Audited<'_, 'c>, Fault> {
        self.context.audit.attempt()?;
        Ok(Audited { locked: self })
    }
}

/// A name whose change is in the audit.
#[derive(Debug)]
pub(crate) struct Audited<'l, 'c> {
    /// Its lock.
    pub locked: &'l mut Locked<'c>,
}

impl<'c> Audited<'_, 'c> {
    /// Records what is about to be done, durably; of an addition with the key that the request came with.
    /// 503 when it cannot be recorded, 422 when another request has the key.
    pub(crate) fn intend(
        &mut self,
        permit: Permit,
        intent: Intent,
        key: Option<&Key<'_>>,
    ) -> Result<Intended<'_, 'c>, Fault> {
        let ledger = &self.locked.ledger;
        let (name, output) = ledger.new_output(intent.head())?;
        match &intent {
            Intent::Add { node } => ledger.intend_to_add(node, &name, key)?,
            Intent::Change { node, .. } => {
                ledger.intend(&node.name, NodeState::Changing, Some(&node.assignment), &name)?;
            }
            Intent::Delete { node } => ledger.intend(&node.name, NodeState::Deleting, None, &name)?,
        }
        Ok(Intended { locked: self.locked, permit, intent, output })
    }

    /// Records that a certificate is about to be generated or revoked, and has it done.
    pub(crate) fn ask(&mut self, verb: Verb) -> Result<Result<Answer, AuthorityError>, Fault> {
        let Locked { context, ledger, name, .. } = &mut *self.locked;
        match verb {
            Verb::Generate => ledger.certificate(name, CertificateState::Generating, None)?,
            Verb::Revoke => ledger.certificate(name, CertificateState::Revoking, None)?,
            Verb::Show | Verb::Check => {}
        }
        Ok(context.authority.ask(verb, name, context.until))
    }
}

/// A change that the ledger knows of.
#[derive(Debug)]
pub(crate) struct Intended<'l, 'c> {
    locked: &'l mut Locked<'c>,
    permit: Permit,
    intent: Intent,
    output: File,
}

impl<'l, 'c> Intended<'l, 'c> {
    /// Makes the change.
    #[must_use]
    pub(crate) fn run(self) -> Ran<'l, 'c> {
        let context = &self.locked.context;
        let verdict = context.console.run(&self.intent, self.permit, &self.output, context.until);
        Ran { locked: self.locked, intent: self.intent, verdict }
    }
}

/// A change whose command has ended, or that can be waited for no longer.
#[derive(Debug)]
pub(crate) struct Ran<'l, 'c> {
    locked: &'l mut Locked<'c>,
    intent: Intent,
    verdict: Result<Verdict, ConsoleError>,
}

impl Ran<'_, '_> {
    /// Records a change that is done, or that was not even begun: an addition is forgotten then, any other node is
    /// again what it was before, if that is given. What else came of it is the caller's to judge; the intent stays.
    pub(crate) fn conclude(self, before: Option<&Node>) -> Result<Verdict, Fault> {
        let ledger = &self.locked.ledger;
        let error = match self.verdict {
            Ok(verdict) => {
                match (&verdict, &self.intent) {
                    (Verdict::Done, Intent::Add { node } | Intent::Change { node, .. }) => ledger.settle(node)?,
                    (Verdict::Done, Intent::Delete { node }) => ledger.forget(&node.name)?,
                    _ => {}
                }
                return Ok(verdict);
            }
            Err(error) => error,
        };
        if error.nothing_was_run() {
            match (&self.intent, before) {
                (Intent::Add { node }, _) => ledger.forget(&node.name)?,
                (Intent::Change { .. } | Intent::Delete { .. }, Some(before)) => ledger.settle(before)?,
                (Intent::Change { .. } | Intent::Delete { .. }, None) => {}
            }
        }
        Err(error.into())
    }
}
