//! Certificates, keys and revocation lists that are damaged.

use std::sync::OnceLock;

use espm::system::x509;
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
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", data_encoding::BASE64.encode(der))
}

/// A name with a key; `ca` when it may sign. What it has signed, and when it is valid, is up to each certificate.
struct Party {
    name: &'static str,
    key: rcgen::KeyPair,
    ca: bool,
}

impl Party {
    fn new(name: &'static str, ca: bool) -> Self {
        Self { name, key: rcgen::KeyPair::generate().unwrap(), ca }
    }

    fn params(&self, until: i32) -> rcgen::CertificateParams {
        let mut params = rcgen::CertificateParams::new(vec![]).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(rcgen::DnType::CommonName, self.name);
        (params.not_before, params.not_after) = (rcgen::date_time_ymd(2020, 1, 1), rcgen::date_time_ymd(until, 1, 1));
        if self.ca {
            params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
            params.key_usages = vec![rcgen::KeyUsagePurpose::KeyCertSign, rcgen::KeyUsagePurpose::CrlSign];
        }
        params.serial_number = Some(7.into());
        params
    }

    /// Its certificate, signed by another or by itself.
    fn signed(&self, by: &Self, until: i32) -> String {
        let issuer = by.params(2040);
        self.params(until).signed_by(&self.key, &rcgen::Issuer::from_params(&issuer, &by.key)).unwrap().pem()
    }

