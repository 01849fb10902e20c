"""Measures espm beside what a shop would run in its place, and prints one table.

Nothing is asserted about time. The exit code is 1 only when something does not work.
"""

import argparse
import json
import os
import signal
import sys
import time

import certificates
import check
import commands
import enc
import ledger
import plot
import publish
import report
import revoked
import slow
import storm
import throughput
from load import Spawn
from peers import WRONG, Peers, Target
from place import Broken, Place, answers, run
from shop import Console, Shop, nginx_config

PROGRAMS = ("espm", "espm-setup", "espm-helper", "espm-enc")


def arguments():
    parser = argparse.ArgumentParser(prog="benches/run", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="about three minutes: fewer and shorter rounds")
    parser.add_argument("--json", metavar="FILE", help="write the figures here")
    parser.add_argument("--plot", metavar="FILE", help="draw requests a second and memory here (SVG)")
    parser.add_argument("--page", metavar="FILE", help="put the tables between the marks of this page, docs/figures.md")
    for internal in ("--programs", "--spawn", "--cherrypy"):
        parser.add_argument(internal, required=True, help=argparse.SUPPRESS)
    return parser.parse_args()


def note(what):
    print(f"{time.strftime('%H:%M:%S')}  load {os.getloadavg()[0]:5.2f}  {what}", file=sys.stderr, flush=True)


def start_syslog(place):
    """A real one, since each request has its record."""
    configuration = place.write("rsyslog.conf", text=f"""module(load="imuxsock" SysSock.Use="off")
input(type="imuxsock" Socket="{place.path("log.sock")}" CreatePath="off" RateLimit.Interval="0")
*.* action(type="omfile" file="{place.path("audit.log")}")
""")
    place.start("rsyslogd", ["rsyslogd", "-n", "-f", configuration, "-i", place.path("rsyslogd.pid")], as_root=True)
    place.wait_until("rsyslogd listens", lambda: os.path.exists(place.path("log.sock")))
    os.chmod(place.path("log.sock"), 0o666)


def install(place, programs):
    """Where www-data can run them."""
    own = place.directory("bin")
    for name in PROGRAMS:
        run(["install", "-m", "0755", os.path.join(programs, name), own])
    return own


def measure(place, options):
    load_before = os.getloadavg()
    programs, spawn, console = install(place, options.programs), Spawn(place, options.spawn), Console(place)
    start_syslog(place)
    shop = lambda name, command, *keys: Shop(place, programs, name, command, keys)
    cached = shop("cached", console.stub, "cache = 3600")
    uncached = shop("uncached", console.stub, "cache = 0")
    console_shop = shop("commands", console.rake, f"environment = CONSOLE={console.dir} PAUSE=0", "concurrency = 2")
    rake = commands.Rake(place)
    cold, warm = shop("cold", rake.command), shop("warm", rake.command)
    ledgers = {size: shop(f"ledger-{size}", console.rake) for size in ledger.SIZES}
    for one in (cached, uncached, console_shop, cold, warm):
        one.start_gate()
    peers = Peers(place, console, cached, options.cherrypy)
    vhosts = "".join(one.vhost() for one in (cached, uncached, console_shop, cold, warm))
    configuration = place.write("nginx.conf", text=nginx_config(place, vhosts + peers.server()))
    nginx = place.start("nginx", ["nginx", "-e", place.path("nginx.log"), "-c", configuration], as_root=True)
    place.wait_until("nginx listens", lambda: answers(cached.port))

    def target(name, one, psk=None, refused=False):
        return Target(name, one.url("/v1/classes"), psk or one.psk, [one.gate.pid], refused)

    targets = [
        peers.static(nginx), peers.cherrypy, *peers.fcgiwrap.values(), peers.webhook,
        target("espm, cached", cached), target("espm, uncached", uncached),
        target("espm, refused", cached, WRONG, refused=True),
    ]
    figures = {"rows": throughput.measure(place, targets, spawn, console.stub, options.quick, note)}
    figures["slow"] = slow.measure(peers, console, console_shop, options.quick, note)
    figures["commands"] = commands.added(console_shop, console, spawn, options.quick, note)
    rake.start_worker(warm)
    figures["commands"] |= commands.cold_and_warm(rake, cold, warm, spawn, options.quick, note)
    console_shop.configure("cache = 3600")
    figures["storm"] = storm.measure(console_shop, console, note)
    figures["ledger"] = ledger.measure(ledgers, spawn, options.quick, note)
    figures["revoked"] = revoked.measure(place, shop("revoked", console.stub), options.quick, note)
    figures["publish"] = publish.measure(place, shop("publish", console.stub), note)
    figures["check"] = check.measure(check.shops(place, programs, console), options.quick, note)
    figures["enc"] = enc.measure(place, programs, spawn, options.quick, note)
    figures["certificates"] = certificates.measure(place, programs, options.quick, note)
    figures["machine"] = report.machine(load_before, options.quick)
    return figures


def main():
    options = arguments()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(130))
    place = Place()
    try:
        figures = measure(place, options)
    except Broken as error:
        print(f"benches/run: {error}", file=sys.stderr)
        return 1
    finally:
        place.close()
    figures["ratios"] = report.ratios(figures)
    print(report.text(figures))
    for path, content in (
        (options.json, lambda: json.dumps(figures, indent=2) + "\n"),
        (options.page, lambda: report.put_into(options.page, figures)),
        (options.plot, lambda: plot.draw(figures)),
    ):
        if path:
            written = content()
            with open(path, "w", encoding="utf-8") as file:
                file.write(written)
    return 0


if __name__ == "__main__":
    sys.exit(main())
