"""What the GPU's own counters tell, against what the board did."""

from __future__ import annotations

import pynvml
import pytest

from gpu_sentinel.catalogue import ACTIVITIES, Selection, keys_needed
from gpu_sentinel.model import Tier
from gpu_sentinel.nvml import Driver
from gpu_sentinel.sampling import Pace
from gpu_sentinel.simulator.loads import Load

GRAPHICS, TENSOR = "profiling.graphics_active", "profiling.tensor_active"
SECONDS = "integral(profiling.{})"
OBSERVED = "profiling.observed"


def test_integrals_equal_what_the_board_did(simulated):
    machine = simulated("training", Pace(), 0)
    machine.run(5.0)
    gpu = machine.simulation.gpus[0]
    busy, newest = 0.0, gpu.past()[-1].step

    def follow(_: float) -> None:
        nonlocal busy, newest
        for past in gpu.past():
            if past.step > newest:
                busy, newest = busy + 0.1 * past.utilization, past.step

    machine.between = follow
    board = gpu.done(5.0)
    before = {a.name: machine.number(SECONDS.format(a.name)) for a in ACTIVITIES}
    machine.run(305.0)
    done = gpu.done(305.0)
    assert done.busy - board.busy == pytest.approx(busy, rel=0.002)
    for name, expected in (
        ("graphics_active", done.busy - board.busy),
        ("sm_active", 0.94 * (done.busy - board.busy)),
        ("tensor_active", 0.6 * (done.effort - board.effort)),
        ("dram_active", done.memory - board.memory),
    ):
        found = machine.number(SECONDS.format(name)) - before[name]
        assert found == pytest.approx(expected, rel=0.01), name
    assert machine.number(OBSERVED) == pytest.approx(305.0, abs=1.1)
    mean = machine.number(SECONDS.format("tensor_active")) / machine.number(OBSERVED)
    assert 0.4 < mean < 0.6


@pytest.mark.parametrize("interval", [0.25, 0.7, 5.0])
def test_the_interval_does_not_change_the_integral(simulated, interval: float):
    machine = simulated("training", Pace(profiling=interval), 0)
    machine.run(120.0)
    done = machine.simulation.gpus[0].done(120.0).busy
    assert machine.number(SECONDS.format("graphics_active")) == pytest.approx(done, rel=0.06)


def test_an_idle_gpu_does_nothing(simulated):
    machine = simulated("steady", Pace(), 0)
    machine.simulation.load(0, Load())
    machine.run(30.0)
    for activity in ACTIVITIES:
        assert machine.number(activity.key) == pytest.approx(0.0, abs=1e-3)
        assert machine.number(SECONDS.format(activity.name)) < 0.2
    assert machine.number(OBSERVED) == pytest.approx(30.0, abs=1.1)


def test_bytes_stand_in_for_counters(simulated):
    machine = simulated("steady", Pace(), 0)
    found = machine.samplers[0]
    machine.run(20.0)
    asked = found._device.profiler.keys
    for key in {"pcie.tx.bytes", "nvlink.rx.bytes"}.intersection(asked):
        first = machine.number(key)
        machine.run(machine.clock.now + 10.0)
        rate = (machine.number(key) - first) / 10.0 / 2**20
        assert rate > 1000.0
        assert machine.gpu().tiers[Tier.PROFILING].values[key] == machine.number(key)


@pytest.mark.parametrize(("scenario", "index"), [("one-of-each", 1), ("old-driver", 0)])
def test_gpus_without_counters_have_no_series(simulated, scenario: str, index: int):
    machine = simulated(scenario, Pace(), index)
    machine.run(20.0)
    assert Tier.PROFILING not in machine.gpu(index).tiers
    assert not any("profiling" in key for key in machine.values(index))


def test_at_the_shortest_interval_no_sample_comes_too_soon(simulated):
    machine = simulated("training", Pace(fast=0.05, profiling=0.1), 0)
    machine.run(60.0)
    assert not machine.stats.total().errors
    assert machine.number(OBSERVED) == pytest.approx(60.0, abs=0.5)
    assert 250 <= machine.stats.total().costs["gpm"].calls <= 610


