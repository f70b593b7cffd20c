"""`gpu-sentinel maintenance` against a real Alertmanager and a real Prometheus."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable
from datetime import datetime, timezone

import pytest
import requests

Run = Callable[..., subprocess.CompletedProcess[str]]

MODELS = {
    "GPU-a0": ("node-a", "NVIDIA H100 80GB HBM3"),
    "GPU-a1": ("node-a", "NVIDIA H100 80GB HBM3"),
    "GPU-b0": ("node-b", "NVIDIA H100 PCIe"),
    "GPU-c0": ("node-c", "NVIDIA L40S"),
}
NO_RULES = "groups: []\n"


@pytest.fixture
def run(past, alertmanager: str, sentinel) -> Run:
    now = int(time.time())
    lines = ["# TYPE gpu_info gauge"]
    for uuid, (host, name) in MODELS.items():
        # The host of the L40S has been off for an hour; it is known all the same.
        labels = f'host="{host}",uuid="{uuid}",name="{name}"'
        last = 3600 if host == "node-c" else 0
        lines += [f"gpu_info{{{labels}}} 1 {now - ago}" for ago in range(7200, last, -15)]
    lines.append("# TYPE up gauge")
    for host in ("node-a", "node-b", "node-c"):
        labels = f'job="gpu-sentinel",host="{host}"'
        up = int(host != "node-c")
        lines += [f"up{{{labels}}} {up} {now - ago}" for ago in range(7200, 0, -15)]
    url = past("\n".join(lines) + "\n", NO_RULES)
    return lambda *more: sentinel("maintenance", "--url", alertmanager, "--prometheus", url, *more)


@pytest.fixture
def told(alertmanager: str, eventually) -> Callable[[], set[str]]:
    """The GPUs about which somebody is told, of four that are all lost."""
    alerts = [
        {"labels": {"alertname": "GpuLost", "uuid": uuid, "host": host}}
        for uuid, (host, _) in MODELS.items()
    ]
    assert requests.post(f"{alertmanager}/api/v2/alerts", json=alerts, timeout=60).ok

    def active() -> set[str]:
        found = requests.get(f"{alertmanager}/api/v2/alerts?silenced=false", timeout=60).json()
        return {a["labels"]["uuid"] for a in found if a["status"]["state"] == "active"}

    eventually(lambda: len(active()) == len(MODELS), 15, "all fire")
    return active


WORK = {
    "host": (["--host", "node-a"], {"GPU-b0", "GPU-c0"}),
    "hosts": (["--host", "node-a", "--host", "node-b"], {"GPU-c0"}),
    "a-host-that-is-off": (["--host", "node-c"], {"GPU-a0", "GPU-a1", "GPU-b0"}),
    "uuid": (["--uuid", "GPU-a1"], {"GPU-a0", "GPU-b0", "GPU-c0"}),
    "model": (["--model", "h100 80gb"], {"GPU-b0", "GPU-c0"}),
    "whole-name": (["--model", "NVIDIA L40S"], {"GPU-a0", "GPU-a1", "GPU-b0"}),
    "unchecked": (["--host", "node-a", "--unchecked"], {"GPU-b0", "GPU-c0"}),
}


@pytest.mark.parametrize("case", WORK)
def test_nobody_is_told_of_what_is_worked_on(run: Run, told, eventually, case: str):
    selection, left = WORK[case]
    comment = ("--comment", "new fans", "--author", "ann")
    result = run("start", *selection, "--for", "2h", *comment)
    assert result.returncode == 0, result.stderr
    work = result.stdout.partition(":")[0]
    assert f"{work}: maintenance of " in result.stdout
    assert "(2h)" in result.stdout
    eventually(lambda: told() == left, 10, "the others alone are told")

    (listed,) = json.loads(run("list", "--json").stdout)
    assert (listed["author"], listed["comment"], listed["state"]) == ("ann", "new fans", "going on")
    until = datetime.fromisoformat(listed["until"]) - datetime.now(timezone.utc)
    assert 7100 < until.total_seconds() <= 7200
    table = run("list").stdout.splitlines()
    assert len(table) == 2
    assert table[1].startswith(work)
    assert table[1].endswith("new fans")

    assert run("end", work).stdout == "Ended: new fans\n"
    eventually(lambda: len(told()) == len(MODELS), 10, "all are told again")
    assert run("list").stdout == "No maintenance.\n"


def test_work_that_is_planned(run: Run, told):
    start = ("start", "--host", "node-a", "--for", "90m", "--in", "1h", "--comment", "later")
    result = run(*start)
    assert " from " in result.stdout
    (listed,) = json.loads(run("list", "--json").stdout)
    assert listed["state"] == "planned"
    begin = datetime.fromisoformat(listed["from"]) - datetime.now(timezone.utc)
    assert 3500 < begin.total_seconds() <= 3600
    time.sleep(1)
    assert len(told()) == len(MODELS)
    assert run("end", listed["id"]).returncode == 0


def test_an_acknowledgement_is_no_maintenance(run: Run, told, alertmanager: str, sentinel):
    assert told()
    alerts = ("alerts", "--url", alertmanager)
    (first, *_) = json.loads(sentinel(*alerts, "list", "--json").stdout)
    assert sentinel(*alerts, "ack", first["id"], "--comment", "seen").returncode == 0
    assert run("list").stdout == "No maintenance.\n"


def test_dashboards_can_show_it(run: Run, alertmanager: str, eventually):
    """By Alertmanager's own metric, under the name that the documentation has."""
    assert run("start", "--host", "node-a", "--for", "1h", "--comment", "x").returncode == 0

    def shown() -> bool:
        page = requests.get(f"{alertmanager}/metrics", timeout=60).text
        return 'alertmanager_silences{state="active"} 1' in page

    eventually(shown, 10, "it is in the metrics")


