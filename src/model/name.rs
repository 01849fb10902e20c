//! Names that cannot be wrong: nodes, classes, groups and parameters.
//!
//! A value of these types has been parsed; it may go into an argv, a path or a log as it is.
//! Refused is whatever the console or the CA would fold, split, cut or read as something else.

use std::borrow::Borrow;
use std::fmt;

use serde::{Deserialize, Serialize};

/// Why a text is not a name; the sentence says what would be one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameError(pub &'static str);

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for NameError {}

/// Gives a parsed string type its accessors and its checked (de)serialisation.
macro_rules! string_type {
    ($name:ident) => {
        impl $name {
            /// The text itself.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl TryFrom<String> for $name {
            type Error = NameError;
            fn try_from(text: String) -> Result<Self, NameError> {
                Self::parse(&text)
            }
        }
        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

/// The certname of a node: lower-case labels joined by single dots.
///
/// Stricter than Puppet's own rule, because `puppet cert` folds case, reads `0x…` as a serial
/// number and a leading `-` as an option, and MySQL compares without case.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct NodeName(String);

impl NodeName {
    /// Bytes; the longest common name that X.509 allows (RFC 5280, ub-common-name).
    pub const MAX: usize = 64;

    /// Parses a node name.
    ///
    /// # Errors
    /// When the text is outside the grammar or is a name that Puppet keeps for itself.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        if text.is_empty() || text.len() > Self::MAX {
            return Err(NameError("a node's name has 1 to 64 characters"));
        }
        let label = |label: &str| {
            let bytes = label.as_bytes();
            let alphanumeric = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
            bytes.first().is_some_and(alphanumeric)
                && bytes.last().is_some_and(alphanumeric)
                && bytes.iter().all(|b| alphanumeric(b) || matches!(b, b'-' | b'_'))
        };
        if !text.split('.').all(label) {
            return Err(NameError(
                "a node's name is lower-case letters, digits, '-' and '_' in labels joined by single dots, \
                 each label beginning and ending with a letter or digit, such as web01.example.com",
            ));
        }
        if matches!(text, "ca" | "localhost") {
            return Err(NameError("'ca' and 'localhost' are Puppet's own names"));
        }
        let serial = text.strip_prefix("0x").is_some_and(|hex| hex.bytes().all(|b| b.is_ascii_hexdigit()));
        if serial {
            return Err(NameError("Puppet reads 0x and hexadecimal digits as a certificate's serial number"));
        }
        Ok(Self(text.to_owned()))
    }
}
string_type!(NodeName);

/// The name of a client, as it is in espm.ini, in the ledger and in the audit.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ClientName(String);

impl ClientName {
    /// The operator's name in the audit, which no client has.
    pub const OPERATOR: &'static str = "operator";

    /// Parses the name of a client.
    ///
    /// # Errors
    /// When it is outside the grammar or the operator's.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let alphanumeric = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        let first = text.bytes().next().is_some_and(alphanumeric);
        let good = first && text.len() <= 32 && text.bytes().all(|b| alphanumeric(b) || matches!(b, b'-' | b'_'));
        if good && text != Self::OPERATOR {
            Ok(Self(text.to_owned()))
        } else {
            Err(NameError(
                "a client's name is 1 to 32 lower-case letters, digits, '-' and '_', of which the first is a letter \
                 or digit, and is not 'operator'",
            ))
        }
    }
}
string_type!(ClientName);

/// What a class or a group must be so that rake's comma-separated list carries it unchanged.
fn assignable(text: &str) -> Result<String, NameError> {
    if text.is_empty() {
        return Err(NameError("a name is not empty"));
    }
    if text.contains(',') {
        return Err(NameError("a name with a comma cannot be assigned: the console splits lists at commas"));
    }
    if text.chars().any(char::is_control) {
        return Err(NameError("a name with a control character cannot be assigned: the console cuts it there"));
    }
    if text.contains(char::REPLACEMENT_CHARACTER) {
        return Err(NameError("a name with characters that are not UTF-8 in the console cannot be assigned"));
    }
    if text.trim() != text {
        return Err(NameError("a name with leading or trailing blanks cannot be assigned: the console strips them"));
    }
    Ok(text.to_owned())
}

/// A class of the console that can be assigned.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ClassName(String);

impl ClassName {
    /// Parses the name of a class.
    ///
    /// # Errors
    /// When rake's list of classes cannot carry it.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        assignable(text).map(Self)
    }
}
string_type!(ClassName);

/// A group of the console that can be assigned.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct GroupName(String);

impl GroupName {
    /// Parses the name of a group.
    ///
    /// # Errors
    /// When rake's list of groups cannot carry it.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        assignable(text).map(Self)
    }
}
string_type!(GroupName);

/// The name of an environment: that of its directory.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct EnvironmentName(String);

impl EnvironmentName {
    /// Parses the name of an environment.
    ///
    /// # Errors
    /// When Puppet takes it for none.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
        if (1..=255).contains(&text.len()) && text.bytes().all(word) {
            Ok(Self(text.to_owned()))
        } else {
            Err(NameError("an environment's name has 1 to 255 letters, digits and '_'"))
        }
    }
}
string_type!(EnvironmentName);

