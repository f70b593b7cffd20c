"""What is seen by whom (as root, who becomes somebody else)."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import gpu_sentinel
from gpu_sentinel.host.owners.users import Users

CODE = """
import json, sys
from dataclasses import asdict
from gpu_sentinel.host.owners import Resolver
resolver = Resolver()
found = resolver.resolve(int(sys.argv[1]))
print(json.dumps([asdict(found.owner), found.uid, resolver.sources()]))
"""
#: Arguments of setpriv(1).
NORMAL = ("--reuid=65534", "--regid=65534", "--clear-groups")
ROOT_WITHOUT = ("--bounding-set=-all", "--inh-caps=-all")
PTRACE, READ = "+sys_ptrace", "+dac_read_search"


def allowed(*capabilities: str) -> tuple[str, ...]:
    names = ",".join(capabilities)
    return (*NORMAL, f"--inh-caps={names}", f"--ambient-caps={names}")


@pytest.fixture
def pid() -> Iterator[int]:
    """A process of user 1000 in a job of a Slurm without cgroups."""
    if os.geteuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("needs root, and setpriv")
    job = {"SLURM_JOB_ID": "77", "SLURM_JOB_UID": "1000", "SLURM_JOB_USER": "alice"}
    process = subprocess.Popen(["sleep", "600"], env=os.environ | job, user=1000, group=1000)
    yield process.pid
    process.kill()
    process.wait()


def seen_by(pid: int, *who: str) -> tuple[dict[str, str], int, dict[str, bool]]:
    paths = [str(Path(gpu_sentinel.__file__).parents[1]), *filter(None, sys.path)]
    told = subprocess.run(
        ["setpriv", *who, sys.executable, "-c", CODE, str(pid)],
        env={"PYTHONPATH": os.pathsep.join(paths), "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=False,
    )
    if "PermissionError" in told.stderr or "ModuleNotFoundError" in told.stderr:
        pytest.skip("who is nobody may not read this package")
    if "setpriv:" in told.stderr:
        pytest.skip(told.stderr.strip())
    assert told.returncode == 0, told.stderr
    owner, uid, sources = json.loads(told.stdout)
    return owner, uid, sources


@pytest.mark.parametrize("who", [NORMAL, ROOT_WITHOUT, allowed(PTRACE), allowed(READ)])
def test_who_may_not_read_environments_sees_users_and_says_so(pid: int, who: tuple[str, ...]):
    owner, uid, sources = seen_by(pid, *who)
    assert owner["kind"] in ("user", "unit")
    assert uid == 1000
    assert sources == {"proc": True, "environ": False}


@pytest.mark.parametrize("who", [(), allowed(PTRACE, READ)])
def test_who_may_read_them_sees_jobs(pid: int, who: tuple[str, ...]):
    owner, _, sources = seen_by(pid, *who)
    user = Users().name(1000)  # what the kernel knows, not what the environment says
    assert (owner["kind"], owner["name"], owner["user"]) == ("slurm_job", "77", user)
    assert sources == {"proc": True, "environ": True}
