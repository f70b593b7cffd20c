"""The batch job of a process, by the environment that it was started with: pure.

Where a batch system has no cgroups this is all there is. Anybody may set such variables for his
own processes, so the cgroup is asked first, and what does not look like a job is none.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from gpu_sentinel.host.owners.jobs import PBS_JOB
from gpu_sentinel.host.owners.procfs import clean

#: Of an environment, which may have megabytes.
ENVIRON_BYTES = 64 * 1024
_NUMBER = re.compile(r"[0-9]{1,20}")
_STEP = re.compile(r"[A-Za-z0-9_+]{1,32}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@:+-]{0,127}")
_RANGE = re.compile(r"([0-9]{1,4})(?:-([0-9]{1,4}))?")
#: GPUs of a host.
_MOST_GPUS = 4096
#: SLURM_EXTERN_CONT, SLURM_BATCH_SCRIPT and SLURM_INTERACTIVE_STEP of slurm.h.
_SPECIAL_STEPS = {"4294967292": "extern", "4294967291": "batch", "4294967290": "interactive"}
_KEYS = frozenset(
    (
        *(b"SLURM_JOB_ID", b"SLURM_JOBID", b"SLURM_STEP_ID", b"SLURM_STEPID", b"SLURM_JOB_USER"),
        *(b"SLURM_JOB_UID", b"SLURM_JOB_ACCOUNT", b"SLURM_JOB_GPUS", b"SLURM_STEP_GPUS"),
        *(b"PBS_JOBID", b"LSB_JOBID", b"LSB_JOBINDEX"),
    )
)


@dataclass(frozen=True, slots=True)
class Job:
    """A batch job as its processes see it; what is not told is empty.

    Attributes:
        system: `slurm`, `pbs` or `lsf`.
        id: as `squeue`, `qstat` and `bjobs` show it; a task of an array in Slurm has its own.
        user: who has submitted it; `uid` is his number.
        gpus: indices of the host that Slurm gave to the job, or to the step.
    """

    system: str
    id: str
    step: str = ""
    user: str = ""
    uid: int | None = None
    account: str = ""
    gpus: tuple[int, ...] = ()


def job(content: bytes, most: int = ENVIRON_BYTES) -> Job | None:
    """The job of an environment; None where it has none.

    Args:
        content: variables, each with a zero byte behind it.
        most: what was read at most: the last of so many bytes may belong to a variable that is cut.
    """
    values = _values(content, most)
    if number := _number(values.get("SLURM_JOB_ID") or values.get("SLURM_JOBID", "")):
        step = values.get("SLURM_STEP_ID") or values.get("SLURM_STEPID", "")
        uid = _number(values.get("SLURM_JOB_UID", ""))
        # The step's may be counted from 0 where the job's are told, too.
        gpus = values.get("SLURM_JOB_GPUS") or values.get("SLURM_STEP_GPUS", "")
        return Job(
            "slurm",
            number,
            _SPECIAL_STEPS.get(step, _step(step)),
            _name(values.get("SLURM_JOB_USER", "")),
            int(uid) if uid else None,
            _name(values.get("SLURM_JOB_ACCOUNT", "")),
            indices(gpus),
        )
    pbs = values.get("PBS_JOBID", "")
    if PBS_JOB.fullmatch(pbs):
        return Job("pbs", pbs)
    if number := _number(values.get("LSB_JOBID", "")):
        index = _number(values.get("LSB_JOBINDEX", ""))
        return Job("lsf", f"{number}[{index}]" if index not in ("", "0") else number)
    return None


def indices(text: str) -> tuple[int, ...]:
    """`0,2-3` as numbers; nothing where it is something else."""
    found: dict[int, None] = {}
    for part in text.split(",")[:_MOST_GPUS] if text else ():
        match = _RANGE.fullmatch(part.strip())
        if match is None:
            return ()
        first, last = int(match[1]), int(match[2] or match[1])
        if not first <= last < _MOST_GPUS:
            return ()
        found.update(dict.fromkeys(range(first, last + 1)))
    return tuple(found)


def _values(content: bytes, most: int) -> dict[str, str]:
    variables = content.split(b"\0")
    if len(content) >= most:
        variables.pop()
    found: dict[str, str] = {}
    for variable in variables:
        key, _, value = variable.partition(b"=")
        # As getenv(3): the first of a name counts.
        if key in _KEYS and (name := key.decode()) not in found:
            found[name] = clean(value)
    return found


def _number(text: str) -> str:
    return text if _NUMBER.fullmatch(text) else ""


def _step(text: str) -> str:
    return text if _STEP.fullmatch(text) else ""


def _name(text: str) -> str:
    return text if _NAME.fullmatch(text) else ""
