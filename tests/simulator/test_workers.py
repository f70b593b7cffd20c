"""Simulated processes: what scenarios say of them, and what becomes of their GPUs."""

from __future__ import annotations

from pathlib import Path

import pynvml
import pytest
from asking import Clock, code, handle

from gpu_sentinel.model import Allocation, Owner
from gpu_sentinel.simulator import ScenarioError, Simulation, load_scenario
from gpu_sentinel.simulator.loads import Load
from gpu_sentinel.simulator.scenario import Event

#: What is free for processes on an H100.
FREE = (81559 - 479) * 2**20


def pids(index: int = 0, ask=pynvml.nvmlDeviceGetComputeRunningProcesses_v3) -> list[int]:
    return [process.pid for process in ask(handle(index))]


def used(index: int = 0) -> int:
    return int(pynvml.nvmlDeviceGetMemoryInfo(handle(index), version=pynvml.nvmlMemory_v2).used)


@pytest.fixture
def idle(machine) -> Simulation:
    """Two H100 that do nothing."""
    return machine("h100-sxm", "h100-sxm", load=Load())


def steady(utilization: float, memory: float = 0.1) -> Load:
    return Load("steady", utilization, memory)


def test_the_driver_lists_who_is_there(idle: Simulation):
    idle.start_process(0, pid=10, load=steady(0.5, 0.25))
    idle.start_process(0, pid=11, types=("graphics",))
    (found,) = pynvml.nvmlDeviceGetComputeRunningProcesses_v3(handle())
    assert (found.pid, found.usedGpuMemory) == (10, FREE // 4)
    assert pids(ask=pynvml.nvmlDeviceGetGraphicsRunningProcesses_v3) == [11]
    assert pids(1) == []


def test_work_and_memory_are_the_gpus_too(idle: Simulation, clock: Clock):
    idle.start_process(0, pid=10, load=steady(0.5, 0.25))
    idle.start_process(0, pid=11, load=steady(0.25, 0.5))
    clock.now = 30.0
    assert used() == pytest.approx(0.75 * FREE, rel=1e-6)
    assert pynvml.nvmlDeviceGetUtilizationRates(handle()).gpu == pytest.approx(75, abs=3)
    busy, quiet = (pynvml.nvmlDeviceGetPowerUsage(handle(i)) for i in (0, 1))
    assert busy > 3 * quiet
    idle.end_process(0, 10)
    idle.end_process(0, 11)
    clock.now = 60.0
    assert used() == 0
    assert pynvml.nvmlDeviceGetUtilizationRates(handle()).gpu == 0


def test_they_are_a_part_of_a_load_that_is_more(machine, clock: Clock):
    machine("h100-sxm", load=steady(0.9, 0.8)).start_process(0, pid=10, load=steady(0.5, 0.25))
    clock.now = 10.0
    assert used() == pytest.approx(0.8 * FREE, rel=1e-6)
    assert pynvml.nvmlDeviceGetUtilizationRates(handle()).gpu == pytest.approx(90, abs=4)


def test_who_wants_more_than_there_is_takes_turns(idle: Simulation, clock: Clock):
    idle.start_process(0, pid=10, load=steady(0.9))
    idle.start_process(0, pid=11, load=steady(0.9))
    clock.now = 2.0
    found = pynvml.nvmlDeviceGetProcessUtilization(handle(), 0)
    assert {s.pid for s in found} == {10, 11}
    assert all(s.smUtil == pytest.approx(50, abs=3) for s in found)


def test_samples_of_who_did_something_lately(idle: Simulation, clock: Clock):
    idle.start_process(0, pid=10, load=steady(0.5))
    idle.start_process(0, pid=11)
    clock.now = 10.0
    (first,) = pynvml.nvmlDeviceGetProcessesUtilizationInfo(handle(), 0)
    assert (first.pid, first.smUtil) == (10, pytest.approx(50, abs=2))
    call = pynvml.nvmlDeviceGetProcessUtilization
    assert code(call, handle(), first.timeStamp) == pynvml.NVML_ERROR_NOT_FOUND
    clock.now = 10.25
    (second,) = call(handle(), first.timeStamp)
    assert 0 < second.timeStamp - first.timeStamp <= 200_000, "six a second"
    idle.end_process(0, 10)
    clock.now = 30.0
    assert code(call, handle(), 0) == pynvml.NVML_ERROR_NOT_FOUND, "old samples are overwritten"


def test_birth_and_death_are_when_the_scenario_says(idle: Simulation, clock: Clock):
    """Though nobody calls the driver then."""
    idle.at(Event(10.3, "start-process", 0, {"pid": 10, "load": steady(1.0)}))
    idle.at(Event(10.9, "end-process", 0, {"pid": 10}))
    clock.now = 15.0
    assert pids() == []
    (sample,) = pynvml.nvmlDeviceGetProcessUtilization(handle(), idle.micros(9.0))
    assert idle.micros(10.6) < sample.timeStamp < idle.micros(11.0)
    assert sample.smUtil == pytest.approx(100 * 0.6 / 6, abs=3)


def test_a_number_is_used_again(idle: Simulation, clock: Clock):
    idle.start_process(0, pid=10, name="first")
    idle.start_process(1, pid=10, name="first")
    clock.now = 5.0
    assert idle.processes()[10][1] == 0.0, "one process that uses two GPUs"
    idle.start_process(1, pid=10, name="second")
    worker, born = idle.processes()[10]
    assert (worker.process.name, born) == ("second", 5.0)
    assert (pids(0), pids(1)) == ([], [10])


def test_a_zombie_holds_memory_and_does_nothing(idle: Simulation, clock: Clock):
    idle.start_process(0, pid=10, load=steady(0.5, 0.25))
    clock.now = 5.0
    idle.end_process(0, 10, zombie=True)
    clock.now = 30.0
    assert pids() == [10]
    assert used() == pytest.approx(0.25 * FREE, rel=1e-6)
    assert pynvml.nvmlDeviceGetUtilizationRates(handle()).gpu == 0
    idle.end_process(0, 10)
    clock.now = 31.0
    assert (pids(), used()) == ([], 0)


class TestMig:
    @pytest.fixture
    def cut(self, idle: Simulation, clock: Clock) -> Simulation:
        idle.mig(0, ["3g.40gb", "1g.10gb"])
        idle.start_process(0, pid=10, gpu_instance=2, load=steady(0.5, 0.5))
        idle.start_process(0, pid=11, gpu_instance=9)
        clock.now = 5.0
        return idle

    @pytest.mark.usefixtures("cut")
    def test_each_device_lists_its_own(self):
        first, second = (
            pynvml.nvmlDeviceGetMigDeviceHandleByIndex(handle(), index) for index in (0, 1)
        )
        (found,) = pynvml.nvmlDeviceGetComputeRunningProcesses_v3(first)
        assert (found.pid, found.gpuInstanceId, found.computeInstanceId) == (10, 2, 0)
        assert found.usedGpuMemory == 40448 * 2**20 // 2
        memory = pynvml.nvmlDeviceGetMemoryInfo(first)
        assert memory.used == found.usedGpuMemory + 26 * 2**20
        (other,) = pynvml.nvmlDeviceGetComputeRunningProcesses_v3(second)
        assert other.pid == 11

    def test_only_who_is_privileged_sees_all(self, cut: Simulation):
        ask = pynvml.nvmlDeviceGetComputeRunningProcesses_v3
        assert code(ask, handle()) == pynvml.NVML_ERROR_NO_PERMISSION
        cut.privileged = True
        assert pids() == [10, 11]

    @pytest.mark.usefixtures("cut")
    def test_there_are_no_samples(self):
        for call in (
            pynvml.nvmlDeviceGetProcessUtilization,
            pynvml.nvmlDeviceGetProcessesUtilizationInfo,
        ):
            assert code(call, handle(), 0) == pynvml.NVML_ERROR_NOT_SUPPORTED

    def test_who_is_in_an_instance_ends_with_it(self, cut: Simulation):
        cut.mig(0, ["3g.40gb"])
        assert set(cut.processes()) == {10}
        cut.mig(0, None)
        assert not cut.processes()


def test_a_job_ends_and_leaves_a_zombie(simulate, clock: Clock):
    simulation = simulate("job-ends")
    assert [pids(index) for index in range(4)] == [[31001]] * 4
    assert {a.owner.name for a in simulation.gpu_allocations()} == {"4712"}
    clock.now = 130.0
    assert [pids(index) for index in range(4)] == [[31001], [], [], []]
    assert simulation.processes()[31001][0].zombie
    assert not simulation.gpu_allocations()
    clock.now = 250.0
    assert not simulation.processes()
    assert not pids()
    clock.now = 310.0
    worker, born = simulation.processes()[31001] if pids() else (None, None)
    assert worker is not None
    assert born == 300.0, "the same number, another process"
    assert len(simulation.gpu_allocations()) == 4


def test_two_users_share_a_gpu(simulate, clock: Clock):
    simulation = simulate("shared-gpu")
    clock.now = 70.0
    found = {s.pid: s.smUtil for s in pynvml.nvmlDeviceGetProcessUtilization(handle(), 0)}
    assert found.keys() == {21001, 21077}
    assert sorted(pids()) == [21001, 21050, 21077]
    assert simulation.users() == {0: "root", 1001: "alice", 1002: "bob"}
    assert [a.device[-3:] for a in simulation.gpu_allocations()] == ["::0", "::1"]


def test_who_has_a_gpu_need_not_use_it(simulate):
    simulation = simulate("idle-allocation")
    assert [pids(index) for index in range(3)] == [[41001], [], [42001]]
    first, second, third = simulation.gpu_allocations()
    owner = Owner("slurm_job", "4713", slurm_job="4713", slurm_account="physics", user="alice")
    assert first == Allocation(owner, simulation.gpus[0].uuid, "slurm", "slurm")
    assert (second.owner, second.device) == (owner, simulation.gpus[1].uuid)
    assert third.owner.name == "lab/notebook-9"


def test_a_part_is_held_by_the_name_of_its_mig_device(idle: Simulation):
    owner = {"kind": "pod", "owner": "a/b", "k8s_pod": "b"}
    idle.allocate(0, gpu_instance=2, **owner)
    assert not idle.gpu_allocations(), "there is no such part yet"
    idle.mig(0, ["3g.40gb"])
    (found,) = idle.gpu_allocations()
    assert found.device == pynvml.nvmlDeviceGetUUID(
        pynvml.nvmlDeviceGetMigDeviceHandleByIndex(handle(), 0)
    )
    idle.release(0, "a/b")
    assert not idle.gpu_allocations()


GOOD = """
description: Processes.
gpus:
  - model: MODEL
    processes:
      - {pid: 7, PROCESS}
events:
  - {at: 1s, gpu: 0, EVENT}
"""

BAD = {
    "pid": ("h100-sxm", "pid: 0", "do: heal", "gpus[0].processes[0].pid: 0 is out of range"),
    "type": (
        *("h100-sxm", "types: [opengl]", "do: heal"),
        "gpus[0].processes[0].types[0].'opengl' is not known",
    ),
    "environ": (
        *("h100-sxm", "environ: [A]", "do: heal"),
        "gpus[0].processes[0].environ: no mapping of variables: ['A']",
    ),
    "no-mig": (
        *("l40s", "gpu_instance: 1", "do: heal"),
        "gpus[0].processes: NVIDIA L40S has no MIG",
    ),
    "no-mig-later": (
        *("l40s", "name: a", "do: start-process, pid: 8, gpu_instance: 1"),
        "events[0].gpu_instance: NVIDIA L40S has no MIG",
    ),
    "no-instance": (
        *("h100-sxm", "name: a", "do: start-process, pid: 8, compute_instance: 1"),
        "events[0].compute_instance: is of no use without gpu_instance",
    ),
    "no-pid": ("h100-sxm", "name: a", "do: start-process", "events[0].pid: is missing"),
    "no-owner": ("h100-sxm", "name: a", "do: allocate, kind: pod", "events[0].owner: is missing"),
}


@pytest.mark.parametrize(("model", "process", "event", "message"), BAD.values(), ids=BAD)
def test_a_mistake_is_told_in_one_line(
    tmp_path: Path, model: str, process: str, event: str, message: str
):
    text = GOOD.replace("MODEL", model).replace("EVENT", event)
    text = text.replace("pid: 7, PROCESS", process if "pid" in process else f"pid: 7, {process}")
    path = tmp_path / "mine.yml"
    path.write_text(text)
    with pytest.raises(ScenarioError) as caught:
        load_scenario(str(path))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_two_processes_of_one_number_are_a_mistake(tmp_path: Path):
    path = tmp_path / "mine.yml"
    text = GOOD.replace("MODEL", "l40s").replace("EVENT", "do: heal")
    path.write_text(text.replace("- {pid: 7, PROCESS}", "- {pid: 7}\n      - {pid: 7}"))
    with pytest.raises(ScenarioError, match="two have the same pid in the same place"):
        load_scenario(str(path))
