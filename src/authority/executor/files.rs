//! The CA's files of one name, its own certificate, its inventory and its revocation list.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::failure::Failure;
use super::inventory::{self, Inventory, Line};
use super::survey::Signed;
use crate::model::name::NodeName;
use crate::system::clock;
use crate::system::trusted_file::{self, FileError, Owner};
use crate::system::x509::{self, Revoked, X509Error};

/// Bytes of a certificate, key or chain in PEM.
const MAX_PEM: u64 = 256 * 1024;

/// Bytes of a revocation list; a million revocations.
const MAX_CRL: u64 = 64 * 1024 * 1024;

/// Bytes of an inventory; two million certificates.
const MAX_INVENTORY: u64 = 256 * 1024 * 1024;

/// The CA as it is now.
#[derive(Debug)]
pub(super) struct Today {
    /// Its certificate, or the chain of them, PEM.
    pub(super) bundle: String,
    /// SHA-256 of the public key of the one that signs.
    pub(super) ca: String,
}

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

    /// The node's copy of the certificate.
    pub(super) fn copy(&self) -> PathBuf {
        self.file(self.ssldir.join("certs"))
    }

    /// A request that waits at the CA.
    pub(super) fn waiting(&self) -> PathBuf {
        self.file(self.cadir.join("requests"))
    }

    /// Every file that a certificate of this name may have, the CA's copy last.
    /// While it is there, so is the claim.
    fn all(&self) -> Vec<PathBuf> {
        let directories = ["private_keys", "public_keys", "certs", "certificate_requests"];
        let mut files = directories.map(|name| self.file(self.ssldir.join(name))).to_vec();
        files.extend([self.waiting(), self.signed()]);
        files
    }

    /// The files of this name that are there; a link counts as a file.
    /// One that cannot be looked at is an error.
    pub(super) fn there(&self) -> Result<Vec<PathBuf>, Failure> {
        let mut there = Vec::new();
        for path in self.all() {
            match path.symlink_metadata() {
                Ok(_) => there.push(path),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(FileError::io(&path, error).into()),
            }
        }
        Ok(there)
    }

    /// Removes what a command of espm's has made where nothing was before. A request with another key stays: an
    /// agent may have sent it meanwhile.
    pub(super) fn remove_made(&self) -> Result<(), Failure> {
        let key = self.key_in(&self.private_key())?;
        self.remove(|path, has| *path != self.waiting() || (has.is_some() && has == key))
    }

    /// Removes the files that `is_ours` names; it gets the path and the key in the file.
    pub(super) fn remove(&self, is_ours: impl Fn(&PathBuf, Option<String>) -> bool) -> Result<(), Failure> {
        for path in self.there()? {
            if is_ours(&path, self.key_in(&path)?) {
                trusted_file::remove(&path)?;
            }
        }
        Ok(())
    }

    /// The key in a file of this name, if it has one that can be read.
    pub(super) fn key_in(&self, path: &Path) -> Result<Option<String>, Failure> {
        Ok(self.read(path)?.and_then(|pem| x509::spki(&pem).ok()))
    }

    /// A PEM file's text; `None` when it is not there.
    pub(super) fn read(&self, path: &Path) -> Result<Option<String>, Failure> {
        Ok(trusted_file::optional(text(path))?)
    }

    fn bundle(&self) -> PathBuf {
        self.cadir.join("ca_crt.pem")
    }

    /// The CA's certificate, or the chain of them.
    pub(super) fn ca_certificate(&self) -> Result<String, Failure> {
        Ok(text(&self.bundle())?)
    }

    pub(super) fn today(&self) -> Result<Today, Failure> {
        let bundle = self.ca_certificate()?;
        let ca = x509::signer(&bundle)?;
        Ok(Today { bundle, ca })
    }

    pub(super) fn revocation_list(&self) -> PathBuf {
        self.cadir.join("ca_crl.pem")
    }

    /// Whether the CA's revocation list has the certificate.
    pub(super) fn is_revoked(&self, certificate: &str) -> Result<bool, Failure> {
        let (path, bundle) = (self.revocation_list(), self.ca_certificate()?);
        let lists = trusted_file::reader(&path, MAX_CRL, Owner::Anyone)?;
        let revoked = x509::is_revoked(certificate, lists, bundle, clock::now());
        revoked.map_err(|error| Failure::Unsound(path, error))
    }

    /// As [`Files::is_revoked`], for a serial number of the CA that signs.
    pub(super) fn is_serial_revoked(&self, today: &Today, serial: &str) -> Result<bool, Failure> {
        let found = self.revoked_among(today, &BTreeSet::from([serial.to_owned()]))?;
        match found.ended {
            Some(end) if found.serials.is_empty() => {
                Err(Failure::Unsound(self.revocation_list(), X509Error::ListEnded(end)))
            }
            _ => Ok(!found.serials.is_empty()),
        }
    }

    /// The serial numbers among these that are surely revoked: a list that has ended tells only what is in it.
    pub(super) fn revoked(&self, today: &Today, serials: &BTreeSet<String>) -> Result<BTreeSet<String>, Failure> {
        if serials.is_empty() { Ok(BTreeSet::new()) } else { Ok(self.revoked_among(today, serials)?.serials) }
    }

    fn revoked_among(&self, today: &Today, serials: &BTreeSet<String>) -> Result<Revoked, Failure> {
        let path = self.revocation_list();
        let lists = trusted_file::reader(&path, MAX_CRL, Owner::Anyone)?;
        let found = x509::revoked_among(serials, lists, &today.bundle, clock::now());
        found.map_err(|error| Failure::Unsound(path, error))
    }

    /// Keeps the revocation list as it is: a command that is killed while it writes may leave an empty one.
    pub(super) fn keep_revocation_list(&self, copy: &Path) -> Result<(), Failure> {
        let list = trusted_file::read_bytes(&self.revocation_list(), MAX_CRL, Owner::Anyone)?;
        Ok(trusted_file::replace(copy, 0o600, &list)?)
    }

    /// That the revocation list has what it had when that copy of it was made.
    pub(super) fn check_revocation_list(&self, copy: PathBuf) -> Result<(), Failure> {
        let Some(before) = trusted_file::optional(trusted_file::reader(&copy, MAX_CRL, Owner::RootOrSelf))? else {
            return Ok(());
        };
        let now = self.revocation_list();
        let lists = trusted_file::reader(&now, MAX_CRL, Owner::Anyone)?;
        match x509::lost(before, lists).map_err(|error| Failure::Unsound(now.clone(), error))? {
            Some(serial) => Err(Failure::LostRevocations { serial, before: copy, now }),
            None => Ok(()),
        }
    }

    /// That what the CA signs now can be judged: the CA's chain and its revocation list, and the same code on the
    /// master's own certificate. Gives the end of the CA, and that of its list.
    pub(super) fn judge_ca(&self, master: &str) -> Result<(i64, Option<i64>), Failure> {
        let (bundle, now) = (self.ca_certificate()?, clock::now());
        let until = x509::ca_until(&bundle, now).map_err(|error| Failure::Unsound(self.bundle(), error))?;
        let lists = trusted_file::reader(&self.revocation_list(), MAX_CRL, Owner::Anyone)?;
        let list_until = x509::list_until(&bundle, lists, now);
        let list_until = list_until.map_err(|error| Failure::Unsound(self.revocation_list(), error))?;
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

    /// What the CA's copy is.
    /// `None` when there is no copy, or only what a full disk has left of one.
    pub(super) fn signed_now(&self, today: &Today) -> Result<Option<Signed>, Failure> {
        let Some(pem) = self.read(&self.signed())? else { return Ok(None) };
        let (Ok(identity), Ok(key)) = (x509::identity(&pem), x509::spki(&pem)) else { return Ok(None) };
        Ok(Some(Signed {
            serial: identity.serial,
            key,
            of_this_ca: x509::is_signed_by(&pem, &today.bundle)?,
            not_before: identity.not_before,
            not_after: identity.not_after,
        }))
    }

    /// Whether the master's certificate has this name, such as `puppet`: the holder of such a certificate is the
    /// master for each agent that asks for it by that name.
    pub(super) fn is_alias_of(&self, master: &str) -> Result<bool, Failure> {
        let Some(certificate) = self.read(&self.signed_as(master))? else { return Ok(false) };
        Ok(x509::dns_names(&certificate)?.iter().any(|name| name.eq_ignore_ascii_case(self.name.as_str())))
    }

    /// The lines of this name in the CA's inventory, which may lack the master's own.
    pub(super) fn inventory(&self, master: &str) -> Result<Inventory, Failure> {
        let path = self.inventory_path();
        let read = || trusted_file::reader(&path, MAX_INVENTORY, Owner::Anyone);
        let master = self.read(&self.signed_as(master))?.map(|pem| x509::identity(&pem)).transpose()?;
        let master = master.as_ref().map(|master| master.serial.as_str());
        Inventory::of(self.name, [read()?, read()?], master).map_err(|error| FileError::io(&path, error).into())
    }

    /// The lines of these names in the CA's inventory.
    pub(super) fn inventory_of<'b>(&self, names: &'b [NodeName]) -> Result<HashMap<&'b NodeName, Vec<Line>>, Failure> {
        let path = self.inventory_path();
        let lines = trusted_file::reader(&path, MAX_INVENTORY, Owner::Anyone)?;
        inventory::of_names(names, lines).map_err(|error| FileError::io(&path, error).into())
    }

    fn inventory_path(&self) -> PathBuf {
        self.cadir.join("inventory.txt")
    }

    /// Whether the private key and the CA's copy were written in a span of time, in seconds since 1970.
    pub(super) fn were_made(&self, from: i64, until: i64) -> Result<bool, Failure> {
        for path in [self.private_key(), self.signed()] {
            let written = path.symlink_metadata().map_err(|error| FileError::io(&path, error))?.mtime();
            if !(from..=until).contains(&written) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// What stands around the blocks of PEM may be in any encoding (RFC 7468, section 2).
fn text(path: &Path) -> Result<String, FileError> {
    let bytes = trusted_file::read_bytes(path, MAX_PEM, Owner::Anyone)?;
    Ok(String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()))
}
