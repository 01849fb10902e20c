"""Requests a second and memory as bars, in plain SVG that can be read in light and in dark."""

from xml.sax.saxutils import escape

import report

WIDTH, LABEL, BAR, GAP = 860, 210, 16, 6
OURS, OTHERS = "#2f7d5b", "#8a94a6"
STYLE = """
    text { font: 12px system-ui, sans-serif; fill: #24292f; }
    .title { font-weight: 600; font-size: 14px; }
    .value { font-size: 11px; }
    .ground { fill: #ffffff; }
    @media (prefers-color-scheme: dark) { text { fill: #e6edf3; } .ground { fill: #0d1117; } }
"""


def panel(title, rows, top):
    """A title and a bar for each (name, value); gives the lines and where the next panel begins."""
    room = WIDTH - LABEL - 90
    most = max(value for _, value in rows)
    lines = [f'<text class="title" x="10" y="{top + 14}">{escape(title)}</text>']
    y = top + 26
    for name, value in rows:
        length = max(1.0, room * value / most)
        colour = OURS if name.startswith("espm") else OTHERS
        lines += [
            f'<text x="{LABEL - 8}" y="{y + 12}" text-anchor="end">{escape(name)}</text>',
            f'<rect x="{LABEL}" y="{y}" width="{length:.1f}" height="{BAR}" fill="{colour}"/>',
            f'<text class="value" x="{LABEL + length + 5:.1f}" y="{y + 12}">{report.number(value)}</text>',
        ]
        y += BAR + GAP
    return lines, y + 14


def draw(figures):
    # A static file is the web server's ceiling and would make all the others' bars alike.
    compared = [one for one in figures["rows"] if not one["name"].startswith("nginx")]
    with_memory = [one for one in figures["rows"] if one["load_mib"] is not None]
    panels = [
        ("Requests a second, 1 at a time", [(one["name"], one["rate_1"]) for one in compared]),
        ("Requests a second, 32 at a time", [(one["name"], one["rate_32"]) for one in compared]),
        ("Memory idle, MiB (Pss of the process tree)", [(one["name"], one["idle_mib"]) for one in with_memory]),
        ("Memory with 32 at a time, MiB, the most", [(one["name"], one["load_mib"]) for one in with_memory]),
    ]
    top, lines = 10, []
    for title, rows in panels:
        drawn, top = panel(title, rows, top)
        lines += drawn
    body = "\n  ".join(lines)
    return f"""<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{top}" viewBox="0 0 {WIDTH} {top}" role="img">
  <title>espm beside its peers: requests a second and memory</title>
  <style>{STYLE}  </style>
  <rect class="ground" width="{WIDTH}" height="{top}"/>
  {body}
</svg>
"""
