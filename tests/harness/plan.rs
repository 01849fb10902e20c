//! The site that a test wants.

use super::worker::Temperature;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Server {
    Nginx,
    Apache,
    ApacheCgi,
}

impl Server {
    pub fn chosen() -> Self {
        match std::env::var("ESPM_TEST_SERVER").as_deref() {
            Ok("apache") => Self::Apache,
            Ok("apache-cgi") => Self::ApacheCgi,
            Ok("nginx") | Err(_) => Self::Nginx,
            Ok(other) => panic!("ESPM_TEST_SERVER: want nginx, apache or apache-cgi, found {other:?}"),
        }
    }

    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Nginx => "nginx",
            Self::Apache => "apache",
            Self::ApacheCgi => "apache-cgi",
        }
    }
}

/// What a test wants to be different from the usual site.
#[derive(Debug, Clone)]
pub struct Plan {
    pub release: &'static str,
    pub authority: &'static str,
    /// Lines for sections of espm.ini.
    pub ini: Vec<(&'static str, &'static str)>,
    pub setup: Vec<&'static str>,
    pub server: Server,
    /// Whether the web server limits how often one asks, as its vhost says.
    pub limited: bool,
    /// Whether a worker serves the console.
    pub console: Temperature,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            release: "1.2.8",
            authority: "puppet-cert",
            ini: vec![],
            setup: vec![],
            server: Server::chosen(),
            limited: false,
            console: Temperature::chosen(),
        }
    }
}
