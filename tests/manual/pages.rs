//! The manual pages; text that is not in the programs' help is written here.

use clap_mangen::Man;
use espm::config::layout;
use espm::config::{KEYS, Key, enc_ini};
use espm::model::problem::Problem;
use roff::{Inline, Roff, bold, italic, roman};

use super::sample;

/// Every page's file name and text.
pub(crate) fn all(date: &str) -> Vec<(&'static str, String)> {
    vec![
        ("espm.8", tidy(&espm(date))),
        ("espm-setup.8", tidy(&setup(date))),
        ("espm-helper.8", tidy(&helper(date))),
        ("espm-enc.1", tidy(&enc(date))),
        ("espm.ini.5", tidy(&ini(date))),
        ("catalogue.ini.5", tidy(&catalogue(date))),
    ]
}

/// A page of a program that has a command line of clap's: its options, then its commands with theirs.
fn program(command: &clap::Command, section: &str, date: &str, rest: &str) -> String {
    let man = Man::new(command.clone()).section(section).date(date).manual("espm");
    let mut page = Vec::new();
    man.render_title(&mut page).unwrap();
    man.render_name_section(&mut page).unwrap();
    man.render_synopsis_section(&mut page).unwrap();
    man.render_description_section(&mut page).unwrap();
    man.render_options_section(&mut page).unwrap();
    let mut page = String::from_utf8(page).unwrap();
    let mut head = Roff::new();
    head.control("SH", ["COMMANDS"]);
    page.push_str(&head.render());
    let mut built = command.clone();
    built.build();
    commands(&built, &mut page);
    page.push_str(rest);
    page.push_str(&see_also(command.get_name()));
    page
}

/// Each command below this one, the innermost with their arguments.
fn commands(parent: &clap::Command, page: &mut String) {
    for command in parent.get_subcommands().filter(|sub| sub.get_name() != "help") {
        if command.has_subcommands() {
            commands(command, page);
            continue;
        }
        let usage = command.clone().render_usage().to_string();
        let mut roff = Roff::new();
        roff.control("SS", [usage.trim_start_matches("Usage: ")]);
        let about = command.get_about().map(ToString::to_string).unwrap_or_default();
        roff.text([roman(format!("{about}."))]);
        page.push_str(&roff.render());
        let said_above = |arg: &clap::Arg| arg.is_global_set() || arg.get_id() == "help";
        let own = command.clone().mut_args(|arg| if said_above(&arg) { arg.hide(true) } else { arg });
        let mut options = Vec::new();
        Man::new(own).render_options_section(&mut options).unwrap();
        let options = String::from_utf8(options).unwrap();
        page.extend(options.lines().filter(|line| !line.starts_with(".SH")).flat_map(|line| [line, "\n"]));
    }
}

/// Sections of paragraphs; one with a term is an entry of a list.
fn sections(all: &[(&str, &[(&str, &str)])]) -> String {
    let mut roff = Roff::new();
    for (heading, entries) in all {
        roff.control("SH", [*heading]);
        for (term, text) in *entries {
            if term.is_empty() {
                roff.control("PP", []);
            } else {
                roff.control("TP", []);
                roff.text([bold(*term)]);
            }
            roff.text([roman(*text)]);
        }
    }
    roff.render()
}

/// A page without the definitions and empty lines that its parts repeat.
fn tidy(page: &str) -> String {
    let mut tidy: Vec<&str> = Vec::new();
    for line in page.lines() {
        let before = tidy.last().copied().unwrap_or_default();
        let again = (line.starts_with(".ie ") || line.starts_with(".el ")) && tidy.contains(&line);
        let heading = before.starts_with(".SH") || before.starts_with(".SS");
        if line.is_empty() && before == ".br" {
            tidy.pop();
        }
        if !(again || (line == ".PP" && heading) || (line == ".br" && before.is_empty())) {
            tidy.push(line);
        }
    }
    tidy.iter().flat_map(|line| [line, "\n"]).collect()
}

fn see_also(page: &str) -> String {
    let others = [
        ("espm", "8"),
        ("espm-enc", "1"),
        ("espm-helper", "8"),
        ("espm-setup", "8"),
        ("espm.ini", "5"),
        ("catalogue.ini", "5"),
    ];
    let mut words: Vec<Inline> = Vec::new();
    for (name, section) in others.into_iter().filter(|(name, _)| *name != page) {
        words.push(bold(name));
        words.push(roman(format!("({section}), ")));
    }
    words.push(bold("sudo"));
    words.push(roman("(8)"));
    let mut roff = Roff::new();
    roff.control("SH", ["SEE ALSO"]);
    roff.text(words);
    roff.render()
}

/// The first lines of a page whose program has no command line of clap's.
fn head(name: &str, section: &str, date: &str, about: &str, synopsis: &[Inline]) -> String {
    let mut roff = Roff::new();
    let source = format!("espm {}", env!("CARGO_PKG_VERSION"));
    roff.control("TH", [name, section, date, &source, "espm"]);
    roff.control("SH", ["NAME"]);
    roff.text([roman(format!("{name} - {about}"))]);
    roff.control("SH", ["SYNOPSIS"]);
    roff.text(synopsis.to_vec());
    roff.render()
}

