//! One TLS connection to the Puppet server, and the exchanges over it.
//!
//! It trusts the CA's own certificate alone, and only a server that shows the master's. It asks neither DNS for the
//! master nor the environment for a proxy, follows no redirect, and bounds each exchange and each answer.

use std::error::Error as _;
use std::fmt;
use std::net::ToSocketAddrs;
use std::sync::Arc;
use std::time::Duration;

use rustls::CertificateError;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::PrivateKeyDer;
use thiserror::Error;
use ureq::http::{Response, Uri};
use ureq::tls::{Certificate, ClientCert, PrivateKey, RootCerts, TlsConfig};
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};
use ureq::{Agent, Body, config::Config};
use zeroize::Zeroizing;

use crate::system::clock::Deadline;
use crate::system::text::excerpt;
use crate::system::x509::{self, KeyForm, X509Error};

/// The longest time for one exchange. One in some 25,000 has hung for a minute; what it has done shows in the CA's files.
const EXCHANGE: Duration = Duration::from_secs(10);

/// Most bytes of an answer: a certificate, or some lines of text.
const MAX_ANSWER: u64 = 256 * 1024;

/// Why there is no answer.
#[derive(Debug, Error)]
pub(in crate::authority::executor) enum ApiError {
    #[error("the master's own certificate or key cannot be used over TLS: {0}")]
    Identity(String),
    #[error("{0}: {1}")]
    Pem(&'static str, X509Error),
    #[error(
        "[authority] address: the Puppet server cannot be reached at {address}: {error}; start it, or name where it \
         listens (HOST:PORT)"
    )]
    Unreachable { address: String, error: String },
    #[error(
        "the certificate of the Puppet server at {address} has no subject alternative name {master}; write \
         kind = puppetserver-ca and its command, or give the master a certificate that has its name there"
    )]
    Name { address: String, master: String },
    #[error(
        "the certificate of the server at {address} is not the master's or cannot be verified: {error}; name the \
         address of the Puppet server whose CA this is, or write kind = puppetserver-ca and its command"
    )]
    Untrusted { address: String, error: String },
    /// It is not known what the server has done.
    #[error("the Puppet server gave no answer in {} s", EXCHANGE.as_secs())]
    TimedOut,
    /// It is not known what the server has done.
    #[error("the Puppet server gave no whole answer: {0}")]
    Cut(String),
}

impl ApiError {
    /// Whether the server may have got the request.
    pub(super) fn may_have_arrived(&self) -> bool {
        matches!(self, Self::TimedOut | Self::Cut(_))
    }
}

/// An answer of the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) text: String,
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the Puppet server answers {} {}", self.status, excerpt(&self.text))
    }
}

/// The master's own files, PEM, and where its server listens.
pub(super) struct Master<'a> {
    pub(super) name: &'a str,
    pub(super) address: &'a str,
    pub(super) ca: String,
    pub(super) certificate: String,
    pub(super) key: String,
}

/// The connection, which is opened when it is needed.
#[derive(Debug)]
pub(in crate::authority::executor) struct Client {
    agent: Agent,
    base: String,
    address: String,
    master: String,
    until: Deadline,
}

impl Client {
    pub(super) fn new(master: &Master<'_>, until: Deadline) -> Result<Self, ApiError> {
        let port = master.address.rsplit(':').next().unwrap_or_default();
        let config = Config::builder()
            .https_only(true)
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .proxy(None)
            .user_agent("espm")
            .max_idle_connections(1)
            .tls_config(tls(master)?)
            .build();
        let address = Address(master.address.to_owned());
        Ok(Self {
            agent: Agent::with_parts(config, DefaultConnector::default(), address),
            base: format!("https://{}:{port}/puppet-ca/v1", master.name),
            address: master.address.to_owned(),
            master: master.name.to_owned(),
            until,
        })
    }

    pub(super) fn get(&self, path: &str) -> Result<Reply, ApiError> {
        let request = self.agent.get(self.url(path)).config().timeout_global(Some(self.limit()?)).build();
        self.reply(request.call())
    }

    pub(super) fn put(&self, path: &str, kind: &str, body: &str) -> Result<Reply, ApiError> {
        let request = self.agent.put(self.url(path)).config().timeout_global(Some(self.limit()?)).build();
        self.reply(request.content_type(kind).send(body))
    }

    fn url(&self, path: &str) -> String {
        format!("{}/{path}", self.base)
    }

    fn limit(&self) -> Result<Duration, ApiError> {
        if self.until.passed() { Err(ApiError::TimedOut) } else { Ok(EXCHANGE.min(self.until.left())) }
    }

    fn reply(&self, sent: Result<Response<Body>, ureq::Error>) -> Result<Reply, ApiError> {
        let mut response = sent.map_err(|error| self.error(error))?;
        let status = response.status().as_u16();
        let body = response.body_mut().with_config().limit(MAX_ANSWER).read_to_vec();
        let body = body.map_err(|error| self.error(error))?;
        Ok(Reply { status, text: String::from_utf8_lossy(&body).into_owned() })
    }

