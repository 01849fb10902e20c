//! The check of the preshared key, which turns a request into an authenticated one.
//!
//! Every refusal is the same 401, and takes the same time wherever the key differs.

use crate::config::Client;
use crate::http::request::Request;
use crate::model::fault::Fault;
use crate::model::problem::Problem;

/// A request with a valid key, as routing needs it; from [`authenticate`] alone.
#[derive(Debug)]
pub(crate) struct Authenticated {
    request: Request,
    client: String,
}

impl Authenticated {
    pub(crate) fn client(&self) -> &str {
        &self.client
    }

    pub(crate) fn request(&self) -> &Request {
        &self.request
    }
}

/// Checks that a request came over TLS where it must; 403 otherwise.
pub(crate) fn check_transport(request: &Request, require_tls: bool) -> Result<(), Fault> {
    if request.https || !require_tls {
        return Ok(());
    }
    Err(Fault::new(Problem::TlsRequired, "send the request over TLS"))
}

/// Authenticates a request; 401, the same for a missing, malformed or wrong key.
///
/// It compares all digests, so that the time does not tell which key was nearly right.
pub(crate) fn authenticate(request: Request, clients: &[Client]) -> Result<Authenticated, Fault> {
    let sent = request.psk.as_ref().map(crate::model::psk::Psk::digest);
    let found = sent.and_then(|sent| {
        clients.iter().fold(None, |found, client| if client.digest.matches(&sent) { Some(client) } else { found })
    });
    match found {
        Some(client) => Ok(Authenticated { client: client.name.clone(), request }),
        None => Err(Fault::new(Problem::Unauthorized, "send a valid key in X-ESPM-PSK")),
    }
}

#[cfg(test)]
mod tests {
    use super::{authenticate, check_transport};
    use crate::config::Client;
    use crate::http::request::Body;
    use crate::http::request::{Method, Request};
    use crate::model::psk::Psk;

    fn request(psk: Option<&str>) -> Request {
        Request {
            method: Method::Get,
            path: "/v1/classes".into(),
            addr: "192.0.2.7".into(),
            https: true,
            psk: psk.map(|key| Psk::new(key.into())),
            content_type: None,
            if_none_match: None,
            no_cache: false,
            idempotency_key: None,
            body: Body::Whole(vec![]),
        }
    }

    fn clients() -> Vec<Client> {
        ["old", "new"].map(|key| Client { name: format!("client-{key}"), digest: Psk::new(key.into()).digest() }).into()
    }

    #[test]
    fn each_key_admits_its_client() {
        assert_eq!(authenticate(request(Some("old")), &clients()).unwrap().client(), "client-old");
        assert_eq!(authenticate(request(Some("new")), &clients()).unwrap().client(), "client-new");
    }

    #[test]
    fn every_refusal_is_the_same() {
        let refusals: Vec<_> = [None, Some(""), Some("ol"), Some("old, old"), Some("OLD")]
            .map(|key| format!("{:?}", authenticate(request(key), &clients()).unwrap_err()))
            .into();
        assert!(refusals.iter().all(|refusal| *refusal == refusals[0]));
        assert!(authenticate(request(Some("old")), &[]).is_err());
    }

    #[test]
    fn without_tls_nothing_is_done_unless_the_configuration_says_so() {
        let plain = Request { https: false, ..request(Some("old")) };
        assert!(check_transport(&plain, true).is_err());
        assert!(check_transport(&plain, false).is_ok());
    }
}
