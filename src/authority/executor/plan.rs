//! The next step of a revocation, and the judgement of a generation: pure functions from what is known.

use super::Kind;
use super::output::{says_key_saved, says_signed, says_taken};
use super::record::{Record, State};
use super::survey::Survey;
use crate::model::name::NodeName;

/// The next step of a revocation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Next {
    /// None is left, and the name can be freed.
    Done,
    /// Nothing in the record is today's CA's.
    Void,
    /// Have the CA revoke this serial number.
    Revoke(String, By),
    /// The CA cannot revoke this serial number alone.
    Cannot(String),
}

/// How the command is told which certificate to revoke.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum By {
    Name,
    Number,
}

impl Next {
    pub(super) fn of(kind: Kind, record: &Record, survey: &Survey) -> Self {
        let claim = if record.state == State::Revoking { &survey.ours } else { &survey.flawed };
        let Some(serial) = claim.first().cloned() else {
            let void = record.made.iter().all(|made| survey.void.contains(&made.fingerprint));
            return if void { Self::Void } else { Self::Done };
        };
        match kind {
            // It revokes the CA's copy. Without one it takes the name as a regular expression.
            Kind::PuppetCert if survey.copy.as_ref() == Some(&serial) => Self::Revoke(serial, By::Name),
            Kind::PuppetCert => Self::Revoke(serial, By::Number),
            Kind::PuppetserverCa | Kind::PuppetCaApi if survey.by_name && *claim == survey.ours => {
                Self::Revoke(serial, By::Name)
            }
            Kind::PuppetserverCa | Kind::PuppetCaApi => Self::Cannot(serial),
        }
    }
}

/// Whether somebody else's certificate keeps a name from a new one.
pub(super) fn is_blocked(kind: Kind, survey: &Survey) -> bool {
    // A server may revoke all certificates of a name at once.
    !survey.others.is_empty() || (kind != Kind::PuppetCert && !survey.shared.is_empty())
}

/// What is on the disk after a command that was to generate, where the CA has a certificate of the name.
#[derive(Debug, Clone, Copy)]
pub(super) struct Left {
    pub(super) has_key: bool,
    /// The CA's copy has the private key's, or was cut short.
    pub(super) may_fit: bool,
    /// Both were written between the intent and the last moment at which the command can have run.
    pub(super) in_time: bool,
}

impl Left {
    /// Whether that command has made it.
    pub(super) fn is_commands(self, output: &str, name: &NodeName) -> bool {
        // A command that is killed, or a power loss, takes away what it printed. Then the key on the disk tells.
        let unsaid = self.has_key && !says_taken(output) && self.in_time;
        says_signed(output, name) || (self.may_fit && (says_key_saved(output, name) || unsaid))
    }
}
