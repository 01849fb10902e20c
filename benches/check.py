"""`espm check` with 100,000 nodes that have certificates: published ones, and those that a console lists."""

import os
import statistics
import subprocess
import time

import enc
import ledger
import revoked
from place import Broken, give, run
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
        certify(place, shop, names)
    return found


def certify(place, shop, names):
    """A CA whose command lists the master's certificate, and of each name a record and a line of the inventory."""
    master, at = "master.example.com", lambda *parts: place.path(shop.name, *parts)
    os.mkdir(at("ca", "signed"))
    os.mkdir(at("ssl", "private_keys"))
    ca, key = at("ca", "ca_crt.pem"), at("ca", "ca_key.pem")
    new = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "99"]
    run([*new, "-subj", "/CN=Puppet CA", "-keyout", key, "-out", ca])
    own = at("ssl", "private_keys", f"{master}.pem")
    run([*new, "-subj", f"/CN={master}", "-CA", ca, "-CAkey", key, "-keyout", own, "-out", at("ca", "signed", f"{master}.pem")])
    give(own)
    os.rename(revoked.make_lists(place, shop, ca, key, (0,))[0], at("ca", "ca_crl.pem"))
    times = "2026-01-01T10:00:00UTC 2031-01-01T10:00:00UTC"
    lines = "".join(f"0x{number:04x} {times} /CN={name}\n" for number, name in enumerate(names, 100))
    place.write(shop.name, "ca", "inventory.txt", text=lines)
    for name in names:
        with open(at("records", f"{name}.json"), "w", encoding="utf-8") as file:
            file.write("{}")
    fingerprint = ":".join(["AA"] * 32)
    stub = place.write(shop.name, "puppet", text=f"#!/bin/sh\necho '+ \"{master}\" (SHA256) {fingerprint}'\n", mode=0o755)
    with open(shop.ini, encoding="utf-8") as file:
        text = file.read()
    with open(shop.ini, "w", encoding="utf-8") as file:
        file.write(text.replace("command = /bin/false", f"command = {stub} cert"))


def check(shop):
    """Seconds. No gate runs, so only the lines about nodes have to be right."""
    command = [shop.program("espm"), "-c", shop.ini, "check"]
    begun = time.perf_counter()
    ended = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    took = time.perf_counter() - begun
    right = ("ok    nodes: every node", f"ledger: {NODES} nodes", f"ok    node certificates: {NODES} certificates")
    if not all(line in ended.stdout for line in right):
        raise Broken(f"{shop.name}: {ended.stdout[:2000]}{ended.stderr}")
    return took


def measure(found, quick, note):
    note(f"espm check with {NODES:,} nodes")
    samples = {name: [] for name in found}
    for _ in range(3 if quick else 9):
        for name, shop in found.items():
            samples[name].append(check(shop))
    return {"nodes": NODES, "rows": [{"name": name, "s": statistics.median(samples[name])} for name in samples]}
