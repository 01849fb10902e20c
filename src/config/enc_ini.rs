//! `enc.ini`: what the classifier, `espm-enc`, is told.
//!
//! Apart from `espm.ini`, which the Puppet server's user may not read.

use std::path::{Path, PathBuf};

use crate::config::layout;
use crate::system::ini;
use crate::system::trusted_file::{self, Owner};

/// Its name, beside `espm.ini`.
pub const FILE: &str = "enc.ini";

/// Bytes of the file.
const MAX_FILE: u64 = 64 * 1024;

/// The classifier's configuration.
#[derive(Debug, PartialEq, Eq)]
pub struct Classifier {
    /// The directory of the published nodes.
    pub published: PathBuf,
    /// The program that it becomes for every other node.
    pub fallback: Option<PathBuf>,
}

impl Classifier {
    /// Reads the file, which only root may be able to write or to replace.
    ///
    /// # Errors
    /// A sentence that names the file, the section and the key.
    pub fn load(path: &Path) -> Result<Self, String> {
        trusted_file::check_way(path, Owner::Root).map_err(|error| error.to_string())?;
        let text = trusted_file::read(path, MAX_FILE, Owner::Root).map_err(|error| error.to_string())?;
        Self::from_text(&text).map_err(|what| format!("{}: {what}", path.display()))
    }

    fn from_text(text: &str) -> Result<Self, String> {
        let mut config = Self { published: PathBuf::from(layout::this().nodes), fallback: None };
        for section in ini::read(text).map_err(|error| error.to_string())? {
            if section.name != "enc" {
                return Err(format!("[{}]: is not known; want [enc]", section.name));
            }
            for (key, value, _) in section.entries {
                if !value.starts_with('/') {
                    return Err(format!("[enc] {key}: want an absolute path, found {value:?}"));
                }
                match key.as_str() {
                    "published" => config.published = value.into(),
                    "fallback" => config.fallback = Some(value.into()),
                    _ => return Err(format!("[enc] {key}: is not known; want published or fallback")),
                }
            }
        }
        Ok(config)
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
        assert!(Classifier::load(&path).unwrap_err().starts_with(&std::env::temp_dir().display().to_string()));
        // root's, and so read: what is wrong is the text.
        let error = Classifier::load(Path::new("/etc/passwd")).unwrap_err();
        assert_eq!(error, "/etc/passwd: line 1: comes before the first [section]");
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
