"""`espm check` with 100,000 nodes: published ones, and those that a console lists."""

import os
import statistics
import subprocess
import time

import enc
import ledger
from place import Broken, give
from shop import Shop

NODES = 100_000


def shops(place, programs, console):
    """One for each kind, its nodes in the ledger and where a check looks for them."""
    names = [f"node{number}.example.com" for number in range(NODES)]
    published = Shop(place, programs, "check-enc", None)
    for name in names:
        with open(os.path.join(published.published, f"{name}.yaml"), "w", encoding="utf-8") as file:
            file.write(enc.YAML)
    listing = place.directory("check-console", own=True)
    place.write("check-console", "names", text="classes=profile::application_001\n")
    for file, lines in ("nodes", names), ("running", []):
        give(place.write("check-console", file, text="".join(f"{line}\n" for line in lines)))
    environment = f"environment = CONSOLE={listing} PAUSE=0"
    found = {"published": published, "listed by rake": Shop(place, programs, "check-rake", console.rake, [environment])}
    for shop in found.values():
        ledger.fill(shop, NODES)
    return found


def check(shop):
    """Seconds. Its CA does not answer, so only the lines about nodes have to be right."""
    command = [shop.program("espm"), "-c", shop.ini, "check"]
    begun = time.perf_counter()
    ended = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    took = time.perf_counter() - begun
    if "ok    nodes: every node" not in ended.stdout or f"ledger: {NODES} nodes" not in ended.stdout:
        raise Broken(f"{shop.name}: {ended.stdout[:2000]}{ended.stderr}")
    return took


def measure(found, quick, note):
    note(f"espm check with {NODES:,} nodes")
    samples = {name: [] for name in found}
    for _ in range(3 if quick else 9):
        for name, shop in found.items():
            samples[name].append(check(shop))
    return {"nodes": NODES, "rows": [{"name": name, "s": statistics.median(samples[name])} for name in samples]}
