//! FastCGI spoken by hand, well and badly.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::thread;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use crate::gateway::{begin, dropped, opening, pairs, plan, record, speak, status};
use crate::harness::concurrency::IDLE_THREADS;
use crate::harness::processes::is_there;
use crate::harness::raw_http::Traces;
use crate::harness::{Plan, Site, is_long, wait_until};

#[test]
fn gateway_ended_by_parameter_flood_can_be_started_again() {
    let mut site = Site::with(plan());
    site.add("web01.example.com");
    let before = Traces::of(&site);
    let pid = site.gateway_pid();
    // The library reads parameters by recursion, one frame each.
    let empty = [begin(), record(4, &[0; 2 * 32_000]), record(4, &[])].concat();
    assert!(speak(&site, &empty).is_empty());
    wait_until("the gate has ended", || !is_there(pid));
    assert_eq!(site.stop_gateway("-0").signal(), Some(6));
    assert_eq!(site.get("/v1/health").status, 503);
    site.start_gateway();
    site.get("/v1/nodes/web01.example.com").expect(200);
    assert_eq!(Traces::of(&site), before);
}

#[test]
fn non_fastcgi_bytes_end_their_connection_alone() {
    let site = Site::with(plan());
    let before = Traces::of(&site);
    let pid = site.gateway_pid();
    let noise: Vec<u8> = (0..70_000_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13).to_le_bytes()[0]).collect();
    let wrong: Vec<(&str, Vec<u8>)> = vec![
        ("nothing", vec![]),
        ("noise", noise),
        ("HTTP", b"POST /v1/nodes HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec()),
        ("another version", [&[2][..], &begin()[1..]].concat()),
        ("a record of the other side", [begin(), record(6, b"Status: 200 OK\r\n\r\n")].concat()),
        ("half a header", begin()[..5].to_vec()),
        ("half a record", [begin(), record(4, b"abcdef")[..10].to_vec()].concat()),
        ("a beginning without a role", record(1, &[])),
        ("no end of the parameters", [begin(), record(4, &pairs(&[(b"REQUEST_METHOD", b"GET")]))].concat()),
        ("a name longer than the record", [begin(), record(4, &[200, 0, 0, 0, 1, b'x']), record(4, &[])].concat()),
        ("no body's end", opening(&[(b"REQUEST_METHOD", b"GET"), (b"REQUEST_URI", b"/v1/health")])),
    ];
    for (count, (what, bytes)) in wrong.iter().enumerate() {
        // The harness's own look at the socket is the first that says nothing.
        wait_until("the last connection is dropped", || dropped(&site) == count + 1);
        assert_eq!(status(&speak(&site, bytes)), None, "{what}");
    }
    wait_until("all are dropped", || dropped(&site) == wrong.len() + 1);
    let unknown_role = record(1, &[0, 9, 0, 0, 0, 0, 0, 0]);
    assert_eq!(speak(&site, &unknown_role), record(3, &[0, 0, 0, 0, 3, 0, 0, 0]));
    assert_eq!(speak(&site, &record(77, b"x"))[..9], [1, 11, 0, 0, 0, 8, 0, 0, 77]);
    assert_eq!(site.gateway_pid(), pid);
    assert!(is_there(pid));
    site.get("/v1/classes").expect(200);
    assert_eq!(Traces::of(&site).lasting(), before.lasting());
}

#[test]
fn request_with_hidden_parameter_is_400() {
    let site = Site::with(plan());
    let before = Traces::of(&site);
    let psk = site.psk.clone();
    let full: [(&[u8], &[u8]); 7] = [
        (b"REMOTE_ADDR", b"192.0.2.7"),
        (b"HTTPS", b"on"),
        (b"CONTENT_TYPE", b"application/json"),
        (b"HTTP_X_ESPM_PSK", psk.as_bytes()),
        (b"REQUEST_METHOD", b"DELETE"),
        (b"REQUEST_URI", b"/v1/nodes/absent"),
        (b"GATEWAY_INTERFACE", b"CGI/1.1"),
    ];
    let asked = |at: usize, junk: (&'static [u8], &'static [u8])| {
        let mut parameters = full.to_vec();
        parameters.insert(at, junk);
        status(&speak(&site, &[opening(&parameters), record(5, &[])].concat())).unwrap()
    };
    for junk in [(&b"X"[..], &b"\xff"[..]), (b"\xff", b"x")] {
        let statuses: Vec<_> = (0..=full.len()).map(|at| asked(at, junk)).collect();
        assert_eq!(statuses, [400, 400, 400, 400, 400, 400, 404, 404]);
    }
    // A NUL cannot be in an environment; a variable that has one is left out.
    assert_eq!(asked(5, (b"REQUEST_URI", b"/v1/groups\0")), 404);
    assert_eq!(asked(7, (b"REQUEST_URI", b"/v1/groups\0")), 400);
    // What the gate is not to pass does not reach a handler, whatever its value.
    assert_eq!(asked(0, (b"ESPM_CONFIG", b"/etc/passwd")), 404);
    assert_eq!(asked(0, (b"LD_PRELOAD", b"/nonexistent.so")), 404);
    assert_eq!(Traces::of(&site), before);
}

