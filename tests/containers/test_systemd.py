"""`gpu-sentinel install` on a running systemd, in namespaces of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

pytestmark = pytest.mark.containers

UNITS = ("gpu-sentinel", "gpu-sentinel-alertmanager", "gpu-sentinel-prometheus")


class Machine:
    """A systemd with this package in /opt/gpu-sentinel."""

    def __init__(self, pid: int) -> None:
        self.pid = pid

    def run(self, *command: str) -> tuple[int, str]:
        """Exit code, and what it says."""
        inside = ["nsenter", "--target", str(self.pid), "--all", "--root", "--wd"]
        env = {"PATH": "/opt/gpu-sentinel/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
        result = subprocess.run(
            [*inside, *command], capture_output=True, text=True, timeout=90, check=False, env=env
        )
        return result.returncode, result.stdout + result.stderr

    def get(self, url: str) -> str:
        code = f"import urllib.request as u; print(u.urlopen({url!r}, timeout=5).read().decode())"
        return self.run("python3", "-c", code)[1]

    def main(self, unit: str) -> int:
        return int(self.run("systemctl", "show", "-p", "MainPID", "--value", unit)[1])


@pytest.fixture
def machine(tool, eventually, repository: Path, tmp_path: Path) -> Iterator[Machine]:
    for program in ("prometheus", "unshare", "nsenter", "systemd-sysusers", "ip"):
        tool(program)
    tool("alertmanager", "prometheus-alertmanager")
    if os.geteuid() != 0:
        pytest.skip("namespaces are made by root alone")
    mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    group = Path(next(m[1] for m in mounts if m[2] == "cgroup2")) / f"sentinel-{os.getpid()}"
    group.mkdir()
    (tmp_path / "root").mkdir()
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    boot = [
        *("sh", str(repository / "tests/containers/boot-systemd.sh"), str(tmp_path / "root")),
        *(sys.base_prefix, version, sysconfig.get_path("purelib"), str(repository)),
    ]
    spaces = ["--fork", "--pid", "--mount", "--uts", "--ipc", "--net", "--cgroup", "--kill-child"]
    with (tmp_path / "boot.log").open("wb") as log:
        process = subprocess.Popen(
            # It joins its control group before it gets a namespace with that as its root.
            [
                *("sh", "-c", f'echo $$ > {group}/cgroup.procs; exec "$@"', "-"),
                *("unshare", *spaces, *boot),
            ],
            stdout=log,
            stderr=log,
        )
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")

    def booted() -> bool:
        if process.poll() is not None:
            said = (tmp_path / "boot.log").read_text()
            # What no installation mends: namespaces, mounts or control groups denied.
            (pytest.fail if os.environ.get("SENTINEL_REQUIRE_TOOLS") else pytest.skip)(said)
        first = children.read_text().split()
        if not first or "systemd" not in Path(f"/proc/{first[0]}/cmdline").read_text():
            return False
        said = Machine(int(first[0])).run("systemctl", "is-system-running")[1]
        return said.strip() in ("running", "degraded")

    try:
        eventually(booted, 60, "systemd runs")
        yield Machine(int(children.read_text()))
    finally:
        process.kill()
        process.wait()
        for folder in sorted(group.rglob("*/"), reverse=True):
            eventually(lambda folder=folder: removed(folder), 20, f"{folder} is empty")
        eventually(lambda: removed(group), 20, f"{group} is empty")


def removed(group: Path) -> bool:
    """A control group can be removed once its last process is gone."""
    with suppress(OSError):
        group.rmdir()
    return not group.exists()


@pytest.mark.timeout(300)
def test_services_of_a_running_systemd(machine: Machine, eventually):
    install = ("gpu-sentinel", "install", "--simulate", "steady")
    hook = ("--webhook-url", "http://127.0.0.1:1/")
    code, said = machine.run(*install, *hook)
    assert code == 0, said
    assert said.count(" runs: http://127.0.0.1:") == len(UNITS)

    def healthy() -> list[str]:
        page = machine.get("http://127.0.0.1:9090/api/v1/targets")
        return [t["health"] for t in json.loads(page)["data"]["activeTargets"]]

    eventually(lambda: healthy() == ["up"] * 3, 60, "all three are scraped")
    api = "http://127.0.0.1:9093/api/v2/alerts"
    eventually(lambda: "Watchdog" in machine.get(api), 60, "Alertmanager gets alerts")
    users = machine.run("ps", "-eo", "user:32,args")[1]
    for unit in UNITS:
        assert any(line.startswith(f"{unit} ") for line in users.splitlines()), users
    secret = "/var/lib/gpu-sentinel/config/alertmanager/alertmanager.yml"
    for user, readable in (("nobody", False), ("gpu-sentinel-alertmanager", True)):
        command = ("setpriv", f"--reuid={user}", "--regid", user.replace("nobody", "nogroup"))
        assert (machine.run(*command, "--clear-groups", "cat", secret)[0] == 0) is readable
    before = {unit: machine.main(unit) for unit in UNITS}
    for pid in before.values():
        machine.run("kill", "-9", str(pid))
    eventually(
        lambda: all(machine.main(unit) not in (0, before[unit]) for unit in UNITS),
        60,
        "systemd starts them again",
    )
    assert machine.run(*install, *hook)[0] == 0, "again, with what runs already"
    code, said = machine.run("gpu-sentinel", "install", "--remove", "--purge")
    assert code == 0, said
    assert all(machine.main(unit) == 0 for unit in UNITS)
    assert machine.run("ls", "/var/lib/gpu-sentinel")[0] != 0
