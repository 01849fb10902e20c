//! Records of release 0.1, and records whose command's output a power loss has taken away.
use std::fs;
use std::process::Command;

use serde_json::{Value, json};

use super::{CA, CERT, NAME, generate, path};
use crate::harness::certificates::{revoked, serial, valid};
use crate::harness::{Site, run};

fn record(site: &Site) -> Value {
    serde_json::from_str(&site.file(&format!("records/{NAME}.json"))).unwrap()
}

fn write(site: &Site, record: &Value) {
    site.write(&format!("records/{NAME}.json"), &record.to_string());
}

#[test]
fn record_of_release_0_1_is_read() {
    for kind in [CERT, CA] {
        let site = kind.with_node();
        let made = generate(&site, NAME);
        let certificate = &made.json()["certificate"];
        write(&site, &json!({"state": "issued", "certificate": certificate}));
        assert_eq!(serial(site.get(&path(NAME)).expect(200)), serial(&made));
        assert_eq!(generate(&site, NAME).expect(200).body, made.body);
        write(&site, &json!({"state": "revoking", "certificate": certificate}));
        site.get(&path(NAME)).expect(404);
        site.delete(&path(NAME)).expect(204);
        assert_eq!(revoked(&site), [serial(&made)].into());
        // The certificate of another CA is no better in an old record.
        let next = generate(&site, NAME);
        write(&site, &json!({"state": "issued", "certificate": next.json()["certificate"]}));
        site.puppet(if kind == CA { &["anew", "--intermediate"] } else { &["anew"] });
        site.delete(&path(NAME)).expect(404);
        assert_eq!((revoked(&site).len(), site.count("ca", "revoke")), (0, 1));
        write(&site, &json!({"version": 3}));
        site.get(&path(NAME)).expect(404);
        generate(&site, NAME).expect(502);
    }
}

#[test]
fn key_on_disk_proves_certificate_whose_output_was_lost_with_power() {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    let uptime = fs::read_to_string("/proc/uptime").unwrap();
    let uptime: i64 = uptime.split('.').next().unwrap().parse().unwrap();
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs().cast_signed();
    let booted = now - uptime;
    for kind in [CERT, CA] {
        // Written before the machine went down; by a human since it is up; during this boot.
        for (earlier, written, ours) in
            [("another", booted - 100, true), ("another", booted + 5, false), (boot.trim(), booted - 100, false)]
        {
            let site = kind.with_node();
            let made = generate(&site, NAME);
            let mut record = record(&site);
            record["made"] = json!([]);
            record["state"] = json!({"generating": {"boot": earlier, "since": booted - 200}});
            write(&site, &record);
            for file in ["ssl/private_keys", "ca/signed"] {
                let file = site.dir.join(format!("ca/{file}/{NAME}.pem"));
                run(Command::new("touch").args(["-d", &format!("@{written}")]).arg(file));
            }
            if ours {
                assert_eq!(generate(&site, NAME).expect(201).body, made.body, "{kind:?}");
                site.delete(&path(NAME)).expect(204);
            } else {
                assert_eq!(generate(&site, NAME).expect(409).problem(), "certificate-exists");
                site.delete(&path(NAME)).expect(404);
                assert_eq!(valid(&site), [serial(&made)].into());
            }
        }
    }
}
