//! A shop installed as on a master: espm, the console and the CA each as a user of its own, raised by
//! the real sudo with the shipped sudoers file.
//!
//! The machine stays as it is: `/etc` is a copy, `/opt` and `/run` are the shop's own, and all three
//! are mounted in a namespace that only the shop's processes see and that ends with the last of them.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::{Plan, Server, Shop, Users, template};

/// The configuration, where the shipped sudoers file names it.
pub const INI: &str = "/opt/espm/etc/espm.ini";

/// A program, where the shipped sudoers file names it.
pub fn bin(name: &str) -> PathBuf {
    Path::new("/opt/espm/bin").join(name)
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
install -m 0755 "$1"/espm "$1"/espm-setup "$1"/espm-raise /opt/espm/bin
install -m 0440 "$2"/conf/sudoers.d/espm /etc/sudoers.d/espm
if [ "$3" = apache-cgi ]; then
    install -m 0755 "$2"/conf/apache/espm.cgi /opt/espm/lib/espm.cgi
    sed -i -e '/env_file/!s/^#\(Cmnd_Alias\|Defaults\|www-data\)/\1/' /etc/sudoers.d/espm
fi
visudo -c >&2
echo installed
exec cat
"#;

impl Shop {
    /// Installed and running.
    pub fn installed() -> Self {
        Self::installed_with(&Plan::default())
    }

    pub fn installed_with(plan: &Plan) -> Self {
        let mut shop = Self::doubles(plan);
        shop.users = Users { espm: "espm".into(), console: "puppet-dashboard".into(), authority: "pe-puppet".into() };
        shop.enter_namespace();
        for (name, place) in [
            ("etc", "opt/espm/etc"),
            ("state", "opt/espm/state"),
            ("records", "opt/espm/authority"),
            ("run", "run-root/espm"),
        ] {
            symlink(place, shop.dir.join(name)).unwrap();
        }
        let words = ["--console-user", "puppet-dashboard", "--authority-user", "pe-puppet"];
        shop.set_up(plan, &words.map(str::to_owned));
        shop.start_gate();
        shop.start_server();
        shop
    }

    fn enter_namespace(&mut self) {
        let errors = self.dir.join("install.err");
        let mut holder = Command::new("unshare");
        holder.args(["--mount", "--propagation", "private", "bash", "-euo", "pipefail", "-c", INSTALL, "install"]);
        holder.arg(&self.dir).arg(template().join("bin")).arg(env!("CARGO_MANIFEST_DIR")).arg(self.server.word());
        holder.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(fs::File::create(&errors).unwrap());
        let mut holder = holder.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(holder.stdout.take().unwrap()).read_line(&mut line).unwrap();
        self.namespace = Some(holder);
        // A machine that permits no namespace shows nothing of what these tests promise.
        assert_eq!(line, "installed\n", "unshare --mount: {}", fs::read_to_string(errors).unwrap());
    }

    /// Whether a process is in the shop's namespace.
    pub fn holds(&self, pid: u32) -> bool {
        let namespace = |pid: u32| fs::read_link(format!("/proc/{pid}/ns/mnt")).ok();
        self.namespace
            .as_ref()
            .is_some_and(|holder| namespace(pid).is_some_and(|of| Some(of) == namespace(holder.id())))
    }

    /// Whether the shop's handlers are started through sudo, without a gate.
    pub fn without_gate(&self) -> bool {
        self.server == Server::ApacheCgi
    }
}
