//! The web server's self-signed certificate.

use std::time::Duration;

use rcgen::{
    CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
    PKCS_RSA_SHA256, RsaKeySize, SerialNumber, date_time_ymd,
};

use super::{KeyType, SetupError};
use crate::system::clock;
use crate::system::random;

const DAY: u64 = 24 * 60 * 60;

/// Ten years with their leap days.
const LIFE: Duration = Duration::from_secs(3652 * DAY);

/// The longest common name that X.509 allows (RFC 5280, ub-common-name).
pub(super) const MAX_NAME: usize = 64;

/// A certificate and its private key, PEM.
pub(super) struct Made {
    pub(super) certificate: String,
    pub(super) key: String,
}

/// This host's name.
pub(super) fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().to_ascii_lowercase()
}

/// Makes a certificate for a host and its other names.
pub(super) fn make(host: &str, others: &[String], key_type: KeyType) -> Result<Made, SetupError> {
    let mut names: Vec<String> = Vec::new();
    for name in std::iter::once(host).chain(others.iter().map(String::as_str)) {
        let good = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.:*".contains(&b));
        if !good || name.len() > MAX_NAME {
            return Err(SetupError::HostName(name.to_owned()));
        }
        if !names.iter().any(|found| found == name) {
            names.push(name.to_owned());
        }
    }
    let mut serial = [0; 16];
    random::fill(&mut serial).map_err(SetupError::Random)?;
    let now = Duration::from_secs(u64::try_from(clock::now()).unwrap_or_default());
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name.push(DnType::CommonName, host);
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    // A day of tolerance for clients whose clock is behind.
    params.not_before = date_time_ymd(1970, 1, 1) + now.saturating_sub(Duration::from_secs(DAY));
    params.not_after = date_time_ymd(1970, 1, 1) + now + LIFE;
    params.is_ca = IsCa::ExplicitNoCa;
    // A client that pins this certificate and another of the same name finds out by it which one it has met.
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let key = match key_type {
        KeyType::Ecdsa => KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256),
        KeyType::Rsa => KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_3072),
    }?;
    let certificate = params.self_signed(&key)?;
    Ok(Made { certificate: certificate.pem(), key: key.serialize_pem() })
}
