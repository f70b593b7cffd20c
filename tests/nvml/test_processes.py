"""The processes of a GPU through the door, on simulated GPUs."""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace

import pynvml
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpu_sentinel.model import DeviceId
from gpu_sentinel.nvml import CallStats, Driver, DriverGoneError, GpuLostError, Mig, NvmlError
from gpu_sentinel.nvml import library as nvml_library
from gpu_sentinel.nvml.accounting import Accounting
from gpu_sentinel.nvml.processes import Processes
from gpu_sentinel.nvml.processlist import LISTS, GpuProcess, _decoded
from gpu_sentinel.nvml.processuse import UseReader, UseSample
from gpu_sentinel.nvml.room import MOST_ENTRIES, Room
from gpu_sentinel.simulator import Simulation, load_scenario
from gpu_sentinel.simulator.loads import Load
from gpu_sentinel.simulator.models import MODELS
from gpu_sentinel.simulator.scenario import Event

V2, V1 = struct.Struct("<I4xQII"), struct.Struct("<I4xQ")
NOT_AVAILABLE, NO_INSTANCE = 2**64 - 1, 2**32 - 1
NEWER_V2 = "nvmlDeviceGetAccountingStats_v2"


class Bench:
    """One GPU with its processes, and a clock that the test moves."""

    def __init__(self, model: str = "h100-sxm", *, lacks: tuple[str, ...] = (), gains=()) -> None:
        self.now = 0.0
        board = MODELS[model]
        scenario = replace(
            load_scenario("steady"), gpus=((board, Load()),), driver=board.driver, users=()
        )
        self.simulation = Simulation(scenario, lambda: self.now)
        self.simulation.lack(*lacks)
        self.simulation.gain(*gains)
        self.stats = CallStats()
        self.driver = Driver(self.stats, self.simulation.library)
        self.driver.open()
        handle = pynvml.nvmlDeviceGetHandleByIndex(0)
        self.processes = Processes(handle, self.stats.recorder("processes"))
        self.mig = Mig(DeviceId(0, "x"), self.stats.recorder("mig"))

    def start(self, pid: int, sm: float = 0.0, memory: float = 0.1, **more: object) -> None:
        load = Load("steady" if sm else "idle", sm, memory)
        self.simulation.start_process(0, pid=pid, load=load, **more)

    def at(self, t: float) -> tuple[UseSample, ...]:
        self.now = t
        return self.processes.samples(lambda: self.now)

    def pids(self) -> list[int]:
        return sorted(p.pid for p in self.processes.list())

    @property
    def rejected(self) -> int:
        return sum(self.stats.total().rejected.values())


@pytest.fixture
def bench() -> Iterator[Callable[..., Bench]]:
    yield Bench
    nvml_library.detach()


Make = Callable[..., Bench]


