//! Death and doubt: whatever dies wherever, a node is done or undone, and a human's node stays as it is.

mod chaos;
mod environment;
mod leftovers;
mod power_loss;
mod rollback;
mod system_calls;
mod unexpected_output;
mod verbs;

/// Behind each web server (tests/run).
mod every_server {
    /// With a cold console and with a warm one.
    mod every_console {
        mod handler_killed;
    }
}

/// With a cold console and with a warm one (tests/run).
mod every_console {
    mod interruptions;
    mod rake_killed;
}
