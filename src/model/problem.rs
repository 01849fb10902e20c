//! The kinds of failure that an HTTP answer can tell, each declared once.

/// The declaration of a problem.
struct Row {
    status: u16,
    word: &'static str,
    title: &'static str,
    retry_after: Option<u32>,
    meaning: &'static str,
    client: &'static str,
    operator: &'static str,
}

/// Declares the problems. A row is `/// MEANING`, then `NAME = STATUS, WORD, TITLE, AVERAGE OF Retry-After;` and the
/// advice for the client and for the operator.
macro_rules! problems {
    ($(#[doc = $meaning:literal] $name:ident = $status:literal, $word:literal, $title:literal, $retry_after:expr; $client:literal, $operator:literal)*) => {
        /// The kinds of failure, each a stable problem type (RFC 9457).
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Problem {
            $(#[doc = $meaning] $name,)*
        }

        impl Problem {
            /// All kinds.
            pub const ALL: [Self; [$($status),*].len()] = [$(Self::$name),*];

            const fn row(self) -> Row {
                match self {
                    $(Self::$name => Row {
                        status: $status,
                        word: $word,
                        title: $title,
                        retry_after: $retry_after,
                        meaning: $meaning,
                        client: $client,
                        operator: $operator,
                    },)*
                }
            }
        }
    };
}

problems! {
    /// The web server handed over something that is not an HTTP request.
    BadRequest = 400, "bad-request", "Bad request", None;
        "Correct the request.", ""
    /// The body is not JSON; the detail has line and column.
    BadJson = 400, "bad-json", "The body is not JSON", None;
        "Correct the body.", ""
    /// The key is missing, malformed or wrong.
    Unauthorized = 401, "unauthorized", "A valid key is needed", None;
        "Stop; ask the operator for a key.", "Let fail2ban block an address that often fails."
    /// The request did not come over TLS.
    TlsRequired = 403, "tls-required", "TLS is required", None;
        "Use HTTPS.", "Print the vhost again (espm-setup vhost)."
    /// The client may not do this, or not with the names in errors.
    Forbidden = 403, "forbidden", "Not allowed", None;
        "Leave out what is in errors, or ask the operator.", "Look at the client's section in espm.ini."
    /// The client has as many nodes as it may have; the detail has both numbers.
    Quota = 403, "quota", "Too many nodes", None;
        "Delete a node, or ask the operator.", "Look at 'espm nodes', or raise most in the client's section."
    /// There is nothing at this path, or a node that is not the client's.
    NotFound = 404, "not-found", "Not found", None;
        "Count the node as gone.", ""
    /// The path is known, the method is not; Allow lists the methods.
    MethodNotAllowed = 405, "method-not-allowed", "Method not allowed", None;
        "Correct the request.", ""
    /// A node of this name exists, whosever it is.
    NameTaken = 409, "name-taken", "The name is taken", None;
        "Take another name.", "After a crash, look at 'espm nodes --unfinished'."
    /// The CA has a certificate of this name that espm did not make, or the name is one of the master's.
    CertificateExists = 409, "certificate-exists", "Another certificate of this name exists", None;
        "Take another name.", "Find out whose the files at the CA are."
    /// The certificate is there, its private key is no longer on the master.
    KeyGone = 409, "key-gone", "The private key is gone", None;
        "Revoke the certificate, then ask again.", ""
    /// The certificate was replaced at the CA, or its copy there is gone, and the CA cannot revoke it alone.
    CertificateReplaced = 409, "certificate-replaced", "The certificate was replaced", None;
        "Tell the operator; the certificate is still valid.", "Read the log, which says what to type."
    /// The body is longer than 65,536 bytes.
    TooLarge = 413, "too-large", "The body is too large", None;
        "Shorten the body.", ""
    /// The body's media type is not JSON.
    UnsupportedMediaType = 415, "unsupported-media-type", "The body must be JSON", None;
        "Send application/json.", ""
    /// The body is JSON of the wrong shape or content.
    Invalid = 422, "invalid", "The request is not valid", None;
        "Correct the fields that are in errors.", ""
    /// The Idempotency-Key was used with another body.
    KeyReused = 422, "idempotency-key-reused", "The Idempotency-Key was used before", None;
        "Take a new Idempotency-Key.", ""
    /// espm or its configuration is broken.
    Internal = 500, "internal", "Internal error", None;
        "Tell the operator.", "Run 'espm check'; read the log."
    /// A command of the console or of the CA failed; the next request for the node finishes or undoes its change.
    CommandFailed = 502, "command-failed", "A command of the master failed", None;
        "Send the same request again later.", "Read the log; run the command by hand."
    /// Too many requests wait, or another request works on this node.
    Busy = 503, "busy", "Busy", Some(5);
        "Wait for Retry-After, then send the same request again.", "If it lasts, raise queue or concurrency."
    /// The audit, the ledger or the disk cannot be used, or espm does not run.
    Unavailable = 503, "unavailable", "Unavailable", Some(30);
        "Wait for Retry-After, then send the same request again.", "Run 'espm check'; start espm."
    /// A command ran past its time limit; its effect is not known yet.
    TimedOut = 504, "timed-out", "A command took too long", None;
        "Send the same request again.", "Find out why the command is slow, or raise timeout."
}

impl Problem {
    /// The status code.
    pub const fn status(self) -> u16 {
        self.row().status
    }

    /// The last part of the problem type; also the outcome in the audit.
    pub const fn word(self) -> &'static str {
        self.row().word
    }

    /// The title.
    pub const fn title(self) -> &'static str {
        self.row().title
    }

    /// Seconds for `Retry-After`, on average.
    pub const fn retry_after(self) -> Option<u32> {
        self.row().retry_after
    }

    /// The event, in one sentence.
    pub fn meaning(self) -> &'static str {
        self.row().meaning.trim_start()
    }

    /// Advice for the client and for the operator; the second is empty where there is nothing to do.
    pub const fn advice(self) -> (&'static str, &'static str) {
        let row = self.row();
        (row.client, row.operator)
    }

    /// The problem type, a stable URN.
    pub fn urn(self) -> String {
        format!("urn:espm:problem:{}", self.word())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::Problem;

    /// Everything in the description of the interface that is a problem.
    fn examples<'a>(value: &'a Value, found: &mut Vec<&'a Value>) {
        if value["type"].is_string() && value["title"].is_string() && value["status"].is_number() {
            found.push(value);
        }
        value.as_object().into_iter().flatten().for_each(|(_, value)| examples(value, found));
    }

    #[test]
    fn description_of_the_interface_has_these_problems_and_the_web_servers_one() {
        let description: Value = serde_json::from_str(include_str!("../http/openapi.json")).unwrap();
        let mut urns: Vec<_> = Problem::ALL.iter().map(|problem| problem.urn()).collect();
        let before = Problem::ALL.iter().position(|problem| *problem == Problem::Internal).unwrap();
        urns.insert(before, "urn:espm:problem:rate-limited".into());
        assert_eq!(description["components"]["schemas"]["Problem"]["properties"]["type"]["enum"], Value::from(urns));
        let mut found = Vec::new();
        examples(&description["components"]["responses"], &mut found);
        assert!(found.len() > Problem::ALL.len() / 2, "{found:?}");
        for example in found.iter().filter(|example| example["status"] != 429) {
            let problem = Problem::ALL.iter().find(|problem| example["type"] == problem.urn()).unwrap();
            assert_eq!(
                (example["title"].as_str(), &example["status"]),
                (Some(problem.title()), &problem.status().into())
            );
        }
    }

    #[test]
    fn problem_types_are_unique_and_statuses_are_errors() {
        let mut words: Vec<_> = Problem::ALL.iter().map(|p| p.word()).collect();
        words.sort_unstable();
        words.dedup();
        assert_eq!(words.len(), Problem::ALL.len());
        assert!(Problem::ALL.iter().all(|p| (400..600).contains(&p.status())));
        assert!(Problem::NameTaken.retry_after().is_none());
        assert!(Problem::ALL.iter().all(|p| p.meaning().ends_with('.') && p.advice().0.ends_with('.')));
    }
}
