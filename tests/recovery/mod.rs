//! Recovery: whatever dies, hangs or fails, and wherever, a request is done or undone, a human's node stays
//! as it is, and what is neither is shown to the operator.

mod chaos;
mod environment;
mod leftovers;
mod power_loss;
mod proofs;
mod rake_stops;
mod rollback;
mod system_calls;
mod unexpected_output;

/// Behind each web server (tests/run).
mod every_server {
    /// With a cold console and with a warm one.
    mod every_console {
        mod handler_killed;
    }
}

/// With a cold console and with a warm one (tests/run).
mod every_console {
    mod database_gives_up;
    mod interruptions;
    mod rake_killed;
}
