//! The check of the preshared key, which turns a request into an authenticated one.
//!
//! Every refusal is the same 401, and takes the same time wherever the key differs.

use crate::http::request::Request;
use crate::model::client::Client;
use crate::model::fault::Fault;
use crate::model::problem::Problem;

/// A request with a valid key, as routing needs it; from [`authenticate`] alone.
#[derive(Debug)]
pub(crate) struct Authenticated {
    request: Request,
    client: Client,
    key: String,
}

impl Authenticated {
    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// The first digits of the digest of its key.
    pub(crate) fn key(&self) -> &str {
        &self.key
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
        let keys = clients.iter().flat_map(|client| client.keys.iter().map(move |key| (client, key)));
        keys.fold(None, |found, (client, key)| if key.matches(&sent) { Some((client, key)) } else { found })
    });
    match found {
        Some((client, key)) => Ok(Authenticated { client: client.clone(), key: key.short(), request }),
        None => Err(Fault::new(Problem::Unauthorized, "send a valid key in X-ESPM-PSK")),
    }
}

/// Clients of these names, each with keys of its own and every right.
#[cfg(test)]
pub(super) fn clients(all: &[(&str, &[&str])]) -> Vec<Client> {
    use crate::model::client::{May, Rights};
    use crate::model::extension::ExtensionPatterns;
    use crate::model::name::ClientName;
    use crate::model::pattern::Patterns;
    use crate::model::psk::Psk;
    let any = || Patterns::parse("*", |_| true).unwrap();
    let client = |(name, keys): &(&str, &[&str])| Client {
        name: ClientName::parse(name).unwrap(),
        keys: keys.iter().map(|key| Psk::new((*key).to_owned()).digest()).collect(),
        rights: Rights {
            may: May::ALL.to_vec(),
            nodes: any(),
            groups: any(),
            classes: any(),
            environments: any(),
            extensions: ExtensionPatterns::parse("*=*").unwrap(),
            most: None,
        },
    };
    all.iter().map(client).collect()
}

#[cfg(test)]
mod tests {
    use super::{authenticate, check_transport};
    use crate::http::request::Body;
    use crate::http::request::{Method, Request};
    use crate::model::client::Client;
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
        super::clients(&[("cloud", &["old", "new"]), ("other", &["third"])])
    }

    #[test]
    fn each_key_admits_its_client() {
        for (psk, name, digits) in
            [("old", "cloud", "cba06b57"), ("new", "cloud", "11507a0e"), ("third", "other", "b1e99324")]
        {
            let admitted = authenticate(request(Some(psk)), &clients()).unwrap();
            assert_eq!((admitted.client().name.as_str(), admitted.key()), (name, digits));
        }
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
