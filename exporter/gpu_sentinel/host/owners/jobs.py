"""Jobs of batch systems in the paths of cgroups: pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from gpu_sentinel.host.owners.units import unescaped

_NUMBER = re.compile(r"[0-9]{1,20}")
_STEP = re.compile(r"[A-Za-z0-9_+]{1,32}")
_NODE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,254}")
#: `123.server`, of an array `123[4].server`; see qsub(1B) of PBS and bsub(1) of LSF.
PBS_JOB = re.compile(r"[0-9]{1,20}(?:\[[0-9]{0,20}\])?(?:\.[A-Za-z0-9_.-]{1,128})?")
LSF_JOB = re.compile(r"[0-9]{1,20}(?:\[[0-9]{1,20}\])?")


@dataclass(frozen=True, slots=True)
class SlurmPart:
    """A job of Slurm in a path; `end` is the number of parts up to the job's own."""

    end: int
    job: str
    step: str
    node: str
    uid: int | None


def slurm_of(parts: Sequence[str]) -> SlurmPart | None:
    """The job of `slurmstepd.scope/job_1/step_0` or `slurm/uid_1000/job_1/step_batch`."""
    for position, part in enumerate(parts):
        node = _slurm_root(part)
        if node is None:
            continue
        rest = list(parts[position + 1 : position + 4])
        uid = _number(rest.pop(0), "uid_") if rest and rest[0].startswith("uid_") else ""
        job = _number(rest[0], "job_") if rest else ""
        if job:
            step = rest[1].removeprefix("step_") if rest[1:] else ""
            found = _STEP.fullmatch(step) is not None and rest[1] != step
            end = position + (3 if uid else 2)
            return SlurmPart(end, job, step if found else "", node, int(uid) if uid else None)
    return None


def _slurm_root(part: str) -> str | None:
    """The node that the cgroup of all jobs names, mostly none; None where it is another cgroup."""
    if part in ("slurm", "slurmstepd.scope"):
        return ""
    # Where several slurmd run on a host; and as Debian builds it for version 1.
    node = part.removesuffix("_slurmstepd.scope") if part.endswith("_slurmstepd.scope") else (
        part.removeprefix("slurm_") if part.startswith("slurm_") else ""
    )  # fmt: skip
    return node if _NODE.fullmatch(node) else None


def _number(part: str, prefix: str) -> str:
    number = part.removeprefix(prefix)
    return number if number != part and _NUMBER.fullmatch(number) else ""


def batch_of(parts: Sequence[str]) -> tuple[str, str]:
    """`pbs` or `lsf` and the job; two empty texts where there is none."""
    for position, part in enumerate(parts):
        before = parts[position - 1] if position else ""
        earlier = parts[position - 2] if position > 1 else ""
        if job := _pbs(part, before, earlier):
            return "pbs", job
        # `lsf/<cluster>/job.<id>.<pid>.<time>`
        if earlier == "lsf" and part.startswith("job."):
            job = part.split(".")[1]
            if LSF_JOB.fullmatch(job):
                return "lsf", job
    return "", ""


def _pbs(part: str, before: str, earlier: str) -> str:
    # Version 1 has `jobid`, version 2 `jobs`; what the hook was called is the prefix.
    if before in ("jobid", "jobs") and earlier.partition(".")[0] in ("pbs_jobs", "pbspro"):
        job = part
    elif before == "pbspro.slice":
        job = unescaped(part.removeprefix("pbspro-").removesuffix(".slice"))
    elif before == "pbspro":
        job = part
    else:
        return ""
    return job if PBS_JOB.fullmatch(job) else ""
