"""The GPUs of Slurm's jobs on this host, from control groups and the jobs' environment.

Which GPUs a job has, its control groups tell where they can be read (slurmdevices.py), else the
environment that Slurm gave to its processes:

* `SLURM_JOB_GPUS` of the batch script, or of any process of a job that has one node alone. srun
  hands it on to other nodes, where it is not true.
* else `SLURM_STEP_GPUS` of its steps, which each slurmstepd sets anew.
* `CUDA_VISIBLE_DEVICES` beside it where it holds UUIDs, as for MIG and since Slurm 25.11, of as
  many devices; else the numbers, which are Slurm's own: see devices.py.

Reading the environment of others takes CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH. A user can give his
processes another one: what he says there of others is not taken, only his GPUs and his account.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from gpu_sentinel.host.jobs import slurmcgroups, slurmdevices
from gpu_sentinel.host.jobs.devices import is_uuid
from gpu_sentinel.host.jobs.mapping import job_owner
from gpu_sentinel.host.jobs.words import number, word
from gpu_sentinel.model import Allocation, Owner

#: Seconds between two looks.
PERIOD = 10.0
#: Processes whose environment is read in one look, and for one job; bytes of it; GPUs of a job.
READS, READS_OF_A_JOB, BYTES, GPUS = 512, 32, 256 << 10, 64
_DENIED = "reading the environment of jobs needs CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH"
_HIDDEN = "the processes of jobs are not visible: a /proc with all of the host's PIDs is needed"


@dataclass(frozen=True, slots=True)
class JobOnNode:
    """A job that runs here.

    Attributes:
        node: the slurmd's name where there are several on the host.
        identity: tells it from another job of the same id.
        devices: its GPUs, as far as they are known; see devices.py.
        settled: they will not become more.
        looked: monotonic seconds of the last look at its processes.
    """

    node: str
    identity: tuple[int, int]
    owner: Owner
    devices: tuple[str, ...] = ()
    settled: bool = False
    looked: float = float("-inf")


@dataclass(frozen=True, slots=True)
class _Environment:
    """What Slurm told a process, and its uid: 0 where the kernel hides it."""

    uid: int
    told: Mapping[str, str]


#: Node and job id.
_Key: TypeAlias = tuple[str, str]


class SlurmJobs:
    """Looks for jobs, at most every `PERIOD` seconds.

    Attributes:
        up: control groups and the environment of jobs could be read.
        trouble: why not, for a person; empty while they can.
        jobs: those of the last look, also those of which no GPU is known.
    """

    def __init__(
        self,
        cgroups: Path,
        proc: Path,
        clock: Callable[[], float],
        user: Callable[[int], str] = str,
    ) -> None:
        """Nothing is read yet.

        Args:
            cgroups: where control groups are mounted.
            proc: of the host.
            clock: monotonic seconds.
            user: the name of a uid; may be slow.
        """
        self.up = False
        self.trouble = "not read yet"
        self.jobs: tuple[JobOnNode, ...] = ()
        self._cgroups = cgroups
        self._proc = proc
        self._clock = clock
        self._user = user
        self._next = float("-inf")
        self._known: dict[_Key, JobOnNode] = {}
        self._found: tuple[Allocation, ...] = ()
        self._reads = 0
        self._missing = ""

    def allocations(self) -> tuple[Allocation, ...]:
        """Which job has which GPU; the last answer if it is recent."""
        now = self._clock()
        if now >= self._next:
            self._next = now + PERIOD
            self._look()
        return self._found

    def _look(self) -> None:
        self._reads, self._missing = READS, ""
        try:
            listed = slurmcgroups.jobs(self._cgroups)
        except OSError as error:
            self.up, self.trouble = False, str(error)
            listed = {}
        else:
            self.up, self.trouble = True, ""
        known = {}
        for key, job in self._turn(listed):
            if (seen := self._job(job, self._known.get(key))) is not None:
                known[key] = seen
        if self._missing:
            self.up, self.trouble = False, self._missing
        self._known = known
        order = sorted(known, key=lambda key: (key[0], len(key[1]), key[1]))
        self.jobs = tuple(known[key] for key in order)
        held = (
            Allocation(job.owner, device, "slurm", "slurm")
            for job in self.jobs
            for device in job.devices
        )
        self._found = tuple(dict.fromkeys(held))

    def _turn(self, listed: dict[_Key, slurmcgroups.Job]) -> list[tuple[_Key, slurmcgroups.Job]]:
        """Those first whose processes were not looked at for longest: not all get a turn."""
        never = float("-inf")
        looked = {key: job.looked for key, job in self._known.items()}
        return sorted(listed.items(), key=lambda item: looked.get(item[0], never))

    def _job(self, job: slurmcgroups.Job, before: JobOnNode | None) -> JobOnNode | None:
        """What is known of a job; None where it has ended."""
        groups = slurmcgroups.populated(job)
        first = next(groups, None)
        if first is None:
            return None
        if before is None or before.identity != job.identity:
            name = self._user(job.uid) if job.uid is not None else ""
            owner = job_owner(job.number, word(name.encode("utf-8", "replace")))
            before = JobOnNode(job.node, job.identity, owner)
        if before.settled or self._reads < READS_OF_A_JOB:
            return before
        devices = dict.fromkeys(before.devices)
        owner, settled = before.owner, False
        for step, environment in self._environments(job, first, groups):
            owner = self._owner(owner, environment)
            found, settled = _gpus(step, environment.told)
            if settled:
                devices = dict.fromkeys(found)
                break
            devices |= dict.fromkeys(found)
        if (allowed := self._allowed(job)) is not None:
            devices = dict.fromkeys(allowed)
        held = tuple(devices)[:GPUS]
        return JobOnNode(job.node, job.identity, owner, held, settled, self._clock())

    def _allowed(self, job: slurmcgroups.Job) -> tuple[str, ...] | None:
        devices = self._cgroups / "devices"
        for group in job.groups:
            if devices in group.parents:
                return slurmdevices.allowed(group, self._proc)
        return None

    def _environments(
        self,
        job: slurmcgroups.Job,
        first: slurmcgroups.Group,
        more: Iterator[slurmcgroups.Group],
    ) -> Iterator[tuple[str, _Environment]]:
        """One environment for each step of a job that has a process which shows it."""
        done = set()
        left = READS_OF_A_JOB
        for group in (first, *more):
            for pid in group.pids:
                if group.step in done or not left:
                    break
                self._reads -= 1
                left -= 1
                if (environment := self._environment(group, pid, job.number)) is not None:
                    done.add(group.step)
                    yield group.step, environment

    def _environment(self, group: slurmcgroups.Group, pid: int, job: str) -> _Environment | None:
        """What Slurm told a process; None where it is not, or no longer, of the job."""
        try:
            # An open folder of /proc stays that of its process: when it ends and its number is
            # given away, reading fails.
            folder = os.open(self._proc / str(pid), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError:
            # It has ended, or it is one of another PID namespace, or /proc hides it.
            if pid in slurmcgroups.processes(group.path):
                self._missing = _HIDDEN
            return None
        try:
            place = f"/job_{job}".encode()
            paths = _read(folder, "cgroup")
            if place + b"/" not in paths and place + b"\n" not in paths:
                return None
            told = dict(_variables(_read(folder, "environ")))
            uid = os.fstat(folder).st_uid
        except PermissionError:
            self._missing = _DENIED
            return None
        except OSError:
            return None
        finally:
            os.close(folder)
        return _Environment(uid, told) if told.get("SLURM_JOB_ID") == job else None

    def _owner(self, owner: Owner, environment: _Environment) -> Owner:
        """With what its group does not tell."""
        user = owner.user
        if not user and environment.uid:
            user = word(self._user(environment.uid).encode("utf-8", "replace"))
        account = owner.slurm_account or environment.told.get("SLURM_JOB_ACCOUNT", "")
        return job_owner(owner.name, user, account)


def _gpus(step: str, told: Mapping[str, str]) -> tuple[tuple[str, ...], bool]:
    """The GPUs of an environment, and whether they are all that the job has here."""
    nodes = told.get("SLURM_JOB_NUM_NODES") or told.get("SLURM_NNODES")
    listed = told.get("SLURM_JOB_GPUS", "") if step == "batch" or nodes == "1" else ""
    settled = bool(listed)
    listed = listed or told.get("SLURM_STEP_GPUS", "")
    if not listed:
        return (), step == "batch"  # a job without GPUs
    parts = listed.split(",", GPUS + 1)
    known = [n for n in (number(part, 4) for part in parts) if n is not None]
    if len(known) != len(parts):
        return (), False  # "NoDevFiles", or what somebody else has put there
    visible = dict.fromkeys(told.get("CUDA_VISIBLE_DEVICES", "").split(",", GPUS + 1))
    if len(visible) == len(known) and all(map(is_uuid, visible)):
        return tuple(visible), settled
    return tuple(f"slurm:{n}" for n in dict.fromkeys(known)), settled


#: Variables that hold lists, which are longer than a name may be.
_LISTS = frozenset({b"SLURM_JOB_GPUS", b"SLURM_STEP_GPUS", b"CUDA_VISIBLE_DEVICES"})


def _variables(environ: bytes) -> Iterator[tuple[str, str]]:
    # What does not end with a zero byte was cut off.
    for pair in environ.split(b"\0")[:-1]:
        name, _, value = pair.partition(b"=")
        if name in _LISTS:
            yield name.decode("ascii"), value.decode("ascii", "replace")
        elif name.startswith(b"SLURM_"):
            yield name.decode("ascii", "replace"), word(value)


def _read(folder: int, name: str) -> bytes:
    """A file of /proc/PID, as much of it as may be."""
    number = os.open(name, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    with os.fdopen(number, "rb") as stream:
        return stream.read(BYTES)
