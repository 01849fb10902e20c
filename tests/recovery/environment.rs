//! Faults around espm: a full disk, a locked database, a server that is down, an old kernel, a wrong clock. Each
//! is one line for the operator and the right status for the client, and requests work again when it is over.

use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use espm::system::clock;
use serde_json::json;

use crate::harness::check::{all_is_well, check, one_fault, refused};
use crate::harness::processes::limits;
use crate::harness::strace::Request;
use crate::harness::{Answer, Plan, Site, run};

const STATE: &str = "/opt/espm/state";

fn add(site: &Site, name: &str) -> Answer {
    site.post("/v1/nodes", &json!({"name": name, "groups": ["default"], "classes": ["ntp"]}))
}

fn certificate(name: &str) -> String {
    format!("/v1/nodes/{name}/certificate")
}

/// An installed site whose state is on a small disk of its own, with a node and its lists asked for.
fn on_a_small_disk() -> Site {
    let site = Site::installed();
    site.ask_for_lists();
    add(&site, "web01").expect(201);
    let script = format!(
        "cp -a {STATE} /opt/espm/copy && mount -t tmpfs -o size=24m,mode=0750 small {STATE} \
         && chown espm:espm {STATE} && cp -a /opt/espm/copy/. {STATE}"
    );
    run(site.inside("sh").args(["-ec", &script]));
    all_is_well(&site);
    site
}

/// With the disk as it is, reads are answered and nothing is changed.
fn only_reads(site: &Site, file: &str, ledger: &str) {
    let (console, runs) = (site.console(), site.changing_runs());
    for path in ["/v1/health", "/v1/classes", "/v1/groups", "/v1/nodes/web01"] {
        site.get(path).expect(200);
    }
    site.get("/v1/nodes/foreign.example.com").expect(404);
    for (answer, why) in [
        (add(site, "new01"), file),
        (site.patch("/v1/nodes/web01", &json!({"groups": []})), file),
        (site.delete("/v1/nodes/web01"), file),
        (site.ask("POST", &certificate("web01"), None, &[]), ledger),
    ] {
        assert_ne!(answer.header("retry-after"), "");
        refused(site, &answer, 503, "unavailable", &[why]);
    }
    assert_eq!((site.console(), site.changing_runs()), (console, runs));
    assert_eq!((site.count("ca", "generate"), site.count("ca", "revoke")), (0, 0));
}

/// All goes on.
fn goes_on(site: &Site) {
    all_is_well(site);
    add(site, "new01").expect(201);
    site.patch("/v1/nodes/web01", &json!({"groups": []})).expect(200);
    site.ask("POST", &certificate("web01"), None, &[]).expect(201);
    site.delete("/v1/nodes/web01").expect(204);
    assert_eq!(site.states().into_iter().collect::<Vec<_>>(), [("new01".to_owned(), "active".to_owned())]);
    site.expect_foreign_untouched();
    all_is_well(site);
}

/// Fills the disk of the state; with `journal` gone, too, so that not even a commit finds room.
fn fill(site: &Site, journal: bool) {
    let gone = if journal { format!("rm -f {STATE}/ledger.sqlite-journal; ") } else { String::new() };
    run(site.inside("sh").args(["-c", &format!("{gone}dd if=/dev/zero of={STATE}/filler bs=4k 2>/dev/null || true")]));
}

#[test]
fn full_disk_makes_changes_503_until_there_is_room() {
    let site = on_a_small_disk();
    fill(&site, true);
    one_fault(&site, &["FAIL  state directory: [espm] state: ", STATE, " has 0 KiB left; make room on its disk"]);
    only_reads(&site, "No space left on device", "the disk is full");
    run(site.inside("rm").arg(format!("{STATE}/filler")));
    goes_on(&site);
}

#[test]
fn disk_filling_during_run_loses_no_proof() {
    let site = on_a_small_disk();
    // The journal that stays has the room for the outcome of every intent that found some.
    site.paused("before_node_add", || add(&site, "new02"), || fill(&site, false)).expect(201);
    run(site.inside("rm").arg(format!("{STATE}/filler")));
    site.delete("/v1/nodes/new02").expect(204);

    let answer = site.paused("before_node_add", || add(&site, "new01"), || fill(&site, true));
    assert_eq!(answer.expect(503).problem(), "unavailable");
    assert!(!site.node_in_console("new01").is_null());
    run(site.inside("rm").arg(format!("{STATE}/filler")));
    site.get("/v1/nodes/new01").expect(200);
    assert_eq!(site.states()["new01"], "active");
    site.delete("/v1/nodes/new01").expect(204);
    goes_on(&site);
}

