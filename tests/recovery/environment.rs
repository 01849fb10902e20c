//! What fails around espm: each is one clear line for the operator and the right status for the client,
//! nothing is half-done, and when it is over, all goes on without hands.

use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use espm::clock;
use serde_json::json;

use crate::harness::check::{all_is_well, check, one_fault, refused};
use crate::harness::processes::limits;
use crate::harness::strace::Request;
use crate::harness::{Answer, Plan, Shop, run};

const STATE: &str = "/opt/espm/state";

fn add(shop: &Shop, name: &str) -> Answer {
    shop.post("/v1/nodes", &json!({"name": name, "groups": ["default"], "classes": ["ntp"]}))
}

fn certificate(name: &str) -> String {
    format!("/v1/nodes/{name}/certificate")
}

/// An installed shop whose state is on a small disk of its own, with a node and its lists asked for.
fn on_a_small_disk() -> Shop {
    let shop = Shop::installed();
    shop.ask_for_lists();
    add(&shop, "web01").expect(201);
    let script = format!(
        "cp -a {STATE} /opt/espm/copy && mount -t tmpfs -o size=24m,mode=0750 small {STATE} \
         && chown espm:espm {STATE} && cp -a /opt/espm/copy/. {STATE}"
    );
    run(shop.inside("sh").args(["-ec", &script]));
    all_is_well(&shop);
    shop
}

/// With the disk as it is, reads are answered and nothing is changed.
fn only_reads(shop: &Shop, file: &str, ledger: &str) {
    let (console, runs) = (shop.console(), shop.changing_runs());
    for path in ["/v1/health", "/v1/classes", "/v1/groups", "/v1/nodes/web01"] {
        shop.get(path).expect(200);
    }
    shop.get("/v1/nodes/foreign.example.com").expect(404);
    for (answer, why) in [
        (add(shop, "new01"), file),
        (shop.patch("/v1/nodes/web01", &json!({"groups": []})), file),
        (shop.delete("/v1/nodes/web01"), file),
        (shop.ask("POST", &certificate("web01"), None, &[]), ledger),
    ] {
        assert_ne!(answer.header("retry-after"), "");
        refused(shop, &answer, 503, "unavailable", &[why]);
    }
    assert_eq!((shop.console(), shop.changing_runs()), (console, runs));
    assert!(shop.runs("ca").is_empty());
}

/// All goes on.
fn goes_on(shop: &Shop) {
    all_is_well(shop);
    add(shop, "new01").expect(201);
    shop.patch("/v1/nodes/web01", &json!({"groups": []})).expect(200);
    shop.ask("POST", &certificate("web01"), None, &[]).expect(201);
    shop.delete("/v1/nodes/web01").expect(204);
    assert_eq!(shop.states().into_iter().collect::<Vec<_>>(), [("new01".to_owned(), "active".to_owned())]);
    shop.expect_foreign_untouched();
    all_is_well(shop);
}

/// Fills the disk of the state; with `journal` gone, too, so that not even a commit finds room.
fn fill(shop: &Shop, journal: bool) {
    let gone = if journal { format!("rm -f {STATE}/ledger.sqlite-journal; ") } else { String::new() };
    run(shop.inside("sh").args(["-c", &format!("{gone}dd if=/dev/zero of={STATE}/filler bs=4k 2>/dev/null || true")]));
}

#[test]
fn full_disk_makes_changes_503_until_there_is_room() {
    let shop = on_a_small_disk();
    fill(&shop, true);
    one_fault(&shop, &["FAIL  state directory: [espm] state: ", STATE, " has 0 KiB left; make room on its disk"]);
    only_reads(&shop, "No space left on device", "the disk is full");
    run(shop.inside("rm").arg(format!("{STATE}/filler")));
    goes_on(&shop);
}

#[test]
fn disk_filling_during_run_loses_no_proof() {
    let shop = on_a_small_disk();
    // The journal that stays has the room for the outcome of every intent that found some.
    shop.paused("before_node_add", || add(&shop, "new02"), || fill(&shop, false)).expect(201);
    run(shop.inside("rm").arg(format!("{STATE}/filler")));
    shop.delete("/v1/nodes/new02").expect(204);

    let answer = shop.paused("before_node_add", || add(&shop, "new01"), || fill(&shop, true));
    assert_eq!(answer.expect(503).problem(), "unavailable");
    assert!(!shop.node_in_console("new01").is_null());
    run(shop.inside("rm").arg(format!("{STATE}/filler")));
    shop.get("/v1/nodes/new01").expect(200);
    assert_eq!(shop.states()["new01"], "active");
    shop.delete("/v1/nodes/new01").expect(204);
    goes_on(&shop);
}

