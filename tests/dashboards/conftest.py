"""A Prometheus that holds half an hour of two simulated hosts, a while of last week, and today."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pages
import pytest
import requests
import yaml
from recording import Stretch, write_blocks

from gpu_sentinel.stack import programs
from gpu_sentinel.stack.plan import Notifications, Plan
from stackfixtures import Stack, _answers

SCENARIOS = Path(__file__).parent / "scenarios"
MINUTES, DAY, WEEK = 30, 86400.0, 7 * 86400.0


@dataclass(frozen=True)
class Filled:
    """A running Prometheus, and when what was recorded ends."""

    stack: Stack
    start: float
    end: float

    def get(self, path: str, **parameters: Any) -> list[dict[str, Any]]:
        """The answer of Prometheus' API; a query that is refused fails the test."""
        url = self.stack.url("prometheus") + f"/api/v1/{path}"
        answer = requests.post(url, data=parameters, timeout=60).json()
        assert answer["status"] == "success", f"{answer['error']}: {parameters}"
        return list(answer["data"]["result"])

    def instant(self, query: str) -> list[dict[str, Any]]:
        """As of the end of what was recorded, else as of now."""
        return self.get("query", query=query, time=self.end) or self.get("query", query=query)

    def range(self, query: str) -> list[dict[str, Any]]:
        """Over all of it; the last point is now."""
        now, step = time.time(), 30
        start = now - (now - self.start) // step * step
        return self.get("query_range", query=query, start=start, end=now, step=step)


def _rules(repository: Path, to: Path) -> Path:
    """The dashboards' rules, each from raw series, so that one evaluation fills all of them."""
    found = [
        {"record": name, "labels": labels, "expr": expr}
        for name, labels, expr in pages.recorded(repository / "prometheus" / "rules")
    ]
    content = {"groups": [{"name": "dashboards", "interval": "2s", "rules": found}]}
    to.write_text(yaml.safe_dump(content))
    return to


def _with_rows(folder: Path, rows: int) -> Path:
    """The scenario of last week, with so many rows of memory replaced."""
    scenario = yaml.safe_load((SCENARIOS / "last-week.yml").read_text())
    remap = {"at": "0s", "gpu": 3, "do": "remap", "type": "uncorrectable", "pending": False}
    scenario["events"] += [remap] * rows
    path = folder / f"rows-{rows}.yml"
    path.write_text(yaml.safe_dump(scenario))
    return path


def _record_rules(promtool: str, stack: Stack, rules: Path, stretches: list[Stretch]) -> None:
    """What the rules would have recorded meanwhile."""
    for stretch in stretches:
        command = [
            *(promtool, "tsdb", "create-blocks-from", "rules", "--eval-interval=60s"),
            f"--url={stack.url('prometheus')}",
            f"--start={stretch.start:.0f}",
            f"--end={stretch.start + stretch.seconds:.0f}",
            f"--output-dir={stack.plan.data / 'prometheus'}",
            str(rules),
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


def _silence(filled: Filled) -> None:
    """Maintenance of one host."""
    command = [sys.executable, "-m", "gpu_sentinel", "maintenance"]
    command += ["--url", filled.stack.url("alertmanager"), "start", "--host", "node-1"]
    command += ["--for", "1h", "--comment", "new fans", "--unchecked"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


#: The last to come: alerts of both states, what could not be delivered, what rules recorded,
#: two scrapes of everything.
_LAST = (
    'ALERTS{alertstate="firing",alertname!="Watchdog"}',
    'ALERTS{alertstate="pending"}',
    "alertmanager_notifications_total > 0",
    "host_model:gpu_devices:count",
    'alertmanager_silences{state="active"} > 0',
    "rate(prometheus_tsdb_head_samples_appended_total[1m])",
    "rate(alertmanager_notifications_total[1m])",
    "rate(gpu_sentinel_lateness_seconds_count[1m])",
)


def _hasten(config: Path, rules: Path) -> None:
    """Everything is looked at every two seconds, or the tests wait for it."""
    shutil.rmtree(config / "rules")
    (config / "rules").mkdir()
    shutil.copy(rules, config / "rules")
    content = yaml.safe_load((config / "prometheus.yml").read_text())
    content["global"] = dict.fromkeys(
        ("scrape_interval", "scrape_timeout", "evaluation_interval"), "2s"
    )
    for job in content["scrape_configs"]:
        job.pop("scrape_interval", None)
    (config / "prometheus.yml").write_text(yaml.safe_dump(content))


def _wait(filled: Filled) -> None:
    missing, deadline = list(_LAST), time.monotonic() + 300
    while missing:
        assert time.monotonic() < deadline, f"not there: {missing}"
        time.sleep(0.2)
        missing = [query for query in missing if not filled.get("query", query=query)]


@pytest.fixture(scope="session")
def filled(tool, free_port, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Filled]:
    """Everything that dashboards can show, and more than one of each."""
    for names in (("prometheus",), ("promtool",), ("alertmanager", "prometheus-alertmanager")):
        tool(*names)
    promtool = tool("promtool")
    repository = Path(__file__).parents[2]
    folder = tmp_path_factory.mktemp("filled")
    # Nobody listens there: deliveries fail, which is to be seen.
    nobody = Notifications(webhook_url=f"http://127.0.0.1:{free_port()}/")
    ports = (free_port() for _ in range(3))
    plan = Plan(folder / "data", str(SCENARIOS / "live.yml"), "", *ports, notifications=nobody)
    plan.data.mkdir()
    stack = Stack(plan)
    end = time.time()
    start, hour = end - MINUTES * 60, end // 10800 * 10800
    stretches = [
        Stretch("node-1", SCENARIOS / "node-1.yml", start, MINUTES * 60),
        Stretch("node-2", SCENARIOS / "node-2.yml", start, MINUTES * 60),
        Stretch("node-1", SCENARIOS / "last-week.yml", start - WEEK, 600, 60),
        # What is asked for once in three hours is found on the hour.
        *(
            Stretch("node-1", _with_rows(folder, rows), hour - days * DAY - 300, 360, 30)
            for days, rows in ((3, 0), (2, 2), (1, 6))
        ),
    ]
    write_blocks(promtool, stretches, folder / "text", plan.data / "prometheus")
    rules = _rules(repository, folder / "dashboards.yml")
    try:
        stack.start("prometheus")
        _record_rules(promtool, stack, rules, [*stretches[2:], stretches[0]])
        stack.parts.pop("prometheus").stop()
        stack.start("exporter", "alertmanager")
        component = programs.prometheus(plan)
        assert component is not None
        # On a busy machine the recording is more than the usual five minutes old by now, and
        # alerts are to fire by it all the same. GPU 5 is lost eight minutes before its end.
        component.command.append("--query.lookback-delta=7m")
        _hasten(plan.data / "config" / "prometheus", rules)
        stack.parts["prometheus"] = component
        component.start()
        component.wait_ready(_answers, 120)
        filled = Filled(stack, start, end)
        _silence(filled)
        _wait(filled)
        yield filled
    finally:
        stack.stop()