class TestList:
    def test_nobody_is_no_failure(self, bench: Make):
        one = bench()
        assert one.processes.list() == ()
        assert not one.processes.failures
        assert one.processes.listed == {"compute", "graphics", "mps"}

    def test_each_process_once_with_all_its_types(self, bench: Make):
        one = bench()
        one.start(10, memory=0.25)
        one.start(11, types=("compute", "mps"))
        one.start(12, types=("graphics", "compute"))
        found = {p.pid: p for p in one.processes.list()}
        free = (81559 - 479) * 2**20
        assert found[10] == GpuProcess(10, free * 0.25, None, None, frozenset({"compute"}))
        assert found[11].types == {"compute", "mps"}
        assert found[12].types == {"compute", "graphics"}
        assert len(found) == len(one.processes.list())
        assert one.stats.total().costs["processes.list"].calls == 2

    @pytest.mark.parametrize("lacking", ["_v3", "_v3 _v2"])
    def test_older_libraries_have_older_functions(self, bench: Make, lacking: str):
        names = [name for versions in LISTS.values() for name, _ in versions]
        one = bench(lacks=tuple(n for n in names if n.endswith(tuple(lacking.split()))))
        for pid in (10, 11, 12):
            one.start(pid)
        assert one.pids() == [10, 11, 12]
        assert {p.gpu_instance for p in one.processes.list()} == {None}

    def test_a_driver_of_2020_knows_no_mps(self, bench: Make):
        one = bench("t4")
        one.start(10)
        one.start(11, types=("graphics",))
        assert one.pids() == [10, 11]
        assert one.processes.listed == {"compute", "graphics"}
        assert not one.stats.total().errors

    def test_five_thousand(self, bench: Make):
        one = bench()
        for pid in range(1, 5001):
            one.start(pid, memory=0.0001)
        assert one.pids() == list(range(1, 5001))

    def test_more_than_is_believed_fails_and_says_so(self, bench: Make):
        one = bench()
        for pid in range(1, MOST_ENTRIES + 2):
            one.start(pid, memory=0.00001)
        assert one.processes.list() == ()
        assert one.processes.failures["compute"].name == "insufficient_size"
        assert one.stats.total().errors["processes.list", "insufficient_size"] == 1

    def test_a_driver_that_never_has_room_enough_is_given_up(self, bench: Make):
        one = bench()
        one.start(10)
        one.simulation.process_answers(0, "hungry")
        with pytest.raises(NvmlError) as caught:
            one.processes.list()
        assert caught.value.name == "insufficient_size"
        one.simulation.process_answers(0, None)
        assert one.pids() == [10]

    def test_a_count_that_lies_brings_nobody_to_life(self, bench: Make):
        one = bench()
        for pid in (10, 11, 12):
            one.start(pid)
        one.simulation.process_answers(0, "boasting")
        assert one.pids() == [10, 11, 12]
        assert one.rejected > 0

    @pytest.mark.parametrize("processes", [1, 2, 70])
    def test_drivers_with_longer_entries(self, bench: Make, processes: int):
        one = bench()
        pids = list(range(100, 100 + processes))
        for pid in pids:
            one.start(pid, memory=0.001)
        before = one.processes.list()
        one.simulation.process_answers(0, "wide")
        assert one.processes.list() == before
        assert not one.rejected

    def test_memory_that_nobody_knows(self, bench: Make):
        one = bench("wsl2")
        one.start(10)
        one.start(11, types=("graphics",))
        assert {p.memory for p in one.processes.list()} == {None}
        assert not one.rejected

    def test_who_holds_nothing_is_somebody_whose_memory_is_not_known(self, bench: Make):
        one = bench()
        one.start(10, memory=0.0)
        assert [(p.pid, p.memory) for p in one.processes.list()] == [(10, None)]

    def test_one_list_that_fails_costs_itself(self, bench: Make):
        one = bench()
        one.start(10)
        one.start(11, types=("graphics",))
        one.simulation.fail(0, "nvmlDeviceGetGraphicsRunningProcesses_v3", "UNKNOWN")
        assert one.pids() == [10]
        assert set(one.processes.failures) == {"graphics"}
        one.simulation.heal(0)
        assert one.pids() == [10, 11]
        assert not one.processes.failures

    def test_all_that_fail_never_look_like_an_idle_gpu(self, bench: Make):
        one = bench()
        one.simulation.lose(0)
        with pytest.raises(GpuLostError):
            one.processes.list()

    def test_a_driver_that_is_gone(self, bench: Make):
        one = bench()
        one.simulation.unload_driver()
        for ask in (one.processes.list, one.processes.accounting, lambda: one.at(1.0)):
            with pytest.raises(DriverGoneError):
                ask()

    def test_what_is_not_supported_is_asked_for_once_and_again_on_request(self, bench: Make):
        one = bench()
        one.start(10, types=("mps",))
        one.simulation.fail(0, "nvmlDeviceGetMPSComputeRunningProcesses_v3", "NOT_SUPPORTED")
        assert one.pids() == []
        one.simulation.heal(0)
        assert one.pids() == []
        assert one.processes.listed == {"compute", "graphics"}
        one.processes.look_again()
        assert one.pids() == [10]