ENOUGH = ("--for", "1h", "--comment", "x")
WRONG = {
    "no-selection": (["start", *ENOUGH], 2, "name one of --host, --uuid and --model"),
    "two": (["start", "--host", "a", "--uuid", "b", *ENOUGH], 2, "name one of"),
    "host": (["start", "--host", "node-x", *ENOUGH], 1, "no host 'node-x': did you mean 'node-"),
    "far-off": (["start", "--host", "zzz", *ENOUGH], 1, "Prometheus knows node-a, node-b, node-c"),
    "uuid": (["start", "--uuid", "GPU-x", *ENOUGH], 1, "no uuid 'GPU-x'"),
    "model": (["start", "--model", "T4", *ENOUGH], 1, "no GPU is a 'T4': Prometheus knows NVIDIA"),
    "models": (
        ["start", "--model", "H100", *ENOUGH],
        1,
        "'H100' fits several models, write more of it: NVIDIA H100 80GB HBM3, NVIDIA H100 PCIe",
    ),
    "unchecked-model": (
        ["start", "--model", "H100", "--unchecked", *ENOUGH],
        2,
        "needs Prometheus",
    ),
    "no-comment": (["start", "--host", "node-a", "--for", "1h"], 2, "Missing option '--comment'"),
    "empty": (["start", "--host", "node-a", "--for", "1h", "--comment", " "], 2, "a comment is"),
    "no-end": (["start", "--host", "node-a", "--comment", "x"], 2, "Missing option '--for'"),
    "nothing": (["start", "--host", "node-a", "--for", "0s", "--comment", "x"], 2, "longer than"),
    "no-unit": (["start", "--host", "node-a", "--for", "3", "--comment", "x"], 2, "is no duration"),
    "unknown-id": (["end", "ffffffff"], 1, "ffffffff: is no maintenance"),
}


def test_wrong_use_is_one_line(run: Run):
    for arguments, code, said in WRONG.values():
        result = run(*arguments)
        assert result.returncode == code, result.stderr
        assert said in result.stderr
        assert len(result.stderr.splitlines()) == 1


def test_servers_that_are_not_there(sentinel, free_port, alertmanager: str):
    nobody = f"http://127.0.0.1:{free_port()}"
    start = ("start", "--host", "node-a", *ENOUGH)
    result = sentinel("maintenance", "--url", alertmanager, "--prometheus", nobody, *start)
    assert result.returncode == 1
    assert "no Prometheus answers at http://127.0.0.1:" in result.stderr
    result = sentinel("maintenance", "--url", nobody, *start, "--unchecked")
    assert result.returncode == 1
    assert "no Alertmanager answers at http://127.0.0.1:" in result.stderr
    assert len(result.stderr.splitlines()) == 1
