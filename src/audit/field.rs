//! The fields of a record, and the words of its notes.

use crate::model::words;

words! {
    /// A field of a record.
    Field {
        /// The operation.
        Event = "event",
        /// How it ended, or that it is attempted.
        Outcome = "outcome",
        /// The HTTP status; `-` in an attempt.
        Status = "status",
        /// The answer's `X-Request-Id`.
        Request = "request",
        /// The client's name; `-` if no key was right.
        Client = "client",
        /// The first eight digits of the digest of the client's key.
        Key = "key",
        /// The client's address.
        Addr = "addr",
        /// The node.
        Node = "node",
        /// The client that the operator gives the node to.
        To = "to",
        /// The groups that are assigned.
        Groups = "groups",
        /// The classes that are assigned.
        Classes = "classes",
        /// The names of the parameters that are set.
        Parameters = "parameters",
        /// The environment that is assigned.
        Environment = "environment",
        /// The names of the parameters of classes that are set.
        ClassParameters = "class_parameters",
        /// The names of the trusted facts that a certificate is asked for with.
        Extensions = "extensions",
        /// `yes` where the client has sent its own request for a certificate.
        Csr = "csr",
        /// Assigned names that the console no longer has.
        Lost = "lost",
        /// The number of nodes that were published anew.
        Published = "published",
        /// A [`Note`] for a human.
        Note = "note",
        /// `cold` where rake was started although a worker is configured.
        Console = "console",
        /// Why the request failed; in a record of its own.
        Cause = "cause",
        /// Milliseconds that the request took.
        TookMs = "took_ms",
    }
}

words! {
    /// What a human should know of a request.
    Note {
        /// An unfinished change of an earlier request was finished or undone.
        Recovered = "recovered",
        /// It cannot be proven that the node is espm's.
        Unproven = "unproven",
        /// The console has the node no more.
        MissingInConsole = "missing-in-console",
        /// The name of a node that was rebuilt is somebody else's now.
        TakenByAnother = "taken-by-another",
        /// The CA has a certificate of the name that espm did not have made; it was left.
        ForeignCertificateLeft = "foreign-certificate-left",
        /// The record is of another CA, or of one that was restored from a backup; nothing was revoked for it.
        CertificateVoid = "certificate-void",
        /// The node was deleted and added again: its reports, and what a human has set for it, are gone.
        Rebuilt = "rebuilt",
        /// A master up to Puppet 5 reads the revocation list when it starts, and refuses the certificate from then on.
        RestartMaster = "restart-master",
    }
}
