//! The CA's files of one name, its own certificate, its inventory and its revocation list.

use std::io;
use std::path::{Path, PathBuf};

use super::failure::Failure;
use super::inventory::{self, Entry};
use crate::model::name::NodeName;
use crate::system::clock;
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

    /// A PEM file's text; `None` when it is not there.
    pub(super) fn read(&self, path: &Path) -> Result<Option<String>, Failure> {
        Ok(trusted_file::optional(text(path))?)
    }

    fn bundle(&self) -> PathBuf {
        self.cadir.join("ca_crt.pem")
    }

    fn lists(&self) -> PathBuf {
        self.cadir.join("ca_crl.pem")
    }

    /// The CA's certificate, or the chain of them.
    pub(super) fn ca_certificate(&self) -> Result<String, Failure> {
        Ok(text(&self.bundle())?)
    }

    /// Whether the CA's revocation list has the certificate.
    pub(super) fn is_revoked(&self, certificate: &str) -> Result<bool, Failure> {
        let (path, bundle) = (self.lists(), self.ca_certificate()?);
        let lists = trusted_file::reader(&path, MAX_CRL, Owner::Anyone)?;
        let revoked = x509::is_revoked(certificate, lists, bundle, clock::now());
        revoked.map_err(|error| Failure::Unsound(path, error))
    }

    /// That what the CA signs now can be judged: the CA's chain and its revocation list, and the same code on the
    /// master's own certificate. Gives the end of the CA, and that of its list.
    pub(super) fn judge_ca(&self, master: &str) -> Result<(i64, Option<i64>), Failure> {
        let (bundle, now) = (self.ca_certificate()?, clock::now());
        let until = x509::ca_until(&bundle, now).map_err(|error| Failure::Unsound(self.bundle(), error))?;
        let lists = trusted_file::reader(&self.lists(), MAX_CRL, Owner::Anyone)?;
        let list_until = x509::list_until(&bundle, lists, now);
        let list_until = list_until.map_err(|error| Failure::Unsound(self.lists(), error))?;
        let path = self.signed_as(master);
        if let Some(certificate) = self.read(&path)? {
            x509::verify(certificate, &bundle, now).map_err(|error| Failure::Unsound(path, error))?;
        }
        Ok((until, list_until))
    }

    /// The CA's copy of the certificate of another name.
    pub(super) fn signed_as(&self, name: &str) -> PathBuf {
        self.cadir.join("signed").join(format!("{name}.pem"))
    }

    /// Whether the master's certificate has this name, such as `puppet`: the holder of such a certificate is the
    /// master for each agent that asks for it by that name.
    pub(super) fn is_alias_of(&self, master: &str) -> Result<bool, Failure> {
        let Some(certificate) = self.read(&self.signed_as(master))? else {
            return Ok(false);
        };
        Ok(x509::dns_names(&certificate)?.iter().any(|name| name.eq_ignore_ascii_case(self.name.as_str())))
    }

    /// Whether the CA's inventory has a serial number under another name, as after half of the CA was restored from
    /// a backup. To revoke the one would revoke the other.
    pub(super) fn is_anothers(&self, serial: &str) -> Result<bool, Failure> {
        let of_another = |line: Entry<'_>| line.has_serial(serial) && !line.is_of(self.name.as_str());
        Ok(inventory::any(&self.cadir.join("inventory.txt"), of_another)?)
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

/// What stands around the blocks of PEM may be in any encoding (RFC 7468, section 2).
fn text(path: &Path) -> Result<String, FileError> {
    let bytes = trusted_file::read_bytes(path, MAX_PEM, Owner::Anyone)?;
    Ok(String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()))
}
