"""Counters of the driver that fall or jump for one reading, and those that begin anew."""

from __future__ import annotations

import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from gpu_sentinel.catalogue import Kind, query_keys
from gpu_sentinel.sampling.counters import COUNTERS, MOST_HELD, Counter, Counters, Limit

LIMIT = Limit(rate=10.0, slack=5.0)
SECONDS = st.floats(0.1, 600.0)
SHARE = st.floats(0.0, 1.0)
READING = st.floats(0.0, 1e12)


@st.composite
def honest(draw: st.DrawFn, least: int = 1) -> list[tuple[float, float]]:
    """Times and readings of a counter that does what it should."""
    t, total = 0.0, draw(READING)
    readings = [(t, total)]
    for seconds, share in draw(st.lists(st.tuples(SECONDS, SHARE), min_size=least, max_size=12)):
        t += seconds
        total += share * seconds * LIMIT.rate
        readings.append((t, total))
    return readings


def shown(readings: list[tuple[float, float]]) -> tuple[list[float | None], int]:
    counter = Counter(LIMIT)
    dropped, seen = 0, []
    for t, reading in readings:
        dropped += counter.add(t, reading)
        seen.append(counter.shown)
    return seen, dropped


@given(honest())
def test_what_grows_as_it_can_is_shown_as_it_is(readings):
    assert shown(readings) == ([reading for _, reading in readings], 0)


@given(honest(least=2), st.data())
def test_one_reading_that_cannot_be_is_never_shown(readings, data: st.DataObject):
    at = data.draw(st.integers(1, len(readings) - 2))
    (before_t, before), (t, _) = readings[at - 1], readings[at]
    wrong = data.draw(st.floats(0.0, 1e19))
    assume(not LIMIT.allows(wrong - before, t - before_t))
    # The one after it goes on from where the counter was, and not from the wrong one.
    glitched = [*readings[:at], (t, wrong), *readings[at + 1 :]]
    seen, dropped = shown(glitched)
    assert seen == [*(r for _, r in readings[:at]), before, *(r for _, r in readings[at + 1 :])]
    assert dropped == 1


@given(honest(), honest(least=1), SECONDS)
def test_a_counter_that_begins_anew_is_shown_one_reading_later(first, second, pause: float):
    end, last = first[-1]
    again = [(end + pause + t, reading) for t, reading in second]
    assume(all(not LIMIT.allows(r - last, t - end) for t, r in again))
    seen, dropped = shown([*first, *again])
    assert seen[len(first) :] == [last, *(r for _, r in again[1:])]
    assert dropped == 0


@given(honest(), honest(least=1), SECONDS)
def test_at_once_where_the_driver_was_let_go_of(first, second, pause: float):
    counter = Counter(LIMIT)
    for t, reading in first:
        counter.add(t, reading)
    counter.unplug()
    (end, last), (_, begun) = first[-1], second[0]
    assume(begun < last)
    dropped = counter.add(end + pause, begun)
    assert dropped == 0
    if LIMIT.allows(begun, pause):
        assert counter.shown == begun
    else:
        assert counter.shown == last
        counter.add(end + pause + 1.0, begun)
        assert counter.shown == begun


@given(st.lists(READING, max_size=12), READING)
def test_nothing_is_held_back_for_ever(noise, last: float):
    seen, _ = shown([(float(t), reading) for t, reading in enumerate([*noise, *[last] * 2])])
    assert seen[-1] == last


@given(st.lists(READING, min_size=1, max_size=20))
def test_what_is_shown_was_read_and_the_rest_is_counted(noise):
    counter = Counter(LIMIT)
    dropped, accepted = 0, 0
    for t, reading in enumerate(noise):
        held = counter.holding
        gone = counter.add(float(t), reading)
        dropped += gone
        accepted += counter.holding == 0
        assert counter.shown in noise[: t + 1]
        assert counter.holding <= MOST_HELD
        assert gone <= held
    confirmed = len(noise) - accepted - dropped - counter.holding
    assert confirmed >= 0


def test_a_counter_faster_than_anything_known_is_shown_all_the_same():
    seen, _ = shown([(float(t), 1e6 * t) for t in range(12)])
    assert len(set(seen)) > 2
    assert seen[-1] > 0


