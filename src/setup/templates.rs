//! The files of the web server, sudo and systemd, with the paths of a configuration.
//!
//! Each is a file of `conf/` as a package installs it; here a package's paths become those of the
//! configuration and of the programs beside this one.

use std::path::{Path, PathBuf};

use clap::ValueEnum;

use super::distribution::System;
use crate::config::layout::{self, PACKAGED};
use crate::config::{Config, Console};

/// Seconds that a web server waits longer than a request may take.
const MARGIN: u64 = 15;

/// Seconds that systemd waits longer than the gate does for its last requests.
const STOP_MARGIN: u64 = 30;

/// The console's rake and its directory, in the worker's unit.
const RAKE: &str = "/opt/puppet/bin/rake -f /opt/puppet/share/puppet-dashboard/Rakefile RAILS_ENV=production";
const RAKE_DIRECTORY: &str = "WorkingDirectory=/opt/puppet/share/puppet-dashboard";

/// Which vhost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Vhost {
    /// nginx, FastCGI
    Nginx,
    /// nginx, FastCGI, for a server of your own
    NginxSnippet,
    /// Apache, FastCGI (`mod_proxy_fcgi`)
    Apache,
    /// Apache, CGI (`mod_cgid`)
    ApacheCgi,
}

/// Which unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Unit {
    /// The socket between the web server and the gate
    Socket,
    /// The gate
    Service,
    /// The warm console
    Console,
}

/// A configuration, and where it is.
pub(super) struct Printer<'a> {
    pub(super) config: &'a Config,
    pub(super) ini: &'a Path,
    pub(super) system: System,
}

