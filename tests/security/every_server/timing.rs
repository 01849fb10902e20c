//! Refusals that a client must not tell apart make the same system calls, so that time does not tell them
//! apart either. `tests/run --long` measures as well.
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use serde_json::json;

use crate::harness::strace::Request;
use crate::harness::{Plan, Site, is_long, run};

/// A node of which espm cannot say whose it is; as long as the names that it is compared with.
const DOUBTFUL: &str = "doubted.example.com";

/// Instructions by which two refusals may differ, of some four million: the same refusal twice differs
/// by a fifth of it, for a hash is random; to read a row of the ledger takes four times as many.
const CHANCE: u64 = 20_000;

/// A node of another client's, with so many parameters that its row is long.
const ANOTHERS: &str = "another.example.com";

/// A site with a node in doubt, and one of another client's.
fn site() -> Site {
    let mut site = Site::prepare(&Plan::default());
    let many: serde_json::Map<_, _> = (0..400).map(|at| (format!("p{at}"), json!("x".repeat(100)))).collect();
    let node = json!({"name": ANOTHERS, "parameters": many});
    std::mem::swap(&mut site.psk, &mut site.other_psk);
    site.handle(&Request::new("POST", "/v1/nodes".into()).body(node)).expect(201);
    std::mem::swap(&mut site.psk, &mut site.other_psk);
    site.fault("console", "die_after_commit_node_add", "once");
    let node = json!({"name": DOUBTFUL, "groups": ["default"], "classes": ["ntp"], "parameters": {"role": "web"}});
    site.handle(&Request::new("POST", "/v1/nodes".into()).body(node)).expect(502);
    site.handle(&Request::new("GET", format!("/v1/nodes/{DOUBTFUL}"))).expect(404);
    assert_eq!(site.unfinished()[DOUBTFUL], "unproven");
    site
}

/// What a handler is asked.
struct Ask<'a> {
    method: &'a str,
    path: &'a str,
    psk: &'a str,
}

/// Prepares a handler as a web server starts it, below a program if there is one.
fn handler(site: &Site, below: &[&str], ask: &Ask) -> Command {
    let espm = site.bin("espm");
    let words: Vec<&Path> = below.iter().map(Path::new).chain([espm.as_path()]).collect();
    let mut command = Command::new(words[0]);
    command
        .args(&words[1..])
        .env_clear()
        .envs([("GATEWAY_INTERFACE", "CGI/1.1"), ("HTTPS", "on"), ("REMOTE_ADDR", "192.0.2.7")])
        .envs([("REQUEST_METHOD", ask.method), ("REQUEST_URI", ask.path), ("HTTP_X_ESPM_PSK", ask.psk)])
        .env("ESPM_CONFIG", site.ini())
        .stdin(Stdio::null());
    command
}

/// The names of the system calls that a handler makes, in order, and how each ended; and its status.
fn calls(site: &Site, ask: &Ask) -> (Vec<String>, String) {
    let trace = site.dir.join("trace");
    let strace = ["/usr/bin/strace", "-f", "-o", trace.to_str().unwrap()];
    let answer = run(&mut handler(site, &strace, ask));
    let calls = std::fs::read_to_string(&trace).unwrap();
    let calls = calls.lines().filter_map(|line| {
        let call = line.split_whitespace().nth(1)?;
        let name = call.split('(').next()?;
        // How much memory a random hash's table takes is chance.
        let chance = ["brk", "mmap", "munmap", "mremap", "madvise"].contains(&name);
        let end = line.rsplit(" = ").next()?.split_whitespace().nth(1).unwrap_or_default();
        (!chance).then(|| format!("{name} {end}"))
    });
    (calls.collect(), answer.lines().next().unwrap().to_owned())
}

/// A method, a path and a key.
type Words = (String, String, String);

/// Two refusals that a client may not be able to tell apart, of the same length.
fn pairs(psk: &str) -> Vec<(&'static str, [Words; 2])> {
    let ask = |method: &str, path: &str, psk: &str| (method.to_owned(), path.to_owned(), psk.to_owned());
    let nearly = |at: usize| {
        let mut key = psk.to_owned().into_bytes();
        key[at] = if key[at] == b'A' { b'B' } else { b'A' };
        String::from_utf8(key).unwrap()
    };
    let (foreign, absent) = ("/v1/nodes/foreign.example.com", "/v1/nodes/absents.example.com");
    let mut pairs = vec![
        (
            "a key wrong at its start, and at its end",
            [ask("GET", foreign, &nearly(0)), ask("GET", foreign, &nearly(47))],
        ),
        (
            "a key that is nearly right, and one that is not",
            [ask("GET", foreign, &nearly(47)), ask("GET", foreign, &"x".repeat(48))],
        ),
        (
            "a wrong key for a foreign node, and for none",
            [ask("GET", foreign, &nearly(0)), ask("GET", absent, &nearly(0))],
        ),
    ];
    for method in ["GET", "PATCH", "DELETE"] {
        pairs.push(("a foreign node, and none", [ask(method, foreign, psk), ask(method, absent, psk)]));
        let doubtful = format!("/v1/nodes/{DOUBTFUL}");
        pairs.push(("a node in doubt, and none", [ask(method, &doubtful, psk), ask(method, absent, psk)]));
        let anothers = format!("/v1/nodes/{ANOTHERS}");
        pairs.push(("a node of another client's, and none", [ask(method, &anothers, psk), ask(method, absent, psk)]));
    }
    for method in ["GET", "POST", "DELETE"] {
        let paths = [foreign, absent].map(|path| format!("{path}/certificate"));
        pairs.push(("a foreign node's certificate, and none's", paths.map(|path| ask(method, &path, psk))));
    }
    pairs
}

