//! Names of files, users and services on Debian and on Red Hat.

use std::path::Path;

use clap::ValueEnum;

/// A family of distributions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum System {
    /// Debian, Ubuntu
    Debian,
    /// Red Hat, its rebuilds, Fedora
    Redhat,
}

/// The names.
pub(super) struct Names {
    /// Group that nginx runs with.
    pub(super) nginx_group: &'static str,
    /// User and group that Apache runs with.
    pub(super) apache_user: &'static str,
    /// Apache's service.
    pub(super) apache_service: &'static str,
    /// Apache's directory for logs, in its own configuration's words.
    pub(super) apache_logs: &'static str,
    /// nginx's file for the vhost.
    pub(super) nginx_file: &'static str,
    /// Apache's file for the vhost with FastCGI.
    pub(super) apache_file: &'static str,
    /// Apache's file for the vhost with CGI.
    pub(super) apache_cgi_file: &'static str,
}

impl System {
    /// This machine's.
    pub(super) fn here() -> Self {
        if Path::new("/etc/redhat-release").exists() { Self::Redhat } else { Self::Debian }
    }

    pub(super) fn names(self) -> &'static Names {
        match self {
            Self::Debian => &Names {
                nginx_group: "www-data",
                apache_user: "www-data",
                apache_service: "apache2",
                apache_logs: "${APACHE_LOG_DIR}",
                nginx_file: "/etc/nginx/sites-available/espm",
                apache_file: "/etc/apache2/sites-available/espm.conf",
                apache_cgi_file: "/etc/apache2/sites-available/espm-cgi.conf",
            },
            Self::Redhat => &Names {
                nginx_group: "nginx",
                apache_user: "apache",
                apache_service: "httpd",
                apache_logs: "/var/log/httpd",
                nginx_file: "/etc/nginx/conf.d/espm.conf",
                apache_file: "/etc/httpd/conf.d/espm.conf",
                apache_cgi_file: "/etc/httpd/conf.d/espm.conf",
            },
        }
    }
}
