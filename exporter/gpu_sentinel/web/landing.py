"""The page at /: what a person wants to know at a glance, without scripts, light and dark."""

from __future__ import annotations

import re
from dataclasses import dataclass
from html import escape

REFRESH_SECONDS = 5


@dataclass(frozen=True, slots=True)
class InstanceRow:
    """One MIG device below its GPU."""

    name: str
    uuid: str
    utilization: str = "-"
    memory: str = "-"
    utilization_ratio: float | None = None
    memory_ratio: float | None = None


@dataclass(frozen=True, slots=True)
class GpuRow:
    """One GPU; readings as they are shown, a dash where there is none."""

    index: str
    name: str
    uuid: str
    state: str
    utilization: str = "-"
    memory: str = "-"
    power: str = "-"
    temperature: str = "-"
    margin: str = "-"
    clock: str = "-"
    utilization_ratio: float | None = None
    memory_ratio: float | None = None
    instances: tuple[InstanceRow, ...] = ()


@dataclass(frozen=True, slots=True)
class XidRow:
    """An XID that a GPU has reported.

    Attributes:
        bad: somebody has to act.
        owner: whose process it named last; `-` where none is known.
    """

    time: str
    gpu: str
    xid: str
    severity: str
    bad: bool
    name: str
    action: str
    reports: str
    owner: str


@dataclass(frozen=True, slots=True)
class StatusPage:
    """What the page shows.

    Attributes:
        notes: what is unusual but not wrong, as that GPUs are simulated.
        problems: what is wrong, one sentence each.
        xids: those of the last day, the newest first.
    """

    version: str
    driver: str
    gpus: tuple[GpuRow, ...] = ()
    notes: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    xids: tuple[XidRow, ...] = ()


_STYLE = """
:root{color-scheme:light dark;--line:#8884;--bad:#c0392b;--good:#2e8b57}
body{font:15px/1.5 system-ui,sans-serif;max-width:80rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.5rem;margin:0}h1 small{font-weight:normal;opacity:.7;font-size:1rem}
nav a{margin-right:1.2rem}table{border-collapse:collapse;width:100%;margin-top:1.2rem}
caption{text-align:left;opacity:.7;padding-bottom:.3rem}.wide{overflow-x:auto}
th,td{padding:.35rem .5rem;border-bottom:1px solid var(--line);text-align:right;
white-space:nowrap;font-variant-numeric:tabular-nums}
.text{text-align:left}.prose{white-space:normal}code{font-size:.8em;opacity:.7}.ok{color:var(--good)}
.bad{color:var(--bad);font-weight:600}
tr.part td{padding-top:.1rem;padding-bottom:.1rem;font-size:.9em}.part .text{padding-left:1.5rem}
meter{width:4.5rem;margin-left:.5rem;vertical-align:middle}
p.note{border-left:4px solid var(--line);padding:.3rem .8rem}
p.problem{border-left:4px solid var(--bad);padding:.3rem .8rem}
"""

_TEXT_CLASS = ' class="text"'
_HEADER = (
    ("GPU", False),
    ("State", True),
    ("Name", True),
    ("Utilisation", False),
    ("Memory", False),
    ("Power", False),
    ("Temperature", False),
    ("To slowdown", False),
    ("SM clock", False),
)


def _meter(text: str, ratio: float | None, what: str) -> str:
    if ratio is None:
        return escape(text)
    value = min(max(ratio, 0.0), 1.0)
    return f'{escape(text)}<meter value="{value:.3f}" aria-label="{what}">{escape(text)}</meter>'


def _row(gpu: GpuRow) -> str:
    cells = (
        escape(gpu.index),
        f'<span class="{"ok" if gpu.state == "ok" else "bad"}">{escape(gpu.state)}</span>',
        f"{escape(gpu.name)}<br><code>{escape(gpu.uuid)}</code>",
        _meter(gpu.utilization, gpu.utilization_ratio, "utilisation"),
        _meter(gpu.memory, gpu.memory_ratio, "memory in use"),
        escape(gpu.power),
        escape(gpu.temperature),
        escape(gpu.margin),
        escape(gpu.clock),
    )
    row = "<tr>" + "".join(map(_cell, cells, (text for _, text in _HEADER))) + "</tr>\n"
    return row + "".join(map(_instance_row, gpu.instances))


def _instance_row(instance: InstanceRow) -> str:
    # The whole UUID would make the table wider than most windows.
    uuid = f'<code title="{escape(instance.uuid)}">{escape(instance.uuid[:12])}…</code>'
    cells = (
        "",
        "",
        f"{escape(instance.name)} {uuid}",
        _meter(instance.utilization, instance.utilization_ratio, "graphics engine active"),
        _meter(instance.memory, instance.memory_ratio, "memory in use"),
        *[""] * 4,
    )
    cells_in_columns = "".join(map(_cell, cells, (text for _, text in _HEADER)))
    return f'<tr class="part">{cells_in_columns}</tr>\n'


def _cell(content: str, text: bool) -> str:
    return f'<td class="text">{content}</td>' if text else f"<td>{content}</td>"


_XID_HEADER = (
    ("Time (UTC)", True),
    ("GPU", False),
    ("XID", False),
    ("Severity", True),
    ("Name", True),
    ("Reports", False),
    ("Owner", True),
    ("What to do", True),
)


def _xid_row(xid: XidRow) -> str:
    cells = (
        escape(xid.time),
        escape(xid.gpu),
        escape(xid.xid),
        f'<span class="bad">{escape(xid.severity)}</span>' if xid.bad else escape(xid.severity),
        escape(xid.name),
        escape(xid.reports),
        escape(xid.owner),
        f'<span class="prose">{escape(xid.action)}</span>',
    )
    return "<tr>" + "".join(map(_cell, cells, (text for _, text in _XID_HEADER))) + "</tr>\n"


def _table(caption: str, header: tuple[tuple[str, bool], ...], rows: str) -> str:
    names = "".join(
        f'<th scope="col"{_TEXT_CLASS if text else ""}>{name}</th>' for name, text in header
    )
    return (
        f'<div class="wide"><table><caption>{escape(caption)}</caption>\n'
        f"<thead><tr>{names}</tr></thead>\n<tbody>\n{rows}</tbody></table></div>\n"
    )


def landing_page(page: StatusPage, telemetry_path: str) -> str:
    """The page as HTML."""
    table = _table(page.driver, _HEADER, "".join(map(_row, page.gpus)))
    if page.xids:
        rows = "".join(map(_xid_row, page.xids))
        table += _table("XIDs of the last 24 hours", _XID_HEADER, rows)
    problems = "".join(f'<p class="problem" role="alert">{_text(p)}</p>\n' for p in page.problems)
    notes = "".join(f'<p class="note">{escape(n)}</p>\n' for n in page.notes)
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta http-equiv="refresh" content="{REFRESH_SECONDS}">\n'
        f"<title>GPU Sentinel</title><style>{_STYLE}</style></head><body>\n"
        f"<h1>GPU Sentinel <small>{escape(page.version)}</small></h1>\n"
        f'<nav><a href="{escape(telemetry_path)}">Metrics</a>'
        '<a href="/-/healthy">Healthy</a><a href="/-/ready">Ready</a></nav>\n'
        f"{problems}{notes}{table}</body></html>\n"
    )


def _text(text: str) -> str:
    """A sentence, with what is between backticks as code."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text))
