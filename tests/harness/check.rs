//! Failures that `espm check` prints, and answers to requests that meet one.

use std::process::Output;

use crate::harness::{Answer, Site, wait_until};

/// The lines of `espm check` that are not fine, and its exit code.
pub fn check(site: &Site) -> (Vec<String>, i32) {
    let output = site.espm(&["check"]);
    assert!(output.stderr.is_empty(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    for line in text.lines() {
        assert!(["ok    ", "FAIL  ", "skip  "].iter().any(|word| line.starts_with(word)), "{text}");
    }
    let failed = text.lines().filter(|line| line.starts_with("FAIL")).map(str::to_owned).collect();
    (failed, output.status.code().unwrap())
}

#[track_caller]
pub fn all_is_well(site: &Site) {
    let output = site.espm(&["check"]);
    let text = String::from_utf8(output.stdout).unwrap();
    // A site whose CA is asked without a command has no Puppet to ask about its settings.
    let is_well =
        |line: &str| line.starts_with("ok    ") || (site.has_ca_server() && line.starts_with("skip  Puppet: "));
    assert!(output.status.success() && text.lines().all(is_well), "{text}");
    assert!(text.lines().count() >= 8, "{text}");
}

/// The one line that is not fine; it has all of these words.
#[track_caller]
pub fn one_fault(site: &Site, words: &[&str]) {
    let (failed, code) = check(site);
    assert_eq!((failed.len(), code), (1, 1), "{failed:?}");
    for word in words {
        assert!(failed[0].contains(word), "{word}: {failed:?}");
    }
}

/// A request's answer when it meets a fault: its status and problem; the log says why, in words of which these are some.
#[track_caller]
pub fn refused(site: &Site, answer: &Answer, status: u16, problem: &str, why: &[&str]) {
    assert_eq!(answer.expect(status).problem(), problem);
    for word in why {
        assert!(!answer.body.contains(word), "{answer:?}");
    }
    let id = answer.header("x-request-id").to_owned();
    let lines = || -> Vec<String> {
        // A CGI program's standard error is in the log of the web server's main part.
        let errors = [site.file("gate.err"), site.file("apache.err")].concat();
        let lines = site.audit().into_iter().chain(errors.lines().map(str::to_owned));
        lines.filter(|line| line.contains(&id) && line.contains("outcome=cause")).collect()
    };
    wait_until("the log says why", || !lines().is_empty());
    assert_eq!(lines().len(), 1, "{:?}", lines());
    for word in why {
        assert!(lines()[0].contains(word), "{word}: {:?}", lines());
    }
}

pub fn text(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}
