//! What Debian and Red Hat name differently.

use std::path::Path;

use clap::ValueEnum;

/// Whose names for files, users and services; of each, its descendants' too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum System {
    /// Debian, Ubuntu
    Debian,
    /// Red Hat, its rebuilds, Fedora
    Redhat,
}

impl System {
    /// This machine's.
    pub(super) fn here() -> Self {
        if Path::new("/etc/redhat-release").exists() { Self::Redhat } else { Self::Debian }
    }

    /// The group that nginx runs with.
    pub(super) fn nginx_group(self) -> &'static str {
        match self {
            Self::Debian => "www-data",
            Self::Redhat => "nginx",
        }
    }

    /// The user and the group that Apache runs with.
    pub(super) fn apache_user(self) -> &'static str {
        match self {
            Self::Debian => "www-data",
            Self::Redhat => "apache",
        }
    }

    /// nginx's file for a vhost.
    pub(super) fn nginx_file(self) -> &'static str {
        match self {
            Self::Debian => "/etc/nginx/sites-available/espm",
            Self::Redhat => "/etc/nginx/conf.d/espm.conf",
        }
    }

    /// Apache's file for a vhost, behind which espm is a FastCGI or a CGI program.
    pub(super) fn apache_file(self, cgi: bool) -> &'static str {
        match self {
            Self::Debian if cgi => "/etc/apache2/sites-available/espm-cgi.conf",
            Self::Debian => "/etc/apache2/sites-available/espm.conf",
            Self::Redhat => "/etc/httpd/conf.d/espm.conf",
        }
    }

    /// Apache's directory for logs, in its own configuration's words.
    pub(super) fn apache_logs(self) -> &'static str {
        match self {
            Self::Debian => "${APACHE_LOG_DIR}",
            Self::Redhat => "/var/log/httpd",
        }
    }
}