fn usage(usage: &str) -> Vec<Inline> {
    let (name, arguments) = usage.split_once(' ').unwrap();
    vec![bold(name), roman(" "), italic(arguments)]
}

fn espm(date: &str) -> String {
    let files: &[(&str, &str)] = &[
        (layout::this().ini, "The configuration, root:espm 0640; see espm.ini(5)."),
        (layout::this().catalogue, "The catalogue of a master without a console; see catalogue.ini(5)."),
        (layout::this().state, "The ledger, locks and cached lists, espm 0750."),
        ("/run/espm/espm.sock", "The socket to the web server, espm:web server 0660."),
    ];
    program(
        &espm::cli::command_line(),
        "8",
        date,
        &(sections(&[
            (
                "ENVIRONMENT",
                &[
                    (
                        "GATEWAY_INTERFACE",
                        "If set, espm handles one CGI request, from its environment and its standard input, and ignores its arguments.",
                    ),
                    ("ESPM_CONFIG", "The configuration of such a request, in place of the default."),
                    ("LISTEN_PID, LISTEN_FDS", "A socket from systemd; see sd_listen_fds(3)."),
                ],
            ),
            ("FILES", files),
            (
                "EXIT STATUS",
                &[
                    ("0", "Done; check found no fault."),
                    ("1", "Not done, and the reason is on standard error; or check has a line with FAIL."),
                    ("2", "The command line is wrong."),
                ],
            ),
            (
                "SIGNALS",
                &[(
                    "SIGTERM, SIGINT",
                    "espm takes no more requests and waits for those that run, for request_timeout and 15 seconds at most.",
                )],
            ),
        ]) + &problems()),
    )
}

/// Outcomes in the audit, and types of answers.
fn problems() -> String {
    let mut roff = Roff::new();
    roff.control("SH", ["PROBLEMS"]);
    roff.text([roman(
        "Each request that fails has one of these words as its outcome in the audit and as the end of its answer's type.",
    )]);
    for problem in Problem::ALL {
        let (client, operator) = problem.advice();
        roff.control("TP", []);
        roff.text([bold(format!("{} ({})", problem.word(), problem.status()))]);
        let operator = if operator.is_empty() { String::new() } else { format!(" Operator: {operator}") };
        roff.text([roman(format!("{} Client: {client}{operator}", problem.meaning()))]);
    }
    roff.render()
}

fn setup(date: &str) -> String {
    program(
        &espm::setup::command_line(),
        "8",
        date,
        &sections(&[
            (
                "FILES",
                &[
                    (layout::this().ini, "The new configuration: root, the group of the state directory, 0640."),
                    (
                        layout::this().certificates,
                        "The web server's certificate, espm.pem, and its key, espm.key; the key is root's, 0600.",
                    ),
                    (layout::this().state, "The empty ledger, ledger.sqlite."),
                ],
            ),
            (
                "EXIT STATUS",
                &[
                    ("0", "Done."),
                    ("1", "Nothing was made or changed, and the reason is on standard error."),
                    ("2", "The command line is wrong."),
                ],
            ),
        ]),
    )
}

fn helper(date: &str) -> String {
    let about = "do one console task or certificate verb as the user that runs it";
    let mut page = head("espm-helper", "8", date, about, &usage(espm::helper::USAGE));
    page.push_str(&sections(&[
        (
            "DESCRIPTION",
            &[
                ("", "espm starts it through sudo(8) as the console's or the CA's user, with the arguments that are in /etc/sudoers.d/espm. Do not start it from a shell."),
                ("", "It reads one order, JSON, from standard input and parses every name in it again. It takes the command from FILE and nothing from its environment, and runs it within its time limit. FILE must be root's, and nobody else may write it. The master's own name is refused."),
                ("console", "One rake task; its output is espm-helper's own output."),
                ("authority", "One verb of the CA's; the answer, JSON, is on standard output."),
            ],
        ),
        (
            "EXIT STATUS",
            &[
                ("", "With console, the task's own; otherwise as in sysexits.h:"),
                ("64", "The arguments are wrong."),
                ("65", "The request is wrong, or names the master."),
                ("69", "The command did not complete."),
                ("72", "The command could not be started."),
                ("78", "The configuration is wrong or cannot be trusted."),
            ],
        ),
    ]));
    page.push_str(&see_also("espm-helper"));
    page
}

