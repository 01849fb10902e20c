//! Requests that schemathesis makes out of the served description, valid and not, and whether each answer is as
//! described.
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::harness::audit::check_records;
use crate::harness::{Plan, Site, is_long, run};

/// Checks of each answer. Two are left out because they do not fit: classes that the console does not
/// have are 422 although the description allows their names, and a new node has no certificate yet.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,\
     response_headers_conformance,response_schema_conformance,negative_data_rejection,missing_required_header,\
     unsupported_method,allow_header_conformance,use_after_free,ignored_auth";

/// TRACE is the web server's own affair, and a body that is too large is refused for that alone.
const SETTINGS: &str = r#"
[phases.coverage]
unexpected-methods = ["put", "patch", "options", "query"]
[checks.negative_data_rejection]
expected-statuses = [400, 401, 403, 404, 405, 409, 413, 415, 422]
"#;

/// The program, installed once beside what cargo builds.
fn program() -> PathBuf {
    let requirements = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/api/every_server/schemathesis.txt");
    let wanted = fs::read(requirements).unwrap();
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("schemathesis");
    let installed = dir.join("installed.txt");
    let lock = fs::File::create(dir.with_extension("lock")).unwrap();
    lock.lock().unwrap();
    if fs::read(&installed).ok() != Some(wanted) {
        let _ = fs::remove_dir_all(&dir);
        run(Command::new("/usr/bin/python3").args(["-m", "venv"]).arg(&dir));
        run(Command::new(dir.join("bin/pip")).args([
            "-q",
            "--disable-pip-version-check",
            "install",
            "-r",
            requirements,
        ]));
        fs::copy(requirements, &installed).unwrap();
    }
    dir.join("bin/st")
}

/// Lets schemathesis ask a site, with options of its own; what it printed.
fn ask(site: &Site, options: &[&str]) -> String {
    site.write("schemathesis.toml", SETTINGS);
    let mut program = Command::new(program());
    program
        .args(["run", &format!("https://localhost:{}/v1/openapi.json", site.port)])
        .args(["--tls-verify", &site.dir.join("etc/certs/espm.pem").display().to_string()])
        .args(["--header", &format!("X-ESPM-PSK: {}", site.psk), "--checks", CHECKS])
        .args(["--continue-on-failure", "--no-color", "--warnings", "off", "--request-timeout", "120"])
        .args(["--output-sanitize", "false"])
        .args(["--suppress-health-check", "all", "--phases", "coverage,fuzzing,stateful"])
        .args(options)
        .current_dir(&site.dir);
    let output = program.output().unwrap();
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{printed}\n{}", String::from_utf8_lossy(&output.stderr));
    printed
}

#[test]
fn schemathesis_finds_no_undescribed_answer() {
    let catalogue = "[environments]\nnames = production\n[classes]\nnames = apache\n[class ntp]\nparameters = servers\n\
                     [group default]\nclasses = ntp\n[group databases]\nparameter role = db\n";
    let site =
        Site::without_console(&Plan { ini: vec![("client cloud", "extensions = *=*")], ..Plan::default() }, catalogue);
    let printed = if is_long() {
        ask(&site, &["--max-time", "300"])
    } else {
        ask(&site, &["--max-examples", "8", "--seed", "1"])
    };
    // The same look finds what it is for: requests came through, good ones and bad ones.
    let records = site.audit();
    for outcome in ["created", "gone", "ok", "invalid", "bad-json", "unauthorized", "not-found", "method-not-allowed"] {
        let count = records.iter().filter(|record| record.contains(&format!("outcome={outcome} "))).count();
        eprintln!("{outcome}: {count}");
        assert!(count > 0, "{outcome}: {printed}");
    }
    eprintln!("{} records\n{printed}", records.len());
    check_records(&records);
}
