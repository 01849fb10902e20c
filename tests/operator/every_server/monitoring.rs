//! `espm check` for what watches the master: a plugin of Nagios, metrics of Prometheus.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use crate::harness::{Plan, Site, as_user, run};

/// What a plugin prints: its first line's text, its performance data, and the exit code.
fn plugin(site: &Site) -> (String, Vec<String>, i32) {
    let output = site.espm(&["check", "--nagios"]);
    let text = String::from_utf8(output.stdout).unwrap();
    let (said, data) = text.lines().next().unwrap().split_once(" | ").unwrap_or_else(|| panic!("{text}"));
    assert_eq!(text.matches('|').count(), 1, "{text}");
    (said.to_owned(), data.split(' ').map(str::to_owned).collect(), output.status.code().unwrap())
}

/// The metrics, each with its value, as they are for Prometheus.
fn metrics(site: &Site) -> std::collections::BTreeMap<String, i64> {
    let output = site.espm(&["check", "--prometheus"]);
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let mut found = std::collections::BTreeMap::new();
    let mut described = String::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            rest.split(' ').next().unwrap().clone_into(&mut described);
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            assert_eq!(rest, format!("{described} gauge"));
        } else {
            let (metric, value) = line.rsplit_once(' ').unwrap();
            assert_eq!(metric.split('{').next().unwrap(), described, "{text}");
            assert!(found.insert(metric.to_owned(), value.parse().unwrap()).is_none(), "{metric} twice: {text}");
        }
    }
    found
}

/// Whole days until the web server's certificate ends, by openssl and date.
fn days_left(site: &Site) -> i64 {
    let pem = site.dir.join("etc/certs/espm.pem");
    let end = run(Command::new("openssl").args(["x509", "-noout", "-enddate", "-in"]).arg(pem));
    let end = end.trim().trim_start_matches("notAfter=");
    let seconds = |words: &[&str]| run(Command::new("date").arg("+%s").args(words)).trim().parse::<i64>().unwrap();
    (seconds(&["-d", end]) - seconds(&[])) / 86_400
}

#[test]
fn nagios_and_prometheus_report_ok_warning_and_critical() {
    let site = Site::open();
    site.add("web01");
    site.add("web02");
    site.ask("POST", "/v1/nodes/web01/certificate", None, &[]).expect(201);

    let first = days_left(&site);
    let (said, data, code) = plugin(&site);
    assert_eq!((said.as_str(), code), ("ESPM OK: 15 checks", 0));
    for part in ["failures=0", "nodes=2;;;0", "unfinished=0;0;;0", "ending=0;0;;0;1", "unsent=0;0;;0"] {
        assert!(data.iter().any(|found| found == part), "{part}: {data:?}");
    }
    let good = metrics(&site);
    // Two numbers where the end of a day of the certificate's life lies between the looks.
    let days = [first, days_left(&site)];
    assert!(days.iter().any(|days| data.contains(&format!("certificate_days={days};30:;7:"))), "{days:?}: {data:?}");
    assert!(days.contains(&good["espm_certificate_days_left"]), "{days:?}: {good:?}");
    for (metric, value) in [
        ("espm_check_ok{check=\"ledger\"}", 1),
        ("espm_check_failures", 0),
        ("espm_nodes{state=\"active\"}", 2),
        ("espm_nodes{state=\"unproven\"}", 0),
        ("espm_certificates{state=\"issued\"}", 1),
        ("espm_unfinished_intents", 0),
        ("espm_node_certificates", 1),
        ("espm_node_certificates_ending{within_days=\"30\"}", 0),
        ("espm_audit_unsent", 0),
    ] {
        assert_eq!(good.get(metric), Some(&value), "{metric}: {good:?}");
    }

    // A node that somebody has deleted by hand waits for the operator; espm works.
    site.rake(&["node:del", "name=web02"]);
    let (said, data, code) = plugin(&site);
    assert_eq!((said.contains("ESPM WARNING: 1 of ") && said.contains("web02 is missing"), code), (true, 1), "{said}");
    assert!(data.contains(&"failures=1".to_owned()), "{data:?}");
    assert_eq!(site.espm(&["check"]).status.code(), Some(1));

    // Without its ledger it does not.
    let ledger = site.dir.join("state/ledger.sqlite");
    fs::rename(&ledger, site.dir.join("away")).unwrap();
    let (said, data, code) = plugin(&site);
    assert_eq!((said.contains("ESPM CRITICAL: 1 of ") && said.contains("ledger: "), code), (true, 2), "{said}");
    assert!(data.iter().all(|part| !part.starts_with("nodes=")), "{data:?}");
    let broken = metrics(&site);
    assert_eq!(broken.get("espm_check_ok{check=\"ledger\"}"), Some(&0), "{broken:?}");
    assert!(!broken.contains_key("espm_unfinished_intents"), "{broken:?}");
    fs::rename(site.dir.join("away"), &ledger).unwrap();

    // Who may not read the configuration knows nothing.
    fs::set_permissions(site.ini(), Permissions::from_mode(0o600)).unwrap();
    let output = as_user(site.bin("espm")).arg("-c").arg(site.ini()).args(["check", "--nagios"]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!((output.status.code(), text.starts_with("ESPM UNKNOWN: ")), (Some(3), true), "{text}");
}

#[test]
fn nagios_plugin_with_bad_arguments_is_unknown() {
    let site = Site::prepare(&Plan::default());
    for words in [&["check", "--nagios", "--prometheus"][..], &["check", "--nagios", "-w", "3"], &["--nagios"]] {
        let output = site.espm(words);
        let text = String::from_utf8(output.stdout).unwrap();
        assert_eq!((output.status.code(), text.starts_with("ESPM UNKNOWN: error: ")), (Some(3), true), "{text}");
        assert!(output.stderr.is_empty(), "{words:?}");
    }
    // Nobody takes another program's wrong use for a service that is unknown.
    let output = site.espm(&["check", "--prometheus", "-w", "3"]);
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(2), &b""[..]));
}
