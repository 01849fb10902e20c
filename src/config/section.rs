//! One section of `espm.ini`: typed values, and messages that name the section and the key.

use std::path::PathBuf;
use std::time::Duration;

use crate::config::layout::{self, Layout};
use crate::system::ini;

/// A section of the file.
pub(super) struct Section<'a> {
    name: &'static str,
    /// Its keys, their values and lines.
    pub(super) entries: &'a [(String, String, usize)],
}

impl<'a> Section<'a> {
    /// The section of that name; an empty one when the file has none.
    pub(super) fn of(sections: &'a [ini::Section], name: &'static str) -> Self {
        let entries = sections.iter().find(|section| section.name == name).map_or(&[][..], |section| &section.entries);
        Self { name, entries }
    }

    fn get(&self, key: &str) -> Option<&str> {
        self.entries.iter().find(|(name, _, _)| name == key).map(|(_, value, _)| value.as_str())
    }

    /// Whether the key is given.
    pub(super) fn has(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    /// A message that says what a key wants.
    pub(super) fn wrong(&self, key: &str, want: &str, found: &str) -> String {
        format!("[{}] {key}: want {want}, found {found:?}", self.name)
    }

    /// A value that is not empty.
    pub(super) fn text(&self, key: &str, default: Option<&str>) -> Result<String, String> {
        match self.get(key) {
            Some("") => Err(format!("[{}] {key}: is empty; give a value or remove the line", self.name)),
            Some(value) => Ok(value.to_owned()),
            None => default.map(str::to_owned).ok_or_else(|| format!("[{}] {key}: is missing", self.name)),
        }
    }

    /// An absolute path.
    pub(super) fn path(&self, key: &str, default: Option<&str>) -> Result<PathBuf, String> {
        let text = self.text(key, default)?;
        if text.starts_with('/') { Ok(text.into()) } else { Err(self.wrong(key, "an absolute path", &text)) }
    }

    /// An absolute path; by default the one of the layout, which is asked for only then.
    pub(super) fn placed(&self, key: &str, place: fn(&Layout) -> &'static str) -> Result<PathBuf, String> {
        if self.has(key) { self.path(key, None) } else { Ok(place(layout::this()).into()) }
    }

    /// `yes` or `no`.
    pub(super) fn flag(&self, key: &str, default: bool) -> Result<bool, String> {
        match self.text(key, Some(if default { "yes" } else { "no" }))?.as_str() {
            "yes" => Ok(true),
            "no" => Ok(false),
            other => Err(self.wrong(key, "yes or no", other)),
        }
    }

    /// A whole number within bounds.
    pub(super) fn number(&self, key: &str, default: u64, min: u64, max: u64) -> Result<u64, String> {
        let text = self.text(key, Some(&default.to_string()))?;
        match text.parse() {
            Ok(number) if (min..=max).contains(&number) => Ok(number),
            _ => Err(self.wrong(key, &format!("a whole number from {min} to {max}"), &text)),
        }
    }

    /// A whole number up to 1000.
    pub(super) fn count(&self, key: &str, default: usize, min: u64) -> Result<usize, String> {
        Ok(usize::try_from(self.number(key, default as u64, min, 1000)?).unwrap_or(default))
    }

    /// Whole seconds up to an hour.
    pub(super) fn seconds(&self, key: &str, default: u64, min: u64) -> Result<Duration, String> {
        let text = self.text(key, Some(&default.to_string()))?;
        match text.parse() {
            Ok(seconds) if (min..=3600).contains(&seconds) => Ok(Duration::from_secs(seconds)),
            _ => Err(self.wrong(key, &format!("whole seconds from {min} to 3600"), &text)),
        }
    }

    /// One of the words that `parse` knows; `want` names them.
    pub(super) fn word<T>(
        &self,
        key: &str,
        default: Option<&str>,
        parse: impl Fn(&str) -> Option<T>,
        want: &str,
    ) -> Result<T, String> {
        let text = self.text(key, default)?;
        parse(&text).ok_or_else(|| self.wrong(key, want, &text))
    }

    /// A user's name.
    pub(super) fn user(&self) -> Result<String, String> {
        let name = self.text("user", None)?;
        let good = !name.starts_with('-') && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
        if good { Ok(name) } else { Err(self.wrong("user", "a user's name", &name)) }
    }
}
