"""Planned work: a silence with an end for hosts, GPUs or a model of GPU."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence

from gpu_sentinel.alerting.alertmanager import Matcher, Silence
from gpu_sentinel.alerting.prometheus import Prometheus
from gpu_sentinel.alerting.selection import SelectionError, check_known, known_are

#: How silences of planned work are told from others: Alertmanager keeps nothing but a comment.
PREFIX = "Maintenance: "


class Work:
    """What is worked on, checked against what Prometheus knows."""

    def __init__(self, prometheus: Prometheus) -> None:
        self._prometheus = prometheus

    def hosts(self, names: Sequence[str]) -> Matcher:
        """Everything about these hosts.

        Raises:
            SelectionError: there is no such host.
            ApiError: Prometheus does not answer.
        """
        # Of targets, not of GPUs: a host that is down is known too.
        return _one_of("host", names, self._known('up{job="gpu-sentinel"}', "host"))

    def uuids(self, uuids: Sequence[str]) -> Matcher:
        """Everything about these GPUs.

        Raises:
            SelectionError: there is no such GPU.
            ApiError: Prometheus does not answer.
        """
        return _one_of("uuid", uuids, self._known("last_over_time(gpu_info[1d])", "uuid"))

    def model(self, name: str) -> tuple[str, Matcher]:
        """The full name of a model, and everything about its GPUs; part of the name will do.

        Raises:
            SelectionError: no model has such a name, or several have.
            ApiError: Prometheus does not answer.
        """
        series = self._prometheus.now("last_over_time(gpu_info[1d])")
        models = {s.labels["name"] for s in series if "name" in s.labels}
        fitting = {m for m in models if m == name} or {
            m for m in models if name.casefold() in m.casefold()
        }
        if not fitting:
            raise SelectionError(f"no GPU is a {name!r}: {known_are(name, models)}")
        if len(fitting) > 1:
            raise SelectionError(
                f"{name!r} fits several models, write more of it: {', '.join(sorted(fitting))}"
            )
        (model,) = fitting
        uuids = {s.labels.get("uuid", "") for s in series if s.labels.get("name") == model}
        uuids.discard("")
        if not uuids:
            # An expression without a UUID would silence all that has none.
            raise SelectionError(f"Prometheus knows no UUID of a {model!r}")
        return model, matcher("uuid", sorted(uuids))

    def _known(self, expression: str, label: str) -> set[str]:
        found = self._prometheus.now(expression)
        return {series.labels[label] for series in found if label in series.labels}


def planned(silences: Iterable[Silence]) -> list[Silence]:
    """Those of the silences that are for planned work, the first to end first."""
    found = [silence for silence in silences if silence.comment.startswith(PREFIX)]
    return sorted(found, key=lambda silence: silence.ends)


def matcher(label: str, values: Sequence[str]) -> Matcher:
    """Exactly these values of a label."""
    if len(values) == 1:
        return Matcher(label, values[0])
    # A hyphen means nothing outside of brackets, and UUIDs are full of them.
    quoted = (re.escape(value).replace("\\-", "-") for value in values)
    return Matcher(label, "|".join(quoted), is_regex=True)


def _one_of(label: str, values: Sequence[str], known: Collection[str]) -> Matcher:
    for value in values:
        check_known(label, value, known)
    return matcher(label, values)
