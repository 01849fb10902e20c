//! `[authority]`: the commands, the HTTP API and the files of Puppet's CA.

use std::path::PathBuf;
use std::time::Duration;

use super::declare::{self, Absent, File, Key, Text, Value, keys};
use super::wrong::Wrong;
use crate::authority::executor::{KeyType, Kind};

const KIND: Value<Kind> = Value { want: Kind::WANT, parse: |text| Kind::parse(text).ok_or(text) };

const KEY: Value<KeyType> = Value { want: KeyType::WANT, parse: |text| KeyType::parse(text).ok_or(text) };

keys! {
    /// `[authority]`.
    pub struct Authority in "authority" {
        /// How certificates are issued: by the command puppet-cert (Puppet 2.7 to 5) or puppetserver-ca (Puppet 6 and
        /// newer), or by the CA's HTTP API (puppet-ca-api, Puppet 6 and newer), which is the fastest.
        kind: Kind = KIND, required("puppet-cert");
        /// Path of puppet.conf, which puppetserver ca does not find by itself as another user than root, and with which
        /// 'espm check' compares this section.
        config: Option<PathBuf> = declare::PATH, optional("/etc/puppetlabs/puppet/puppet.conf") only "puppetserver-ca" "puppet-ca-api";
        /// Puppet's ssldir; 'puppet config print ssldir' prints it.
        ssldir: PathBuf = declare::PATH, required("/etc/puppetlabs/puppet/ssl");
        /// Puppet's cadir; 'puppet config print cadir' prints it.
        cadir: PathBuf = declare::PATH, required("/etc/puppetlabs/puppet/ssl/ca");
        /// Directory of espm's records of its certificates, mode 0700; its owner is the user below.
        records: PathBuf = declare::PATH, default(records);
        /// Certname of the master, which espm never touches.
        master: String = declare::NAME, required("puppet.example.com");
        /// User that the CA's files belong to, as which its command runs, through sudo; by default espm's own.
        user: Option<String> = declare::USER, optional("pe-puppet");
        /// Longest time for one certificate; a revocation alone may wait 60 s for the CA's own lock.
        timeout: Duration = declare::SECONDS, default("120");
        /// Longest time that a request waits for the CA before it is answered 503.
        queue_timeout: Duration = declare::SECONDS_OR_NONE, default("60");
    } with |file| {
        /// How the CA is asked.
        way: Way = Way::read(kind, file)?;
    }
}

keys! {
    /// `[authority]` with a command.
    pub struct CaCommand in "authority" for "puppet-cert" "puppetserver-ca" {
        /// Command line of the CA's command up to the action.
        argv as "command": Vec<String> = declare::COMMAND, required("/opt/puppet/bin/puppet cert --confdir /etc/puppetlabs/puppet --vardir /var/opt/lib/pe-puppet --logdir /var/log/pe-puppet --rundir /var/run/pe-puppet");
        /// Directory that the CA's command runs in and may read, so nobody else may write it.
        directory: PathBuf = declare::PATH, default("/");
        /// Variables for the CA's command beyond PATH, HOME and LANG.
        environment: Vec<(String, String)> = declare::ENVIRONMENT, list("RUBYLIB=/opt/puppet/lib");
        /// Requests that may wait for a run of the CA's command, half of them one client's; the next one is answered
        /// 503.
        queue: usize = declare::PLACES, default("64");
    }
}

keys! {
    /// `[authority]` with the HTTP API.
    pub struct Api in "authority" for "puppet-ca-api" {
        /// Kind of the private keys that espm makes; p256 needs agents of Puppet 6.5 or newer.
        key: KeyType = KEY, default("rsa-3072");
        /// Where the Puppet server listens; its certificate must be the master's, whatever is written here.
        address: String = declare::ADDRESS, default("127.0.0.1:8140");
        /// Certificates that are issued or revoked at once.
        concurrency: usize = declare::RUNS, default("8");
        /// Requests that may wait for the CA, half of them one client's; the next one is answered 503.
        queue: usize = declare::PLACES, default("256");
    }
}

/// How the CA is asked.
#[derive(Debug)]
pub enum Way {
    /// By its command.
    Command(CaCommand),
    /// By its HTTP API.
    Api(Api),
}

impl Way {
    fn read(kind: Kind, file: &File<'_>) -> Result<Self, Wrong> {
        match kind {
            Kind::PuppetCert | Kind::PuppetserverCa => CaCommand::read(file).map(Self::Command),
            Kind::PuppetCaApi => Api::read(file).map(Self::Api),
        }
    }
}

impl Authority {
    /// The command that is run for it, where its kind has one.
    pub(crate) fn command(&self) -> Option<&CaCommand> {
        match &self.way {
            Way::Command(command) => Some(command),
            Way::Api(_) => None,
        }
    }

    /// Requests that may change the CA at once, and those that may wait.
    pub(crate) fn places(&self) -> [usize; 2] {
        match &self.way {
            // One lock is around every command.
            Way::Command(command) => [1, command.queue],
            Way::Api(api) => [api.concurrency, api.queue],
        }
    }
}
