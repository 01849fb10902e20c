//! The meaning of the server's answers: pure functions from status and text.

use super::client::Reply;

/// The answer to a request for a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Submitted {
    /// It waits, or the site's own autosigning has signed it.
    Stored,
    /// The name has a request or a certificate, which may be this very one.
    Taken,
    Refused,
}

impl Submitted {
    pub(super) fn of(reply: &Reply) -> Self {
        match reply.status {
            200..=299 => Self::Stored,
            // "web01 already has a requested certificate; ignoring certificate request"
            400 if reply.text.contains(" already has a ") => Self::Taken,
            _ => Self::Refused,
        }
    }
}

/// The answer to the order to sign or to revoke.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ordered {
    Done,
    /// The files tell whether it was done before.
    Refused,
}

impl Ordered {
    pub(super) fn of(reply: &Reply) -> Self {
        if (200..=299).contains(&reply.status) { Self::Done } else { Self::Refused }
    }
}

#[cfg(test)]
mod tests {
    use super::{Ordered, Submitted};
    use crate::authority::executor::api::client::Reply;

    #[test]
    fn only_success_is_success_and_only_a_name_that_is_taken_is_looked_at() {
        for (status, text, submitted, ordered) in [
            (200, "", Submitted::Stored, Ordered::Done),
            (204, "", Submitted::Stored, Ordered::Done),
            (302, "", Submitted::Refused, Ordered::Refused),
            (
                400,
                "web01 already has a requested certificate; ignoring certificate request",
                Submitted::Taken,
                Ordered::Refused,
            ),
            (
                400,
                "web01 already has a signed certificate; ignoring certificate request",
                Submitted::Taken,
                Ordered::Refused,
            ),
            (400, "Instance name \"a\" does not match requested key \"b\"", Submitted::Refused, Ordered::Refused),
            (403, "Forbidden request: already has a ", Submitted::Refused, Ordered::Refused),
            (404, "Invalid certificate subject.", Submitted::Refused, Ordered::Refused),
            (
                409,
                "Cannot sign certificate for host web01 without a certificate request",
                Submitted::Refused,
                Ordered::Refused,
            ),
            (500, "", Submitted::Refused, Ordered::Refused),
        ] {
            let reply = Reply { status, text: text.to_owned() };
            assert_eq!((Submitted::of(&reply), Ordered::of(&reply)), (submitted, ordered), "{reply}");
        }
    }
}
