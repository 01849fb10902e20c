//! What the administrator types after set-up: exact lines, and only those that are still needed.

use std::path::Path;

use super::distribution::System;
use super::templates::{self, Printer, Unit, Vhost};
use crate::config::Console;
use crate::config::layout;
use crate::system::process;
use crate::system::trusted_file::{self, Owner};

/// Bytes of a file that may already have what would be printed.
const MAX_FILE: u64 = 64 * 1024;

/// Where units are, the administrator's own first.
const UNITS: [&str; 3] = ["/etc/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system"];

/// The lines, with headings.
pub(super) fn steps(printer: &Printer<'_>) -> String {
    let system = printer.system;
    let mut text = String::new();
    let mut part = |heading: &str, lines: Vec<String>| {
        let lines: String = lines.iter().map(|line| format!("    {line}\n")).collect();
        text.push_str(&format!("{heading}\n\n{lines}\n"));
    };
    part("Next, as root:", [users(printer), enc(printer), sudo(printer, false), check(printer)].concat());
    part("The gate, with systemd:", gate(printer, system.nginx_group()));
    part("And one web server. nginx:", nginx(printer));
    part("Apache, FastCGI:", [apache_gate(printer), apache(printer, false)].concat());
    part("Apache, CGI, without the gate:", [sudo(printer, true), cgi(printer), apache(printer, true)].concat());
    text
}

/// Who runs the console's and the CA's commands reads the configuration.
fn users(printer: &Printer<'_>) -> Vec<String> {
    let console = match &printer.config.console {
        Console::Rake(rake) => rake.command.user.as_deref(),
        Console::Enc(_) => None,
    };
    let authority = printer.config.authority.command.user.as_deref().filter(|user| Some(*user) != console);
    let group = std::fs::metadata(printer.ini).map_or(0, |found| std::os::unix::fs::MetadataExt::gid(&found));
    let name = process::group_name(group).unwrap_or_else(|| group.to_string());
    let outsiders = [console, authority].into_iter().flatten().filter(|user| !process::is_member(user, group));
    outsiders.map(|user| format!("usermod -aG {name} {user}")).collect()
}

/// What a master without a console needs.
fn enc(printer: &Printer<'_>) -> Vec<String> {
    let Console::Enc(enc) = &printer.config.console else { return vec![] };
    let mut lines = Vec::new();
    if !enc.published.is_dir() {
        lines.push(format!("install -d -o espm -g espm -m 0750 {}", enc.published.display()));
    }
    if !enc.catalogue.exists() {
        lines.push(format!("editor {}    # [classes] names = ..., [group NAME] ...", enc.catalogue.display()));
        lines.push(format!("chmod 0644 {}", enc.catalogue.display()));
    }
    let enc_ini = printer.ini.with_file_name("enc.ini");
    let option =
        if enc_ini == Path::new(layout::this().enc_ini) { String::new() } else { format!(" -c {}", enc_ini.display()) };
    if !enc_ini.exists() {
        lines.push(format!("printf '[enc]\\npublished = {}\\n' >{}", enc.published.display(), enc_ini.display()));
    }
    let program = templates::beside("espm-enc", layout::this().enc);
    lines.push("puppet config set --section server node_terminus exec".into());
    lines.push(format!("puppet config set --section server external_nodes '{}{option}'", program.display()));
    lines
}

fn sudo(printer: &Printer<'_>, cgi: bool) -> Vec<String> {
    let file = "/etc/sudoers.d/espm";
    let option = if cgi { " --cgi" } else { "" };
    if is_there(file, &printer.sudoers(cgi)) {
        return vec![];
    }
    vec![
        format!("{}sudoers{option}{} >{file}", setup(), option_for(printer, "--config")),
        format!("chmod 0440 {file} && visudo -cf {file}"),
    ]
}

fn check(printer: &Printer<'_>) -> Vec<String> {
    let option = option_for(printer, "-c");
    vec![format!("{}{option} check", name_of("espm"))]
}

