"""Certificates of a real Puppet server: by its own command, and through espm by the CA's HTTP interface."""

import asyncio
import itertools
import os
import shutil
import ssl
import statistics
import time
import urllib.error
import urllib.request

from client import Closed, Connection, trusting
from load import alternate
from place import Broken, answers, free_port, run
from shop import Shop, nginx_config

JAR = "/usr/share/puppetserver/puppetserver.jar"
PUPPET = "puppet"
# Entries of the revocation list, as after a year of short-lived servers.
REVOKED = 1000
LAUNCHES = 100
# Seconds between two looks at health while all are launched.
PAUSE = 0.05


class Server:
    """The installed Puppet server with a CA of its own, below a directory of the bench."""

    def __init__(self, place):
        self.place, self.port, self.names = place, free_port(), itertools.count()
        self.dir = place.directory("puppetserver")
        self.cadir, self.ssldir = os.path.join(self.dir, "ca"), os.path.join(self.dir, "ssl")
        self.config = self.write_config("puppet.conf", "")
        self.short = self.write_config("short.conf", "keylength = 2048\n")
        self.write_services()
        run(["puppetserver", "ca", "setup", "--config", self.config, "--subject-alt-names", "localhost"])
        self.fill_list()
        run(["chown", "-R", f"{PUPPET}:{PUPPET}", self.dir])
        java = ["/usr/bin/java", "-Xms256m", "-Xmx512m", "-Djruby.lib=/usr/share/jruby/lib", "-Dlogappender=STDOUT",
                "-Djruby.logger.class=com.puppetlabs.jruby_utils.jruby.Slf4jLogger", "-jar", JAR,
                "--config", os.path.join(self.dir, "conf.d"), "--bootstrap-config", os.path.join(self.dir, "services.d")]
        place.start("puppetserver", ["env", "-C", "/usr/share/puppetserver", "sh", "-c", 'umask 027; exec "$@"', "sh", *java], user=PUPPET)

    def write_config(self, name, line):
        os.makedirs(os.path.join(self.dir, "conf"), exist_ok=True)
        within = lambda part: os.path.join(self.dir, part)
        parts = "".join(f"{part}dir = {within(part)}\n" for part in ("conf", "code", "var", "run", "log", "ssl"))
        text = f"[main]\nserver = localhost\ncertname = localhost\nserverport = {self.port}\n{parts}cadir = {self.cadir}\n\n[server]\n{line}"
        return self.place.write("puppetserver", "conf", name, text=text)

    def write_services(self):
        for name in ("conf.d", "services.d", "logback.xml", "request-logging.xml"):
            source, target = os.path.join("/etc/puppet/puppetserver", name), os.path.join(self.dir, name)
            (shutil.copytree if os.path.isdir(source) else shutil.copy)(source, target)
        for part in ("code/environments/production", "var", "run", "log"):
            os.makedirs(os.path.join(self.dir, part))
        moved = {"/etc/puppet/puppetserver/": f"{self.dir}/", "/etc/puppet/code": f"{self.dir}/code", "/etc/puppet": f"{self.dir}/conf",
                 "/var/lib/puppetserver": f"{self.dir}/var", "/run/puppetserver": f"{self.dir}/run",
                 "/var/log/puppetserver": f"{self.dir}/log", "8140": str(self.port)}
        for directory, _, names in os.walk(self.dir):
            for path in (os.path.join(directory, name) for name in names if name.endswith((".conf", ".xml"))):
                with open(path, encoding="utf-8") as file:
                    text = file.read()
                if os.path.basename(directory) != "conf":
                    for old, new in moved.items():
                        text = text.replace(old, new)
                with open(path, "w", encoding="utf-8") as file:
                    file.write(text)

    def fill_list(self):
        """Puts entries into the list of the CA that signs; the root's stays as it is."""
        index = self.place.write("puppetserver", "index", text="".join(
            f"R\t401231000000Z\t251231000000Z,keyCompromise\t{number:06X}\tunknown\t/CN=node{number}\n"
            for number in range(0x100000, 0x100000 + REVOKED)))
        number = self.place.write("puppetserver", "number", text="1000\n")
        settings = self.place.write("puppetserver", "openssl.cnf", text=(
            f"[ca]\ndefault_ca = c\n[c]\ndatabase = {index}\ncrlnumber = {number}\ndefault_md = sha256\n"
            "default_crl_days = 999\ncrl_extensions = e\n[e]\nauthorityKeyIdentifier = keyid:always\n"))
        path = os.path.join(self.cadir, "ca_crl.pem")
        with open(path, encoding="utf-8") as file:
            lists = file.read().split("-----END X509 CRL-----\n")
        made = run(["openssl", "ca", "-config", settings, "-gencrl", "-cert", os.path.join(self.cadir, "ca_crt.pem"),
                    "-keyfile", os.path.join(self.cadir, "ca_key.pem")])
        with open(path, "w", encoding="utf-8") as file:
            file.write(made + "-----END X509 CRL-----\n".join(lists[1:]))

    def is_ready(self):
        context = ssl._create_unverified_context()
        try:
            with urllib.request.urlopen(f"https://localhost:{self.port}/status/v1/simple/ca", context=context, timeout=5) as answer:
                return answer.read() == b"running"
        except (OSError, urllib.error.URLError):
            return False

    def command(self, config, verb, name):
        """Milliseconds of one run of `puppetserver ca`, as the CA's user."""
        become = ["setpriv", "--reuid", PUPPET, "--regid", PUPPET, "--init-groups", "env", "-i", "-C", "/", "PATH=/usr/bin:/bin"]
        begun = time.perf_counter()
        run([*become, "puppetserver", "ca", verb, "--config", config, "--certname", name])
        return (time.perf_counter() - begun) * 1000

    def generate(self, config):
        return self.command(config, "generate", f"command{next(self.names)}.example.com")

    def lines_of(self, name):
        with open(os.path.join(self.cadir, "inventory.txt"), encoding="utf-8") as file:
            return sum(line.rstrip("\n").endswith(f"/CN={name}") for line in file)


