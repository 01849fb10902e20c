//! The real web server before a site, with the vhost that set-up prints.

use std::fs::{self, Permissions};
use std::net::TcpStream;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::Stdio;

use super::{Server, Site, USER, run, wait_until};

impl Site {
    /// The vhost that espm-setup prints, its logs and its program moved into this site.
    pub fn vhost(&self) -> String {
        let printed = run(self
            .inside(self.bin("espm-setup"))
            .args(["vhost", self.server.word(), "--config"])
            .arg(self.known_ini()));
        let dir = self.dir.display().to_string();
        let printed = printed
            .replace("/var/log/nginx", &dir)
            .replace("/var/log/apache2", &dir)
            .replace("${APACHE_LOG_DIR}", &dir);
        if self.namespace.is_some() { printed } else { printed.replace("/opt/espm/lib", &dir) }
    }

    pub fn start_server(&mut self) {
        let dir = self.dir.display().to_string();
        // Tests ask faster than a provisioning system does; the limit has a test of its own.
        let mut vhost = self.vhost();
        if !self.limited {
            vhost = vhost.replace("rate=100r/s", "rate=10000r/s").replace("burst=400 ", "burst=10000 ");
        } else {
            // A loaded machine answers fewer requests than may be asked in a second.
            vhost = vhost.replace("rate=100r/s", "rate=1r/s").replace("Count 400", "Count 10");
            // Apache's counts begin again with each second of the clock, however few were counted in the last.
            vhost = vhost.replace("DOSPageInterval 1", "DOSPageInterval 60");
        }
        fs::write(self.dir.join("vhost.conf"), vhost).unwrap();
        let mut server = match self.server {
            Server::Nginx => {
                let temps = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
                    .map(|name| format!("{name}_temp_path {dir}/nginx-{name};"))
                    .join("\n");
                let main = format!(
                    "user {USER};\npid {dir}/nginx.pid;\ndaemon off;\nworker_processes 2;\nworker_rlimit_nofile 65536;\nerror_log {dir}/nginx.err;\n\
                     events {{ worker_connections 4096; }}\nhttp {{\n{temps}\ninclude {dir}/vhost.conf;\n}}\n"
                );
                fs::write(self.dir.join("nginx.conf"), main).unwrap();
                let mut nginx = self.inside("nginx");
                nginx.arg("-c").arg(self.dir.join("nginx.conf")).args(["-e", &format!("{dir}/nginx.err")]);
                nginx
            }
            Server::Apache | Server::ApacheCgi => {
                if self.server == Server::ApacheCgi && self.namespace.is_none() {
                    self.install_cgi();
                }
                fs::write(self.dir.join("apache.conf"), self.apache_main()).unwrap();
                let mut apache = self.inside("apache2");
                apache.arg("-f").arg(self.dir.join("apache.conf")).arg("-DFOREGROUND");
                apache
            }
        };
        let log = self.append("server.err");
        server.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        self.children.push(server.spawn().unwrap());
        let port = self.port;
        wait_until("the web server listens", || TcpStream::connect(("127.0.0.1", port)).is_ok());
        if self.server == Server::ApacheCgi {
            // It takes connections before it gives its user the socket of the process that starts CGI programs.
            wait_until("mod_cgid can be asked", || self.cgid_socket_is_given());
        }
    }

    fn cgid_socket_is_given(&self) -> bool {
        let mut files = fs::read_dir(&self.dir).unwrap().map(Result::unwrap);
        let socket = files.find(|file| file.file_name().to_string_lossy().starts_with("cgid.sock"));
        socket.is_some_and(|socket| socket.metadata().is_ok_and(|socket| socket.uid() != 0))
    }

    fn apache_main(&self) -> String {
        let dir = self.dir.display().to_string();
        let modules = [
            "mpm_event",
            "authz_core",
            "ssl",
            "proxy",
            "proxy_fcgi",
            "headers",
            "reqtimeout",
            "setenvif",
            "env",
            "alias",
            "cgid",
            "socache_shmcb",
        ];
        let load: String = modules
            .iter()
            .map(|name| format!("LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so\n"))
            .collect();
        let evasive =
            if self.limited { "LoadModule evasive20_module /usr/lib/apache2/modules/mod_evasive20.so\n" } else { "" };
        format!(
            "ServerRoot {dir}\nServerName localhost\nPidFile {dir}/apache.pid\nDefaultRuntimeDir {dir}\n\
             Mutex file:{dir} default\nErrorLog {dir}/apache.err\nUser {USER}\nGroup {USER}\n{load}{evasive}\
             <IfModule cgid_module>\nScriptSock {dir}/cgid.sock\n</IfModule>\n\
             ServerLimit 8\nThreadsPerChild 64\nMaxRequestWorkers 512\nServerTokens Prod\nInclude {dir}/vhost.conf\n"
        )
    }

    /// The CGI script without sudo: here the web server's user is espm's.
    fn install_cgi(&self) {
        let script = format!("#!/bin/sh\nESPM_CONFIG={} exec {}\n", self.ini().display(), self.bin("espm").display());
        let path = self.write("espm.cgi", &script);
        fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
    }
}
