//! The files of the web server, sudo and systemd: the templates of `conf/templates` with a configuration's values.

use std::net::{Ipv6Addr, UdpSocket};
use std::path::{Path, PathBuf};

use clap::ValueEnum;

use super::distribution::System;
use crate::config::layout::{self, PACKAGED};
use crate::config::{Config, Console};
use crate::system::process;
use crate::system::sudoers;

/// Seconds that a web server waits longer than a request may take.
const MARGIN: u64 = 15;

/// Seconds that systemd waits longer than the gate does for its last requests.
const STOP_MARGIN: u64 = 30;

/// The socket of the warm console where the configuration names none.
const WORKER: &str = "/run/espm-console/worker.sock";

/// The directory of the ledger's copies.
const BACKUPS: &str = "/var/backups/espm";

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
    /// The watch on the catalogue
    PublishPath,
    /// The publishing of nodes that it starts
    Publish,
    /// The time of the ledger's daily copy
    BackupTimer,
    /// The copy of the ledger
    Backup,
    /// The times of the checks for Prometheus
    MetricsTimer,
    /// The check for Prometheus
    Metrics,
}

/// A configuration, where it is, and the system that it is for.
pub(super) struct Printer<'a> {
    pub(super) config: &'a Config,
    pub(super) ini: &'a Path,
    pub(super) system: System,
    /// The user and the group that espm runs as: those of the state directory.
    pub(super) user: String,
    pub(super) group: String,
    /// Whether the kernel knows IPv6.
    ipv6: bool,
    /// The settings that the rules for sudo on this machine name and that espm's rules switch off.
    sudo: Vec<&'static str>,
}

