"""`espm publish` with 100,000 nodes: all of them new, a group of half of them changed, and nothing to do."""

import os
import sqlite3
import subprocess

from place import USER, Broken

NODES = 100_000
CATALOGUE = """[classes]
names = profile::application_001
[class ntp]
parameters = servers
[group web]
classes = ntp
parameter ports = [80, 443]
parameter tier = {tier}
"""


def prepare(place, shop):
    published = place.directory(f"{shop.name}-nodes", mode=0o750, own=True)
    with open(shop.ini, encoding="utf-8") as file:
        before, rest = file.read().split("[console]", 1)
    console = f"[console]\nkind = enc\ncatalogue = {place.path('catalogue.ini')}\npublished = {published}\n\n[authority]"
    with open(shop.ini, "w", encoding="utf-8") as file:
        file.write(before + console + rest.split("[authority]", 1)[1])
    rows = {
        0: '{"groups":["web"],"classes":["profile::application_001"],"parameters":{"role":"web"},'
           '"class_parameters":{"ntp":{"servers":["a","b"]}}}',
        1: '{"groups":[],"classes":["profile::application_001"],"parameters":{"role":"database"}}',
    }
    database = sqlite3.connect(os.path.join(shop.state, "ledger.sqlite"))
    with database:
        database.executemany(
            "INSERT INTO node (name, state, assignment, request, since, client) "
            "VALUES (?, 'active', ?, 'bench', 1795000000, 'cloud')",
            ((f"node{number:06}.example.com", rows[number % 2]) for number in range(NODES)),
        )
    database.close()


def publish(shop, wanted):
    """Seconds and MiB of one run, which must have published so many."""
    run_as = ["setpriv", "--reuid", USER, "--regid", USER, "--clear-groups", "--"]
    command = [*run_as, "/usr/bin/time", "-f", "%e %M", shop.program("espm"), "-c", shop.ini, "publish"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.stdout != f"{NODES} nodes: {wanted} published anew\n":
        raise Broken(f"espm publish: {ended.stdout}{ended.stderr}")
    seconds, kibibytes = ended.stderr.split()[-2:]
    return float(seconds), int(kibibytes) / 1024


def measure(place, shop, note):
    note(f"espm publish with {NODES:,} nodes")
    prepare(place, shop)
    rows = []
    for name, tier, wanted in (
        ("all nodes are new", "gold", NODES),
        ("a group of half of them changed", "silver", NODES // 2),
        ("nothing changed", "silver", 0),
    ):
        place.write("catalogue.ini", text=CATALOGUE.format(tier=tier))
        seconds, mib = publish(shop, wanted)
        rows.append({"name": name, "s": seconds, "mib": mib})
    return {"nodes": NODES, "rows": rows}
