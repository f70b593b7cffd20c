"""From the driver's lists of processes to what each owner has used, in simulated time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gpu_sentinel.host.owners.resolver import Resolver
from gpu_sentinel.host.owners.users import Users
from gpu_sentinel.model import OwnerUse, Tier, Usage
from gpu_sentinel.nvml import library as nvml_library
from gpu_sentinel.sampling import Pace
from gpu_sentinel.sampling.owners.holders import Holders, Source
from gpu_sentinel.sampling.owners.sampler import Owners, ProcessSampler
from gpu_sentinel.simulator.proctree import UPTIME, ProcTree
from simulatedtime import SimulatedTime

#: A pass costs real time, and processes are looked at once a second.
PACE = Pace(fast=1.0, slow=10.0, buffers=1.0, profiling=1.0)


class Machine(SimulatedTime):
    """A simulated machine with processes, and those who own them."""

    def __init__(self, scenario: str, folder: Path) -> None:
        super().__init__(scenario, PACE)
        tree = ProcTree(folder, self.simulation)

        def allocations(_now: float):
            tree.update()
            return self.simulation.gpu_allocations()

        source = Source("simulation", allocations, lambda: True, str)
        self.holders = Holders((source,), lambda: self.store.current, self.clock)
        users = Users(lambda uid: self.simulation.users()[uid], self.clock)
        resolver = Resolver(
            folder,
            users=users,
            clock=self.clock,
            wall=lambda: self.simulation.epoch + self.clock(),
            boot=lambda: UPTIME + self.clock(),
        )
        self.owners = Owners(
            resolver.resolve,
            self.holders.of,
            lambda pid: resolver.recent(pid, self.simulation.epoch + self.clock()),
        )
        around = self.samplers[0]._around
        self.instances += [ProcessSampler(s, around, self.owners) for s in self.samplers]
        self.between = lambda _: self.holders.look()
        self.holders.look()

    def usage(self, index: int) -> Usage:
        (found,) = [u for u in self.store.current.usage if u.device.index == index]
        return found

    def owner(self, index: int, name: str) -> OwnerUse:
        (found,) = [o for o in self.usage(index).owners if o.owner.name == name]
        return found

    def joules(self, index: int) -> float:
        """What all owners of a GPU have cost."""
        owners = self.usage(index).owners
        return sum((o.idle_joules or 0.0) + (o.active_joules or 0.0) for o in owners)


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Callable[[str], Machine]]:
    yield lambda scenario: Machine(scenario, tmp_path / "proc")
    nvml_library.detach()


def energy(machine: Machine, index: int) -> float:
    """The GPU's counter."""
    value = machine.gpu(index).tiers[Tier.FAST].values["energy.total"]
    assert isinstance(value, float)
    return value


@pytest.mark.parametrize("scenario", ["shared-gpu", "job-ends", "idle-allocation"])
def test_owners_sum_to_the_energy_of_the_gpu(machine, scenario: str):
    """Through births and deaths, within half a per cent."""
    found = machine(scenario)
    found.run(10.0)
    indices = range(len(found.samplers))
    before = {i: (energy(found, i), found.joules(i)) for i in indices}
    found.run(910.0)
    for index in indices:
        drawn = energy(found, index) - before[index][0]
        shared = found.joules(index) - before[index][1]
        assert drawn > 10_000.0
        assert shared == pytest.approx(drawn, rel=0.005), f"GPU {index}"


def test_what_is_drawn_while_processes_cannot_be_listed_is_nobodys(machine):
    """It is counted, and nobody is blamed who may have come since."""
    found = machine("shared-gpu")
    found.run(20.0)
    drawn, shared, job = energy(found, 0), found.joules(0), found.owner(0, "4711")
    for kind in ("Compute", "Graphics", "MPSCompute"):
        found.simulation.fail(0, f"nvmlDeviceGet{kind}RunningProcesses_v3", "UNKNOWN", until=60.0)
    found.run(130.0)
    drawn, shared = energy(found, 0) - drawn, found.joules(0) - shared
    assert shared == pytest.approx(drawn, rel=0.01)
    (nobody,) = [o for o in found.usage(0).owners if o.owner.kind == "none"]
    assert nobody.active_joules > 0.3 * drawn
    now = found.owner(0, "4711")
    assert now.active_joules - job.active_joules < 0.7 * drawn