impl<'a> Printer<'a> {
    /// For this machine.
    pub(super) fn of(config: &'a Config, ini: &'a Path, system: System) -> Self {
        let (user, group) = (process::owner_of(&config.state), process::group_of(&config.state));
        // nginx asks in the same way, and does not start without an answer.
        let ipv6 = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)).is_ok();
        Self { config, ini, system, user, group, ipv6, sudo: sudoers::in_the_way() }
    }

    /// For a package.
    fn packaged(config: &'a Config, system: System) -> Self {
        let (user, group) = ("espm".to_owned(), "espm".to_owned());
        Self { config, ini: Path::new(PACKAGED.ini), system, user, group, ipv6: true, sudo: Vec::new() }
    }

    /// A vhost.
    pub(super) fn vhost(&self, kind: Vhost) -> String {
        self.fill(match kind {
            Vhost::Nginx => include_str!("../../conf/templates/nginx.conf"),
            Vhost::NginxSnippet => include_str!("../../conf/templates/nginx-snippet.conf"),
            Vhost::Apache => include_str!("../../conf/templates/apache.conf"),
            Vhost::ApacheCgi => include_str!("../../conf/templates/apache-cgi.conf"),
        })
    }

    /// The script that `mod_cgid` starts.
    pub(super) fn cgi(&self) -> String {
        self.fill(include_str!("../../conf/templates/espm.cgi"))
    }

    /// A unit; the web server runs with this group.
    pub(super) fn unit(&self, unit: Unit, group: &str) -> String {
        match unit {
            Unit::Socket => fill(include_str!("../../conf/templates/espm.socket"), |name| match name {
                "web_group" => Some(group.to_owned()),
                _ => self.value(name),
            }),
            Unit::Service => self.fill(include_str!("../../conf/templates/espm.service")),
            Unit::Console if self.config.console.command().is_none() => {
                "# [console] kind is not rake: there is no console to keep warm.\n".into()
            }
            Unit::Console => self.fill(include_str!("../../conf/templates/espm-console.service")),
            Unit::PublishPath => self.fill(include_str!("../../conf/templates/espm-publish.path")),
            Unit::Publish => self.fill(include_str!("../../conf/templates/espm-publish.service")),
            Unit::BackupTimer => self.fill(include_str!("../../conf/templates/espm-backup.timer")),
            Unit::Backup => self.fill(include_str!("../../conf/templates/espm-backup.service")),
            Unit::MetricsTimer => self.fill(include_str!("../../conf/templates/espm-metrics.timer")),
            Unit::Metrics => self.fill(include_str!("../../conf/templates/espm-metrics.service")),
        }
    }

    /// sudo's rules; with `cgi` those of the CGI script, too.
    pub(super) fn sudoers(&self, cgi: bool) -> String {
        fill(include_str!("../../conf/templates/sudoers"), |name| match name {
            "if_cgi" => Some(sign(cgi)),
            "if_cgi_and_sudo" => Some(sign(cgi && !self.sudo.is_empty())),
            _ => self.value(name),
        })
    }

    /// sudo's rules for a monitoring system that runs as this user.
    pub(super) fn sudoers_nagios(&self, user: &str) -> String {
        fill(include_str!("../../conf/templates/sudoers-nagios"), |name| match name {
            "nagios_user" => Some(user.to_owned()),
            _ => self.value(name),
        })
    }

    /// The program that the CGI script starts through sudo: espm, or the script itself where it has to name another
    /// configuration than the default one. The web server's user could name its own.
    fn cgi_program(&self) -> PathBuf {
        if self.has_default_ini() { beside("espm", layout::this().espm) } else { PathBuf::from(layout::this().cgi) }
    }

    fn has_default_ini(&self) -> bool {
        self.ini == Path::new(layout::this().ini)
    }

    /// The catalogue and the directory of published nodes; without a console that is the configuration's.
    fn published(&self) -> [PathBuf; 2] {
        match self.config.console.published() {
            Some(enc) => [enc.catalogue.clone(), enc.published.clone()],
            None => [layout::this().catalogue, layout::this().nodes].map(PathBuf::from),
        }
    }

    /// The socket of the warm console.
    fn worker(&self) -> PathBuf {
        let worker = match &self.config.console {
            Console::Rake(rake) => rake.worker.clone(),
            Console::Enc(_) => None,
        };
        worker.unwrap_or_else(|| PathBuf::from(WORKER))
    }

    fn fill(&self, template: &str) -> String {
        fill(template, |name| self.value(name))
    }

    /// The value of a placeholder.
    fn value(&self, name: &str) -> Option<String> {
        let (config, layout) = (self.config, layout::this());
        let espm = beside("espm", layout.espm);
        let espm = espm.display();
        let path = |path: &Path| Some(path.display().to_string());
        let console = config.console.command();
        let rule = |user: Option<&String>, command: &str| {
            Some(match user {
                Some(user) => format!("{} ALL = ({user}) NOPASSWD: NOSETENV: {command}", self.user),
                None => format!("# {command} runs as {} itself.", self.user),
            })
        };
        // A percent sign is systemd's own.
        let in_unit = |text: String| Some(text.replace('%', "%%"));
        match name {
            "apache_logs" => Some(self.system.names().apache_logs.to_owned()),
            "backups" => Some(BACKUPS.to_owned()),
            "authority_rule" => rule(config.authority.user.as_ref(), "ESPM_AUTHORITY"),
            "catalogue" => self.published().first().and_then(|catalogue| in_unit(catalogue.display().to_string())),
            "certificate" => path(&config.tls.certificate),
            "check" => Some(if self.has_default_ini() {
                format!("{espm} check")
            } else {
                format!("{espm} -c {} check", self.ini.display())
            }),
            "cgi" => Some(layout.cgi.to_owned()),
            "cgi_directory" => path(Path::new(layout.cgi).parent()?),
            "cgi_program" => path(&self.cgi_program()),
            // sudo sets SUDO_USER, and a header of a request never has that name.
            "cgi_second" => Some(if self.has_default_ini() {
                String::new()
            } else {
                format!("[ -z \"$SUDO_USER\" ] || ESPM_CONFIG={} exec {espm}\n", self.ini.display())
            }),
            "console" => Some(layout.console.to_owned()),
            "console_rule" => rule(console.and_then(|command| command.user.as_ref()), "ESPM_CONSOLE"),
            "console_user" => Some(console?.user.clone().unwrap_or_else(|| self.user.clone())),
            "espm" => Some(espm.to_string()),
            "group" => Some(self.group.clone()),
            "helper" => path(&config.helper),
            "ini" => path(self.ini),
            "key" => path(&config.tls.key),
            "listen" => path(&config.listen),
            "port" => Some(config.tls.port.to_string()),
            "published" => self.published().last().and_then(|published| in_unit(published.display().to_string())),
            "rake" => in_unit(console?.argv.join(" ")),
            "rake_directory" => in_unit(console?.directory.display().to_string()),
            "rake_environment" => {
                in_unit(console?.environment.iter().map(|(name, value)| format!(" {name}={value}")).collect())
            }
            "state" => in_unit(config.state.display().to_string()),
            // A dual socket would be one line, but nginx's default is one for each family.
            "if_ipv6" => Some(if self.ipv6 { "" } else { "# No IPv6 on this machine: " }.to_owned()),
            "if_sudo" => Some(sign(!self.sudo.is_empty())),
            "stop_timeout" => Some((config.request_timeout.as_secs() + STOP_MARGIN).to_string()),
            "sudo" => path(&config.sudo),
            "sudo_settings" => Some(self.sudo.iter().map(|word| format!("!{word}")).collect::<Vec<_>>().join(", ")),
            "user" => Some(self.user.clone()),
            "web_timeout" => Some((config.request_timeout.as_secs() + MARGIN).to_string()),
            "worker" => path(&self.worker()),
            "worker_directory" => path(self.worker().parent()?),
            "web_user" => Some(self.system.names().apache_user.to_owned()),
            _ => None,
        }
    }
}

