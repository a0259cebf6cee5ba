"""The results as one page that needs nothing else: the table, and plots as SVG that is drawn here. Pure."""

import math
from collections.abc import Mapping, Sequence
from html import escape
from statistics import median
from typing import Any

from benchmarks.figures import Line, shown

WIDTH, HEIGHT = 510, 280
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 130, 16, 40
_BAR_HEIGHT, _BAR_LEFT = 26, 190
_POINTS_MAX = 400  # Of a line; more than that nobody sees.
_COLORS = 8

_STYLE = """
:root { color-scheme: light dark; --ink: #1c2330; --dim: #66708a; --line: #d8dde8; --paper: #fff; --bad: #b3261e;
  --good: #1b7f4b; --c0: #2f6fde; --c1: #c2571a; --c2: #12805c; --c3: #9a3fb5; --c4: #a87b00; --c5: #c0305a;
  --c6: #3a7f95; --c7: #6b6f2b; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9f0; --dim: #98a2b8; --line: #343c4d; --paper: #14181f;
  --bad: #ff8a80; --good: #6fd6a2; --c0: #7fa9ff; --c1: #ff9f66; --c2: #5fd0a8; --c3: #d79bea; --c4: #e8c04d;
  --c5: #ff86a8; --c6: #7cc6dd; --c7: #c3c96d; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 1080px;
  margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem } h2 { font-size: 1.1rem; margin-top: 2.2rem }
p { color: var(--dim) } .scroll { overflow-x: auto }
table { border-collapse: collapse; width: 100% } th, td { text-align: left; padding: .3rem .6rem;
  border-bottom: 1px solid var(--line); vertical-align: top } td.n { text-align: right; white-space: nowrap;
  font-variant-numeric: tabular-nums } .yes { color: var(--good) } .no { color: var(--bad); font-weight: 600 }
figure { display: inline-block; margin: .5rem 1rem .5rem 0; vertical-align: top; max-width: 100% }
figcaption { color: var(--dim) } svg { max-width: 100%; height: auto } svg text { fill: var(--ink); font-size: 12px }
svg .grid { stroke: var(--line) } svg .dim { fill: var(--dim) }
"""


def page(results: Mapping[str, Any], lines: Sequence[Line]) -> str:
    """The page of what results.json holds, as plain JSON values, and of the lines of its table."""
    on, about = results["on"], results["about"]
    parts = [
        f"<h1>How fast it is: {escape(str(results['benchmark']))}</h1>",
        f"<p>Commit {escape(str(on['commit']))}, {on['processors']} processors, {on['memory_gib']} GiB,"
        f" {escape(on['system'])}, Python {escape(on['python'])}, PostgreSQL {escape(on['postgresql'])};"
        f" {on['made']}; {about['seconds']:,} s. Ratios hold on a noisy machine; what has a unit is of this one.</p>",
        _table(lines),
        _section(
            "Events or answers a second",
            [bars(name, _medians(cases)) for name, cases in results["rates"].items() if len(cases) > 1],
        ),
        _section("Cost against the length of the log", [*_over_length(results["over_length"])]),
        _section("Bytes of an event on disk", [*_storage(results["storage"])]),
        _section("Memory", [*_memory(results["memory"])]),
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>Benchmarks</title>'
        '<meta name="viewport" content="width=device-width">'
        f"<style>{_STYLE}</style></head><body>\n" + "\n".join(filter(None, parts)) + "\n</body></html>\n"
    )


def bars(title: str, values: Mapping[str, float]) -> str:
    """A bar a name, the first of another color: it is ours."""
    most = max(values.values(), default=0.0) or 1.0
    room = WIDTH - _BAR_LEFT - 60
    drawn = []
    for row, (name, value) in enumerate(values.items()):
        y = _TOP + row * _BAR_HEIGHT
        width = room * value / most
        color = f"var(--c{0 if row == 0 else 6})"
        drawn.append(
            f'<text x="{_BAR_LEFT - 8}" y="{y + 14}" text-anchor="end">{escape(name)}</text>'
            f'<rect x="{_BAR_LEFT}" y="{y}" width="{width:.1f}" height="18" rx="2" fill="{color}"/>'
            f'<text x="{_BAR_LEFT + width + 6:.1f}" y="{y + 14}">{_short(value)}</text>'
        )
    return _figure(title, _TOP + len(values) * _BAR_HEIGHT + 4, "".join(drawn))


