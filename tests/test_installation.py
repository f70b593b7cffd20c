"""The unit of systemd, and what the page about installation tells to write."""

from __future__ import annotations

import configparser
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

UNIT = Path("packaging/systemd/gpu-sentinel.service")


@pytest.fixture
def page(repository: Path) -> str:
    return (repository / "docs" / "installation.md").read_text()


@pytest.fixture
def installed_unit(repository: Path, tmp_path: Path) -> Path:
    """The unit with a command that is there."""
    text = (repository / UNIT).read_text()
    assert "ExecStart=/opt/gpu-sentinel/bin/gpu-sentinel serve\n" in text
    path = tmp_path / UNIT.name
    path.write_text(text.replace("/opt/gpu-sentinel/bin/gpu-sentinel", sys.executable))
    return path


def test_systemd_understands_every_line(tool: Callable[..., str], installed_unit: Path):
    command = [tool("systemd-analyze"), "verify", "--man=no", str(installed_unit)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 0, result.stderr
    said = [line for line in result.stderr.splitlines() if UNIT.name in line]
    assert not said, said


def test_unit_is_closed(tool: Callable[..., str], installed_unit: Path):
    """Versions of systemd differ a little; the page says what one of them found."""
    result = subprocess.run(
        [
            *(tool("systemd-analyze"), "security", "--offline=true", "--no-pager"),
            *("--threshold=25", str(installed_unit)),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr


def test_unit_leaves_what_the_exporter_needs(repository: Path):
    unit = configparser.RawConfigParser(strict=False)
    unit.optionxform = str  # type: ignore[assignment, method-assign]
    unit.read_string((repository / UNIT).read_text())
    service = unit["Service"]
    assert service["AmbientCapabilities"] == service["CapabilityBoundingSet"] == "CAP_SYSLOG"
    for taken_away in ("PrivateDevices", "ProtectKernelLogs", "PrivateNetwork", "ProcSubset"):
        assert taken_away not in service
    assert service["ExecReload"] == "/bin/kill -HUP $MAINPID"
    assert service["RestartPreventExitStatus"] == "2"


def test_scrape_configuration_of_the_page(
    tool: Callable[..., str], repository: Path, tmp_path: Path, page: str
):
    """As it is told: with the rules copied beside it."""
    (text,) = re.findall(r"```yaml\n# prometheus.yml\n(.*?)```", page, re.DOTALL)
    (relabelling,) = re.findall(r"```yaml\n  relabel_configs:\n(.*?)  ```", page, re.DOTALL)
    config = yaml.safe_load(text)
    for name in ("rules", "alerts"):
        shutil.copytree(repository / "prometheus" / name, tmp_path / "gpu-sentinel" / name)
    path = tmp_path / "prometheus.yml"
    check = [tool("promtool"), "check", "config", str(path)]
    (job,) = config["scrape_configs"]
    for more in ({}, {"relabel_configs": yaml.safe_load(relabelling)}):
        job.update(more)
        path.write_text(yaml.safe_dump(config))
        result = subprocess.run(check, capture_output=True, text=True, timeout=60, check=False)
        assert result.returncode == 0, result.stderr
        assert "rules found" in result.stdout
    assert job["job_name"] == "gpu-sentinel"
    for static in job["static_configs"]:
        assert [t.split(":")[0] for t in static["targets"]] == [static["labels"]["host"]]
