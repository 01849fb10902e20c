"""The figures as text, as Markdown for docs/figures.md, and as the ratios that the goals are about."""

import os
import time

from place import Broken


def machine(load_before, quick):
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        model = next((line.split(":")[1].strip() for line in file if line.startswith("model name")), "unknown")
    return {
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "processors": os.cpu_count(), "model": model,
        "kernel": os.uname().release, "quick": quick, "load_before": load_before[0], "load_after": os.getloadavg()[0],
    }


def row(figures, section, name):
    return next(one for one in figures[section] if one["name"] == name)


def certificates(figures):
    """Nothing of it was measured where no Puppet server is installed."""
    measured = figures["certificates"] or {}
    burst = measured.get("burst", {})
    return {
        "certificate_api_vs_command": measured.get("vs_command"),
        "certificate_api_vs_command_default": measured.get("vs_default"),
        "certificate_p256_vs_command_default": measured.get("p256_vs_default"),
        "revoke_api_vs_command": measured.get("revoke_vs_command"),
        "burst_100_launches_s": burst.get("total_s"),
        "burst_lost": burst.get("lost"),
        "burst_health_ms": burst.get("health_ms"),
    }


def ratios(figures):
    cached = row(figures, "rows", "espm, cached")
    return {
        "cached_vs_stub_1": cached["vs_stub_1"],
        "cached_vs_stub_32": cached["vs_stub_32"],
        "gate_idle_mib": cached["idle_mib"],
        "gate_idle_after_load_mib": cached["idle_after_mib"],
        "added_ms_per_command": figures["commands"]["added_ms"],
        "warm_vs_cold_add": figures["commands"]["warm_vs_cold"],
        "refused_ms_under_storm": row(figures, "slow", "espm, adds")["refused_ms"],
        "ledger_million_vs_thousand": figures["ledger"]["ratio"],
        "enc_vs_cat": figures["enc"]["ratio"],
        "get_certificate_long_crl_ms": figures["revoked"]["more_ms"],
        "get_certificate_long_crl_mib": figures["revoked"]["more_mib"],
        "check_100000_nodes_s": max(one["s"] for one in figures["check"]["rows"]),
        "publish_changed_s": row(figures["publish"], "rows", "a group of half of them changed")["s"],
        "publish_changed_mib": row(figures["publish"], "rows", "a group of half of them changed")["mib"],
        **certificates(figures),
        "max_rakes_in_storm": figures["storm"]["most_rakes"],
        "lost_in_storm": figures["storm"]["lost"],
    }


def number(value, digits=None):
    """Three figures, or what is wanted; a dash for what was not measured."""
    if value is None:
        return "–"
    if digits is None:
        digits = 0 if value >= 100 else 1 if value >= 10 else 2
    return f"{value:,.{digits}f}"


def tables(figures):
    """Each table: its title, its heads, its rows of text; the first column is a name."""
    yield "A list of 200 classes over TLS, requests a second (median; ratio to the bare stub)", [
        "", "1 at a time", "best", "p50 / p99 ms", "ratio", "32 at a time", "best", "p50 / p99 ms", "ratio",
        "MiB idle", "MiB loaded",
    ], [
        [one["name"]] + [cell for at_once in (1, 32) for cell in (
            number(one[f"rate_{at_once}"], 0), number(one[f"best_{at_once}"], 0),
            f'{number(one[f"p50_ms_{at_once}"])} / {number(one[f"p99_ms_{at_once}"])}',
            number(one[f"vs_stub_{at_once}"], 2),
        )] + [number(one["idle_mib"], 1), number(one["load_mib"], 1)]
        for one in figures["rows"]
    ]
    yield "32 requests at once for a command of 1 s", [
        "", "commands at once", "all done after s", "health meanwhile ms", "refused meanwhile ms", "worst ms",
    ], [
        [one["name"], str(one["most_at_once"]), number(one["total_s"]), number(one["health_ms"]),
         number(one["refused_ms"]), number(max(one["health_worst_ms"], one["refused_worst_ms"]))]
        for one in figures["slow"]
    ]
    yield from details(figures)