    /// Its list of what it has revoked.
    fn list(&self, serial: u64) -> String {
        let revoked = rcgen::RevokedCertParams {
            serial_number: serial.into(),
            revocation_time: rcgen::date_time_ymd(2021, 1, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let list = rcgen::CertificateRevocationListParams {
            this_update: rcgen::date_time_ymd(2021, 1, 1),
            next_update: rcgen::date_time_ymd(2040, 1, 1),
            crl_number: 1.into(),
            issuing_distribution_point: None,
            revoked_certs: vec![revoked],
            key_identifier_method: rcgen::KeyIdMethod::Sha256,
        };
        list.signed_by(&rcgen::Issuer::from_params(&self.params(2040), &self.key)).unwrap().pem().unwrap()
    }
}

#[test]
fn certificate_verifies_only_through_valid_cas_up_to_root_of_bundle() {
    let (root, middle, leaf) = (Party::new("Root", true), Party::new("CA", true), Party::new("web01", false));
    let (no_ca, imposter, other) = (Party::new("CA", false), Party::new("CA", true), Party::new("Other", true));
    let renamed = Party { name: "CA", key: rcgen::KeyPair::from_pem(&other.key.serialize_pem()).unwrap(), ca: true };
    let good = leaf.signed(&middle, 2040);
    let (top, between) = (root.signed(&root, 2040), middle.signed(&root, 2040));
    let renewed = |ca: &Party, new: &String| ca.signed(&root, 2021) + new + &ca.signed(&root, 2021);
    for (certificate, bundle, verifies) in [
        (&good, [&between, &top], true),
        (&good, [&top, &between], true),
        (&good, [&renewed(&middle, &between), &renewed(&root, &top)], true),
        // What it takes is missing: the root, what is between, either.
        (&good, [&between, &between], false),
        (&good, [&top, &top], false),
        (&good, [&other.signed(&other, 2040), &top], false),
        // One of the three is not valid any more.
        (&leaf.signed(&middle, 2021), [&between, &top], false),
        (&good, [&middle.signed(&root, 2021), &top], false),
        (&good, [&between, &root.signed(&root, 2021)], false),
        // Signed by one of the right name and another key, by one that is no CA, by one of another name.
        (&leaf.signed(&imposter, 2040), [&between, &top], false),
        (&leaf.signed(&no_ca, 2040), [&no_ca.signed(&root, 2040), &top], false),
        (&leaf.signed(&renamed, 2040), [&other.signed(&root, 2040), &top], false),
    ] {
        let verified = x509::verify(certificate, bundle.map(String::as_str).concat(), NOW);
        assert_eq!(verified.is_ok(), verifies, "{verified:?}\n{certificate}{bundle:?}");
    }
}

#[test]
fn key_matches_its_certificate_alone() {
    let (one, another) = (Party::new("web01", false), Party::new("web01", false));
    let certificate = one.signed(&one, 2040);
    assert_eq!(x509::key_fits(&certificate, one.key.serialize_pem()), Ok(true));
    assert_eq!(x509::key_fits(&certificate, another.key.serialize_pem()), Ok(false));
    assert!(x509::key_fits(&certificate, &certificate).is_err());
    // As openssl writes it (RFC 5915): with the curve before the public key.
    let (whole, point) = (one.key.serialize_der(), one.key.public_key_raw());
    let scalar = whole.windows(2).position(|bytes| bytes == [4, 32]).unwrap();
    let curve = [0xa0, 10, 6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7];
    let members = [&[2, 1, 1], &whole[scalar..scalar + 34], &curve, &[0xa1, 68, 3, 66, 0], point].concat();
    let sec1 = pem("EC PRIVATE KEY", &[&[0x30, u8::try_from(members.len()).unwrap()], &members[..]].concat());
    assert_eq!(x509::key_fits(&certificate, &sec1), Ok(true));
}

#[test]
fn serial_number_is_formatted_like_openssl() {
    let leaf = Party::new("web01", false);
    for (serial, written) in [(7_u64, "07"), (0x80, "80"), (0x1ff, "01FF")] {
        let mut params = leaf.params(2040);
        params.serial_number = Some(serial.into());
        let identity = x509::identity(params.self_signed(&leaf.key).unwrap().pem()).unwrap();
        assert_eq!((identity.serial.as_str(), identity.common_name.as_str()), (written, "web01"));
    }
}

#[test]
fn certificate_is_revoked_by_list_of_its_issuer_alone() {
    let (ca, other, leaf) = (Party::new("CA", true), Party::new("Other", true), Party::new("web01", false));
    let certificate = leaf.signed(&ca, 2040);
    let bundle = ca.signed(&ca, 2040) + &other.signed(&other, 2040);
    let revoked = |lists: &[String]| x509::is_revoked(&certificate, lists.concat().as_bytes(), &bundle, NOW).ok();
    assert_eq!(revoked(&[ca.list(7)]), Some(true));
    assert_eq!(revoked(&[ca.list(8)]), Some(false));
    assert_eq!(revoked(&[other.list(7), ca.list(8)]), Some(false));
    assert_eq!(revoked(&[ca.list(8), ca.list(7)]), Some(true));
    assert_eq!(revoked(&[other.list(7)]), None, "no list of the issuer is no proof");
}

#[test]
fn serial_numbers_are_looked_up_together_as_each_alone() {
    let (ca, other) = (Party::new("CA", true), Party::new("Other", true));
    let bundle = ca.signed(&ca, 2040) + &other.signed(&other, 2040);
    let among = |serials: &[&str], lists: &[String]| {
        let serials = serials.iter().map(|serial| (*serial).to_owned()).collect();
        x509::revoked_among(&serials, lists.concat().as_bytes(), &bundle, NOW)
    };
    let found =
        |serials: &[&str], lists: &[String]| among(serials, lists).unwrap().serials.into_iter().collect::<Vec<_>>();
    assert_eq!(found(&["06", "07", "80"], &[ca.list(7)]), ["07"]);
    assert_eq!(found(&["07", "80"], &[ca.list(7), ca.list(0x80)]), ["07", "80"], "two lists of one second");
    assert_eq!(found(&["07"], &[other.list(7), ca.list(8)]), Vec::<String>::new());
    assert_eq!(found(&[], &[ca.list(7)]), Vec::<String>::new());
    for refused in [among(&["07"], &[other.list(7)]), among(&["7"], &[ca.list(7)])] {
        assert!(refused.is_err(), "{refused:?}");
    }
}

proptest! {
    #![proptest_config(slow())]

    /// What verifies after a change says of itself what it said before: the change was not in what is signed.
    #[test]
    fn certificate_with_changed_byte_is_refused_or_unchanged(at in any::<prop::sample::Index>(), to in any::<u8>(), cut in any::<bool>()) {
        let pki = pki();
        prop_assert_eq!(x509::verify(&pki.certificate, &pki.ca, NOW), Ok(()));
        prop_assert_eq!(x509::is_revoked(&pki.certificate, pki.crl.as_bytes(), &pki.ca, NOW), Ok(true));
        prop_assert_eq!(x509::key_fits(&pki.certificate, &pki.key), Ok(true));
        let before = x509::identity(&pki.certificate).unwrap();
        let mut der = pki.der.clone();
        let at = at.index(der.len());
        if cut { der.truncate(at) } else { der[at] = to }
        let changed = pem("CERTIFICATE", &der);
        let _ = (x509::key_fits(&changed, &pki.key), x509::is_revoked(&changed, pki.crl.as_bytes(), &pki.ca, NOW), x509::verify(&pki.certificate, &changed, NOW));
        if x509::verify(&changed, &pki.ca, NOW).is_ok() {
            let after = x509::identity(&changed).unwrap();
            prop_assert_eq!((after.common_name, after.serial, after.not_after), (before.common_name, before.serial, before.not_after));
        }
    }

    /// A list says what its CA has signed, or nothing.
    #[test]
    fn revocation_list_with_changed_byte_is_refused_or_unchanged(at in any::<prop::sample::Index>(), to in any::<u8>(), cut in any::<bool>()) {
        let pki = pki();
        let text: String = pki.crl.lines().filter(|line| !line.starts_with('-')).collect();
        let mut der = data_encoding::BASE64.decode(text.as_bytes()).unwrap();
        let at = at.index(der.len());
        if cut { der.truncate(at) } else { der[at] = to }
        let changed = pem("X509 CRL", &der);
        let revoked = x509::is_revoked(&pki.certificate, changed.as_bytes(), &pki.ca, NOW);
        prop_assert!(revoked != Ok(false), "{:?}", revoked);
        prop_assert!(x509::list_until(&pki.ca, changed.as_bytes(), NOW).is_err() || revoked == Ok(true));
    }

    /// Any bytes are read without a panic, and prove nothing.
    #[test]
    fn any_bytes_prove_nothing(der in vec(any::<u8>(), 0..300), bytes in vec(any::<u8>(), 0..300)) {
        let pki = pki();
        for text in [bytes, pem("CERTIFICATE", &der).into_bytes(), pem("X509 CRL", &der).into_bytes()] {
            prop_assert!(x509::verify(&text, &pki.ca, NOW).is_err() && x509::verify(&pki.certificate, &text, NOW).is_err());
            prop_assert!(x509::is_revoked(&pki.certificate, &text[..], &pki.ca, NOW).is_err());
            prop_assert!(x509::ca_until(&text, NOW).is_err() && x509::list_until(&pki.ca, &text[..], NOW).is_err());
        }
    }

    #[test]
    fn invalid_pem_certificate_or_list_is_error(
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
                if let Ok(revoked) = x509::is_revoked(&pki.certificate, text.as_bytes(), &pki.ca, NOW) {
                    prop_assert!(text.contains("BEGIN X509 CRL"), "{}", revoked);
                }
            }
        }
    }
}
