//! The text of a new espm.ini.

use std::fmt::Write;
use std::path::Path;

use super::New;
use crate::model::psk::PskDigest;

/// The text; what has its default is left out.
pub(super) fn text(new: &New, digest: &PskDigest) -> String {
    let path = |path: &Path| Some(path.display().to_string());
    let mut console = vec![("kind", new.console_kind.clone())];
    if new.has_console() {
        console.extend([
            ("command", new.console_command.clone()),
            ("directory", new.console_directory.as_deref().and_then(path)),
            ("release", new.console_release.map(|release| release.word().to_owned())),
            ("user", new.console_user.clone()),
        ]);
    } else {
        console.extend([("catalogue", path(&new.catalogue)), ("published", path(&new.published))]);
    }
    let authority = vec![
        ("kind", new.authority_kind.clone()),
        ("command", new.authority_command.clone()),
        ("config", new.authority_config.as_deref().and_then(path)),
        ("user", new.authority_user.clone()),
        ("ssldir", new.ssldir.as_deref().and_then(path)),
        ("cadir", new.cadir.as_deref().and_then(path)),
        ("records", path(&new.records)),
        ("master", new.master.clone()),
    ];
    let espm = vec![("listen", path(&new.listen)), ("state", path(&new.state)), ("helper", path(&new.helper))];
    let tls = vec![
        ("certificate", path(&new.certificate())),
        ("key", path(&new.key())),
        ("port", Some(new.port.to_string())),
    ];
    let mut text = String::from("# Every key and its default is in the espm.ini that comes with the documentation.\n");
    for (section, keys) in [
        ("espm", espm),
        ("psk", vec![(new.client.as_str(), Some(digest.to_string()))]),
        ("tls", tls),
        ("console", console),
        ("authority", authority),
        ("audit", vec![("socket", path(&new.syslog))]),
    ] {
        let _ = writeln!(text, "\n[{section}]");
        for (key, value) in keys.into_iter().filter_map(|(key, value)| Some((key, value?))) {
            let _ = writeln!(text, "{key} = {value}");
        }
    }
    text
}