class TestCounters:
    def test_each_link_by_itself(self):
        counters = Counters({"errors": LIMIT})
        values = {"errors": (100.0, 200.0, math.nan)}
        assert counters.take(0.0, ["errors"], values) == (False, [])
        values = {"errors": (7.0, 201.0, math.nan)}
        assert counters.take(1.0, ["errors"], values) == (True, [])
        assert values["errors"][:2] == (100.0, 201.0)
        assert math.isnan(values["errors"][2])
        values = {"errors": (101.0, 201.0, 5.0)}
        assert counters.take(2.0, ["errors"], values) == (False, ["errors"])
        assert values["errors"] == (101.0, 201.0, 5.0)

    def test_a_gap_is_time_in_which_a_counter_grows(self):
        counters = Counters({"bytes": LIMIT})
        counters.take(0.0, ["bytes"], {"bytes": 0.0})
        values: dict = {}
        assert counters.take(1.0, ["bytes"], values) == (False, [])
        assert values == {}, "a call that failed"
        values = {"bytes": 3000.0}
        assert counters.take(300.0, ["bytes"], values) == (False, [])
        assert values == {"bytes": 3000.0}

    @pytest.mark.parametrize(
        "key",
        ["nvlink.tx.bytes", "pcie.replays", "violation.power", "slowdown.hw_thermal",
         "ecc.errors.uncorrected.volatile", "nvlink.link.errors.replay", "c2c.link.replays"],
    )  # fmt: skip
    def test_what_is_watched(self, key: str):
        assert key in COUNTERS

    def test_every_counter_of_the_driver_has_a_limit(self):
        counters = {key for key, m in query_keys().items() if m.kind is Kind.COUNTER}
        assert counters - set(COUNTERS) == {"energy.total"}

    def test_no_time_runs_faster_than_time(self):
        counters = Counters()
        counters.take(0.0, ["violation.power"], {"violation.power": 0.0})
        values = {"violation.power": 60.0}
        assert counters.take(10.0, ["violation.power"], values)[0]
        assert values == {"violation.power": 0.0}
        values = {"violation.power": 20.0}
        assert counters.take(20.0, ["violation.power"], values) == (False, ["violation.power"])


class TestSampler:
    """The whole way, in simulated time."""

    def test_replays_that_fall_for_one_reading(self, simulated):
        machine = simulated("training", None, 0)
        pcie = machine.simulation.gpus[0].errors.pcie
        pcie["replay"] = 1000
        machine.run(15.0)
        true = machine.number("pcie.replays")
        assert true >= 1000.0
        pcie["replay"] = 0
        machine.run(25.0)
        assert machine.number("pcie.replays") == true
        pcie["replay"] = 1002
        machine.run(35.0)
        assert machine.number("pcie.replays") == true + 2
        assert machine.stats.total().rejected["pcie.replays"] == 1

    def test_a_reset_that_then_stays_the_same_is_shown_one_reading_later(self, simulated):
        machine = simulated("training", None, 0)
        pcie = machine.simulation.gpus[0].errors.pcie
        pcie["replay"] = 1000
        machine.run(15.0)
        pcie["replay"] = 0
        machine.run(45.0)
        assert machine.number("pcie.replays") < 1000.0
        assert machine.stats.total().rejected["pcie.replays"] == 0

    @pytest.mark.parametrize("wrong", [0, 1 << 50])
    def test_bytes_of_nvlink(self, simulated, monkeypatch, wrong: int):
        machine = simulated("training", None, 0)
        gpu = machine.simulation.gpus[0]
        true, odd = gpu.link_bytes, [False]

        def link_bytes(links, t):
            return [(wrong, wrong) if odd[0] else pair for pair in true(links, t)]

        monkeypatch.setattr(gpu, "link_bytes", link_bytes)
        machine.run(20.0)
        seen = [machine.number("nvlink.tx.bytes")]
        for second in range(21, 30):
            odd[0] = second == 24
            machine.run(float(second))
            seen.append(machine.number("nvlink.tx.bytes"))
        assert seen == sorted(seen)
        assert seen[0] > 0
        assert seen[-1] - seen[0] < 1e13
        assert machine.stats.total().rejected["nvlink.tx.bytes"] >= 1

    def test_a_driver_that_is_loaded_anew(self, simulated):
        machine = simulated("training", None, 0)
        pcie = machine.simulation.gpus[0].errors.pcie
        pcie["replay"] = 1000
        machine.run(15.0)
        pcie["replay"] = 0
        machine.samplers[0].look_again()
        machine.run(16.0)
        assert machine.number("pcie.replays") < 1000.0
        assert machine.stats.total().rejected["pcie.replays"] == 0

    def test_errors_of_a_mig_instance(self, simulated):
        machine = simulated("one-of-each", None, 0)
        machine.simulation.mig(0, ["3g.40gb"])
        machine.run(15.0)
        (instance,) = machine.simulation.gpus[0].mig.instances
        shown = []
        for until, errors in ((25.0, 7), (35.0, 0), (45.0, 8), (55.0, 1), (65.0, 1)):
            instance.uncorrected = errors
            machine.run(until)
            (found,) = [
                sample.values["mig.ecc.volatile.uncorrected"]
                for mig in machine.store.current.instances
                for sample in mig.tiers.values()
                if "mig.ecc.volatile.uncorrected" in sample.values
            ]
            shown.append(found)
        assert shown == [7.0, 7.0, 8.0, 8.0, 1.0]
        assert machine.stats.total().rejected["mig.ecc.volatile.uncorrected"] == 1
