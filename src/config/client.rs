//! A client: its name and its key.

use crate::model::psk::PskDigest;

/// A key's name, which is the client's name in the audit, and its digest.
#[derive(Debug, Clone)]
pub struct Client {
    /// The name.
    pub name: String,
    /// The digest of the key.
    pub digest: PskDigest,
}