@pytest.mark.parametrize("functions", ["lists", "all"])
def test_holders_and_counters_stay_while_processes_cannot_be_listed(machine, functions: str):
    """What is of now is not shown: it would be that of then."""
    found = machine("shared-gpu")
    found.run(20.0)
    name = next(o.owner.name for o in found.usage(1).owners if o.processes and o.memory)
    before = found.owner(1, name)
    lists = [f"nvmlDeviceGet{k}RunningProcesses_v3" for k in ("Compute", "Graphics", "MPSCompute")]
    for function in lists if functions == "lists" else ["all"]:
        found.simulation.fail(1, function, "UNKNOWN")
    found.simulation.fail(1, "nvmlDeviceGetUUID", 0)
    for second in range(30, 90, 10):
        found.run(float(second))
        usage, owner = found.usage(1), found.owner(1, name)
        assert usage.taken + usage.lifetime > second
        assert len(usage.allocations) == 2
        assert (owner.processes, owner.memory) == (None, None)
        assert owner.busy >= before.busy
    found.simulation.heal(1)
    found.run(300.0)
    assert found.owner(1, name).processes == before.processes


def test_energy_that_was_not_told_for_a_while_is_not_lost(machine):
    found = machine("shared-gpu")
    found.run(20.0)
    drawn, shared = energy(found, 0), found.joules(0)
    for function in ("nvmlDeviceGetTotalEnergyConsumption", 83):
        found.simulation.fail(0, function, "UNKNOWN", until=40.0)
    found.run(130.0)
    assert found.joules(0) - shared == pytest.approx(energy(found, 0) - drawn, rel=0.01)


def test_two_users_of_one_gpu(machine):
    found = machine("shared-gpu")
    found.run(20.0)
    before = found.owner(0, "4711").busy
    found.run(110.0)
    job, bob = found.owner(0, "4711"), found.owner(0, "bob")
    assert (job.owner.kind, job.owner.user, job.owner.slurm_account) == (
        "slurm_job",
        "alice",
        "physics",
    )
    assert bob.owner.kind == "user"
    assert job.busy - before == pytest.approx(0.6 * 90, rel=0.05)
    assert bob.busy == pytest.approx(0.3 * 50, rel=0.15), "since second 60"
    assert bob.processes == 2
    names = {p.pid: p.name for p in found.usage(0).processes}
    assert names == {21001: "python3", 21050: "jupyter-lab", 21077: "python3"}


def test_a_process_that_is_gone_is_shown_for_a_minute(machine):
    found = machine("shared-gpu")
    found.run(140.0)
    (gone,) = [p for p in found.usage(0).processes if p.pid == 21077]
    assert gone.memory is None
    assert gone.busy == pytest.approx(0.3 * 60, rel=0.15)
    found.run(185.0)
    assert 21077 not in {p.pid for p in found.usage(0).processes}
    assert found.owner(0, "bob").processes == 1


def test_who_holds_and_does_nothing(machine):
    found = machine("idle-allocation")
    found.run(100.0)
    idle, busy = found.owner(1, "4713"), found.owner(0, "4713")
    assert idle.processes == 0
    assert idle.allocated == pytest.approx(99.0, abs=2.0)
    assert idle.idle_allocated == idle.allocated
    assert busy.idle_allocated < 3.0
    assert idle.active_joules == pytest.approx(0.0, abs=300.0)
    assert idle.idle_joules > 5000.0, "what it draws at rest is for who holds it"


def test_a_lost_gpu_tells_who_holds_it(machine):
    found = machine("idle-allocation")
    found.run(10.0)
    found.simulation.lose(0)
    found.run(60.0)
    assert found.gpu(0).lost
    ((held, _),) = found.usage(0).allocations
    assert held.owner.name == "4713"


def test_processes_that_cannot_be_listed_cost_nothing_else(machine):
    found = machine("shared-gpu")
    found.run(10.0)
    for kind in ("Compute", "Graphics", "MPSCompute"):
        found.simulation.fail(0, f"nvmlDeviceGet{kind}RunningProcesses", "UNKNOWN")
        for version in ("_v2", "_v3"):
            found.simulation.fail(0, f"nvmlDeviceGet{kind}RunningProcesses{version}", "UNKNOWN")
    found.run(70.0)
    errors = found.stats.total().errors
    assert sum(n for (query, _), n in errors.items() if query == "processes.list") < 40
    assert found.gpu(0).samples > 60
    assert found.usage(1).taken > 65.0
    assert {o.memory for o in found.usage(0).owners} == {None}, "what is old is not shown"
    assert {p.memory for p in found.usage(0).processes} <= {None}