impl Printer<'_> {
    /// A vhost.
    pub(super) fn vhost(&self, kind: Vhost) -> String {
        self.fill(match kind {
            Vhost::Nginx => include_str!("../../conf/nginx/espm.conf"),
            Vhost::NginxSnippet => include_str!("../../conf/nginx/snippet.conf"),
            Vhost::Apache => include_str!("../../conf/apache/espm.conf"),
            Vhost::ApacheCgi => include_str!("../../conf/apache/espm-cgi.conf"),
        })
    }

    /// The script that `mod_cgid` starts.
    pub(super) fn cgi(&self) -> String {
        self.fill(include_str!("../../conf/apache/espm.cgi"))
    }

    /// A unit; the web server runs with this group.
    pub(super) fn unit(&self, unit: Unit, group: &str) -> String {
        let text = match unit {
            Unit::Socket => include_str!("../../conf/systemd/espm.socket"),
            Unit::Service => include_str!("../../conf/systemd/espm.service"),
            Unit::Console => return self.console(include_str!("../../conf/systemd/espm-console.service")),
        };
        self.fill(text).replace("SocketGroup=www-data", &format!("SocketGroup={group}"))
    }

    /// The worker's unit, with what the configuration says of the console.
    fn console(&self, template: &str) -> String {
        let Console::Rake(rake) = &self.config.console else {
            return "# [console] kind = enc: there is no console to keep warm.\n".into();
        };
        let user = rake.command.user.as_deref().unwrap_or("espm");
        // A percent sign is systemd's own.
        let own = |text: String| text.replace('%', "%%");
        let environment: String =
            rake.command.environment.iter().map(|(name, value)| format!(" {name}={value}")).collect();
        self.fill(template)
            .replace(RAKE, &own(rake.command.argv.join(" ")))
            .replace(RAKE_DIRECTORY, &format!("WorkingDirectory={}", own(rake.command.directory.display().to_string())))
            .replace("LANG=C.UTF-8", &format!("LANG=C.UTF-8{}", own(environment)))
            .replace("puppet-dashboard -g", &format!("{user} -g"))
            .replace("User=puppet-dashboard", &format!("User={user}"))
    }

    /// sudo's rules; those of the CGI script too when the web server's user is given.
    pub(super) fn sudoers(&self, web_user: Option<&str>) -> String {
        let console = match &self.config.console {
            Console::Rake(rake) => rake.command.user.as_deref(),
            Console::Enc(_) => None,
        };
        let authority = self.config.authority.command.user.as_deref();
        let filled = self.fill(include_str!("../../conf/sudoers.d/espm"));
        let (always, cgi) = filled.split_once("#Cmnd_Alias").unwrap_or((&filled, ""));
        let rule = |line: &str, user: Option<&str>, command: &str| match user {
            _ if !line.ends_with(&format!("NOPASSWD: {command}")) => None,
            Some(user) => Some(format!("espm ALL = ({user}) NOPASSWD: {command}")),
            None => Some(format!("# {command} runs as espm itself.")),
        };
        let mut lines: Vec<String> = Vec::new();
        for line in always.lines() {
            let ours = rule(line, console, "ESPM_CONSOLE").or_else(|| rule(line, authority, "ESPM_AUTHORITY"));
            lines.push(ours.unwrap_or_else(|| line.to_owned()));
        }
        for line in format!("#Cmnd_Alias{cgi}").lines() {
            // The default configuration is found without this line.
            let unneeded = line.contains("env_file") && self.ini == Path::new(layout::this().ini);
            lines.push(match web_user {
                Some(user) if !unneeded => line.trim_start_matches('#').replace("www-data ALL", &format!("{user} ALL")),
                _ => line.to_owned(),
            });
        }
        lines.join("\n") + "\n"
    }

    /// The file that tells a handler that sudo starts where the configuration is.
    pub(super) fn cgi_environment(&self) -> PathBuf {
        self.ini.with_file_name("cgi.env")
    }

    fn fill(&self, template: &str) -> String {
        let config = self.config;
        let timeout = config.request_timeout.as_secs();
        let parent = |path: &str| Path::new(path).parent().unwrap_or(Path::new("/")).display().to_string();
        let cgi = layout::this().cgi;
        let pairs = [
            ("/etc/espm/certs/espm.pem", config.tls.certificate.display().to_string()),
            ("/etc/espm/certs/espm.key", config.tls.key.display().to_string()),
            ("/etc/espm/cgi.env", self.cgi_environment().display().to_string()),
            (PACKAGED.ini, self.ini.display().to_string()),
            (PACKAGED.helper, config.helper.display().to_string()),
            (PACKAGED.cgi, cgi.to_owned()),
            (PACKAGED.console, layout::this().console.to_owned()),
            // As the name of a directory alone.
            ("\"/usr/libexec/espm\"", format!("\"{}\"", parent(cgi))),
            (PACKAGED.espm, beside("espm", layout::this().espm).display().to_string()),
            ("/run/espm/espm.sock", config.listen.display().to_string()),
            ("${APACHE_LOG_DIR}", self.system.apache_logs().to_owned()),
            ("8443", config.tls.port.to_string()),
            ("315", (timeout + MARGIN).to_string()),
            ("TimeoutStopSec=330", format!("TimeoutStopSec={}", timeout + STOP_MARGIN)),
        ];
        // From the left, so that what was put in is not looked at again.
        let mut filled = String::new();
        let mut rest = template;
        while let Some((at, found, actual)) = pairs
            .iter()
            .filter_map(|(packaged, actual)| rest.find(packaged).map(|at| (at, *packaged, actual)))
            .min_by_key(|(at, found, _)| (*at, std::cmp::Reverse(found.len())))
        {
            let (before, after) = rest.split_at(at);
            filled.push_str(before);
            filled.push_str(actual);
            rest = after.strip_prefix(found).unwrap_or(after);
        }
        filled + rest
    }
}

/// A program that belongs to this one, or where it is by default.
pub(super) fn beside(name: &str, default: &str) -> PathBuf {
    let found = std::env::current_exe().map(|program| program.with_file_name(name));
    match found {
        Ok(path) if path.exists() => path,
        _ => PathBuf::from(default),
    }
}
