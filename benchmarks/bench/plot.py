"""Plots as SVG text, from figures alone. No library, and the same text for the same figures."""

import math
from html import escape

COLOURS = {"ours": "#2563eb", "Flink": "#d97706", "read only": "#8b949e"}
STYLE = """<style>
text { font: 13px system-ui, sans-serif; fill: #1f2328 }
.title { font-weight: 600 }
.quiet { fill: #59636e }
.line { stroke: #d1d9e0 }
.whisker { stroke: #1f2328; stroke-opacity: .6 }
@media (prefers-color-scheme: dark) {
  text { fill: #f0f6fc } .quiet { fill: #9198a1 } .line { stroke: #3d444d } .whisker { stroke: #f0f6fc }
}
</style>"""
NAME_WIDTH, PANEL_WIDTH, VALUE_WIDTH, ROW = 300, 250, 70, 24
TOP = 46


def svg(width, height, parts):
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" role="img">\n'
            + "\n".join([STYLE, *parts]) + "\n</svg>\n")


def text(x, y, words, anchor="start", kind=None):
    of_kind = f' class="{kind}"' if kind else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{of_kind}>{escape(words)}</text>'


def line(x1, y1, x2, y2, kind="line"):
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def bars(rows, panels):
    """Rows of (engine, name, [(low, middle, high) or None for each panel]) side by side; panels are (title, format)."""
    width = NAME_WIDTH + len(panels) * (PANEL_WIDTH + VALUE_WIDTH)
    parts = []
    engine_before = None
    y = TOP
    places = []
    for engine, _, _ in rows:
        y += 14 if engine != engine_before else 0
        places.append(y)
        engine_before = engine
        y += ROW
    for (engine, name, _), at in zip(rows, places):
        parts.append(text(NAME_WIDTH - 10, at + 16, f"{engine}: {name}", "end"))
    for index, (title, form) in enumerate(panels):
        left = NAME_WIDTH + index * (PANEL_WIDTH + VALUE_WIDTH)
        most = max(values[index][2] for _, _, values in rows if values[index])
        parts.append(text(left, 24, title, kind="title"))
        parts.append(line(left, TOP, left, y))
        for (engine, _, values), at in zip(rows, places):
            if not values[index]:
                continue
            low, middle, high = (value / most * PANEL_WIDTH for value in values[index])
            parts.append(f'<rect x="{left}" y="{at + 4}" width="{middle:.1f}" height="{ROW - 8}" rx="2" fill="{COLOURS[engine]}"/>')
            parts.append(line(left + low, at + ROW / 2, left + high, at + ROW / 2, "whisker"))
            parts.append(text(left + max(middle, high) + 6, at + 16, form.format(values[index][1]), kind="quiet"))
    return svg(width, y + 14, parts)


def course(points, series, title, across):
    """Lines over a count: `points` are dictionaries, `across` names what runs to the right, series are (key, label, colour)."""
    width, height, left, right, bottom = 780, 300, 60, 740, 258
    most_x = max(point[across] for point in points)
    most_y = nice(max(point[key] for point in points for key, _, _ in series))
    parts = [text(left, 24, title, kind="title")]
    for part in range(5):
        value = most_y * part / 4
        y = bottom - (bottom - TOP) * part / 4
        parts += [line(left, y, right, y), text(left - 8, y + 4, f"{value:g}", "end", "quiet")]
    for part in range(5):
        x = left + (right - left) * part / 4
        parts.append(text(x, bottom + 20, f"{most_x * part / 4:,.0f}", "middle", "quiet"))
    parts.append(text((left + right) / 2, bottom + 38, across, "middle", "quiet"))
    for index, (key, label, colour) in enumerate(series):
        places = " ".join(f"{left + (right - left) * point[across] / most_x:.1f},{bottom - (bottom - TOP) * point[key] / most_y:.1f}"
                          for point in points)
        parts.append(f'<polyline points="{places}" fill="none" stroke="{colour}" stroke-width="2"/>')
        x = right - 90 * (len(series) - index)
        parts += [f'<rect x="{x}" y="14" width="12" height="12" rx="2" fill="{colour}"/>', text(x + 18, 24, label, kind="quiet")]
    return svg(width, height, parts)


def nice(value):
    """The next of 1, 2, 4, 6, 8 × a power of ten: a scale whose quarters can be read."""
    power = 10 ** math.floor(math.log10(max(value, 1e-9)))
    return next(step * power for step in (1, 2, 4, 6, 8, 10) if step * power >= value)