/// What is before a line that counts only then.
fn sign(on: bool) -> String {
    if on { String::new() } else { "#".to_owned() }
}

/// A template with a value for each `{{NAME}}`; an unknown name stays, and a test finds it.
fn fill(template: &str, value: impl Fn(&str) -> Option<String>) -> String {
    let mut parts = template.split("{{");
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match part.split_once("}}").and_then(|(name, rest)| Some((value(name)?, rest))) {
            Some((value, rest)) => text.extend([value.as_str(), rest]),
            None => text.extend(["{{", part]),
        }
    }
    text
}

/// A program that belongs to this one, or where it is by default.
pub(super) fn beside(name: &str, default: &str) -> PathBuf {
    let found = std::env::current_exe().map(|program| program.with_file_name(name));
    match found {
        Ok(path) if layout::this() != &PACKAGED && path.exists() => path,
        _ => PathBuf::from(default),
    }
}

/// The files that a package installs as they are, for its system: names and texts.
pub(super) fn packaged(config: &Config, system: System) -> Vec<(&'static str, String)> {
    let printer = Printer::packaged(config, system);
    let unit = |unit| printer.unit(unit, system.names().nginx_group);
    vec![
        ("nginx.conf", printer.vhost(Vhost::Nginx)),
        ("nginx-snippet.conf", printer.vhost(Vhost::NginxSnippet)),
        ("apache.conf", printer.vhost(Vhost::Apache)),
        ("apache-cgi.conf", printer.vhost(Vhost::ApacheCgi)),
        ("espm.cgi", printer.cgi()),
        ("sudoers", printer.sudoers(false)),
        ("systemd/espm.socket", unit(Unit::Socket)),
        ("systemd/espm.service", unit(Unit::Service)),
        // cargo-deb takes espm.socket beside it for its socket.
        ("systemd-console/espm-console.service", unit(Unit::Console)),
        ("systemd-publish/espm-publish.path", unit(Unit::PublishPath)),
        ("systemd-publish/espm-publish.service", unit(Unit::Publish)),
        ("systemd-backup/espm-backup.timer", unit(Unit::BackupTimer)),
        ("systemd-backup/espm-backup.service", unit(Unit::Backup)),
        ("systemd-metrics/espm-metrics.timer", unit(Unit::MetricsTimer)),
        ("systemd-metrics/espm-metrics.service", unit(Unit::Metrics)),
    ]
}

#[cfg(test)]
mod tests {
    use super::{Printer, fill, packaged};
    use crate::config::Config;
    use crate::setup::distribution::System;

    fn config(console: &str) -> Config {
        let text = format!(
            "[client cloud]\nkeys = sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\n\
             [tls]\ncertificate = /{{{{key}}}}\nkey = /k\n[console]\n{console}\n\
             [authority]\nkind = puppet-cert\ncommand = /puppet\nssldir = /s\ncadir = /c\nmaster = m\n"
        );
        Config::from_text(&text).unwrap()
    }

    #[test]
    fn every_placeholder_of_every_template_has_a_value() {
        for console in ["kind = enc", "command = /rake\ndirectory = /%d\nrelease = 3.0\nuser = c"] {
            let config = config(console);
            for system in [System::Debian, System::Redhat] {
                let printer = Printer::of(&config, "/x/espm.ini".as_ref(), system);
                let mut files = packaged(&config, system);
                files.extend([("sudoers --cgi", printer.sudoers(true)), ("cgi", printer.cgi())]);
                files.push(("sudoers --nagios", printer.sudoers_nagios("nagios")));
                for (name, text) in files {
                    // A value is not looked at again.
                    assert_eq!(text.replace("/{{key}}", "").find("{{"), None, "{name}: {text}");
                }
            }
        }
        assert_eq!(fill("{{a}}{{b}}{{", |name| (name == "a").then(|| "{{b}}".into())), "{{b}}{{b}}{{");
    }

    #[test]
    fn percent_sign_of_the_console_is_not_systemds() {
        let config = config("command = /rake %h\ndirectory = /%d\nenvironment = A=%n\nrelease = 3.0");
        let files = packaged(&config, System::Debian);
        let (_, unit) = files.iter().find(|(name, _)| name.ends_with("espm-console.service")).unwrap();
        for line in ["WorkingDirectory=/%%d", "Environment=HOME=/ LANG=C.UTF-8 A=%%n", "User=espm"] {
            assert!(unit.lines().any(|found| found == line), "{line}: {unit}");
        }
        assert!(unit.contains("ExecStart=/rake %%h -s -R "), "{unit}");
    }
}
