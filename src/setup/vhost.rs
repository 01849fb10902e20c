//! The web servers' vhosts, with the paths of a configuration.

use std::path::Path;

use clap::ValueEnum;

use crate::config::{Config, DEFAULT_PATH};

/// Seconds that a web server waits longer than a request may take.
const MARGIN: u64 = 15;

/// Which vhost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Kind {
    /// nginx, FastCGI
    Nginx,
    /// Apache, FastCGI (`mod_proxy_fcgi`)
    Apache,
    /// Apache, CGI (`mod_cgid`)
    ApacheCgi,
}

impl Kind {
    fn template(self) -> &'static str {
        match self {
            Self::Nginx => include_str!("../../conf/nginx/espm.conf"),
            Self::Apache => include_str!("../../conf/apache/espm.conf"),
            Self::ApacheCgi => include_str!("../../conf/apache/espm-cgi.conf"),
        }
    }

    /// The vhost's text.
    pub(super) fn text(self, config: &Config, path: &Path) -> String {
        let timeout = config.request_timeout.as_secs() + MARGIN;
        [
            ("/opt/espm/etc/certs/espm.pem", config.tls.certificate.display().to_string()),
            ("/opt/espm/etc/certs/espm.key", config.tls.key.display().to_string()),
            ("/run/espm/espm.sock", config.listen.display().to_string()),
            (DEFAULT_PATH, path.display().to_string()),
            ("8443", config.tls.port.to_string()),
            ("315", timeout.to_string()),
        ]
        .iter()
        .fold(self.template().to_owned(), |text, (default, actual)| text.replace(default, actual))
    }
}

/// What to type next.
pub(super) fn how_to_enable(ini: &Path) -> String {
    let ini = ini.display();
    format!(
        "Check it:  espm -c {ini} check\n\
         nginx:     espm-setup vhost nginx --config {ini} >/etc/nginx/sites-available/espm\n\
         {pad}ln -s ../sites-available/espm /etc/nginx/sites-enabled/espm\n\
         {pad}nginx -t && systemctl reload nginx\n\
         Apache:    espm-setup vhost apache --config {ini} >/etc/apache2/sites-available/espm.conf\n\
         {pad}a2enmod ssl proxy proxy_fcgi headers reqtimeout alias && a2ensite espm\n\
         {pad}apachectl configtest && systemctl reload apache2",
        pad = "           ",
    )
}
