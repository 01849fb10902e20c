//! Clients' requests for certificates, asked of openssl and of espm.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use data_encoding::{BASE64_MIME, HEXUPPER};
use espm::system::x509::{self, CertificateRequest, RequestError};
use sha2::{Digest, Sha256};

const NAME: &str = "web01";

/// The names of the cases, with their texts.
fn cases() -> &'static [(String, String)] {
    static CASES: OnceLock<Vec<(String, String)>> = OnceLock::new();
    CASES.get_or_init(|| {
        let made = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("x509-requests.{}", std::process::id()));
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/x509/requests.py");
        let mut python = Command::new("/usr/bin/python3");
        assert!(python.args(["-B", "-W", "ignore"]).arg(script).arg(&made).status().unwrap().success());
        let read = |path: PathBuf| {
            (path.file_stem().unwrap().to_str().unwrap().to_owned(), fs::read_to_string(&path).unwrap())
        };
        let mut cases: Vec<_> = fs::read_dir(&made).unwrap().map(|entry| read(entry.unwrap().path())).collect();
        fs::remove_dir_all(&made).unwrap();
        cases.sort();
        cases
    })
}

fn case(name: &str) -> &'static str {
    &cases().iter().find(|(case, _)| case == name).unwrap().1
}

/// The output of openssl about a request; `None` where it does not accept it.
fn openssl(arguments: &[&str], pem: &str) -> Option<Vec<u8>> {
    use std::io::Write;
    let mut command = Command::new("openssl");
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(pem.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    output.status.success().then_some(output.stdout)
}

fn der(pem: &str) -> Vec<u8> {
    let lines = pem.lines().skip_while(|line| !line.starts_with("-----BEGIN"));
    let text: String = lines.filter(|line| !line.starts_with("-----")).collect();
    BASE64_MIME.decode(text.as_bytes()).unwrap()
}

fn pem(der: &[u8]) -> String {
    let text = BASE64_MIME.encode(der);
    format!("-----BEGIN CERTIFICATE REQUEST-----\n{text}\n-----END CERTIFICATE REQUEST-----\n")
}

/// As the handler and then espm-helper judge it.
fn judged(pem: impl AsRef<[u8]>) -> Result<CertificateRequest, Vec<RequestError>> {
    let read = x509::request(&pem, NAME)?;
    if x509::is_signed_by_its_key(&pem) { Ok(read) } else { Err(vec![RequestError::Signature]) }
}

#[test]
fn request_is_read_as_by_openssl_or_refused() {
    let cases = cases();
    assert!(cases.len() > 90, "{}", cases.len());
    for (case, text) in cases {
        let read = judged(text);
        assert_eq!(read.is_ok(), case.starts_with("good-"), "{case}: {read:?}");
        let Ok(read) = read else { continue };
        assert_eq!(openssl(&["req", "-outform", "DER"], text).unwrap(), der(&read.pem), "{case}");
        let shown = openssl(&["req", "-noout", "-verify", "-subject", "-nameopt", "RFC2253"], &read.pem).unwrap();
        assert_eq!(String::from_utf8(shown).unwrap(), format!("subject=CN={NAME}\n"), "{case}");
        let public = String::from_utf8(openssl(&["req", "-noout", "-pubkey"], text).unwrap()).unwrap();
        let public = openssl(&["pkey", "-pubin", "-outform", "DER"], &public).unwrap();
        assert_eq!(read.key, HEXUPPER.encode(&Sha256::digest(public)), "{case}");
        assert_eq!(read.key, x509::spki(text).unwrap(), "{case}");
        let shown = String::from_utf8_lossy(&openssl(&["req", "-noout", "-text"], text).unwrap()).into_owned();
        for (oid, value) in &read.extensions {
            // openssl shows the value's bytes, of which those that are no ASCII are dots.
            let ascii: String = value.bytes().map(|b| if b.is_ascii() { char::from(b) } else { '.' }).collect();
            let wanted = format!("{oid}: \n{:20}..{ascii}\n", "");
            assert!(shown.contains(&wanted), "{case}: {wanted:?} in {shown}");
        }
        assert_eq!(
            shown.matches("1.3.6.1.4.1.34380.1.").count() - usize::from(case == "good-renew"),
            read.extensions.len(),
            "{case}"
        );
    }
}

#[test]
fn request_with_one_other_byte_is_refused() {
    for case in ["good-facts", "good-rsa2048"] {
        let der = der(self::case(case));
        assert!(judged(pem(&der)).is_ok());
        for place in 0..der.len() {
            for change in [0x01, 0x20, 0x80, 0xff] {
                let mut other = der.clone();
                other[place] ^= change;
                assert!(judged(pem(&other)).is_err(), "{case}: byte {place} by {change:#x}");
            }
        }
        for length in 0..der.len() {
            assert!(judged(pem(&der[..length])).is_err(), "{case}: {length} bytes");
        }
    }
}

#[test]
fn everything_that_is_wrong_is_said() {
    let errors = |name: &str| x509::request(case(name), "web02").unwrap_err();
    let other = || RequestError::Subject("web02".into());
    assert_eq!(errors("good-p256"), [other()]);
    assert_eq!(errors("good-name"), [other(), RequestError::OtherName("web02".into())]);
    assert_eq!(errors("bad-key-rsa1024"), [other(), RequestError::Key]);
    assert_eq!(errors("bad-attribute-password"), [other(), RequestError::Attribute("1.2.840.113549.1.9.7".into())]);
    assert_eq!(errors("bad-extension-basic"), [other(), RequestError::Extension("2.5.29.19".into())]);
    assert_eq!(errors("bad-pem-two"), [RequestError::Pem]);
    assert_eq!(errors("bad-version-1"), [RequestError::Unreadable]);
}