/// A gate with 34 places: two for those that work and wait, and the reserve of 32.
fn small() -> Plan {
    Plan { ini: vec![("console", "concurrency = 1"), ("console", "queue = 0"), ("authority", "queue = 0")], ..plan() }
}

#[test]
fn unfinished_bodies_take_no_place() {
    let site = Site::with(small());
    let half = [opening(&[(b"REQUEST_METHOD", b"POST"), (b"REQUEST_URI", b"/v1/nodes")]), record(5, b"{")].concat();
    let slow: Vec<_> = (0..40)
        .map(|_| {
            let mut socket = UnixStream::connect(site.dir.join("run/espm.sock")).unwrap();
            socket.write_all(&half).unwrap();
            socket
        })
        .collect();
    let tasks = format!("/proc/{}/task", site.gateway_pid());
    wait_until("each has its thread", || fs::read_dir(&tasks).unwrap().count() >= slow.len());
    site.add("web01.example.com");
    drop(slow);
}

#[test]
fn quick_request_waits_for_next_free_place() {
    let site = Site::with(small());
    let ask = |path: &[u8]| {
        let mut socket = UnixStream::connect(site.dir.join("run/espm.sock")).unwrap();
        let parameters: [(&[u8], &[u8]); 4] = [
            (b"HTTPS", b"on"),
            (b"HTTP_X_ESPM_PSK", site.psk.as_bytes()),
            (b"REQUEST_METHOD", b"GET"),
            (b"REQUEST_URI", path),
        ];
        socket.write_all(&[opening(&parameters), record(5, &[])].concat()).unwrap();
        socket
    };
    let threads = || fs::read_dir(format!("/proc/{}/task", site.gateway_pid())).unwrap().count();
    wait_until("the gate serves nobody", || threads() == IDLE_THREADS);
    // Who looks into the ledger waits for a transaction to end.
    let mut ledger = Command::new("sqlite3")
        .arg(site.dir.join("state/ledger.sqlite"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut words = ledger.stdin.take().unwrap();
    words.write_all(b"BEGIN EXCLUSIVE;\nSELECT 'it is held';\n").unwrap();
    ledger.stdout.as_mut().unwrap().read_exact(&mut [0; 10]).unwrap();
    let waiting: Vec<_> = (0..34).map(|_| ask(b"/v1/nodes/absent")).collect();
    wait_until("every place is taken", || site.pids("espm").len() == waiting.len());
    let answer = |mut socket: UnixStream| {
        let mut answer = Vec::new();
        socket.read_to_end(&mut answer).unwrap();
        status(&answer)
    };
    let health = ask(b"/v1/health");
    thread::scope(|scope| {
        let health = scope.spawn(move || answer(health));
        wait_until("it waits", || threads() > IDLE_THREADS + waiting.len() || health.is_finished());
        words.write_all(b"COMMIT;\n").unwrap();
        drop(words);
        assert_eq!(health.join().unwrap(), Some(200));
    });
    assert!(ledger.wait().unwrap().success());
    assert!(waiting.into_iter().all(|socket| answer(socket).is_some()));
}

#[test]
fn request_that_breaks_off_frees_its_place() {
    let site = Site::with(small());
    let breaking: usize = 40;
    let start = dropped(&site);
    for _ in 0..breaking {
        let half = [opening(&[(b"REQUEST_METHOD", b"POST"), (b"REQUEST_URI", b"/v1/nodes")]), record(5, b"{")].concat();
        assert_eq!(status(&speak(&site, &half)), None);
    }
    wait_until("all have broken off", || dropped(&site) >= start + breaking);
    site.get("/v1/health").expect(200);
    // A server that aborts (section 5.4) has not sent all, although it reads like it.
    let parameters: [(&[u8], &[u8]); 5] = [
        (b"HTTPS", b"on"),
        (b"HTTP_X_ESPM_PSK", site.psk.as_bytes()),
        (b"REQUEST_METHOD", b"POST"),
        (b"REQUEST_URI", b"/v1/nodes"),
        (b"CONTENT_TYPE", b"application/json"),
    ];
    let aborted = [opening(&parameters), record(5, br#"{"name": "web02"}"#), record(2, &[])].concat();
    assert!(matches!(status(&speak(&site, &aborted)), None | Some(400)));
    assert_eq!(site.changing_runs(), 0);
    site.add("web01.example.com");
}

#[test]
fn client_address_cannot_forge_audit_record() {
    let site = Site::with(plan());
    let forged = b"x\" event=node.add outcome=created\n<85>Nov 24 00:00:00 espm[1]: event=node.add\r\x1b[0m \xe2\x80\xa8 \xc2\x85";
    let long = [b'"'; 5000];
    for addr in [&forged[..], b"\\", b"\"", b"", &long] {
        for method in [&b"DELETE"[..], b""] {
            let parameters: [(&[u8], &[u8]); 5] = [
                (b"REMOTE_ADDR", addr),
                (b"HTTPS", b"on"),
                (b"HTTP_X_ESPM_PSK", site.psk.as_bytes()),
                (b"REQUEST_METHOD", method),
                (b"REQUEST_URI", b"/v1/nodes/absent"),
            ];
            speak(&site, &[opening(&parameters), record(5, &[])].concat());
        }
    }
    wait_until("all records are there", || site.audit().len() >= 10);
    crate::harness::audit::check_records(&site.audit());
}

/// Bytes that look enough like FastCGI to be read far: records of any type, length and content, whole
/// and cut, with names and values that a request has.
fn near_fastcgi() -> impl Strategy<Value = Vec<u8>> {
    let names = ["REQUEST_METHOD", "REQUEST_URI", "HTTPS", "CONTENT_LENGTH", "HTTP_X_ESPM_PSK", "REMOTE_ADDR", "X"];
    let name = prop_oneof![
        prop::sample::select(names.to_vec()).prop_map(|name| name.as_bytes().to_vec()),
        vec(any::<u8>(), 0..6)
    ];
    let value = prop_oneof![
        prop::sample::select(vec!["DELETE", "/v1/nodes/web01", "on", "5"]).prop_map(|value| value.as_bytes().to_vec()),
        vec(any::<u8>(), 0..12)
    ];
    let parameters = vec((name, value), 0..6).prop_map(|given| {
        record(4, &pairs(&given.iter().map(|(name, value)| (&name[..], &value[..])).collect::<Vec<_>>()))
    });
    let part = prop_oneof![
        3 => parameters,
        1 => Just(begin()),
        1 => Just(record(4, &[])),
        1 => (0_u8..12, vec(any::<u8>(), 0..30)).prop_map(|(kind, content)| record(kind, &content)),
        1 => vec(any::<u8>(), 0..30),
    ];
    (vec(part, 0..6), any::<bool>()).prop_map(|(parts, whole)| {
        let mut bytes = [begin(), parts.concat()].concat();
        if whole {
            bytes.extend([record(4, &[]), record(5, &[])].concat());
        }
        bytes
    })
}

#[test]
fn random_bytes_change_nothing_and_gateway_goes_on() {
    let site = Site::with(plan());
    site.add("web01");
    let before = Traces::of(&site);
    let cases = if is_long() { 5000 } else { 150 };
    let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
    let pid = site.gateway_pid();
    let outcome = TestRunner::new(config).run(&near_fastcgi(), |bytes| {
        // Without the key nothing is more than refused.
        let status = status(&speak(&site, &bytes));
        prop_assert!(matches!(status, None | Some(400 | 401 | 403)), "{:?}", status);
        prop_assert!(is_there(pid));
        Ok(())
    });
    outcome.unwrap();
    site.get("/v1/nodes/web01").expect(200);
    assert_eq!(Traces::of(&site).lasting(), before.lasting());
    crate::harness::audit::check_records(&site.audit());
}
