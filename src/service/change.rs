//! A change of one node: open, audited, intend, run, conclude.
//!
//! Each step is a value that only the step before it returns. So no command runs before its intent is in the ledger,
//! no intent is recorded before its attempt is audited, and nothing is attempted without the node's lock.

use std::fs::File;

use super::context::Context;
use super::judgement::Reason;
use super::rights;
use crate::audit::Note;
use crate::authority::AuthorityError;
use crate::authority::protocol::{Answer, Asked, Verb};
use crate::console::{ConsoleError, Intent, Permit, Verdict, Way};
use crate::ledger::{CertificateState, Entry, Key, Ledger, NodeState};
use crate::model::fault::Fault;
use crate::model::name::NodeName;
use crate::model::node::Node;
use crate::system::lock::Lock;

/// A name that this request alone works on.
#[derive(Debug)]
pub(crate) struct LockedName<'c> {
    pub context: &'c mut Context,
    pub ledger: Ledger,
    pub name: NodeName,
    _lock: Lock,
}

/// A node of espm's that this request alone works on, its earlier changes settled.
#[derive(Debug)]
pub(crate) struct LockedNode<'c> {
    pub locked: LockedName<'c>,
    pub entry: Entry,
}

impl<'c> LockedName<'c> {
    /// Waits for the lock of a name; 503 when that takes too long.
    pub(crate) fn acquire(context: &'c mut Context, ledger: Ledger, name: &NodeName) -> Result<Self, Fault> {
        let lock = context.wait("another request works on this node; try again", || ledger.try_lock(name))?;
        Ok(Self { context, ledger, name: name.clone(), _lock: lock })
    }

    /// The same for a name that is to be added; at once `None` where the ledger has it as another's.
    pub(crate) fn acquire_unless_anothers(
        context: &'c mut Context,
        ledger: Ledger,
        name: &NodeName,
    ) -> Result<Option<Self>, Fault> {
        let mut failed = None;
        let lock = context.wait("another request works on this node; try again", || {
            match ledger.is_anothers(name, &context.caller) {
                Ok(false) => Ok(ledger.try_lock(name)?.map(Some)),
                Ok(true) => Ok(Some(None)),
                Err(error) => {
                    failed = Some(error);
                    Ok(Some(None))
                }
            }
        })?;
        match (failed, lock) {
            (Some(error), _) => Err(error.into()),
            (None, lock) => Ok(lock.map(|lock| Self { context, ledger, name: name.clone(), _lock: lock })),
        }
    }

    /// Reads the output of an unfinished intent's command; 503 while it still runs.
    pub(crate) fn output(&self, entry: &Entry) -> Result<String, Fault> {
        let Some(name) = &entry.output else { return Ok(String::new()) };
        let busy = "an earlier command for this node still runs; try again";
        self.context.wait(busy, || self.ledger.try_read_output(name))
    }

    /// Waits for a permit to change the console; 503 when that takes too long.
    pub(crate) fn permit(&self) -> Result<Permit, Fault> {
        Ok(self.context.console.permit(self.context.until)?)
    }

    /// Audits the attempt; 503 when the record must be written and cannot be.
    pub(crate) fn audited(&mut self) -> Result<Audited<'_, 'c>, Fault> {
        self.context.audit.attempt()?;
        Ok(Audited { locked: self })
    }
}

/// A locked name whose attempted change is in the audit.
#[derive(Debug)]
pub(crate) struct Audited<'l, 'c> {
    pub locked: &'l mut LockedName<'c>,
}

impl<'c> Audited<'_, 'c> {
    /// Records the intent durably; 422 when another request has the idempotency key.
    pub(crate) fn intend(
        &mut self,
        permit: Permit,
        intent: Intent,
        key: Option<&Key<'_>>,
    ) -> Result<Intended<'_, 'c>, Fault> {
        if let Intent::Change { way: Way::Rebuild | Way::AddAgain, .. } = &intent {
            self.locked.context.audit.note_if_none(Note::Rebuilt);
        }
        let ledger = &self.locked.ledger;
        let (name, output) = ledger.new_output(&self.locked.context.console.head(&intent)?)?;
        match &intent {
            Intent::Add { node } => {
                let Some(client) = self.locked.context.caller.client() else { return Err(Fault::not_found()) };
                ledger.intend_to_add(node, &name, rights::owner(client), key)?;
            }
            Intent::Change { node, .. } => {
                ledger.intend(&node.name, NodeState::Changing, Some(&node.assignment), &name)?;
            }
            Intent::Delete { node } => ledger.intend(&node.name, NodeState::Deleting, None, &name)?,
        }
        Ok(Intended { locked: self.locked, permit, intent, output })
    }

    /// Records the intent to generate a certificate, and asks the CA for it.
    pub(crate) fn generate(&mut self, asked: &Asked) -> Result<Result<Answer, AuthorityError>, Fault> {
        let LockedName { context, ledger, name, .. } = &mut *self.locked;
        ledger.certificate(name, CertificateState::Generating, None)?;
        Ok(context.authority.generate(name, asked, context.until))
    }

    /// Asks the CA for what became of an earlier intent to generate a certificate.
    pub(crate) fn settle_certificate(&self) -> Result<Answer, AuthorityError> {
        let LockedName { context, name, .. } = &*self.locked;
        context.authority.ask(Verb::Settle, name, context.until)
    }

    /// Records the intent to revoke the certificate, and asks the CA for that. Nothing else asks for it.
    pub(crate) fn revoke(&mut self, _: &Reason) -> Result<Result<Answer, AuthorityError>, Fault> {
        let LockedName { context, ledger, name, .. } = &mut *self.locked;
        ledger.certificate(name, CertificateState::Revoking, None)?;
        Ok(context.authority.ask(Verb::Revoke, name, context.until))
    }
}

/// A change whose intent is in the ledger.
#[derive(Debug)]
pub(crate) struct Intended<'l, 'c> {
    locked: &'l mut LockedName<'c>,
    permit: Permit,
    intent: Intent,
    output: File,
}

impl<'l, 'c> Intended<'l, 'c> {
    #[must_use]
    pub(crate) fn run(self) -> Ran<'l, 'c> {
        let context = &self.locked.context;
        let verdict = context.console.run(&self.intent, self.permit, &self.output, context.until);
        Ran { locked: self.locked, intent: self.intent, verdict }
    }
}

/// A change whose command has ended or run out of time.
#[derive(Debug)]
pub(crate) struct Ran<'l, 'c> {
    locked: &'l mut LockedName<'c>,
    intent: Intent,
    verdict: Result<Verdict, ConsoleError>,
}

impl Ran<'_, '_> {
    /// Records a change that is done, or whose command did not start.
    ///
    /// When it did not start, an addition is forgotten; any other node is recorded as `before`, if given. After any
    /// other verdict the intent stays, and the caller decides.
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
