"""Which critical alerts fire on what a host has shown."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path

import yaml
from recorded import RULE_FILES, Firing, Timelines, firings

#: Seconds between two scrapes, as Prometheus makes them.
EVERY = 5.0
#: Rules ask for these reasons alone (`only_these_reasons_are_asked_for` in test_walk.py).
NAMED = ("hung", "driver_gone", "not_listed", "unclaimed")
_REASON = re.compile(r'reason="(\w+)"')
_TARGET = 'job="gpu-sentinel",instance="node-1:9836",host="node-1"'


@cache
def rules() -> list[dict[str, str]]:
    """All of them."""
    return [
        rule
        for path in RULE_FILES
        for group in yaml.safe_load(path.read_text())["groups"]
        for rule in group["rules"]
    ]


@cache
def asked_by_critical() -> frozenset[str]:
    """The words of the rules that say whether a critical alert fires; metrics are among them."""
    found: set[str] = set()
    ask = [r["expr"] for r in rules() if r.get("labels", {}).get("severity") == "critical"]  # type: ignore[attr-defined]
    while ask:
        new = set(re.findall(r"[a-z_][a-z0-9_:]*", ask.pop())) - found
        found |= new
        ask += [rule["expr"] for rule in rules() if rule.get("record") in new]
    return frozenset(found)


def targeted(page: Mapping[str, str]) -> dict[str, str]:
    """What Prometheus makes of a page; reasons that no rule knows are one."""
    found = {f"up{{{_TARGET}}}": "1"}
    for series, number in page.items():
        name, brace, labels = series.partition("{")
        if name in asked_by_critical():
            labels = _REASON.sub(_named, labels)
            found[f"{name}{{{_TARGET},{labels}" if brace else f"{name}{{{_TARGET}}}"] = number
    return found


def _named(reason: re.Match[str]) -> str:
    return reason[0] if reason[1] in NAMED else 'reason="failing"'


class Judge:
    """Asks promtool, once for each of the timelines that differ."""

    def __init__(self, promtool: Callable[[], str], folder: Path) -> None:
        self._promtool, self._folder = promtool, folder
        self.told: dict[str, tuple[Firing, ...]] = {}

    def critical(self, lines: Timelines) -> tuple[Firing, ...]:
        """The critical alerts that fire at any time."""
        text = json.dumps(sorted(lines.series(), key=lambda line: line["series"]))
        digest = hashlib.sha256(text.encode()).hexdigest()
        if digest not in self.told:
            found = firings(self._promtool(), self._folder, [lines], EVERY)
            self.told[digest] = tuple(f for f in found if f.severity == "critical")
        return self.told[digest]
