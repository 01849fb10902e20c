"""A client's GET of a certificate: a revocation list of 200,000 entries beside an empty one."""

import base64
import hashlib
import json
import os
import sqlite3
import ssl
import statistics
import subprocess
import time

from place import Broken, USER, give, run

SIZES = (0, 200_000)
NAME = "web01.example.com"


def key_of(certificate):
    """The SHA-256 of its public key, as a record has it."""
    pem = run(["openssl", "x509", "-in", certificate, "-noout", "-pubkey"]).splitlines()
    return hashlib.sha256(base64.b64decode("".join(pem[1:-1]))).hexdigest().upper()


def record_of(signed, ca):
    """What espm-helper keeps of a certificate that was made."""
    shown = run(["openssl", "x509", "-in", signed, "-noout", "-serial", "-fingerprint", "-sha256", "-dates"])
    serial, fingerprint, begin, end = (line.split("=", 1)[1] for line in shown.splitlines())
    with open(signed, encoding="utf-8") as file:
        made = {
            "key": key_of(signed), "ca": key_of(ca), "serial": serial, "fingerprint": fingerprint,
            "not_before": ssl.cert_time_to_seconds(begin), "not_after": ssl.cert_time_to_seconds(end),
            "certificate": file.read(),
        }
    return {"version": 2, "name": NAME, "state": "settled", "made": [made], "nobodys": []}


def make_lists(place, shop, ca, key, sizes=SIZES):
    lists = {}
    for size in sizes:
        index = place.write(shop.name, f"index-{size}", text="".join(
            f"R\t401231000000Z\t251231000000Z,keyCompromise\t{number:06X}\tunknown\t/CN=node{number}\n"
            for number in range(0x100000, 0x100000 + size)))
        settings = f"[ca]\ndefault_ca = c\n[c]\ndatabase = {index}\ndefault_md = sha256\ndefault_crl_days = 9\n"
        configuration = place.write(shop.name, "openssl.cnf", text=settings)
        lists[size] = place.path(shop.name, f"list-{size}.pem")
        run(["openssl", "ca", "-config", configuration, "-gencrl", "-cert", ca, "-keyfile", key, "-out", lists[size]])
    return lists


def fill(place, shop):
    """A CA, a certificate of it with espm's record, its node in the ledger, and a list of each size."""
    at = lambda *names: place.path(shop.name, *names)
    ca, key, signed = at("ca", "ca_crt.pem"), at("ca", "ca_key.pem"), at("ca", "signed", f"{NAME}.pem")
    os.mkdir(at("ca", "signed"))
    run(["openssl", "req", "-x509", "-newkey", "rsa:4096", "-nodes", "-subj", "/CN=Puppet CA", "-days", "99",
         "-keyout", key, "-out", ca])
    run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={NAME}", "-days", "9",
         "-CA", ca, "-CAkey", key, "-keyout", at("leaf_key.pem"), "-out", signed])
    give(place.write(shop.name, "records", f"{NAME}.json", text=json.dumps(record_of(signed, ca)), mode=0o600))
    database = sqlite3.connect(os.path.join(shop.state, "ledger.sqlite"))
    with database:
        empty = '{"groups":[],"classes":[],"parameters":{}}'
        database.execute("INSERT INTO node VALUES (?, 'active', ?, NULL, NULL, 'bench', 1795000000, 'cloud')", (NAME, empty))
        database.execute("INSERT INTO certificate (name, state) VALUES (?, 'issued')", (NAME,))
    database.close()
    return make_lists(place, shop, ca, key), at("ca", "ca_crl.pem")


def show(shop):
    """Milliseconds, and MiB of the largest process, of one request that shows the certificate."""
    variables = ["=".join(pair) for pair in shop.variables(f"/v1/nodes/{NAME}/certificate").items()]
    as_gate = ["setpriv", "--reuid", USER, "--regid", USER, "--clear-groups", "--"]
    command = [*as_gate, "env", "-i", *variables, "/usr/bin/time", "-f", "%M", shop.program("espm")]
    begun = time.perf_counter()
    ended = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    took = time.perf_counter() - begun
    if not ended.stdout.startswith("Status: 200"):
        raise Broken(f"{NAME}: {ended.stdout[:500]}{ended.stderr}")
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
