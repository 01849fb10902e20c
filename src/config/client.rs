//! `[client NAME]`: the clients, their keys and their rights.

use std::collections::HashMap;

use super::declare::{self, Absent, File, Key, Text, Value, keys};
use super::wrong::Wrong;
use crate::model::client::{Client, May, Rights};
use crate::model::extension::ExtensionPatterns;
use crate::model::name::ClientName;
use crate::model::pattern::Patterns;
use crate::model::psk::PskDigest;
use crate::system::ini;

/// The section of 0.1 that had all clients.
const PSK: &str = "psk";

/// The sections of the clients.
const SECTION: &str = "client NAME";

/// Text with commas between its parts, each parsed; or the part that is wrong.
fn list<T>(text: &str, parse: impl Fn(&str) -> Option<T>) -> Result<Vec<T>, &str> {
    text.split(',').map(str::trim).map(|part| parse(part).ok_or(part)).collect()
}

const DIGESTS: Value<Vec<PskDigest>> = Value {
    want: "sha256: and 64 hexadecimal digits, with commas between keys",
    // The wrong part may be a key.
    parse: |text| list(text, PskDigest::parse).map_err(|_| ""),
};

const MAY: Value<Vec<May>> = Value {
    want: concat!("list, nodes or certificates", ", with commas between them"),
    parse: |text| list(text, May::parse),
};

const NAMES: Value<Patterns> = Value {
    want: "patterns with commas between them, in each of which '*' stands for any text",
    parse: |text| Patterns::parse(text, |_| true),
};

const CLASSES: Value<Patterns> = Value {
    want: "patterns with commas between them and no blanks in them, in each of which '*' stands for any text",
    // Puppet has no such class; it is two names that lack their comma.
    parse: |text| Patterns::parse(text, |pattern| !pattern.contains(char::is_whitespace)),
};

const NODES: Value<Patterns> = Value {
    want: "patterns with commas between them, each of the letters that names of nodes have and of '*', which stands \
           for any text",
    parse: |text| {
        let of_names = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_.*".contains(&b);
        Patterns::parse(text, |pattern| pattern.bytes().all(of_names))
    },
};

const ENVIRONMENTS: Value<Patterns> = Value {
    want: "patterns with commas between them, each of letters, digits, '_' and '*', which stands for any text",
    parse: |text| {
        let of_names = |b: u8| b.is_ascii_alphanumeric() || b"_*".contains(&b);
        Patterns::parse(text, |pattern| pattern.bytes().all(of_names))
    },
};

const EXTENSIONS: Value<ExtensionPatterns> = Value {
    want: "NAME=VALUE patterns with commas between them, each NAME one of Puppet's registered names, an object identifier \
           below 1.3.6.1.4.1.34380.1.2, or a pattern of them",
    parse: ExtensionPatterns::parse,
};

const MOST: Value<usize> =
    Value { want: "a whole number from 0 to 1000000", parse: |text| declare::number(text, 0..=1_000_000) };

keys! {
    /// `[client NAME]`.
    pub(super) struct ClientKeys in "client NAME" {
        /// SHA-256 of each of the client's preshared keys; 'espm-setup client key add NAME' makes one, prints it once
        /// and adds it.
        keys: Vec<PskDigest> = DIGESTS,
            required("sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef");
        /// Operations that the client may ask for.
        may: Vec<May> = MAY, default("list, nodes, certificates");
        /// Names of the nodes that the client may add.
        nodes: Patterns = NODES, default("*");
        /// Groups that the client may assign; its lists show no others.
        groups: Patterns = NAMES, default("*");
        /// Classes that the client may assign; its lists show no others.
        classes: Patterns = CLASSES, default("*");
        /// Environments that the client may assign; those of groups are the catalogue's own.
        environments: Patterns = ENVIRONMENTS, default("*");
        /// Trusted facts that the client may ask for in certificates, each a pattern of the name or object identifier and
        /// one of the value; without this line none.
        extensions: Option<ExtensionPatterns> = EXTENSIONS, optional("pp_role=web*, 1.3.6.1.4.1.34380.1.2.1=*");
        /// Most nodes that the client may have at once.
        most: Option<usize> = MOST, optional("100");
    }
}

/// Refuses the section of 0.1, and says what to write in its place.
pub(super) fn refuse_psk(sections: &[ini::Section]) -> Result<(), Wrong> {
    let Some(psk) = sections.iter().find(|section| section.name == PSK) else { return Ok(()) };
    let (name, line) = psk.entries.first().map_or(("cloud", psk.line), |(name, _, line)| (name.as_str(), *line));
    Err(Wrong::Psk { name: name.to_owned(), line })
}

