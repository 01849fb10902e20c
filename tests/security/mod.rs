//! What an attacker must not do, learn or cause.

mod modsecurity;
mod opened_files;
mod privilege;
mod redaction;

/// Behind each web server (tests/run).
mod every_server {
    mod hostile_requests;
    mod least_privilege;
    mod rate_limits;
    mod secrets;
    mod timing;
}
