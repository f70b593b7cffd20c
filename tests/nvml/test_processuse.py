"""What processes use of a GPU, on simulated GPUs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from processbench import Make

from gpu_sentinel.nvml import NvmlError
from gpu_sentinel.nvml.processuse import UseReader
from gpu_sentinel.simulator.loads import Load
from gpu_sentinel.simulator.scenario import Event


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

    @pytest.mark.parametrize(("begin", "most"), [(0.0, 1.0), (3.0, 2.5), (30.0, 0.65)])
    def test_the_first_second_of_work_is_no_more_than_that(
        self, bench: Make, begin: float, most: float
    ):
        """What a driver says first is a mean over all that it keeps: 12 s, or since its start."""
        one = bench()
        for second in range(int(begin) + 1):
            one.at(float(second))
        one.start(10, sm=0.6)
        (sample,) = one.at(begin + 1.0)
        assert 0.55 <= sample.sm * (sample.at - sample.since) <= most
        assert sample.sm <= 1.0

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


def _event(at: float, action: str, parameters: dict[str, object]):
    return Event(at, action, 0, parameters)


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
