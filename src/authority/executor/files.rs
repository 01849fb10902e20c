//! The CA's files of one name, its own certificate, its inventory and its revocation list.

use std::io;
use std::path::{Path, PathBuf};

use super::failure::Failure;
use crate::model::name::NodeName;
use crate::system::trusted_file::{self, FileError, Owner};
use crate::system::x509;

/// Bytes of a certificate, key or chain in PEM.
const MAX_PEM: u64 = 256 * 1024;

/// Bytes of a revocation list; a million revocations.
const MAX_CRL: u64 = 64 * 1024 * 1024;

/// Puppet's directories, and a name.
pub(super) struct Files<'a> {
    pub(super) ssldir: &'a Path,
    pub(super) cadir: &'a Path,
    pub(super) name: &'a NodeName,
}

impl Files<'_> {
    fn file(&self, directory: PathBuf) -> PathBuf {
        directory.join(format!("{}.pem", self.name))
    }

    /// The CA's copy of the certificate.
    pub(super) fn signed(&self) -> PathBuf {
        self.file(self.cadir.join("signed"))
    }

    /// The key that the CA made for the node.
    pub(super) fn private_key(&self) -> PathBuf {
        self.file(self.ssldir.join("private_keys"))
    }

    /// Every file that a certificate of this name may have.
    fn all(&self) -> Vec<PathBuf> {
        let (ssldir, cadir) = (self.ssldir, self.cadir);
        let directories =
            ["private_keys", "public_keys", "certs", "certificate_requests"].map(|name| ssldir.join(name));
        let mut files: Vec<_> = directories.into_iter().map(|directory| self.file(directory)).collect();
        files.push(self.file(cadir.join("requests")));
        files.push(self.signed());
        files
    }

    /// Whether any file of this name is there; a link counts as a file.
    /// One that cannot be looked at is an error.
    pub(super) fn anything_there(&self) -> Result<bool, Failure> {
        for path in self.all() {
            match path.symlink_metadata() {
                Ok(_) => return Ok(true),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(FileError::io(&path, error).into()),
            }
        }
        Ok(false)
    }

    /// Removes every file of this name, the CA's copy of the certificate last.
    /// While it is there, so is the claim.
    pub(super) fn remove(&self) -> Result<(), Failure> {
        self.all().iter().try_for_each(|path| trusted_file::remove(path).map_err(Failure::from))
    }

    /// A file's text; `None` when it is not there.
    pub(super) fn read(&self, path: &Path) -> Result<Option<String>, Failure> {
        Ok(trusted_file::optional(trusted_file::read(path, MAX_PEM, Owner::Anyone))?)
    }

    /// The CA's certificate, or the chain of them.
    pub(super) fn ca_certificate(&self) -> Result<String, Failure> {
        Ok(trusted_file::read(&self.cadir.join("ca_crt.pem"), MAX_PEM, Owner::Anyone)?)
    }

    pub(super) fn is_revoked(&self, certificate: &str) -> Result<bool, Failure> {
        let path = self.cadir.join("ca_crl.pem");
        let crl = trusted_file::read(&path, MAX_CRL, Owner::Anyone)?;
        x509::is_revoked(certificate, &crl).map_err(|error| Failure::RevocationList(path, error))
    }

    /// Whether the master's certificate has this name, such as `puppet`: the holder of such a certificate is the
    /// master for each agent that asks for it by that name.
    pub(super) fn is_alias_of(&self, master: &str) -> Result<bool, Failure> {
        let Some(certificate) = self.read(&self.cadir.join("signed").join(format!("{master}.pem")))? else {
            return Ok(false);
        };
        Ok(x509::dns_names(&certificate)?.iter().any(|name| name.eq_ignore_ascii_case(self.name.as_str())))
    }

    /// Whether the CA's inventory has a serial number under another name, as after half of the CA was restored from
    /// a backup. To revoke the one would revoke the other.
    pub(super) fn is_anothers(&self, serial: &str) -> Result<bool, Failure> {
        let path = self.cadir.join("inventory.txt");
        let inventory = trusted_file::optional(trusted_file::read(&path, MAX_CRL, Owner::Anyone))?;
        Ok(inventory.is_some_and(|inventory| inventory_has(&inventory, serial, self.name)))
    }

    /// Whether the CA's copy of the certificate is the recorded one.
    /// `None` when there is no copy, or only what a full disk has left of one.
    pub(super) fn is_recorded(&self, certificate: &str) -> Result<Option<bool>, Failure> {
        let Some(signed) = self.read(&self.signed())? else { return Ok(None) };
        let Ok(there) = x509::identity(&signed) else { return Ok(None) };
        Ok(Some(there == x509::identity(certificate)?))
    }

    /// The node's copy of the certificate.
    pub(super) fn copy(&self) -> PathBuf {
        self.file(self.ssldir.join("certs"))
    }
}

/// Whether an inventory has a serial number under another name: `0x0003 BEGIN END /CN=web01.example.com` a line.
fn inventory_has(inventory: &str, serial: &str, name: &NodeName) -> bool {
    let number = |digits: &str| digits.trim_start_matches('0').to_ascii_uppercase();
    let own = format!("/CN={name}");
    inventory.lines().any(|line| {
        let mut words = line.split_whitespace();
        let digits = words.next().and_then(|first| first.strip_prefix("0x"));
        digits.is_some_and(|digits| number(digits) == number(serial)) && words.last() != Some(&own)
    })
}

#[cfg(test)]
mod tests {
    use super::inventory_has;
    use crate::model::name::NodeName;

    #[test]
    fn a_serial_number_is_anothers_by_its_own_line_of_the_inventory() {
        let name = NodeName::parse("web01").unwrap();
        let inventory = "0x0001 a b /CN=ca\n0x001a a b /CN=web01\n0x1A a b /CN=web011\n0x002b a b /CN=web01\n\nnoise\n";
        for (serial, anothers) in [("01", true), ("1A", true), ("2B", false), ("03", false), ("A", false)] {
            assert_eq!(inventory_has(inventory, serial, &name), anothers, "{serial}");
        }
    }
}
