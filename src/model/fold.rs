//! Names that a console's database may take for one another.
//!
//! The default collations of MySQL and MariaDB ignore case, accents and trailing blanks. A database does not say which
//! one it has, so two names count as one as soon as any of them would say so. Collations of one language, such as
//! Swedish, are not considered.

use std::collections::{HashMap, HashSet};

use icu_collator::options::{CollatorOptions, Strength};
use icu_collator::{Collator, CollatorBorrowed};

/// The rules by which names are folded.
#[derive(Debug)]
pub struct Folding(CollatorBorrowed<'static>);

impl Default for Folding {
    fn default() -> Self {
        let mut options = CollatorOptions::default();
        options.strength = Some(Strength::Primary);
        #[expect(clippy::expect_used, reason = "the data is part of the program, and a test loads it")]
        Self(Collator::try_new(Default::default(), options).expect("the root collation"))
    }
}

impl Folding {
    /// The keys of a name by Unicode's collation and by `general_ci`; names that share one are one to some database.
    pub fn keys(&self, name: &str) -> [(bool, Vec<u8>); 2] {
        let key = |text: &str| {
            let mut key = Vec::new();
            let Ok(()) = self.0.write_sort_key_to(text.trim_end(), &mut key);
            key
        };
        let plain: String = name.chars().map(general).collect();
        let unicode = key(name);
        let general = if plain == name { unicode.clone() } else { key(&plain) };
        [(false, unicode), (true, general)]
    }
}

/// Replaces what `general_ci` and the first edition of Unicode's collation fold and today's Unicode does not.
fn general(c: char) -> char {
    match c {
        'ß' | 'ẞ' => 's',
        'ı' => 'i',
        '\u{345}' => 'ι',
        // Georgian capitals of the old script.
        '\u{10A0}'..='\u{10C5}' => char::from_u32(u32::from(c) + 0x30).unwrap_or(c),
        // Every character beyond the first plane is one to them.
        '\u{10000}'.. => char::REPLACEMENT_CHARACTER,
        _ => c,
    }
}

/// The names of a list that share a key with a wanted name.
#[derive(Debug, Default)]
pub struct Twins {
    folding: Folding,
    listed: HashMap<(bool, Vec<u8>), Vec<String>>,
}

impl Twins {
    /// Looks for the twins of these names in a list.
    pub fn find<'a>(wanted: impl Iterator<Item = &'a str>, list: &[String]) -> Self {
        let folding = Folding::default();
        let wanted: HashSet<_> = wanted.flat_map(|name| folding.keys(name)).collect();
        let mut listed: HashMap<_, Vec<String>> = HashMap::new();
        for name in list {
            for key in folding.keys(name).into_iter().filter(|key| wanted.contains(key)) {
                listed.entry(key).or_default().push(name.clone());
            }
        }
        Self { folding, listed }
    }

    /// Another name of the list where more than one of it is this name to a database.
    pub fn of(&self, name: &str) -> Option<&str> {
        let same = self.folding.keys(name).into_iter().filter_map(|key| self.listed.get(&key));
        let several = same.filter(|names| names.iter().any(|other| Some(other) != names.first()));
        several.flatten().map(String::as_str).find(|other| *other != name)
    }
}

#[cfg(test)]
mod tests {
    use super::{Folding, Twins};

    fn is_one(a: &str, b: &str) -> bool {
        let folding = Folding::default();
        folding.keys(a).iter().zip(folding.keys(b)).any(|(a, b)| *a == b)
    }

    #[test]
    fn names_that_some_database_takes_for_one_are_one() {
        for (a, b) in [
            ("web servers", "Web Sérvers"),
            ("ntp", "nTp"),
            ("db", "db  "),
            ("Straße", "STRASSE"),
            ("Straße", "strase"),
            ("Øl", "ol"),
            ("Łódź", "lodz"),
            ("ハハ", "ぱぱ"),
            ("\u{1F600}", "\u{1F601}"),
            ("e\u{301}", "É"),
        ] {
            assert!(is_one(a, b) && is_one(b, a), "{a} {b}");
        }
        for (a, b) in [("web1", "web2"), ("a b", "ab"), ("a::b", "a:b"), ("a-b", "a_b"), ("日本", "日曜"), (" a", "a")]
        {
            assert!(!is_one(a, b), "{a} {b}");
        }
    }

    #[test]
    fn twin_is_other_name_of_list() {
        let list = ["ntp", "nTp", "apache", "Web Servers"].map(str::to_owned);
        let wanted = ["ntp", "apache", "web servers"];
        let twins = Twins::find(wanted.into_iter(), &list);
        assert_eq!(wanted.map(|name| twins.of(name)), [Some("nTp"), None, None]);
    }
}
