"""Console commands: the command itself, and a request that runs it through espm, beside it."""

import asyncio
import itertools
import os
import shutil
import statistics

from client import Connection, trusting
from load import alternate
from place import Broken, USER, answers, run
from shop import HERE

REPOSITORY = os.path.dirname(HERE)


class Adds:
    """Adds by one client whose connection stays open; each waits for the one before."""

    def __init__(self, shop, prefix):
        self.shop, self.prefix, self.numbers = shop, prefix, itertools.count()

    def __call__(self, count):
        """The median of so many, in milliseconds."""
        return asyncio.run(self.ask(count))

    async def ask(self, count):
        connection = Connection(trusting(self.shop.certificate), self.shop.url("/"))
        times = []
        try:
            # The first one pays for the connection.
            for turn in range(count + 1):
                name = f"{self.prefix}{next(self.numbers)}.example.com"
                answer = await connection.ask("POST", "/v1/nodes", self.shop.psk, {"name": name})
                if answer.status != 201:
                    raise Broken(f"{name}: {answer.status} {answer.body}")
                times += [answer.seconds * 1000] if turn else []
        finally:
            connection.close()
        return statistics.median(times)


class Rake:
    """The stand-in console of the tests, which real rake runs: a Rails application over a SQLite file."""

    def __init__(self, place):
        self.place = place
        for part in ("console", "doubles"):
            shutil.copytree(os.path.join(REPOSITORY, "tests", part), place.path("tests", part))
        self.dir = place.directory("seeded")
        database = f"production:\n  adapter: sqlite3\n  timeout: 5000\n  database: {self.dir}/rails.sqlite3\n"
        place.write("seeded", "rails", text=database)
        run([place.path("tests", "console", "seed"), self.dir])
        run(["chown", "-R", f"{USER}:{USER}", self.dir])
        self.command = f"/usr/bin/rake -f {place.path('tests', 'console', 'Rakefile')} RAILS_ENV=production CONSOLE={self.dir}"

    def start_worker(self, shop):
        """Boots the console once; `shop` asks it from now on."""
        socket = os.path.join(shop.dir, "run", "worker.sock")
        shop.configure(f"worker = {socket}")
        # rake loads the worker's file beside the console's Rakefile out of a directory of its own.
        self.place.directory("worker")
        shutil.copy(os.path.join(REPOSITORY, "conf", "console", "espm.rake"), self.place.path("worker"))
        words = self.command.split()
        environment = {"PATH": "/usr/bin:/bin", "HOME": "/", "LANG": "C.UTF-8"}
        ready = ["-R", self.place.path("worker"), f"ESPM_CONFIG={shop.ini}", "espm:serve"]
        command = ["env", "-C", shop.dir, words[0], "-s", *words[1:], *ready]
        self.place.start("worker", command, environment=environment)
        self.place.wait_until("the worker is ready", lambda: answers(socket))


def added(shop, console, spawn, quick, note):
    """What espm adds to a command of two milliseconds: an add, with its durable intent and outcome."""
    note("what espm adds to a command")
    shop.configure(f"environment = CONSOLE={console.dir} PAUSE=0")
    adds = Adds(shop, "added")
    tasks = ["node:add", "nodeclass:list", "node:groups", "nodegroup:list"]
    variables = ["name=bare{}.example.com", "groups=", "classes=", "parameters="]
    bare = ["--env", f"CONSOLE={console.dir}", "--env", "PAUSE=0", "--", console.rake, "-s", "-E", "$stdout.sync=true"]
    samples = alternate(3 if quick else 9, {
        "bare": lambda: spawn(1, 0.5, *bare, *tasks, *variables, among=1_000_000).p50,
        "espm": lambda: adds(20),
    })
    return {
        "bare_ms": statistics.median(samples["bare"]), "espm_ms": statistics.median(samples["espm"]),
        "added_ms": statistics.median(one - other for one, other in zip(samples["espm"], samples["bare"], strict=True)),
    }


def expect_worker(shop):
    """That the worker is asked: a cold rake instead would be measured as a warm one."""
    found = run([shop.program("espm"), "-c", shop.ini, "check"], well=False)
    if "ok    console worker" not in found:
        raise Broken(f"the worker is not used:\n{found}")


def cold_and_warm(rake, cold, warm, spawn, quick, note):
    """An add through real rake: run directly, through espm, and through espm with the worker."""
    expect_worker(warm)
    note("adds with rake")
    words = ["-s", "-E", "$stdout.sync=true", "node:add", "nodeclass:list", "node:groups", "nodegroup:list"]
    variables = ["name=bare{}.example.com", "groups=", "classes=", "parameters="]
    command = [*rake.command.split(), *words, *variables]
    # It starts where its files are, as espm starts it.
    directory = ["env", "-C", rake.dir]
    asks = {
        "bare": lambda: spawn(1, 1, "--", *directory, *command, among=1_000_000_000).p50,
        "cold": lambda adds=Adds(cold, "cold"): adds(5),
        "warm": lambda adds=Adds(warm, "warm"): adds(20),
    }
    samples = alternate(2 if quick else 5, asks)
    times = {name: statistics.median(values) for name, values in samples.items()}
    pairs = zip(samples["cold"], samples["warm"], strict=True)
    return {
        "rake_bare_ms": times["bare"], "rake_cold_ms": times["cold"], "rake_warm_ms": times["warm"],
        "warm_vs_cold": statistics.median(one / other for one, other in pairs),
    }
