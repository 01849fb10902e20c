//! The whole job on an installed site, each part as its own user.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};

use serde_json::json;

use crate::harness::{Site, run};

const NAME: &str = "web01.example.com";

/// The numbers of a user and a group on the site's master.
fn ids(site: &Site, user: &str, group: &str) -> (u32, u32) {
    let id = |words: &[&str]| run(site.inside("getent").args(words)).split(':').nth(2).unwrap().parse().unwrap();
    (id(&["passwd", user]), id(&["group", group]))
}

#[test]
fn whole_job_runs_without_root_each_part_as_its_own_user() {
    let site = Site::installed();
    let whose = |path: &str| {
        let metadata = fs::metadata(site.dir.join(path)).unwrap();
        (metadata.uid(), metadata.gid(), metadata.mode() & 0o7777)
    };
    let is = |user: &str, group: &str, mode: u32| {
        let (uid, gid) = ids(&site, user, group);
        (uid, gid, mode)
    };
    assert_eq!(whose("etc/espm.ini"), is("root", "espm", 0o640));
    assert_eq!(whose("etc/certs/espm.key"), is("root", "root", 0o600));
    assert_eq!(whose("state"), is("espm", "espm", 0o750));
    assert_eq!(whose("records"), is("pe-puppet", "pe-puppet", 0o700));
    if !site.without_gateway() {
        assert_eq!(whose("run/espm.sock"), is("espm", "www-data", 0o660));
        assert!(fs::metadata(site.dir.join("run/espm.sock")).unwrap().file_type().is_socket());
    }

    let groups = site.get("/v1/groups");
    assert!(groups.expect(200).body.contains("web servers"));
    site.get("/v1/classes").expect(200);
    let checked = site.espm(&["check"]);
    assert!(checked.status.success(), "{checked:?}");

    let body = json!({"name": NAME, "groups": ["web servers"], "classes": ["apache"], "parameters": {"role": "web"}});
    site.paused(
        "before_node_add",
        || site.post("/v1/nodes", &body),
        || {
            let (espm, console) = (ids(&site, "espm", "espm"), ids(&site, "puppet-dashboard", "puppet-dashboard"));
            for (program, wanted) in [("espm", espm), ("espm-helper", console), ("rake", console)] {
                let pids = site.pids(program);
                assert!(!pids.is_empty(), "{program}");
                for pid in pids {
                    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
                    let numbers = |name: &str| {
                        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
                        line.split_whitespace().map(|id| id.parse::<u32>().unwrap()).collect::<Vec<_>>()
                    };
                    assert_eq!((numbers("Uid:"), numbers("Gid:")), (vec![wanted.0; 4], vec![wanted.1; 4]), "{program}");
                    assert!(status.contains("CapEff:\t0000000000000000"), "{program}: {status}");
                }
            }
        },
    )
    .expect(201);
    site.expect_in_console(&body);

    let changed = site.patch(&format!("/v1/nodes/{NAME}"), &json!({"groups": ["databases"]}));
    site.expect_in_console(&changed.expect(200).json());
    let certificate = format!("/v1/nodes/{NAME}/certificate");
    let made = site.ask("POST", &certificate, None, &[]);
    assert!(made.expect(201).json()["private_key"].as_str().unwrap().contains("PRIVATE KEY"));
    assert_eq!(whose(&format!("ca/ssl/private_keys/{NAME}.pem")), is("pe-puppet", "pe-puppet", 0o640));
    assert_eq!(whose(&format!("records/{NAME}.json")), is("pe-puppet", "pe-puppet", 0o600));
    site.get(&certificate).expect(200);
    site.delete(&certificate).expect(204);
    site.delete(&format!("/v1/nodes/{NAME}")).expect(204);
    assert!(site.node_in_console(NAME).is_null());
    site.expect_foreign_untouched();
    assert!(site.espm(&["check"]).status.success());

    // Nothing of espm's belongs to another user than it should, and nothing was made for all to write.
    let strangers = run(std::process::Command::new("find")
        .args([&site.dir.join("opt"), &site.dir.join("run-root/espm")])
        .args(["-perm", "/022", "!", "-type", "l", "!", "-type", "s"]));
    assert_eq!(strangers, "");
}
