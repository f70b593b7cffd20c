"""Every alert, by promtool: fires, not too early, not just below, ends, outlives a restart."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from scenarios import BY_HAND, SCENARIOS
from timelines import KINDS

ROOT = Path(__file__).parents[2]
GOLDEN = Path(__file__).parent / "golden.yml"
RULES = {
    rule["alert"]: rule
    for path in sorted((ROOT / "prometheus" / "alerts").glob("*.yml"))
    for group in yaml.safe_load(path.read_text())["groups"]
    for rule in group["rules"]
}
RECORDS = [
    rule
    for path in sorted((ROOT / "prometheus" / "rules").glob("*.yml"))
    for group in yaml.safe_load(path.read_text())["groups"]
    for rule in group["rules"]
]


def needed(expr: str) -> list[dict[str, Any]]:
    """The records that an expression asks for, and those that these ask for, in their order."""
    names: set[str] = set()
    ask = [expr]
    while ask:
        new = set(re.findall(r"[a-z_]\w*:[\w:]+", ask.pop())) - names
        names |= new
        ask += [rule["expr"] for rule in RECORDS if rule["record"] in new]
    return [rule for rule in RECORDS if rule["record"] in names]


def test_every_alert_is_shown():
    assert set(RULES) == set(SCENARIOS) | BY_HAND
    for name, scenario in SCENARIOS.items():
        kinds = tuple(test["name"].removeprefix(f"{name}: ") for test in scenario.tests(name, None))
        assert kinds == KINDS
        early = scenario.quiet or RULES[name]["for"] == "0s"
        assert early, f"{name}: show that it does not fire before `for`"


@cache
def told() -> dict[str, Any]:
    return yaml.safe_load(GOLDEN.read_text()) if GOLDEN.exists() else {}


def promtool(program: str, path: Path, alert: str, text: dict[str, Any] | None) -> tuple[int, str]:
    scenario = SCENARIOS[alert]
    # The alert alone, with the records that it asks for: the rest costs time only.
    alone = path.with_name("rules.yml")
    rules = [*needed(RULES[alert]["expr"]), RULES[alert]]
    alone.write_text(json.dumps({"groups": [{"name": "alone", "rules": rules}]}))
    content = {
        "rule_files": [str(alone)],
        "evaluation_interval": f"{min(scenario.step, 15)}s",
        "tests": scenario.tests(alert, text),
    }
    path.write_text(json.dumps(content))
    result = subprocess.run(
        [program, "test", "rules", str(path)], capture_output=True, text=True, check=False
    )
    return result.returncode, result.stdout + result.stderr


@pytest.mark.parametrize("alert", SCENARIOS)
def test_alert(tool: Callable[..., str], tmp_path: Path, request, alert: str):
    program, path = tool("promtool"), tmp_path / "test.yml"
    golden = told()
    if request.config.getoption("--write-golden"):
        golden[alert] = said(promtool(program, path, alert, None)[1])
        GOLDEN.write_text(yaml.safe_dump(golden, width=96, allow_unicode=True))
    assert alert in golden, "run with --write-golden, and look at what it says"
    code, out = promtool(program, path, alert, golden[alert])
    assert code == 0, out


def said(out: str) -> dict[str, dict[str, str]]:
    """Labels and annotations of the one alert that promtool did not expect."""
    _, _, got = out.partition("got:[")
    found = {}
    for word, key in (("Labels", "exp_labels"), ("Annotations", "exp_annotations")):
        (line,) = re.findall(
            rf"^ *{word}:\{{(.*)\}}$", got.partition("]")[0] or got, re.MULTILINE
        ) or [""]
        pairs = re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', line)
        found[key] = {name: json.loads(f'"{value}"') for name, value in pairs}
    found["exp_labels"].pop("alertname", None)
    assert found["exp_annotations"], out
    return found


def test_texts_are_filled_in():
    for alert, expected in told().items():
        for name, text in expected["exp_annotations"].items():
            where = f"{alert}: {name}: {text}"
            assert not re.search(r"<error|<no value>|\{\{", text), where
            assert not re.search(r"\d{7,}|\d\.\d{5,}|\bNaN\b|\bInf\b", text), where
    assert set(told()) == set(SCENARIOS)