    fn error(&self, error: ureq::Error) -> ApiError {
        let address = self.address.clone();
        match error {
            ureq::Error::Timeout(ureq::Timeout::Connect | ureq::Timeout::Resolve) => {
                ApiError::Unreachable { address, error: "it does not answer".to_owned() }
            }
            ureq::Error::Timeout(_) => ApiError::TimedOut,
            ureq::Error::HostNotFound | ureq::Error::ConnectionFailed => {
                ApiError::Unreachable { address, error: error.to_string() }
            }
            ureq::Error::Rustls(error) => self.refused(&error),
            ureq::Error::Io(error) => {
                use std::io::ErrorKind::{ConnectionRefused, HostUnreachable, NetworkUnreachable};
                let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
                match tls.or_else(|| error.source().and_then(|source| source.downcast_ref())) {
                    Some(error) => self.refused(error),
                    None if matches!(error.kind(), ConnectionRefused | HostUnreachable | NetworkUnreachable) => {
                        ApiError::Unreachable { address, error: error.to_string() }
                    }
                    None => ApiError::Cut(error.to_string()),
                }
            }
            error => ApiError::Cut(error.to_string()),
        }
    }

    /// An error of TLS. A fault of the server's certificate is found before anything is sent.
    fn refused(&self, error: &rustls::Error) -> ApiError {
        use CertificateError::{NotValidForName, NotValidForNameContext};
        let (address, master) = (self.address.clone(), self.master.clone());
        match error {
            rustls::Error::InvalidCertificate(NotValidForName | NotValidForNameContext { .. }) => {
                ApiError::Name { address, master }
            }
            rustls::Error::InvalidCertificate(_) => ApiError::Untrusted { address, error: error.to_string() },
            error => ApiError::Cut(error.to_string()),
        }
    }
}

/// The CA that is trusted, and what the master shows of itself.
fn tls(master: &Master<'_>) -> Result<TlsConfig, ApiError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let chain = certificates("the CA's certificate", &master.ca)?;
    let own = certificates("the master's certificate", &master.certificate)?;
    let bad = |error| ApiError::Pem("the master's key", error);
    if !x509::key_fits(&master.certificate, &master.key).map_err(bad)? {
        return Err(ApiError::Identity("the key is another certificate's".to_owned()));
    }
    let (form, der) = x509::private_key(&master.key).map_err(bad)?;
    // ureq takes a key for one that rustls can use.
    usable(&provider, form, &der)?;
    let label = match form {
        KeyForm::Pkcs1 => "RSA PRIVATE KEY",
        KeyForm::Pkcs8 => "PRIVATE KEY",
        KeyForm::Sec1 => "EC PRIVATE KEY",
    };
    // The block alone, whatever stands around it.
    let block = Zeroizing::new(x509::to_pem(label, &der));
    let key = PrivateKey::from_pem(block.as_bytes()).map_err(|error| ApiError::Identity(error.to_string()))?;
    Ok(TlsConfig::builder()
        .unversioned_rustls_crypto_provider(provider)
        .root_certs(RootCerts::new_with_certs(&chain))
        .client_cert(Some(ClientCert::new_with_certs(&own, key)))
        .build())
}

fn usable(provider: &CryptoProvider, form: KeyForm, der: &[u8]) -> Result<(), ApiError> {
    let key = match form {
        KeyForm::Pkcs1 => PrivateKeyDer::Pkcs1(der.to_vec().into()),
        KeyForm::Pkcs8 => PrivateKeyDer::Pkcs8(der.to_vec().into()),
        KeyForm::Sec1 => PrivateKeyDer::Sec1(der.to_vec().into()),
    };
    let loaded = provider.key_provider.load_private_key(key);
    loaded.map(drop).map_err(|error| ApiError::Identity(error.to_string()))
}

