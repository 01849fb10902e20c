//! Programs and stand-ins where the users of a site can reach them.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use super::{run, scratch};

/// Has a directory removed when this process is gone, however it ends: then the pipe is closed.
#[expect(clippy::zombie_processes, reason = "it outlives this process")]
fn remove_at_our_end(dir: &Path) {
    static PIPE: OnceLock<std::process::ChildStdin> = OnceLock::new();
    let mut shell = Command::new("sh");
    shell.args(["-c", "trap '' INT TERM; read -r _; exec rm -rf \"$1\"", "sh"]).arg(dir).process_group(0);
    let mut child = shell.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    PIPE.set(child.stdin.take().unwrap()).unwrap();
}

/// The programs and doubles of every site, where www-data can reach them.
pub fn template() -> &'static Path {
    static TEMPLATE: OnceLock<PathBuf> = OnceLock::new();
    TEMPLATE.get_or_init(|| {
        assert!(
            fs::metadata("/proc/self").map(|m| std::os::unix::fs::MetadataExt::uid(&m) == 0).unwrap_or(false),
            "these tests start web servers and change users: run them as root"
        );
        let dir = scratch();
        remove_at_our_end(&dir);
        let source = Path::new(env!("CARGO_MANIFEST_DIR"));
        fs::create_dir(dir.join("bin")).unwrap();
        for (name, path) in [
            ("espm", env!("CARGO_BIN_EXE_espm")),
            ("espm-setup", env!("CARGO_BIN_EXE_espm-setup")),
            ("espm-helper", env!("CARGO_BIN_EXE_espm-helper")),
            ("espm-enc", env!("CARGO_BIN_EXE_espm-enc")),
        ] {
            let to = dir.join("bin").join(name);
            if fs::hard_link(path, &to).is_err() {
                run(Command::new("cp").arg(path).arg(&to));
            }
        }
        run(Command::new("cp")
            .arg("-r")
            .args(["console", "authority", "doubles"].map(|part| source.join("tests").join(part)))
            .arg(&dir));
        run(Command::new("cp").arg("-r").arg(source.join("conf/console")).arg(dir.join("worker")));
        run(Command::new("chmod").args(["-R", "go+rX"]).arg(&dir));
        dir
    })
}
