//! Places of espm's files: a package's, or `/opt/espm` for an installation by hand.
//!
//! A program derives them from its own path, which the kernel reports: no user, client or web server can set them.

use std::path::Path;
use std::sync::OnceLock;

/// Places of files and directories; each is an absolute path.
#[derive(Debug, PartialEq, Eq)]
pub struct Layout {
    /// Configuration: `espm.ini`, `catalogue.ini`, `enc.ini`.
    pub etc: &'static str,
    /// The configuration's main file.
    pub ini: &'static str,
    /// The operator's catalogue.
    pub catalogue: &'static str,
    /// The configuration of `espm-enc`.
    pub enc_ini: &'static str,
    /// Directory of the web server's certificate and key.
    pub certificates: &'static str,
    /// The web server's certificate.
    pub certificate: &'static str,
    /// The web server's key.
    pub key: &'static str,
    /// The ledger.
    pub state: &'static str,
    /// Published nodes.
    pub nodes: &'static str,
    /// Records of the CA's verbs.
    pub records: &'static str,
    /// The program `espm`.
    pub espm: &'static str,
    /// The program `espm-helper`.
    pub helper: &'static str,
    /// The program `espm-enc`.
    pub enc: &'static str,
    /// The script that Apache's `mod_cgid` starts.
    pub cgi: &'static str,
    /// The directory of the console worker's `espm.rake`.
    pub console: &'static str,
}

/// Installed by hand, as the original was.
pub const BY_HAND: Layout = Layout {
    etc: "/opt/espm/etc",
    ini: "/opt/espm/etc/espm.ini",
    catalogue: "/opt/espm/etc/catalogue.ini",
    enc_ini: "/opt/espm/etc/enc.ini",
    certificates: "/opt/espm/etc/certs",
    certificate: "/opt/espm/etc/certs/espm.pem",
    key: "/opt/espm/etc/certs/espm.key",
    state: "/opt/espm/state",
    nodes: "/opt/espm/nodes",
    records: "/opt/espm/authority",
    espm: "/opt/espm/bin/espm",
    helper: "/opt/espm/bin/espm-helper",
    enc: "/opt/espm/bin/espm-enc",
    cgi: "/opt/espm/lib/espm.cgi",
    console: "/opt/espm/console",
};

/// Installed by a package (Filesystem Hierarchy Standard 3.0).
pub const PACKAGED: Layout = Layout {
    etc: "/etc/espm",
    ini: "/etc/espm/espm.ini",
    catalogue: "/etc/espm/catalogue.ini",
    enc_ini: "/etc/espm/enc.ini",
    certificates: "/etc/espm/certs",
    certificate: "/etc/espm/certs/espm.pem",
    key: "/etc/espm/certs/espm.key",
    state: "/var/lib/espm/state",
    nodes: "/var/lib/espm/nodes",
    records: "/var/lib/espm/authority",
    espm: "/usr/sbin/espm",
    helper: "/usr/libexec/espm/espm-helper",
    enc: "/usr/bin/espm-enc",
    cgi: "/usr/libexec/espm/espm.cgi",
    console: "/usr/share/espm/console",
};

/// Directories of a package's programs.
const PACKAGES: [&str; 3] = ["/usr/sbin", "/usr/bin", "/usr/libexec/espm"];

static THIS: OnceLock<&Layout> = OnceLock::new();

/// Takes another layout for this program's; for what makes a package's files, and only before [`this`] is asked.
pub fn assume(layout: &'static Layout) {
    let _ = THIS.set(layout);
}

/// The layout that this program belongs to.
pub fn this() -> &'static Layout {
    THIS.get_or_init(|| std::env::current_exe().map_or(&BY_HAND, |program| of(&program)))
}

fn of(program: &Path) -> &'static Layout {
    let directory = program.parent().unwrap_or(program);
    if PACKAGES.iter().any(|package| directory == Path::new(package)) { &PACKAGED } else { &BY_HAND }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{BY_HAND, PACKAGED, of};

    #[test]
    fn program_of_the_system_is_a_packages_and_any_other_was_put_by_hand() {
        for program in [PACKAGED.espm, PACKAGED.helper, PACKAGED.enc, "/usr/sbin/espm-setup"] {
            assert_eq!(of(Path::new(program)), &PACKAGED, "{program}");
        }
        for program in
            [BY_HAND.espm, BY_HAND.enc, "/usr/local/sbin/espm", "/root/target/release/espm", "/usr/sbin/x/espm", "espm"]
        {
            assert_eq!(of(Path::new(program)), &BY_HAND, "{program}");
        }
    }
}
