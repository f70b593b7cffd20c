"""Slurm's jobs on this host as their control groups show them, without asking any daemon.

Where they are (slurm.schedmd.com/cgroup_v2.html, and seen with Slurm 22.05 on version 1):

* version 2: `system.slice/slurmstepd.scope/job_N/step_S/user/task_T`; with several slurmd on a
  host `<node>_slurmstepd.scope`;
* version 1: `<controller>/slurm/uid_U/job_N/step_S/task_T`, or `slurm_<node>`; which controllers
  have it depends on the plugins: freezer with proctrack/cgroup, devices with ConstrainDevices.

While a job lives, a slurmstepd is in one of its groups, even when its own processes are gone.
Groups that Slurm failed to remove have nobody in them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from gpu_sentinel.host.jobs.words import number
from gpu_sentinel.regularfile import TooLongError, read_bytes

#: Controllers of version 1 in the order in which they are looked at.
CONTROLLERS = ("freezer", "devices", "memory", "cpuset", "cpuacct", "cpu", "cpu,cpuacct")
#: Jobs, entries of a folder, groups of a job, and processes of a group that are looked at.
JOBS, ENTRIES, GROUPS, PROCESSES = 2000, 8192, 256, 8
_BYTES = 256 << 10
_DEPTH = 4


@dataclass(slots=True)
class Job:
    """A job of one slurmd.

    Attributes:
        node: the name of the slurmd where there are several on the host, else empty.
        number: its id.
        uid: of its user; only version 1 tells.
        groups: its folders, one for each controller.
        identity: tells it from another job of the same id.
    """

    node: str
    number: str
    uid: int | None
    identity: tuple[int, int]
    groups: list[Path] = field(default_factory=list)


def jobs(cgroups: Path) -> dict[tuple[str, str], Job]:
    """All jobs that have groups, by node and id.

    Raises:
        OSError: the control groups cannot be listed.
    """
    os.stat(cgroups / ".")  # noqa: PTH116 - what is missing here is an error, below it is not
    found: dict[tuple[str, str], Job] = {}
    for node, uid, folder in _folders(cgroups):
        numbers = (name for name in _names(folder) if name.startswith("job_"))
        for name in numbers:
            job = number(name.removeprefix("job_"))
            if job is None:
                continue
            key = (node, str(job))
            if key not in found:
                if len(found) >= JOBS:
                    return found
                try:
                    status = os.stat(folder / name)  # noqa: PTH116 - thousands of these
                except OSError:
                    continue  # it has just ended
                found[key] = Job(node, str(job), uid, (status.st_dev, status.st_ino))
            found[key].groups.append(folder / name)
    return found


def _folders(cgroups: Path) -> Iterator[tuple[str, int | None, Path]]:
    """The folders that hold folders of jobs: node, uid, path."""
    for controller in CONTROLLERS:
        for name in _names(cgroups / controller):
            head, _, node = name.partition("_")
            if head != "slurm":
                continue
            for user in _names(cgroups / controller / name):
                uid = number(user.removeprefix("uid_"))
                if user.startswith("uid_") and uid is not None:
                    yield node, uid, cgroups / controller / name / user
    # A slurmd with IgnoreSystemd makes the same below its own root.
    for base in ("system.slice", "", "unified/system.slice", "unified"):
        for name in _names(cgroups / base):
            if name == "slurmstepd.scope" or name.endswith("_slurmstepd.scope"):
                yield name[: -len("slurmstepd.scope")].rstrip("_"), None, cgroups / base / name


@dataclass(slots=True)
class Group:
    """A group of a job in which there are processes. `step`: `batch`, `extern`, `0`; or empty."""

    path: Path
    step: str
    pids: list[int]


def populated(job: Job) -> Iterator[Group]:
    """The groups of a job that have processes, the batch script's first, slurmstepd's last."""
    left = GROUPS
    own: list[Group] = []
    for folder in job.groups:
        waiting = [(folder, "", 0)]
        while waiting and left:
            path, step, depth = waiting.pop()
            left -= 1
            names = sorted(_names(path), key=_order, reverse=True) if depth < _DEPTH else []
            for name in names:
                if name.startswith(("step_", "task_")) or name in ("user", "slurm"):
                    below = name.removeprefix("step_") if name.startswith("step_") else step
                    waiting.append((path / name, below, depth + 1))
            if pids := processes(path):
                if depth == 0 or path.name == "slurm":
                    own.append(Group(path, step, pids))
                else:
                    yield Group(path, step, pids)
    yield from own


def processes(group: Path) -> list[int]:
    """Some of the processes of a group; 0 is one of a PID namespace that is not seen from here."""
    try:
        content = read_bytes(group / "cgroup.procs", _BYTES)
    except (OSError, TooLongError):
        return []
    lines = content.split(b"\n", PROCESSES)[:PROCESSES]
    return [int(line) for line in lines if line.isdigit() and len(line) <= 10]


def _order(name: str) -> tuple[bool, int, str]:
    return name != "step_batch", len(name), name


def _names(folder: Path) -> list[str]:
    """The folders in a folder; none where it is not there."""
    try:
        with os.scandir(folder) as entries:
            return [e.name for e in islice(entries, ENTRIES) if e.is_dir(follow_symlinks=False)]
    except OSError:
        return []
