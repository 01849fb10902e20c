"""A copy of this machine that boots systemd, with a network and processes of its own, and of which nothing stays."""

import os
import select
import shutil
import signal
import subprocess
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
REPOSITORY = os.path.dirname(os.path.dirname(HERE))
# Seconds that one command may take.
PATIENCE = 180


class Stumble(Exception):
    pass


class Shell:
    """A bash in the machine that stays from block to block."""

    END = "\x01walk:"

    def __init__(self, pid, user):
        become = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups"] if user != "root" else []
        home = "/root/espm" if user == "root" else "/srv/client"
        environment = {
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": "/root" if user == "root" else home,
            "LANG": "C.UTF-8",
        }
        if user == "root":
            environment["PATH"] = os.path.join(cargo_home(), "bin") + ":" + environment["PATH"]
            environment.update({name: os.environ[name] for name in ("CARGO_HOME", "RUSTUP_HOME") if name in os.environ})
        self.process = subprocess.Popen(
            [*enter(pid), *become, "bash", "--norc", "--noprofile"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
        )
        output, well = self.run(f"cd {home}")
        if not well:
            raise Stumble(f"no shell for {user}: {output}")

    def run(self, command, patience=PATIENCE, says=None):
        """Runs it with errexit, to its end or until it says something; its output, and whether all of it succeeded."""
        delimiter = "END-OF-WALKED-COMMAND"
        script = (
            f"IFS= read -r -d '' walked <<'{delimiter}' || true\n{command}\n{delimiter}\n"
            f"set -e; eval \"$walked\" </dev/null; set +e; printf '\\001walk:\\n'\n"
        )
        self.process.stdin.write(script.encode())
        self.process.stdin.flush()
        output, until = b"", time.monotonic() + patience
        while not output.endswith(self.END.encode() + b"\n"):
            ready, _, _ = select.select([self.process.stdout], [], [], max(0, until - time.monotonic()))
            data = os.read(self.process.stdout.fileno(), 65536) if ready else b""
            output += data
            if says and says.encode() in output:
                return output.decode(), True
            if not data:
                return output.decode(errors="replace").replace("\r", ""), False
        return output[: -len(self.END) - 1].decode(errors="replace").replace("\r", ""), True

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def enter(pid):
    """The words before a program that runs in the machine of that first process."""
    return ["nsenter", "--target", str(pid), "--mount", "--uts", "--ipc", "--net", "--pid", "--root", "--wd"]


def cargo_home():
    return os.environ.get("CARGO_HOME", os.path.expanduser("~/.cargo"))


class Booted:
    """A copy of a root that boots, with the repository in /root/espm, and of which nothing stays."""

    def __init__(self, programs="", base="/"):
        """With these built programs where a build of its copy of the repository would leave them."""
        self.directory = tempfile.mkdtemp(prefix="espm-walk-")
        self.boot = subprocess.Popen(
            ["unshare", "--mount", "--pid", "--net", "--uts", "--ipc", "--cgroup", "--fork", "--kill-child=KILL"]
            + [os.path.join(HERE, "boot"), self.directory, REPOSITORY, programs, base],
            stdout=open(os.path.join(self.directory, "boot.log"), "wb"),
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self.shells = {}
        try:
            self.pid = self.wait_for_init()
        except BaseException:
            self.close()
            raise

    def wait_for_init(self):
        for _ in range(600):
            children = f"/proc/{self.boot.pid}/task/{self.boot.pid}/children"
            for pid in open(children).read().split() if os.path.exists(children) else []:
                if os.readlink(f"/proc/{pid}/exe").endswith("/systemd"):
                    return int(pid)
            if self.boot.poll() is not None:
                break
            time.sleep(0.05)
        raise Stumble("the machine does not boot: " + open(os.path.join(self.directory, "boot.log")).read())

    def do(self, prompt, command):
        output, well = self.shells[prompt[0]].run(command)
        if not well:
            raise Stumble(f"{command}: {output}")
        return output

    def put(self, path, there):
        """Copies a file of this machine's."""
        with open(path, "rb") as file:
            subprocess.run([*enter(self.pid), "sh", "-c", 'cat >"$0"', there], stdin=file, check=True)

    def run(self, program):
        """Runs a program of the repository's as root, with what it prints printed; its exit code."""
        return subprocess.run([*enter(self.pid), "env", "--chdir=/root/espm", program], stdin=subprocess.DEVNULL, check=False).returncode

    def close(self):
        if self.boot.poll() is None:
            # The first process of the machine: the kernel ends the others with it.
            for pid in open(f"/proc/{self.boot.pid}/task/{self.boot.pid}/children").read().split():
                os.kill(int(pid), signal.SIGKILL)
        self.boot.wait()
        for shell in self.shells.values():
            shell.close()
        shutil.rmtree(self.directory)


class Machine(Booted):
    """A copy of this machine as a master, with the shells of its administrator and of a client."""

    def __init__(self, kind, programs=""):
        super().__init__(programs)
        try:
            self.shells["#"] = Shell(self.pid, "root")
            self.do("# ", f". tests/readme/shells.sh; wait_for_boot; make_machine {kind}")
            self.shells["$"] = Shell(self.pid, "client")
            self.do("$ ", ". ./shells.sh")
        except BaseException:
            self.close()
            raise
