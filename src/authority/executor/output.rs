//! What `puppet cert` and `puppetserver ca` print about a certificate that they generate.

use crate::model::name::NodeName;
use crate::system::text::plain;

/// Whether the output of `puppetserver ca` says that it has made this name's key.
/// The server may have signed before its command could say so.
pub(super) fn says_key_saved(output: &str, name: &NodeName) -> bool {
    let text = format!("Successfully saved private key for {name} to ");
    output.lines().map(plain).any(|line| line.starts_with(&text))
}

pub(super) fn says_signed(output: &str, name: &NodeName) -> bool {
    let texts = [
        format!("Signed certificate request for {name}"),
        format!("Successfully signed certificate request for {name}"),
        format!("Successfully saved certificate for {name} to "),
        format!("Certificate for {name} was autosigned."),
    ];
    output.lines().map(plain).any(|line| {
        let line = line.trim();
        let line = line.strip_prefix("notice: ").or(line.strip_prefix("Notice: ")).unwrap_or(line);
        texts.iter().any(|text| line == text || (text.ends_with(' ') && line.starts_with(text.as_str())))
    })
}

/// Whether the CA says that the name had a key, a request or a certificate already: what is there is not the command's.
pub(super) fn says_taken(output: &str) -> bool {
    let texts = ["already exists", "already has a ", "Existing file at "];
    output.lines().map(plain).any(|line| texts.iter().any(|text| line.contains(text)))
}

/// Whether `puppet cert` knows no option for trusted facts.
pub(super) fn refuses_facts(output: &str) -> bool {
    output.lines().map(plain).any(|line| line.contains("invalid option: --csr_attributes"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{says_key_saved, says_signed};
    use crate::model::name::NodeName;

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// Neither another's name nor noise around this one is taken for the word of the CA.
        #[test]
        fn certificate_is_signed_only_by_a_whole_line_about_exactly_this_name(
            noise in "(.{0,30}\n){0,4}",
            before in "[a-z -]{0,4}",
            after in "[a-z0-9._-]{0,4}",
        ) {
            let name = NodeName::parse("web01").unwrap();
            for text in ["Signed certificate request for ", "Successfully signed certificate request for "] {
                let output = format!("{noise}{before}{text}web01{after}\n{noise}");
                prop_assert_eq!(says_signed(&output, &name), before.trim().is_empty() && after.is_empty(), "{:?}", output);
            }
            let saved = |what| format!("{noise}Successfully saved {what} for {before}web01{after} to /x\n");
            let exact = before.is_empty() && after.is_empty();
            prop_assert_eq!(says_key_saved(&saved("private key"), &name), exact, "{:?}", saved("private key"));
            prop_assert_eq!(says_signed(&saved("certificate"), &name), exact, "{:?}", saved("certificate"));
            prop_assert!(!says_signed(&noise, &name) && !says_key_saved(&noise, &name));
        }
    }
}
