//! A list of the console's names, cached as ready JSON in a file beside the ledger.
//!
//! The file's first line has the time when the console was asked and the entity tag; the rest is the body. So a
//! cached answer is one small read, without parsing.

use std::path::{Path, PathBuf};
use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::model::node::List;
use crate::system::clock;
use crate::system::trusted_file::{self, FileError, Owner};

/// Most bytes of a file; as many as of a command's output.
const MAX_FILE: u64 = crate::system::command::MAX_OUTPUT as u64;

/// A list of names, ready to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Listing {
    /// The time when the console was asked, in milliseconds since 1970.
    pub(crate) as_of_ms: i64,
    /// A weak entity tag, made of the names alone.
    pub(crate) etag: String,
    /// `{"classes": [...], "as_of": "..."}`
    pub(crate) body: String,
}

impl Listing {
    /// Makes a list of names in the console's order.
    pub(crate) fn new(list: List, names: &[String], as_of_ms: i64) -> Self {
        let mut hash = Sha256::new();
        for name in names {
            hash.update(name.as_bytes());
            hash.update([0]);
        }
        let digest = hash.finalize();
        let etag = data_encoding::HEXLOWER.encode(digest.get(..16).unwrap_or_default());
        let as_of = clock::rfc3339(as_of_ms / 1000);
        let body = serde_json::json!({ list.member(): names, "as_of": as_of }).to_string();
        Self { as_of_ms, etag: format!("W/\"{etag}\""), body }
    }

    /// The names in the body.
    pub(crate) fn names(&self, list: List) -> Vec<String> {
        let value: serde_json::Value = serde_json::from_str(&self.body).unwrap_or_default();
        let names = value.get(list.member()).and_then(|names| names.as_array());
        names.into_iter().flatten().filter_map(|name| name.as_str()).map(str::to_owned).collect()
    }

    fn file(cache: &Path, list: List) -> PathBuf {
        cache.join(list.member())
    }

    /// Loads the cached list if it is younger than `life` and not from the future.
    pub(crate) fn load(cache: &Path, list: List, life: Duration) -> Option<Self> {
        let kept = Self::load_any(cache, list)?;
        let age = clock::now_ms() - kept.as_of_ms;
        let life = i64::try_from(life.as_millis()).unwrap_or(i64::MAX);
        (0..life).contains(&age).then_some(kept)
    }

    fn load_any(cache: &Path, list: List) -> Option<Self> {
        let text = trusted_file::read(&Self::file(cache, list), MAX_FILE, Owner::RootOrSelf).ok()?;
        let (head, body) = text.split_once('\n')?;
        let (as_of_ms, etag) = head.split_once(' ')?;
        Some(Self { as_of_ms: as_of_ms.parse().ok()?, etag: etag.to_owned(), body: body.to_owned() })
    }

    /// Writes the list to the cache.
    pub(crate) fn save(&self, cache: &Path, list: List) -> Result<(), FileError> {
        let text = format!("{} {}\n{}", self.as_of_ms, self.etag, self.body);
        trusted_file::replace(&Self::file(cache, list), 0o600, text.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Listing;
    use crate::model::node::List;
    use crate::system::clock;
    use crate::system::scratch::scratch;

    #[test]
    fn list_is_kept_for_its_life_and_never_from_the_future() {
        let cache = scratch("listing");
        let minute = Duration::from_secs(60);
        assert!(Listing::load(&cache, List::Classes, minute).is_none());
        let names = ["apache".to_owned(), "a\"b".to_owned()];
        let listing = Listing::new(List::Classes, &names, clock::now_ms());
        listing.save(&cache, List::Classes).unwrap();
        assert_eq!(Listing::load(&cache, List::Classes, minute).unwrap(), listing);
        assert_eq!(listing.names(List::Classes), names);
        assert!(Listing::load(&cache, List::Groups, minute).is_none());
        for offset in [3_600_000, -3_600_000] {
            Listing::new(List::Classes, &names, clock::now_ms() + offset).save(&cache, List::Classes).unwrap();
            assert!(Listing::load(&cache, List::Classes, minute).is_none());
        }
    }

    #[test]
    fn entity_tag_is_made_of_the_names_alone() {
        let tag = |names: &[&str], at| {
            Listing::new(List::Groups, &names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>(), at).etag
        };
        assert_eq!(tag(&["a", "b"], 1), tag(&["a", "b"], 2));
        assert_ne!(tag(&["a", "b"], 1), tag(&["ab"], 1));
        assert_ne!(tag(&["a"], 1), tag(&["b"], 1));
    }
}