fn certificates(what: &'static str, pem: &str) -> Result<Vec<Certificate<'static>>, ApiError> {
    let ders = x509::certificates(pem).map_err(|error| ApiError::Pem(what, error))?;
    Ok(ders.iter().map(|der| Certificate::from_der(der).to_owned()).collect())
}

/// Where the server listens, whatever DNS says about its name.
#[derive(Debug)]
struct Address(String);

impl Resolver for Address {
    fn resolve(&self, _: &Uri, _: &Config, _: NextTimeout) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let mut all = self.empty();
        for address in self.0.to_socket_addrs().map_err(|_| ureq::Error::HostNotFound)?.take(16) {
            all.push(address);
        }
        if all.is_empty() { Err(ureq::Error::HostNotFound) } else { Ok(all) }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::sync::Arc;
    use std::thread;
    use std::time::Duration;

    use rcgen::{BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair};
    use rustls::crypto::aws_lc_rs;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    use rustls::server::WebPkiClientVerifier;
    use rustls::{RootCertStore, ServerConfig, ServerConnection, Stream};

    use super::{ApiError, Client, Master, Reply};
    use crate::system::clock::Deadline;

    struct Ca(Issuer<'static, KeyPair>, String, CertificateDer<'static>);

    fn params(name: &str, names: &[&str]) -> CertificateParams {
        let mut params =
            CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).unwrap();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params
    }

    fn ca() -> Ca {
        let (mut params, key) = (params("Puppet CA", &[]), KeyPair::generate().unwrap());
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).unwrap();
        Ca(Issuer::new(params, key), certificate.pem(), certificate.der().clone())
    }

    /// Serves one connection with the certificate of these names; gives what it was sent over TLS.
    fn serve(by: &Ca, trusts: &Ca, names: &[&str], answer: &'static str) -> (String, thread::JoinHandle<String>) {
        let key = KeyPair::generate().unwrap();
        let certificate = params("puppet", names).signed_by(&key, &by.0).unwrap().der().clone();
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(trusts.2.clone()).unwrap();
        let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build().unwrap();
        let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
        let config =
            Arc::new(config.with_client_cert_verifier(clients).with_single_cert(vec![certificate], key).unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let served = thread::spawn(move || {
            let (mut socket, _) = listener.accept().unwrap();
            let mut connection = ServerConnection::new(config).unwrap();
            let mut stream = Stream::new(&mut connection, &mut socket);
            let mut sent = Vec::new();
            let mut piece = [0; 4096];
            while !sent.ends_with(b"end") {
                match stream.read(&mut piece) {
                    Ok(count) if count > 0 => sent.extend(&piece[..count]),
                    _ => break,
                }
            }
            if sent.ends_with(b"end") {
                let _ = stream.write_all(answer.as_bytes());
            }
            String::from_utf8(sent).unwrap()
        });
        (address, served)
    }

    fn put(ca: &Ca, address: &str) -> Result<Reply, ApiError> {
        let key = KeyPair::generate().unwrap();
        let certificate = params("puppet", &["puppet"]).signed_by(&key, &ca.0).unwrap().pem();
        let (ca, key) = (ca.1.clone(), key.serialize_pem());
        let master = Master { name: "puppet", address, ca, certificate, key };
        let client = Client::new(&master, Deadline::after(Duration::from_secs(60))).unwrap();
        client.put("certificate_request/web01", "text/plain", "the end")
    }

    #[test]
    fn server_without_the_masters_certificate_is_sent_nothing() {
        let (own, other) = (ca(), ca());
        // A name in a subject is none: rustls wants an alternative name.
        let names: [&[&str]; 3] = [&["elsewhere.example.com"], &[], &["puppet"]];
        for (is_own, names) in [(true, names[0]), (true, names[1]), (false, names[1]), (false, names[2])] {
            let by = if is_own { &own } else { &other };
            let (address, served) = serve(by, &own, names, "");
            let error = put(&own, &address).unwrap_err();
            let said = error.to_string();
            let name = "has no subject alternative name puppet; write kind = puppetserver-ca";
            let expected = if is_own { name } else { "cannot be verified: " };
            assert!(said.contains(expected) && !error.may_have_arrived(), "{names:?}: {said}");
            assert_eq!(served.join().unwrap(), "", "{names:?}");
        }
        let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let error = put(&own, &closed).unwrap_err();
        assert!(matches!(error, ApiError::Unreachable { .. }), "{error:?}");
    }

    #[test]
    fn answer_is_read_whole_and_a_cut_one_may_have_arrived() {
        let own = ca();
        let found = "HTTP/1.1 400 Bad Request\r\nContent-Length: 5\r\n\r\ntaken";
        let (address, served) = serve(&own, &own, &["puppet"], found);
        assert_eq!(put(&own, &address).unwrap(), Reply { status: 400, text: "taken".to_owned() });
        let sent = served.join().unwrap().to_lowercase();
        for part in ["put /puppet-ca/v1/certificate_request/web01 http/1.1\r\n", "content-type: text/plain\r\n"] {
            assert!(sent.contains(part), "{sent}");
        }
        // A redirect is an answer like any other.
        let moved = "HTTP/1.1 307 Moved\r\nLocation: https://elsewhere.invalid/\r\nContent-Length: 0\r\n\r\n";
        let (address, served) = serve(&own, &own, &["puppet"], moved);
        assert_eq!(put(&own, &address).unwrap().status, 307);
        served.join().unwrap();
        for cut in ["", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx", "nonsense\r\n\r\n"] {
            let (address, served) = serve(&own, &own, &["puppet"], cut);
            assert!(put(&own, &address).unwrap_err().may_have_arrived(), "{cut:?}");
            served.join().unwrap();
        }
        // Who does not trust this side's certificate has done nothing, but how would one know.
        let (address, served) = serve(&own, &ca(), &["puppet"], "");
        assert!(put(&own, &address).unwrap_err().may_have_arrived());
        served.join().unwrap();
    }
}
