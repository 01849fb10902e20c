"""espm-enc for one of 100,000 nodes, beside shell scripts that print the same file."""

import os

from load import alternate, median, ratio

NODES = 100_000
YAML = '---\nclasses:\n  "profile::application_001": {}\nparameters:\n  "role": "web"\n'


def measure(place, programs, spawn, quick, note):
    note(f"espm-enc among {NODES:,} nodes")
    published = place.directory("published")
    for number in range(NODES):
        with open(os.path.join(published, f"node{number}.example.com.yaml"), "w", encoding="utf-8") as file:
            file.write(YAML)
    configuration = place.write("enc.ini", text=f"[enc]\npublished = {published}\n")
    scripts = {
        "sh, cat": place.write("cat", text=f'#!/bin/sh\ncat "{published}/$1.yaml"\n', mode=0o755),
        "sh, exec cat": place.write("exec-cat", text=f'#!/bin/sh\nexec cat "{published}/$1.yaml"\n', mode=0o755),
    }
    commands = {"espm-enc": [os.path.join(programs, "espm-enc"), "-c", configuration]}
    commands |= {name: [script] for name, script in scripts.items()}

    def once(command):
        return spawn(1, 1, "--", *command, "node{}.example.com", among=NODES)

    asks = {name: lambda command=command: once(command) for name, command in commands.items()}
    samples = alternate(3 if quick else 9, asks)
    p50 = lambda sample: sample.p50
    return {
        "nodes": NODES,
        "rows": [{"name": name, "ms": median(samples[name], p50)} for name in samples],
        # The faster of the two scripts, which starts one process less.
        "ratio": ratio(samples["espm-enc"], samples["sh, exec cat"], p50),
    }
