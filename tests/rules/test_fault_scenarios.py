"""Each fault raises exactly the alerts that `faults.py` lists, by Prometheus' own engine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from faults import CASES, FOLDER, NOT_PROVOKED
from recorded import RULE_FILES, firings, record

from gpu_sentinel.simulator import scenario_names

ALERTS = {
    rule["alert"]
    for path in RULE_FILES
    for group in yaml.safe_load(path.read_text())["groups"]
    for rule in group["rules"]
    if "alert" in rule
}


def test_every_scenario_is_listed():
    ours = {path.stem for path in FOLDER.glob("*.yml")}
    assert {*scenario_names(), *ours} <= set(CASES)


def test_every_alert_is_provoked_or_has_a_reason_why_not():
    provoked = {alert.split()[1].rstrip(":") for case in CASES.values() for alert in case.alerts}
    assert provoked | set(NOT_PROVOKED) == ALERTS
    assert not provoked & set(NOT_PROVOKED)


#: Of ten minutes or less, and of few GPUs; `make test-long` has the others.
MANY_GPUS = {"xid-kinds", "superchip", "one-of-each"}
SHORT = {name for name, case in CASES.items() if case.recording.seconds <= 600} - MANY_GPUS


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=() if n in SHORT else pytest.mark.long) for n in CASES]
)
def test_raises_these_alerts_and_no_other(tool: Callable[..., str], tmp_path: Path, name: str):
    case = CASES[name]
    found = firings(tool("promtool"), tmp_path, [record(case.recording)], case.recording.every)
    told = "\n".join(["what fired, and when:", *map(str, found)])
    assert {f.name for f in found} == case.alerts, told
    assert all(f.last <= case.over.get(f.name, f.last) for f in found), told
    ending = {f.name for f in found if f.last < case.recording.seconds}
    assert not ending.intersection(case.lasts), told
