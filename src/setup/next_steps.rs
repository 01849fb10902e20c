//! The lines that the administrator types after set-up: only those that are still needed.

use std::fmt::Write;
use std::path::Path;

use super::detect;
use super::distribution::System;
use super::templates::{Printer, Unit, Vhost, beside};
use crate::authority::executor::Kind;
use crate::config::MAX_FILE;
use crate::config::enc_ini;
use crate::config::layout::{self, PACKAGED};
use crate::system::process;
use crate::system::trusted_file::{self, Owner};

/// Where units are, the administrator's own first.
const UNITS: [&str; 3] = ["/etc/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system"];

/// Services of Puppet's master: the vendor's, Puppet Enterprise's, Debian's of Puppet 4 and 5, the older ones'.
const SERVERS: [&str; 5] = ["puppetserver", "pe-puppetserver", "puppet-master", "puppetmaster", "pe-httpd"];

/// The lines, with headings.
pub(super) fn steps(printer: &Printer<'_>, group: u32) -> String {
    let names = printer.system.names();
    let mut text = String::new();
    for (heading, lines) in [
        ("Next, as root:", [users(printer, group), enc(printer), sudo(printer, false)].concat()),
        ("The gate, with systemd:", gate(printer, names.nginx_group)),
        ("And one web server. nginx:", nginx(printer)),
        ("Apache, FastCGI:", [apache_gate(printer), apache(printer, Vhost::Apache)].concat()),
        (
            "Apache, CGI, without the gate:",
            [sudo(printer, true), cgi(printer), apache(printer, Vhost::ApacheCgi)].concat(),
        ),
        ("At last:", check(printer)),
    ] {
        let _ = writeln!(text, "{heading}\n");
        for line in lines {
            let _ = writeln!(text, "    {line}");
        }
        text.push('\n');
    }
    text
}

/// Lines that let the users of the console's and the CA's commands read the configuration.
fn users(printer: &Printer<'_>, group: u32) -> Vec<String> {
    let console = printer.config.console.command().and_then(|command| command.user.as_deref());
    let authority = printer.config.authority.user.as_deref().filter(|user| Some(*user) != console);
    let name = process::group_name(group).unwrap_or_else(|| group.to_string());
    let outsiders = [console, authority].into_iter().flatten().filter(|user| !process::is_member(user, group));
    outsiders.map(|user| format!("usermod -aG {name} {user}")).collect()
}

/// Lines for a master without a console.
fn enc(printer: &Printer<'_>) -> Vec<String> {
    let Some(enc) = printer.config.console.published() else { return vec![] };
    let (published, catalogue) = (enc.published.display(), enc.catalogue.display());
    let ini = printer.ini.with_file_name(enc_ini::FILE);
    let mut lines = Vec::new();
    if !enc.published.is_dir() {
        lines.push(format!("install -d -o {} -g {} -m 0750 {published}", printer.user, printer.group));
    }
    if !enc.catalogue.exists() {
        lines.push(format!("editor {catalogue}    # [classes] names = ..., [group NAME] ..."));
        lines.push(format!("chmod 0644 {catalogue}"));
    }
    if !ini.exists() {
        lines.push(format!("printf '[enc]\\npublished = {published}\\n' >{0} && chmod 0644 {0}", ini.display()));
    }
    let option = option_for(&ini, layout::this().enc_ini, "-c");
    let program = beside("espm-enc", layout::this().enc);
    let (puppet, section) = (puppet(printer), printer.config.authority.kind.section());
    lines.push(format!("{puppet} config set --section {section} node_terminus exec"));
    lines.push(format!("{puppet} config set --section {section} external_nodes '{}{option}'", program.display()));
    // It reads puppet.conf and its own groups only then.
    lines.push(format!("systemctl restart {}", server(printer)));
    lines
}

/// The puppet program of the master.
fn puppet(printer: &Printer<'_>) -> String {
    let authority = &printer.config.authority;
    let program = authority.command().and_then(|command| command.argv.first());
    let puppet = detect::puppet_of(program.map(Path::new), authority.kind.word());
    if puppet.is_file() { puppet.display().to_string() } else { "puppet".to_owned() }
}