def curves(title: str, series: Mapping[str, Sequence[tuple[float, float]]], *, log_x: bool, unit: str = "") -> str:
    """A line a series, from zero up; the horizontal axis by powers of ten if `log_x`."""
    points = [point for each in series.values() for point in each]
    if not points:
        return ""
    place = math.log10 if log_x else float
    xs = [place(x) for x, _ in points]
    low, high = min(xs), max(xs)
    span = (high - low) or 1.0
    most = max(y for _, y in points) or 1.0
    wide, tall = WIDTH - _LEFT - _RIGHT, HEIGHT - _TOP - _BOTTOM

    def at(x: float, y: float) -> tuple[float, float]:
        return _LEFT + wide * (place(x) - low) / span, _TOP + tall * (1 - y / most)

    drawn = []
    for part in range(5):
        y = _TOP + tall * part / 4
        drawn.append(f'<line class="grid" x1="{_LEFT}" x2="{_LEFT + wide}" y1="{y:.1f}" y2="{y:.1f}"/>')
        drawn.append(f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{_short(most * (4 - part) / 4)}</text>')
    drawn += [
        f'<text x="{at(x, 0)[0]:.1f}" y="{HEIGHT - _BOTTOM + 18}" text-anchor="middle">{_short(x)}</text>'
        for x in _ticks([x for x, _ in points], log_x)
    ]
    drawn.append(f'<text class="dim" x="{_LEFT + wide}" y="{HEIGHT - 4}" text-anchor="end">{escape(unit)}</text>')
    ends: list[float] = []
    for number, (name, each) in enumerate(series.items()):
        color = f"var(--c{number % _COLORS})"
        places = [at(*point) for point in each[:: max(1, len(each) // _POINTS_MAX)]]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        drawn.append(f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="2"/>')
        if len(places) <= 10:
            drawn += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{color}"/>' for x, y in places]
        # Names stand at the ends of their lines, and below each other where those are close.
        end = places[-1][1]
        while any(abs(end - other) < 14 for other in ends):
            end += 1
        ends.append(end)
        drawn.append(f'<text x="{_LEFT + wide + 8}" y="{end + 4:.1f}" style="fill: {color}">{escape(name)}</text>')
    return _figure(title, max(HEIGHT, round(max(ends)) + 12), "".join(drawn))


def _table(lines: Sequence[Line]) -> str:
    rows = []
    for line in lines:
        if line.value is None:
            rows.append(
                f"<tr><td>{escape(line.name)}</td><td>not measured: {escape(line.reason or '')}</td><td></td>"
                f'<td class="n">{escape(line.wanted)}</td><td></td><td></td></tr>'
            )
            continue
        met = {True: "yes", False: "no", None: ""}[line.met]
        spread = "" if line.spread is None else f"{shown(line.spread[0])} … {shown(line.spread[1])}"
        rows.append(
            f'<tr><td>{escape(line.name)}</td><td>{escape(line.what)}</td><td class="n">{shown(line.value)}</td>'
            f'<td class="n">{escape(line.wanted)}</td><td class="{met}">{met}</td><td class="n">{spread}</td></tr>'
        )
    head = "".join(f"<th>{each}</th>" for each in ("figure", "what it is", "value", "aim", "met", "least … most"))
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'


def _over_length(over: Mapping[str, Mapping[str, float]]) -> list[str]:
    """What is asked now, and as of the middle, in a plot each; everything else in its own."""
    plots: dict[str, dict[str, list[tuple[float, float]]]] = {}
    for what, found in over.items():
        points = sorted((float(length), value) for length, value in found.items())
        parts = what.split(", ")
        title, name = (f"milliseconds to ask, {parts[2]}", parts[1]) if len(parts) == 3 else (what, "")
        plots.setdefault(title, {})[name] = points
    return [curves(title, series, log_x=True, unit="events in the log") for title, series in plots.items()]


def _storage(storage: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[str]:
    if not storage:
        return []
    parts: dict[str, dict[str, float]] = {}
    for length, tables in storage.items():
        found = parts.setdefault(length, {})
        for table in tables:
            for kind in ("heap", "indexes"):
                name = f"{table['part']}: {kind}"
                found[name] = found.get(name, 0.0) + table[kind]
    length, tables = [*storage.items()][-1]
    largest = {table["table"]: table["heap"] + table["indexes"] for table in tables[:12]}
    return [
        bars(f"{int(length):,} events: what dominates", largest),
        *(
            bars(f"{int(length):,} events", dict(sorted(found.items(), key=lambda each: -each[1])))
            for length, found in parts.items()
        ),
    ]


def _memory(samples: Sequence[Mapping[str, Any]]) -> list[str]:
    if not samples:
        return []
    begun = samples[0]["seconds"]
    series: dict[str, list[tuple[float, float]]] = {}
    for each in samples:
        series.setdefault(each["service"], []).append((each["seconds"] - begun, each["megabytes"]))
    most: dict[str, float] = {}
    for each in samples:
        name = f"{each['service']}: {each['during']}"
        most[name] = max(most.get(name, 0.0), each["megabytes"])
    return [curves("MB, over the run", series, log_x=False, unit="seconds"), bars("MB, at most", most)]


def _ticks(xs: Sequence[float], log_x: bool) -> list[float]:
    if log_x:
        return sorted({*xs})
    return [min(xs) + (max(xs) - min(xs)) * part / 4 for part in range(5)]


def _medians(cases: Mapping[str, Sequence[float]]) -> dict[str, float]:
    return {name: median(samples) for name, samples in cases.items()}


def _section(title: str, figures: Sequence[str]) -> str:
    return f"<h2>{escape(title)}</h2>\n{''.join(figures)}" if any(figures) else ""


def _figure(title: str, height: int, drawn: str) -> str:
    return (
        f'<figure><figcaption>{escape(title)}</figcaption><svg viewBox="0 0 {WIDTH} {height}" width="{WIDTH}"'
        f' role="img" aria-label="{escape(title, quote=True)}">{drawn}</svg></figure>'
    )


def _short(value: float) -> str:
    for size, suffix in ((1e9, "G"), (1e6, "M")):
        if abs(value) >= size:
            return f"{value / size:.3g}{suffix}"
    return shown(value)