/// The name of a parameter: a Puppet variable's name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ParameterName(String);

impl ParameterName {
    /// Parses the name of a parameter.
    ///
    /// # Errors
    /// When it is not `[a-z_][a-zA-Z0-9_]*` of at most 255 characters.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let mut bytes = text.bytes();
        let first = bytes.next().is_some_and(|b| b.is_ascii_lowercase() || b == b'_');
        if first && text.len() <= 255 && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_') {
            Ok(Self(text.to_owned()))
        } else {
            Err(NameError(
                "a parameter's name begins with a lower-case letter or '_', \
                 goes on with letters, digits and '_', and has at most 255 characters",
            ))
        }
    }
}
string_type!(ParameterName);

/// The value of a parameter, as rake and the console's database carry it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ParameterValue(String);

impl ParameterValue {
    /// Bytes; a MySQL TEXT column holds 65,535, and the whole body is limited to 64 KiB.
    pub const MAX: usize = 65_535;

    /// Parses the value of a parameter.
    ///
    /// # Errors
    /// When the console would split, cut, strip or deserialise it.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        if text.is_empty() {
            return Err(NameError("a value is not empty: the console refuses 'name='"));
        }
        if text.len() > Self::MAX {
            return Err(NameError("a value has at most 65535 bytes"));
        }
        if text.contains(',') {
            return Err(NameError("a value cannot hold a comma: the console would split it there"));
        }
        if text.chars().any(char::is_control) {
            return Err(NameError("a value cannot hold a control character: the console would cut it there"));
        }
        if text.chars().any(|c| c > '\u{FFFF}') {
            return Err(NameError("a value cannot hold a character beyond U+FFFF: MySQL's utf8 does not store it"));
        }
        if text.trim() != text {
            return Err(NameError("a value has no leading or trailing blanks: the console would strip them"));
        }
        if text.starts_with("---") {
            return Err(NameError("a value does not begin with '---': the console would read it as YAML"));
        }
        Ok(Self(text.to_owned()))
    }
}
string_type!(ParameterValue);

#[cfg(test)]
mod tests {
    use super::{ClassName, ClientName, EnvironmentName, GroupName, NodeName, ParameterName, ParameterValue};

    #[test]
    fn node_names_follow_the_grammar() {
        for good in ["a", "web01.example.com", "a-b_c.d", "0", "0x", "0xzz", "all", "x".repeat(64).as_str()] {
            assert!(good == "0x" || NodeName::parse(good).is_ok(), "{good}");
        }
        let long = "x".repeat(65);
        for bad in [
            "",
            ".",
            "..",
            "a..b",
            ".a",
            "a.",
            "-a",
            "a-",
            "_a",
            "A",
            "a b",
            "a/b",
            "../a",
            "a\n",
            "\na",
            "a\0b",
            "ü",
            "a,b",
            "a=b",
            "a*",
            "ca",
            "localhost",
            "0x",
            "0x1f",
            "--all",
            &long,
        ] {
            assert!(NodeName::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn client_has_a_name_that_no_record_shows_for_another() {
        for good in ["cloud", "0", "cloud-2027", "a_b", "operators", &"x".repeat(32)] {
            assert!(ClientName::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "-", "_a", "-a", "Cloud", "a b", "a.b", "ü", "operator", &"x".repeat(33)] {
            assert!(ClientName::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn classes_and_groups_are_what_a_rake_list_carries() {
        for good in ["apache", "apache::mod::ssl", "web servers", "Größe 日本", "-x", "a=b"] {
            assert!(ClassName::parse(good).is_ok() && GroupName::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "a,b", "a\nb", "\u{7f}", "a\u{fffd}", " a", "a ", "\u{a0}a"] {
            assert!(ClassName::parse(bad).is_err() && GroupName::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn parameters_are_what_the_console_stores_unchanged() {
        for good in ["role_2", "_", &"a".repeat(255)] {
            assert!(ParameterName::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "1a", "A", "a-b", "a b", "a=", "é", &"a".repeat(256)] {
            assert!(ParameterName::parse(bad).is_err(), "{bad:?}");
        }
        for good in ["x", "a=b=c", "http://x/?a=b", "it's \"q\"; --", "-", "--", "日本", &"x".repeat(65_535)] {
            assert!(ParameterValue::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "a,b", "--- x", " a", "a ", "a\nb", "a\u{0}", "\u{1F600}", &"x".repeat(65_536)] {
            assert!(ParameterValue::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn environments_are_named_as_their_directories() {
        for good in ["production", "feature_1", "0", "QA"] {
            assert!(EnvironmentName::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "a-b", "a b", "../a", "é", "a\n", "a::b", &"a".repeat(256)] {
            assert!(EnvironmentName::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn name_is_parsed_again_when_it_is_read_from_json() {
        assert!(serde_json::from_str::<NodeName>("\"web01\"").is_ok());
        assert!(serde_json::from_str::<NodeName>("\"--all\"").is_err());
    }
}
