"""Requests a second, latencies and memory: the list of 200 classes, one and 32 clients at a time."""

import memory
from load import Sample, alternate, median, ratio, wrk

AT_ONCE = (1, 32)


def measure(place, targets, spawn, stub, quick, note):
    """A row for each target and for the bare stub."""
    rounds, seconds = (2, 1) if quick else (5, 3)
    peaks = {target.name: 0.0 for target in targets}

    def ask(target, at_once):
        def once() -> Sample:
            with memory.Peak(target.roots) as peak:
                sample = wrk(place, target, at_once, seconds)
            peaks[target.name] = max(peaks[target.name], peak.mib)
            return sample

        return once

    idle = {target.name: memory.of(*target.roots) for target in targets}
    samples = {}
    for at_once in AT_ONCE:
        note(f"the list, {at_once} at a time")
        asks = {"bare stub": lambda at_once=at_once: spawn(at_once, seconds, "--", stub)}
        asks |= {target.name: ask(target, at_once) for target in targets}
        samples[at_once] = alternate(rounds, asks)
        place.check()

    after = {target.name: memory.of(*target.roots) for target in targets}
    rows = []
    for name in samples[1]:
        row = {"name": name, "idle_mib": idle.get(name), "load_mib": peaks.get(name), "idle_after_mib": after.get(name)}
        for at_once in AT_ONCE:
            own, stubs = samples[at_once][name], samples[at_once]["bare stub"]
            row[f"rate_{at_once}"] = median(own, lambda sample: sample.rate)
            row[f"best_{at_once}"] = max(sample.rate for sample in own)
            row[f"p50_ms_{at_once}"] = median(own, lambda sample: sample.p50)
            row[f"p99_ms_{at_once}"] = median(own, lambda sample: sample.p99)
            row[f"vs_stub_{at_once}"] = ratio(own, stubs, lambda sample: sample.rate)
        rows.append(row)
    return rows
