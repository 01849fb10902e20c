"""A temporary directory with processes in it, all of which are gone at the end."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time

USER = "www-data"
# Seconds for something that must happen on a loaded machine.
PATIENCE = 120


class Broken(Exception):
    """Something does not work; being slow is not that."""


class Place:
    def __init__(self):
        self.dir = tempfile.mkdtemp(prefix="espm-bench-")
        os.chmod(self.dir, 0o755)
        self.started = []

    def path(self, *names):
        return os.path.join(self.dir, *names)

    def directory(self, *names, mode=0o755, own=False, user=USER):
        path = self.path(*names)
        os.mkdir(path)
        os.chmod(path, mode)
        if own:
            give(path, user)
        return path

    def write(self, *names, text, mode=0o644):
        path = self.path(*names)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(path, mode)
        return path

    def start(self, name, command, as_root=False, environment=None, user=USER):
        """Starts a server in a process group of its own; its complaints go to NAME.err."""
        if not as_root:
            command = ["setpriv", "--reuid", user, "--regid", user, "--clear-groups", "--", *command]
        with open(self.path(name + ".err"), "ab") as errors:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=errors, stderr=errors, start_new_session=True,
                env=environment,
            )
        self.started.append((name, process))
        return process

    def stop(self, process):
        """Ends a server and what it has started: some leave their children behind."""
        self.started = [(name, other) for name, other in self.started if other is not process]
        for ask in (signal.SIGTERM, signal.SIGKILL):
            signal_group(process.pid, ask)
            try:
                process.wait(10)
                break
            except subprocess.TimeoutExpired:
                pass
        signal_group(process.pid, signal.SIGKILL)

    def check(self):
        for name, process in self.started:
            if process.poll() is not None:
                raise Broken(f"{name} ended by itself:\n{self.complaints(name)}")

    def wait_until(self, what, ready, patience=PATIENCE):
        until = time.monotonic() + patience
        while not ready():
            self.check()
            if time.monotonic() > until:
                raise Broken(f"waited in vain until {what}")
            time.sleep(0.02)

    def complaints(self, name):
        with open(self.path(name + ".err"), encoding="utf-8", errors="replace") as file:
            return file.read()[-2000:]

    def close(self):
        for _, process in list(self.started):
            self.stop(process)
        shutil.rmtree(self.dir)


def signal_group(group, number):
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        pass


def give(path, user=USER):
    user = pwd.getpwnam(user)
    os.chown(path, user.pw_uid, user.pw_gid)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def answers(address):
    """Whether something listens at a port or at a socket's path."""
    with socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET) as client:
        try:
            client.connect(address if isinstance(address, str) else ("127.0.0.1", address))
            return True
        except OSError:
            return False


def run(command, environment=None, well=True):
    done = subprocess.run(command, capture_output=True, text=True, env=environment, stdin=subprocess.DEVNULL)
    if well and done.returncode != 0:
        raise Broken(f"{' '.join(command)}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout
