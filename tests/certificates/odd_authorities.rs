//! CAs as masters have them: ended, with names of another string type, with a short key, with files that are no UTF-8.

use std::fs;
use std::process::Command;

use super::{ALL, BY_API, Kind, NAME, assert_made, generate, path};
use crate::harness::certificates::{revoked, serial};
use crate::harness::check::{all_is_well, one_fault};
use crate::harness::{Site, run};

/// Has the master's certificate signed anew, by the CA as it is then.
const MASTER: &str = "['signed', '../ssl/certs'].map { |place| \"#{place}/master.example.com.pem\" }.each do |path|
    master = OpenSSL::X509::Certificate.new(File.read(path))
    master.issuer = cert.subject
    File.write(path, master.sign(key, 'SHA256').to_pem)
end";

/// Changes the CA's certificate (`cert`) or its list (`crl`), and signs both anew.
fn change(site: &Site, ruby: &str) {
    let script = format!(
        "Dir.chdir(ARGV[0])
         own, *above = File.binread('ca_crt.pem').scan(/-----BEGIN.*?END CERTIFICATE-----\\n/m)
         list, *lists = File.binread('ca_crl.pem').scan(/-----BEGIN.*?END X509 CRL-----\\n/m)
         cert, crl = OpenSSL::X509::Certificate.new(own), OpenSSL::X509::CRL.new(list)
         key = OpenSSL::PKey::RSA.new(File.read('ca_key.pem'))
         {ruby}
         top = above.empty? ? key : OpenSSL::PKey::RSA.new(File.read('root_key.pem'))
         File.binwrite('ca_crt.pem', [cert.sign(top, 'SHA256').to_pem, *above].join)
         File.binwrite('ca_crl.pem', [crl.sign(key, 'SHA256').to_pem, *lists].join)"
    );
    run(Command::new("ruby").args(["-ropenssl", "-e", &script]).arg(site.dir.join("ca/ca")));
}

/// That a certificate can be made, handed out, revoked and made again, and check finds no fault.
#[track_caller]
fn whole_job_is_done(site: &Site) {
    all_is_well(site);
    let first = generate(site, NAME);
    assert_made(site, first.expect(201));
    site.get(&path(NAME)).expect(200);
    site.delete(&path(NAME)).expect(204);
    assert_made(site, generate(site, NAME).expect(201));
    site.delete(&format!("/v1/nodes/{NAME}")).expect(204);
    assert!(revoked(site).contains(&serial(&first)));
}

fn each_kind(job: impl Fn(Kind, &Site)) {
    for kind in ALL {
        job(kind, &kind.with_node());
    }
}

#[test]
fn ca_that_is_not_valid_now_is_refused_before_a_command_runs() {
    each_kind(|kind, site| {
        for (ruby, file, says) in [
            ("cert.not_after = Time.now - 3 * 86_400", "ca_crt.pem", "a certificate of the chain ended at "),
            (
                "cert.not_after = Time.now + 86_400; cert.not_before = Time.now + 3600",
                "ca_crt.pem",
                "a certificate of the chain is valid only from ",
            ),
            (
                "cert.not_before = Time.now - 60; crl.next_update = Time.now - 60",
                "ca_crl.pem",
                "the revocation list ended at ",
            ),
        ] {
            change(site, ruby);
            one_fault(site, &[file, says]);
            let answer = generate(site, NAME);
            answer.expect(502);
            let records = site.records_of(&answer).concat();
            assert!(records.contains(file) && records.contains(says), "{records}");
        }
        assert_eq!((kind.generated(site), kind.revoked(site)), (0, 0), "{kind:?}");
        site.delete(&format!("/v1/nodes/{NAME}")).expect(204);
    });
}

#[test]
fn certificate_is_revoked_although_the_list_has_ended() {
    each_kind(|_, site| {
        let ours = generate(site, NAME);
        ours.expect(201);
        change(site, "crl.next_update = Time.now - 60");
        site.get(&path(NAME)).expect(502);
        site.delete(&path(NAME)).expect(204);
        assert!(revoked(site).contains(&serial(&ours)));
        all_is_well(site);
    });
}

#[test]
fn ca_whose_name_is_printable_string_does_whole_job() {
    each_kind(|_, site| {
        let name = "OpenSSL::X509::Name.new([['CN', 'Puppet CA: master.example.com', OpenSSL::ASN1::PRINTABLESTRING]])";
        change(site, &format!("cert.issuer = {name} if above.empty?; cert.subject = crl.issuer = {name}; {MASTER}"));
        whole_job_is_done(site);
    });
}

#[test]
fn ca_of_1024_bits_does_whole_job() {
    each_kind(|kind, site| {
        let key = "key = OpenSSL::PKey::RSA.new(1024); File.write('ca_key.pem', key.to_pem)";
        change(site, &format!("{key}; cert.public_key = key.public_key; {MASTER}"));
        if kind == BY_API {
            // What such a CA has signed is not believed of a server.
            one_fault(site, &["kind = puppetserver-ca"]);
            generate(site, NAME).expect(502);
        } else {
            whole_job_is_done(site);
        }
    });
}

#[test]
fn bytes_that_are_no_text_do_not_matter_outside_of_pem() {
    each_kind(|_, site| {
        for (file, before, after) in [
            ("ca_crt.pem", &b"\xef\xbb\xbf# f\xfcr das B\xfcro\r\n"[..], &b""[..]),
            ("ca_crl.pem", b"subject=b\xfcro\n", b""),
            ("inventory.txt", b"", b"0x0099 2012-05-01T10:00:00UTC 2017-05-01T10:00:00UTC /CN=b\xfcro.example.com\n"),
        ] {
            let path = site.dir.join("ca/ca").join(file);
            fs::write(&path, [before, &fs::read(&path).unwrap(), after].concat()).unwrap();
        }
        all_is_well(site);
        let ours = generate(site, NAME);
        ours.expect(201);
        site.get(&path(NAME)).expect(200);
        site.delete(&path(NAME)).expect(204);
        site.delete(&format!("/v1/nodes/{NAME}")).expect(204);
    });
}

#[test]
fn list_that_cannot_be_judged_is_refused_before_a_command_runs() {
    each_kind(|kind, site| {
        let delta =
            "crl.add_extension(OpenSSL::X509::Extension.new('2.5.29.27', OpenSSL::ASN1::Integer(1).to_der, true))";
        let other = "crl.issuer = OpenSSL::X509::Name.new([['CN', 'Other CA']])";
        for (ruby, says) in [
            (delta, "there is only a list of changes"),
            (
                "crl.extensions = []; crl.issuer = cert.subject; key = OpenSSL::PKey::RSA.new(2048)",
                "the revocation list is not signed by the CA",
            ),
            (other, "there is no revocation list of the certificate's issuer"),
        ] {
            let before = ["ca_crt.pem", "ca_crl.pem"].map(|file| fs::read(site.dir.join("ca/ca").join(file)).unwrap());
            change(site, ruby);
            fs::write(site.dir.join("ca/ca/ca_crt.pem"), &before[0]).unwrap();
            one_fault(site, &["ca_crl.pem", says]);
            generate(site, NAME).expect(502);
            fs::write(site.dir.join("ca/ca/ca_crl.pem"), &before[1]).unwrap();
        }
        assert_eq!(kind.generated(site), 0, "{kind:?}");
        whole_job_is_done(site);
    });
}
