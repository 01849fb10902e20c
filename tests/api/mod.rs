//! The HTTP interface: nodes, lists, retries, the description, the audit, the client.

mod published_nodes;
mod published_values;

/// Behind each web server (tests/run).
mod every_server {
    mod audit;
    mod client;
    mod clients;
    mod openapi;
    mod schemathesis;

    /// With a cold console and with a warm one (tests/run).
    mod every_console {
        mod idempotency_keys;
        mod lists;
        mod nodes;
    }
}
