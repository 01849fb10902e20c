//! The options that set a key of espm.ini: help and default are the key's.

use std::fmt::Write;
use std::path::Path;

use clap::builder::{PossibleValuesParser, StyledStr};
use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches, ValueHint};

use crate::config::layout;
use crate::config::{Absent, KEYS, Key};

/// Option, name of its value, section and key, and the default where it is not the key's.
const OPTIONS: [(&str, &str, [&str; 2], Option<&str>); 22] = [
    ("port", "PORT", ["tls", "port"], None),
    ("state", "DIR", ["espm", "state"], None),
    ("listen", "PATH", ["espm", "listen"], None),
    ("helper", "PATH", ["espm", "helper"], None),
    ("console-kind", "KIND", ["console", "kind"], None),
    ("console-command", "COMMAND", ["console", "command"], None),
    ("console-directory", "DIR", ["console", "directory"], None),
    ("console-user", "USER", ["console", "user"], None),
    ("console-release", "RELEASE", ["console", "release"], Some("what rake's tasks say")),
    ("catalogue", "FILE", ["console", "catalogue"], None),
    ("published", "DIR", ["console", "published"], None),
    ("authority-kind", "KIND", ["authority", "kind"], None),
    ("authority-command", "COMMAND", ["authority", "command"], None),
    ("authority-config", "FILE", ["authority", "config"], None),
    ("authority-key", "TYPE", ["authority", "key"], None),
    ("authority-address", "HOST:PORT", ["authority", "address"], None),
    ("authority-user", "USER", ["authority", "user"], None),
    ("ssldir", "DIR", ["authority", "ssldir"], None),
    ("cadir", "DIR", ["authority", "cadir"], None),
    ("records", "DIR", ["authority", "records"], None),
    ("master", "NAME", ["authority", "master"], Some("what Puppet says")),
    ("syslog", "PATH", ["audit", "socket"], None),
];

/// Values of keys of espm.ini.
#[derive(Debug, Clone, Default)]
pub(super) struct Values(Vec<(&'static Key, String)>);

fn key([section, name]: [&str; 2]) -> Option<&'static Key> {
    KEYS.into_iter().flatten().copied().find(|key| key.section == section && key.name == name)
}

/// The option that sets a key.
pub(super) fn option(at: [&str; 2]) -> Option<&'static str> {
    OPTIONS.iter().find(|(.., key, _)| *key == at).map(|(option, ..)| *option)
}

impl Args for Values {
    fn augment_args(command: Command) -> Command {
        OPTIONS.iter().fold(command, |command, (option, value_name, at, default)| match key(*at) {
            Some(key) => command.arg(argument(key, option, value_name, *default)),
            None => command,
        })
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

/// The help of a key, and its default or another one.
fn help(key: &'static Key, default: Option<&str>) -> StyledStr {
    let own = (key.absent != Absent::Optional).then(|| key.value(layout::this));
    let mut help = StyledStr::from(key.help().trim_end_matches('.'));
    if let Some(default) = default.or(own) {
        let _ = write!(help, " [default: {default}]");
    }
    help
}

fn argument(key: &'static Key, option: &'static str, value_name: &'static str, default: Option<&str>) -> Arg {
    let arg = Arg::new(option).long(option).value_name(value_name).help(help(key, default));
    match key.name {
        "port" => arg.short('p').value_parser(|text: &str| match text.parse::<u16>() {
            Ok(1..) => Ok(text.to_owned()),
            _ => Err("want a whole number from 1 to 65535"),
        }),
        "kind" | "release" | "key" => {
            let words = key.want.split(", ").flat_map(|words| words.split(" or "));
            arg.value_parser(PossibleValuesParser::new(words))
        }
        _ if value_name == "USER" => arg.value_hint(ValueHint::Username),
        _ if key.want == "an absolute path" => arg.value_hint(ValueHint::AnyPath),
        _ => arg,
    }
}

impl FromArgMatches for Values {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let given = OPTIONS
            .iter()
            .filter_map(|(option, _, at, _)| Some((key(*at)?, matches.get_one::<String>(option)?.clone())));
        Ok(Self(given.collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Values {
    /// The value of a key, if it has one.
    pub(super) fn get(&self, at: [&str; 2]) -> Option<&str> {
        self.0.iter().find(|(key, _)| [key.section, key.name] == at).map(|(_, value)| value.as_str())
    }

    /// Gives a key this value in the place of another.
    pub(super) fn replace(&mut self, at: [&str; 2], value: &str) {
        self.0.retain(|(key, _)| [key.section, key.name] != at);
        self.fill(at, value);
    }

    /// Gives a key its value, unless it has one.
    pub(super) fn fill(&mut self, at: [&str; 2], value: &str) {
        if self.get(at).is_none() {
            self.0.extend(key(at).map(|key| (key, value.to_owned())));
        }
    }

    /// Gives what has no value its default, or else Puppet Enterprise 2.5's value.
    pub(super) fn fill_rest(&mut self) {
        for (_, _, at, _) in OPTIONS {
            let Some(key) = key(at).filter(|key| key.absent != Absent::Optional) else { continue };
            // The kind stands before what depends on it.
            if key.has_meaning_with(self.get([key.section, "kind"]).unwrap_or_default()) {
                self.fill(at, key.value(layout::this));
            }
        }
    }

    /// The text of a new espm.ini; `client` is the section of the first client.
    pub(super) fn text(&self, certificate: &Path, private_key: &Path, client: &str) -> String {
        let mut text =
            String::from("# Every key and its default is in the espm.ini that comes with the documentation.\n");
        for section in ["espm", "client", "tls", "console", "authority", "audit"] {
            let _ = match section {
                "client" => write!(text, "\n{client}"),
                _ => writeln!(text, "\n[{section}]"),
            };
            let _ = match section {
                "tls" => writeln!(text, "certificate = {}\nkey = {}", certificate.display(), private_key.display()),
                _ => Ok(()),
            };
            for (_, _, at, _) in OPTIONS.iter().filter(|(_, _, at, _)| at[0] == section) {
                if let Some(value) = self.get(*at) {
                    let _ = writeln!(text, "{} = {value}", at[1]);
                }
            }
        }
        text
    }
}

/// The rights of a new client: keys of its section, which are options of the same names.
#[derive(Debug, Clone, Default)]
pub(super) struct GivenRights(Vec<(&'static str, String)>);

/// The keys of a client's section that say what it may.
fn rights() -> impl Iterator<Item = &'static Key> {
    let of_client = KEYS.into_iter().flatten().copied().filter(|key| key.section == "client NAME");
    of_client.filter(|key| key.name != "keys")
}

impl GivenRights {
    /// Keys and values, as they are given.
    pub(super) fn given(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.0.iter().map(|(key, value)| (*key, value.as_str()))
    }
}

impl Args for GivenRights {
    fn augment_args(command: Command) -> Command {
        let argument = |key: &'static Key| {
            let several = key.want.contains("with commas between them");
            let value_name = if several { "NAME,..." } else { "NUMBER" };
            let action = if several { ArgAction::Append } else { ArgAction::Set };
            let arg = Arg::new(key.name).long(key.name).value_name(value_name).action(action).help(help(key, None));
            arg.value_parser(|text: &str| match text.contains(char::is_control) {
                false => Ok(text.to_owned()),
                true => Err("want one line"),
            })
        };
        rights().fold(command, |command, key| command.arg(argument(key)))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for GivenRights {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let given = rights().filter_map(|key| {
            let values: Vec<&str> = matches.get_many::<String>(key.name)?.map(String::as_str).collect();
            Some((key.name, values.join(", ")))
        });
        Ok(Self(given.collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}
