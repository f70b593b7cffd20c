"""What a person sees: help, a progress bar on a terminal alone, and one line for what is wrong."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from gpu_sentinel.backup.take import copies


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "gpu_sentinel", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def on_a_terminal(*arguments: object) -> str:
    """What a command shows on a terminal."""
    here, there = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "gpu_sentinel", *map(str, arguments)],
        stdout=subprocess.DEVNULL,
        stderr=there,
        env=os.environ | {"TERM": "xterm"},
    )
    os.close(there)
    said = b""
    try:
        while chunk := os.read(here, 1 << 16):
            said += chunk
    except OSError:
        # The other end is closed: the process has ended.
        pass
    os.close(here)
    assert process.wait(30) == 0, said
    return said.decode()


def test_progress_is_shown_on_a_terminal_alone(data: Path, tmp_path: Path):
    shown = on_a_terminal("backup", "--data-dir", data)
    assert "Copying" in shown
    assert "100%" in shown
    (copy,) = copies(tmp_path / "data-backups")
    assert "Reading" in on_a_terminal("backup", "verify", copy)
    assert "Restoring" in on_a_terminal("restore", copy, "--data-dir", tmp_path / "new")
    assert run("backup", "--data-dir", data).stderr == ""


def test_restore_says_when_new_passwords_will_be_made(data: Path, tmp_path: Path):
    new = tmp_path / "new"
    run("backup", "--data-dir", data)
    run("backup", "--data-dir", data, "--with-secrets")
    without, with_them = copies(tmp_path / "data-backups")
    said = "no passwords are in the copy: `gpu-sentinel up` makes new ones when it starts"
    grafana = "Grafana's admin keeps the old password: set another with `grafana cli"
    lines = run("restore", without, "--data-dir", new).stdout.splitlines()
    assert said in lines
    assert any(line.startswith(grafana) for line in lines)
    assert not (new / "secrets").exists()
    other = tmp_path / "other"
    result = run("restore", with_them, "--data-dir", other)
    assert (result.returncode, len(result.stdout.splitlines())) == (0, 1)
    # Those of before are where the rest of before is.
    lines = run("restore", without, "--data-dir", other, "--force").stdout.splitlines()
    aside = lines[0].removeprefix("moved aside: ")
    assert f"{said}; the old ones are in {aside}/secrets" in lines
    assert (Path(aside) / "secrets" / "admin").is_file()
    # Parts that are elsewhere have no passwords.
    parts = run("restore", without, "--prometheus-dir", tmp_path / "prometheus")
    assert parts.returncode == 0
    assert said not in parts.stdout


def test_list(data: Path, tmp_path: Path):
    for _ in range(2):
        run("backup", "--data-dir", data)
    found = copies(tmp_path / "data-backups")
    (found[0] / "manifest.json").write_text("{")
    result = run("backup", "list", "--to", tmp_path / "data-backups")
    assert result.returncode == 0
    assert result.stdout.splitlines() == [f"{found[1]}: 16 files, 25.9 kB"]
    assert "its checksum is not that of" in result.stderr


@pytest.mark.parametrize("command", [["backup"], ["backup", "verify"], ["restore"]])
def test_help(command: list[str]):
    assert run(*command, "--help").stdout.startswith("Usage: gpu-sentinel")


WRONG = {
    "keep": (["backup", "--keep", "0"], "--keep"),
    "no-data": (["backup", "--data-dir", "/nowhere"], "/nowhere is no folder: nothing has run"),
    "no-part": (["backup", "--prometheus-dir", "/nowhere"], "--prometheus-dir: /nowhere is no"),
    "secrets": (["backup", "--prometheus-dir", "/", "--with-secrets"], "needs --data-dir"),
    "config": (["backup", "--config", "/nowhere.yml"], "does not exist"),
    "twice": (["backup", "--config", "/etc/hosts", "--config", "/etc/hosts"], "'hosts'"),
    "no-copy": (["backup", "verify"], "Missing argument"),
}


@pytest.mark.parametrize("fault", WRONG)
def test_wrong_usage_is_one_line(fault: str):
    arguments, said = WRONG[fault]
    result = run(*arguments)
    assert result.returncode == 2
    assert said in result.stderr
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize("command", [["backup", "list", "--to"], ["backup", "verify"]])
def test_folder_that_is_missing_is_one_line(command: list[str]):
    result = run(*command, "/nowhere")
    assert result.returncode == 1
    assert len(result.stderr.splitlines()) == 1
