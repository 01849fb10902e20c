//! Trusted facts: extensions of a certificate below Puppet's own arcs, which the master shows as `$trusted`.
//!
//! Refused are the arc of authorization (1.3), and everything of the registered arc (1.1) but Puppet's own names:
//! numbers beyond them authorize machines of Puppet Enterprise to each other.

use std::collections::BTreeMap;
use std::ops::Deref;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::pattern::Pattern;

/// The registered names, each with its place as its number (lib/puppet/ssl/oids.rb in Puppet).
const REGISTERED: [&str; 26] = [
    "pp_uuid",
    "pp_instance_id",
    "pp_image_name",
    "pp_preshared_key",
    "pp_cost_center",
    "pp_product",
    "pp_project",
    "pp_application",
    "pp_service",
    "pp_employee",
    "pp_created_by",
    "pp_environment",
    "pp_role",
    "pp_software_version",
    "pp_department",
    "pp_cluster",
    "pp_provisioner",
    "pp_region",
    "pp_datacenter",
    "pp_zone",
    "pp_network",
    "pp_securitypolicy",
    "pp_cloudplatform",
    "pp_apptier",
    "pp_hostname",
    "pp_owner",
];

/// The arc of the registered names.
const REGISTERED_ARC: &str = "1.3.6.1.4.1.34380.1.1.";

/// The arc that a site numbers as it likes.
const PRIVATE_ARC: &str = "1.3.6.1.4.1.34380.1.2.";

/// Characters of a value.
const MAX_VALUE: usize = 255;

/// Characters of an object identifier.
const MAX_OID: usize = 128;

/// Bytes of all values.
/// Java, which the Puppet server is, refuses a TLS message with a certificate beyond 32,768 bytes
/// (`jdk.tls.maxHandshakeMessageSize`).
const MAX_TOTAL: usize = 16 * 1024;

/// Why a trusted fact is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ExtensionError {
    /// Its name or number.
    #[error(
        "is no trusted fact that a node can be given; send one of Puppet's registered names, such as pp_role, or an \
         object identifier below 1.3.6.1.4.1.34380.1.2"
    )]
    Name,
    /// Its value.
    #[error("must be a string of 1 to 255 characters without control characters")]
    Value,
    /// The same one, by its name or by its number.
    #[error("is given twice, by its name or by its object identifier")]
    Twice,
    /// All of them together.
    #[error("makes the values longer than 16384 bytes together")]
    Total,
}

/// Trusted facts: values by object identifiers in dotted text.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "BTreeMap<String, String>", into = "BTreeMap<String, String>")]
pub struct Extensions(BTreeMap<String, String>);

impl Extensions {
    /// Adds a trusted fact by its name or object identifier.
    pub fn add(&mut self, name: &str, value: &str) -> Result<(), ExtensionError> {
        let oid = oid(name).ok_or(ExtensionError::Name)?;
        if value.is_empty() || value.chars().count() > MAX_VALUE || value.chars().any(char::is_control) {
            return Err(ExtensionError::Value);
        }
        if self.0.contains_key(&oid) {
            return Err(ExtensionError::Twice);
        }
        if self.0.values().map(String::len).sum::<usize>() + value.len() > MAX_TOTAL {
            return Err(ExtensionError::Total);
        }
        self.0.insert(oid, value.to_owned());
        Ok(())
    }

    /// Their registered names, or else their object identifiers.
    pub fn names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.0.keys().map(|oid| name(oid))
    }
}

/// Patterns of the trusted facts that a client may ask for: each of a name or object identifier, and of a value.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExtensionPatterns(Vec<(Pattern, Pattern)>);

impl ExtensionPatterns {
    /// Parses `NAME=VALUE` patterns with commas between them.
    ///
    /// # Errors
    /// The first that can match nothing.
    pub fn parse(text: &str) -> Result<Self, &str> {
        let one = |text: &str| {
            let (name, value) = text.split_once('=')?;
            let name = name.trim();
            let of_names = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_.*".contains(&b);
            let can_match = oid(name).is_some() || (name.contains('*') && name.bytes().all(of_names));
            Some((Pattern::parse(name).filter(|_| can_match)?, Pattern::parse(value.trim())?))
        };
        text.split(',').map(str::trim).map(|text| one(text).ok_or(text)).collect::<Result<_, _>>().map(Self)
    }

