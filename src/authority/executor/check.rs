//! What each verb needs, done without changing anything: the CA's files judged, its command run.

use std::path::PathBuf;

use thiserror::Error;

use super::{Answer, Ca, Failure, Way};
use crate::system::x509;

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
    #[error(
        "[authority] kind: the Puppet server does not let the master's certificate sign: {reply}; in its auth.conf allow \
         {master} in the rules of certificate_status, since masters set up before Puppet 6 lack the extension pp_cli_auth"
    )]
    Forbidden { reply: String, master: String },
    #[error(
        "[authority] address: {address} does not answer as the CA does: {reply}; name the address of the Puppet server \
         that has the CA"
    )]
    Api { address: String, reply: String },
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
        match &self.settings.way {
            Way::Command(ca) => self.check_command(ca)?,
            Way::Api(api) => self.check_api(api)?,
        }
        Ok(Answer::Sound { until, list_until, ends: self.ends()? })
    }

    /// Looks for the master's private key where those of new certificates are.
    fn check_key(&self, certificate: &str) -> Result<(), Failure> {
        let path = self.settings.ssldir.join("private_keys").join(format!("{}.pem", self.settings.master));
        let fits = self.files.read(&path)?.is_some_and(|key| x509::key_fits(certificate, &key) == Ok(true));
        if fits { Ok(()) } else { Err(Mistake::Key(path).into()) }
    }
}
