//! The CA's command: `puppet cert` or `puppetserver ca`, run, and judged by what is there afterwards.

use std::fs::File;
use std::io;
use std::mem;
use std::path::{Path, PathBuf};

use super::check::Mistake;
use super::files::Today;
use super::generate::Conclusion;
use super::output::{refuses_facts, says_key_saved};
use super::plan::{By, Left};
use super::record::{Made, Record, Sent, State};
use super::{Answer, Ca, Failure, Kind, OUTPUT_WAIT, facts};
use crate::model::extension::Extensions;
use crate::system::clock;
use crate::system::command::{self, CommandError, Program};
use crate::system::process;
use crate::system::text::{excerpt, plain};
use crate::system::trusted_file;
use crate::system::x509;

/// Lines of which `puppetserver ca list` prints one.
const LISTS: [&str; 2] = ["No certificates to list", "Requested Certificates:"];

/// The command.
#[derive(Debug)]
pub(crate) struct Settings {
    /// Its words up to the verb, and how it is run.
    pub(crate) program: Program,
    /// `puppet.conf`, for `puppetserver ca` alone.
    pub(crate) config: Option<PathBuf>,
}

impl Ca<'_> {
    /// Runs the command for a name that the CA has nothing of; it has signed so many of it before.
    pub(super) fn run_to_generate(&self, ca: &Settings, mut record: Record, lines: usize) -> Result<Answer, Failure> {
        let facts = self.records.facts();
        if self.settings.kind == Kind::PuppetserverCa && !self.asked.extensions.is_empty() && !facts::is_word(&facts) {
            return Err(Failure::Unfit(Box::new(Failure::FactsPath(facts))));
        }
        let before = record.clone();
        record.state =
            State::Generating { boot: process::boot_id()?, since: clock::now(), asked: self.asked.extensions.clone() };
        self.records.write(&record)?;
        self.output.remove()?;
        let file = match self.output.create_with_room() {
            Ok(file) => file,
            Err(error) => {
                // Without its output the certificate would be taken for a human's.
                self.write_or_forget(&before)?;
                return Err(Failure::NoRoom(error));
            }
        };
        let ended = self.run_generate(ca, &file);
        let output = command::read_back(&file)?;
        if let Err(Failure::Command(CommandError::TimedOut)) = ended {
            return Err(CommandError::TimedOut.into());
        }
        let failure = match ended {
            Err(error) => error.to_string(),
            Ok(()) => excerpt(&output),
        };
        match self.conclude(record, &output, clock::now(), Some(lines))? {
            Conclusion::Made(answer) => Ok(answer),
            Conclusion::Foreign | Conclusion::Waiting => Ok(Answer::Foreign),
            Conclusion::Replaced(serial) => {
                let record = self.record()?.unwrap_or_else(|| self.nothing_recorded());
                Err(self.replaced(&serial, &record, &self.survey(&record)?))
            }
            Conclusion::Nothing(_) if !self.asked.extensions.is_empty() && refuses_facts(&output) => {
                Err(Failure::NoFacts)
            }
            Conclusion::Nothing(why) => Err(Failure::NothingMade { why, output: failure }),
        }
    }

    /// Settles an earlier call's generating.
    /// `None` when nothing came of it and it can begin again.
    pub(super) fn settle_generating(&self) -> Result<Option<Answer>, Failure> {
        let Some(output) = self.earlier_output()? else { return Ok(Some(Answer::Running)) };
        let Some(record) = self.record()? else { return Ok(None) };
        let State::Generating { boot, .. } = &record.state else { return Ok(None) };
        // After a restart of the machine, what was there before it is what the command has made. During the same boot
        // a human may have made it since, and only what the command has printed tells.
        let restarted = !boot.is_empty() && *boot != process::boot_id()?;
        let until = if restarted { process::booted_at()? } else { 0 };
        match self.conclude(record, &output, until, None)? {
            Conclusion::Made(answer) => Ok(Some(answer)),
            Conclusion::Foreign | Conclusion::Waiting => Ok(Some(Answer::Foreign)),
            Conclusion::Nothing(_) | Conclusion::Replaced(_) => Ok(None),
        }
    }

    /// Judges a generating by its output and its files, and leaves a recorded certificate or nothing. The command may
    /// have written files up to that time, in seconds since 1970. `lines` counts what the CA had signed for the name
    /// before a command that this very call has run.
    fn conclude(
        &self,
        mut record: Record,
        output: &str,
        until: i64,
        lines: Option<usize>,
    ) -> Result<Conclusion, Failure> {
        let State::Generating { since, asked, .. } = mem::replace(&mut record.state, State::Settled) else {
            return Ok(Conclusion::Foreign);
        };
        let key = self.files.read(&self.files.private_key())?;
        let Some(mut certificate) = self.files.read(&self.files.signed())? else {
            return self.nothing(record, output, key.as_deref());
        };
        let fits = |certificate: &str| key.as_deref().is_some_and(|key| x509::key_fits(certificate, key) == Ok(true));
        let cut_short = x509::identity(&certificate).is_err();
        let left = Left {
            has_key: key.is_some(),
            may_fit: cut_short || fits(&certificate),
            in_time: key.is_some() && self.files.were_made(since, until)?,
        };
        let ours = left.is_commands(output, self.name);
        if !ours {
            self.write_or_forget(&record)?;
            return Ok(Conclusion::Foreign);
        }
        if cut_short {
            match self.whole_copy(fits, &asked)? {
                Some(copy) => certificate = copy,
                None => {
                    // The name had no other certificate before this command.
                    let others = self.survey(&record)?.others;
                    let lines = self.files.inventory(&self.settings.master)?.lines;
                    let nobodys = lines.into_iter().filter(|line| others.len() == 1 && others.contains(&line.serial));
                    let ca = self.files.today()?.ca;
                    record.nobodys.extend(nobodys.map(|line| (ca.clone(), line)));
                    return self.discard(&record, "the certificate was not written whole");
                }
            }
        }
        if !cut_short
            && !fits(&certificate)
            && let Some(conclusion) = self.of_another_key(&record, &certificate, fits, lines, &asked)?
        {
            return Ok(conclusion);
        }
        let fits = fits(&certificate);
        self.keep(record, certificate, key, fits, &asked)
    }

    /// Judges a certificate that has not the private key's: somebody may have had it signed meanwhile. `None` where
    /// it is surely the command's.
    fn of_another_key(
        &self,
        record: &Record,
        certificate: &str,
        fits: impl Fn(&str) -> bool,
        lines: Option<usize>,
        asked: &Extensions,
    ) -> Result<Option<Conclusion>, Failure> {
        let Today { bundle, .. } = self.files.today()?;
        let is_commands = |copy: &String| fits(copy) && x509::verify(copy, &bundle, clock::now()).is_ok();
        let mut record = record.clone();
        if let Some(copy) = self.files.read(&self.files.copy())?.filter(is_commands) {
            let made = self.made(&copy)?;
            let serial = made.serial.clone();
            record.made.push(Made { flawed: self.flaw(&copy, true, asked)?.is_some(), ..made });
            self.records.write(&record)?;
            self.output.remove()?;
            return Ok(Some(Conclusion::Replaced(serial)));
        }
        let now = self.survey(&record)?.lines;
        let renewed = record.has_key(&x509::spki(certificate)?);
        if !renewed && lines.is_some_and(|before| now == before + 1) {
            return Ok(None);
        }
        self.write_or_forget(&record)?;
        Ok(Some(if renewed {
            Conclusion::Nothing("an earlier certificate of the name was renewed meanwhile".to_owned())
        } else {
            Conclusion::Foreign
        }))
    }

    /// The node's copy of a certificate whose other copy was cut short, put in its place.
    /// Without one nobody has the certificate, and its key can go.
    fn whole_copy(&self, fits: impl Fn(&str) -> bool, asked: &Extensions) -> Result<Option<String>, Failure> {
        let copy = self.files.read(&self.files.copy())?.filter(|copy| x509::identity(copy).is_ok());
        let Some(copy) = copy else { return Ok(None) };
        if self.flaw(&copy, fits(&copy), asked)?.is_some() {
            return Ok(None);
        }
        trusted_file::replace(&self.files.signed(), 0o644, copy.as_bytes())?;
        Ok(Some(copy))
    }

    /// Leaves nothing of a generating that made no certificate but the key's identity.
    /// The server may sign for that key even after the command is gone.
    fn nothing(&self, mut record: Record, output: &str, key: Option<&str>) -> Result<Conclusion, Failure> {
        let key = key.filter(|_| says_key_saved(output, self.name)).and_then(|key| x509::spki(key).ok());
        if let Some(key) = key {
            record.state = State::Abandoned(Sent::by_own(key));
            self.write_or_forget(&record)?;
            self.files.remove_made()?;
            return Ok(Conclusion::Nothing("no certificate was made".to_owned()));
        }
        self.discard(&record, "no certificate was made")
    }

    /// The output of an earlier call's command; `None` while it runs.
    pub(super) fn earlier_output(&self) -> Result<Option<String>, Failure> {
        Ok(self.until.within(OUTPUT_WAIT).attempt(|| self.output.read())?)
    }

    /// Runs one of the CA's commands about a name, or a serial number.
    /// The exit code says nothing: Puppet 2.7 ends with 0 after a failure. The files tell.
    pub(super) fn run(&self, ca: &Settings, verb: &str, about: &str, output: &File) -> Result<(), CommandError> {
        let options = ca.config.iter().flat_map(|path| configured(path)).collect();
        self.run_with(ca, verb, about, options, output)
    }

    pub(super) fn run_with(
        &self,
        ca: &Settings,
        verb: &str,
        about: &str,
        options: Vec<String>,
        output: &File,
    ) -> Result<(), CommandError> {
        let mut program = ca.program.clone();
        if self.settings.kind == Kind::PuppetCert {
            program.argv.extend([verb.to_owned(), "--color=false".to_owned()]);
            program.argv.extend(options);
            program.argv.push(about.to_owned());
        } else {
            program.argv.extend([verb.to_owned(), format!("--certname={about}")]);
            program.argv.extend(options);
        }
        let lock = self.lock.as_ref().ok_or_else(|| io::Error::other("the CA is not locked"));
        let input = lock.and_then(|lock| lock.input(b"").map_err(io::Error::other));
        let ended = program.run_into(output, input.map_err(CommandError::Io)?, self.until).map(drop);
        // Its output proves what it did, after a power loss as well.
        output.sync_all().map_err(CommandError::Io)?;
        ended
    }

    /// The command's word for a certificate; `None` where a file has the name that its number would be.
    pub(super) fn word_for(&self, serial: &str, by: By) -> Option<String> {
        if by == By::Name {
            return Some(self.name.to_string());
        }
        // From 2.7.26 on; before, it finds no such name.
        let number = format!("0x{serial}");
        let named = ["signed", "requests"].map(|directory| self.settings.cadir.join(directory));
        let taken = named.iter().any(|directory| directory.join(format!("{number}.pem")).exists());
        (!taken).then_some(number)
    }

    /// Has the command revoke, and gives what it printed.
    pub(super) fn run_to_revoke(&self, ca: &Settings, word: &str) -> Result<String, Failure> {
        self.output.remove()?;
        let file = self.output.create()?;
        self.run(ca, "revoke", word, &file)?;
        Ok(command::read_back(&file)?)
    }

    /// Has the CA's command list: `puppet cert` the master's certificate, `puppetserver ca` the requests that wait, since
    /// for one name it would read every certificate. The exit code proves nothing: `puppetserver` ends with 0 for an action
    /// that it does not know.
    pub(super) fn check_command(&self, ca: &Settings) -> Result<(), Failure> {
        let Program { mut argv, environment, directory } = ca.program.clone();
        let master = &self.settings.master;
        let is_old = self.settings.kind == Kind::PuppetCert;
        let advice = match is_old {
            true => {
                argv.extend(["list", "--color=false", master].map(str::to_owned));
                "for Puppet 6 and newer write kind = puppetserver-ca"
            }
            false => {
                argv.push("list".to_owned());
                argv.extend(ca.config.iter().flat_map(|path| configured(path)));
                "start the Puppet server, or name the right command, such as /opt/puppetlabs/bin/puppetserver ca"
            }
        };
        let command = argv.join(" ");
        let ended = Program { argv, environment, directory }.capture(Vec::new(), self.until)?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (stdout, stderr) = (text(&ended.stdout), text(&ended.stderr));
        let answers = match is_old {
            true => shows(&stdout, master),
            false => LISTS.iter().any(|text| stdout.lines().any(|line| line == *text)),
        };
        if answers {
            return Ok(());
        }
        Err(Mistake::Command { command, output: excerpt(&(stdout + "\n" + &stderr)), advice }.into())
    }
}

/// The option that names `puppet.conf`.
pub(super) fn configured(path: &Path) -> [String; 2] {
    ["--config".to_owned(), path.display().to_string()]
}

/// True if a list of certificates shows this name with a fingerprint.
fn shows(list: &str, name: &str) -> bool {
    list.lines().map(plain).any(|line| {
        let mut words = line.split_whitespace();
        words.any(|word| word.trim_matches('"') == name) && words.any(|word| word.matches(':').count() > 10)
    })
}

#[cfg(test)]
mod tests {
    use super::shows;

    #[test]
    fn only_a_line_with_the_name_and_a_fingerprint_shows_a_certificate() {
        let print = "AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:77:88:99";
        for (list, shown) in [
            (format!("+ \"web01\" (SHA256) {print}\n"), true),
            (format!("+ web01 ({print})\n"), true),
            (format!("\u{1b}[0;32m+ \"web01\"\u{1b}[0m (SHA256) {print}"), true),
            (format!("+ \"web011\" (SHA256) {print}\n"), false),
            ("Error: Could not find a certificate for web01\n".to_owned(), false),
        ] {
            assert_eq!(shows(&list, "web01"), shown, "{list}");
        }
    }
}
