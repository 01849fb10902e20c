//! The keys of an INI file: their declaration, and how their values are read.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use super::layout::{self, Layout};
use super::wrong::Wrong;
use crate::system::ini;

/// Effect of a missing line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Absent {
    /// The key has its default value.
    Default,
    /// The file is refused.
    Required,
    /// The key has no value.
    Optional,
}

/// The declaration of a key.
#[derive(Debug)]
pub struct Key {
    /// Section that the key is in.
    pub section: &'static str,
    /// Name before the equals sign.
    pub name: &'static str,
    /// Values of `kind` in the same section of which one must be given, or else the key has no meaning; none: always.
    pub kinds: &'static [&'static str],
    /// Values that are accepted, as a noun phrase.
    pub want: &'static str,
    /// Effect of a missing line.
    pub absent: Absent,
    pub(super) text: Text,
    pub(super) doc: &'static str,
}

/// The text of a default or an example.
#[derive(Debug)]
pub(super) enum Text {
    Literal(&'static str),
    Place(fn(&Layout) -> &'static str),
}

impl Key {
    /// The default where there is one, or else an example.
    /// The layout is asked for only where the text is a place of it.
    pub fn value<'a>(&self, layout: impl FnOnce() -> &'a Layout) -> &'static str {
        match self.text {
            Text::Literal(text) => text,
            Text::Place(place) => place(layout()),
        }
    }

    /// Whether the key has a meaning with that kind of its section.
    pub fn has_meaning_with(&self, kind: &str) -> bool {
        self.kinds.is_empty() || self.kinds.contains(&kind)
    }

    /// Meaning and unit, one sentence.
    pub fn help(&self) -> &'static str {
        self.doc.trim_start()
    }
}

/// How a value is read: what it has to be, and its parser, which returns the part that is wrong.
pub(super) struct Value<T> {
    pub(super) want: &'static str,
    pub(super) parse: fn(&str) -> Result<T, &str>,
}

pub(super) const PATH: Value<PathBuf> =
    Value { want: "an absolute path", parse: |text| if text.starts_with('/') { Ok(text.into()) } else { Err(text) } };

pub(super) const FLAG: Value<bool> = Value {
    want: "yes or no",
    parse: |text| match text {
        "yes" => Ok(true),
        "no" => Ok(false),
        _ => Err(text),
    },
};

pub(super) const PORT: Value<u16> =
    Value { want: "a whole number from 1 to 65535", parse: |text| number(text, 1..=65_535) };

pub(super) const ADDRESS: Value<String> = Value {
    want: "HOST:PORT",
    parse: |text| match text.rsplit_once(':') {
        Some((host, port)) if !host.is_empty() && number::<u16>(port, 1..=65_535).is_ok() => Ok(text.to_owned()),
        _ => Err(text),
    },
};

pub(super) const PLACES: Value<usize> =
    Value { want: "a whole number from 0 to 1000", parse: |text| number(text, 0..=1000) };

pub(super) const RUNS: Value<usize> =
    Value { want: "a whole number from 1 to 1000", parse: |text| number(text, 1..=1000) };

pub(super) const SECONDS: Value<Duration> =
    Value { want: "whole seconds from 1 to 3600", parse: |text| number(text, 1..=3600).map(Duration::from_secs) };

pub(super) const SECONDS_OR_NONE: Value<Duration> =
    Value { want: "whole seconds from 0 to 3600", parse: |text| number(text, 0..=3600).map(Duration::from_secs) };

pub(super) const NAME: Value<String> = Value { want: "a host's name", parse: |text| Ok(text.to_ascii_lowercase()) };

pub(super) const USER: Value<String> = Value {
    want: "a user's name",
    parse: |text| {
        let good = !text.starts_with('-') && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
        if good { Ok(text.to_owned()) } else { Err(text) }
    },
};

pub(super) const COMMAND: Value<Vec<String>> = Value {
    want: "a program's absolute path and plain words, because no shell reads them",
    parse: |text| {
        let quoted = |word: &&str| word.contains(['"', '\'', '$', '`', '\\', '|', '&', '<', '>']);
        match text.split_whitespace().find(quoted) {
            Some(word) => Err(word),
            None if !text.starts_with('/') => Err(text),
            None => Ok(text.split_whitespace().map(str::to_owned).collect()),
        }
    },
};

pub(super) const ENVIRONMENT: Value<Vec<(String, String)>> = Value {
    want: "NAME=VALUE words",
    parse: |text| {
        let pair = |word| match str::split_once(word, '=') {
            Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
            // The rest may be secret.
            _ => Err(word.split('=').next().unwrap_or_default()),
        };
        text.split_whitespace().map(pair).collect()
    },
};

