//! What each verb needs, done without changing anything: the CA's files judged, its command run.

use std::path::PathBuf;

use thiserror::Error;

use super::{Answer, Ca, Failure, Kind};
use crate::system::command::Program;
use crate::system::text::{excerpt, plain};
use crate::system::x509;

/// Lines of which `puppetserver ca list` prints one.
const LISTS: [&str; 2] = ["No certificates to list", "Requested Certificates:"];

/// Why the verbs would fail, or do harm.
#[derive(Debug, Error)]
pub(super) enum Mistake {
    #[error(
        "[authority] master: there is no {path}; write the certname of the Puppet server's own certificate, or name \
         the right directory in cadir", path = .0.display()
    )]
    NoMaster(PathBuf),
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
        let (until, list_until) = self.files.judge_ca(&self.settings.master)?;
        let path = self.files.signed_as(&self.settings.master);
        let Some(certificate) = self.files.read(&path)? else { return Err(Mistake::NoMaster(path).into()) };
        if self.files.is_revoked(&certificate)? {
            return Err(Mistake::Revoked(path).into());
        }
        self.check_key(&certificate)?;
        self.survey(&self.nothing_recorded())?;
        self.files.is_alias_of(&self.settings.master)?;
        self.files.check_revocation_list(self.records.revocation_list())?;
        self.check_command()?;
        Ok(Answer::Sound { until, list_until, ends: self.ends()? })
    }

    /// Looks for the master's private key where those of new certificates are.
    fn check_key(&self, certificate: &str) -> Result<(), Failure> {
        let path = self.settings.ssldir.join("private_keys").join(format!("{}.pem", self.settings.master));
        let fits = self.files.read(&path)?.is_some_and(|key| x509::key_fits(certificate, &key) == Ok(true));
        if fits { Ok(()) } else { Err(Mistake::Key(path).into()) }
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
        Err(Mistake::Command { command, output: excerpt(&(stdout + "\n" + &stderr)), advice }.into())
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
