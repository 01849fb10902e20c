"""A thousand adds at once, by clients that come back when they are told to."""

import asyncio
import time

import memory
from client import Closed, Connection, allow_connections, trusting
from place import Broken

ADDS = 1000


def measure(shop, console, note):
    note(f"{ADDS} adds at once")
    allow_connections(ADDS)
    console.forget()
    before = memory.of(shop.gate.pid)
    start = time.monotonic()
    with memory.Peak([shop.gate.pid]) as peak:
        outcomes = asyncio.run(all_of(shop))
    total = time.monotonic() - start
    ours, unfinished = shop.nodes()
    ours = [name for name in ours if name.startswith("storm")]
    made = console.nodes()
    created = {name for name, tries in outcomes if tries is not None}
    # Lost: said to be made and not there, or there and not ours; or never answered.
    lost = len(created - set(made)) + len(created ^ set(ours)) + ADDS - len(created) + len(unfinished)
    if len(made) != len(set(made)):
        raise Broken("a node was added twice")
    return {
        "adds": ADDS, "total_s": total, "lost": lost, "most_rakes": console.most_at_once(),
        "tries": sum(tries for _, tries in outcomes if tries is not None),
        "idle_mib": before, "load_mib": peak.mib, "after_mib": memory.of(shop.gate.pid),
    }


async def all_of(shop):
    context = trusting(shop.certificate)
    return await asyncio.gather(*(add(shop, context, f"storm{number}.example.com") for number in range(ADDS)))


async def add(shop, context, name):
    """Asks until it is answered with a success: the tries that it took, none if it was refused for good."""
    connection = Connection(context, shop.url("/"))
    body = {"name": name, "classes": ["profile::application_001"], "parameters": {"role": "web"}}
    try:
        for tries in range(1, 1000):
            try:
                answer = await connection.ask("POST", "/v1/nodes", shop.psk, body, key=name)
            except (Closed, ConnectionError):
                # What a client does that has heard nothing: the same request again, with the same key.
                connection.close()
                continue
            if answer.status == 201:
                return name, tries
            if answer.status != 503 or "retry-after" not in answer.headers:
                return name, None
            await asyncio.sleep(int(answer.headers["retry-after"]))
        return name, None
    finally:
        connection.close()