#[test]
fn read_only_state_directory_makes_changes_503() {
    let shop = on_a_small_disk();
    run(shop.inside("mount").args(["-o", "remount,ro", STATE]));
    one_fault(&shop, &["FAIL  state directory: [espm] state: ", STATE, " cannot be written: Read-only file system"]);
    only_reads(&shop, "Read-only file system", "Read-only file system");
    run(shop.inside("mount").args(["-o", "remount,rw", STATE]));
    goes_on(&shop);
}

#[test]
fn unreadable_revocation_list_is_one_failure_and_requests_are_502() {
    let shop = Shop::open();
    for name in ["web01", "web02"] {
        shop.add(name);
        shop.ask("POST", &certificate(name), None, &[]).expect(201);
    }
    // Of this one's certificate the CA's record alone knows.
    for act in ["forget", "adopt"] {
        assert!(shop.desk(&[act, "web02"]).status.success());
    }
    let crl = shop.dir.join("ca/ca/ca_crl.pem");
    let (good, path) = (fs::read(&crl).unwrap(), crl.display().to_string());
    let damage = |cut_short: bool| {
        fs::set_permissions(&crl, Permissions::from_mode(if cut_short { 0o644 } else { 0o000 })).unwrap();
        fs::write(&crl, if cut_short { &good[..good.len() / 2] } else { &good }).unwrap();
        format!("{path}: {}", if cut_short { "the PEM cannot be read" } else { "Permission denied" })
    };
    for cut_short in [true, false] {
        one_fault(&shop, &["FAIL  authority: ", &damage(cut_short)]);
    }
    for cut_short in [true, false] {
        let words = damage(cut_short);
        for answer in [
            shop.get(&certificate("web01")),
            shop.delete(&certificate("web01")),
            shop.delete("/v1/nodes/web01"),
            shop.delete("/v1/nodes/web02"),
        ] {
            refused(&shop, &answer, 502, "command-failed", &[&words]);
        }
        assert_eq!(shop.count("ca", "revoke"), 0, "nothing is revoked blindly");
        assert!(["web01", "web02"].iter().all(|name| !shop.node_in_console(name).is_null()));
    }
    fs::set_permissions(&crl, Permissions::from_mode(0o644)).unwrap();
    fs::write(&crl, &good).unwrap();
    shop.delete(&certificate("web01")).expect(204);
    for name in ["web01", "web02"] {
        shop.delete(&format!("/v1/nodes/{name}")).expect(204);
    }
    assert_eq!(shop.count("ca", "revoke"), 2);
    all_is_well(&shop);
}

#[test]
fn locked_console_database_is_504_and_repeat_settles() {
    let shop = Shop::open();
    shop.ask_for_lists();
    let script = "$stdout.sync = true; db = SQLite3::Database.new(ARGV[0]); db.execute('BEGIN EXCLUSIVE'); \
                  puts 'locked'; $stdin.read";
    let mut holder = Command::new("ruby");
    holder.args(["-rsqlite3", "-e", script]).arg(shop.dir.join("console/console.sqlite3"));
    let mut holder = holder.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(holder.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "locked\n");
    shop.configure("console", "timeout = 2");
    refused(&shop, &add(&shop, "new01"), 504, "timed-out", &["ran past its time limit"]);
    // Enough for a rake that needs no database, on this machine.
    for limit in limits().skip(1) {
        shop.configure("console", &format!("timeout = {limit}"));
        if check(&shop).0.len() == 1 {
            break;
        }
    }
    one_fault(&shop, &["FAIL  nodes: console: rake ran past its time limit"]);
    shop.get("/v1/health").expect(200);
    shop.get("/v1/classes").expect(200);
    drop(holder.stdin.take());
    holder.wait().unwrap();
    shop.configure("console", "timeout = 120");
    add(&shop, "new01").expect(201);
    assert_eq!(shop.states()["new01"], "active");
    all_is_well(&shop);
}

