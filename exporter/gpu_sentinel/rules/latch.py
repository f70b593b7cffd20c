"""Conditions that last until what they are about was reset."""

from __future__ import annotations

from gpu_sentinel.rules.declare import JOIN
from gpu_sentinel.rules.limits import Limits

#: After a report this long at least, whatever else is known.
_LEAST_SECONDS = 300
#: By how much the clock of a host may differ from Prometheus'.
_SKEW_SECONDS = 60
_RESET = "gpu:reset:timestamp_seconds"


def latched(last: str, key: str, limits: Limits, *, of_host: str = "") -> str:
    """An expression for the seconds since a report, until the GPU was reset.

    Args:
        last: the Unix time of each report.
        key: the labels, with those of `JOIN`, that tell reports apart.
        limits: for how long at most.
        of_host: `last`, of the reports that are about no GPU: the reset of any ends them.
    """
    most = f"{limits.values['xid_latch_days'] * 86400:.12g}"
    ended = f"\n    unless on ({key})\n  {_before(last, JOIN)}"
    if of_host:
        ended += f"\n    unless on ({key})\n  {_before(of_host, 'job, instance')}"
    return f"time() - {last} < {_LEAST_SECONDS}\nor\ntime() - (\n  {last}{ended}\n) < {most}"


def _before(last: str, join: str) -> str:
    """The reports that came before the last reset."""
    return (
        f"({last} < on ({join}) group_left ()\n    (max by ({join}) ({_RESET}) + {_SKEW_SECONDS}))"
    )
