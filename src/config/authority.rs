//! `[authority]`: the commands and the files of Puppet's CA.

use std::path::PathBuf;
use std::time::Duration;

use super::Command;
use super::declare::{self, Absent, File, Key, Value, keys};
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

keys! {
    impl Command by AuthorityCommand in "authority" {
        /// Command line of the CA up to the action. As another user than root, Puppet 3 to 5 must be told its
        /// directories, which it otherwise looks for below that user's home.
        argv as "command": Vec<String> = declare::COMMAND, required("/opt/puppet/bin/puppet cert --confdir /etc/puppetlabs/puppet --vardir /var/opt/lib/pe-puppet --logdir /var/log/pe-puppet --rundir /var/run/pe-puppet");
        /// Directory that the command runs in.
        directory: PathBuf = declare::PATH, default("/");
        /// Variables for the command beyond PATH, HOME and LANG.
        environment: Vec<(String, String)> = declare::ENVIRONMENT, list("RUBYLIB=/opt/puppet/lib");
        /// User that the command runs as, through sudo; by default espm's own.
        user: Option<String> = declare::USER, optional("pe-puppet");
        /// Longest time for one run of the command; a revocation alone may wait 60 s for the CA's own lock.
        timeout: Duration = declare::SECONDS, default("120");
        /// Requests that may wait for the CA, which does one thing at a time; the next one is answered 503.
        queue: usize = declare::PLACES, default("64");
        /// Longest time that a request waits for the CA before it is answered 503.
        queue_timeout: Duration = declare::SECONDS_OR_NONE, default("60");
    }
}
