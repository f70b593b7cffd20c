"""What the driver has accounted to processes, on simulated GPUs."""

from __future__ import annotations

import pynvml
import pytest
from processbench import NEWER_V2, NO_INSTANCE, NOT_AVAILABLE, Make

from gpu_sentinel.nvml.accounting import Accounting


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
