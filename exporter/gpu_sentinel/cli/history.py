"""`gpu-sentinel alerts history`."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from datetime import datetime, timezone
from typing import TYPE_CHECKING

import click

from gpu_sentinel import durations
from gpu_sentinel.cli.output import complain, date, say, say_json
from gpu_sentinel.cli.servers import Servers, duration, one_line
from gpu_sentinel.cli.table import lines

if TYPE_CHECKING:
    from gpu_sentinel.alerting import Firing, Silence


@click.command()
@click.option(
    "--since",
    "seconds",
    default="24h",
    show_default=True,
    callback=duration,
    help="How far to look back.",
)
@click.option("--host", help="Alerts of this host alone.")
@click.option("--json", "as_json", is_flag=True, help="For a program.")
@click.pass_obj
def history(servers: Servers, seconds: float, host: str | None, *, as_json: bool) -> None:
    """Show what fired, the latest first: when, how bad it was, and who had silenced it.

    Values are at the start, at their worst and at the end.
    """
    from gpu_sentinel.alerting import history as look_up  # noqa: PLC0415 - others start faster

    now = time.time()
    with one_line():
        found = look_up(servers.prometheus(), now - seconds, now, host)
    silences = _silences(servers)
    if as_json:
        say_json([_plain(firing, silences) for firing in found])
    elif not found:
        say(f"No alert fired in the last {durations.pretty(seconds)}.")
    else:
        header = ("SEVERITY", "HOST", "GPU", "FROM (UTC)", "LASTED", "VALUE", "THRESHOLD", "ALERT")
        rows = [(*header, "SILENCED"), *(_row(firing, silences or (), now) for firing in found)]
        for line in lines(rows, left=range(len(rows[0]))):
            say(line)


def _silences(servers: Servers) -> list[Silence] | None:
    """All that Alertmanager still knows; the history is worth showing without, too."""
    from gpu_sentinel.alerting import ApiError  # noqa: PLC0415 - as above

    try:
        return servers.alertmanager().silences("active", "expired")
    except ApiError as error:
        complain(f"silences are not shown: {error}")
        return None


def _row(firing: Firing, silences: Sequence[Silence], now: float) -> tuple[str, ...]:
    labels = firing.labels
    lasted = _lasted((now if firing.end is None else firing.end) - firing.start)
    by = firing.silenced_by(silences)
    return (
        labels.get("severity", ""),
        labels.get("host", ""),
        labels.get("gpu", ""),
        ("before " if firing.began_earlier else "") + date(_utc(firing.start), seconds=True),
        f"{lasted}, still fires" if firing.end is None else lasted,
        _short(firing.values.told) if firing.values else "-",
        firing.threshold or "-",
        firing.summary,
        "; ".join(f"{s.author}: {s.comment}" for s in by),
    )


def _short(told: tuple[str, str, str]) -> str:
    """`7 / 1 / 6 °C left`: what all three end in stands once."""
    if len(set(told)) == 1:
        return told[0]
    words = [text.split(" ") for text in told]
    shared = 0
    while min(map(len, words)) > shared + 1 and len({w[-1 - shared] for w in words}) == 1:
        shared += 1
    heads = (" ".join(w[: len(w) - shared]) for w in words)
    return " ".join([" / ".join(heads), *words[0][len(words[0]) - shared :]])


def _lasted(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours >= 48:
        return f"{hours // 24}d {hours % 24}h"
    return f"{hours}h {minutes}m" if hours else f"{minutes}m {rest}s" if minutes else f"{rest}s"


def _utc(moment: float) -> datetime:
    return datetime.fromtimestamp(moment, timezone.utc)


def _finite(value: float) -> float | None:
    """JSON has neither infinity nor "no number"."""
    return value if math.isfinite(value) else None


def _plain(firing: Firing, silences: Sequence[Silence] | None) -> dict[str, object]:
    values = firing.values
    return {
        "alert": firing.labels.get("alertname", ""),
        "summary": firing.summary,
        "labels": dict(firing.labels),
        "start": _utc(firing.start).isoformat(timespec="milliseconds"),
        "began_earlier": firing.began_earlier,
        "end": None if firing.end is None else _utc(firing.end).isoformat(timespec="milliseconds"),
        "values": values
        and {name: _finite(getattr(values, name)) for name in ("start", "worst", "end")},
        "threshold": firing.threshold or None,
        "silenced": None
        if silences is None
        else [
            {
                "author": s.author,
                "comment": s.comment,
                "from": s.starts.isoformat(),
                "until": s.ends.isoformat(),
            }
            for s in firing.silenced_by(silences)
        ],
    }