#[test]
fn read_only_state_directory_makes_changes_503() {
    let site = on_a_small_disk();
    run(site.inside("mount").args(["-o", "remount,ro", STATE]));
    one_fault(&site, &["FAIL  state directory: [espm] state: ", STATE, " cannot be written: Read-only file system"]);
    only_reads(&site, "Read-only file system", "Read-only file system");
    run(site.inside("mount").args(["-o", "remount,rw", STATE]));
    goes_on(&site);
}

#[test]
fn unreadable_revocation_list_is_one_failure_and_requests_are_502() {
    let site = Site::open();
    for name in ["web01", "web02"] {
        site.add(name);
        site.ask("POST", &certificate(name), None, &[]).expect(201);
    }
    // Of this one's certificate the CA's record alone knows.
    for words in [&["forget", "web02"][..], &["adopt", "web02"], &["assign", "web02", "cloud"]] {
        assert!(site.espm(words).status.success());
    }
    let crl = site.dir.join("ca/ca/ca_crl.pem");
    let (good, path) = (fs::read(&crl).unwrap(), crl.display().to_string());
    let damage = |cut_short: bool| {
        fs::set_permissions(&crl, Permissions::from_mode(if cut_short { 0o644 } else { 0o000 })).unwrap();
        fs::write(&crl, if cut_short { &good[..good.len() / 2] } else { &good }).unwrap();
        format!("{path}: {}", if cut_short { "the PEM cannot be read" } else { "Permission denied" })
    };
    for cut_short in [true, false] {
        one_fault(&site, &["FAIL  authority: ", &damage(cut_short)]);
    }
    for cut_short in [true, false] {
        let words = damage(cut_short);
        for answer in [
            site.get(&certificate("web01")),
            site.delete(&certificate("web01")),
            site.delete("/v1/nodes/web01"),
            site.delete("/v1/nodes/web02"),
        ] {
            refused(&site, &answer, 502, "command-failed", &[&words]);
        }
        assert_eq!(site.count("ca", "revoke"), 0, "nothing is revoked blindly");
        assert!(["web01", "web02"].iter().all(|name| !site.node_in_console(name).is_null()));
    }
    fs::set_permissions(&crl, Permissions::from_mode(0o644)).unwrap();
    fs::write(&crl, &good).unwrap();
    site.delete(&certificate("web01")).expect(204);
    for name in ["web01", "web02"] {
        site.delete(&format!("/v1/nodes/{name}")).expect(204);
    }
    assert_eq!(site.count("ca", "revoke"), 2);
    all_is_well(&site);
}

#[test]
fn locked_console_database_is_504_and_repeat_settles() {
    let site = Site::open();
    site.ask_for_lists();
    let script = "$stdout.sync = true; db = SQLite3::Database.new(ARGV[0]); db.execute('BEGIN EXCLUSIVE'); \
                  puts 'locked'; $stdin.read";
    let mut holder = Command::new("ruby");
    holder.args(["-rsqlite3", "-e", script]).arg(site.dir.join("console/console.sqlite3"));
    let mut holder = holder.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(holder.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "locked\n");
    site.configure("console", "timeout = 2");
    refused(&site, &add(&site, "new01"), 504, "timed-out", &["ran past its time limit"]);
    // Enough for a rake that needs no database, on this machine.
    for limit in limits().skip(1) {
        site.configure("console", &format!("timeout = {limit}"));
        if check(&site).0.len() == 1 {
            break;
        }
    }
    one_fault(&site, &["FAIL  console: console: rake ran past its time limit"]);
    site.get("/v1/health").expect(200);
    site.get("/v1/classes").expect(200);
    drop(holder.stdin.take());
    holder.wait().unwrap();
    site.configure("console", "timeout = 120");
    add(&site, "new01").expect(201);
    assert_eq!(site.states()["new01"], "active");
    all_is_well(&site);
}

