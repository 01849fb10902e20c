//! The text of a new espm.ini.

use std::fmt::Write;
use std::path::Path;

use super::New;
use super::detect::Puppet;
use crate::console::rake::task::Release;
use crate::model::psk::PskDigest;

/// The text; what has its default is left out.
pub(super) fn text(
    new: &New,
    puppet: &Puppet,
    (certificate, key): (&Path, &Path),
    release: Option<Release>,
    master: &str,
    digest: &PskDigest,
) -> String {
    let mut text = String::from("# Every key and its default is in the espm.ini that comes with the documentation.\n");
    let mut put = |line: String| {
        let _ = writeln!(text, "{line}");
    };
    put(format!("\n[espm]\nlisten = {}", new.listen.display()));
    put(format!("state = {}", new.state.display()));
    put(format!("helper = {}", new.helper.display()));
    put(format!("\n[psk]\n{} = {digest}", new.client));
    put(format!("\n[tls]\ncertificate = {}", certificate.display()));
    put(format!("key = {}\nport = {}", key.display(), new.port));
    put(format!("\n[console]\nkind = {}", puppet.console_kind));
    match release {
        Some(release) => {
            put(format!("command = {}", puppet.console_command));
            put(format!("directory = {}", puppet.console_directory.display()));
            put(format!("release = {}", release.word()));
            if let Some(user) = &new.console_user {
                put(format!("user = {user}"));
            }
        }
        None => {
            put(format!("catalogue = {}", new.catalogue.display()));
            put(format!("published = {}", new.published.display()));
        }
    }
    put(format!("\n[authority]\nkind = {}\ncommand = {}", puppet.authority_kind, puppet.authority_command));
    if let Some(config) = &puppet.authority_config {
        put(format!("config = {}", config.display()));
    }
    if let Some(user) = &puppet.authority_user {
        put(format!("user = {user}"));
    }
    put(format!("ssldir = {}\ncadir = {}", puppet.ssldir.display(), puppet.cadir.display()));
    put(format!("records = {}\nmaster = {master}", new.records.display()));
    put(format!("\n[audit]\nsocket = {}", new.syslog.display()));
    text
}
