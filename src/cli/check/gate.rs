//! Health, asked at the gate's socket as the web server asks it: FastCGI 1.0.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use super::ask_again;
use crate::cli::{Failure, failure};
use crate::config::Config;
use crate::model::state_directory;
use crate::system::clock::Deadline;
use crate::system::lock;

/// The longest wait for a part of the answer.
const WAIT: Duration = Duration::from_secs(10);

/// Most bytes of an answer; that of health has some hundred.
const MAX_ANSWER: usize = 64 * 1024;

/// Types of records (FastCGI 1.0, section 8).
const BEGIN: u8 = 1;
const END: u8 = 3;
const PARAMS: u8 = 4;
const STDIN: u8 = 5;
const STDOUT: u8 = 6;

/// The variables of the request.
const HEALTH: [(&str, &str); 4] =
    [("REMOTE_ADDR", "127.0.0.1"), ("REQUEST_URI", "/v1/health"), ("REQUEST_METHOD", "GET"), ("HTTPS", "on")];

/// True if an answer is that of a sound espm.
pub(super) fn is_sound(answer: &str) -> bool {
    answer.contains("{\"status\":\"ok\"}")
}

/// True if an answer says that too much is asked at once.
pub(super) fn is_busy(answer: &str) -> bool {
    ["urn:espm:problem:busy", "urn:espm:problem:rate-limited"].iter().any(|word| answer.contains(word))
}

/// The gate, as far as it can be seen at the socket that the configuration names.
#[derive(Debug)]
pub(super) enum Gate {
    /// It answers.
    Sound,
    /// It does not answer, and none runs; behind Apache with `mod_cgid` none is needed.
    Absent(Failure),
    /// It runs and does not answer as it should.
    Wrong(Failure),
}

/// Asks the gate.
pub(super) fn look(config: &Config, until: Deadline) -> Gate {
    let (socket, path) = (&config.listen, config.listen.display());
    match ask_again(until, || ask(socket), |answer| answer.as_ref().is_ok_and(|answer| is_busy(answer))) {
        Ok(answer) if is_sound(&answer) => Gate::Sound,
        Ok(answer) => {
            let line = answer.lines().next().unwrap_or_default();
            let what = format!("[espm] listen: {path} answers health with {line:?}");
            Gate::Wrong(Failure(format!("{what}; see the log, or name espm's own socket")))
        }
        Err(error) => match lock::marked(&state_directory::gate(&config.state)) {
            Ok(Some(other)) if Path::new(&other) != socket => {
                let what = format!("[espm] listen: the gate that runs serves {other}, not {path}");
                let advice = format!("write listen = {other}, or print unit and vhost anew and restart both");
                Gate::Wrong(Failure(format!("{what}; {advice}")))
            }
            _ => {
                let advice = "name the right socket, or start the gate: systemctl enable --now espm.socket";
                Gate::Absent(Failure(format!("[espm] listen: {path}: {error}; {advice}")))
            }
        },
    }
}

/// The gate's answer to a request for health.
fn ask(socket: &Path) -> io::Result<String> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(WAIT))?;
    stream.set_write_timeout(Some(WAIT))?;
    stream.write_all(&request())?;
    let mut answer = Vec::new();
    while answer.len() < MAX_ANSWER {
        let mut head = [0; 8];
        stream.read_exact(&mut head)?;
        let [_, kind, _, _, high, low, padding, _] = head;
        let length = usize::from(u16::from_be_bytes([high, low]));
        let mut content = vec![0; length + usize::from(padding)];
        stream.read_exact(&mut content)?;
        match kind {
            STDOUT => answer.extend_from_slice(content.get(..length).unwrap_or_default()),
            END => return Ok(String::from_utf8_lossy(&answer).into_owned()),
            _ => {}
        }
    }
    Err(io::Error::other("the answer does not end"))
}

fn request() -> Vec<u8> {
    let byte = |length: usize| u8::try_from(length).unwrap_or(u8::MAX);
    let mut params = Vec::new();
    for (name, value) in HEALTH {
        params.extend([byte(name.len()), byte(value.len())]);
        params.extend_from_slice(name.as_bytes());
        params.extend_from_slice(value.as_bytes());
    }
    let record = |kind, content: &[u8]| [&[1, kind, 0, 1, 0, byte(content.len()), 0, 0], content].concat();
    // A responder (role 1) whose connection ends with the answer.
    let begin = record(BEGIN, &[0, 1, 0, 0, 0, 0, 0, 0]);
    [begin, record(PARAMS, &params), record(PARAMS, &[]), record(STDIN, &[])].concat()
}

/// The line about the gate; `web` says whether the web server reaches espm.
pub(super) fn line(gate: Gate, config: &Config, web: bool) -> Result<String, Failure> {
    match gate {
        Gate::Sound => Ok(format!("answers health at {}", config.listen.display())),
        Gate::Absent(_) if web => Ok("none runs, and none is needed: the web server starts espm by itself".into()),
        Gate::Absent(Failure(wrong)) | Gate::Wrong(Failure(wrong)) => failure(wrong),
    }
}