#[test]
fn puppet_server_down_is_502_until_it_is_up() {
    let site = Site::with(Plan { authority: "puppetserver-ca", ..Plan::default() });
    site.add("web01");
    let path = certificate("web01");
    site.fault("ca", "server_down", "");
    refused(&site, &site.ask("POST", &path, None, &[]), 502, "command-failed", &["Connection refused"]);
    site.no_faults("ca");
    site.ask("POST", &path, None, &[]).expect(201);
    site.fault("ca", "server_down", "");
    for answer in [site.delete(&path), site.delete("/v1/nodes/web01")] {
        refused(&site, &answer, 502, "command-failed", &["Connection refused"]);
    }
    site.get("/v1/nodes/web01").expect(200);
    site.no_faults("ca");
    site.delete("/v1/nodes/web01").expect(204);
    all_is_well(&site);
}

/// A clock that was set back makes what was written before it a thing of the future.
#[test]
fn entries_dated_in_future_are_neither_lost_nor_used_too_long() {
    let site = Site::open();
    let key = "Idempotency-Key: launch-1";
    let body = json!({"name": "web01", "groups": ["default"]}).to_string();
    let first = site.ask("POST", "/v1/nodes", Some(&body), &[key]);
    first.expect(201);
    site.ask_for_lists();
    for (days, asked_anew) in [(0, 0), (400, 1)] {
        let set =
            format!("UPDATE answer SET since = since + {0} * 86400; UPDATE node SET since = since + {0} * 86400", days);
        run(Command::new("sqlite3").arg(site.dir.join("state/ledger.sqlite")).arg(set));
        let kept = site.dir.join("state/cache/classes");
        let text = fs::read_to_string(&kept).unwrap();
        let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap();
        let at: i64 = text[..digits].parse().unwrap();
        fs::write(&kept, format!("{}{}", at + days * 86_400_000, &text[digits..])).unwrap();

        let runs = site.count("console", "nodeclass:list");
        let listed = site.get("/v1/classes");
        let tomorrow = clock::rfc3339(clock::now() + 86_400);
        assert!(*listed.expect(200).json()["as_of"].as_str().unwrap() < *tomorrow, "{listed:?}");
        assert_eq!(site.count("console", "nodeclass:list") - runs, asked_anew, "{days}");
        assert_eq!(site.ask("POST", "/v1/nodes", Some(&body), &[key]).expect(201).body, first.body);
        assert_eq!(site.count("console", "node:add"), 1);
        site.get("/v1/nodes/web01").expect(200);
        all_is_well(&site);
    }
    site.patch("/v1/nodes/web01", &json!({"classes": ["ntp"]})).expect(200);
    site.delete("/v1/nodes/web01").expect(204);
}

/// The system calls that Linux has got since 3.2, the kernel of the oldest masters.
const LATER_CALLS: &str = "getrandom,statx,close_range,openat2,faccessat2,copy_file_range,memfd_create,renameat2,\
    pidfd_open,preadv2,pwritev2,clone3";

#[test]
fn every_request_works_without_system_calls_newer_than_linux_3_2() {
    let site = Site::open();
    let [trace, inject] = [format!("trace={LATER_CALLS}"), format!("inject={LATER_CALLS}:error=ENOSYS")];
    let options = ["-o", "/dev/null", "-e", "signal=none", "-e", &trace, "-e", &inject].map(str::to_owned);
    let script =
        format!("#!/bin/sh\nexec strace -qq {} {} \"$@\"\n", options.join(" "), site.bin("espm-helper").display());
    let helper = site.write("helper", &script);
    fs::set_permissions(&helper, Permissions::from_mode(0o755)).unwrap();
    site.configure("espm", &format!("helper = {helper}"));
    let handle = |request: Request| {
        let output = site.handle_traced(&request, &options);
        assert!(output.status.success(), "{request:?}: {output:?}");
        Answer::from_cgi(&String::from_utf8(output.stdout).unwrap())
    };
    handle(Request::new("POST", "/v1/nodes".into()).body(json!({"name": "web01", "groups": ["default"]}))).expect(201);
    handle(Request::new("POST", certificate("web01"))).expect(201);
    handle(Request::new("GET", "/v1/nodes/web01".into())).expect(200);
    handle(Request::new("DELETE", "/v1/nodes/web01".into())).expect(204);
    let mut check = Command::new("strace");
    check.arg("-qq").args(&options).arg(site.bin("espm")).arg("-c").arg(site.ini()).arg("check");
    run(&mut check);
}
