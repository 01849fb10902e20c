//! What does not run, has ended, or was started too early is seen by `espm check`.

use std::fs;
use std::process::{Child, Command, Stdio};

use super::mistakes::On::Enc;
use super::mistakes::{nagios, open};
use crate::harness::{Plan, Server, Site, USER, run, template};

#[test]
fn what_does_not_run_is_seen() {
    let mut site = Site::with(Plan { authority: "puppetserver-ca", ..Plan::default() });
    site.fault("ca", "server_down", "");
    let (said, code) = nagios(&site);
    assert!(code == 2 && said.contains("FAIL  authority: "), "{said}");
    assert!(said.contains("Connection refused") && said.contains("start the Puppet server, or name the right command"));
    site.no_faults("ca");

    // rake lists its tasks without the database; a request needs it.
    site.fault("console", "abort", "");
    let (said, code) = nagios(&site);
    assert!(code == 2 && said.contains("FAIL  console: ") && said.contains("Unknown column"), "{said}");
    site.no_faults("console");

    if site.server != Server::ApacheCgi {
        site.stop_gateway("-TERM");
        let (said, code) = nagios(&site);
        assert!(code == 2 && said.contains("FAIL  gate: [espm] listen: "), "{said}");
        assert!(said.contains("start the gate: systemctl enable --now espm.socket"), "{said}");
        assert!(said.contains("skip  web server: the gate does not answer; see above"), "{said}");
        site.start_gateway();
    }
    let (said, code) = nagios(&site);
    assert_eq!(code, 0, "{said}");
    let metrics = String::from_utf8(site.espm(&["check", "--prometheus"]).stdout).unwrap();
    assert!(metrics.contains("espm_check_ok{check=\"gate\"} 1"), "{metrics}");
    site.fault("ca", "server_down", "");
    let metrics = String::from_utf8(site.espm(&["check", "--prometheus"]).stdout).unwrap();
    assert!(metrics.contains("espm_check_ok{check=\"authority\"} 0"), "{metrics}");
}

/// Signs the CA's certificate again, valid until so many days from now.
fn end_ca_in(site: &Site, days: i64) {
    let script = "dir, days = ARGV; ca = OpenSSL::X509::Certificate.new(File.read(dir + '/ca_crt.pem')); \
                  ca.not_before = Time.now - 1800 * 86_400; ca.not_after = Time.now + days.to_i * 86_400; \
                  ca.sign(OpenSSL::PKey::RSA.new(File.read(dir + '/ca_key.pem')), 'SHA256'); \
                  File.write(dir + '/ca_crt.pem', ca.to_pem)";
    run(Command::new("ruby").args(["-ropenssl", "-e", script]).arg(site.dir.join("ca/ca")).arg(days.to_string()));
}

#[test]
fn ca_that_ends_soon_is_a_warning_and_one_that_has_ended_is_critical() {
    let site = Site::open();
    end_ca_in(&site, 31);
    assert_eq!(nagios(&site).1, 0);
    end_ca_in(&site, 29);
    let (said, code) = nagios(&site);
    assert!(code == 1 && said.contains("FAIL  authority: the CA's certificate ends at 20"), "{said}");
    end_ca_in(&site, -3);
    let (said, code) = nagios(&site);
    assert!(code == 2 && said.contains("FAIL  authority: ") && said.contains("ca_crt.pem: "), "{said}");
    assert!(said.contains("ended at 20"), "{said}");
}

#[test]
fn revoked_certificate_of_master_is_seen() {
    let site = Site::open();
    let (puppet, ca) = (template().join("authority/puppet"), site.dir.join("ca"));
    run(Command::new(puppet).arg("--root").arg(&ca).args(["cert", "revoke", "master.example.com"]));
    run(Command::new("chown").args(["-R", &format!("{USER}:{USER}")]).arg(ca));
    let (said, code) = nagios(&site);
    assert!(code == 2 && said.contains("signed/master.example.com.pem is revoked; write the certname"), "{said}");
}

/// A process that looks like a Puppet server of this site; it ends when its input does.
fn puppet_server(site: &Site) -> Child {
    let java = site.dir.join("java");
    run(Command::new("cp").arg(run(Command::new("sh").args(["-c", "command -v cat"])).trim()).arg(&java));
    let mut server = Command::new(java);
    // As cat it reads standard input, and has all else for names of files that are not there.
    let config = site.dir.join("puppetserver.d");
    server.args(["--", "-", "/puppetserver.jar", "--config"]).arg(config);
    server.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

#[test]
fn puppet_server_started_before_its_settings_changed_is_seen() {
    let site = open(Enc);
    let settings = site.dir.join("ca/puppet.conf");
    let text = fs::read_to_string(&settings).unwrap();
    for (from, to, said) in [
        (
            "node_terminus = exec",
            "node_terminus = plain",
            "node_terminus is plain, so no node gets what espm publishes",
        ),
        ("espm-enc -c", "other -c", "other -c "),
    ] {
        fs::write(&settings, text.replace(from, to)).unwrap();
        let (found, code) = nagios(&site);
        assert!(code == 2 && found.contains("FAIL  Puppet: ") && found.contains(said), "{found}");
        // The CA is "puppet cert".
        assert!(found.contains("puppet config set --section master "), "{found}");
    }
    fs::write(&settings, text).unwrap();
    let mut server = puppet_server(&site);
    assert_eq!(nagios(&site).1, 0);
    run(Command::new("touch").args(["-d", "+10 seconds"]).arg(&settings));
    let (said, code) = nagios(&site);
    let wrong = format!("the Puppet server was started before {} was changed last", settings.display());
    drop(server.stdin.take());
    server.wait().unwrap();
    assert!(code == 2 && said.contains(&wrong) && said.contains("systemctl restart puppetserver"), "{said}");
    assert_eq!(nagios(&site).1, 0);
}

#[test]
fn class_names_without_a_comma_are_seen() {
    let site = open(Enc);
    site.write("etc/catalogue.ini", "[classes]\nnames = apache ntp\n");
    let (said, code) = nagios(&site);
    assert!(code == 2 && said.contains("FAIL  console: "), "{said}");
    assert!(said.contains("line 2: \"apache ntp\" has a blank in it; write commas between names"), "{said}");
}
