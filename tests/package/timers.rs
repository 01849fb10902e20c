//! The timers of the ledger's copy and of the metrics, and what they start.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::shipped_files::{analyze, printed};
use crate::harness::{Plan, Site, scratch};

/// The unit files of a timer and of its service, in a directory.
fn units(site: &Site, dir: &Path, kind: &str) -> [PathBuf; 2] {
    [("timer", format!("{kind}-timer")), ("service", kind.to_owned())].map(|(ending, word)| {
        let path = dir.join(format!("espm-{kind}.{ending}"));
        fs::write(&path, printed(site, &["unit", &word])).unwrap();
        path
    })
}

/// The values of a unit's key.
fn values(unit: &Path, key: &str) -> Vec<String> {
    let text = fs::read_to_string(unit).unwrap();
    text.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('=')).map(str::to_owned).collect()
}

#[test]
fn systemd_accepts_timers_and_the_exposure_of_their_services() {
    let (dir, site) = (scratch(), Site::prepare(&Plan::default()));
    // The metrics need sudo, as the gate does.
    for (kind, exposure) in [("backup", "20"), ("metrics", "65")] {
        let [timer, service] = units(&site, &dir, kind);
        let verified = analyze(&["verify", "--man=no"], &[timer.clone(), service.clone()]);
        assert!(verified.status.success() && verified.stderr.is_empty(), "{verified:?}");
        let threshold = format!("--threshold={exposure}");
        let scored = analyze(&["security", "--offline=true", "--no-pager", &threshold], &[service]);
        assert!(scored.status.success(), "{}", String::from_utf8_lossy(&scored.stdout));
        let [time] = <[String; 1]>::try_from(values(&timer, "OnCalendar")).unwrap();
        let times = Command::new("systemd-analyze").args(["calendar", &time]).output().unwrap();
        assert!(times.status.success(), "{times:?}");
        assert_eq!(values(&timer, "AssertPathExists"), [site.ini().display().to_string()]);
    }
    let _ = fs::remove_dir_all(dir);
}

#[test]
fn service_of_backup_runs_as_espm_and_may_write_its_directory() {
    let (dir, site) = (scratch(), Site::prepare(&Plan::default()));
    let [_, service] = units(&site, &dir, "backup");
    let state = site.dir.join("state").display().to_string();
    assert_eq!(values(&service, "ReadWritePaths"), [format!("{state} -/var/backups/espm")]);
    assert_eq!(values(&service, "User"), [crate::harness::USER]);
    let start =
        format!("{} -c {} backup --keep 30 /var/backups/espm", site.bin("espm").display(), site.ini().display());
    assert_eq!(values(&service, "ExecStart"), [start]);
    let _ = fs::remove_dir_all(dir);
}

#[test]
fn service_of_metrics_replaces_the_file_by_a_whole_one_alone() {
    let (dir, site) = (scratch(), Site::open());
    let [_, service] = units(&site, &dir, "metrics");
    // systemd's StateDirectory.
    assert_eq!(values(&service, "WorkingDirectory"), [format!("/var/lib/{}", values(&service, "StateDirectory")[0])]);
    let [start] = <[String; 1]>::try_from(values(&service, "ExecStart")).unwrap();
    let script = start.strip_prefix("/bin/sh -c '").unwrap().strip_suffix('\'').unwrap();
    let made = dir.join("made");
    fs::create_dir(&made).unwrap();
    let begin = |script: &str| Command::new("/bin/sh").args(["-c", script]).current_dir(&made).status().unwrap();
    let files = || fs::read_dir(&made).unwrap().map(|entry| entry.unwrap().file_name()).collect::<Vec<_>>();
    assert!(begin(script).success());
    assert_eq!(files(), ["espm.prom"]);
    let metrics = || fs::read_to_string(made.join("espm.prom")).unwrap();
    let first = metrics();
    assert!(first.contains("\nespm_check_failures 0\n") && first.contains("\nespm_check_time_seconds "), "{first}");
    // A check that dies in the middle, after it has printed a part.
    let dies = script.replace(&site.bin("espm").display().to_string(), "sh -c 'printf part; exit 1'");
    assert!(dies != script && !begin(&dies).success());
    assert_eq!(metrics(), first);
    assert!(begin(script).success());
    assert_eq!(files(), ["espm.prom"]);
    let _ = fs::remove_dir_all(dir);
}
