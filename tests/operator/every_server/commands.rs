//! The operator's commands nodes, adopt and forget; and the command line.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use serde_json::json;

use super::state_belongs_to_espm;
use crate::harness::check::text;
use crate::harness::{Answer, Plan, Site, USER, as_user, run};

#[test]
fn nodes_adopt_and_forget_run_as_espm_and_are_audited() {
    let site = Site::open();
    assert_eq!(text(&site.espm(&["nodes"])), "");
    site.add("web01");
    site.rake(&["node:add", "name=hand01"]);
    let listed = text(&site.espm(&["nodes"]));
    let words: Vec<&str> = listed.split_whitespace().collect();
    assert_eq!((words[0], words[1], words[3], words[4], words.len()), ("active", "-", "cloud", "web01", 5), "{listed}");

    assert_eq!(site.espm(&["adopt", "nothing01"]).status.code(), Some(1));
    site.get("/v1/nodes/hand01").expect(404);
    assert!(site.espm(&["adopt", "hand01"]).status.success());
    assert!(site.espm(&["adopt", "hand01"]).status.success());
    site.get("/v1/nodes/hand01").expect(404);
    assert!(site.espm(&["assign", "hand01", "cloud"]).status.success());
    site.get("/v1/nodes/hand01").expect(200);
    assert!(site.espm(&["forget", "hand01"]).status.success());
    assert_eq!(site.espm(&["forget", "hand01"]).status.code(), Some(1));
    site.get("/v1/nodes/hand01").expect(404);
    assert!(!site.node_in_console("hand01").is_null());
    assert_eq!(site.espm(&["adopt", "master.example.com"]).status.code(), Some(1));
    state_belongs_to_espm(&site);

    let records = site.audit();
    for part in [
        "event=operator.adopt outcome=attempt",
        "event=operator.adopt outcome=ok",
        "event=operator.forget outcome=attempt",
        "event=operator.forget outcome=ok",
    ] {
        let found: Vec<_> = records.iter().filter(|record| record.contains(part)).collect();
        assert!(
            !found.is_empty() && found.iter().all(|record| record.contains("client=operator addr=- node=hand01")),
            "{part}: {records:?}"
        );
    }
    // espm's own user may do the same; another may not read the configuration.
    let espm = |user: &str, words: &[&str]| {
        let mut command = as_user(site.bin("espm"));
        if user != USER {
            command = Command::new("setpriv");
            command.args(["--reuid", user, "--regid", user, "--clear-groups", "--"]).arg(site.bin("espm"));
        }
        command.arg("-c").arg(site.ini()).args(words).output().unwrap()
    };
    assert_eq!(text(&espm(USER, &["nodes"])), listed);
    assert!(!espm("nobody", &["nodes"]).status.success());
    assert!(!espm("nobody", &["forget", "web01"]).status.success());
    site.get("/v1/nodes/web01").expect(200);
}

#[test]
fn rake_of_check_by_root_has_no_terminal() {
    let site = Site::open();
    // Where espm's own user is the console's, no sudo parts them.
    let ini = fs::read_to_string(site.ini()).unwrap();
    let command = ini.lines().find(|line| line.starts_with("command = /usr/bin/rake ")).unwrap();
    let rake = site.write(
        "rake",
        &format!(
            "#!/bin/sh\ncut -d ' ' -f 7 /proc/$$/stat >>{}/terminals\nexec /usr/bin/rake \"$@\"\n",
            site.dir.join("run").display()
        ),
    );
    fs::set_permissions(&rake, fs::Permissions::from_mode(0o755)).unwrap();
    site.configure("console", &command.replace("/usr/bin/rake", &rake));
    let line = format!("{} -c {} check; true", site.bin("espm").display(), site.ini().display());
    run(Command::new("script").args(["-qec", &line, "/dev/null"]).stdin(Stdio::null()));
    let terminals = site.file("run/terminals");
    assert!(!terminals.is_empty() && terminals.lines().all(|terminal| terminal == "0"), "{terminals}");
}

#[test]
fn bad_arguments_exit_with_2() {
    let site = Site::prepare(&Plan::default());
    for words in [
        &["nonsense"][..],
        &["--nonsense"],
        &["forget"],
        &["forget", "UPPER"],
        &["forget", "--all"],
        &["adopt", "ca"],
        &["adopt", "0x1f"],
        &["adopt", "a", "b"],
        &["check", "x"],
        &["nodes", "--all"],
        &["backup"],
    ] {
        let output = site.espm(words);
        assert_eq!(output.status.code(), Some(2), "{words:?}: {output:?}");
        assert!(output.stdout.is_empty() && !output.stderr.is_empty(), "{words:?}: {output:?}");
    }
    let help = text(&site.espm(&["--help"]));
    for command in ["check", "nodes", "revoke", "delete", "adopt", "forget", "publish", "assign", "backup"] {
        let line = help.lines().find(|line| line.trim_start().starts_with(command)).unwrap_or_default();
        assert!(line.split_whitespace().count() > 3, "{help}");
    }
}

#[test]
fn arguments_of_cgi_program_are_ignored() {
    let site = Site::prepare(&Plan::default());
    for words in [&["--help"][..], &["-c", "/nonexistent"], &["--version"], &["forget", "x"], &["-d", "allow=1"]] {
        let mut espm = as_user(site.bin("espm"))
            .args(words)
            .env_clear()
            .envs([("PATH", "/usr/bin:/bin"), ("GATEWAY_INTERFACE", "CGI/1.1"), ("HTTPS", "on")])
            .envs([("REQUEST_METHOD", "GET"), ("REQUEST_URI", "/v1/health?--help")])
            .env("ESPM_CONFIG", site.ini())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        espm.stdin.take().unwrap().write_all(b"").unwrap();
        let output = espm.wait_with_output().unwrap();
        let answer = Answer::from_cgi(&text(&output));
        assert_eq!(answer.expect(200).json(), json!({"status": "ok"}), "{words:?}");
    }
}