class Launches:
    """Nodes and their certificates, by one client whose connection stays open."""

    def __init__(self, shop):
        self.shop, self.numbers = shop, itertools.count()

    def __call__(self, verb, count):
        """The median of so many certificates made, or revoked, in milliseconds."""
        return asyncio.run(self.ask(verb, count))

    async def ask(self, verb, count):
        connection, times = Connection(trusting(self.shop.certificate), self.shop.url("/")), []
        try:
            for _ in range(count):
                path = f"/v1/nodes/{self.shop.name}{next(self.numbers)}.example.com"
                times.append(await self.life(connection, path, verb) * 1000)
        finally:
            connection.close()
        return statistics.median(times)

    async def life(self, connection, path, verb):
        """Adds a node, has its certificate made and revoked; the seconds of the one that is asked for."""
        seconds = {}
        for name, method, where, wanted, body in (
            ("add", "POST", "/v1/nodes", 201, {"name": path.rsplit("/", 1)[1]}),
            ("make", "POST", f"{path}/certificate", 201, None),
            ("revoke", "DELETE", f"{path}/certificate", 204, None),
        ):
            if name == "revoke" and verb != "revoke":
                break
            answer = await connection.ask(method, where, self.shop.psk, body)
            if answer.status != wanted:
                raise Broken(f"{method} {where}: {answer.status} {answer.body}")
            seconds[name] = answer.seconds
        return seconds[verb]


async def until_done(connection, shop, method, path, body=None):
    """A request, again as long as it is told to come back; its last answer."""
    while True:
        try:
            answer = await connection.ask(method, path, shop.psk, body)
        except (Closed, ConnectionError):
            connection.close()
            continue
        if answer.status not in (429, 503):
            return answer
        await asyncio.sleep(int(answer.headers["retry-after"]))


async def launch(shop, context, name):
    """Whether the node and its certificate are there at last."""
    connection = Connection(context, shop.url("/"))
    try:
        # A node whose first answer was lost is taken, by this very launch.
        added = await until_done(connection, shop, "POST", "/v1/nodes", {"name": name})
        made = await until_done(connection, shop, "POST", f"/v1/nodes/{name}/certificate")
        return added.status in (201, 409) and made.status in (200, 201)
    finally:
        connection.close()


