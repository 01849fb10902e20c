//! Prometheus's own program accepts the metrics and the alerts, and each alert is about a metric that is there.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::harness::{Site, run, scratch};

fn repository(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn rules() -> String {
    fs::read_to_string(repository("conf/examples/prometheus-rules.yml")).unwrap()
}

fn promtool() -> Command {
    Command::new(run(&mut Command::new(repository("tests/promtool"))).trim())
}

/// The words between double quotes that follow a text.
fn quoted_after<'a>(text: &'a str, before: &str) -> Vec<&'a str> {
    text.split(before).skip(1).map(|rest| rest.split('"').next().unwrap()).collect()
}

#[test]
fn promtool_accepts_rules_which_fire_for_lasting_faults_alone() {
    let dir = scratch();
    for file in ["conf/examples/prometheus-rules.yml", "tests/operator/alerts.yml"] {
        let file = repository(file);
        fs::copy(&file, dir.join(file.file_name().unwrap())).unwrap();
    }
    let checked = run(promtool().args(["check", "rules"]).arg(dir.join("prometheus-rules.yml")));
    assert!(checked.contains("SUCCESS: 7 rules found"), "{checked}");
    run(promtool().args(["test", "rules"]).arg(dir.join("alerts.yml")));
    // Each alert is tried, in both ways.
    let (rules, tried) = (rules(), fs::read_to_string(dir.join("alerts.yml")).unwrap());
    for alert in rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")) {
        assert!(tried.contains(&format!("alertname: {alert}, exp_alerts: []")), "{alert} is never silent");
        assert!(
            tried.contains(&format!("alertname: {alert}\n        exp_alerts:\n          - ")),
            "{alert} never fires"
        );
    }
    let _ = fs::remove_dir_all(dir);
}

#[test]
fn each_alert_is_about_a_metric_and_a_check_that_are_there() {
    let site = Site::open();
    site.add("web01");
    site.ask("POST", "/v1/nodes/web01/certificate", None, &[]).expect(201);
    let printed = String::from_utf8(site.espm(&["check", "--prometheus"]).stdout).unwrap();
    let metrics = site.write("metrics", &printed);
    let linted = promtool().args(["check", "metrics"]).stdin(fs::File::open(metrics).unwrap()).output().unwrap();
    // Days are what an operator thinks in.
    let said = "espm_certificate_days_left use base unit \"seconds\" instead of \"days\"\n";
    assert_eq!(String::from_utf8_lossy(&linted.stderr), said);

    let rules = rules();
    let names = |text: &str| -> BTreeSet<String> {
        let words = text.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| word.starts_with("espm_"));
        words.map(str::to_owned).collect()
    };
    let expressions: String = rules.lines().filter(|line| line.trim().starts_with("expr: ")).collect();
    let (used, known) = (names(&expressions), names(&printed));
    assert!(used.len() == 5 && used.is_subset(&known), "{used:?}: {known:?}");
    for within in quoted_after(&rules, "within_days=\"") {
        assert!(printed.contains(&format!("{{within_days=\"{within}\"}}")), "{within}");
    }
    // A check is in one of the two alerts.
    let (urgent, others) = (quoted_after(&rules, "check=~\""), quoted_after(&rules, "check!~\""));
    assert!(urgent.len() == 1 && urgent == others, "{urgent:?}: {others:?}");
    for check in urgent[0].split('|') {
        assert!(printed.contains(&format!("espm_check_ok{{check=\"{check}\"}} 1\n")), "{check}: {printed}");
    }
}