pub(super) fn number<T: FromStr + PartialOrd>(text: &str, bounds: RangeInclusive<T>) -> Result<T, &str> {
    text.parse().ok().filter(|number| bounds.contains(number)).ok_or(text)
}

/// The end of a section's name that stands for any name.
const ANY_NAME: &str = " NAME";

/// The name in a section of this kind, such as `[client NAME]`.
fn name_in<'a>(section: &'a str, kind: &str) -> Option<&'a str> {
    let (before, name) = section.split_once(' ')?;
    (kind.strip_suffix(ANY_NAME) == Some(before)).then_some(name)
}

/// The sections of a file, of which each key is known.
#[derive(Clone, Copy)]
pub(super) struct File<'a> {
    sections: &'a [ini::Section],
    known: &'static [&'static [&'static Key]],
    /// The section that is read in the place of those of any name.
    named: Option<&'a ini::Section>,
}

impl<'a> File<'a> {
    /// Checks sections in which these keys may be, each slice of them in one section.
    pub(super) fn of(sections: &'a [ini::Section], known: &'static [&'static [&'static Key]]) -> Result<Self, Wrong> {
        let file = Self { sections, known, named: None };
        file.sections.iter().try_for_each(|section| file.check_known(section))?;
        Ok(file)
    }

    /// The keys that may be in a section.
    fn keys(&self, section: &str) -> impl Iterator<Item = &'static Key> {
        let is_of = move |key: &&Key| key.section == section || name_in(section, key.section).is_some();
        self.known.iter().filter(move |keys| keys.first().is_some_and(is_of)).copied().flatten().copied()
    }

    /// Each section of this kind: its name and line, and the file with it in the place of all of them.
    pub(super) fn each(self, kind: &str) -> impl Iterator<Item = (&'a str, usize, Self)> {
        self.sections.iter().filter_map(move |section| {
            Some((name_in(&section.name, kind)?, section.line, Self { named: Some(section), ..self }))
        })
    }

    fn check_known(&self, section: &ini::Section) -> Result<(), Wrong> {
        let keys = || self.keys(&section.name);
        if keys().next().is_none() {
            let mut want: Vec<_> =
                self.known.iter().copied().flatten().map(|key| format!("[{}]", key.section)).collect();
            want.dedup();
            return Err(Wrong::Section { name: section.name.clone(), line: section.line, want: want.join(", ") });
        }
        let is_known = |name: &str| keys().any(|key| key.name == name);
        let Some((name, _, line)) = section.entries.iter().find(|(name, ..)| !is_known(name)) else { return Ok(()) };
        let mut want: Vec<_> = keys().map(|key| key.name).collect();
        want.sort_unstable();
        want.dedup();
        let (section, name) = (section.name.clone(), name.clone());
        Err(Wrong::Key { section, name, line: *line, want: want.join(", ") })
    }

    /// Refuses keys that have no meaning with the kind of their section.
    pub(super) fn check_kinds(&self) -> Result<(), Wrong> {
        for kind in self.known.iter().copied().flatten().filter(|key| key.name == "kind") {
            let section = self.section(kind.section);
            let found = section.get(kind).unwrap_or_else(|| kind.value(layout::this));
            for (name, _, line) in section.entries {
                let rows = || self.keys(kind.section).filter(|key| key.name == name);
                if let (false, Some(row)) = (rows().any(|key| key.has_meaning_with(found)), rows().next()) {
                    let want = row.kinds;
                    let (name, found) = (name.clone(), found.to_owned());
                    let section = kind.section.to_owned();
                    return Err(Wrong::Meaningless { section, name, line: *line, want, found });
                }
            }
        }
        Ok(())
    }

    /// A section, without entries if the file does not have it.
    pub(super) fn section(&self, name: &'static str) -> Section<'a> {
        let named = self.named.filter(|_| name.ends_with(ANY_NAME));
        match named.or_else(|| self.sections.iter().find(|section| section.name == name)) {
            Some(found) => Section { name: &found.name, entries: &found.entries },
            None => Section { name, entries: &[] },
        }
    }
}

/// A section of a file: its name; name, value and line of each key.
pub(super) struct Section<'a> {
    name: &'a str,
    entries: &'a [(String, String, usize)],
}

