//! What an attacker who is the user espm cannot do with what sudo allows.

mod orders;
mod sudo;
mod trusted_paths;

use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};

use crate::harness::Site;
use crate::harness::installed::sudo;

/// What `conf/templates/sudoers` allows, and nothing else.
const CONSOLE: &str = "sudo -n -u puppet-dashboard /opt/espm/bin/espm-helper console /opt/espm/etc/espm.ini";
const AUTHORITY: &str = "sudo -n -u pe-puppet /opt/espm/bin/espm-helper authority /opt/espm/etc/espm.ini";

/// What an attack brought: an exit code (128 and the signal, as a shell says it) and the two streams.
#[derive(Debug)]
struct Came {
    code: i32,
    stdout: String,
    stderr: String,
}

impl Came {
    fn of(command: &mut Command, input: &[u8]) -> Self {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // Who refuses early does not read to the end.
        let _ = child.stdin.take().unwrap().write_all(input);
        let output = child.wait_with_output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let code = output.status.code().unwrap_or_else(|| 128 + output.status.signal().unwrap());
        Self { code, stdout: text(&output.stdout), stderr: text(&output.stderr) }
    }

    /// It was refused with this code and one line that has these words.
    #[track_caller]
    fn refused(&self, code: i32, words: &str) {
        assert_eq!((self.code, self.stdout.as_str()), (code, ""), "{self:?}");
        assert_eq!(self.stderr.trim_end().lines().count(), 1, "{self:?}");
        assert!(self.stderr.contains(words), "{words}: {self:?}");
    }

    /// It was done, and this is in the answer.
    #[track_caller]
    fn done(&self, words: &str) {
        assert_eq!((self.code, self.stderr.as_str()), (0, ""), "{self:?}");
        assert!(self.stdout.contains(words), "{words}: {self:?}");
    }
}

/// A line of shell with the path of the sudo that these tests are for.
fn with_sudo(script: &str) -> String {
    script.replace("/usr/bin/sudo -n", "sudo -n").replace("sudo -n", &format!("{} -n", sudo()))
}

impl Site {
    /// What a line of shell brings that somebody runs as a user of the master.
    ///
    /// "sudo" in it is the one that these tests are for.
    fn attack_as(&self, user: &str, script: &str, input: impl AsRef<[u8]>) -> Came {
        let mut shell = self.inside_as(user, "sh");
        Came::of(shell.args(["-c", &with_sudo(script)]).current_dir(&self.dir), input.as_ref())
    }

    /// The same as the user espm, who has been taken over.
    fn attack(&self, script: &str, input: impl AsRef<[u8]>) -> Came {
        self.attack_as("espm", script, input)
    }

    /// How often the doubles have been run, and what the CA and the console have.
    fn untouched(&self) -> (usize, usize, String, String) {
        let crl = self.file("ca/ca/ca_crl.pem");
        (self.runs("console").len(), self.runs("ca").len(), crl, self.console().to_string())
    }
}

/// An order to the CA.
fn verb(verb: &str, name: &str) -> String {
    format!(r#"{{"verb":"{verb}","name":"{name}","limit":60}}"#)
}

/// An order to the console.
fn task(task: &str) -> String {
    format!(r#"{{"task":{task},"limit":60}}"#)
}

/// An order to add a node.
fn add(name: &str) -> String {
    task(&format!(
        r#"{{"task":"add","node":{{"name":"{name}","groups":["default"],"classes":["ntp"],"parameters":{{}}}}}}"#
    ))
}