class TestMig:
    def cut(self, bench: Make) -> Bench:
        one = bench()
        one.simulation.mig(0, ["3g.40gb", "2c.3g.40gb+1c.3g.40gb"])
        one.start(10, gpu_instance=2)
        one.start(11, gpu_instance=1, compute_instance=1)
        one.start(12, gpu_instance=1, compute_instance=0)
        return one

    EXPECTED = ((10, 2, 0), (11, 1, 1), (12, 1, 0))

    @staticmethod
    def places(found: tuple[GpuProcess, ...]) -> tuple[tuple[int, int | None, int | None], ...]:
        return tuple(sorted((p.pid, p.gpu_instance, p.compute_instance) for p in found))

    def test_the_whole_gpu_tells_who_is_privileged(self, bench: Make):
        one = self.cut(bench)
        one.simulation.privileged = True
        assert self.places(one.processes.list()) == self.EXPECTED
        assert self.places(one.processes.list(one.mig.devices())) == self.EXPECTED

    def test_others_ask_each_device(self, bench: Make):
        one = self.cut(bench)
        assert self.places(one.processes.list(one.mig.devices())) == self.EXPECTED
        assert not one.processes.failures

    def test_without_the_devices_it_is_no_idle_gpu(self, bench: Make):
        one = self.cut(bench)
        with pytest.raises(NvmlError) as caught:
            one.processes.list()
        assert caught.value.name == "no_permission"

    def test_a_device_that_is_destroyed_meanwhile_costs_itself(self, bench: Make):
        one = self.cut(bench)
        devices = one.mig.devices()
        one.simulation.mig(0, ["3g.40gb"])
        assert self.places(one.processes.list(devices)) == ((10, 2, 0),)
        assert one.processes.listed == {"compute", "graphics", "mps"}

    def test_a_process_in_two_places_is_in_both(self, bench: Make):
        one = self.cut(bench)
        one.start(10, gpu_instance=1, compute_instance=0)
        found = self.places(one.processes.list(one.mig.devices()))
        assert found == ((10, 1, 0), (10, 2, 0), *self.EXPECTED[1:])

    def test_there_are_no_samples_until_mig_is_off(self, bench: Make):
        one = self.cut(bench)
        assert one.at(1.0) == one.at(2.0) == ()
        one.simulation.mig(0, None)
        one.start(20, sm=0.5)
        assert one.at(3.0) == ()
        one.processes.look_again()
        assert one.at(4.0) == ()
        assert [s.pid for s in one.at(5.0)] == [20]
        assert not one.stats.total().errors


