"""Documentation names what there is, and its links lead somewhere."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from gpu_sentinel.durations import seconds
from gpu_sentinel.settings import SETTINGS
from gpu_sentinel.simulator import load_scenario, scenario_names
from gpu_sentinel.simulator.loads import KINDS
from gpu_sentinel.simulator.models import DRIVERS, MODELS
from gpu_sentinel.simulator.scenario import ACTIONS

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "SECURITY.md", *sorted((ROOT / "docs").rglob("*.md"))]


@pytest.mark.parametrize("name", SETTINGS)
def test_setting_is_documented(name: str):
    assert f"| `{name}` |" in (ROOT / "docs" / "configuration.md").read_text()


@pytest.mark.parametrize("name", [*scenario_names(), *ACTIONS, *KINDS, *MODELS, *DRIVERS])
def test_simulator_page_knows(name: str):
    assert f"`{name}`" in (ROOT / "docs" / "simulator.md").read_text()


def test_scenarios_of_the_page_are_valid(tmp_path: Path):
    text = (ROOT / "docs" / "simulator.md").read_text()
    blocks = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    assert len(blocks) == 2
    for block in blocks:
        path = tmp_path / "my.yml"
        path.write_text(block)
        assert len(load_scenario(str(path)).gpus) == 2


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_lead_somewhere(page: Path):
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_yaml_blocks_are_yaml(page: Path):
    for block in re.findall(r"```yaml\n(.*?)```", page.read_text(), re.DOTALL):
        assert yaml.safe_load(block)


def test_alerts_are_listed():
    page = (ROOT / "docs" / "alerting.md").read_text()
    expected = {
        (rule["alert"], rule["labels"]["severity"], told_after(group, rule))
        for path in (ROOT / "prometheus" / "alerts").glob("*.yml")
        for group in yaml.safe_load(path.read_text())["groups"]
        for rule in group["rules"]
    }
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \|.*\| (.*) \| .* \|$", page, re.MULTILINE)
    assert set(rows) == expected


def told_after(group: dict[str, Any], rule: dict[str, Any]) -> str:
    """A scrape, the rule's interval, its `for` in whole intervals, Alertmanager's wait."""
    wait = {"critical": 1, "warning": 30}.get(rule["labels"]["severity"])
    if wait is None:
        return "at once" if rule["alert"] == "Watchdog" else "never"
    interval = seconds(group.get("interval", "5s"))
    total = 5 + interval + math.ceil(seconds(rule["for"]) / interval) * interval + wait
    return f"{total:g} s" if total < 120 else f"{total / 60:.0f} min"


def test_tests_that_the_documentation_names_exist():
    text = "\n".join(page.read_text() for page in PAGES)
    named = re.findall(r"`(tests/[\w/]+\.py)((?:::\w+)*)`", text)
    assert len(named) > 50
    for path, names in named:
        source = (ROOT / path).read_text()
        for name in filter(None, names.split("::")):
            assert re.search(rf"^ *(?:def|class) {name}\b", source, re.MULTILINE), path + names