    /// Whether one of them matches a trusted fact, by its name or by its object identifier.
    pub fn permit(&self, oid: &str, value: &str) -> bool {
        let named = |pattern: &Pattern| pattern.matches(oid) || pattern.matches(name(oid));
        self.0.iter().any(|(pattern, values)| named(pattern) && values.matches(value))
    }
}

impl Deref for Extensions {
    type Target = BTreeMap<String, String>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl TryFrom<BTreeMap<String, String>> for Extensions {
    type Error = ExtensionError;

    fn try_from(values: BTreeMap<String, String>) -> Result<Self, ExtensionError> {
        let mut extensions = Self::default();
        values.iter().try_for_each(|(oid, value)| extensions.add(oid, value))?;
        Ok(extensions)
    }
}

impl From<Extensions> for BTreeMap<String, String> {
    fn from(extensions: Extensions) -> Self {
        extensions.0
    }
}

/// The object identifier of a registered name, or of itself; `None` for what no node is given.
pub fn oid(text: &str) -> Option<String> {
    if let Some(place) = REGISTERED.iter().position(|name| *name == text) {
        return Some(format!("{REGISTERED_ARC}{}", place + 1));
    }
    let registered = |oid: &str| name(oid) != oid;
    let private = |oid: &str| oid.strip_prefix(PRIVATE_ARC).is_some_and(|rest| rest.split('.').all(is_number));
    (text.len() <= MAX_OID && (registered(text) || private(text))).then(|| text.to_owned())
}

/// The registered name of an object identifier, or else itself.
pub fn name(oid: &str) -> &str {
    let number = oid.strip_prefix(REGISTERED_ARC).filter(|number| is_number(number));
    let place = number.and_then(|number| number.parse::<usize>().ok()?.checked_sub(1));
    place.and_then(|place| REGISTERED.get(place)).unwrap_or(&oid)
}

/// A part of an object identifier, written in the one way that it has; none that is in use has more digits.
fn is_number(text: &str) -> bool {
    (1..=9).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'))
}

#[cfg(test)]
mod tests {
    use super::{ExtensionError, ExtensionPatterns, Extensions, oid};

    const ARC: &str = "1.3.6.1.4.1.34380.1";

    fn of(pairs: &[(&str, &str)]) -> Result<Extensions, ExtensionError> {
        let mut extensions = Extensions::default();
        pairs.iter().try_for_each(|(name, value)| extensions.add(name, value)).map(|()| extensions)
    }

    #[test]
    fn only_registered_names_and_the_private_arc_have_an_object_identifier() {
        for (text, number) in [("pp_uuid", "1.1"), ("pp_role", "1.13"), ("pp_owner", "1.26")] {
            assert_eq!(oid(text), Some(format!("{ARC}.{number}")));
        }
        for good in ["1.1", "1.13", "1.26", "2.1", "2.0", "2.1.999999999.7"] {
            let good = format!("{ARC}.{good}");
            assert_eq!(oid(&good), Some(good));
        }
        for bad in [
            "1",
            "1.0",
            "1.27",
            "1.9812",
            "1.9813",
            "1.013",
            "1.+13",
            "1.13.1",
            "1.13.",
            "1.",
            "2",
            "2.",
            "2..1",
            "2.1.",
            "2.01",
            "2.+1",
            "2.-1",
            "2.1000000000",
            "2.1 ",
            "2.a",
            "2.\u{661}",
            "3",
            "3.1",
            "3.2",
            "3.13",
            "3.39",
            "4.1",
            "12.1",
            "",
        ] {
            assert_eq!(oid(&format!("{ARC}.{bad}")), None, "{bad}");
        }
        let long = format!("{ARC}.2{}", ".1".repeat(60));
        for bad in ["pp_auth_role", "pp_authorization", "pp_cli_auth", "PP_ROLE", "pp_role ", "2.5.29.17", "", &long] {
            assert_eq!(oid(bad), None, "{bad}");
        }
    }

