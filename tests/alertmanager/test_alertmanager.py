"""Alertmanager's configuration: valid, and every route leads where it should."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

CONFIG = Path(__file__).parents[2] / "alertmanager" / "alertmanager.yml"


@pytest.fixture
def amtool(tool: Callable[..., str]) -> Callable[..., str]:
    program = tool("amtool")

    def run(*arguments: str) -> str:
        result = subprocess.run([program, *arguments], capture_output=True, text=True, check=False)
        assert result.returncode == 0, result.stdout + result.stderr
        return result.stdout

    return run


def test_configuration_is_valid(amtool):
    out = amtool("check-config", str(CONFIG))
    assert "1 templates" in out
    assert "3 inhibit rules" in out


@pytest.mark.parametrize(
    ("labels", "receiver"),
    [
        (["alertname=Watchdog", "severity=none"], "watchdog"),
        (["alertname=GpuLost", "severity=critical", "host=a", "uuid=u"], "operators"),
        (["alertname=GpuNearSlowdown", "severity=warning", "host=a"], "operators"),
        (["alertname=YourOwn"], "operators"),
    ],
)
def test_route(amtool, labels: list[str], receiver: str):
    out = amtool(
        *("config", "routes", "test", f"--config.file={CONFIG}"),
        *(f"--verify.receivers={receiver}", *labels),
    )
    assert out.strip() == receiver


def test_inhibition_asks_for_every_label_that_must_be_equal():
    """Alertmanager takes two labels that are both missing for equal."""
    for rule in yaml.safe_load(CONFIG.read_text())["inhibit_rules"]:
        for label in rule["equal"]:
            assert f'{label}!=""' in rule["source_matchers"]
            assert f'{label}!=""' in rule["target_matchers"]


def test_critical_alerts_are_told_at_once_and_apart():
    (critical,) = (
        route
        for route in yaml.safe_load(CONFIG.read_text())["route"]["routes"]
        if route["matchers"] == ['severity="critical"']
    )
    assert critical["group_wait"] == "1s"
    assert critical["group_by"] == ["alertname", "host", "uuid"]
