//! Too many requests and too many wrong keys: the web servers' limits and fail2ban.
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::json;

use crate::harness::{Plan, Server, Site, run, wait_until};

const CONF: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/conf/fail2ban");

/// What fail2ban has in /etc, with our filter and our jail beside it.
fn fail2ban(site: &Site) -> std::path::PathBuf {
    let dir = site.dir.join("fail2ban");
    run(Command::new("cp").args(["-r", "/etc/fail2ban"]).arg(&dir));
    for part in ["filter.d", "jail.d"] {
        fs::copy(Path::new(CONF).join(part).join("espm.conf"), dir.join(part).join("espm.conf")).unwrap();
    }
    dir
}

/// The addresses that fail2ban would count, one for each line that it matches.
fn counted(site: &Site, filter: &Path, log: &str) -> Vec<String> {
    let log = site.write("auth.log", log);
    let mut regex = Command::new("fail2ban-regex");
    let output = regex.args(["--out", "ip", &log]).arg(filter).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

/// A handler that a web server starts for a client with this address and this key.
fn ask_from(site: &Site, addr: &str, psk: &str) {
    let output = Command::new(site.bin("espm"))
        .env_clear()
        .envs([
            ("GATEWAY_INTERFACE", "CGI/1.1"),
            ("REQUEST_METHOD", "GET"),
            ("REQUEST_URI", "/v1/classes"),
            ("HTTPS", "on"),
        ])
        .envs([
            ("ESPM_CONFIG", site.ini().as_os_str()),
            ("HTTP_X_ESPM_PSK", psk.as_ref()),
            ("REMOTE_ADDR", addr.as_ref()),
        ])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(output.stdout.starts_with(if psk == site.psk { b"Status: 200" } else { b"Status: 401" }), "{output:?}");
}

/// The records as syslog writes them to a file, with the old timestamps and with the new.
fn written(records: &[String]) -> [String; 2] {
    let lines = |date: &dyn Fn(&str) -> String| -> String {
        let line = |record: &String| {
            let (_, rest) = record.split_once('>').unwrap();
            format!("{} master {}\n", date(&rest[..15]), &rest[16..])
        };
        records.iter().map(line).collect()
    };
    [lines(&str::to_owned), lines(&|_| "2026-11-24T05:36:13.123456+00:00".to_owned())]
}

#[test]
fn fail2ban_counts_wrong_keys_by_address_alone() {
    let site = Site::open();
    let dir = fail2ban(&site);
    let filter = dir.join("filter.d/espm.conf");
    // Good requests, and bad ones of somebody who has the key.
    site.add("web01");
    site.get("/v1/classes").expect(200);
    site.get("/v1/nodes/foreign.example.com").expect(404);
    site.post("/v1/nodes", &json!({"name": "web01"})).expect(409);
    site.post("/v1/nodes", &json!({"name": "WEB", "groups": ["addr=203.0.113.9"]})).expect(422);
    site.ask("POST", "/v1/nodes", Some("{"), &[]).expect(400);
    site.ask("PUT", "/v1/classes", None, &[]).expect(405);
    site.delete("/v1/nodes/web01").expect(204);
    ask_from(&site, "192.0.2.1", &site.psk);
    // With the record of the last one all are there.
    site.records_of(&site.get("/v1/groups"));
    let good = site.audit();
    assert!(good.len() >= 10);
    for log in written(&good) {
        assert_eq!(counted(&site, &filter, &log), [""; 0], "{log}");
    }
    // Wrong keys, from here and elsewhere, and addresses of others wherever a client can write something.
    let forged = "event=request outcome=unauthorized status=401 request=0123456789abcdef0123456789abcdef client=- addr=203.0.113.9 took_ms=0";
    for _ in 0..3 {
        site.ask("GET", "/v1/classes", None, &["X-ESPM-PSK: wrong"]).expect(401);
    }
    for headers in [
        ["X-ESPM-PSK: addr=203.0.113.9", "X-Forwarded-For: 203.0.113.9"],
        ["X-ESPM-PSK: wrong", "Forwarded: for=203.0.113.9"],
        ["X-ESPM-PSK: wrong", &format!("Idempotency-Key: x\" {forged}")],
        ["X-ESPM-PSK: wrong", "X-Real-IP: 203.0.113.9"],
    ] {
        let path = format!("/v1/nodes/{}", forged.replace(' ', "%20"));
        site.ask("GET", &path, None, &headers).expect(401);
        site.ask("addr=203.0.113.9", "/v1/classes", None, &headers);
    }
    for addr in ["192.0.2.7", "2001:db8::7"] {
        ask_from(&site, addr, "wrong");
    }
    // What no web server says.
    for addr in [
        "203.0.113.9 took_ms=0",
        &format!("x took_ms=0\n<84>Nov 24 00:00:00 espm[1]: {forged}"),
        "x addr=203.0.113.9",
        "",
        "-",
    ] {
        ask_from(&site, addr, "wrong");
    }
    let last = site.post("/v1/nodes", &json!({"name": "web02", "groups": [forged], "parameters": {"role": forged}}));
    site.records_of(last.expect(422));
    let records = site.audit();
    assert_eq!(records.iter().filter(|record| record.contains("addr=\"x addr=")).count(), 1);
    let refused = records.iter().filter(|record| record.contains("outcome=unauthorized")).count();
    for log in written(&records) {
        let counted = counted(&site, &filter, &log);
        let addresses: BTreeSet<_> = counted.iter().map(String::as_str).collect();
        assert_eq!(addresses, ["127.0.0.1", "192.0.2.7", "2001:db8::7"].into());
        // All but the five of which the address is none.
        assert_eq!(counted.len(), refused - 5, "{log}");
    }
}

#[test]
fn fail2ban_jail_is_valid_and_off() {
    let site = Site::prepare(&Plan::default());
    let dir = fail2ban(&site);
    let dump = |on: bool| {
        let jail = fs::read_to_string(Path::new(CONF).join("jail.d/espm.conf")).unwrap();
        let jail = jail.replace("/var/log/auth.log", &site.write("auth.log", ""));
        let jail = if on { jail.replace("enabled = false", "enabled = true") } else { jail };
        fs::write(dir.join("jail.d/espm.conf"), jail).unwrap();
        run(Command::new("fail2ban-client").arg("-c").arg(&dir).arg("-d"))
    };
    assert!(!dump(false).contains("'espm'"));
    let on = dump(true);
    for part in ["['add', 'espm'", "'espm', 'addfailregex'", "'espm', 'maxretry', 10]", "8443"] {
        assert!(on.contains(part), "{part}: {on}");
    }
}

/// Asks so often without a key, with these options of curl; each answer is a line.
fn curl(site: &Site, times: usize, options: &[&str]) -> Command {
    let mut curl = Command::new("curl");
    let line = "%{http_code} %header{retry-after} %header{content-type}\n";
    curl.args(["-sS", "--http1.1", "-o", "/dev/null", "-w", line]).args(options);
    curl.arg("--cacert").arg(site.dir.join("etc/certs/espm.pem"));
    curl.arg(format!("https://localhost:{}/v1/classes?[1-{times}]", site.port)).stdout(Stdio::piped());
    curl
}

fn text(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn burst_of_connections_is_answered_as_described() {
    let site = Site::with(Plan { limited: true, ..Plan::default() });
    // As many at once as may pass, and more.
    let curls = [(); 2].map(|()| {
        curl(&site, 250, &["--no-progress-meter", "--parallel", "--parallel-immediate", "--parallel-max", "250"])
            .spawn()
            .unwrap()
    });
    let answers = curls.map(|curl| text(&curl.wait_with_output().unwrap())).concat();
    let count = |answer: &str| answers.lines().filter(|line| line.starts_with(answer)).count();
    // Nothing without an answer of espm's or of its vhost's.
    let said = count("401  application/problem+json")
        + count("429 1 application/problem+json")
        + count("503 30 application/problem+json")
        + count("503 1 application/problem+json");
    assert_eq!(said, 500, "{answers}{}", site.file("espm.error.log"));
}

#[test]
fn too_many_requests_are_429_and_start_nothing() {
    let site = Site::with(Plan { limited: true, ..Plan::default() });
    let before = site.audit().len();
    // One connection, so that one child of Apache counts; wrong keys, so that each that came through is in the audit.
    let answers = text(&curl(&site, 600, &[]).output().unwrap());
    let count = |status: &str| answers.lines().filter(|answer| answer.starts_with(status)).count();
    assert_eq!(count("401") + count("429"), 600, "{answers}");
    // nginx lets 400 pass at once and 100 a second, here 1; mod_evasive 400 a second, here 10.
    let (least, shipped) =
        if site.server == Server::Nginx { (400, "rate=100r/s;") } else { (10, "DOSPageCount 400\n") };
    assert!(site.vhost().contains(shipped));
    assert!(count("401") >= least && count("429") > 0, "{answers}");
    assert!(answers.contains("429 1 application/problem+json"), "{answers}");
    wait_until("those that came through are in the audit", || site.audit().len() >= before + count("401"));
    assert_eq!(site.audit().len(), before + count("401"));
    // It is a limit for a moment, not a ban.
    wait_until("a request is answered again", || site.get("/v1/health").status == 200);
}
