//! The sample configurations: every key with its help, and with its default or an example.

use espm::config::layout::Layout;
use espm::config::{Absent, Config, KEYS, Key, Wrong, enc_ini};

/// The head of `espm.ini`; its first paragraphs are the manual page's description, too.
pub(crate) const ESPM: [&str; 2] = [
    "The configuration of espm. Owner root, group espm, mode 0640: espm refuses a file that others can write.",
    "Each key has its default or, where it has none, its value on Puppet Enterprise 2.5. A line in a comment shows a \
     key that has no value without its line. Comments stand on lines of their own, because a value holds no number \
     sign and no semicolon. Paths are absolute. An unknown key is an error. 'espm check' looks at all of it.",
];

/// The head of `enc.ini`.
const ENC: [&str; 1] =
    ["The configuration of espm-enc, Puppet's external_nodes where there is no console. Owner root, mode 0644."];

/// `[authority]` on newer masters.
pub(crate) const NEWER: (&str, &str) = (
    "With Puppet 6, 7 or 8, in place of the section above (on Debian's own packages: /etc/puppet/puppet.conf, \
     /var/lib/puppet/ssl and /etc/puppet/puppetserver/ca):",
    "[authority]
kind = puppet-ca-api
user = puppet
config = /etc/puppetlabs/puppet/puppet.conf
ssldir = /etc/puppetlabs/puppet/ssl
cadir = /etc/puppetlabs/puppetserver/ca
master = puppet.example.com
",
);

/// Columns of a comment.
const WIDTH: usize = 100;

/// A key's help and the values that it takes.
pub(crate) fn help(key: &Key) -> String {
    // The head says it of all of them.
    if key.want == "an absolute path" {
        return key.help().to_owned();
    }
    format!("{} Value: {}.", key.help(), key.want)
}

/// The keys of each section and kind; those for every kind come first.
pub(crate) fn groups(keys: &[&'static [&'static Key]]) -> Vec<Vec<&'static Key>> {
    let mut keys: Vec<&Key> = keys.iter().copied().flatten().copied().collect();
    let sections: Vec<&str> = keys.iter().map(|key| key.section).collect();
    keys.sort_by_key(|key| (sections.iter().position(|section| *section == key.section), !key.kinds.is_empty()));
    let mut groups: Vec<Vec<&Key>> = Vec::new();
    for key in keys {
        match groups.last_mut() {
            Some(group) if group[0].section == key.section && group[0].kinds == key.kinds => group.push(key),
            _ => groups.push(vec![key]),
        }
    }
    groups
}

/// The line above the keys of some kinds.
pub(crate) fn for_kinds(kinds: &[&str]) -> String {
    format!("With kind = {} alone:", kinds.join(" or "))
}

/// The sample of espm.ini.
pub(crate) fn espm(layout: &Layout) -> String {
    file(&ESPM, &KEYS, layout)
}

/// The sample of enc.ini.
pub(crate) fn enc(layout: &Layout) -> String {
    file(&ENC, &enc_ini::KEYS, layout)
}

/// The configuration of a sample of espm.ini, with its client and with those lines in comments that `also` takes.
pub(crate) fn with_lines(text: &str, also: impl Fn(&str) -> bool) -> Result<Config, Wrong> {
    let of_client = |line: &str| KEYS[1].iter().any(|key| line.starts_with(&format!("{} = ", key.name)));
    let mut in_client = false;
    let lines = text.lines().map(|line| {
        let line = line.strip_prefix("# ").filter(|line| {
            in_client = (in_client && !line.starts_with('[')) || *line == "[client NAME]";
            *line == "[client NAME]" || (in_client && of_client(line)) || (line.contains(" = ") && also(line))
        });
        line.map(|line| line.replace("NAME", "cloud"))
    });
    let lines = text.lines().zip(lines).map(|(line, without)| without.unwrap_or_else(|| line.to_owned()));
    Config::from_text(&lines.collect::<Vec<_>>().join("\n"))
}

/// True for a section that can be there under many names; set-up writes the first.
fn is_of_any_name(section: &str) -> bool {
    section.ends_with(" NAME")
}

fn file(head: &[&str], keys: &[&'static [&'static Key]], layout: &Layout) -> String {
    let mut text = head.iter().map(|paragraph| comment(paragraph)).collect::<Vec<_>>().join("#\n");
    let mut section = "";
    for group in groups(keys) {
        if group[0].section != section {
            if section == "authority" {
                let shown: String = NEWER.1.lines().map(|line| format!("# {line}\n")).collect();
                text.push_str(&format!("\n{}#\n{shown}", comment(NEWER.0)));
            }
            section = group[0].section;
            let sign = if is_of_any_name(section) { "# " } else { "" };
            text.push_str(&format!("\n{sign}[{section}]\n"));
        }
        if !group[0].kinds.is_empty() {
            text.push_str(&format!("\n{}\n", comment(&for_kinds(group[0].kinds))));
        }
        for key in group {
            let is_default = ["rake", "puppet-cert"].into_iter().any(|kind| key.has_meaning_with(kind));
            let is_set = is_default && key.absent != Absent::Optional && !is_of_any_name(section);
            let sign = if is_set { "" } else { "# " };
            text.push_str(&format!("{}{sign}{} = {}\n", comment(&help(key)), key.name, key.value(|| layout)));
        }
    }
    text
}

/// Words as the lines of a comment.
fn comment(words: &str) -> String {
    let mut lines = vec![String::from("#")];
    for word in words.split_whitespace() {
        if lines.last().unwrap().len() + 1 + word.len() > WIDTH {
            lines.push(String::from("#"));
        }
        let line = lines.last_mut().unwrap();
        line.push(' ');
        line.push_str(word);
    }
    lines.join("\n") + "\n"
}
