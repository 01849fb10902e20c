//! The operator's commands: each fault of a site is one line that says what to do.

mod adopt;
/// Behind each web server (tests/run).
mod every_server {
    mod check;
    mod commands;
    mod monitoring;
    mod troubleshooting;
    mod users;
}
