//! What openssl says of the certificates of a CA, and which of them are valid.

use std::collections::BTreeSet;
use std::io::Write;
use std::process::{Command, Stdio};

use crate::harness::{Answer, Site};

pub fn openssl(arguments: &[&str], input: &str) -> String {
    let mut command = Command::new("openssl");
    let mut child = command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "openssl {arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
}

pub fn x509(certificate: &str, options: &[&str]) -> String {
    let printed = openssl(&[&["x509", "-noout"], options].concat(), certificate);
    printed.split_once('=').map_or(printed.clone(), |(_, value)| value.to_owned())
}

/// The serial numbers in the revocation list of the CA that signs; any other list is empty.
pub fn revoked(site: &Site) -> BTreeSet<String> {
    let bundle = site.file("ca/ca/ca_crt.pem");
    let own = openssl(&["x509", "-noout", "-subject"], &bundle).replace("subject=", "issuer=");
    let lists = site.file("ca/ca/ca_crl.pem");
    let mut serials = None;
    for list in lists.split_inclusive("-----END X509 CRL-----\n") {
        let text = openssl(&["crl", "-noout", "-text"], list);
        let numbers = text.lines().filter_map(|line| line.trim().strip_prefix("Serial Number: ")).map(str::to_owned);
        if openssl(&["crl", "-noout", "-issuer"], list) == own {
            assert!(serials.replace(numbers.collect()).is_none(), "two lists of one CA");
        } else {
            assert_eq!(numbers.count(), 0, "{text}");
        }
    }
    serials.unwrap()
}

/// The serial numbers of everything that the CA ever signed, but the master's, and has not revoked.
pub fn valid(site: &Site) -> BTreeSet<String> {
    let revoked = revoked(site);
    let inventory = site.file("ca/ca/inventory.txt");
    let of_nodes = inventory.lines().filter(|line| !line.ends_with("/CN=master.example.com"));
    // In whole bytes, as openssl prints it.
    let serial = |line: &str| {
        let number = u32::from_str_radix(line[2..].split(' ').next().unwrap(), 16).unwrap();
        let digits = format!("{number:X}");
        if digits.len() % 2 == 0 { digits } else { format!("0{digits}") }
    };
    of_nodes.map(serial).filter(|serial| !revoked.contains(serial)).collect()
}

pub fn serial(answer: &Answer) -> String {
    answer.json()["serial"].as_str().unwrap().to_owned()
}