def details(figures):
    storm, command, enc = figures["storm"], figures["commands"], figures["enc"]
    yield f"{storm['adds']:,} adds at once", ["", ""], [
        ["console commands at once, the most", str(storm["most_rakes"])],
        ["nodes lost", str(storm["lost"])],
        ["all added after, s", number(storm["total_s"])],
        ["requests, those that were told to come back included", f"{storm['tries']:,}"],
        ["MiB of the gate and its handlers: before, most, after",
         " / ".join(number(storm[f"{when}_mib"], 1) for when in ("idle", "load", "after"))],
    ]
    yield "One command of the console, ms", ["", ""], [
        ["node:add, a stub, run directly", number(command["bare_ms"])],
        ["the same through espm", number(command["espm_ms"])],
        ["what espm adds", number(command["added_ms"])],
        ["node:add, rake, run directly", number(command["rake_bare_ms"])],
        ["the same through espm, cold", number(command["rake_cold_ms"])],
        ["the same through espm, warm", number(command["rake_warm_ms"])],
    ]
    if measured := figures["certificates"]:
        yield f"A certificate of Puppet Server, {measured['revoked']:,} entries in the revocation list, ms", ["", ""], [
            [one["name"], number(one["ms"])] for one in measured["rows"]
        ]
        burst = measured.get("burst")
    if measured and burst:
        yield f"{burst['launches']} nodes with certificates at once, P-256", ["", ""], [
            ["all done after, s", number(burst["total_s"])],
            ["lost or double", str(burst["lost"])],
            ["health meanwhile, ms", number(burst["health_ms"])],
        ]
    yield "GET of a certificate", ["", "ms", "MiB"], [
        [f"{one['entries']:,} entries in the revocation list", number(one["ms"]), number(one["mib"], 1)]
        for one in figures["revoked"]["rows"]
    ]
    yield f"espm publish, {figures['publish']['nodes']:,} nodes", ["", "s", "MiB"], [
        [one["name"], number(one["s"]), number(one["mib"], 1)] for one in figures["publish"]["rows"]
    ]
    yield f"espm check with {figures['check']['nodes']:,} nodes, s", ["", ""], [
        [one["name"], number(one["s"])] for one in figures["check"]["rows"]
    ]
    yield "One node, ms", ["", ""], [
        *([f"a handler that shows it, {one['nodes']:,} nodes in the ledger", number(one["ms"])]
          for one in figures["ledger"]["rows"]),
        *([f"{one['name']}, {enc['nodes']:,} nodes", number(one["ms"])] for one in enc["rows"]),
    ]


def text(figures):
    parts = [headline(figures)]
    for title, heads, rows in tables(figures):
        lines = [heads, *rows] if any(heads) else rows
        widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
        parts.append(title)
        for line in lines:
            cells = [cell.ljust(width) if at == 0 else cell.rjust(width)
                     for at, (cell, width) in enumerate(zip(line, widths, strict=True))]
            parts.append("  " + "  ".join(cells))
        parts.append("")
    parts.append("Ratios")
    parts += [f"  {name:28} {number(value, 3)}" for name, value in ratios(figures).items()]
    return "\n".join(parts)


def headline(figures):
    here = figures["machine"]
    return (
        f"{here['at']}, {here['processors']} processors ({here['model']}), Linux {here['kernel']}, "
        f"load {here['load_before']:.2f} before and {here['load_after']:.2f} after"
        f"{', quick' if here['quick'] else ''}\n"
    )


def markdown(figures):
    parts = [headline(figures)]
    for title, heads, rows in tables(figures):
        # The best rounds are for whom the medians puzzle.
        kept = [column for column, head in enumerate(heads) if head != "best"]
        lines = [[line[column] for column in kept] for line in (heads, *rows)]
        lines.insert(1, ["---", *["---:"] * (len(kept) - 1)])
        parts += [f"**{title}**", "", *(f"| {' | '.join(line)} |" for line in lines), ""]
    return "\n".join(parts)


BEGIN, END = "<!-- figures of benches/run -->", "<!-- end of the figures -->"


def put_into(path, figures):
    """The text of a file with these figures in place of those between its two marks."""
    with open(path, encoding="utf-8") as file:
        before, _, rest = file.read().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        raise Broken(f"{path}: has no lines {BEGIN} and {END}")
    return f"{before}{BEGIN}\n\n{markdown(figures)}\n{END}{after}"
