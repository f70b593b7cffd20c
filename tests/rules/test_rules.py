"""The rules as data: valid, tested, explained, and on metrics that exist."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from gpu_sentinel.catalogue import METRICS, OWN
from gpu_sentinel.catalogue.xids import PAGING, XIDS, Severity

ROOT = Path(__file__).parents[2]
PROMETHEUS = ROOT / "prometheus"
UNIT_TESTS = Path(__file__).parent / "promtool"

ANNOTATIONS = {"summary", "description", "value", "threshold", "first_step"}


def rules(folder: str) -> list[dict[str, Any]]:
    return [
        rule
        for path in sorted((PROMETHEUS / folder).glob("*.yml"))
        for group in yaml.safe_load(path.read_text())["groups"]
        for rule in group["rules"]
    ]


ALERTS = rules("alerts")
RECORDS = rules("rules")

alerts = pytest.mark.parametrize("alert", ALERTS, ids=lambda a: a["alert"])


def test_unit_tests(tool: Callable[..., str]):
    files = sorted(UNIT_TESTS.glob("*.yml"))
    result = subprocess.run(
        [tool("promtool"), "test", "rules", *map(str, files)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert (result.stdout + result.stderr).count("SUCCESS") == len(files)


@alerts
def test_alert_has_a_unit_test(alert: dict[str, Any]):
    tested = [
        case
        for path in UNIT_TESTS.glob("*.yml")
        for test in yaml.safe_load(path.read_text())["tests"]
        for case in test.get("alert_rule_test", [])
        if case["alertname"] == alert["alert"]
    ]
    assert any(case["exp_alerts"] for case in tested), "one that it fires"
    if alert["expr"] != "vector(1)":
        assert any(not case["exp_alerts"] for case in tested), "one that it does not"


@alerts
def test_alert_says_all_that_a_mail_needs(alert: dict[str, Any]):
    assert set(alert["annotations"]) == ANNOTATIONS
    assert alert["labels"]["severity"] in {"critical", "warning", "none"}


@alerts
def test_alert_has_a_runbook(alert: dict[str, Any]):
    page = (ROOT / "docs" / "runbooks.md").read_text()
    assert f"\n## {alert['alert']}\n" in page


def test_runbooks_are_of_alerts_that_exist():
    page = (ROOT / "docs" / "runbooks.md").read_text()
    explained = re.findall(r"^## (\w+)$", page, re.MULTILINE)
    assert sorted(explained) == sorted(a["alert"] for a in ALERTS)


def test_rules_ask_for_metrics_that_exist():
    known = {m.name for m in (*METRICS, *OWN)} | {r["record"] for r in RECORDS} | {"up"}
    for rule in (*ALERTS, *RECORDS):
        code = re.sub(r"#.*|_bucket\b", "", rule["expr"])
        asked = set(re.findall(r"\b(?:gpu|host)[a-z0-9_:]*_[a-z0-9_:]+\b", code))
        assert asked <= known, rule


def test_alert_on_xids_is_for_those_that_the_table_calls_fatal_or_a_reset():
    (rule,) = [a for a in ALERTS if a["alert"] == "GpuXidFatal"]
    expected = "|".join(map(str, PAGING))
    assert rule["expr"] == (f'time() - gpu_xid_last_timestamp_seconds{{xid=~"{expected}"}} < 300')
    assert not [n for n in PAGING if XIDS[n].severity is Severity.APPLICATION]
