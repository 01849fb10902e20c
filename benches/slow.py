"""Thirty-two requests at once, each for a command of one second; and others meanwhile."""

import asyncio
import statistics
import time

from client import allow_connections, ask_once, trusting
from peers import WRONG
from place import Broken

REQUESTS = 32


def measure(peers, console, shop, quick, note):
    """A row for each peer, and one for espm: adds, of which each needs a command of its own, and lists, which share."""
    context, theirs = trusting(shop.certificate), trusting(peers.certificate)
    rows = []
    # One process at a time takes 32 seconds.
    fcgiwraps = [peers.fcgiwrap[8]] if quick else list(peers.fcgiwrap.values())
    for target in (peers.cherrypy, *fcgiwraps, peers.webhook):
        note(f"slow commands: {target.name}")
        slow = lambda target=target: ask_once(theirs, target.slow, target.psk)
        rows.append(asyncio.run(storm(console, theirs, target.name, slow, target.health, target.slow)))
    numbers = iter(range(REQUESTS))

    def add():
        node = {"name": f"slow{next(numbers)}.example.com", "classes": ["profile::application_001"]}
        return ask_once(context, shop.url("/v1/nodes"), shop.psk, "POST", node)

    def fresh():
        return ask_once(context, shop.url("/v1/classes"), shop.psk)

    health, refused = shop.url("/v1/health"), shop.url("/v1/classes")
    # The list, which the adds compare with.
    shop.configure("cache = 3600")
    asyncio.run(fresh())
    for name, pause, cache, ask in (("espm, adds", 1, 3600, add), ("espm, lists", 1, 0, fresh)):
        note(f"slow commands: {name}")
        shop.configure(f"environment = CONSOLE={console.dir} PAUSE={pause}")
        shop.configure(f"cache = {cache}")
        rows.append(asyncio.run(storm(console, context, name, ask, health, refused)))
    return rows


async def storm(console, context, name, ask, health, refused):
    allow_connections(REQUESTS)
    console.forget()
    start = time.monotonic()
    asked = [asyncio.ensure_future(ask()) for _ in range(REQUESTS)]
    # They are under way when the first command runs.
    while console.most_at_once() == 0 and not any(one.done() for one in asked):
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.2)
    times = {"health": [], "refused": []}
    while not times["health"] or not all(one.done() for one in asked):
        times["health"].append(await timed(name, ask_once(context, health, ""), 200))
        times["refused"].append(await timed(name, ask_once(context, refused, WRONG), 401))
        await asyncio.sleep(0.1)
    answers = await asyncio.gather(*asked)
    total = time.monotonic() - start
    if any(answer.status not in (200, 201) for answer in answers):
        raise Broken(f"{name}: {[(answer.status, answer.body) for answer in answers]}")
    return {
        "name": name, "most_at_once": console.most_at_once(), "total_s": total,
        "health_ms": statistics.median(times["health"]), "health_worst_ms": max(times["health"]),
        "refused_ms": statistics.median(times["refused"]), "refused_worst_ms": max(times["refused"]),
    }


async def timed(name, ask, status):
    answer = await ask
    if answer.status != status:
        raise Broken(f"{name}: {answer.status} instead of {status}: {answer.body}")
    return answer.seconds * 1000
