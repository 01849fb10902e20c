"""The CA's part of showing a certificate: a revocation list of 200,000 entries beside an empty one."""

import json
import os
import statistics
import subprocess
import time

from place import Broken, USER, give, run

SIZES = (0, 200_000)
NAME = "web01.example.com"


def fill(place, shop):
    """A CA, a certificate of it with espm's record, and a list of each size."""
    at = lambda *names: os.path.join(shop.dir, *names)
    pem = {name: at("ca", name) for name in ("ca_key.pem", "ca_crt.pem", "ca_crl.pem")}
    os.mkdir(at("ca", "signed"))
    signed, lists = at("ca", "signed", f"{NAME}.pem"), {}
    run(["openssl", "req", "-x509", "-newkey", "rsa:4096", "-nodes", "-subj", "/CN=Puppet CA", "-days", "99",
         "-keyout", pem["ca_key.pem"], "-out", pem["ca_crt.pem"]])
    run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={NAME}", "-days", "9",
         "-CA", pem["ca_crt.pem"], "-CAkey", pem["ca_key.pem"], "-keyout", at("leaf_key.pem"), "-out", signed])
    for size in SIZES:
        lists[size] = at(f"list-{size}.pem")
        place.write(shop.name, f"index-{size}", text="".join(
            f"R\t401231000000Z\t251231000000Z,keyCompromise\t{number:06X}\tunknown\t/CN=node{number}\n"
            for number in range(0x100000, 0x100000 + size)))
        settings = f"[ca]\ndefault_ca = c\n[c]\ndatabase = {at(f'index-{size}')}\ndefault_md = sha256\ndefault_crl_days = 9\n"
        configuration = place.write(shop.name, "openssl.cnf", text=settings)
        run(["openssl", "ca", "-config", configuration, "-gencrl", "-cert", pem["ca_crt.pem"], "-keyfile",
             pem["ca_key.pem"], "-out", lists[size]])
    with open(signed, encoding="utf-8") as file:
        record = {"state": "issued", "certificate": file.read()}
    give(place.write(shop.name, "records", f"{NAME}.json", text=json.dumps(record), mode=0o600))
    return lists, pem["ca_crl.pem"]


def show(shop):
    """Milliseconds and MiB of one helper that shows the certificate."""
    program = [shop.program("espm-helper"), "authority", shop.ini]
    command = ["setpriv", "--reuid", USER, "--regid", USER, "--clear-groups", "--", "/usr/bin/time", "-f", "%M", *program]
    request = json.dumps({"verb": "show", "name": NAME, "limit": 60})
    begun = time.perf_counter()
    ended = subprocess.run(command, input=request, capture_output=True, text=True, check=False)
    took = time.perf_counter() - begun
    if '"answer":"there"' not in ended.stdout:
        raise Broken(f"espm-helper: {ended.stdout[:200]}{ended.stderr}")
    return took * 1000, int(ended.stderr.split()[-1]) / 1024


def measure(place, shop, quick, note):
    note(f"a revocation list of {SIZES[-1]:,} entries")
    lists, used = fill(place, shop)
    samples = {size: [] for size in SIZES}
    for _ in range(9 if quick else 31):
        for size, path in lists.items():
            if os.path.lexists(used):
                os.remove(used)
            os.link(path, used)
            samples[size].append(show(shop))
    median = lambda size, at: statistics.median(sample[at] for sample in samples[size])
    rows = [{"entries": size, "ms": median(size, 0), "mib": median(size, 1)} for size in SIZES]
    return {"rows": rows, "more_ms": rows[1]["ms"] - rows[0]["ms"], "more_mib": rows[1]["mib"] - rows[0]["mib"]}
