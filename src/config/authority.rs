//! `[authority]`: the commands and the files of Puppet's CA.

use std::path::PathBuf;
use std::time::Duration;

use super::command::{Command, command_keys};
use super::declare::{self, Absent, File, Key, Text, Value, keys};
use super::wrong::Wrong;
use crate::authority::executor::Kind;

const KIND: Value<Kind> = Value { want: Kind::WANT, parse: |text| Kind::parse(text).ok_or(text) };

keys! {
    /// `[authority]`.
    pub struct Authority in "authority" {
        /// Command that issues certificates: puppet-cert (Puppet 2.7 to 5) or puppetserver-ca (Puppet 6 and newer).
        kind: Kind = KIND, required("puppet-cert");
        /// Path of puppet.conf, which puppetserver ca does not find by itself as another user than root.
        config: Option<PathBuf> = declare::PATH, optional("/etc/puppetlabs/puppet/puppet.conf") only "puppetserver-ca";
        /// Puppet's ssldir; 'puppet config print ssldir' prints it.
        ssldir: PathBuf = declare::PATH, required("/etc/puppetlabs/puppet/ssl");
        /// Puppet's cadir; 'puppet config print cadir' prints it.
        cadir: PathBuf = declare::PATH, required("/etc/puppetlabs/puppet/ssl/ca");
        /// Directory of espm's records of its certificates, mode 0700; its owner is the user that the command runs as.
        records: PathBuf = declare::PATH, default(records);
        /// Certname of the master, which espm never touches.
        master: String = declare::NAME, required("puppet.example.com");
    } with |file| {
        /// How the command is run.
        command: Command = AuthorityCommand::read(file)?;
    }
}

command_keys!(
    AuthorityCommand in "authority", of "the CA's command",
    command "/opt/puppet/bin/puppet cert --confdir /etc/puppetlabs/puppet --vardir /var/opt/lib/pe-puppet --logdir /var/log/pe-puppet --rundir /var/run/pe-puppet",
    directory default("/"),
    user "pe-puppet",
    timeout "; a revocation alone may wait 60 s for the CA's own lock"
);
