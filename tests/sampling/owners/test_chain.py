"""From the driver's lists of processes to what each owner has used, in simulated time."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from gpu_sentinel.model import Allocation, DeviceId, DeviceSnapshot, Owner, Tier
from gpu_sentinel.nvml import Processes, UseSample
from gpu_sentinel.sampling import Pace, SnapshotStore
from gpu_sentinel.sampling.owners.book import ProcessBook, Seen
from gpu_sentinel.sampling.owners.holders import SILENT_SECONDS, Holders, Source
from gpu_sentinel.sampling.owners.sampler import ProcessSampler
from gpu_sentinel.sampling.worth import PROCESSES
from simulatedowners import PACE, OwnersInSimulatedTime


@pytest.fixture
def machine() -> Iterator[Callable[..., OwnersInSimulatedTime]]:
    made: list[OwnersInSimulatedTime] = []

    def make(scenario: str, pace: Pace = PACE) -> OwnersInSimulatedTime:
        made.append(OwnersInSimulatedTime(scenario, pace))
        return made[-1]

    yield make
    for one in made:
        one.close()


def energy(machine: OwnersInSimulatedTime, index: int) -> float:
    """The GPU's counter."""
    value = machine.gpu(index).tiers[Tier.FAST].values["energy.total"]
    assert isinstance(value, float)
    return value


@pytest.mark.parametrize(
    "scenario",
    [
        "job-ends",
        *(pytest.param(s, marks=pytest.mark.long) for s in ("shared-gpu", "idle-allocation")),
    ],
)
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


def test_what_a_process_used_last_is_its_owners_though_it_has_ended(machine, tmp_path: Path):
    """Processes of a second each, half of which is told when they are gone."""
    load = {"kind": "steady", "utilization": 1.0, "memory": 0.1}
    process = {"name": "python3", "user": "alice", "uid": 1001, "cgroup": "/user.slice"}
    events = []
    for number in range(20):
        one = {"gpu": 0, "pid": 500 + number}
        begin = 10.5 + 2 * number
        events += [
            {"at": f"{begin}s", "do": "start-process", **one, **process, "load": load},
            {"at": f"{begin + 1}s", "do": "end-process", **one},
        ]
    path = tmp_path / "short.yml"
    scenario = {"description": "x", "gpus": [{"model": "h100-sxm"}], "events": events}
    path.write_text(json.dumps(scenario))
    found = machine(str(path))
    found.run(60.0)
    # Without what is told of them when they are gone it would be 10. It is not 20, because the
    # driver's means are also over the rest of the second, in which nothing ran.
    assert 14.0 < found.owner(0, "alice").busy < 20.0


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
    assert all(p.memory is None for p in found.usage(0).processes), "what is old is not shown"
    assert all((o.memory, o.processes) == (None, None) for o in found.usage(0).owners)


def test_energy_that_is_read_seldom_is_split_as_ever(machine):
    """The counter grows in leaps then: what is drawn at rest is no work."""
    found = machine("idle-allocation", Pace(fast=5.0))
    found.run(300.0)
    idle = found.owner(1, "4713")
    assert idle.idle_joules > 15_000.0
    assert idle.active_joules == pytest.approx(0.0, abs=0.05 * idle.idle_joules)


def test_held_time_is_counted_where_the_reading_of_the_gpu_is_newer(machine):
    """GPUs are read in another thread, which may publish while processes are listed."""
    found = machine("idle-allocation")
    found.run(10.0)
    before = found.owner(1, "4713").allocated
    asked = ProcessSampler._samples

    def late(sampler: ProcessSampler, processes: Processes) -> tuple[UseSample, ...]:
        store = found.store
        for device in store.current.devices:
            tiers = dict(device.tiers)
            tiers[Tier.FAST] = replace(tiers[Tier.FAST], taken=found.clock() + 0.01)
            store.put_device(replace(device, tiers=tiers))
        return asked(sampler, processes)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ProcessSampler, "_samples", late)
        found.run(40.0)
    assert found.owner(1, "4713").allocated - before == pytest.approx(30.0, abs=1.5)


def test_a_stretched_pace_costs_no_held_time(machine):
    found = machine("idle-allocation")
    found.run(10.0)
    before = found.owner(1, "4713").allocated
    found.governor.factors = dict.fromkeys(PROCESSES, 16)
    found.run(170.0)
    assert found.owner(1, "4713").allocated - before == pytest.approx(160.0, abs=17.0)
    usage = found.usage(1)
    assert usage.lifetime > 16.0, "what was told is shown until the next step"


