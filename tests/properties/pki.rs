//! Certificates, keys and revocation lists that are damaged.

use std::sync::OnceLock;

use espm::x509;
use proptest::collection::vec;
use proptest::prelude::*;

use crate::config;
use crate::strategies::text;

/// For what takes a signature each time.
fn slow() -> ProptestConfig {
    let config = config();
    ProptestConfig { cases: config.cases / 8, ..config }
}

/// A CA, a certificate of it, its key, and a list in which it is revoked.
struct Pki {
    ca: String,
    certificate: String,
    key: String,
    crl: String,
    der: Vec<u8>,
}

fn pki() -> &'static Pki {
    static PKI: OnceLock<Pki> = OnceLock::new();
    PKI.get_or_init(|| {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(vec![]).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.key_usages = vec![rcgen::KeyUsagePurpose::KeyCertSign, rcgen::KeyUsagePurpose::CrlSign];
        params.distinguished_name.push(rcgen::DnType::CommonName, "Puppet CA");
        let ca = params.self_signed(&key).unwrap().pem();
        let issuer = rcgen::Issuer::new(params, key);
        let leaf_key = rcgen::KeyPair::generate().unwrap();
        let mut leaf = rcgen::CertificateParams::new(vec![]).unwrap();
        leaf.distinguished_name = rcgen::DistinguishedName::new();
        leaf.distinguished_name.push(rcgen::DnType::CommonName, "web01");
        leaf.serial_number = Some(7.into());
        let certificate = leaf.signed_by(&leaf_key, &issuer).unwrap();
        let crl = rcgen::CertificateRevocationListParams {
            this_update: rcgen::date_time_ymd(2020, 1, 1),
            next_update: rcgen::date_time_ymd(2040, 1, 1),
            crl_number: 1.into(),
            issuing_distribution_point: None,
            revoked_certs: vec![rcgen::RevokedCertParams {
                serial_number: 7.into(),
                revocation_time: rcgen::date_time_ymd(2021, 1, 1),
                reason_code: None,
                invalidity_date: None,
            }],
            key_identifier_method: rcgen::KeyIdMethod::Sha256,
        };
        let crl = crl.signed_by(&issuer).unwrap().pem().unwrap();
        Pki { ca, der: certificate.der().to_vec(), certificate: certificate.pem(), key: leaf_key.serialize_pem(), crl }
    })
}

/// 2026-11-24.
const NOW: i64 = 1_795_490_361;

fn pem(label: &str, der: &[u8]) -> String {
    use base64::Engine;
    format!(
        "-----BEGIN {label}-----\n{}\n-----END {label}-----\n",
        base64::engine::general_purpose::STANDARD.encode(der)
    )
}

proptest! {
    #![proptest_config(slow())]

    /// What verifies after a change says of itself what it said before: the change was not in what is signed.
    #[test]
    fn a_certificate_with_a_changed_byte_is_refused_or_says_the_same(at in any::<prop::sample::Index>(), to in any::<u8>(), cut in any::<bool>()) {
        let pki = pki();
        prop_assert_eq!(x509::verify(&pki.certificate, &pki.ca, NOW), Ok(()));
        prop_assert_eq!(x509::is_revoked(&pki.certificate, &pki.crl), Ok(true));
        prop_assert_eq!(x509::key_fits(&pki.certificate, &pki.key), Ok(true));
        let before = x509::identity(&pki.certificate).unwrap();
        let mut der = pki.der.clone();
        let at = at.index(der.len());
        if cut { der.truncate(at) } else { der[at] = to }
        let changed = pem("CERTIFICATE", &der);
        let _ = (x509::key_fits(&changed, &pki.key), x509::is_revoked(&changed, &pki.crl), x509::verify(&pki.certificate, &changed, NOW));
        if x509::verify(&changed, &pki.ca, NOW).is_ok() {
            let after = x509::identity(&changed).unwrap();
            prop_assert_eq!((after.common_name, after.serial, after.not_after), (before.common_name, before.serial, before.not_after));
        }
    }

    #[test]
    fn what_is_no_pem_no_certificate_and_no_list_is_an_error_and_no_crash(
        what in text(),
        der in vec(any::<u8>(), 0..200),
        at in any::<prop::sample::Index>(),
        label in prop_oneof![Just("CERTIFICATE"), Just("X509 CRL"), Just("PRIVATE KEY"), Just("RSA PRIVATE KEY"), Just("EC PRIVATE KEY")],
    ) {
        let pki = pki();
        for whole in [&pki.certificate, &pki.key, &pki.crl] {
            let at = whole.char_indices().map(|(at, _)| at).nth(at.index(whole.len())).unwrap();
            let (before, after) = whole.split_at(at);
            for text in [format!("{before}{what}{after}"), pem(label, &der), before.to_owned(), what.clone()] {
                let _ = (x509::identity(&text), x509::key_fits(&text, &pki.key), x509::key_fits(&pki.certificate, &text));
                let _ = x509::verify(&text, &pki.ca, NOW);
                prop_assert!(x509::verify(&pki.certificate, &text, NOW).is_err());
                if let Ok(revoked) = x509::is_revoked(&pki.certificate, &text) {
                    prop_assert!(text.contains("BEGIN X509 CRL"), "{}", revoked);
                }
            }
        }
    }
}