    #[test]
    fn same_fact_by_name_and_by_number_is_given_twice() {
        let role = format!("{ARC}.1.13");
        assert_eq!(of(&[("pp_role", "a"), (&role, "a")]), Err(ExtensionError::Twice));
        assert_eq!(of(&[("pp_role", "a")]), of(&[(&role, "a")]));
        let both = of(&[("pp_role", "a"), (&format!("{ARC}.2.7"), "b")]).unwrap();
        assert_eq!(both.names().collect::<Vec<_>>(), ["pp_role".to_owned(), format!("{ARC}.2.7")]);
    }

    #[test]
    fn patterns_permit_by_name_and_by_number() {
        let permits = |patterns: &str, name: &str, value: &str| {
            ExtensionPatterns::parse(patterns).unwrap().permit(&oid(name).unwrap(), value)
        };
        let role = &format!("{ARC}.1.13");
        for patterns in ["pp_role=web*", &format!("{role}=web*"), "pp_*=*", "*=w*b", " x*=1 , pp_role = web* "] {
            assert!(permits(patterns, "pp_role", "web") && permits(patterns, role, "web"), "{patterns}");
        }
        for patterns in ["pp_role=web", "pp_zone=*", "pp_r=*,*ole=b", &format!("{ARC}.2.*=*")].map(str::to_owned) {
            let Ok(parsed) = ExtensionPatterns::parse(&patterns) else { continue };
            assert!(!parsed.permit(role, "web1"), "{patterns}");
        }
        assert!(permits(&format!("{ARC}.2.1=a=b"), &format!("{ARC}.2.1"), "a=b"));
        assert!(!ExtensionPatterns::default().permit(role, "web"));
        for bad in
            ["", "pp_role", "pp_role=", "=web", "pp_rol=web", "pp_role=a,", "pp role*=a", "PP_*=a", "pp_auth_role=a"]
        {
            assert!(ExtensionPatterns::parse(bad).is_err(), "{bad}");
        }
        assert!(ExtensionPatterns::parse(&format!("{ARC}.3.1=a")).is_err());
    }

    #[test]
    fn values_are_short_texts_without_controls() {
        for good in ["a", " ", "ß", "\u{1f980}", &"ß".repeat(255), "\u{2028}", "--- x: {}"] {
            assert!(of(&[("pp_role", good)]).is_ok(), "{good:?}");
        }
        for bad in ["", "a\nb", "\0", "\u{7f}", "\u{85}", &"a".repeat(256)] {
            assert_eq!(of(&[("pp_role", bad)]), Err(ExtensionError::Value), "{bad:?}");
        }
        let wide = "\u{1f980}".repeat(255);
        let names: Vec<_> = (0..17).map(|number| format!("{ARC}.2.{number}")).collect();
        let mut extensions = Extensions::default();
        let added: Vec<_> = names.iter().map(|name| extensions.add(name, &wide)).collect();
        assert!(added[..16].iter().all(Result::is_ok) && added[16] == Err(ExtensionError::Total), "{added:?}");
    }

    #[test]
    fn what_is_sent_is_judged_again_when_it_is_read() {
        let good = of(&[("pp_role", "web")]).unwrap();
        let json = serde_json::to_string(&good).unwrap();
        assert_eq!(json, format!("{{\"{ARC}.1.13\":\"web\"}}"));
        assert_eq!(serde_json::from_str::<Extensions>(&json).unwrap(), good);
        for bad in [format!("{{\"{ARC}.3.1\":\"x\"}}"), format!("{{\"{ARC}.2.1\":\"a\\u0000\"}}"), "{\"x\":1}".into()] {
            assert!(serde_json::from_str::<Extensions>(&bad).is_err(), "{bad}");
        }
    }
}
