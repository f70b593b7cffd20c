"""Drawings of where panels stand: title, kind and size of each, and the row that it belongs to.

They show the grid and no data; what a panel looks like is Grafana's business.
"""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from core import Json

_COLUMN, _LINE, _GAP, _WIDTH = 40, 20, 4, 24 * 40
_HEAD = 46
_SVG = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
    'width="{width}" height="{height}" font-family="sans-serif" fill="#1b1f24">'
)
_TINT = {
    "stat": "#eef6ee",
    "gauge": "#eef6ee",
    "bargauge": "#eef6ee",
    "table": "#f3f0fa",
    "timeseries": "#eaf2fb",
    "state-timeline": "#fdf3e4",
    "heatmap": "#fdf3e4",
    "xychart": "#fdf3e4",
    "text": "#f6f6f6",
}
_WORDS = {"timeseries": "lines", "xychart": "scatter", "state-timeline": "states"}


def _text(x: float, y: float, content: str, size: int, more: str = "") -> str:
    return f'<text x="{x:g}" y="{y:g}" font-size="{size}"{more}>{escape(content)}</text>'


def _cut(title: str, width: float, size: int) -> list[str]:
    """The title in at most two lines that fit."""
    room = max(int(width / (size * 0.62)), 4)
    lines: list[str] = [""]
    for word in title.split():
        if lines[-1] and len(lines[-1]) + 1 + len(word) > room:
            lines.append(word)
        else:
            lines[-1] = f"{lines[-1]} {word}".strip()
    if len(lines) > 2:
        lines = [lines[0], lines[1][: room - 1] + "…"]
    return lines


def _panel(panel: Json, shift: int) -> Iterator[str]:
    place = panel["gridPos"]
    x, y = place["x"] * _COLUMN + _GAP / 2, _HEAD + (place["y"] + shift) * _LINE + _GAP / 2
    width, height = place["w"] * _COLUMN - _GAP, place["h"] * _LINE - _GAP
    kind: str = panel["type"]
    yield (
        f'<rect x="{x:g}" y="{y:g}" width="{width}" height="{height}" rx="3" '
        f'fill="{_TINT.get(kind, "#fff")}" stroke="#9aa4b0"/>'
    )
    lines = _cut(panel["title"], width - 12, 12)
    for i, line in enumerate(lines):
        yield _text(x + 6, y + 16 + 14 * i, line, 12, ' font-weight="600"')
    word = _WORDS.get(kind, kind)
    if height > 24 + 14 * len(lines):
        yield _text(x + 6, y + height - 7, word, 10, ' fill="#5b6570"')


def _row(row: Json, shift: int) -> Iterator[str]:
    y = _HEAD + (row["gridPos"]["y"] + shift) * _LINE
    mark = "▸" if row["collapsed"] else "▾"
    more = " (opens on demand)" if row["collapsed"] else ""
    yield _text(4, y + 15, f"{mark} {row['title']}{more}", 13, ' font-weight="700" fill="#1f4e79"')


def draw(dashboard: Json) -> str:
    """The whole page, collapsed rows opened, as SVG."""
    parts: list[str] = []
    bottom = shift = 0
    for panel in dashboard["panels"]:
        if panel["type"] == "row":
            parts += _row(panel, shift)
            inside = panel["panels"]
        else:
            inside = [panel]
        for one in inside:
            parts += _panel(one, shift)
            bottom = max(bottom, one["gridPos"]["y"] + one["gridPos"]["h"] + shift)
        if panel["type"] == "row" and inside:
            # What comes below a collapsed row stands where it would be when it is opened.
            last = max(p["gridPos"]["y"] + p["gridPos"]["h"] for p in inside)
            shift += last - panel["gridPos"]["y"] - 1
    height = _HEAD + bottom * _LINE + _GAP
    names = [v["label"] for v in dashboard["templating"]["list"]]
    head = [
        _SVG.format(width=_WIDTH, height=height),
        f"<title>{escape(dashboard['title'])}: layout</title>",
        f'<rect width="{_WIDTH}" height="{height}" fill="#fff"/>',
        _text(4, 18, dashboard["title"], 16, ' font-weight="700"'),
        _text(4, 37, "Choose: " + " · ".join(names), 11, ' fill="#5b6570"'),
    ]
    return "\n".join([*head, *parts, "</svg>"]) + "\n"
