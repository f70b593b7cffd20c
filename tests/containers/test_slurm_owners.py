"""Owners of real jobs of a real Slurm (`make test-containers`)."""

from __future__ import annotations

import os
import pwd
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gpu_sentinel.host.owners import Process, Resolver
from slurmfixtures import CGROUPS, Slurm

pytestmark = [pytest.mark.containers, pytest.mark.timeout(300)]

#: A batch script with a process of its own and a step, both of which tell their pids.
SCRIPT = """
sleep 600 &
echo $! > {root}/batch-$SLURM_JOB_ID
srun --overlap sh -c 'echo $$ > {root}/step-$SLURM_JOB_ID; exec sleep 600'
"""


class Jobs:
    """Jobs and the pids that they tell."""

    def __init__(self, slurm: Slurm, eventually: Callable[..., float]) -> None:
        self.slurm = slurm
        self.eventually = eventually
        self.resolver = Resolver()
        self.submitted: list[str] = []

    def submit(self, *options: str) -> str:
        job = self.slurm.submit(SCRIPT.format(root=self.slurm.root), "--oversubscribe", *options)
        self.submitted.append(job)
        return job

    def pid(self, kind: str, job: str) -> int:
        file = self.slurm.root / f"{kind}-{job}"
        self.eventually(lambda: file.exists() and file.read_text().strip(), 60, f"{file} is there")
        return int(file.read_text())

    def process(self, kind: str, job: str) -> Process:
        found = self.resolver.resolve(self.pid(kind, job))
        assert found is not None
        return found


@pytest.fixture
def jobs(slurm: Slurm, eventually: Callable[..., float]) -> Iterator[Jobs]:
    found = Jobs(slurm, eventually)
    if not found.resolver.visible:
        pytest.skip("a namespace of pids of its own")
    yield found
    for job in found.submitted:
        slurm.cancel(job)


def test_a_batch_script_and_a_step_belong_to_their_job(jobs: Jobs):
    job = jobs.submit()
    user = pwd.getpwuid(os.getuid()).pw_name
    batch, step = jobs.process("batch", job), jobs.process("step", job)
    for process, name in ((batch, "batch"), (step, "0")):
        owner = process.owner
        assert (owner.kind, owner.name, owner.slurm_job) == ("slurm_job", job, job)
        assert (owner.slurm_step, owner.user) == (name, user)
    assert jobs.resolver.sources()["environ"]


def test_a_job_that_ends_is_known_for_a_while_and_the_next_is_another(jobs: Jobs):
    job = jobs.submit()
    process = jobs.process("step", job)
    jobs.slurm.cancel(job)
    gone = Path(f"/proc/{process.pid}")
    jobs.eventually(lambda: not gone.exists(), 60, "its process is gone")
    assert jobs.resolver.resolve(process.pid) is None
    assert jobs.resolver.recent(process.pid, process.started) == process
    following = jobs.submit()
    assert following != job
    assert jobs.process("step", following).owner.slurm_job == following


def test_two_jobs_at_a_time_are_told_apart(jobs: Jobs):
    first, second = jobs.submit(), jobs.submit()
    assert jobs.process("step", first).owner.name == first
    assert jobs.process("step", second).owner.name == second


def test_each_task_of_an_array_is_a_job_of_its_own(jobs: Jobs):
    array = jobs.submit("--array=3-4")
    numbers: set[str] = set()

    def running() -> bool:
        told = jobs.slurm.run("squeue", "--noheader", "--format=%A %t", f"--jobs={array}")
        numbers.update(row.split()[0] for row in told.splitlines() if row.endswith(" R"))
        return len(numbers) == 2

    jobs.eventually(running, 60, "both tasks run")
    for number in numbers:
        assert jobs.process("batch", number).owner.name == number


def test_without_its_cgroup_a_job_is_told_by_its_environment(jobs: Jobs):
    """As where Slurm tracks processes without cgroups."""
    job = jobs.submit()
    pid = jobs.pid("batch", job)
    if not (CGROUPS / "freezer/cgroup.procs").exists():
        pytest.skip("version 2: a step's processes stay in its cgroup")
    for root in CGROUPS.glob("*/cgroup.procs"):
        root.write_text(str(pid))
    try:
        owner = jobs.process("batch", job).owner
        assert (owner.kind, owner.name, owner.slurm_step) == ("slurm_job", job, "")
    finally:
        os.kill(pid, signal.SIGKILL)  # its job no longer knows it
