"""Alertmanager's configuration: valid, and every route leads where it should."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

FOLDER = Path(__file__).parents[2] / "alertmanager"
CONFIG = FOLDER / "alertmanager.yml"
MUTE = "mute_time_intervals: [nights-and-weekends]"


@pytest.fixture
def amtool(tool: Callable[..., str]) -> Callable[..., str]:
    program = tool("amtool")

    def run(*arguments: str) -> str:
        result = subprocess.run([program, *arguments], capture_output=True, text=True, check=False)
        assert result.returncode == 0, result.stdout + result.stderr
        return result.stdout

    return run


@pytest.fixture
def config() -> dict[str, Any]:
    return yaml.safe_load(CONFIG.read_text())


def route(config: dict[str, Any], severity: str) -> dict[str, Any]:
    (found,) = (r for r in config["route"]["routes"] if r["matchers"] == [f'severity="{severity}"'])
    return found


def test_configuration_is_valid(amtool, config):
    out = amtool("check-config", str(CONFIG))
    assert "1 templates" in out
    assert f"{len(config['inhibit_rules'])} inhibit rules" in out


@pytest.mark.parametrize(
    ("labels", "receiver"),
    [
        (["alertname=Watchdog", "severity=none"], "watchdog"),
        (["alertname=GpuLost", "severity=critical", "host=a", "uuid=u"], "operators"),
        (["alertname=GpuExporterDown", "severity=critical", "host=a"], "operators"),
        (["alertname=GpuNearSlowdown", "severity=warning", "host=a"], "operators"),
        (["alertname=GpuIdle", "severity=info", "host=a"], "nobody"),
        (["alertname=YourOwn"], "operators"),
        (["alertname=YourOwn", "severity=page"], "operators"),
    ],
)
def test_route(amtool, labels: list[str], receiver: str):
    out = amtool(
        *("config", "routes", "test", f"--config.file={CONFIG}"),
        *(f"--verify.receivers={receiver}", *labels),
    )
    assert out.strip() == receiver


def test_nobody_is_nobody(config):
    (nobody,) = (r for r in config["receivers"] if r["name"] == "nobody")
    assert nobody == {"name": "nobody"}


def test_inhibition_asks_for_every_label_that_must_be_equal(config):
    """Alertmanager takes two labels that are both missing for equal."""
    for rule in config["inhibit_rules"]:
        # Where there are no clusters, all of it is one.
        assert "cluster" in rule["equal"]
        for label in set(rule["equal"]) - {"cluster"}:
            for side in (rule["source_matchers"], rule["target_matchers"]):
                asked = (f'{label}!=""', f'{label}="', f'{label}=~"')
                assert any(matcher.startswith(asked) for matcher in side), (label, side)


def test_alerts_that_the_configuration_names_are_there(config, repository: Path):
    rules = {
        rule["alert"]
        for path in (repository / "prometheus" / "alerts").glob("*.yml")
        for group in yaml.safe_load(path.read_text())["groups"]
        for rule in group["rules"]
        if "alert" in rule
    }
    named = set(re.findall(r"\b(?:Gpu[A-Z]\w+|Watchdog)\b", yaml.safe_dump(config)))
    assert named
    assert named <= rules


def test_critical_alerts_are_told_at_once_and_apart_and_again_every_hour(config):
    critical = route(config, "critical")
    assert critical["group_wait"] == "1s"
    assert critical["group_by"] == ["alertname", "cluster", "host", "uuid"]
    assert critical["repeat_interval"] == "1h"
    assert "mute_time_intervals" not in critical


def test_warnings_are_told_together(config):
    warning = route(config, "warning")
    assert warning["group_by"] == ["alertname", "cluster", "host"]
    assert warning["group_wait"] == "30s"


def test_mute_times_are_off_and_valid_when_they_are_on(amtool, config, tmp_path: Path):
    assert "mute_time_intervals" not in yaml.safe_dump(config["route"])
    text = CONFIG.read_text()
    assert text.count(f"# {MUTE}") == 1
    on = tmp_path / "alertmanager.yml"
    on.write_text(
        text.replace(f"# {MUTE}", MUTE).replace("- templates/*", f"- {FOLDER}/templates/*")
    )
    amtool("check-config", str(on))
    assert route(yaml.safe_load(on.read_text()), "warning")["mute_time_intervals"] == [
        config["time_intervals"][0]["name"]
    ]