async def look_at_health(shop, context, seconds):
    connection = Connection(context, shop.url("/"))
    try:
        while True:
            answer = await connection.ask("GET", "/v1/health", shop.psk)
            if answer.status == 200:
                seconds.append(answer.seconds)
            await asyncio.sleep(PAUSE)
    finally:
        connection.close()


async def launch_all(shop, names):
    context, seconds = trusting(shop.certificate), []
    health = asyncio.create_task(look_at_health(shop, context, seconds))
    begun = time.monotonic()
    done = await asyncio.gather(*(launch(shop, context, name) for name in names))
    total = time.monotonic() - begun
    health.cancel()
    return total, sum(done), statistics.median(seconds) * 1000


def burst(shop, server):
    """All at once, through the vhost as it is shipped."""
    names = [f"burst{number}.example.com" for number in range(LAUNCHES)]
    total, done, health = asyncio.run(launch_all(shop, names))
    once = sum(server.lines_of(name) == 1 for name in names)
    return {"launches": LAUNCHES, "total_s": total, "lost": LAUNCHES - min(done, once), "health_ms": health}


class CaShop(Shop):
    """A shop that asks the CA's HTTP interface, all of it as the CA's user."""

    def __init__(self, place, programs, server, key):
        authority = [
            "--master", "localhost", "--authority-kind", "puppet-ca-api", "--authority-config", server.config,
            "--authority-key", key, "--authority-address", f"127.0.0.1:{server.port}",
            "--ssldir", server.ssldir, "--cadir", server.cadir,
        ]
        super().__init__(place, programs, key, None, authority=authority, user=PUPPET)


def rows(samples):
    return [{"name": name, "ms": statistics.median(values)} for name, values in samples.items()]


def measure(place, programs, quick, note):
    """Nothing where no Puppet server is installed."""
    if not os.path.exists(JAR):
        note("no Puppet server is installed (Debian: puppetserver), so certificates are not measured")
        return None
    note("the Puppet server starts")
    server = Server(place)
    place.wait_until("the Puppet server is ready", server.is_ready, patience=900)
    rounds, revocable = 3 if quick else 15, itertools.count()
    asks = {
        "command, RSA 2048": lambda: server.generate(server.short),
        "command, its default": lambda: server.generate(server.config),
    }
    revokes = {"command, revoke": lambda: server.command(server.config, "revoke", f"command{next(revocable)}.example.com")}
    if "puppet-ca-api" not in run([os.path.join(programs, "espm-setup"), "--help"]):
        note("this espm cannot ask the CA's HTTP interface, so the CA's command is measured alone")
        return {"revoked": REVOKED, "rows": rows(alternate(rounds, asks) | alternate(rounds, revokes))}
    shops = {key: CaShop(place, programs, server, key) for key in ("rsa-2048", "p256")}
    for shop in shops.values():
        shop.start_gate()
    vhosts = shops["rsa-2048"].vhost() + shops["p256"].vhost(limited=True)
    configuration = place.write("certificates.conf", text=nginx_config(place, vhosts, "certificates"))
    place.start("certificates", ["nginx", "-e", place.path("certificates.log"), "-c", configuration], as_root=True)
    place.wait_until("nginx listens", lambda: answers(shops["p256"].port))
    note(f"{LAUNCHES} launches at once")
    figures = {"burst": burst(shops["p256"], server)}
    note("certificates by the command and by the CA's HTTP interface")
    rsa, p256 = (Launches(shop) for shop in shops.values())
    asks |= {"espm, RSA 2048": lambda: rsa("make", 5), "espm, P-256": lambda: p256("make", 5)}
    samples = alternate(rounds, asks) | alternate(rounds, revokes | {"espm, revoke": lambda: p256("revoke", 5)})
    over = lambda one, other: statistics.median(samples[one]) / statistics.median(samples[other])
    return figures | {
        "revoked": REVOKED, "rows": rows(samples),
        "vs_command": over("command, RSA 2048", "espm, RSA 2048"),
        "vs_default": over("command, its default", "espm, RSA 2048"),
        "p256_vs_default": over("command, its default", "espm, P-256"),
        "revoke_vs_command": over("command, revoke", "espm, revoke"),
    }
