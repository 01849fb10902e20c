//! The CA's HTTP API: the requests that `puppetserver ca` itself sends, over one connection.
//!
//! Each step follows from what the CA's files show, so that a call goes on where an earlier one died. The record has the
//! key before its request is sent: what the server signs for that key is espm's, whatever it answers, and nothing else
//! is. A request with another key is never signed. A revocation is ordered by the name alone; the server's `clean`
//! loses revocations.

mod client;
mod key;
mod reply;

use std::io::Write;
use std::time::Duration;

use self::client::Master;
pub(super) use self::client::{ApiError, Client};
pub(super) use self::key::KeyError;
pub use self::key::KeyType;
use self::reply::{Ordered, Submitted};
use super::check::Mistake;
use super::generate::Conclusion;
use super::plan::is_blocked;
use super::record::{Record, Sent, State};
use super::survey::Survey;
use super::{Answer, Ca, Failure, OUTPUT_WAIT};
use crate::authority::protocol::Asked;
use crate::system::clock::Deadline;
use crate::system::trusted_file::{self, FileError};
use crate::system::x509;

/// How often an exchange is begun again that had no answer.
const AGAIN: usize = 1;

/// How long the server may work on what a call has sent that died since.
/// The server takes 30 ms; on a busy machine ten times as long.
const LATE: Duration = Duration::from_secs(1);

/// The HTTP API.
#[derive(Debug)]
pub(crate) struct Settings {
    /// The kind of new private keys.
    pub(crate) key: KeyType,
    /// Where the Puppet server listens, HOST:PORT.
    pub(crate) address: String,
}

/// The CA's files of the name.
enum Standing {
    Nothing,
    /// A request with the recorded key.
    Pending,
    AnothersRequest,
    /// A certificate with the recorded key.
    Signed(String),
    AnothersCertificate(String),
    CutShort,
}

/// A request under way.
struct Attempt {
    record: Record,
    sent: Sent,
    /// The request, PEM; `None` where its key is lost.
    request: Option<String>,
    /// How many certificates of the name the CA had signed when this call began; `None` for one that goes on.
    lines: Option<usize>,
    /// Exchanges without an answer.
    unanswered: usize,
    /// The server has taken the request.
    submitted: bool,
    /// The server has signed for this call.
    signed: bool,
    /// Why it has not.
    refused: Option<String>,
}

impl Attempt {
    fn new(record: Record, sent: Sent, request: Option<String>, lines: Option<usize>) -> Self {
        Self { record, sent, request, lines, unanswered: 0, submitted: false, signed: false, refused: None }
    }

    /// Whether the server may still work on what this call, or one that died, has sent.
    fn is_in_doubt(&self) -> bool {
        self.lines.is_none() || self.unanswered > 0
    }

    /// Notes an exchange without an answer. Where it may have arrived, the CA's files show what it has done.
    fn not_answered(&mut self, error: ApiError) -> Result<(), Failure> {
        if !error.may_have_arrived() {
            (self.submitted, self.refused) = (true, Some(error.to_string()));
            return Ok(());
        }
        self.unanswered += 1;
        if self.unanswered > AGAIN { Err(error.into()) } else { Ok(()) }
    }
}

impl Ca<'_> {
    fn client(&self, api: &Settings) -> Result<Client, Failure> {
        let master = &self.settings.master;
        let read = |directory: &str| {
            let path = self.settings.ssldir.join(directory).join(format!("{master}.pem"));
            self.files.read(&path)?.ok_or(Failure::Check(Mistake::NoMaster(path)))
        };
        let master = Master {
            name: master,
            address: &api.address,
            ca: self.files.ca_certificate()?,
            certificate: read("certs")?,
            key: read("private_keys")?,
        };
        Ok(Client::new(&master, self.until)?)
    }

    /// Asks for a certificate of a name that the CA has nothing of; it has signed so many of it before.
    pub(super) fn request(&self, api: &Settings, mut record: Record, lines: usize) -> Result<Answer, Failure> {
        let client = self.client(api).map_err(|wrong| Failure::Unfit(Box::new(wrong)))?;
        let before = record.clone();
        let asked = self.asked.extensions.clone();
        let (private, request) = match &self.asked.csr {
            Some(csr) => (None, csr.clone()),
            None => {
                let private = key::generate(api.key)?;
                let request = key::request(private.reveal(), self.name, &asked)?;
                (Some(private), request)
            }
        };
        let sent = Sent { key: x509::spki(&request)?, asked, own: private.is_some() };
        record.state = State::Requesting(sent.clone());
        self.records.write(&record)?;
        if let Some(private) = private
            && let Err(error) = self.write_key(private.reveal())
        {
            self.remove_request(&sent)?;
            self.write_or_forget(&before)?;
            return Err(Failure::NoRoom(error));
        }
        let attempt = Attempt::new(record, sent, Some(request), Some(lines));
        self.answer(self.pursue(&client, attempt)?)
    }

    /// Writes the private key as a whole: a part of one, without a key to tell whose it is, would be taken for another's.
    fn write_key(&self, private: &str) -> Result<(), FileError> {
        let path = self.files.private_key();
        // Not each file system has files without a name.
        let Ok(mut file) = trusted_file::create_nameless(&path, 0o640) else {
            return trusted_file::write_new(&path, 0o640, private.as_bytes());
        };
        file.write_all(private.as_bytes()).map_err(FileError::at(&path))?;
        trusted_file::name(&file, &path)
    }

    /// Goes on with the request of a call that died. `None` where the name can be begun with anew.
    pub(super) fn resume(&self, api: &Settings, record: Record, sent: Sent) -> Result<Option<Answer>, Failure> {
        let request = self.request_again(&sent)?;
        let attempt = Attempt::new(record, sent, request, None);
        if let Some(survey) = self.blocked(&attempt)? {
            self.drop_request(&attempt)?;
            return Ok(Some(self.listed(&survey)));
        }
        let standing = self.standing(&attempt.sent)?;
        let is_signed = matches!(standing, Standing::Signed(_));
        // A request of the client's can still be signed, unless the client has another by now.
        let is_wanted =
            attempt.request.is_some() || (matches!(standing, Standing::Pending) && self.asked.csr.is_none());
        if !is_signed && !is_wanted {
            self.abandon_request(attempt.record, attempt.sent)?;
            return Ok(None);
        }
        self.answer(self.pursue(&self.client(api)?, attempt)?).map(Some)
    }

    /// Whether another's certificate keeps the name from the one that was asked for. The server lists what it signs before
    /// it writes the certificate, from which alone one sees whose it is.
    fn blocked(&self, attempt: &Attempt) -> Result<Option<Survey>, Failure> {
        let settled = self.until.within(OUTPUT_WAIT).attempt(|| {
            let survey = self.survey(&attempt.record)?;
            let is_signed = matches!(self.standing(&attempt.sent)?, Standing::Signed(_));
            let blocked = !is_signed && is_blocked(self.settings.kind, &survey);
            Ok::<_, Failure>((!blocked).then_some(()))
        })?;
        Ok(if settled.is_some() { None } else { Some(self.survey(&attempt.record)?) })
    }

    /// The same request again, where its key is still there.
    fn request_again(&self, sent: &Sent) -> Result<Option<String>, Failure> {
        if let Some(csr) = self.asked.csr.clone().filter(|csr| !sent.own && self.is_sent(sent, csr)) {
            return Ok(Some(csr));
        }
        let is_its = |pem: &String| sent.own && x509::spki(pem).is_ok_and(|key| key == sent.key);
        let private = self.files.read(&self.files.private_key())?.filter(is_its);
        Ok(private.map(|private| key::request(&private, self.name, &sent.asked)).transpose()?)
    }

    /// Whether a request is the one that was sent. Who has the client's own key can have made another with it.
    pub(super) fn is_sent(&self, sent: &Sent, request: &str) -> bool {
        let is_of_key = x509::spki(request).is_ok_and(|key| key == sent.key);
        let asks_the_same = || Asked::by_request(request, self.name).is_ok_and(|asked| asked.extensions == sent.asked);
        is_of_key && (sent.own || asks_the_same())
    }

    fn answer(&self, conclusion: Conclusion) -> Result<Answer, Failure> {
        match conclusion {
            Conclusion::Made(answer) => Ok(answer),
            Conclusion::Waiting => Ok(self.waiting()),
            Conclusion::Foreign | Conclusion::Replaced(_) => Ok(Answer::Foreign),
            Conclusion::Nothing(output) => {
                Err(Failure::NothingMade { why: "no certificate was made".to_owned(), output })
            }
        }
    }

    /// Takes one step after the other.
    fn pursue(&self, client: &Client, mut attempt: Attempt) -> Result<Conclusion, Failure> {
        loop {
            let standing = self.until.within(OUTPUT_WAIT).attempt(|| match self.standing(&attempt.sent) {
                Ok(Standing::CutShort) => Ok(None),
                other => other.map(Some),
            })?;
            let refused = attempt.refused.clone();
            match standing {
                Some(Standing::Signed(certificate)) => return self.accept(attempt, certificate),
                Some(Standing::AnothersCertificate(certificate)) => return self.refuse(attempt, certificate),
                Some(Standing::AnothersRequest) => {
                    self.drop_request(&attempt)?;
                    return Ok(Conclusion::Waiting);
                }
                Some(Standing::Nothing) if !attempt.submitted => self.submit(client, &mut attempt)?,
                Some(Standing::Pending) if !attempt.signed && refused.is_none() => self.order(client, &mut attempt)?,
                Some(Standing::Nothing | Standing::Pending) => {
                    let elsewhere = || {
                        let path = self.files.signed();
                        let what = "the Puppet server has taken the request, but there is no";
                        format!("{what} {}; name the cadir of that server in [authority] cadir", path.display())
                    };
                    self.drop_request(&attempt)?;
                    return Ok(Conclusion::Nothing(refused.unwrap_or_else(elsewhere)));
                }
                Some(Standing::CutShort) | None => return Err(Failure::CutShort(self.files.signed())),
            }
        }
    }

    /// Looks at the CA's files of the name. The request comes first: the server removes it when it has written the
    /// certificate.
    fn standing(&self, sent: &Sent) -> Result<Standing, Failure> {
        let waiting = self.files.read(&self.files.waiting())?;
        let Some(certificate) = self.files.read(&self.files.signed())? else {
            return Ok(match waiting {
                Some(request) if self.is_sent(sent, &request) => Standing::Pending,
                Some(_) => Standing::AnothersRequest,
                None => Standing::Nothing,
            });
        };
        Ok(match (x509::identity(&certificate), x509::spki(&certificate)) {
            (Ok(_), Ok(key)) if key == sent.key => Standing::Signed(certificate),
            (Ok(_), Ok(_)) => Standing::AnothersCertificate(certificate),
            _ => Standing::CutShort,
        })
    }

    fn submit(&self, client: &Client, attempt: &mut Attempt) -> Result<(), Failure> {
        let Some(request) = &attempt.request else {
            attempt.submitted = true;
            return Ok(());
        };
        match client.put(&format!("certificate_request/{}", self.name), "text/plain", request) {
            Ok(reply) => {
                attempt.submitted = true;
                if Submitted::of(&reply) != Submitted::Stored {
                    attempt.refused = Some(reply.to_string());
                }
                // The request that the name has may be this one.
                if Submitted::of(&reply) == Submitted::Taken && self.is_pending(&attempt.sent)? {
                    attempt.refused = None;
                }
                Ok(())
            }
            Err(error) => attempt.not_answered(error),
        }
    }

    fn is_pending(&self, sent: &Sent) -> Result<bool, Failure> {
        Ok(matches!(self.standing(sent)?, Standing::Pending))
    }

    /// Orders the server to sign the request that has the recorded key.
    fn order(&self, client: &Client, attempt: &mut Attempt) -> Result<(), Failure> {
        attempt.submitted = true;
        match self.set(client, "signed") {
            Ok(reply) if Ordered::of(&reply) == Ordered::Done => attempt.signed = true,
            Ok(reply) => attempt.refused = Some(reply.to_string()),
            Err(error) => return attempt.not_answered(error),
        }
        Ok(())
    }

    fn set(&self, client: &Client, state: &str) -> Result<client::Reply, ApiError> {
        let body = format!("{{\"desired_state\":\"{state}\"}}");
        client.put(&format!("certificate_status/{}", self.name), "application/json", &body)
    }

    /// Records the certificate of the recorded key, and judges it.
    fn accept(&self, attempt: Attempt, certificate: String) -> Result<Conclusion, Failure> {
        let Attempt { mut record, sent, signed, .. } = attempt;
        record.state = State::Settled;
        // A server that died after it had signed has left the request, which a human could have signed once more.
        self.remove_waiting(&sent)?;
        let private = self.files.read(&self.files.private_key())?;
        let fits = private.as_ref().is_none_or(|private| x509::key_fits(&certificate, private) == Ok(true));
        // Somebody may have had a request of the client's own key signed that asks for more. That is not espm's to revoke.
        if !sent.own && !signed && self.flaw(&certificate, fits, &sent.asked)?.is_some() {
            record.made.push(self.made(&certificate)?);
            self.write_or_forget(&record)?;
            return Ok(Conclusion::Made(Answer::Different));
        }
        let is_lost = private.is_none() && self.asked.csr.is_none();
        match self.keep(record, certificate, private, fits, &sent.asked)? {
            Conclusion::Made(_) if is_lost => Ok(Conclusion::Made(Answer::KeyGone)),
            conclusion => Ok(conclusion),
        }
    }

    /// Judges a certificate of another key. It is revoked only where this very call has had it signed: where a server lets
    /// requests replace each other (`allow-duplicate-certs`), another's may have come between.
    fn refuse(&self, attempt: Attempt, certificate: String) -> Result<Conclusion, Failure> {
        if attempt.record.made.iter().any(|made| x509::spki(&certificate).is_ok_and(|key| key == made.key)) {
            self.drop_request(&attempt)?;
            return Ok(Conclusion::Nothing("an earlier certificate of the name was renewed meanwhile".to_owned()));
        }
        let now = self.survey(&attempt.record)?.lines;
        if attempt.signed && !attempt.is_in_doubt() && attempt.lines.is_some_and(|before| now == before + 1) {
            let Attempt { mut record, sent, .. } = attempt;
            record.state = State::Settled;
            return self.keep(record, certificate, None, false, &sent.asked);
        }
        self.drop_request(&attempt)?;
        Ok(Conclusion::Foreign)
    }

    /// Leaves nothing of a request without a certificate but, where the server may still sign it, its key's identity.
    fn drop_request(&self, attempt: &Attempt) -> Result<(), Failure> {
        let mut record = attempt.record.clone();
        let pending = self.is_pending(&attempt.sent)?;
        let sure = !attempt.is_in_doubt() && (pending || !attempt.submitted || attempt.refused.is_some());
        record.state = if sure { State::Settled } else { State::Abandoned(attempt.sent.clone()) };
        self.remove_request(&attempt.sent)?;
        self.write_or_forget(&record)
    }

    /// Removes a request and the other files with its key, but for a certificate. By the text in the file: DELETE by the
    /// name would remove whatever request or certificate has come between, and revoke nothing.
    pub(super) fn remove_request(&self, sent: &Sent) -> Result<(), Failure> {
        let (signed, waiting) = (self.files.signed(), self.files.waiting());
        self.files.remove(|path, has| *path != signed && *path != waiting && has.as_ref() == Some(&sent.key))?;
        self.remove_waiting(sent)
    }

    fn remove_waiting(&self, sent: &Sent) -> Result<(), Failure> {
        let path = self.files.waiting();
        match self.files.read(&path)? {
            Some(request) if self.is_sent(sent, &request) => Ok(trusted_file::remove(&path)?),
            _ => Ok(()),
        }
    }

    /// Ends the request of a call that died, because nobody wants it any more. A certificate that was signed for it is
    /// recorded, to be revoked.
    pub(super) fn abandon_request(&self, mut record: Record, sent: Sent) -> Result<(), Failure> {
        let certificate = Deadline::after(LATE).attempt(|| match self.standing(&sent)? {
            Standing::Signed(certificate) => Ok::<_, Failure>(Some(certificate)),
            _ => self.remove_request(&sent).map(|()| None),
        })?;
        record.state = match certificate {
            Some(certificate) => {
                record.made.push(self.made(&certificate)?);
                State::Settled
            }
            None => State::Abandoned(sent),
        };
        self.write_or_forget(&record)
    }

    /// Orders the server to revoke what it has of the name, and gives its words.
    pub(super) fn order_revocation(&self, api: &Settings) -> Result<String, Failure> {
        Ok(self.set(&self.client(api)?, "revoked")?.to_string())
    }

    /// Asks for something harmless that needs the same rights.
    pub(super) fn check_api(&self, api: &Settings) -> Result<(), Failure> {
        let master = &self.settings.master;
        let reply = self.client(api)?.get(&format!("certificate_status/{master}"))?;
        match reply.status {
            200 => Ok(()),
            403 => Err(Mistake::Forbidden { reply: reply.to_string(), master: master.clone() }.into()),
            _ => Err(Mistake::Api { address: api.address.clone(), reply: reply.to_string() }.into()),
        }
    }
}
