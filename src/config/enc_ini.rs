//! `enc.ini`: the configuration of the classifier, `espm-enc`.
//!
//! It is not in `espm.ini`, which the Puppet server's user may not read.

use std::path::{Path, PathBuf};

use super::declare::{self, Absent, File, Key, Text, keys};
use super::wrong::{ConfigError, Wrong};
use crate::system::ini;
use crate::system::trusted_file::Owner;

/// File name, beside `espm.ini`.
pub(crate) const FILE: &str = "enc.ini";

keys! {
    /// `[enc]`.
    pub(crate) struct Classifier in "enc" {
        /// Directory where espm publishes nodes: key published in section console of espm.ini.
        published: PathBuf = declare::PATH, default(nodes);
        /// Program, without arguments, that espm-enc becomes for a node that espm has not published, such as the
        /// external_nodes of before. Without it, such a node has no classes.
        fallback: Option<PathBuf> = declare::PATH, optional("/usr/local/bin/our-classifier");
    }
}

/// Its keys.
pub const KEYS: [&[&Key]; 1] = [Classifier::KEYS];

impl Classifier {
    /// Reads the file, which only root may be able to write or to replace.
    pub(crate) fn load(path: &Path) -> Result<Self, ConfigError> {
        super::load(path, Owner::Root, Self::from_text)
    }

    fn from_text(text: &str) -> Result<Self, Wrong> {
        Self::read(&File::of(&ini::read(text)?, &KEYS)?)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;

    use super::Classifier;
    use crate::system::scratch::scratch;
    use crate::system::trusted_file;

    #[test]
    fn what_another_can_write_or_replace_names_no_path() {
        let path = scratch("classifier").join("enc.ini");
        trusted_file::write_new(&path, 0o666, b"[enc]\n").unwrap();
        assert!(
            Classifier::load(&path).unwrap_err().to_string().starts_with(&std::env::temp_dir().display().to_string())
        );
        // root's, and so read: what is wrong is the text.
        let error = Classifier::load(Path::new("/etc/passwd")).unwrap_err();
        assert_eq!(error.to_string(), "/etc/passwd: line 1: comes before the first [section]");
    }

    #[test]
    fn its_configuration_names_two_paths() {
        let config = Classifier::from_text("[enc]\npublished = /a\nfallback = /b\n").unwrap();
        assert_eq!((config.published.to_str(), config.fallback.unwrap().to_str()), (Some("/a"), Some("/b")));
        assert!(Classifier::from_text("").unwrap().fallback.is_none());
        for bad in ["[enc]\nfallback = b", "[enc]\nfall = /b", "[x]"] {
            assert!(Classifier::from_text(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn whatever_the_text_is_its_paths_are_absolute(
            text in prop_oneof![".{0,60}", "(\\[enc\\]|published|fallback| |=|/|\n|#|.){0,20}", "\\[enc\\]\n((published|fallback) = .{0,8}\n){0,2}"],
        ) {
            if let Ok(config) = Classifier::from_text(&text) {
                prop_assert!(config.published.is_absolute());
                prop_assert!(config.fallback.is_none_or(|path| path.is_absolute()));
            }
        }
    }
}
