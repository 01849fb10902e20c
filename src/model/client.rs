//! A client, its keys and its rights; and who asks for something.

use super::extension::ExtensionPatterns;
use super::name::ClientName;
use super::node::List;
use super::pattern::Patterns;
use super::psk::PskDigest;
use super::words;

words! {
    /// A kind of operation that a client may be allowed.
    May {
        /// It lists classes and groups.
        List = "list",
        /// It adds, shows, changes and deletes nodes; deleting one includes its certificate.
        Nodes = "nodes",
        /// It generates, shows and revokes certificates.
        Certificates = "certificates",
    }
}

/// The rights that the operator gives a client.
#[derive(Debug, Clone)]
pub struct Rights {
    /// Its operations.
    pub may: Vec<May>,
    /// Names of the nodes that it may add.
    pub nodes: Patterns,
    /// Groups that it may assign.
    pub groups: Patterns,
    /// Classes that it may assign.
    pub classes: Patterns,
    /// Environments that it may assign.
    pub environments: Patterns,
    /// Trusted facts that it may ask for.
    pub extensions: ExtensionPatterns,
    /// Nodes that it may have at once.
    pub most: Option<usize>,
}

impl Rights {
    /// The names of a list that it may assign.
    pub fn of(&self, list: List) -> &Patterns {
        match list {
            List::Groups => &self.groups,
            List::Classes => &self.classes,
        }
    }
}

/// A client.
#[derive(Debug, Clone)]
pub struct Client {
    /// Its name, which is in the audit and in the ledger.
    pub name: ClientName,
    /// The digests of its keys.
    pub keys: Vec<PskDigest>,
    /// Its rights.
    pub rights: Rights,
}

/// Who asks for something.
#[derive(Debug, Clone)]
pub enum Caller {
    /// The operator at the shell, who sees every node.
    Operator,
    /// A client, which sees its own nodes alone.
    Client(Box<Client>),
}

impl Caller {
    /// The client, if it is one.
    pub fn client(&self) -> Option<&Client> {
        match self {
            Self::Operator => None,
            Self::Client(client) => Some(client),
        }
    }

    /// Whether a node of this client, or of none, is to be seen.
    pub fn sees(&self, owner: Option<&ClientName>) -> bool {
        self.client().is_none_or(|client| Some(&client.name) == owner)
    }
}
