//! The rules for sudo on this machine, as far as they meet espm's commands.

use std::path::Path;

use super::trusted_file::{self, Owner};

/// Settings of sudo's that would keep espm from running, or put a private key into a log of sudo's. sudo-rs knows
/// none of them and complains about each, so they are switched off only where a rule of this machine names them.
const IN_THE_WAY: [&str; 4] = ["requiretty", "log_input", "log_output", "env_file"];

/// The rules for sudo, and the directory of more.
const SUDOERS: [&str; 2] = ["/etc/sudoers", "/etc/sudoers.d"];

/// Most bytes of a file of rules.
const MAX_RULES: u64 = 1024 * 1024;

/// The aliases of espm's commands; those of one line have their settings in common.
const COMMANDS: [&str; 2] = ["ESPM_CONSOLE, ESPM_AUTHORITY", "ESPM_CGI"];

/// The settings that rules of this machine switch on, and that would be in espm's way.
pub(crate) fn in_the_way() -> Vec<&'static str> {
    named(&read())
}

/// The lines that espm's own rules lack to switch those settings off.
pub(crate) fn missing_lines() -> Vec<String> {
    missing(&read())
}

/// All rules; none where only root could read them.
fn read() -> String {
    let [file, directory] = SUDOERS.map(Path::new);
    let more = std::fs::read_dir(directory).into_iter().flatten().filter_map(Result::ok).map(|entry| entry.path());
    // sudo reads no copy that an editor or a package leaves.
    let is_copy = |path: &Path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.contains('.') || name.ends_with('~')
    };
    let rules = std::iter::once(file.to_owned()).chain(more.filter(|path| !is_copy(path)));
    rules.filter_map(|path| trusted_file::read(&path, MAX_RULES, Owner::Root).ok()).map(|text| text + "\n").collect()
}

/// The lines of settings, each whole.
fn settings(rules: &str) -> Vec<String> {
    let whole = rules.replace("\\\n", " ");
    whole.lines().map(str::trim_start).filter(|line| line.starts_with("Defaults")).map(str::to_owned).collect()
}

/// True if a line has a word; a setting that is switched off has its sign before it.
fn has(line: &str, wanted: &str) -> bool {
    line.split(|c: char| !c.is_alphanumeric() && !"_!".contains(c)).any(|word| word == wanted)
}

/// The aliases that a line of espm's own is about.
fn about(line: &str, commands: &str) -> bool {
    line.strip_prefix("Defaults!").is_some_and(|line| commands.split(", ").all(|alias| has(line, alias)))
}

fn named(rules: &str) -> Vec<&'static str> {
    let mut settings = settings(rules);
    settings.retain(|line| !COMMANDS.iter().any(|commands| about(line, commands)));
    IN_THE_WAY.into_iter().filter(|wanted| settings.iter().any(|line| has(line, wanted))).collect()
}

fn missing(rules: &str) -> Vec<String> {
    let (named, settings) = (named(rules), settings(rules));
    let lines = COMMANDS.iter().filter_map(|commands| {
        let own: Vec<_> = settings.iter().filter(|line| about(line, commands)).collect();
        let off: Vec<_> = named.iter().map(|word| format!("!{word}")).collect();
        let lacks: Vec<_> =
            off.into_iter().filter(|word| !own.is_empty() && !own.iter().any(|line| has(line, word))).collect();
        (!lacks.is_empty()).then(|| format!("Defaults!{commands} {}", lacks.join(", ")))
    });
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::{missing, named};

    #[test]
    fn sudo_settings_are_found_in_rules_and_not_in_comments() {
        let rules =
            "# Defaults requiretty\nDefaults env_reset\nDefaults:%audit !use_pty, log_output\n  Defaults\trequiretty\n";
        assert_eq!(named(rules), ["requiretty", "log_output"]);
        for none in [
            "Defaults secure_path = /log_outputs\nroot ALL=(ALL) log_input\n",
            "Defaults !log_output\n",
            "Defaults!ESPM_CONSOLE, ESPM_AUTHORITY !log_output\n",
        ] {
            assert_eq!(named(none), Vec::<&str>::new(), "{none}");
        }
    }

    #[test]
    fn setting_that_espms_rules_do_not_switch_off_is_missing() {
        let own = "Defaults!ESPM_CONSOLE, ESPM_AUTHORITY !use_pty\n";
        let cgi = "Defaults!ESPM_CGI !use_pty, env_reset\n";
        let on = "Defaults env_reset, \\\n    log_output\n";
        let line = "Defaults!ESPM_CONSOLE, ESPM_AUTHORITY !log_output";
        assert_eq!(missing(&format!("{on}{own}")), [line]);
        assert_eq!(missing(&format!("{own}{on}{cgi}")), [line, "Defaults!ESPM_CGI !log_output"]);
        assert_eq!(missing(&format!("{on}{own}{line}\n")), Vec::<String>::new());
        // Of rules that are not espm-setup's nothing is known.
        for rules in [on.to_owned(), own.to_owned(), format!("{own}{cgi}")] {
            assert_eq!(missing(&rules), Vec::<String>::new());
        }
    }
}
