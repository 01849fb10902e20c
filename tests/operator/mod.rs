//! The operator's commands: each fault of a site is one line that says what to do.

mod adopt;
mod busy;

/// Behind each web server (tests/run).
mod every_server {
    mod check;
    mod commands;
    mod mistakes;
    mod monitoring;
    mod stopped;
    mod troubleshooting;
    mod users;
}
