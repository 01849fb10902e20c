//! What espm can be asked to do: the whole of it.

use crate::model::name::NodeName;
use crate::model::node::List;

/// The body of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// All of it.
    Whole(Vec<u8>),
    /// It is longer than the limit; it was not read to its end.
    TooLarge,
    /// Fewer bytes arrived than `Content-Length` says.
    Truncated,
}

/// A body that is read only once it is known that the node may be worked on.
#[derive(Debug)]
pub struct Unread {
    /// `Content-Type`
    pub content_type: Option<String>,
    /// The bytes.
    pub body: Body,
}

/// How a list is asked for.
#[derive(Debug, Default)]
pub struct Conditions {
    /// Ask the console anew.
    pub fresh: bool,
    /// `If-None-Match`
    pub if_none_match: Option<String>,
}

/// One operation.
#[derive(Debug)]
pub enum Operation {
    /// The OpenAPI description of the interface.
    Describe,
    /// The console's classes or groups.
    ListNames(List, Conditions),
    /// A new node; with an `Idempotency-Key`, if there is one.
    AddNode(Unread, Option<String>),
    /// A node as espm assigned it.
    ShowNode(NodeName),
    /// Another assignment.
    ChangeNode(NodeName, Unread),
    /// A node's end.
    DeleteNode(NodeName),
    /// A certificate for a node.
    GenerateCertificate(NodeName),
    /// A node's certificate, without its key.
    ShowCertificate(NodeName),
    /// A certificate's end.
    RevokeCertificate(NodeName),
}

impl Operation {
    /// The name of the operation in the audit.
    pub fn event(&self) -> &'static str {
        match self {
            Self::Describe => "openapi.show",
            Self::ListNames(List::Classes, _) => "class.list",
            Self::ListNames(List::Groups, _) => "group.list",
            Self::AddNode(..) => "node.add",
            Self::ShowNode(_) => "node.show",
            Self::ChangeNode(..) => "node.change",
            Self::DeleteNode(_) => "node.delete",
            Self::GenerateCertificate(_) => "certificate.generate",
            Self::ShowCertificate(_) => "certificate.show",
            Self::RevokeCertificate(_) => "certificate.revoke",
        }
    }

    /// Whether it changes the console, the CA or the ledger.
    pub fn changes(&self) -> bool {
        !matches!(self, Self::Describe | Self::ListNames(..) | Self::ShowNode(_) | Self::ShowCertificate(_))
    }

    /// The node that the path names.
    pub fn node(&self) -> Option<&NodeName> {
        match self {
            Self::Describe | Self::ListNames(..) | Self::AddNode(..) => None,
            Self::ShowNode(name)
            | Self::ChangeNode(name, _)
            | Self::DeleteNode(name)
            | Self::GenerateCertificate(name)
            | Self::ShowCertificate(name)
            | Self::RevokeCertificate(name) => Some(name),
        }
    }
}