/// Reads all clients, of which no two have a key in common.
pub(super) fn read(file: &File<'_>) -> Result<Vec<Client>, Wrong> {
    let mut clients: Vec<Client> = Vec::new();
    for (name, line, file) in file.each(SECTION) {
        let name = ClientName::parse(name).map_err(|error| Wrong::ClientName { name: name.to_owned(), line, error })?;
        let read = ClientKeys::read(&file).map_err(|wrong| of_keys(wrong, name.as_str()))?;
        let ClientKeys { keys, may, nodes, groups, classes, environments, extensions, most } = read;
        let extensions = extensions.unwrap_or_default();
        clients.push(Client {
            name,
            keys,
            rights: Rights { may, nodes, groups, classes, environments, extensions, most },
        });
    }
    refuse_twins(&clients)?;
    if clients.is_empty() { Err(Wrong::NoClient) } else { Ok(clients) }
}

/// An error about the keys of a client, with the command that makes one.
fn of_keys(wrong: Wrong, client: &str) -> Wrong {
    match wrong {
        Wrong::Missing { name: "keys", .. } | Wrong::Empty { name: "keys", .. } => Wrong::NoKey(client.to_owned()),
        Wrong::Value { name: "keys", .. } => Wrong::Digest(client.to_owned()),
        wrong => wrong,
    }
}

/// Refuses a key that another client has, or that stands twice.
fn refuse_twins(clients: &[Client]) -> Result<(), Wrong> {
    let mut owners = HashMap::new();
    for (client, key) in clients.iter().flat_map(|client| client.keys.iter().map(move |key| (client, key))) {
        if let Some(owner) = owners.insert(key.bytes(), &client.name) {
            let (name, other) = (owner.to_string(), client.name.to_string());
            return Err(Wrong::KeyTwice { name, other, key: key.short() });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::config::Config;

    const REST: &str = "[tls]\ncertificate = /c\nkey = /k\n[console]\nkind = enc\n[authority]\nkind = puppet-cert\n\
                        command = /puppet cert\nssldir = /s\ncadir = /c\nmaster = m.example.com\n";

    fn digest(digit: char) -> String {
        format!("sha256:{}", digit.to_string().repeat(64))
    }

    fn error(clients: &str) -> String {
        Config::from_text(&format!("{clients}{REST}")).unwrap_err().to_string()
    }

    #[test]
    fn every_client_has_keys_of_its_own() {
        let (one, two) = (digest('1'), digest('2'));
        let good = format!("[client a]\nkeys = {one}, {two}\n[client b]\nkeys = {}\nmost = 0\n", digest('3'));
        let config = Config::from_text(&format!("{good}{REST}")).unwrap();
        let found: Vec<_> = config.clients.iter().map(|client| (client.name.as_str(), client.keys.len())).collect();
        assert_eq!(found, [("a", 2), ("b", 1)]);
        assert_eq!((config.clients[0].rights.most, config.clients[1].rights.most), (None, Some(0)));
        for (clients, message) in [
            (
                format!("[client a]\nkeys = {one}\n[client b]\nkeys = {two}, {one}\n"),
                "[client b] keys: 11111111 is a key of [client a], too; give each client keys of its own",
            ),
            (format!("[client a]\nkeys = {one},{one}\n"), "[client a] keys: 11111111 is a key of [client a], too"),
            (format!("[client a]\nkeys = {one} {two}\n"), "[client a] keys: want sha256: and 64 hexadecimal digits"),
            (format!("[client a]\nkeys = {one},\n"), "[client a] keys: want sha256: and 64 hexadecimal digits"),
            (
                "[client a]\nmay = list\n".into(),
                "[client a] keys: is missing, so that nobody can be this client; 'espm-setup",
            ),
            ("[client a]\nkeys =\n".into(), "[client a] keys: is missing, so that nobody can be this client;"),
            (
                format!("[client a]\nkeys = {one}\n[client  a]\nkeys = {two}\n"),
                "[client  a] line 3: a client's name is",
            ),
            (format!("[client operator]\nkeys = {one}\n"), "[client operator] line 1: a client's name is"),
            (
                format!("[psk]\ncloud = {one}\n"),
                "[psk] line 2: each client has a section now; in the place of 'cloud = sha256:...' write '[client cloud]'",
            ),
            (
                String::new(),
                "[client NAME]: there is none, so that no key is right; 'espm-setup client add NAME' makes one",
            ),
        ] {
            let found = error(&clients);
            assert!(found.starts_with(message), "{found:?} for {message:?}");
        }
    }
}
