"""Folders of simulations: nothing stays of processes that were killed."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from gpu_sentinel.config import ConfigError
from gpu_sentinel.simulator.workfolder import work_folder

CODE = """
from gpu_sentinel.simulator.workfolder import work_folder
import sys
print(work_folder(), flush=True)
sys.stdin.read()
"""


def started() -> tuple[subprocess.Popen[str], Path]:
    process = subprocess.Popen(
        [sys.executable, "-c", CODE],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"TMPDIR": tempfile.gettempdir()},
    )
    assert process.stdout is not None
    return process, Path(process.stdout.readline().strip())


def end(process: subprocess.Popen[str], *, kill: bool = False) -> None:
    if kill:
        process.kill()
    process.communicate()


def test_what_a_killed_one_left_is_removed_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    killed, left = started()
    end(killed, kill=True)
    living, used = started()
    (tmp_path / "precious").mkdir()
    link = tmp_path / "gpu-sentinel-simulated-link"
    link.symlink_to(tmp_path / "precious")
    assert left.is_dir()
    last, own = started()
    end(last)
    assert not own.exists()
    assert left.is_dir(), "it is young"
    for folder in (left, used):
        os.utime(folder, (1.0, 1.0))
    last, _ = started()
    end(last)
    assert not left.exists()
    assert used.is_dir()
    assert link.is_symlink()
    assert (tmp_path / "precious").is_dir()
    end(living)
    assert sorted(p.name for p in tmp_path.iterdir()) == [link.name, "precious"]


def test_no_folder_that_can_be_written_to_is_a_clear_error(monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: ["/proc/self"])
    with pytest.raises(ConfigError, match=r"Set TMPDIR .* tmpfs at /tmp"):
        work_folder()