def test_a_failure_is_not_bridged_and_its_readings_leave(simulated):
    machine = simulated("steady", Pace(), 0)
    machine.run(20.0)
    before = machine.number(OBSERVED)
    machine.simulation.fail(0, "nvmlGpmSampleGet", "UNKNOWN")
    machine.run(22.0)
    assert GRAPHICS not in machine.values()
    assert "power.draw.instant" in machine.values(), "the rest goes on"
    machine.run(30.0)
    machine.simulation.mend(0, "nvmlGpmSampleGet")
    machine.run(50.0)
    # It is asked for less and less often as long as it fails.
    assert before + 7.0 <= machine.number(OBSERVED) <= before + 21.0
    assert 4 <= machine.stats.total().errors["gpm", "unknown"] <= 9


def test_integrals_outlive_a_loss(simulated):
    machine = simulated("steady", Pace(), 0)
    machine.run(20.0)
    key = SECONDS.format("graphics_active")
    before = machine.number(key)
    machine.simulation.lose(0)
    machine.run(40.0)
    assert not machine.gpu().tiers
    machine.simulation.restore(0)
    machine.run(60.0)
    assert before <= machine.number(key) <= before + 20.0


def test_a_gauge_that_is_too_old_leaves(simulated):
    machine = simulated("steady", Pace(profiling=1.0), 0)
    machine.run(10.0)
    sample = machine.gpu().tiers[Tier.PROFILING]
    assert sample.lifetime == 3.0
    machine.governor.factors, machine.governor.version = {"gpm": 8}, 1
    machine.run(30.0)
    assert machine.gpu().tiers[Tier.PROFILING].lifetime == 24.0, "it is read less often"
    calls = machine.stats.total().costs["gpm"].calls
    machine.run(110.0)
    assert machine.stats.total().costs["gpm"].calls - calls == pytest.approx(10, abs=1)
    assert GRAPHICS in machine.values()


def test_a_metric_without_meaning_costs_its_own_series(simulated):
    machine = simulated("steady", Pace(), 0)
    errors = machine.simulation.gpus[0].metric_errors
    errors[pynvml.NVML_GPM_METRIC_ANY_TENSOR_UTIL] = pynvml.NVML_ERROR_NOT_SUPPORTED
    machine.run(10.0)
    assert TENSOR not in machine.values()
    assert GRAPHICS in machine.values()


def test_what_is_switched_off_is_not_asked_for(simulated):
    machine = simulated("steady", Pace(), 0)
    wanted = keys_needed(Selection(disable=["profiling", "pcie", "nvlink"]).metrics())
    driver = Driver(machine.stats, machine.simulation.library, wanted)
    device = driver.device(0)
    device.probe()
    assert device.profiler is None


def test_buffers_are_given_back(simulated):
    machine = simulated("training", Pace())
    counts = machine.simulation.allocations
    machine.run(10.0)
    assert counts["gpm"] == 8
    for sampler in machine.samplers:
        sampler.look_again()
    machine.run(20.0)
    machine.simulation.lose(2)
    machine.run(30.0)
    machine.simulation.restore(2)
    machine.run(40.0)
    assert counts["gpm"] - counts["gpm freed"] == 8
    machine.close()
    assert counts["gpm"] == counts["gpm freed"]


def test_buffers_are_given_back_when_the_driver_goes(run, eventually):
    running = run("training")
    counts = running.simulation.allocations
    for _ in range(2):
        eventually(lambda: running.fresh(0, 1, 2, 3), 10, "all are fresh")
        running.simulation.unload_driver()
        eventually(lambda: not running.current.driver.info, 10, "the driver is gone")
        eventually(lambda: counts["gpm"] == counts["gpm freed"] > 0, 5, "all are freed")
        running.simulation.load_driver()
    eventually(lambda: running.fresh(0, 1, 2, 3), 10, "all are fresh")
    eventually(lambda: counts["gpm"] - counts["gpm freed"] == 8, 5, "those of four GPUs")
    assert running.inventory.stop(60.0)
    assert counts["gpm"] == counts["gpm freed"]
