"""`gpu-sentinel install` on a running systemd, in namespaces of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest

pytestmark = pytest.mark.containers

SECRETS = "/var/lib/gpu-sentinel/secrets"
UNITS = ("gpu-sentinel", "gpu-sentinel-alertmanager", "gpu-sentinel-prometheus")


class Machine:
    """A systemd with this package in /opt/gpu-sentinel."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.tls = False

    def run(self, *command: str) -> tuple[int, str]:
        """Exit code, and what it says."""
        inside = ["nsenter", "--target", str(self.pid), "--all", "--root", "--wd"]
        env = {"PATH": "/opt/gpu-sentinel/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
        result = subprocess.run(
            [*inside, *command], capture_output=True, text=True, timeout=90, check=False, env=env
        )
        return result.returncode, result.stdout + result.stderr

    def get(self, port: int, path: str, user: str = "admin", password: str = "") -> tuple[int, str]:
        """Status and body of a page of one of the services, asked with the right password."""
        password = password or self.run("cat", f"{SECRETS}/passwords/{user}")[1].strip()
        where = f"{'https' if self.tls else 'http'}://127.0.0.1:{port}{path}"
        trust = f"{SECRETS}/tls/ca.pem" if self.tls else True
        code = (
            "import requests; "
            f"a = requests.get({where!r}, timeout=10, auth=({user!r}, {password!r}), "
            f"verify={trust!r}); print(a.status_code, a.text)"
        )
        status, _, body = self.run("python3", "-c", code)[1].partition(" ")
        return int(status) if status.isdecimal() else 0, body

    def reads(self, user: str, file: str) -> bool:
        """Whether a user can; that of the exporter exists only while it runs."""
        code = (
            "import os, pwd, sys; u = pwd.getpwnam(sys.argv[1]); os.setgroups([]); "
            "os.setgid(u.pw_gid); os.setuid(u.pw_uid); open(sys.argv[2], 'rb').read()"
        )
        status, said = self.run("/usr/bin/python3", "-c", code, user, file)
        assert status == 0 or "PermissionError" in said, said
        return status == 0

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
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_services_of_a_running_systemd(machine: Machine, eventually, tls: bool):
    machine.tls = tls
    install = ("gpu-sentinel", "install", "--simulate", "steady", *(("--tls",) if tls else ()))
    hook = ("--webhook-url", "http://127.0.0.1:1/")
    code, said = machine.run(*install, *hook)
    assert code == 0, said
    scheme = "https" if tls else "http"
    assert said.count(f" runs: {scheme}://127.0.0.1:") == len(UNITS)
    assert f"passwords in {SECRETS}/passwords/USER\n" in said, "shown on terminals alone"

    def healthy() -> list[str]:
        status, page = machine.get(9090, "/api/v1/targets")
        return [t["health"] for t in json.loads(page)["data"]["activeTargets"]] if status else []

    eventually(lambda: healthy() == ["up"] * 3, 60, "all three are scraped")
    alerts = "/api/v2/alerts"
    eventually(lambda: "Watchdog" in machine.get(9093, alerts)[1], 60, "Alertmanager gets alerts")
    for port, page in ((9836, "/metrics"), (9090, "/api/v1/targets"), (9093, alerts)):
        assert machine.get(port, page)[0] == 200
        assert machine.get(port, page, password="wrong")[0] == 401
    assert machine.get(9093, alerts, "reader")[0] == 401
    code, said = machine.run("gpu-sentinel", "alerts", "list")
    assert code == 0, said
    assert "Alerting works" in said
    code, said = machine.run("gpu-sentinel", "status")
    assert (code, "401" in said) == (0, False), said
    _users_and_files(machine)
    before = {unit: machine.main(unit) for unit in UNITS}
    for pid in before.values():
        machine.run("kill", "-9", str(pid))
    eventually(
        lambda: all(machine.main(unit) not in (0, before[unit]) for unit in UNITS),
        60,
        "systemd starts them again",
    )
    _new_secrets(machine, eventually)
    _audited(machine, eventually)
    assert machine.run(*install, *hook)[0] == 0, "again, with what runs already"
    eventually(lambda: healthy() == ["up"] * 3, 60, "all three are scraped again")
    code, said = machine.run("gpu-sentinel", "install", "--remove", "--purge")
    assert code == 0, said
    assert all(machine.main(unit) == 0 for unit in UNITS)
    for left in ("/var/lib/gpu-sentinel", "/run/credentials/gpu-sentinel.service"):
        assert machine.run("ls", left)[0] != 0
    folders = ("/etc/systemd/system", "/etc/sysusers.d", "/var/lib/systemd/timers")
    assert "gpu-sentinel" not in machine.run("ls", *folders)[1]


def _new_secrets(machine: Machine, eventually) -> None:
    """New passwords and certificates are those of the services once the command has ended."""
    old = machine.run("cat", f"{SECRETS}/passwords/admin")[1].strip()
    code, said = machine.run("gpu-sentinel", "credentials", "rotate", "admin", "prometheus")
    assert (code, said.count(f"{UNITS[0]}.service")) == (0, 1), said
    for port in (9836, 9093):
        answers = partial(machine.get, port, "/-/ready")
        eventually(lambda answers=answers: answers()[0] == 200, 30, f"{port} answers")
        assert machine.get(port, "/metrics")[0] == 200
        assert machine.get(port, "/metrics", password=old)[0] == 401
    if not machine.tls:
        return
    job = ("systemctl", "start", "gpu-sentinel-certificate.service")
    before = machine.main("gpu-sentinel")
    assert machine.run(*job)[0] == 0
    assert machine.main("gpu-sentinel") == before, "the certificate lasts"
    machine.run("rm", f"{SECRETS}/web/server.pem")
    assert machine.run(*job)[0] == 0, machine.run("journalctl", "-u", job[-1])[1]
    assert machine.run("ls", f"{SECRETS}/web/server.pem")[0] == 0
    assert machine.main("gpu-sentinel") not in (0, before)
    same = ("cmp", f"{SECRETS}/web/server.pem", "/run/credentials/gpu-sentinel.service/server.pem")
    assert machine.run(*same)[0] == 0


def _audited(machine: Machine, eventually) -> None:
    """The timer's job, which has a password of its own, has Alertmanager tell of a silence."""
    eventually(lambda: machine.get(9093, "/-/ready")[0] == 200, 30, "Alertmanager answers")
    work = ("--host", "elsewhere", "--for", "40d", "--yes", "--unchecked", "--comment", "moved")
    code, said = machine.run("gpu-sentinel", "maintenance", "start", *work)
    assert code == 0, said
    for unit, state in (("timer", "active"), ("service", "static")):
        asked = "is-active" if unit == "timer" else "is-enabled"
        assert machine.run("systemctl", asked, f"gpu-sentinel-audit.{unit}")[1].strip() == state
    code, said = machine.run("systemctl", "start", "gpu-sentinel-audit.service")
    said += machine.run("journalctl", "--no-pager", "-u", "gpu-sentinel-audit.service")[1]
    assert code == 0, said
    assert "SilenceTooLong" in machine.get(9093, "/api/v2/alerts")[1], said
    assert "lasts 40 days" in said


def _users_and_files(machine: Machine) -> None:
    """Each service runs as a user of its own, who reads its own secrets and no other's."""
    users = machine.run("ps", "-eo", "user:32,args")[1]
    for unit in UNITS:
        assert any(line.startswith(f"{unit} ") for line in users.splitlines()), users
    secret = "/var/lib/gpu-sentinel/config/alertmanager/alertmanager.yml"
    assert machine.reads("gpu-sentinel-alertmanager", secret)
    assert not machine.reads("nobody", secret)
    for unit in UNITS:
        own = machine.run("ls", f"/run/credentials/{unit}.service")[1].split()
        assert "web.yml" in own
        assert ("password-prometheus" in own) is (unit == "gpu-sentinel-prometheus")
        assert ("server.key" in own) is machine.tls
        for name in own:
            file = f"/run/credentials/{unit}.service/{name}"
            for user in (*UNITS, "nobody"):
                assert machine.reads(user, file) is (user == unit), (user, file)
    for file in ("passwords/admin", "passwords/prometheus", "web/prometheus.yml"):
        assert not any(machine.reads(user, f"{SECRETS}/{file}") for user in (*UNITS, "nobody"))