@pytest.mark.parametrize("error", ["UNKNOWN", "NOT_SUPPORTED"])
def test_without_samples_nobody_is_said_to_be_idle_who_may_work(machine, caplog, error: str):
    found = machine("idle-allocation")
    for name in ("nvmlDeviceGetProcessUtilization", "nvmlDeviceGetProcessesUtilizationInfo"):
        for index in range(3):
            found.simulation.fail(index, name, error)
    found.run(60.0)
    working = found.owner(0, "4713")
    assert working.processes == 1, "the lists are read all the same"
    assert working.allocated > 50.0
    assert working.idle_allocated < 5.0, "its GPU works, for whom nobody knows"
    assert found.owner(1, "4713").idle_allocated > 50.0, "its GPU does nothing"
    lines = [r for r in caplog.records if r.message == "what processes use cannot be read"]
    assert [r.fields["query"] for r in lines] == ["processes.samples"] * (
        3 if error == "UNKNOWN" else 0
    )


def test_a_source_that_fails_costs_no_other_and_is_told_once(caplog):
    def fails(_now: float) -> tuple[Allocation, ...]:
        raise RuntimeError("a defect")

    held = Allocation(Owner("container", "box"), "0", "docker", "docker")
    store = SnapshotStore()
    store.put_device(DeviceSnapshot(DeviceId(0, "GPU-a")))
    holders = Holders(
        (
            Source("slurm", fails, lambda: True, str),
            Source("docker", lambda _now: (held,), lambda: True, str),
        ),
        lambda: store.current,
        lambda: 0.0,
    )
    holders.look()
    holders.look()
    assert holders.up == {"slurm": False, "docker": True}
    assert holders.of("GPU-a") == ((held, None),)
    (line,) = caplog.records
    assert line.fields == {"source": "slurm", "reason": "RuntimeError: a defect"}


def test_a_source_that_hangs_holds_up_no_other(eventually):
    """As a directory on a server that is gone does, in the kernel, for ever."""
    go_on, now = threading.Event(), [0.0]
    held = Allocation(Owner("slurm_job", "17"), "0", "mapping", "mapping")

    def hangs(_now: float) -> tuple[Allocation, ...]:
        if now[0]:
            go_on.wait(60)
        return (held,)

    box = Allocation(Owner("container", "box"), "0", "docker", "docker")
    store = SnapshotStore()
    store.put_device(DeviceSnapshot(DeviceId(0, "GPU-a")))
    holders = Holders(
        (
            Source("mapping", hangs, lambda: True, str),
            Source("docker", lambda _now: (box,) * len(now), lambda: True, str),
        ),
        lambda: store.current,
        lambda: now[0],
    )
    holders.look()
    now[0] = 1.0
    holders.start()
    try:
        now.append(0.0)
        eventually(lambda: len(holders.of("GPU-a")) == 3, 5, "the other is asked on")
        assert holders.of("GPU-a")[0] == (held, None), "what it told last is believed"
        assert holders.up == {"mapping": True, "docker": True}
        eventually(lambda: holders._asked["mapping"][1].since is not None, 5, "it is asked")
        now[0] = 1.5 + SILENT_SECONDS
        eventually(lambda: holders.up == {"mapping": False, "docker": True}, 5, "that is told")
    finally:
        go_on.set()
        holders.stop(10)
    assert not [t for t in threading.enumerate() if t.name.startswith("owners-")]


def test_a_pid_that_is_given_away_is_told_once():
    """The start of a process is no label: two that had one pid would be one series twice."""
    book = ProcessBook()
    book.step(1.0, [Seen((7, 100), "python3", busy=1.0)])
    (found,) = book.step(2.0, [Seen((7, 900), "python3", busy=0.25)])
    assert found.busy == 0.25


@pytest.mark.parametrize("privileged", [True, False])
def test_processes_of_mig_devices_are_told_to_anybody(machine, privileged: bool):
    """nvml.h: of the whole GPU only to who is privileged, of one MIG device to everybody."""
    found = machine("mig")
    found.simulation.privileged = privileged
    found.run(28.0)
    here = {(p.pid, p.gpu_instance) for p in found.usage(0).processes if p.memory}
    assert {(51001, 2), (51003, 9)} <= here
    assert {(p.pid, p.gpu_instance) for p in found.usage(1).processes if p.memory} == {(51004, 2)}


def test_samples_are_asked_for_again_when_mig_is_switched_off(machine):
    found = machine("mig")
    found.run(60.0)
    sampler = found.instances[len(found.samplers) + 1]
    assert isinstance(sampler, ProcessSampler)
    assert not sampler._sampled, "the driver has none while MIG is on"
    found.run(110.0)
    assert sampler._sampled
