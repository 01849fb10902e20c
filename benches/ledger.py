"""One handler that shows a node: a ledger of a thousand nodes beside one of a million."""

import os
import sqlite3

from load import alternate, median, ratio

SIZES = (1_000, 1_000_000)


def fill(shop, count):
    database = sqlite3.connect(os.path.join(shop.state, "ledger.sqlite"))
    assignment = '{"groups":["default"],"classes":["profile::application_001"],"parameters":{"role":"web"}}'
    with database:
        database.executemany(
            "INSERT INTO node (name, state, assignment, request, since, client) "
            "VALUES (?, 'active', ?, 'bench', 1795000000, 'cloud')",
            sorted((f"node{number}.example.com", assignment) for number in range(count)),
        )
    database.close()


def measure(shops, spawn, quick, note):
    """`shops` has one for each size; milliseconds of each, and their ratio."""
    for size, shop in shops.items():
        note(f"a ledger of {size:,} nodes")
        fill(shop, size)

    def show(size):
        return spawn(1, 1, *shops[size].handler("/v1/nodes/node{}.example.com"), among=size)

    small, large = SIZES
    samples = alternate(3 if quick else 9, {size: lambda size=size: show(size) for size in shops})
    times = {size: median(samples[size], lambda sample: sample.p50) for size in shops}
    return {
        "rows": [{"nodes": size, "ms": times[size]} for size in shops],
        "ratio": ratio(samples[large], samples[small], lambda sample: sample.p50),
    }
