"""Who changes the passwords is killed, or is not alone."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import bcrypt
import pytest
import yaml

from gpu_sentinel import filelock
from gpu_sentinel.cli import run
from gpu_sentinel.stack import privatefile, programs
from gpu_sentinel.stack.credentials import Credentials
from gpu_sentinel.stack.plan import Plan

#: The real command, which stands still when the new file is written and has not its name yet.
STOPPED = """
import os, sys, time
from gpu_sentinel.cli import main
def fsync(number):
    print(os.readlink(f"/proc/self/fd/{number}"), flush=True)
    time.sleep(600)
os.fsync = fsync
main(sys.argv[1:])
"""


def killed(*arguments: str) -> Path:
    """The unfinished file that a command leaves when it is killed."""
    command = [sys.executable, "-c", STOPPED, *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        left = Path(process.stdout.readline().strip())
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert left.is_file()
    return left


def unfinished(folder: Path) -> list[Path]:
    return [path for path in folder.rglob(".*") if path.is_file()]


@pytest.mark.parametrize("then", ["rotate", "init", "start"])
def test_rotate_that_was_killed_leaves_no_password_for_good(tmp_path: Path, capsys, then: str):
    folder = tmp_path / "secrets"
    found = Credentials(folder)
    found.prepare()
    password = found.login("admin")[1]
    left = killed("credentials", "rotate", "--data-dir", str(folder), "admin")
    assert left.parent == folder / "passwords"
    assert unfinished(folder) == [left]
    assert found.login("admin")[1] == password, "it counts no sooner than it is whole"
    if then == "rotate":
        assert run(["credentials", "rotate", "--data-dir", str(folder), "reader"]) == 0
    elif then == "init":
        assert run(["credentials", "init", str(folder)]) == 0
    else:
        found.prepare()
    assert unfinished(folder) == []
    assert found.login("admin")[1] == password
    capsys.readouterr()


def test_first_start_that_was_killed(tmp_path: Path):
    folder = tmp_path / "secrets"
    left = killed("credentials", "init", "--containers", str(folder))
    assert run(["credentials", "init", "--containers", str(folder)]) == 0
    assert not left.exists()
    assert unfinished(folder) == []


def test_files_of_other_names_stay(tmp_path: Path):
    found = Credentials(tmp_path)
    found.prepare()
    own = [tmp_path / "passwords" / name for name in (".netrc", ".admin.old", ".a.0123456g")]
    for path in own:
        path.write_text("mine\n")
    (tmp_path / "passwords" / ".folder.01234567").mkdir()
    found.rotate(["admin"])
    assert sorted(unfinished(tmp_path)) == sorted(own)


def test_password_of_grafana_is_whole_or_not_there(tmp_path: Path):
    plan = Plan(tmp_path, None)
    left = tmp_path / ".grafana-password.0123abcd"
    left.write_text("half")
    file = programs.grafana_password(plan)
    assert len(file.read_text()) > 20
    assert file.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [file]
    assert programs.grafana_password(plan).read_text() == file.read_text()


def test_two_at_a_time(tmp_path: Path, monkeypatch, capsys):
    """Neither takes the other's file for one that was left; the second waits, or says why not."""
    folder = tmp_path / "secrets"
    Credentials(folder).prepare()
    monkeypatch.setattr(privatefile, "_OTHERS_SECONDS", 0.2)
    rotate = ["credentials", "rotate", "--data-dir", str(folder), "admin"]
    with filelock.held(folder):
        assert run(rotate) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "another process changes what is in it" in said
    command = [sys.executable, "-m", "gpu_sentinel", *rotate]
    both = [subprocess.Popen(command, stdout=subprocess.DEVNULL) for _ in range(2)]
    assert [process.wait(60) for process in both] == [0, 0]
    found = Credentials(folder)
    assert unfinished(folder) == []
    hashes = yaml.safe_load(found.web_file("prometheus").read_text())["basic_auth_users"]
    assert bcrypt.checkpw(found.login("admin")[1].encode(), hashes["admin"].encode())
