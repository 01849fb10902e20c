//! A site installed as on a master: espm, the console and the CA are users of their own. The real sudo runs
//! espm-helper with the shipped sudoers file, as set-up prints it for `/opt/espm`.
//!
//! The machine stays as it is: `/etc` is a copy, `/opt` and `/run` are the site's own, and all three
//! are mounted in a namespace that only the site's processes see and that ends with the last of them.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::{Plan, Server, Site, Users, run, template};

/// The configuration, where the sudoers file names it.
pub const INI: &str = "/opt/espm/etc/espm.ini";

/// A program, where the sudoers file names it.
pub fn bin(name: &str) -> PathBuf {
    Path::new("/opt/espm/bin").join(name)
}

/// The sudo that becomes the console's and the CA's users: the system's, or the one of `ESPM_TEST_SUDO`, such as
/// `/usr/bin/sudo-rs`.
pub fn sudo() -> String {
    std::env::var("ESPM_TEST_SUDO").unwrap_or_else(|_| "/usr/bin/sudo".into())
}

/// Makes the namespace, the users and the directories, says so, and waits until its input ends.
const INSTALL: &str = r#"
cd "$1" && shift
cp -a /etc system && mkdir -p opt/espm run-root/espm
mount --bind system /etc && mount --bind opt /opt && mount --bind run-root /run
echo "127.0.1.1 $(hostname)" >>/etc/hosts
for user in espm puppet-dashboard pe-puppet; do
    useradd --system --no-log-init --home-dir /opt/espm --shell /usr/sbin/nologin "$user"
done
usermod -aG espm puppet-dashboard
usermod -aG espm pe-puppet
install -d -m 0755 /opt/espm /opt/espm/bin /opt/espm/lib /opt/espm/etc /opt/espm/etc/certs
install -d -o espm -g espm -m 0750 /opt/espm/state
install -d -o pe-puppet -g pe-puppet -m 0700 /opt/espm/authority
install -d -o espm -g www-data -m 2750 /run/espm
install -m 0755 "$1"/espm "$1"/espm-setup "$1"/espm-helper /opt/espm/bin
echo installed
exec cat
"#;

impl Site {
    /// Installed and running.
    pub fn installed() -> Self {
        Self::installed_with(&Plan::default())
    }

    pub fn installed_with(plan: &Plan) -> Self {
        let mut site = Self::doubles(plan);
        site.users = Users { espm: "espm".into(), console: "puppet-dashboard".into(), authority: "pe-puppet".into() };
        site.enter_namespace();
        for (name, place) in [
            ("etc", "opt/espm/etc"),
            ("state", "opt/espm/state"),
            ("records", "opt/espm/authority"),
            ("run", "run-root/espm"),
        ] {
            symlink(place, site.dir.join(name)).unwrap();
        }
        let words = ["--console-user", "puppet-dashboard", "--authority-user", "pe-puppet"];
        site.set_up(plan, &words.map(str::to_owned));
        site.configure("espm", &format!("sudo = {}", sudo()));
        let cgi = if site.without_gateway() {
            let script = "espm-setup cgi >/opt/espm/lib/espm.cgi && chmod 0755 /opt/espm/lib/espm.cgi";
            run(site.inside("sh").args(["-c", &format!("/opt/espm/bin/{script}")]));
            "--cgi"
        } else {
            ""
        };
        let allow =
            format!("/opt/espm/bin/espm-setup sudoers {cgi} >/etc/sudoers.d/espm && chmod 0440 /etc/sudoers.d/espm");
        // Each accepts all rules without a word, for it says the word to every user whenever it runs.
        let visudo = sudo().replace("/bin/sudo", "/sbin/visudo");
        let visudo = if Path::new(&visudo).exists() { visudo } else { sudo().replace("sudo", "visudo") };
        let checked = site.inside("sh").args(["-c", &format!("{allow} && {visudo} -c")]).output().unwrap();
        assert!(checked.status.success() && checked.stderr.is_empty(), "{checked:?}");
        site.start_gateway();
        site.start_server();
        site
    }

    fn enter_namespace(&mut self) {
        let errors = self.dir.join("install.err");
        let mut holder = Command::new("unshare");
        holder.args(["--mount", "--propagation", "private", "bash", "-euo", "pipefail", "-c", INSTALL, "install"]);
        holder.arg(&self.dir).arg(template().join("bin"));
        holder.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(fs::File::create(&errors).unwrap());
        let mut holder = holder.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(holder.stdout.take().unwrap()).read_line(&mut line).unwrap();
        self.namespace = Some(holder);
        // A machine that permits no namespace shows nothing of what these tests promise.
        assert_eq!(line, "installed\n", "unshare --mount: {}", fs::read_to_string(errors).unwrap());
    }

    /// Whether a process is in the site's namespace.
    pub fn holds(&self, pid: u32) -> bool {
        let namespace = |pid: u32| fs::read_link(format!("/proc/{pid}/ns/mnt")).ok();
        self.namespace
            .as_ref()
            .is_some_and(|holder| namespace(pid).is_some_and(|of| Some(of) == namespace(holder.id())))
    }

    /// Whether the site's handlers are started through sudo, without a gate.
    pub fn without_gateway(&self) -> bool {
        self.server == Server::ApacheCgi
    }
}
