"""With too little memory, at whatever point it ends: one line, never a traceback."""

from __future__ import annotations

import resource
import subprocess
import sys

import pytest

from gpu_sentinel.cli import DEFECT
from gpu_sentinel.shortage import shortage

#: Of address space. With less than 17 Python itself breaks; from 50 on, the commands work.
MEBIBYTES = (20, 22, 29, 36)
COMMANDS = {
    "alerts": ["alerts", "--timeout", "1", "list"],
    "maintenance": ["maintenance", "start", "--host", "a", "--for", "1h", "--comment", "x"],
    "status": ["status", "--timeout", "1"],
    "check": ["check", "--simulate", "--web.listen-address", "127.0.0.1:0"],
}


def limited(mebibytes: int, *command: str) -> subprocess.CompletedProcess[str]:
    size = mebibytes * 2**20
    return subprocess.run(
        [sys.executable, *command],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        stdin=subprocess.DEVNULL,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (size, size)),
    )


@pytest.mark.parametrize("mebibytes", MEBIBYTES)
@pytest.mark.parametrize("name", COMMANDS)
def test_too_little_address_space_is_one_line(name: str, mebibytes: int):
    if limited(mebibytes, "-c", "import click").returncode != 0:
        # Even less: then there is nothing but the start of the program.
        assert limited(mebibytes, "-c", "pass").returncode == 0, "Python itself does not start"
    result = limited(mebibytes, "-m", "gpu_sentinel", *COMMANDS[name])
    lines = result.stderr.splitlines()
    assert "Traceback" not in result.stderr
    assert DEFECT not in result.stderr
    assert len(lines) <= 1, result.stderr
    assert result.returncode in (0, 1)
    if result.returncode and name != "check":
        assert lines[0].startswith("gpu-sentinel: ")
    if mebibytes == min(MEBIBYTES):
        assert "there is not enough memory" in result.stderr


def test_what_is_no_shortage_is_none():
    assert shortage(ValueError("x")) is None
    assert shortage(OSError(2, "No such file")) is None
    wrapped = RuntimeError("x")
    wrapped.__cause__ = MemoryError()
    assert "not enough memory" in str(shortage(wrapped))
    assert "is not complete" in str(shortage(ImportError("No module named 'x'")))