#[test]
fn indistinguishable_refusals_make_the_same_system_calls() {
    let site = site();
    let runs = site.runs("console").len() + site.runs("ca").len();
    for (what, [one, other]) in pairs(&site.psk) {
        let [one, other] = [&one, &other].map(|(method, path, psk)| calls(&site, &Ask { method, path, psk }));
        assert!(one.1.starts_with("Status: 40"), "{what}: {}", one.1);
        assert!(one.0.len() > 20, "{:?}", one.0);
        assert_eq!(one, other, "{what}");
    }
    // The same look tells apart what may be told apart.
    let right = calls(&site, &Ask { method: "GET", path: "/v1/nodes/absent", psk: &site.psk });
    let wrong = calls(&site, &Ask { method: "GET", path: "/v1/nodes/absent", psk: "wrong" });
    assert_ne!(right.0, wrong.0);
    assert_eq!(site.runs("console").len() + site.runs("ca").len(), runs);
}

/// The instructions of a handler outside the kernel, the fewest of some runs.
fn instructions(site: &Site, ask: &Ask, runs: usize) -> u64 {
    let log = site.dir.join("counted");
    let log_file = format!("--log-file={}", log.display());
    let valgrind = ["/usr/bin/valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", &log_file];
    let counts = (0..runs).map(|_| {
        run(&mut handler(site, &valgrind, ask));
        let log = std::fs::read_to_string(&log).unwrap();
        let count = log.lines().find_map(|line| line.split("Collected :").nth(1)).unwrap();
        count.trim().parse::<u64>().unwrap()
    });
    counts.min().unwrap()
}

/// Three of them here, all under `tests/run --long`.
#[test]
fn indistinguishable_refusals_take_as_many_instructions() {
    let site = site();
    let runs = if is_long() { 5 } else { 2 };
    let some = [
        "a key wrong at its start, and at its end",
        "a node in doubt, and none",
        "a node of another client's, and none",
    ];
    let all = pairs(&site.psk)
        .into_iter()
        .filter(|(what, [(method, ..), _])| is_long() || some.contains(what) && method == "GET");
    for (what, asks) in all {
        let count = || {
            asks.each_ref()
                .map(|(method, path, psk)| instructions(&site, &Ask { method, path, psk: psk.as_str() }, runs))
        };
        let [mut one, mut other] = count();
        // On a busy machine a handler waits now and then, which takes instructions, too.
        for _ in 0..4 {
            if one.abs_diff(other) >= CHANCE {
                let again = count();
                (one, other) = (one.min(again[0]), other.min(again[1]));
            }
        }
        eprintln!("{what}: {one} and {other} instructions");
        assert!(one.abs_diff(other) < CHANCE, "{what}: {one} and {other}");
    }
    // The same look tells apart what may be told apart.
    let [right, wrong] = [site.psk.as_str(), "wrong"]
        .map(|psk| instructions(&site, &Ask { method: "GET", path: "/v1/nodes/absent", psk }, 1));
    assert!(right.abs_diff(wrong) > CHANCE, "{right} and {wrong}");
}

/// Mean, and variance of the mean.
fn mean(samples: &[f64]) -> (f64, f64) {
    let count = samples.len() as f64;
    let mean = samples.iter().sum::<f64>() / count;
    (mean, samples.iter().map(|sample| (sample - mean).powi(2)).sum::<f64>() / (count - 1.0) / count)
}

/// Welch's t of the faster nine tenths of each; the slower tenth is the machine's.
fn welch(one: &mut [f64], other: &mut [f64]) -> (f64, f64) {
    let [one, other] = [one, other].map(|samples| {
        samples.sort_by(f64::total_cmp);
        mean(&samples[..samples.len() * 9 / 10])
    });
    (other.0 - one.0, (other.0 - one.0) / (one.1 + other.1).sqrt())
}

/// Prints figures and asserts none: a clock on a shared machine proves nothing in a few seconds.
#[test]
fn indistinguishable_refusals_are_measured_against_chance() {
    let site = site();
    let rounds = if is_long() { 3000 } else { 20 };
    for (what, [one, other]) in pairs(&site.psk) {
        let mut samples = [vec![], vec![], vec![]];
        for round in 0..rounds {
            // The first twice, for what chance makes of it, in turns.
            for turn in 0..3 {
                let which = (round + turn) % 3;
                let (method, path, psk) = if which == 2 { &other } else { &one };
                let mut command = handler(&site, &[], &Ask { method, path, psk });
                let start = Instant::now();
                let output = command.stdout(Stdio::piped()).output().unwrap();
                samples[which].push(start.elapsed().as_secs_f64() * 1e6);
                assert!(output.status.success());
            }
        }
        let [mut first, mut again, mut second] = samples;
        let (chance, chance_t) = welch(&mut first, &mut again);
        let (difference, t) = welch(&mut first, &mut second);
        let median = first[first.len() / 2];
        eprintln!(
            "{what} ({}): median {median:.0} us; difference {difference:+.1} us, t {t:+.2}; the same twice {chance:+.1} us, t {chance_t:+.2}",
            one.0
        );
        assert!(difference.is_finite() && t.is_finite());
    }
}
