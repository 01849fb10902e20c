//! Health, asked through the web server as a client asks it.
//!
//! `openssl s_client` speaks TLS: a library for it would make each handler of a request larger. The certificate that the
//! web server shows is compared with the configured one, which clients trust.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::gate::{is_busy, is_sound};
use super::{ask_again, certificate};
use crate::cli::Failure;
use crate::config::Tls;
use crate::system::clock::Deadline;
use crate::system::command::Program;
use crate::system::text::excerpt;
use crate::system::x509;

/// Where openssl is, Puppet's own last.
const OPENSSL: [&str; 4] =
    ["/usr/bin/openssl", "/usr/local/bin/openssl", "/opt/puppetlabs/puppet/bin/openssl", "/opt/puppet/bin/openssl"];

/// The longest wait for one answer.
const WAIT: Duration = Duration::from_secs(30);

/// The web server, as far as it can be seen.
#[derive(Debug)]
pub(super) enum Web {
    /// It hands a request to espm, and shows the right certificate.
    Sound(String),
    /// It answers, and espm does not.
    Unavailable(Failure),
    /// It does not answer as it should.
    Wrong(Failure),
    /// Nothing here can ask it.
    Unasked,
}

/// Asks the web server; `shown` is the certificate that it must show, where this user may read it.
pub(super) fn look(tls: &Tls, shown: Option<&certificate::Shown>, until: Deadline) -> Web {
    let Some(openssl) = OPENSSL.iter().map(Path::new).find(|path| path.exists()) else { return Web::Unasked };
    let name = shown.map_or("localhost", |shown| shown.name.as_str());
    let ask = |host: &str| {
        let host = format!("{host}:{}", tls.port);
        ask_again(
            until,
            || ask(openssl, &host, name),
            |answer| answer.as_ref().is_ok_and(|(_, answer)| is_busy(answer)),
        )
    };
    // A web server that listens at one address alone listens at the machine's own.
    let (pem, answer) = match ask("127.0.0.1").or_else(|first| ask(&own_name()).map_err(|_| first)) {
        Ok(answer) => answer,
        Err(why) => {
            let advice = "start the web server, or name the port of espm's vhost";
            let what = format!("[tls] port: nothing speaks TLS at 127.0.0.1:{} ({why}); {advice}", tls.port);
            return Web::Wrong(Failure(what));
        }
    };
    let other = |shown: &certificate::Shown| {
        x509::identity(&pem).map(|identity| identity.fingerprint).as_ref() != Ok(&shown.fingerprint)
    };
    if shown.is_some_and(other) {
        let what = format!("[tls] certificate: port {} shows another than {}", tls.port, tls.certificate.display());
        let advice = "name the one that the vhost has, reload the web server, or name espm's port";
        return Web::Wrong(Failure(format!("{what}; {advice}")));
    }
    let status = answer.lines().next().unwrap_or_default().trim();
    if is_sound(&answer) {
        Web::Sound(format!("answers health at port {} with the certificate that clients trust", tls.port))
    } else if answer.contains("urn:espm:problem:unavailable") {
        let advice = "see its error log; it must be able to open the socket of [espm] listen";
        Web::Unavailable(Failure(format!("answers health with {status:?}; {advice}")))
    } else {
        let advice = "name the port of espm's vhost in [tls] port, or print the vhost anew (espm-setup vhost)";
        Web::Wrong(Failure(format!("[tls] port: {} answers health with {status:?}; {advice}", tls.port)))
    }
}

fn own_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// The certificate that is shown, and the answer to a request for health; or why there is none.
fn ask(openssl: &Path, host: &str, name: &str) -> Result<(String, String), String> {
    let words = ["s_client", "-ign_eof", "-connect", host, "-servername", name].map(str::to_owned);
    let argv = [openssl.display().to_string()].into_iter().chain(words).collect();
    let program = Program { argv, environment: Vec::new(), directory: PathBuf::from("/") };
    let request = format!("GET /v1/health HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n");
    let ended = program.capture(request.into_bytes(), Deadline::after(WAIT)).map_err(|error| error.to_string())?;
    let text = String::from_utf8_lossy(&ended.stdout);
    let (Some(pem), Some(at)) = (certificate::first_pem(&text), text.find("HTTP/1.")) else {
        let said = String::from_utf8_lossy(&ended.stderr);
        let refused = said.contains("Connection refused");
        return Err(if refused { "connection refused".to_owned() } else { excerpt(&said) });
    };
    Ok((pem, text.get(at..).unwrap_or_default().to_owned()))
}