fn enc(date: &str) -> String {
    let about = "Puppet's external node classifier for nodes that espm made";
    let mut page = head("espm-enc", "1", date, about, &usage(espm::enc::USAGE));
    page.push_str(&sections(&[
        (
            "DESCRIPTION",
            &[
                ("", "Prints, as YAML, the classification that espm has published for the node NAME. For any other node it becomes the fallback program, if there is one, and otherwise prints that the node has no classes."),
                ("", "For a Puppet server without a console: external_nodes in puppet.conf(5) names it. It runs as the Puppet server's user, reads two files and writes nothing."),
            ],
        ),
        ("OPTIONS", &[("-c FILE", "Its configuration, in place of the default.")]),
        ("FILES", &[(layout::this().enc_ini, "Root's, and nobody else may write it. Its section [enc] has these keys:")]),
    ]));
    let mut roff = Roff::new();
    entries(&mut roff, enc_ini::KEYS.into_iter().flatten().copied());
    page.push_str(&roff.render());
    page.push_str(&sections(&[(
        "EXIT STATUS",
        &[
            ("0", "The classification was printed."),
            (
                "1",
                "Not classified, and the reason is on standard error: the catalogue fails, so that no node loses its classes.",
            ),
            ("other", "The fallback's."),
        ],
    )]));
    page.push_str(&see_also("espm-enc"));
    page
}

/// The sections and keys of espm.ini, each with its help.
fn ini(date: &str) -> String {
    let about = "configuration of espm, the agent that prepares Puppet nodes";
    let mut page = head("espm.ini", "5", date, about, &[italic(layout::this().ini)]);
    let mut roff = Roff::new();
    roff.control("SH", ["DESCRIPTION"]);
    for paragraph in sample::ESPM {
        roff.control("PP", []);
        roff.text([roman(paragraph)]);
    }
    let mut section = "";
    for group in sample::groups(&KEYS) {
        if group[0].section != section {
            if section == "authority" {
                example(&mut roff);
            }
            section = group[0].section;
            roff.control("SS", [format!("[{section}]").as_str()]);
        }
        if !group[0].kinds.is_empty() {
            roff.control("PP", []);
            roff.text([roman(sample::for_kinds(group[0].kinds))]);
        }
        entries(&mut roff, group);
    }
    page.push_str(&roff.render());
    page.push_str(&see_also("espm.ini"));
    page
}

/// The sections and keys of the catalogue, and the sample.
fn catalogue(date: &str) -> String {
    let about = "what a client of espm may assign where there is no console";
    let mut page = head("catalogue.ini", "5", date, about, &[italic(layout::this().catalogue)]);
    page.push_str(&sections(&[(
        "DESCRIPTION",
        &[
            ("", "On a Puppet master without a console ([console] kind = enc in espm.ini(5)), this file says which environments, classes and groups a client may assign, and which parameters of classes it may set. Owner root, mode 0644."),
            ("", "A client may set any top-scope variable but environment, facts, server_facts and trusted, which are Puppet's own. The value that a client sets for a node counts more than a group's, a later group's more than an earlier one's, and the value in the section of a class least."),
            ("", "Requests read the file anew. Nodes that are published already follow with 'espm publish', which espm-publish.path starts when the file changes. A node keeps what the file no longer has: 'espm nodes' and 'espm check' show it. It is not published, except for the environment."),
        ],
    )]));
    let mut roff = Roff::new();
    roff.control("SH", ["SECTIONS"]);
    for (section, keys) in espm::console::catalogue::SECTIONS {
        roff.control("SS", [format!("[{section}]").as_str()]);
        for (key, help) in keys {
            roff.control("TP", []);
            roff.text([bold(format!("{key} = ..."))]);
            roff.text([roman(*help)]);
        }
    }
    page.push_str(&roff.render());
    page.push_str(&sections(&[(
        "VALUES",
        &[
            ("", "A value that is JSON is that: a number, true, false, an array, an object, or a string in double quotes. Any other value is a string as it stands. Write \"1.10\" for a string that looks like a number. null is no value, except inside an array or an object."),
            ("", "A value holds no number sign and no semicolon, which begin comments; in double quotes, write \\u0023 and \\u003b. It has at most 8 arrays and objects inside one another. Numbers are from -9223372036854775808 to 9223372036854775807. No key of an object is <<, which YAML would merge."),
        ],
    )]));
    let mut roff = Roff::new();
    roff.control("SH", ["EXAMPLE"]);
    roff.control("nf", []);
    for line in include_str!("../../conf/catalogue.ini").lines().filter(|line| !line.starts_with('#')) {
        roff.text([roman(line)]);
    }
    roff.control("fi", []);
    page.push_str(&roff.render());
    page.push_str(&see_also("catalogue.ini"));
    page
}

/// Each key with its default or an example, and its help.
fn entries<'a>(roff: &mut Roff, keys: impl IntoIterator<Item = &'a Key>) {
    for key in keys {
        roff.control("TP", []);
        roff.text([bold(format!("{} = {}", key.name, key.value(layout::this)))]);
        roff.text([roman(sample::help(key))]);
    }
}

fn example(roff: &mut Roff) {
    roff.control("PP", []);
    roff.text([roman(sample::NEWER.0)]);
    roff.control("PP", []);
    roff.control("nf", []);
    for line in sample::NEWER.1.lines() {
        roff.text([roman(line)]);
    }
    roff.control("fi", []);
}
