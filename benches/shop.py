"""espm as its set-up makes it, with its gate, behind the nginx that the peers have, too."""

import os
import pwd
import re

from place import USER, answers, free_port, give, run

HERE = os.path.dirname(os.path.abspath(__file__))


def class_names():
    return [f"profile::application_{number:03}" for number in range(200)]


class Console:
    """Stand-ins for the console: the bare stub, and rake's tasks in a shell script."""

    def __init__(self, place):
        self.dir = place.directory("console", own=True)
        listed = "".join(f" \\\n    {name}" for name in class_names())
        self.stub = place.write("stub", text=f"#!/bin/sh\nprintf '%s\\n'{listed}\n", mode=0o755)
        self.running = place.path("console", "running")
        slow = f"#!/bin/sh\necho + >>{self.running}\nsleep 1\n{self.stub}\necho - >>{self.running}\n"
        self.slow_stub = place.write("slow-stub", text=slow, mode=0o755)
        newline = "\n"
        place.write("console", "names", text=f"classes='{newline.join(class_names())}'\n")
        self.rake = place.path("rake")
        run(["install", "-m", "0755", os.path.join(HERE, "peers", "rake"), self.rake])
        self.forget()

    def forget(self):
        for name in ("running", "nodes"):
            path = os.path.join(self.dir, name)
            with open(path, "w", encoding="utf-8"):
                pass
            give(path)

    def nodes(self):
        with open(os.path.join(self.dir, "nodes"), encoding="utf-8") as file:
            return file.read().split()

    def most_at_once(self):
        most = now = 0
        with open(self.running, encoding="utf-8") as file:
            for line in file:
                now += 1 if line == "+\n" else -1
                most = max(most, now)
        return most


class Shop:
    """One espm. `command` is its console's, or there is none and it has a catalogue; `keys` are lines for [console].

    `authority` are set-up's options for a CA that is asked, and `user` runs all of it.
    """

    def __init__(self, place, programs, name, command, keys=(), authority=None, user=USER):
        self.place, self.programs, self.name, self.user = place, programs, name, user
        self.dir = place.directory(name)
        for part in ("etc", "etc/certs", "ssl", "ca"):
            place.directory(name, part)
        self.state = place.directory(name, "state", mode=0o750, own=True, user=user)
        place.directory(name, "records", mode=0o700, own=True, user=user)
        # The socket has the web server's group.
        place.directory(name, "run", mode=0o750, own=True)
        os.chown(place.path(name, "run"), pwd.getpwnam(user).pw_uid, -1)
        os.chmod(place.path(name, "run"), 0o2750)
        self.socket = place.path(name, "run", "espm.sock")
        self.ini = place.path(name, "etc", "espm.ini")
        self.certificate = place.path(name, "etc", "certs", "espm.pem")
        self.port = free_port()
        self.gate = None
        at = lambda *names: place.path(name, *names)
        console = ["--console-command", command, "--console-directory", self.dir, "--console-release", "1.2.7"]
        if command is None:
            self.published = place.directory(name, "published", own=True, user=user)
            catalogue = f"[classes]\nnames = {', '.join(class_names())}\n[group default]\n"
            catalogue = place.write(name, "etc", "catalogue.ini", text=catalogue)
            console = ["--console-kind", "enc", "--catalogue", catalogue, "--published", self.published]
        if authority is None:
            # It is not asked.
            authority = [
                "--master", "master.example.com", "--authority-command", "/bin/false", "--ssldir", at("ssl"),
                "--cadir", at("ca"),
            ]
        printed = run([
            self.program("espm-setup"), "-d", at("etc"), "-c", at("etc", "certs"), "-p", str(self.port),
            "--host", "localhost", "--san", "127.0.0.1", "--state", self.state, "--listen", self.socket,
            "--helper", self.program("espm-helper"), "--records", at("records"), "--syslog", place.path("log.sock"),
            *authority, *console,
        ])
        self.psk = printed.splitlines()[2].strip()
        for key in keys:
            self.configure(key)

    def program(self, name):
        return os.path.join(self.programs, name)

    def configure(self, line):
        """Puts a line into [console]; the gate reads it once, each handler anew."""
        with open(self.ini, encoding="utf-8") as file:
            text = file.read()
        key = re.escape(line.split("=")[0].strip())
        text = re.sub(rf"(?m)(^\[console\]\n(?:(?!\[).*\n)*?){key} *=.*\n", r"\1", text)
        text = text.replace("[console]\n", f"[console]\n{line}\n")
        with open(self.ini, "w", encoding="utf-8") as file:
            file.write(text)

    def start_gate(self):
        self.gate = self.place.start(f"{self.name}-gate", [self.program("espm"), "-c", self.ini], user=self.user)
        self.place.wait_until("the gate listens", lambda: answers(self.socket))

    def stop_gate(self):
        self.place.stop(self.gate)
        self.gate = None

    def vhost(self, limited=False):
        """What espm-setup prints, several of them in one nginx, and without the limit for each client."""
        text = run([self.program("espm-setup"), "vhost", "nginx", "--config", self.ini])
        text = text.replace("/var/log/nginx", self.dir).replace("zone=espm", f"zone={self.name}")
        if not limited:
            text = text.replace("rate=100r/s", "rate=100000r/s").replace("burst=400", "burst=20000")
        return text.replace("log_format espm ", f"log_format {self.name} ").replace(".log espm;", f".log {self.name};")

    def url(self, path):
        return f"https://127.0.0.1:{self.port}{path}"

    def nodes(self):
        """The names in the ledger, and those of nodes that are unfinished."""
        list_nodes = [self.program("espm"), "-c", self.ini, "nodes"]
        names = lambda text: [line.split()[-1] for line in text.splitlines()]
        return names(run(list_nodes)), names(run([*list_nodes, "--unfinished"]))

    def variables(self, path):
        """What the gate hands to a handler."""
        return {
            "GATEWAY_INTERFACE": "CGI/1.1", "ESPM_CONFIG": self.ini, "REQUEST_METHOD": "GET", "REQUEST_URI": path,
            "REMOTE_ADDR": "127.0.0.1", "HTTPS": "on", "HTTP_X_ESPM_PSK": self.psk,
        }

    def handler(self, path):
        """The words for `spawn` that run one handler as the gate would: as the gate's user."""
        words = [word for pair in self.variables(path).items() for word in ("--env", "=".join(pair))]
        return [*words, "--", self.program("espm")]


def nginx_config(place, servers, name="nginx"):
    temporary = "\n".join(
        f"{kind}_temp_path {place.path(f'{name}-{kind}')};"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    return f"""user {USER};
pid {place.path(f"{name}.pid")};
daemon off;
worker_processes 2;
error_log {place.path(f"{name}.log")};
events {{ worker_connections 8192; }}
http {{
{temporary}
{servers}
}}
"""