impl<'a> Section<'a> {
    fn get(&self, key: &Key) -> Option<&'a str> {
        self.entries.iter().find(|(name, _, _)| name == key.name).map(|(_, value, _)| value.as_str())
    }

    /// The value of a key that need not be there.
    pub(super) fn optional<T>(&self, key: &Key, value: &Value<T>) -> Result<Option<T>, Wrong> {
        self.get(key).map(|text| self.parse(key, value, text)).transpose()
    }

    /// The values of a key that need not be there.
    pub(super) fn list<T>(&self, key: &Key, value: &Value<Vec<T>>) -> Result<Vec<T>, Wrong> {
        Ok(self.optional(key, value)?.unwrap_or_default())
    }

    /// The value of a key, or its default.
    pub(super) fn default<T>(&self, key: &Key, value: &Value<T>) -> Result<T, Wrong> {
        self.parse(key, value, self.get(key).unwrap_or_else(|| key.value(layout::this)))
    }

    /// The value of a key that has to be there.
    pub(super) fn required<T>(&self, key: &Key, value: &Value<T>) -> Result<T, Wrong> {
        let section = || self.name.to_owned();
        let missing = || Wrong::Missing { section: section(), name: key.name, example: key.value(layout::this) };
        self.parse(key, value, self.get(key).ok_or_else(missing)?)
    }

    fn parse<T>(&self, key: &Key, value: &Value<T>, text: &str) -> Result<T, Wrong> {
        let (section, name, want) = (|| self.name.to_owned(), key.name, value.want);
        if text.is_empty() {
            return Err(Wrong::Empty { section: section(), name });
        }
        (value.parse)(text).map_err(|found| Wrong::Value { section: section(), name, want, found: found.to_owned() })
    }
}

/// Declares the keys of a section: the struct that they fill, their rows, and its reader.
///
/// A row is `/// HELP`, then `FIELD: TYPE = PARSER, default("VALUE")`; an example stands in the place of the default
/// with `required`, `optional` and `list`. A word without quotes is that place of the layout. `as "NAME"` gives the key
/// another name than its field, `for "KIND"...` confines all keys to some kinds, `only "KIND"...` one key. Fields without a key stand below `with`.
/// `impl STRUCT by READER` fills a struct that two sections share. A section whose name ends with NAME can be there
/// under many names.
macro_rules! keys {
    (
        $(#[$meta:meta])*
        $vis:vis struct $name:ident in $section:literal $(for $($kind:literal)+)? { $($rows:tt)* }
        $(with |$file:ident| { $($(#[$more:meta])* $other:ident: $of:ty = $made:expr;)* })?
    ) => {
        keys!(@fields $(#[$meta])* $vis $name { $($rows)* } $($($(#[$more])* $other: $of;)*)?);
        keys!(@reader $name $name $section [$($($kind)+)?] { $($rows)* } $(|$file| $($other $made;)*)?);
    };
    (impl $made:ident by $name:ident in $section:literal $(for $kind:literal)? { $($rows:tt)* }) => {
        pub(super) struct $name;
        keys!(@reader $made $name $section [$($kind)?] { $($rows)* });
    };
    (
        @fields $(#[$meta:meta])* $vis:vis $name:ident
        { $($(#[doc = $help:expr])+ $field:ident $(as $key:literal)?: $type:ty = $value:expr, $absent:ident($text:tt) $(only $($only:literal)+)?;)* }
        $($(#[$more:meta])* $other:ident: $of:ty;)*
    ) => {
        $(#[$meta])*
        #[derive(Debug)]
        $vis struct $name {
            $($(#[doc = $help])+ pub(crate) $field: $type,)*
            $($(#[$more])* pub(crate) $other: $of,)*
        }
    };
    (
        @reader $made:ident $name:ident $section:literal $kind:tt
        { $($(#[doc = $help:expr])+ $field:ident $(as $key:literal)?: $type:ty = $value:expr, $absent:ident($text:tt) $(only $($only:literal)+)?;)* }
        $(|$file:ident| $($other:ident $other_value:expr;)*)?
    ) => {
        #[allow(non_upper_case_globals, reason = "each row has the name of its field")]
        impl $name {
            $(const $field: Key = Key {
                section: $section,
                name: keys!(@first $($key,)? stringify!($field)),
                kinds: keys!(@kind $kind $($($only)+)?),
                want: $value.want,
                absent: keys!(@absent $absent),
                text: keys!(@text $text),
                doc: concat!($($help),+),
            };)*

            pub(in crate::config) const KEYS: &'static [&'static Key] = &[$(&Self::$field),*];

            pub(in crate::config) fn read(file: &File<'_>) -> Result<$made, Wrong> {
                let section = file.section($section);
                $(let $field: $type = section.$absent(&Self::$field, &$value)?;)*
                $(let $file = file; $(let $other = $other_value;)*)?
                Ok($made { $($field,)* $($($other,)*)? })
            }
        }
    };
    (@first $first:expr $(, $rest:expr)?) => { $first };
    (@kind [$($kind:literal)*]) => { &[$($kind),*] };
    (@kind [$($kind:literal)*] $($only:literal)+) => { &[$($only),+] };
    (@absent default) => { Absent::Default };
    (@absent required) => { Absent::Required };
    (@absent $optional:ident) => { Absent::Optional };
    (@text $text:literal) => { Text::Literal($text) };
    (@text $place:ident) => { Text::Place(|layout| layout.$place) };
}
pub(super) use keys;