fn gate(printer: &Printer<'_>, group: &str) -> Vec<String> {
    let units = [("espm.socket", "socket", Unit::Socket), ("espm.service", "service", Unit::Service)];
    let mut lines: Vec<String> = units
        .iter()
        .filter(|(file, _, unit)| {
            let text = printer.unit(*unit, group);
            !UNITS.iter().map(|directory| format!("{directory}/{file}")).any(|path| is_there(&path, &text))
        })
        .map(|(file, word, unit)| {
            let group = if *unit == Unit::Socket { format!(" --group {group}") } else { String::new() };
            format!("{}unit {word}{group}{} >/etc/systemd/system/{file}", setup(), option_for(printer, "--config"))
        })
        .collect();
    if !lines.is_empty() {
        lines.push("systemctl daemon-reload".into());
    }
    lines.push("systemctl enable --now espm.socket".into());
    lines
}

/// Where Apache's group is not nginx's.
fn apache_gate(printer: &Printer<'_>) -> Vec<String> {
    let group = printer.system.apache_user();
    if group == printer.system.nginx_group() {
        return vec![];
    }
    vec![
        format!(
            "{}unit socket --group {group}{} >/etc/systemd/system/espm.socket",
            setup(),
            option_for(printer, "--config")
        ),
        "systemctl daemon-reload && systemctl restart espm.socket".into(),
    ]
}

fn nginx(printer: &Printer<'_>) -> Vec<String> {
    let file = printer.system.nginx_file();
    let mut lines = vhost(printer, Vhost::Nginx, "nginx", file);
    if printer.system == System::Debian {
        lines.push("ln -s ../sites-available/espm /etc/nginx/sites-enabled/espm".into());
    }
    lines.push("nginx -t && systemctl reload nginx".into());
    lines
}

fn apache(printer: &Printer<'_>, cgi: bool) -> Vec<String> {
    let (kind, word) = if cgi { (Vhost::ApacheCgi, "apache-cgi") } else { (Vhost::Apache, "apache") };
    let mut lines = vhost(printer, kind, word, printer.system.apache_file(cgi));
    match printer.system {
        System::Debian if cgi => lines.push("a2enmod ssl cgid alias headers reqtimeout && a2ensite espm-cgi".into()),
        System::Debian => lines.push("a2enmod ssl proxy proxy_fcgi alias headers reqtimeout && a2ensite espm".into()),
        System::Redhat => lines.insert(0, "dnf install mod_ssl".into()),
    }
    let service = if printer.system == System::Debian { "apache2" } else { "httpd" };
    // Not a reload: it starts neither a new listener's TLS module nor mod_cgid's daemon.
    lines.push(format!("apachectl configtest && systemctl restart {service}"));
    lines
}

/// The script, and the configuration's path for it.
fn cgi(printer: &Printer<'_>) -> Vec<String> {
    let script = layout::this().cgi;
    let mut lines = Vec::new();
    if !is_there(script, &printer.cgi()) {
        let directory = Path::new(script).parent().unwrap_or(Path::new("/"));
        lines.push(format!("install -d -m 0755 {}", directory.display()));
        lines.push(format!("{}cgi{} >{script}", setup(), option_for(printer, "--config")));
        lines.push(format!("chmod 0755 {script}"));
    }
    if printer.ini != Path::new(layout::this().ini) {
        lines.push(format!("echo ESPM_CONFIG={} >{}", printer.ini.display(), printer.cgi_environment().display()));
    }
    lines
}

fn vhost(printer: &Printer<'_>, kind: Vhost, word: &str, file: &str) -> Vec<String> {
    if is_there(file, &printer.vhost(kind)) {
        return vec![];
    }
    vec![format!("{}vhost {word}{} >{file}", setup(), option_for(printer, "--config"))]
}

/// The configuration, where it is not the one that is found without this.
fn option_for(printer: &Printer<'_>, option: &str) -> String {
    if printer.ini == Path::new(layout::this().ini) {
        return String::new();
    }
    format!(" {option} {}", printer.ini.display())
}

fn setup() -> String {
    format!("{} ", name_of("espm-setup"))
}

/// A program, with its directory where a package has not put it on everybody's path.
fn name_of(program: &str) -> String {
    if layout::this() == &layout::PACKAGED {
        return program.to_owned();
    }
    templates::beside(program, program).display().to_string()
}

fn is_there(path: &str, text: &str) -> bool {
    trusted_file::read(Path::new(path), MAX_FILE, Owner::Root).is_ok_and(|found| found == text)
}