#[test]
fn puppet_server_down_is_502_until_it_is_up() {
    let shop = Shop::with(Plan { authority: "puppetserver-ca", ..Plan::default() });
    shop.add("web01");
    let path = certificate("web01");
    shop.fault("ca", "server_down", "");
    refused(&shop, &shop.ask("POST", &path, None, &[]), 502, "command-failed", &["Connection refused"]);
    shop.no_faults("ca");
    shop.ask("POST", &path, None, &[]).expect(201);
    shop.fault("ca", "server_down", "");
    for answer in [shop.delete(&path), shop.delete("/v1/nodes/web01")] {
        refused(&shop, &answer, 502, "command-failed", &["Connection refused"]);
    }
    shop.get("/v1/nodes/web01").expect(200);
    shop.no_faults("ca");
    shop.delete("/v1/nodes/web01").expect(204);
    all_is_well(&shop);
}

/// A clock that was set back makes what was written before it a thing of the future.
#[test]
fn entries_dated_in_future_are_neither_lost_nor_used_too_long() {
    let shop = Shop::open();
    let key = "Idempotency-Key: launch-1";
    let body = json!({"name": "web01", "groups": ["default"]}).to_string();
    let first = shop.ask("POST", "/v1/nodes", Some(&body), &[key]);
    first.expect(201);
    shop.ask_for_lists();
    for (days, asked_anew) in [(0, 0), (400, 1)] {
        let set =
            format!("UPDATE answer SET since = since + {0} * 86400; UPDATE node SET since = since + {0} * 86400", days);
        run(Command::new("sqlite3").arg(shop.dir.join("state/ledger.sqlite")).arg(set));
        let kept = shop.dir.join("state/cache/classes");
        let text = fs::read_to_string(&kept).unwrap();
        let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap();
        let at: i64 = text[..digits].parse().unwrap();
        fs::write(&kept, format!("{}{}", at + days * 86_400_000, &text[digits..])).unwrap();

        let runs = shop.count("console", "nodeclass:list");
        let listed = shop.get("/v1/classes");
        let tomorrow = clock::rfc3339(clock::now() + 86_400);
        assert!(*listed.expect(200).json()["as_of"].as_str().unwrap() < *tomorrow, "{listed:?}");
        assert_eq!(shop.count("console", "nodeclass:list") - runs, asked_anew, "{days}");
        assert_eq!(shop.ask("POST", "/v1/nodes", Some(&body), &[key]).expect(201).body, first.body);
        assert_eq!(shop.count("console", "node:add"), 1);
        shop.get("/v1/nodes/web01").expect(200);
        all_is_well(&shop);
    }
    shop.patch("/v1/nodes/web01", &json!({"classes": ["ntp"]})).expect(200);
    shop.delete("/v1/nodes/web01").expect(204);
}

/// The system calls that Linux has got since 3.2, the kernel of the oldest masters.
const LATER_CALLS: &str = "getrandom,statx,close_range,openat2,faccessat2,copy_file_range,memfd_create,renameat2,\
    pidfd_open,preadv2,pwritev2,clone3";

#[test]
fn every_request_works_without_system_calls_newer_than_linux_3_2() {
    let shop = Shop::open();
    let [trace, inject] = [format!("trace={LATER_CALLS}"), format!("inject={LATER_CALLS}:error=ENOSYS")];
    let options = ["-o", "/dev/null", "-e", "signal=none", "-e", &trace, "-e", &inject].map(str::to_owned);
    let script =
        format!("#!/bin/sh\nexec strace -qq {} {} \"$@\"\n", options.join(" "), shop.bin("espm-helper").display());
    let helper = shop.write("helper", &script);
    fs::set_permissions(&helper, Permissions::from_mode(0o755)).unwrap();
    shop.configure("espm", &format!("helper = {helper}"));
    let handle = |request: Request| {
        let output = shop.handle_traced(&request, &options);
        assert!(output.status.success(), "{request:?}: {output:?}");
        Answer::from_cgi(&String::from_utf8(output.stdout).unwrap())
    };
    handle(Request::new("POST", "/v1/nodes".into()).body(json!({"name": "web01", "groups": ["default"]}))).expect(201);
    handle(Request::new("POST", certificate("web01"))).expect(201);
    handle(Request::new("GET", "/v1/nodes/web01".into())).expect(200);
    handle(Request::new("DELETE", "/v1/nodes/web01".into())).expect(204);
    let mut check = Command::new("strace");
    check.arg("-qq").args(&options).arg(shop.bin("espm")).arg("-c").arg(shop.ini()).arg("check");
    run(&mut check);
}
