"""`gpu-sentinel install`: what systemd's own tools say of the units, and what their commands do."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
import requests
from installing import HOOK, PARTS

from gpu_sentinel.stack.units import JOBS, SERVICES, templates


@pytest.fixture
def units(root: Path, told, free_port) -> dict[str, Path]:
    """The units as they are installed, of all parts that are there."""
    ports = [f"--{part}-port={free_port()}" for part in PARTS]
    assert told("--root", str(root), "--simulate=steady", *ports, *HOOK)[0] == 0
    return {s.part: root / "etc/systemd/system" / s.unit for s in SERVICES if s.part in PARTS} | {
        "audit": root / "etc/systemd/system/gpu-sentinel-audit.service",
        "timer": root / "etc/systemd/system/gpu-sentinel-audit.timer",
    }


def test_systemd_understands_what_is_written(tool, units: dict[str, Path]):
    command = [tool("systemd-analyze"), "verify", "--man=no", *map(str, units.values())]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    said = [line for line in result.stderr.splitlines() if "gpu-sentinel" in line]
    assert (result.returncode, said) == (0, []), result.stderr


@pytest.mark.parametrize("part", [s.part for s in (*SERVICES, *JOBS)])
def test_units_are_closed(tool, part: str):
    (unit,) = [s.unit for s in (*SERVICES, *JOBS) if s.part == part]
    result = subprocess.run(
        [
            *(tool("systemd-analyze"), "security", "--offline=true", "--no-pager"),
            *("--threshold=25", str(templates() / unit)),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("part", PARTS)
def test_command_of_each_unit_runs(
    root: Path, units: dict[str, Path], eventually, tmp_path: Path, part: str
):
    """With the paths below the root, which systemd would find below /."""
    text = units[part].read_text()
    (line,) = re.findall(r"^ExecStart=(.*)$", text, re.MULTILINE)
    data = "/var/lib/gpu-sentinel"
    given = f"/run/credentials/{units[part].name}"
    copies = tmp_path / "given"
    copies.mkdir()
    for name, file in re.findall(r"^LoadCredential=([^:]+):(.*)$", text, re.MULTILINE):
        shutil.copy(root / file.lstrip("/"), copies / name)
    command = [
        word.replace(data, f"{root}{data}").replace(given, str(copies))
        for word in shlex.split(line)
    ]
    secret = root / "var/lib/gpu-sentinel/secrets/passwords/prometheus"
    login = ("prometheus", secret.read_text().strip())
    (address,) = re.findall(r"listen-address[= ](127\.0\.0\.1:\d+)", line)
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def ready() -> bool:
        assert process.poll() is None
        try:
            if not requests.get(f"http://{address}/-/ready", auth=login, timeout=5).ok:
                return False
            return requests.get(f"http://{address}/metrics", timeout=5).status_code == 401
        except requests.ConnectionError:
            return False

    try:
        eventually(ready, 30, "it is ready")
    finally:
        process.terminate()
        process.wait(20)
