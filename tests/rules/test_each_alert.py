"""Every alert, by promtool: fires, not too early, not just below, ends, outlives a restart."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
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
RECORDS = sorted(map(str, (ROOT / "prometheus" / "rules").glob("*.yml")))


def test_every_alert_is_shown():
    assert set(RULES) == set(SCENARIOS) | BY_HAND
    for name, scenario in SCENARIOS.items():
        kinds = tuple(test["name"].removeprefix(f"{name}: ") for test in scenario.tests(name, None))
        assert kinds == KINDS
        early = scenario.quiet or RULES[name]["for"] == "0s"
        assert early, f"{name}: show that it does not fire before `for`"


def promtool(program: str, path: Path, alert: str, told: dict[str, Any] | None) -> tuple[int, str]:
    scenario = SCENARIOS[alert]
    # The alert alone, with the records where it asks for one: the rest costs time only.
    alone = path.with_name("rules.yml")
    alone.write_text(json.dumps({"groups": [{"name": "alone", "rules": [RULES[alert]]}]}))
    content = {
        "rule_files": [str(alone), *(RECORDS if ":" in RULES[alert]["expr"] else [])],
        "evaluation_interval": f"{min(scenario.step, 15)}s",
        "tests": scenario.tests(alert, told),
    }
    path.write_text(json.dumps(content))
    result = subprocess.run(
        [program, "test", "rules", str(path)], capture_output=True, text=True, check=False
    )
    return result.returncode, result.stdout + result.stderr


@pytest.mark.parametrize("alert", SCENARIOS)
def test_alert(tool: Callable[..., str], tmp_path: Path, request, alert: str):
    program, path = tool("promtool"), tmp_path / "test.yml"
    golden = yaml.safe_load(GOLDEN.read_text()) if GOLDEN.exists() else {}
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
    for alert, told in yaml.safe_load(GOLDEN.read_text()).items():
        for name, text in told["exp_annotations"].items():
            where = f"{alert}: {name}: {text}"
            assert not re.search(r"<error|<no value>|\{\{", text), where
            assert not re.search(r"\d{7,}|\d\.\d{5,}|\bNaN\b|\bInf\b", text), where
    assert set(yaml.safe_load(GOLDEN.read_text())) == set(SCENARIOS)
