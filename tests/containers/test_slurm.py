"""Real Slurm jobs: what control groups, environments and prolog scripts tell of their GPUs."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gpu_sentinel.host.gpus import NodeGpu
from gpu_sentinel.host.jobs.devices import place
from gpu_sentinel.host.jobs.mapping import MappingDirectory
from gpu_sentinel.host.jobs.slurmjobs import JobOnNode, SlurmJobs
from gpu_sentinel.model import Allocation
from slurmfixtures import CGROUPS, NODES, Slurm

pytestmark = [pytest.mark.containers, pytest.mark.timeout(400)]

SLEEP = "sleep 600"


@pytest.fixture(autouse=True)
def _free(slurm: Slurm) -> Iterator[None]:
    yield
    slurm.cancel_all()


def jobs() -> SlurmJobs:
    """What a fresh look finds."""
    found = SlurmJobs(CGROUPS, Path("/proc"), time.monotonic, {0: "root", 65534: "nobody"}.get)
    found.allocations()
    return found


def of(found: SlurmJobs, job: str) -> list[JobOnNode]:
    """A job on the test's nodes: another Slurm may run on this host."""
    return [j for j in found.jobs if j.owner.name == job and j.node in NODES]


def held(job: str) -> dict[str, list[str]]:
    """The devices of a job by node."""
    return {j.node: list(j.devices) for j in of(jobs(), job)}


def mapped(slurm: Slurm, node: str) -> list[tuple[str, str, str]]:
    directory = MappingDirectory(slurm.mapping(node), time.monotonic, time.time)
    return [(a.device, a.owner.name, a.owner.user) for a in directory.allocations()]


def test_job_from_its_start_to_its_end(slurm: Slurm, eventually: Callable[..., float]):
    job = slurm.submit(SLEEP, "--gres=gpu:2", "--nodelist=alpha", "--uid=nobody")
    slurm.runs(job)
    eventually(lambda: held(job).get("alpha"), 30, "its GPUs are seen")
    (alpha,) = of(jobs(), job)
    assert (alpha.node, alpha.owner.kind, alpha.owner.user) == ("alpha", "slurm_job", "nobody")
    assert alpha.devices == ("slurm:0", "slurm:1")
    assert Allocation(alpha.owner, "slurm:0", "slurm", "slurm") in jobs().allocations()
    # Slurm counts 0 and 1 what are /dev/nvidia3 and 5: nobody gets what may be another's.
    gpus = [NodeGpu(index, f"GPU-{n}", n) for index, n in enumerate(sorted(NODES["alpha"]))]
    assert [place(device, gpus) for device in alpha.devices] == [None, None]
    # The prolog has been told the order.
    assert mapped(slurm, "alpha") == [("3", job, "nobody"), ("5", job, "nobody")]
    assert mapped(slurm, "beta") == []
    slurm.cancel(job)
    eventually(lambda: held(job) == {}, 30, "it is gone from the control groups")
    eventually(lambda: mapped(slurm, "alpha") == [], 30, "its epilog has run")
    assert (slurm.root / "script.log").read_text() == ""


def test_job_without_gpus(slurm: Slurm, eventually: Callable[..., float]):
    job = slurm.submit(SLEEP, "--nodelist=beta")
    slurm.runs(job)
    eventually(lambda: held(job), 30, "it is seen")
    assert held(job) == {"beta": []}
    slurm.cancel(job)


def test_jobs_on_two_nodes_of_one_host(slurm: Slurm, eventually: Callable[..., float]):
    first = slurm.submit(SLEEP, "--gres=gpu:3", "--nodelist=alpha")
    second = slurm.submit(SLEEP, "--gres=gpu:1", "--nodelist=beta")
    for job in (first, second):
        slurm.runs(job)
    eventually(lambda: held(second).get("beta") and held(first).get("alpha"), 30, "both are seen")
    assert held(first) == {"alpha": ["slurm:0", "slurm:1", "slurm:2"]}
    assert held(second) == {"beta": ["slurm:0"]}
    assert mapped(slurm, "beta") == [("1", second, "root")]
    for job in (first, second):
        slurm.cancel(job)


def test_job_that_spans_nodes(slurm: Slurm, eventually: Callable[..., float]):
    """srun hands the first node's SLURM_JOB_GPUS on: on the other one only the step's is true."""
    other = slurm.submit(SLEEP, "--gres=gpu:1", "--nodelist=alpha")
    slurm.runs(other)
    environment = slurm.environment
    srun = slurm.programs / "srun"
    srun = srun if srun.exists() else slurm.programs.parent / "bin" / "srun"
    script = (
        f"export LD_LIBRARY_PATH={environment['LD_LIBRARY_PATH']} SLURM_CONF="
        f"{environment['SLURM_CONF']}\n{srun} --mem=0 --gres=gpu:1 {SLEEP}"
    )
    job = slurm.submit(script, "--gres=gpu:1", "--nodes=2")
    slurm.runs(job)
    eventually(lambda: len([d for d in held(job).values() if d]) == 2, 60, "both nodes are seen")
    assert held(other) == {"alpha": ["slurm:0"]}
    assert held(job) == {"alpha": ["slurm:1"], "beta": ["slurm:0"]}
    assert mapped(slurm, "alpha") == [("3", other, "root"), ("5", job, "root")]
    assert mapped(slurm, "beta") == [("1", job, "root")]
    slurm.cancel(job)
    slurm.cancel(other)


def test_job_that_starts_again_with_its_id(slurm: Slurm, eventually: Callable[..., float]):
    job = slurm.submit(SLEEP, "--gres=gpu:1", "--nodelist=beta", "--requeue")
    slurm.runs(job)
    eventually(lambda: held(job).get("beta"), 30, "it is seen")
    reader = SlurmJobs(CGROUPS, Path("/proc"), iter(range(0, 10**6, 60)).__next__)
    reader.allocations()
    (before,) = of(reader, job)
    slurm.run("scontrol", "requeuehold", job)
    eventually(lambda: held(job) == {}, 60, "it has left")
    blocker = slurm.submit(SLEEP, "--gres=gpu:1", "--nodelist=beta")
    slurm.runs(blocker)
    eventually(lambda: held(blocker).get("beta"), 30, "another has its GPU")
    slurm.run("scontrol", "update", f"jobid={job}", "starttime=now")
    slurm.run("scontrol", "release", job)
    slurm.runs(job)
    eventually(lambda: held(job).get("beta"), 30, "it is seen again")
    reader.allocations()
    (after,) = of(reader, job)
    assert before.devices == ("slurm:0",)
    assert after.devices == ("slurm:1",)
    assert before.identity != after.identity
    slurm.cancel(job)
    slurm.cancel(blocker)


def test_who_may_not_read_environments_is_told(slurm: Slurm, eventually: Callable[..., float]):
    job = slurm.submit(SLEEP, "--gres=gpu:1", "--nodelist=alpha")
    slurm.runs(job)
    eventually(lambda: held(job).get("alpha"), 30, "it is seen")
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:  # as another user, without a capability
        try:
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
            found = jobs()
            os.write(writing, f"{found.up} {found.trouble}".encode())
        finally:
            os._exit(0)
    os.close(writing)
    os.waitpid(child, 0)
    with os.fdopen(reading) as told:
        assert told.read().startswith("False reading the environment of jobs needs CAP_SYS_PTRACE")
    slurm.cancel(job)