/// The service of the Puppet server that is here.
fn server(printer: &Printer<'_>) -> &'static str {
    let here =
        |name: &&str| UNITS.iter().any(|directory| Path::new(directory).join(format!("{name}.service")).exists());
    let usual = if printer.config.authority.kind == Kind::PuppetCert { "puppet-master" } else { "puppetserver" };
    SERVERS.into_iter().find(here).unwrap_or(usual)
}

fn sudo(printer: &Printer<'_>, cgi: bool) -> Vec<String> {
    let file = "/etc/sudoers.d/espm";
    let mut lines = print(printer, if cgi { "sudoers --cgi" } else { "sudoers" }, &[file], &printer.sudoers(cgi));
    if !lines.is_empty() {
        lines.push(format!("chmod 0440 {file} && visudo -cf {file}"));
    }
    lines
}

/// The line that checks everything.
pub(super) fn check(printer: &Printer<'_>) -> Vec<String> {
    vec![format!("{}{} check", name_of("espm"), option_for(printer.ini, layout::this().ini, "-c"))]
}

fn gate(printer: &Printer<'_>, group: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let mut units = vec![
        (format!("unit socket --group {group}"), "espm.socket", Unit::Socket),
        ("unit service".into(), "espm.service", Unit::Service),
    ];
    if printer.config.console.published().is_some() {
        units.push(("unit publish-path".into(), "espm-publish.path", Unit::PublishPath));
        units.push(("unit publish".into(), "espm-publish.service", Unit::Publish));
    }
    for (words, file, unit) in units {
        let files = UNITS.map(|directory| format!("{directory}/{file}"));
        lines.extend(print(printer, &words, &files.each_ref().map(String::as_str), &printer.unit(unit, group)));
    }
    if !lines.is_empty() {
        lines.push("systemctl daemon-reload".into());
    }
    lines.push("systemctl enable --now espm.socket".into());
    if printer.config.console.published().is_some() {
        lines.push("systemctl enable --now espm-publish.path".into());
    }
    lines
}

/// Lines for a system where Apache's group is not nginx's.
fn apache_gate(printer: &Printer<'_>) -> Vec<String> {
    let (group, names) = (printer.system.names().apache_user, printer.system.names());
    if group == names.nginx_group {
        return vec![];
    }
    let mut lines = print(printer, &format!("unit socket --group {group}"), &["/etc/systemd/system/espm.socket"], "");
    lines.push("systemctl daemon-reload && systemctl restart espm.socket".into());
    lines
}

fn nginx(printer: &Printer<'_>) -> Vec<String> {
    let mut lines = print(printer, "vhost nginx", &[printer.system.names().nginx_file], &printer.vhost(Vhost::Nginx));
    if printer.system == System::Debian {
        lines.push("ln -s ../sites-available/espm /etc/nginx/sites-enabled/espm".into());
    }
    lines.push("nginx -t && systemctl reload nginx".into());
    lines
}

fn apache(printer: &Printer<'_>, kind: Vhost) -> Vec<String> {
    let names = printer.system.names();
    let (words, file, debian) = if kind == Vhost::ApacheCgi {
        let enable = "a2enmod ssl cgid alias headers reqtimeout && a2ensite espm-cgi";
        ("vhost apache-cgi", names.apache_cgi_file, enable)
    } else {
        let enable = "a2enmod ssl proxy proxy_fcgi alias headers reqtimeout && a2ensite espm";
        ("vhost apache", names.apache_file, enable)
    };
    let mut lines = print(printer, words, &[file], &printer.vhost(kind));
    match printer.system {
        System::Debian => lines.push(debian.into()),
        System::Redhat => lines.insert(0, "dnf install mod_ssl".into()),
    }
    // Not a reload: it starts neither a new listener's TLS module nor mod_cgid's daemon.
    lines.push(format!("apachectl configtest && systemctl restart {}", names.apache_service));
    lines
}

/// Lines for the script.
fn cgi(printer: &Printer<'_>) -> Vec<String> {
    let script = layout::this().cgi;
    let mut lines = print(printer, "cgi", &[script], &printer.cgi());
    if !lines.is_empty() {
        let directory = Path::new(script).parent().unwrap_or(Path::new("/"));
        lines.insert(0, format!("install -d -m 0755 {}", directory.display()));
        lines.push(format!("chmod 0755 {script}"));
    }
    lines
}

/// The line that prints a text into the first of these files, unless one of them has it.
fn print(printer: &Printer<'_>, words: &str, files: &[&str], text: &str) -> Vec<String> {
    let has = |path: &&str| trusted_file::read(Path::new(path), MAX_FILE, Owner::Root).is_ok_and(|found| found == text);
    let option = option_for(printer.ini, layout::this().ini, "--config");
    let line = |file| format!("{} {words}{option} >{file}", name_of("espm-setup"));
    files.first().filter(|_| !files.iter().any(has)).map(line).into_iter().collect()
}

/// The option for a configuration that is not where it is by default.
fn option_for(path: &Path, default: &str, option: &str) -> String {
    if path == Path::new(default) { String::new() } else { format!(" {option} {}", path.display()) }
}

/// A program, with its directory where a package has not put it on everybody's path.
fn name_of(program: &str) -> String {
    if layout::this() == &PACKAGED { program.to_owned() } else { beside(program, program).display().to_string() }
}
