//! Everything that is made from the programs' own declarations: samples, manual pages, completions.

use std::path::{Path, PathBuf};

use clap_complete::{Shell, generate};
use espm::config::layout;

use super::{pages, sample};

pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every file's name and text, with the paths of this program's layout.
pub(crate) fn all() -> Vec<(PathBuf, String)> {
    let date = release_date(&std::fs::read_to_string(root().join("conf/CHANGELOG.md")).unwrap());
    let mut files =
        vec![("espm.ini".into(), sample::espm(layout::this())), ("enc.ini".into(), sample::enc(layout::this()))];
    files.extend(pages::all(&date).into_iter().map(|(name, text)| (Path::new("man").join(name), text)));
    for (program, command) in [("espm", espm::cli::command_line()), ("espm-setup", espm::setup::command_line())] {
        for (shell, name) in [(Shell::Bash, format!("{program}.bash")), (Shell::Zsh, format!("_{program}"))] {
            let mut text = Vec::new();
            generate(shell, &mut command.clone(), program, &mut text);
            // clap_complete 4.6.11 takes the dash in a program's name for one between commands in half of the places.
            let text = String::from_utf8(text).unwrap().replace("espm__subcmd__setup", "espm__setup");
            files.push((Path::new("completions").join(name), text));
        }
    }
    files
}

/// The date of the newest release: of the first heading that has one.
fn release_date(changelog: &str) -> String {
    let headings = changelog.lines().filter_map(|line| line.strip_prefix("## "));
    headings.filter_map(|heading| heading.split_once(" - ")).map(|(_, date)| date.to_owned()).next().unwrap()
}

/// Writes the files below a directory.
pub(crate) fn write(files: &[(PathBuf, String)], directory: &Path) {
    for (name, text) in files {
        let path = directory.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
}
