//! The check of the web server's certificate and key.

use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::report::{DAYS_CRITICAL, DAYS_LEFT, Report};
use crate::cli::{Failure, failure};
use crate::config::Tls;
use crate::system::clock::{self, DAY};
use crate::system::process;
use crate::system::text;
use crate::system::trusted_file::{self, Owner};
use crate::system::x509;

/// Most bytes of a certificate or key.
const MAX_PEM: u64 = 256 * 1024;

/// The findings, as far as the checking user could read the files.
pub(super) struct Found {
    days: Option<i64>,
    /// The certificate, as a client sees it.
    pub(super) shown: Option<Shown>,
    /// `None` when root alone can read the certificate and this user is not root.
    checked: Option<Result<String, Failure>>,
}

/// What tells a certificate.
pub(super) struct Shown {
    /// A host that it is for.
    pub(super) name: String,
    pub(super) fingerprint: String,
}

/// The first certificate in a text.
pub(super) fn first_pem(text: &str) -> Option<String> {
    const END: &str = "-----END CERTIFICATE-----";
    let (_, rest) = text.split_once("-----BEGIN CERTIFICATE-----")?;
    let (body, _) = rest.split_once(END)?;
    Some(format!("-----BEGIN CERTIFICATE-----{body}{END}\n"))
}

fn shown(pem: &str) -> Option<Shown> {
    let fingerprint = x509::identity(pem).ok()?.fingerprint;
    let names = x509::dns_names(pem).unwrap_or_default();
    let name = names.into_iter().find(|name| !name.contains('*')).unwrap_or_else(|| "localhost".to_owned());
    Some(Shown { name, fingerprint })
}

/// Reads and checks both files.
pub(super) fn look(tls: &Tls) -> Found {
    let read = trusted_file::read(&tls.certificate, MAX_PEM, Owner::RootOrSelf);
    let denied = read.as_ref().is_err_and(|error| error.io_kind() == Some(ErrorKind::PermissionDenied));
    let pem = read.ok();
    let days = |pem: &String| Some((x509::identity(pem).ok()?.not_after - clock::now()) / DAY);
    Found {
        checked: (process::is_root() || !denied).then(|| check(tls)),
        days: pem.as_ref().and_then(days),
        shown: pem.as_deref().and_then(shown),
    }
}

impl Found {
    pub(super) fn report(&mut self, report: &mut Report) {
        if let Some(days) = self.days {
            report.days(days);
        }
        let Some(checked) = self.checked.take() else {
            return report.skip("certificate", "root alone can read it; run 'espm check' as root to check it");
        };
        match checked.map_err(|wrong| Failure(format!("[tls] {}", wrong.0))) {
            Err(wrong) if self.days.is_some_and(|days| (DAYS_CRITICAL..DAYS_LEFT).contains(&days)) => {
                report.warn("certificate", wrong.0);
            }
            result => report.line("certificate", result),
        }
    }
}

fn check(tls: &Tls) -> Result<String, Failure> {
    let read = |path: &Path| trusted_file::read(path, MAX_PEM, Owner::RootOrSelf);
    let certificate = read(&tls.certificate)?;
    let identity =
        x509::identity(&certificate).map_err(|error| Failure(format!("{}: {error}", tls.certificate.display())))?;
    let (path, now) = (tls.certificate.display(), clock::now());
    if now < identity.not_before {
        let begins = clock::rfc3339(identity.not_before);
        return failure(format!(
            "{path}: is valid only from {begins} on, now is {}; set the clock",
            clock::rfc3339(now)
        ));
    }
    if now > identity.not_after {
        let ended = clock::rfc3339(identity.not_after);
        return failure(format!("{path}: ended at {ended}; set the clock, or renew it: espm-setup certificate renew"));
    }
    let days = (identity.not_after - now) / DAY;
    let left = text::count(usize::try_from(days).unwrap_or_default(), "day", "days");
    if days < DAYS_LEFT {
        return failure(format!("{path}: ends in {left}; renew it: espm-setup certificate renew"));
    }
    if !process::is_root() {
        return Ok(format!("ends in {left}; run 'espm check' as root to compare it with its key"));
    }
    match x509::key_fits(&certificate, &read(&tls.key)?) {
        // Only of a key: another file's mode is none of espm's.
        Ok(true) if std::fs::metadata(&tls.key).is_ok_and(|found| found.mode() & 0o077 != 0) => {
            failure(format!("{}: others can read it; chmod 0600 {0}", tls.key.display()))
        }
        Ok(true) => Ok(format!("ends in {left}")),
        Ok(false) => failure(format!(
            "{} does not belong to {}; put the right one there, or renew both: espm-setup certificate renew",
            tls.key.display(),
            tls.certificate.display()
        )),
        Err(error) => failure(format!("{}: {error}; name the certificate's key in [tls] key", tls.key.display())),
    }
}