class TestSamples:
    def test_means_of_what_is_new(self, bench: Make):
        one = bench()
        one.start(10, sm=0.6)
        one.start(11, sm=0.25)
        one.start(12)
        assert one.at(10.0) == (), "the first call finds the end"
        first, second = sorted(one.at(11.0), key=lambda s: s.pid)
        assert (first.pid, second.pid) == (10, 11)
        assert first.sm == pytest.approx(0.6, abs=0.02)
        assert second.sm == pytest.approx(0.25, abs=0.02)
        assert first.memory == pytest.approx(0.3, abs=0.02)
        assert first.at - first.since == pytest.approx(1.0)
        assert (first.jpeg, first.ofa) == (0.0, 0.0)
        third = next(s for s in one.at(12.0) if s.pid == 10)
        assert third.since == first.at, "no sample twice, none left out"

    def test_drivers_before_550_tell_four_engines(self, bench: Make):
        one = bench("t4")
        one.start(10, sm=0.6)
        one.at(1.0)
        (sample,) = one.at(2.0)
        assert sample.sm == pytest.approx(0.6, abs=0.02)
        assert (sample.jpeg, sample.ofa) == (None, None)

    @pytest.mark.parametrize("step", [0.4, 1.0, 3.0])
    def test_busy_time_adds_up(self, bench: Make, step: float):
        """Also after an idle time, and of processes that live shorter than a pass takes."""
        one = bench()
        one.at(0.0)
        one.at(step)
        busy: dict[int, float] = {}
        for start, end, pid, sm in ((60.0, 90.0, 10, 0.6), (70.05, 70.95, 11, 0.3)):
            load = Load("steady", sm, 0.1)
            parameters = {"pid": pid, "load": load}
            one.simulation.at(_event(start, "start-process", parameters))
            one.simulation.at(_event(end, "end-process", {"pid": pid}))
        for number in range(2, int(110 / step)):
            samples = one.at(number * step)
            until = max((s.at for s in samples), default=0.0)
            for sample in samples:
                busy[sample.pid] = busy.get(sample.pid, 0.0) + sample.sm * (until - sample.since)
        assert busy[10] == pytest.approx(0.6 * 30, rel=0.03)
        # As good as six samples a second of whole percents can be.
        assert busy[11] == pytest.approx(0.3 * 0.9, abs=0.1)
        assert not one.rejected

    def test_the_first_work_after_boot_is_not_lost(self, bench: Make):
        one = bench()
        assert one.at(20.0) == one.at(21.0) == ()
        one.start(10, sm=1.0)
        (sample,) = one.at(22.0)
        assert sample.sm * (sample.at - sample.since) == pytest.approx(1.0, abs=0.1)

    def test_garbage_beside_samples_is_dropped_and_counted(self, bench: Make):
        one = bench()
        one.start(10, sm=0.5)
        one.at(1.0)
        one.simulation.process_answers(0, "garbage")
        assert [s.pid for s in one.at(2.0)] == [10]
        assert one.stats.total().rejected["processes.samples"] == 99
        assert [s.pid for s in one.at(3.0)] == [10]

    def test_garbage_alone(self, bench: Make):
        one = bench()
        one.simulation.process_answers(0, "garbage")
        assert one.at(1.0) == one.at(2.0) == ()
        assert one.rejected == 200
        one.simulation.process_answers(0, None)
        one.start(10, sm=0.5)
        one.at(3.0)
        assert [s.pid for s in one.at(4.0)] == [10]

    @pytest.mark.parametrize("jump", [-3600.0, 3600.0])
    def test_a_clock_that_is_set(self, bench: Make, jump: float):
        one = bench()
        one.start(10, sm=0.5)
        one.at(20.0)
        assert one.at(21.0)
        one.simulation.epoch += jump
        found = [one.at(22.0 + number) for number in range(20)]
        assert not any(s.sm > 1 or s.at < s.since for samples in found for s in samples)
        assert all(found[-5:])

    def test_a_call_that_fails_is_counted_and_nothing_is_lost(self, bench: Make):
        one = bench()
        one.start(10, sm=0.5)
        one.at(1.0)
        one.simulation.fail(0, "nvmlDeviceGetProcessesUtilizationInfo", "TIMEOUT")
        with pytest.raises(NvmlError):
            one.at(2.0)
        assert one.stats.total().errors["processes.samples", "timeout"] == 1
        one.simulation.heal(0)
        (sample,) = one.at(3.0)
        assert sample.at - sample.since == pytest.approx(2.0, abs=0.2)


class TestAccounting:
    def test_nothing_while_it_is_off(self, bench: Make):
        one = bench()
        one.start(10, sm=0.5)
        one.now = 5.0
        assert one.processes.accounting() == {}

    @pytest.mark.parametrize("sums", [False, True])
    def test_of_the_living_and_the_dead(self, bench: Make, sums: bool):
        one = bench(gains=(NEWER_V2,) if sums else ())
        one.simulation.accounting(0, enabled=True)
        one.now = 10.0
        one.start(10, sm=0.5, memory=0.25)
        one.start(11)
        one.now = 20.0
        one.simulation.end_process(0, 10)
        one.now = 30.0
        found = one.processes.accounting()
        assert set(found) == {10, 11}
        dead, living = found[10], found[11]
        assert (dead.running, living.running) == (False, True)
        assert dead.started == living.started == 1_700_000_010.0
        assert (dead.seconds, living.seconds) == (10.0, None)
        assert dead.sm == pytest.approx(0.5, abs=0.02)
        assert dead.memory == (81559 - 479) * 2**20 * 0.25
        assert living.sm == 0.0
        if sums:
            assert dead.samples == pytest.approx(60, abs=1)
            assert dead.sm_sum == pytest.approx(30, rel=0.05)
        else:
            assert (dead.samples, dead.sm_sum) == (None, None)

    def test_of_some(self, bench: Make):
        one = bench()
        one.simulation.accounting(0, enabled=True)
        for pid in range(1, 2001):
            one.start(pid, memory=0.0001)
        assert set(one.processes.accounting({7, 1999, 5000})) == {7, 1999}
        assert len(one.processes.accounting()) == 2000

    def test_memory_that_nobody_knows(self, bench: Make):
        one = bench("wsl2")
        one.simulation.accounting(0, enabled=True)
        one.start(10)
        assert one.processes.accounting()[10].memory is None

    def test_numbers_that_cannot_be(self, bench: Make):
        one = bench()
        one.simulation.accounting(0, enabled=True)
        one.start(10)
        stats = pynvml.c_nvmlAccountingStats_t()
        stats.gpuUtilization = stats.memoryUtilization = NO_INSTANCE
        stats.maxMemoryUsage, stats.startTime = NOT_AVAILABLE, 5_000_000
        one.simulation.answer(0, "nvmlDeviceGetAccountingStats", bytes(stats))
        expected = Accounting(
            10, 5.0, running=False, seconds=0.0, memory=None, sm=None, memory_use=None
        )
        assert one.processes.accounting() == {10: expected}

    def test_one_that_fails_costs_itself(self, bench: Make):
        one = bench()
        one.simulation.accounting(0, enabled=True)
        one.start(10)
        one.simulation.fail(0, "nvmlDeviceGetAccountingStats", "UNKNOWN")
        assert one.processes.accounting() == {}
        assert one.stats.total().errors["processes.accounting", "unknown"] == 1


