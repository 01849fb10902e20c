//! The renewal of the web server's certificate.
//!
//! Clients pin the certificate, so the next one is made beside it, with the same names, and a file with both. A
//! client that has that file trusts the old one and the new one, and the switch ends no client's trust.

use std::fs::{self, Metadata};
use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};

use super::templates::Printer;
use super::{KeyType, Renew, SetupError, certificate, next_steps, say};
use crate::system::trusted_file::{self, FileError, Owner};
use crate::system::x509;

/// Bytes of a certificate with its chain.
const MAX_PEM: u64 = 256 * 1024;

/// Today's files and those beside them.
struct Paths<'a> {
    certificate: &'a Path,
    key: &'a Path,
    next: PathBuf,
    next_key: PathBuf,
    both: PathBuf,
}

impl<'a> Paths<'a> {
    fn of(printer: &Printer<'a>) -> Self {
        let tls = &printer.config.tls;
        Self {
            certificate: &tls.certificate,
            key: &tls.key,
            next: trusted_file::beside(&tls.certificate, "new"),
            next_key: trusted_file::beside(&tls.key, "new"),
            both: trusted_file::beside(&tls.certificate, "both"),
        }
    }

    fn exist(&self) -> bool {
        [&self.next, &self.next_key, &self.both].iter().any(|path| path.symlink_metadata().is_ok())
    }

    /// The line that puts the new files in the old ones' places.
    fn switch(&self) -> String {
        let Self { certificate, key, next, next_key, .. } = self;
        let [certificate, key, next, next_key] = [certificate, key, next.as_path(), next_key].map(Path::display);
        format!("mv -f {next_key} {key} && mv -f {next} {certificate}")
    }

    fn discard(&self) -> String {
        format!("rm -f {} {} {}", self.next_key.display(), self.next.display(), self.both.display())
    }
}

/// Makes the next certificate and prints the steps.
pub(super) fn renew(renew: &Renew) -> Result<(), SetupError> {
    renew.of.with(|printer| {
        let paths = Paths::of(printer);
        let made = make(renew, &paths)?;
        let identity = x509::identity(&made)?;
        say(&format!(
            "New certificate for the clients to pin, SHA-256 fingerprint:\n{}\n\n{made}\n{}",
            identity.fingerprint,
            steps(printer, &paths)
        ))
    })
}

/// Makes the files; the new certificate.
fn make(renew: &Renew, paths: &Paths<'_>) -> Result<String, SetupError> {
    if paths.exist() {
        return Err(SetupError::Begun { switch: paths.switch(), discard: paths.discard() });
    }
    let current = trusted_file::read(paths.certificate, MAX_PEM, Owner::RootOrSelf)?;
    let unreadable = |error| SetupError::Current(paths.certificate.to_owned(), error);
    let heritage = x509::heritage(&current).map_err(unreadable)?;
    if let Some(issuer) = heritage.issuer {
        return Err(SetupError::SignedByCa { path: paths.certificate.to_owned(), issuer });
    }
    let host = x509::identity(&current).map_err(unreadable)?.common_name;
    let kind = renew.key_type.unwrap_or(if heritage.rsa { KeyType::Rsa } else { KeyType::Ecdsa });
    let made = certificate::make(&host, &[heritage.names, renew.san.clone()].concat(), kind)?;
    let like = |path: &Path| fs::metadata(path).map_err(FileError::at(path));
    let (certificate, key) = (like(paths.certificate)?, like(paths.key)?);
    let mode = certificate.mode() & 0o7777;
    let both = current.trim_end().to_owned() + "\n" + &made.certificate;
    let mut written = Vec::new();
    for (path, mode, text, like) in [
        (&paths.next_key, 0o600, &made.key, &key),
        (&paths.next, mode, &made.certificate, &certificate),
        (&paths.both, mode, &both, &certificate),
    ] {
        if let Err(error) = write(path, mode, text, like, &mut written) {
            written.iter().for_each(|path| drop(fs::remove_file(path)));
            return Err(error.into());
        }
    }
    Ok(made.certificate)
}

/// Writes a file that belongs to those to whom another belongs.
fn write(path: &Path, mode: u32, text: &str, like: &Metadata, written: &mut Vec<PathBuf>) -> Result<(), FileError> {
    trusted_file::write_new(path, mode, text.as_bytes())?;
    written.push(path.to_owned());
    chown(path, Some(like.uid()), Some(like.gid())).map_err(FileError::at(path))
}

fn steps(printer: &Printer<'_>, paths: &Paths<'_>) -> String {
    let both = paths.both.display();
    let check = next_steps::check(printer).concat();
    let apache = printer.system.names().apache_service;
    format!(
        "1. On every client, put {both} in the place of the certificate that it trusts.\n   \
         It then trusts the old one and the new one.\n\n\
         2. Then switch. For Apache, reload {apache}:\n\n    \
         {}\n    {check} && systemctl reload nginx\n\n\
         3. At last:\n\n    rm -f {both}\n",
        paths.switch()
    )
}
