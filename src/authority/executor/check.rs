//! What each verb needs, done without changing anything: the CA's files judged, its command run.

use std::path::{Path, PathBuf};

use thiserror::Error;

use super::{Answer, Ca, Failure, Kind};
use crate::system::clock;
use crate::system::command::Program;
use crate::system::text::{excerpt, plain};
use crate::system::x509::{self, X509Error};

/// Seconds of a day.
const DAY: i64 = 86_400;

/// Lines of which `puppetserver ca list` prints one.
const LISTS: [&str; 2] = ["No certificates to list", "Requested Certificates:"];

/// Why the verbs would fail, or do harm.
#[derive(Debug, Error)]
pub(in crate::authority::executor) enum Unsound {
    #[error("the CA's certificate ended at {0}; renew it as Puppet's documentation says, or set the clock")]
    Ended(String),
    #[error(
        "[authority] master: there is no {path}; write the certname of the Puppet server's own certificate, or name \
         the right directory in cadir", path = .0.display()
    )]
    NoMaster(PathBuf),
    #[error("[authority] cadir: {path}: the CA did not sign it: {error}; name the right directory", path = .0.display(), error = .1)]
    Master(PathBuf, X509Error),
    #[error("[authority] master: {path} is revoked; write the certname of the Puppet server's own certificate", path = .0.display())]
    Revoked(PathBuf),
    #[error(
        "[authority] ssldir: {path} is not the key of the master's certificate; name the right directory, or write the \
         Puppet server's certname as master", path = .0.display()
    )]
    Key(PathBuf),
    #[error("[authority] command: '{command}' does not answer as the CA does: {output}; {advice}")]
    Command { command: String, output: String, advice: &'static str },
}

impl Ca<'_> {
    /// Does what the other verbs need.
    pub(super) fn check(&self) -> Result<Answer, Failure> {
        let (bundle, now) = (self.files.ca_certificate()?, clock::now());
        let ends = x509::identity(&bundle)?.not_after;
        if ends < now {
            return Err(Unsound::Ended(clock::rfc3339(ends)).into());
        }
        self.files.is_revoked(&bundle)?;
        self.is_taken()?;
        self.files.is_anothers("")?;
        self.check_master(&bundle, now)?;
        self.check_command()?;
        Ok(Answer::Sound { days: (ends - now) / DAY })
    }

    /// Judges the master's own certificate as a new node's is judged.
    fn check_master(&self, bundle: &str, now: i64) -> Result<(), Failure> {
        let file = |directory: &Path| directory.join(format!("{}.pem", self.settings.master));
        let path = file(&self.settings.cadir.join("signed"));
        let Some(certificate) = self.files.read(&path)? else { return Err(Unsound::NoMaster(path).into()) };
        if let Err(error) = x509::verify(&certificate, bundle, now) {
            return Err(Unsound::Master(path, error).into());
        }
        if self.files.is_revoked(&certificate)? {
            return Err(Unsound::Revoked(path).into());
        }
        let path = file(&self.settings.ssldir.join("private_keys"));
        let fits = self.files.read(&path)?.is_some_and(|key| x509::key_fits(&certificate, &key) == Ok(true));
        if fits { Ok(()) } else { Err(Unsound::Key(path).into()) }
    }

    /// Has the CA's command list: `puppet cert` the master's certificate, `puppetserver ca` the requests that wait, since
    /// for one name it would read every certificate. The exit code proves nothing: `puppetserver` ends with 0 for an action
    /// that it does not know.
    fn check_command(&self) -> Result<(), Failure> {
        let Program { mut argv, environment, directory } = self.settings.program.clone();
        let master = &self.settings.master;
        let advice = match self.settings.kind {
            Kind::PuppetCert => {
                argv.extend(["list", "--color=false", master].map(str::to_owned));
                "for Puppet 6 and newer write kind = puppetserver-ca"
            }
            Kind::PuppetserverCa => {
                argv.push("list".to_owned());
                if let Some(config) = &self.settings.config {
                    argv.extend(["--config".to_owned(), config.display().to_string()]);
                }
                "start the Puppet server, or name the right command, such as /opt/puppetlabs/bin/puppetserver ca"
            }
        };
        let command = argv.join(" ");
        let ended = Program { argv, environment, directory }.capture(Vec::new(), self.until)?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (stdout, stderr) = (text(&ended.stdout), text(&ended.stderr));
        let answers = match self.settings.kind {
            Kind::PuppetCert => shows(&stdout, master),
            Kind::PuppetserverCa => LISTS.iter().any(|text| stdout.lines().any(|line| line == *text)),
        };
        if answers {
            return Ok(());
        }
        Err(Unsound::Command { command, output: excerpt(&(stdout + "\n" + &stderr)), advice }.into())
    }
}

/// True if a list of certificates shows this name with a fingerprint.
fn shows(list: &str, name: &str) -> bool {
    list.lines().map(plain).any(|line| {
        let mut words = line.split_whitespace();
        words.any(|word| word.trim_matches('"') == name) && words.any(|word| word.matches(':').count() > 10)
    })
}

#[cfg(test)]
mod tests {
    use super::shows;

    #[test]
    fn only_a_line_with_the_name_and_a_fingerprint_shows_a_certificate() {
        let print = "AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:77:88:99";
        for (list, shown) in [
            (format!("+ \"web01\" (SHA256) {print}\n"), true),
            (format!("+ web01 ({print})\n"), true),
            (format!("\u{1b}[0;32m+ \"web01\"\u{1b}[0m (SHA256) {print}"), true),
            (format!("+ \"web011\" (SHA256) {print}\n"), false),
            ("Error: Could not find a certificate for web01\n".to_owned(), false),
        ] {
            assert_eq!(shows(&list, "web01"), shown, "{list}");
        }
    }
}