def _event(at: float, action: str, parameters: dict[str, object]):
    return Event(at, action, 0, parameters)


rows = st.tuples(
    st.integers(1, 2**22), st.integers(0, 2**64 - 1), st.just(NO_INSTANCE), st.just(NO_INSTANCE)
)


@given(st.lists(rows, max_size=20))
def test_entries_are_what_was_written(written):
    data = b"".join(V2.pack(*row) for row in written)
    room = data + b"\xff" * (len(data) // 3 + 64)
    assert _decoded(memoryview(room), len(written), 24) == (written, 0)


@given(st.lists(st.tuples(st.integers(1, 2**22), st.integers(2**21, 2**40)), max_size=20))
def test_short_entries_are_what_was_written(written):
    data = b"".join(V1.pack(*row) for row in written)
    found, rejected = _decoded(memoryview(data + b"\xff" * len(data)), len(written), 16)
    assert found == [(pid, memory, NO_INSTANCE, NO_INSTANCE) for pid, memory in written]
    assert rejected == 0


@given(st.binary(max_size=2000), st.integers(0, 100), st.sampled_from([16, 24, 32]))
def test_any_bytes_give_possible_processes_or_none(data, count, usual):
    room = data + b"\xff" * max(0, 32 * count - len(data))
    found, rejected = _decoded(memoryview(room), count, usual)
    assert len(found) + rejected == count
    assert all(0 < pid <= 2**22 for pid, *_ in found)


words = st.integers(0, 2**32 - 1)
use = st.tuples(words, st.integers(0, 2**64 - 1), st.lists(words, min_size=6, max_size=6))


@given(st.lists(st.tuples(st.floats(0, 1e6), st.lists(use, max_size=5)), max_size=30))
def test_no_sample_is_ever_impossible(answers):
    reader = UseReader(None)
    now = 0.0
    for wait, rows_ in answers:
        now += wait
        reader._ask_driver = lambda _since, rows_=rows_: rows_
        samples, rejected = reader.read(lambda now=now: now)
        assert rejected <= len(rows_) - len(samples)
        for sample in samples:
            shares = (sample.sm, sample.memory, sample.encoder, sample.decoder)
            assert all(0 <= share <= 1 for share in shares)
            assert sample.since <= sample.at
            assert 0 < sample.pid <= 2**22


@given(st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=9))
def test_room_grows_to_a_bound_whatever_is_asked_for(wanted):
    room = Room(4, 8)
    asked = iter(wanted)

    def call(count: object, _entries: object) -> int:
        number = next(asked, None)
        if number is None:
            return int(pynvml.NVML_SUCCESS)
        count._obj.value = number
        return int(pynvml.NVML_ERROR_INSUFFICIENT_SIZE)

    with suppress(pynvml.NVMLError):
        view = room.ask(call)
        assert len(view) == room.capacity * ctypes.sizeof(ctypes.c_uint)
    assert room.filled <= room.capacity <= MOST_ENTRIES
