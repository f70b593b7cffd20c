"""Four times a second on eight GPUs, by a driver whose calls cost something.

The costs are made up: nothing here depends on how fast this machine is.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

from gpu_sentinel.model import Tier
from gpu_sentinel.nvml import RINGS
from gpu_sentinel.sampling import Budget, Pace, automatic_cpu
from gpu_sentinel.sampling.governor import PERIOD_SECONDS
from gpu_sentinel.sampling.meter import SETTLE_SECONDS, Meter
from gpu_sentinel.sampling.worth import GAUGES, HEADLINES, ORDER, RANKS, SAMPLES
from gpu_sentinel.simulator.library import Library
from simulatedtime import SimulatedTime

#: Processor time of the sampler itself for each call.
OURS = 20e-6
EIGHT = """\
description: eight boards that work
gpus:
  - model: h100-sxm
    count: 8
    load: {kind: steady, utilization: 0.9, memory: 0.5}
"""
DEFAULT = Pace(budget=Budget(automatic_cpu(cores=2)))


class Priced:
    """A machine whose driver takes `price` seconds of processor time for each call."""

    def __init__(self, machine: SimulatedTime, price: float, monkeypatch: pytest.MonkeyPatch):
        self.machine = machine
        self.price = price
        self.calls: Counter[str] = Counter()
        self.meter = Meter(machine.stats, machine.governor, machine.clock)
        enter = Library._enter

        def priced(library, name, *rest) -> None:
            self.calls[name] += 1
            enter(library, name, *rest)

        monkeypatch.setattr(Library, "_enter", priced)
        monkeypatch.setattr(time, "perf_counter", lambda: self.calls.total() * self.price)
        machine.between = self._look

    def _look(self, now: float) -> None:
        del now
        cpu = self.calls.total() * (self.price + OURS)
        self.meter.look(len(self.machine.samplers), lambda: self.machine.pace, cpu)

    def factors(self, rank) -> dict[str, int]:
        factors = self.machine.governor.factors
        return {q: f for q, f in factors.items() if RANKS[q] is rank}

    def shown(self) -> list[float]:
        return [device.interval for device in self.machine.store.current.devices]


@pytest.fixture
def eight(simulated, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Priced]:
    scenario = tmp_path / "eight.yml"
    scenario.write_text(EIGHT)

    def make(price: float, pace: Pace = DEFAULT) -> Priced:
        return Priced(simulated(str(scenario), pace), price, monkeypatch)

    return make


@pytest.mark.parametrize("microseconds", [0, 50, 150])
def test_the_default_budget_keeps_the_pace_of_eight_gpus(eight, microseconds: int):
    host = eight(microseconds * 1e-6)
    host.machine.run(6.5 * PERIOD_SECONDS)
    assert host.machine.governor.factors == {}
    assert host.shown() == [0.25] * 8
    assert host.machine.governor.usage["cpu"] >= microseconds * 1e-6 * 8 * 20, "it was priced"
    for device in host.machine.store.current.devices:
        assert device.samples == pytest.approx(4 * 65, abs=4)
        assert device.lost_samples == dict.fromkeys(RINGS, 0)


def test_a_dearer_driver_costs_most_what_is_worth_least(eight):
    host = eight(500e-6)
    host.machine.run(8.5 * PERIOD_SECONDS)
    assert host.machine.governor.usage["cpu"] == pytest.approx(0.05, rel=0.15)
    clocks = [f for q, f in host.factors(GAUGES).items() if q.startswith("clocks.current.")]
    assert len(clocks) == 4
    assert max(host.factors(HEADLINES).values()) < min(clocks)
    assert host.shown() == [0.5] * 8
    assert host.machine.gpu().lost_samples == dict.fromkeys(RINGS, 0)


@pytest.mark.parametrize("microseconds", [200, 300, 500, 1000, 3000])
def test_a_rank_is_stretched_when_little_is_left_of_those_before(eight, microseconds: int):
    host = eight(microseconds * 1e-6)
    host.machine.run(SETTLE_SECONDS + 1.05 * PERIOD_SECONDS)
    stretched = [rank for rank in ORDER if host.factors(rank)]
    assert stretched, "this driver is too dear for the budget"
    costs = host.machine.stats.total().costs
    for query in costs.keys() & RANKS.keys():
        rank, factor = RANKS[query], host.machine.governor.factors.get(query, 1)
        if ORDER.index(rank) < ORDER.index(stretched[-1]):
            left = costs[query].seconds / factor / time.perf_counter()
            assert factor == rank.most or left < 0.01, query


@pytest.mark.parametrize("microseconds", [3_000, 20_000])
def test_a_buffer_is_emptied_in_time_whatever_the_budget(eight, microseconds: int):
    host = eight(microseconds * 1e-6)
    host.machine.run(6 * PERIOD_SECONDS)
    assert host.factors(SAMPLES)
    before = host.calls["nvmlDeviceGetSamples"]
    host.machine.run(8 * PERIOD_SECONDS)
    drains = (host.calls["nvmlDeviceGetSamples"] - before) / 8 / len(RINGS)
    # 120 samples every 100 or 200 ms: half of that is 6 s.
    assert drains >= 2 * PERIOD_SECONDS / 6
    for device in host.machine.store.current.devices:
        assert device.lost_samples == dict.fromkeys(RINGS, 0)
    observed = host.machine.number("observed(power.draw.instant)")
    assert observed == pytest.approx(80, abs=8), "nothing is missing in the integral"


def test_an_interval_that_was_set_is_kept(eight, caplog: pytest.LogCaptureFixture):
    fast = Pace(fast=0.1, budget=DEFAULT.budget, kept=frozenset({Tier.FAST}))
    host = eight(1000e-6, fast)
    with caplog.at_level("WARNING"):
        host.machine.run(6.5 * PERIOD_SECONDS)
    assert host.shown() == [0.1] * 8
    assert not host.factors(HEADLINES)
    assert not host.factors(GAUGES)
    told = [r for r in caplog.records if "that were set" in r.message]
    assert len(told) == 1
    assert told[0].fields["tiers"] == "fast"  # type: ignore[attr-defined]


def test_fields_that_are_due_together_come_with_one_call(eight):
    """Power twice a second, and the fields of the whole second with every other of these."""
    host = eight(0.0)
    host.machine.run(5.25)
    host.calls.clear()
    host.machine.run(15.25)
    slow = 2 * 8  # of the slow tier, each ten seconds: its fields, and the count of links
    assert host.calls["nvmlDeviceGetFieldValues"] <= 8 * 20 + slow
    costs = host.machine.stats.total().costs
    assert costs["fields.power"].calls >= 8 * 20, "these two"
    assert costs["fields.fast"].calls >= 8 * 10


def power_drains(machine: SimulatedTime) -> list[float]:
    """When the buffer of power was emptied, from now on."""
    drains: list[float] = []
    device = machine.samplers[0]._device
    (ring,) = [r for r in device.rings if r.key == "power.draw.instant"]
    read = ring._read

    def noted(newest: int):
        drains.append(machine.clock.now)
        return read(newest)

    ring._read = noted
    return drains


@pytest.mark.parametrize(
    ("pace", "every"),
    [
        (Pace(), 1.0),
        (Pace(fast=10.0), 5.0),  # its span is 12 s
        (Pace(fast=4.0), 4.0),
        (Pace(fast=10.0, idle=10.0), 5.0),
    ],
)
def test_a_buffer_is_emptied_within_half_of_its_span(simulated, pace: Pace, every: float):
    """Whatever the interval of the polls, which stays what was set."""
    machine = simulated("steady", pace, 0)
    machine.run(40.0)
    drains = power_drains(machine)
    samples = machine.gpu().samples
    machine.run(80.0)
    gaps = {round(b - a, 6) for a, b in pairwise(drains)}
    assert gaps == {every}
    assert machine.gpu().interval == pace.fast
    assert machine.gpu().samples - samples == pytest.approx(40 / min(pace.fast, every), abs=1)
    assert machine.gpu().lost_samples["power.draw.instant"] == 0


def test_a_new_buffer_is_emptied_as_the_shortest_that_is_known(simulated):
    """120 samples every 20 ms: 2.4 s, until it has told how often it is filled."""
    machine = simulated("steady", Pace(fast=10.0), 0)
    machine.run(0.0)
    drains = power_drains(machine)
    machine.run(4.0)
    assert max(b - a for a, b in pairwise([0.0, *drains])) <= 1.2


def test_what_the_driver_overwrote_is_counted_told_and_no_part_of_the_integral(
    simulated, caplog: pytest.LogCaptureFixture
):
    machine = simulated("steady", Pace(), 0)
    machine.run(20.0)
    observed = machine.number("observed(power.draw.instant)")
    integral = machine.samplers[0].known.history.signals["power.draw.instant"].integral
    joules = integral.total
    with caplog.at_level("INFO"):
        machine.clock.now = 60.0  # as if a call had hung for so long
        machine.run(100.0)
    lost = machine.gpu().lost_samples
    assert lost["power.draw.instant"] == pytest.approx(400 - 120, abs=15)
    assert lost["utilization.gpu"] == pytest.approx(200 - 120, abs=10)
    unseen = lost["power.draw.instant"] * 0.1
    seen = machine.number("observed(power.draw.instant)") - observed
    assert seen == pytest.approx(80 - unseen, abs=0.25)
    assert (integral.total - joules) / seen == pytest.approx(joules / observed, rel=0.05)
    told = [r for r in caplog.records if r.fields.get("signal") == "power.draw.instant"]
    assert [r.message for r in told] == [
        "driver overwrote samples before they were read",
        "driver's samples are read in time again",
    ]
    assert told[0].fields["samples"] == lost["power.draw.instant"]
    assert told[0].fields["uuid"] == machine.gpu().id.uuid


def test_lost_samples_outlive_the_driver(simulated):
    machine = simulated("steady", Pace(), 0)
    machine.run(20.0)
    machine.clock.now = 60.0
    machine.run(70.0)
    lost = machine.gpu().lost_samples
    assert lost["power.draw.instant"] > 0
    machine.samplers[0].look_again()
    machine.run(80.0)
    assert machine.gpu().lost_samples == lost


def test_every_query_has_a_rank(simulated):
    for scenario in ("one-of-each", "mig", "old-driver", "superchip", "nvlink"):
        machine = simulated(scenario)
        machine.run(25.0)
        asked = set(machine.stats.total().costs) - {"init", "count", "shutdown", "handle"}
        assert asked - set(RANKS) == set()
        machine.close()
