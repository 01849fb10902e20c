"""The two ways to ask: wrk over HTTPS with connections that stay open, and a program in a tight loop."""

import json
import os
import statistics
import subprocess

from place import Broken, run

# wrk's own text has neither the 99th percentile in a fixed unit nor the count of refusals apart.
SCRIPT = """
wrk.headers["X-ESPM-PSK"] = "%s"
done = function(summary, latency)
    local errors = summary.errors
    io.stderr:write(string.format(
        '{"requests": %%d, "seconds": %%f, "p50_ms": %%f, "p99_ms": %%f, "refused": %%d, "broken": %%d}\\n',
        summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
        errors.status, errors.connect + errors.read + errors.write + errors.timeout))
end
"""


class Sample:
    """One measurement: how many a second, and the latencies of most in milliseconds."""

    def __init__(self, rate, p50, p99):
        self.rate, self.p50, self.p99 = rate, p50, p99


def wrk(place, target, at_once, seconds):
    script = place.write("wrk.lua", text=SCRIPT % target.psk, mode=0o600)
    command = ["wrk", "-t1", f"-c{at_once}", f"-d{seconds}s", "--timeout", "30s", "-s", script, target.url]
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    try:
        found = json.loads(done.stderr.splitlines()[-1])
    except (IndexError, ValueError):
        raise Broken(f"{target.name}: wrk: {done.stdout}{done.stderr}") from None
    expected = found["requests"] if target.refused else 0
    if found["requests"] == 0 or found["refused"] != expected or found["broken"]:
        raise Broken(f"{target.name}, {at_once} at a time: not what was asked for: {found}")
    return Sample(found["requests"] / found["seconds"], found["p50_ms"], found["p99_ms"])


class Spawn:
    """Starts programs as www-data."""

    def __init__(self, place, program):
        self.program = place.path("spawn")
        run(["install", "-m", "0755", program, self.program])

    def __call__(self, at_once, seconds, *words, among=1, environment=None):
        command = [
            "setpriv", "--reuid", "www-data", "--regid", "www-data", "--clear-groups", "--", self.program,
            str(at_once), str(seconds), "--among", str(among), *words,
        ]
        bare = {"PATH": os.environ["PATH"]} if environment is None else environment
        found = json.loads(run(command, environment=bare))
        return Sample(found["runs"] / found["seconds"], found["p50_ms"], found["p99_ms"])


def alternate(rounds, measurements):
    """Runs named measurements by turns, so that a busy moment of the machine meets them all."""
    samples = {name: [] for name in measurements}
    for _ in range(rounds):
        for name, measure in measurements.items():
            samples[name].append(measure())
    return samples


def ratio(samples, base, value):
    """The median of the rounds' ratios, for both sides of one round saw the same machine."""
    return statistics.median(value(one) / value(other) for one, other in zip(samples, base, strict=True))


def median(samples, value):
    return statistics.median(value(sample) for sample in samples)
