//! The client's user data for cloud-init, as a server takes it.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::{example, launch};
use crate::harness::{Site, run};

/// Runs a script as root of a throw-away copy of this machine's file system.
#[track_caller]
fn in_a_copy_of_this_machine(site: &Site, script: &str) -> String {
    let copy = site.dir.join("copy");
    fs::create_dir(&copy).unwrap();
    let enter = "set -eu; mount --make-rprivate /; mount -t tmpfs espm-test \"$1\"; mkdir \"$1/upper\" \"$1/work\" \"$1/root\"; \
                 mount -t overlay -o \"lowerdir=/,upperdir=$1/upper,workdir=$1/work\" espm-test \"$1/root\"; \
                 mount --bind /dev \"$1/root/dev\"; mount -t proc proc \"$1/root/proc\"; cp \"$2\" \"$1/root/input\"; \
                 exec chroot \"$1/root\" sh -euc \"$3\"";
    run(Command::new("unshare")
        .args(["--mount", "--pid", "--fork", "sh", "-c", enter, "sh"])
        .arg(&copy)
        .arg(site.dir.join("input"))
        .arg(script))
}

#[test]
fn cloud_init_accepts_user_data_and_writes_agent_files() {
    let site = Site::open();
    let template = example("cloud-init.yaml");
    let filled = run(&mut launch(&site, "web01.example.com", &["--user-data", template.to_str().unwrap()]));
    assert!(!filled.contains('@'), "{filled}");
    let input = site.write("input", &filled);
    for file in [input.as_str(), template.to_str().unwrap()] {
        let said = run(Command::new("cloud-init").args(["schema", "--config-file", file]));
        assert!(said.contains("Valid"), "{said}");
    }
    // The module of cloud-init that does it on a server; then the files, each with its mode.
    let script = "/usr/bin/python3 -c 'import yaml; from cloudinit.config.cc_write_files import write_files; \
                  write_files(\"\", yaml.safe_load(open(\"/input\"))[\"write_files\"], \"root:root\")' >&2; \
                  cd /etc/puppetlabs/puppet; chmod 0755 .; cat ssl/certs/web01.example.com.pem; \
                  openssl verify -CAfile ssl/certs/ca.pem ssl/certs/web01.example.com.pem; \
                  openssl pkey -in ssl/private_keys/web01.example.com.pem -pubout; \
                  openssl x509 -in ssl/certs/web01.example.com.pem -noout -pubkey; \
                  stat -c '%a %n' ssl/*/*.pem puppet.conf; cat puppet.conf";
    let found = in_a_copy_of_this_machine(&site, script);
    let certificate = site.get("/v1/nodes/web01.example.com/certificate").json()["certificate"].clone();
    assert!(found.starts_with(certificate.as_str().unwrap()), "{found}");
    let key = found.split("-----BEGIN PUBLIC KEY-----").collect::<Vec<_>>();
    assert!(key.len() == 3 && key[2].starts_with(key[1]), "{found}");
    for part in [
        "ssl/certs/web01.example.com.pem: OK",
        "600 ssl/private_keys/web01.example.com.pem",
        "644 ssl/certs/ca.pem",
        "644 ssl/certs/web01.example.com.pem",
        "644 puppet.conf",
        "certname = web01.example.com\nserver = localhost\n",
    ] {
        assert!(found.contains(part), "{part}: {found}");
    }
    assert!(!Path::new("/etc/puppetlabs/puppet/ssl/private_keys/web01.example.com.pem").exists());
}
