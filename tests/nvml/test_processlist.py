"""The processes that a GPU lists, on simulated GPUs."""

from __future__ import annotations

import ctypes
from contextlib import suppress

import pynvml
import pytest
from hypothesis import given
from hypothesis import strategies as st
from processbench import NO_INSTANCE, V1, V2, Bench, Make

from gpu_sentinel.nvml import DriverGoneError, GpuLostError, NvmlError
from gpu_sentinel.nvml.processlist import LISTS, GpuProcess, _decoded
from gpu_sentinel.nvml.room import MOST_ENTRIES, Room


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

    def test_lists_that_stay_empty_are_asked_seldom(self, bench: Make):
        """Who starts graphics or MPS later is seen a few readings later; compute at once."""
        one = bench()
        one.start(10)
        for _ in range(20):
            assert one.pids() == [10]
        one.start(11, types=("graphics",))
        one.start(12, types=("compute", "mps"))
        readings = [one.processes.list() for _ in range(4)]
        assert [p.pid for p in readings[0] if "compute" in p.types] == [10, 12]
        missing = [len(found) < 3 for found in readings]
        assert missing == sorted(missing, reverse=True), "seen once, seen always"
        assert any(missing)
        assert {p.pid: p.types for p in readings[-1]}[12] == {"compute", "mps"}
        assert one.pids() == [10, 11, 12]
        one.processes.look_again()
        one.start(13, types=("graphics",))
        assert one.pids() == [10, 11, 12, 13]

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
        for ask in (one.processes.list, lambda: one.at(1.0)):
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
