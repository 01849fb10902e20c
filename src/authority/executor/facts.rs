//! The `csr_attributes.yaml` that has Puppet put trusted facts into a certificate.

use std::fmt::Write;
use std::fs::File;
use std::path::Path;

use super::command::{Settings, configured};
use super::output::refuses_facts;
use super::{Ca, Failure, Kind};
use crate::model::extension::Extensions;
use crate::system::command;
use crate::system::trusted_file::{self, Owner};

/// A file that never is: the trusted facts in the master's own `csr_attributes.yaml` are for the master.
const NO_FACTS: &str = "/dev/null/csr_attributes.yaml";

/// Bytes of `puppet.conf`.
const MAX_CONFIGURATION: u64 = 1024 * 1024;

impl Ca<'_> {
    /// Runs the command so that it reads the trusted facts that are asked for, and none of the master's.
    pub(super) fn run_generate(&self, ca: &Settings, file: &File) -> Result<(), Failure> {
        let facts = self.records.facts();
        if self.asked.extensions.is_empty() {
            return self.run_generate_with(ca, Path::new(NO_FACTS), file);
        }
        trusted_file::replace(&facts, 0o600, csr_attributes(&self.asked.extensions).as_bytes())?;
        let ran = self.run_generate_with(ca, &facts, file);
        trusted_file::remove(&facts)?;
        ran
    }

    fn run_generate_with(&self, ca: &Settings, facts: &Path, file: &File) -> Result<(), Failure> {
        let name = self.name.as_str();
        match &ca.config {
            _ if self.settings.kind == Kind::PuppetCert => {
                self.run_with(ca, "generate", name, vec![format!("--csr_attributes={}", facts.display())], file)?;
                // Puppet before 3.4 has neither trusted facts nor the option, and has done nothing.
                if self.asked.extensions.is_empty() && refuses_facts(&command::read_back(file)?) {
                    self.run(ca, "generate", name, file)?;
                }
            }
            None => self.run(ca, "generate", name, file)?,
            Some(config) => {
                let copy = self.records.configuration();
                self.copy_configuration(config, facts, &copy)?;
                self.run_with(ca, "generate", name, configured(&copy).to_vec(), file)?;
            }
        }
        Ok(())
    }

    /// A later line counts for `puppetserver ca`, and `[server]` comes after the other sections.
    fn copy_configuration(&self, config: &Path, facts: &Path, copy: &Path) -> Result<(), Failure> {
        let mut text = trusted_file::read_bytes(config, MAX_CONFIGURATION, Owner::Anyone)?;
        text.extend(format!("\n[server]\ncsr_attributes = {}\n", facts.display()).bytes());
        Ok(trusted_file::replace(copy, 0o600, &text)?)
    }
}

/// The file's text: each trusted fact is a string to YAML.
fn csr_attributes(extensions: &Extensions) -> String {
    let mut text = "---\nextension_requests:\n".to_owned();
    for (oid, value) in extensions.iter() {
        let _ = writeln!(text, "  \"{oid}\": {}", double_quoted(value));
    }
    text
}

/// Whether a path can stand in a `puppet.conf`, which has neither quotes nor escapes.
pub(super) fn is_word(path: &Path) -> bool {
    !path.to_string_lossy().contains([' ', '\t', '{', '#', '$'])
}

/// A text in double quotes (YAML 1.1, section 5.6): what is not ASCII may not be printable to YAML, or break a line.
fn double_quoted(text: &str) -> String {
    let mut quoted = "\"".to_owned();
    for character in text.chars() {
        let _ = match character {
            '"' | '\\' => write!(quoted, "\\{character}"),
            ' '..='~' => write!(quoted, "{character}"),
            _ => write!(quoted, "\\U{:08X}", u32::from(character)),
        };
    }
    quoted + "\""
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{csr_attributes, is_word};
    use crate::model::extension::Extensions;

    #[test]
    fn every_value_is_in_double_quotes() {
        let mut extensions = Extensions::default();
        extensions.add("pp_role", "a \"b\" \\n \u{e4}\u{1f980}").unwrap();
        let text =
            "---\nextension_requests:\n  \"1.3.6.1.4.1.34380.1.1.13\": \"a \\\"b\\\" \\\\n \\U000000E4\\U0001F980\"\n";
        assert_eq!(csr_attributes(&extensions), text);
    }

    #[test]
    fn only_a_word_can_stand_in_puppet_conf() {
        assert!(is_word(Path::new("/var/lib/espm/authority/csr_attributes.yaml")));
        for bad in ["/a b", "/a\tb", "/{a", "/#a", "/$vardir"] {
            assert!(!is_word(Path::new(bad)), "{bad}");
        }
    }
}
