"""report.html: one file that needs no network.

The figures and the plots' data are in the page, and so is plotly. Plots are described here as plain data and drawn by
the browser, which also takes the colours from the style sheet: the page follows the reader's light or dark setting.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from plotly.offline import get_plotlyjs

from .page_style import SCRIPT, STYLE
from .verdict import figure_rows

Document = Mapping[str, Any]


def render_page(document: Document) -> str:
    """The whole page. Everything that came from outside is escaped."""
    title = f"{document['command']} {document['verdict']} · {document['runId']}"
    return "\n".join(
        (
            "<!doctype html>",
            '<html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{escape(title)}</title>",
            f"<style>{STYLE}</style></head><body><main>",
            _head(document),
            _tiles(document),
            _figures(),
            _table("Figures", ("figure", "value"), figure_rows(document)),
            _processes(document),
            _table("Parameters", ("parameter", "value"), _texts(document["parameters"])),
            _table("Machine and versions", ("part", "value"), _machine(document)),
            "</main>",
            f"<script>{get_plotlyjs()}</script>",
            f'<script id="series" type="application/json">{_embedded(_plots(document))}</script>',
            f"<script>{SCRIPT}</script>",
            "</body></html>\n",
        )
    )


def _embedded(data: Any) -> str:
    """JSON that cannot end the script element it stands in."""
    return json.dumps(data, separators=(",", ":")).replace("<", "\\u003c")


# ------------------------------------------------------------------------------------------------------------ parts


def _head(document: Document) -> str:
    verdict = document["verdict"]
    failures = "".join(f"<li>{escape(failure)}</li>" for failure in document["failures"])
    return (
        f'<header class="{verdict}"><div><h1>{escape(document["command"])}</h1>'
        f"<p>run {escape(document['runId'])} · {escape(document['startedAt'])}</p></div>"
        f'<strong class="badge">{escape(verdict.upper())}</strong></header>'
        + (f'<ul class="failures">{failures}</ul>' if failures else "")
    )


def _tiles(document: Document) -> str:
    pods, startup, resources = document["pods"], document["podStartupMilliseconds"], document["resources"]
    tiles = (
        (f"{pods['running']:,}", f"pods running of {pods['requested']:,}"),
        (f"{document['throughputPodsPerSecond']['mean']:,.0f}", "pods a second"),
        (f"{startup['p50']:,.0f} ms", "startup, median"),
        (f"{startup['p99']:,.0f} ms", "startup, p99"),
        (f"{resources['cpuMillisecondsPerPod']:.2f} ms", "CPU a pod, all processes"),
        (f"{document['placements']['overcommittedNodes']}", "nodes over-committed"),
    )
    boxes = "".join(f"<div><b>{value}</b><span>{name}</span></div>" for value, name in tiles)
    return f'<section class="tiles">{boxes}</section>'


def _figures() -> str:
    return '<section class="plots">' + "".join(f'<figure id="{name}"></figure>' for name in PLOTS) + "</section>"


def _table(title: str, columns: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    head = "".join(f"<th>{escape(column)}</th>" for column in columns)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return (
        f'<section><h2>{escape(title)}</h2><div class="scroll"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div></section>"
    )


def _processes(document: Document) -> str:
    resources = document["resources"]
    cpu, resident = resources["cpuSeconds"], resources["residentBytesMax"]
    ran = max(document["podStartupMilliseconds"]["count"], 1)
    rows = [
        (name, f"{seconds:.2f} s", f"{seconds * 1000 / ran:.3f} ms", f"{resident.get(name, 0) / 2**20:,.0f} MiB")
        for name, seconds in sorted(cpu.items(), key=lambda item: -item[1])
    ]
    return _table("Processes", ("process", "CPU in the load phase", "CPU a pod", "resident, at most"), rows)


def _texts(values: Mapping[str, Any]) -> list[tuple[str, ...]]:
    return [(name, value if isinstance(value, str) else json.dumps(value)) for name, value in values.items()]


def _machine(document: Document) -> list[tuple[str, ...]]:
    machine = document["machine"]
    return [
        ("system", machine["system"]),
        ("processor", f"{machine['processor']}, {machine['cpus']} CPUs"),
        ("memory", f"{machine['memoryBytes'] / 2**30:.1f} GiB"),
        ("CPU taken by the host during the run", f"{machine['stealSeconds']} s"),
        *_texts(document["versions"]),
    ]


# ------------------------------------------------------------------------------------------------------------ plots

PLOTS = ("pods", "startup", "throughput", "cpu", "memory")


def _plots(document: Document) -> dict[str, Any]:
    """By element: the title, the axes and the traces. Colours are positions in the style sheet's palette."""
    usage = document["series"]["usage"]
    seconds, cores, resident = usage["seconds"], usage["cpuCores"], usage["residentBytes"]
    return {
        "pods": _pods_plot(document),
        "startup": _startup_plot(document),
        "throughput": _throughput_plot(document),
        "cpu": _plot("CPU by process", "seconds", "cores", _by_process(seconds, cores, 1.0)),
        "memory": _plot("Memory by process", "seconds", "MiB resident", _by_process(seconds, resident, 2**-20)),
    }


def _pods_plot(document: Document) -> dict[str, Any]:
    pods = document["series"]["pods"]
    states = ("created", "bound", "running")
    lines = [_line(state, pods["seconds"], pods[state], color) for color, state in enumerate(states)]
    return _plot("Pods over time", "seconds", "pods", lines)


def _startup_plot(document: Document) -> dict[str, Any]:
    quantiles, figures = document["series"]["podStartupQuantiles"], document["podStartupMilliseconds"]
    line = _line("startup", [pair[1] for pair in quantiles], [pair[0] for pair in quantiles], 2)
    marks = [{"x": figures[name], "text": name} for name in ("p50", "p90", "p99") if quantiles]
    return _plot("Pod startup: creation to Running", "milliseconds", "percent of pods", [line], marks)


def _throughput_plot(document: Document) -> dict[str, Any]:
    counts = document["series"]["podsPerSecond"]
    middles = [second + 0.5 for second in range(len(counts))]
    bars = {"type": "bar", "name": "running", "x": middles, "y": counts, "color": 2}
    return _plot("Pods becoming Running, per second", "seconds", "pods a second", [bars])


def _plot(title: str, x: str, y: str, traces: list[Any], marks: list[Any] | None = None) -> dict[str, Any]:
    return {"title": title, "x": x, "y": y, "traces": traces, "marks": marks or []}


def _line(name: str, x: list[float], y: list[float], color: int) -> dict[str, Any]:
    return {"type": "scatter", "mode": "lines", "name": name, "x": x, "y": y, "color": color}


def _by_process(seconds: list[float], columns: Mapping[str, list[float]], scale: float) -> list[dict[str, Any]]:
    return [
        _line(name, seconds, [round(value * scale, 3) for value in values], color)
        for color, (name, values) in enumerate(columns.items())
    ]
