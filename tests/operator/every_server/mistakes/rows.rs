//! The mistakes: where a key has a meaning, its section, the line, and what becomes of it.

use super::Expect::{self, Harmless, Refused, Seen};
use super::On::{self, Enc, Rake, ServerCa};

pub(super) const ROWS: [(On, &str, &str, Expect); 54] = [
    (
        Rake,
        "espm",
        "listen = {dir}/run/other.sock",
        Seen(&[
            "gate: [espm] listen: the gate that runs serves {dir}/run/espm.sock, not {dir}/run/other.sock; write listen = ",
        ]),
    ),
    (
        Rake,
        "espm",
        "state = /var/tmp",
        Seen(&[
            "[espm] state: /var/tmp: /var/tmp belongs to root, and espm does not run as root; name a directory of espm's own",
        ]),
    ),
    (Rake, "espm", "state = {dir}/run", Seen(&["[espm] state: {dir}/run holds nothing of espm's; name the directory"])),
    (Rake, "espm", "require_tls = no", Seen(&["settings: [espm] require_tls: no lets a key pass without TLS"])),
    (
        Rake,
        "espm",
        "request_timeout = 60",
        Seen(&[
            "[espm] request_timeout: 60 s end a command before [console] timeout does (120 s)",
            "before [authority] timeout",
        ]),
    ),
    (Rake, "espm", "helper = {bin}/espm", Seen(&["console: ", "authority: "])),
    (Rake, "espm", "sudo = /usr/bin/doas", Harmless("no section names a user, so sudo is not started")),
    (
        Rake,
        "client cloud",
        "keys = sha256:0123",
        Refused(
            "[client cloud] keys: want sha256: and 64 hexadecimal digits, with commas between keys; remove the line",
        ),
    ),
    (Rake, "client cloud", "may = list, node", Refused("[client cloud] may: want list, nodes or certificates")),
    (Rake, "client cloud", "nodes = Web*", Refused("[client cloud] nodes: want patterns with commas between them")),
    (Rake, "client cloud", "groups = default;db", Refused("[client cloud] groups: a value holds no '#' or ';'")),
    (
        Rake,
        "client cloud",
        "classes = apache ntp",
        Refused("[client cloud] classes: want patterns with commas between"),
    ),
    (
        Enc,
        "client cloud",
        "environments = pre-production",
        Refused("[client cloud] environments: want patterns with commas between them, each of letters, digits, '_'"),
    ),
    (Rake, "client cloud", "most = none", Refused("[client cloud] most: want a whole number from 0 to 1000000")),
    (
        Rake,
        "tls",
        "certificate = {dir}/etc/certs/espm.key",
        Seen(&["certificate: [tls] {dir}/etc/certs/espm.key: there is no certificate"]),
    ),
    (
        Rake,
        "tls",
        "key = {dir}/etc/certs/espm.pem",
        Seen(&["there is no private key; name the certificate's key in [tls] key"]),
    ),
    (
        Rake,
        "tls",
        "port = {free}",
        Seen(&[
            "web server: [tls] port: nothing speaks TLS at 127.0.0.1:{free} (connection refused); start the web server, or name the port",
        ]),
    ),
    (Rake, "console", "kind = enc", Refused("is for kind = rake alone, found kind = enc")),
    (Rake, "console", "command = /usr/bin/rake RAILS_ENV=production", Seen(&["console: "])),
    (
        Rake,
        "console",
        "directory = /tmp",
        Seen(&["[console] directory: all can write /tmp (mode 1777); name the console's own directory"]),
    ),
    (
        Rake,
        "console",
        "environment = name=web01",
        Seen(&["[console] environment: the console's tasks read name where a request gives none; remove name"]),
    ),
    (Rake, "console", "user = daemon", Seen(&["console: ", "sudo: "])),
    (Rake, "console", "timeout = 3600", Seen(&["end a command before [console] timeout does (3600 s)"])),
    (
        Rake,
        "console",
        "queue = 0",
        Harmless("a request that finds every slot taken is 503 at once, and its client asks again"),
    ),
    (
        Rake,
        "console",
        "queue_timeout = 0",
        Harmless("a request that finds every slot taken is 503 at once, and its client asks again"),
    ),
    (
        Rake,
        "console",
        "release = 3.0",
        Seen(&["[console] release: has the tasks of 1.2.7, configured is 3.0; write 1.2.7"]),
    ),
    (Rake, "console", "worker = {dir}/run/none.sock", Seen(&["console worker: "])),
    (Rake, "console", "concurrency = 1000", Seen(&["[console] concurrency: 1000 runs need 100000 MB"])),
    (
        Rake,
        "console",
        "cache = 3600",
        Harmless("a new class is known after an hour, or to who asks with no-cache; adding a node asks anew"),
    ),
    (Enc, "console", "kind = rake", Refused("[console] ")),
    (Enc, "console", "catalogue = {dir}/etc/espm.ini", Seen(&["console: ", "{dir}/etc/espm.ini: [espm] line "])),
    (
        Enc,
        "console",
        "published = /var/tmp",
        Seen(&["[console] published: /var/tmp is owned by user 0; name a directory of espm's own in published"]),
    ),
    (
        Enc,
        "console",
        "queue_timeout = banana",
        Refused("[console] queue_timeout: is for kind = rake alone, found kind = enc"),
    ),
    (
        Enc,
        "console",
        "queue = 0",
        Harmless("a request that finds its node worked on is 503 at once, and its client asks again"),
    ),
    (Rake, "authority", "kind = puppetserver-ca", Seen(&["authority: ", "[authority] command: "])),
    (
        ServerCa,
        "authority",
        "kind = puppet-cert",
        Seen(&["authority: ", "for Puppet 6 and newer write kind = puppetserver-ca"]),
    ),
    (
        ServerCa,
        "authority",
        "config = {dir}/none/puppet.conf",
        Seen(&["[authority] config: {dir}/none/puppet.conf does not exist; name the right path"]),
    ),
    (ServerCa, "authority", "config = {dir}/ca", Seen(&["[authority] config: {dir}/ca is not a file; name another"])),
    (
        Rake,
        "authority",
        "ssldir = {dir}/console",
        Seen(&[
            "[authority] ssldir: {dir}/console/private_keys/master.example.com.pem is not the key of the master's certificate",
            "[authority] ssldir: is {dir}/console, Puppet's is {dir}/ca/ssl; write ssldir = {dir}/ca/ssl",
        ]),
    ),
    (
        Rake,
        "authority",
        "cadir = {dir}/ca/ssl",
        Seen(&[
            "{dir}/ca/ssl/ca_crt.pem: No such file",
            "[authority] cadir: is {dir}/ca/ssl, Puppet's is {dir}/ca/ca; write cadir = {dir}/ca/ca",
        ]),
    ),
    (
        Rake,
        "authority",
        "records = {dir}/state",
        Seen(&["[authority] records: {dir}/state is not apart from {dir}/state; name a directory of its own"]),
    ),
    (
        Rake,
        "authority",
        "records = /var/tmp",
        Seen(&["[authority] records: /var/tmp is owned by user 0; name a directory of espm's own in records"]),
    ),
    (
        Rake,
        "authority",
        "master = puppet",
        Seen(&[
            "[authority] master: there is no {dir}/ca/ca/signed/puppet.pem; write the certname",
            "[authority] master: is puppet, Puppet's certname is master.example.com; write master.example.com",
        ]),
    ),
    (Rake, "authority", "command = {authority}/puppet --root {dir}/ca", Seen(&["[authority] command: "])),
    (
        ServerCa,
        "authority",
        "command = {authority}/puppet --root {dir}/ca",
        Seen(&["[authority] command: ", "start the Puppet server, or name the right command"]),
    ),
    (Rake, "authority", "directory = /tmp", Harmless("the CA's commands read nothing from it")),
    (
        Rake,
        "authority",
        "environment = RUBYLIB=/nonexistent",
        Harmless("where a command needs it, the check of the CA fails"),
    ),
    (
        Rake,
        "authority",
        "user = daemon",
        Seen(&[
            "[authority] records: {dir}/records is owned by user 33; name the right directory in records, or the right user",
        ]),
    ),
    (Rake, "authority", "timeout = 3600", Seen(&["end a command before [authority] timeout does (3600 s)"])),
    (
        Rake,
        "authority",
        "queue = 0",
        Harmless("a request that finds the CA busy is 503 at once, and its client asks again"),
    ),
    (
        Rake,
        "authority",
        "queue_timeout = 0",
        Harmless("a request that finds the CA busy is 503 at once, and its client asks again"),
    ),
    (
        Rake,
        "audit",
        "socket = {dir}/etc/espm.ini",
        Seen(&["syslog: ", "start syslog, or name its socket in [audit] socket"]),
    ),
    (
        Rake,
        "audit",
        "facility = local7",
        Harmless("each record has the program's name, by which the shipped file of rsyslog sorts"),
    ),
    (Rake, "audit", "required = no", Seen(&["settings: [audit] required: no lets changes pass that no record shows"])),
];
