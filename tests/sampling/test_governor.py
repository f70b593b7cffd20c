"""The governor's decisions, as a function of what was used."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpu_sentinel.model import Tier
from gpu_sentinel.nvml import CallStats
from gpu_sentinel.sampling.governor import (
    PERIOD_SECONDS,
    Budget,
    Governor,
    Usage,
    automatic_cpu,
    decide,
)
from gpu_sentinel.sampling.meter import SETTLE_SECONDS, Meter
from gpu_sentinel.sampling.pace import Pace
from gpu_sentinel.sampling.worth import HEADLINES, ORDER, RANKS, STATIC

BUDGET = Budget(cpu=0.01, driver=0.05)
QUERIES = ("fields.power", "memory", "pstate")


def usage(cpu: float, seconds: dict[str, float], calls: float = 4.0, gpus: int = 1) -> Usage:
    return Usage(cpu, gpus, dict.fromkeys(seconds, calls), seconds)


def test_within_the_budget_nothing_is_stretched():
    assert decide(usage(0.009, dict.fromkeys(QUERIES, 0.001)), BUDGET, {}) == {}


def test_the_dearest_of_a_rank_is_stretched_first_and_no_more_than_needed():
    seconds = {"fields.power": 0.001, "memory": 0.06, "clocks_event_reasons": 0.002}
    assert decide(usage(0.005, seconds), BUDGET, {}) == {"memory": 2}


def test_what_is_worth_least_goes_first_though_it_is_not_the_dearest():
    seconds = {"fields.power": 0.03, "pstate": 0.024, "ecc.mode": 0.004}
    assert decide(usage(0.005, seconds), BUDGET, {}) == {"ecc.mode": 16, "pstate": 2}


def test_headlines_are_stretched_when_the_rest_is_not_enough():
    seconds = {"fields.power": 0.06, "pstate": 0.024, "ecc.mode": 0.004}
    wanted = decide(usage(0.005, seconds), BUDGET, {})
    assert wanted == {"ecc.mode": 16, "pstate": 16, "fields.power": 2}


def test_what_would_save_next_to_nothing_is_left_alone():
    seconds = {"memory": 0.09, "ecc.mode": 0.0001, "pstate": 0.0002}
    assert decide(usage(0.005, seconds), BUDGET, {}) == {"memory": 2}


def test_little_is_stretched_too_where_nothing_else_is_left():
    seconds = {"memory": 0.055, "ecc.mode": 0.00004}
    assert decide(usage(0.005, seconds), BUDGET, {"memory": 64}) == {"memory": 64, "ecc.mode": 16}


def test_order_of_worth():
    """What the documentation promises."""
    assert [rank.name for rank in ORDER] == [
        "static",
        "slow details",
        "profiling",
        "clocks and other gauges",
        "the driver's samples",
        "headline readings",
    ]
    assert {q for q, rank in RANKS.items() if rank is HEADLINES} == {
        *("fields.power", "power.draw", "utilization", "memory", "clocks_event_reasons")
    }
    assert RANKS["clocks.max.sm"] is STATIC


def test_processor_time_outside_of_calls_counts_by_call():
    """Where no call is dear, all of a rank are stretched until it fits."""
    wanted = decide(usage(0.03, dict.fromkeys(QUERIES, 1e-5)), BUDGET, {})
    assert wanted == {"pstate": 16, "fields.power": 2, "memory": 4}


def test_time_in_the_driver_is_of_each_gpu():
    seconds = {"memory": 0.08}
    assert decide(usage(0.0, seconds, gpus=8), BUDGET, {}) == {}
    assert decide(usage(0.0, seconds, gpus=1), BUDGET, {}) == {"memory": 2}


def test_relaxes_by_one_step_where_there_is_room_headlines_first():
    factors = {"memory": 4, "pstate": 4}
    seconds = {"memory": 0.02, "pstate": 0.02}
    assert decide(usage(0.002, seconds), BUDGET, factors) == factors, "it would not fit"
    seconds = {"memory": 0.012, "pstate": 0.012}
    assert decide(usage(0.002, seconds), BUDGET, factors) == {"memory": 2, "pstate": 4}
    seconds = {"memory": 0.002, "pstate": 0.002}
    assert decide(usage(0.002, seconds), BUDGET, factors) == {"memory": 2, "pstate": 2}


def test_what_was_not_asked_for_is_not_known_to_fit():
    used = Usage(0.001, 1, {"memory": 4.0, "ecc.mode": 0.0}, {"memory": 0.001, "ecc.mode": 0.0})
    assert decide(used, BUDGET, {"ecc.mode": 4}) == {"ecc.mode": 4}


def test_off_takes_everything_back():
    governor = Governor()
    governor.period(usage(0.5, {"memory": 0.4}), BUDGET)
    assert governor.factors
    governor.period(usage(0.5, {"memory": 0.4}), Budget(None, None))
    assert governor.factors == {}
    assert governor.version == 2
    assert governor.changes["shortened"] == 1


def test_one_log_line_a_change(caplog: pytest.LogCaptureFixture):
    governor = Governor()
    with caplog.at_level("INFO"):
        governor.period(usage(0.0, {"memory": 0.08}), BUDGET)
        governor.period(usage(0.0, {"memory": 0.045}), BUDGET)
    assert [r.message for r in caplog.records] == ["query is read less often"]


@pytest.mark.parametrize(("cores", "share"), [(1, 0.05), (50, 0.05), (256, 0.256)])
def test_default_budget_grows_with_the_machine(cores: int, share: float):
    assert automatic_cpu(cores) == pytest.approx(share)


class TestIntervalsThatWereSet:
    FAST = frozenset({Tier.FAST})

    def test_they_are_not_stretched_and_those_that_were_are_taken_back(self):
        seconds = {"memory": 0.03, "ecc.mode": 0.03}
        assert decide(usage(0.005, seconds), BUDGET, {"memory": 8}, self.FAST) == {"ecc.mode": 2}

    def test_the_rest_keeps_a_quarter_of_the_budget(self):
        seconds = {"memory": 0.4, "ecc.mode": 0.012}
        assert decide(usage(0.005, seconds), BUDGET, {}, self.FAST) == {}
        seconds["ecc.mode"] = 0.02
        assert decide(usage(0.005, seconds), BUDGET, {}, self.FAST) == {"ecc.mode": 2}

    def test_it_is_said_once_that_they_exceed_the_budget(self, caplog: pytest.LogCaptureFixture):
        governor = Governor()
        dear, cheap = usage(0.005, {"memory": 0.4}), usage(0.005, {"memory": 0.02})
        with caplog.at_level("WARNING"):
            for used in (dear, dear, cheap, cheap):
                governor.period(used, BUDGET, self.FAST)
            assert [r.message for r in caplog.records] == [
                "intervals that were set are kept, though they exceed the budget"
            ]
            governor.period(dear, BUDGET, self.FAST)
        assert len(caplog.records) == 2, "it begins anew"
        assert governor.factors == {}


shares = st.floats(0.0, 1.0)


@given(
    cpu=shares,
    seconds=st.dictionaries(st.sampled_from(QUERIES), st.floats(0.0, 0.5), min_size=1),
    factors=st.dictionaries(st.sampled_from(QUERIES), st.sampled_from([1, 2, 4, 64])),
    gpus=st.integers(1, 16),
)
def test_decisions_are_bounded_and_never_the_wrong_way(cpu, seconds, factors, gpus):
    cpu = max(cpu, sum(seconds.values()))
    used = usage(cpu, seconds, gpus=gpus)
    wanted = decide(used, BUDGET, factors)
    over = max(used.shares(BUDGET)) > 1.0
    for query in wanted:
        before, after = factors.get(query, 1), wanted[query]
        assert 1 <= after <= max(RANKS[query].most, before)
        assert after >= before if over else after <= before


@given(st.floats(0.02, 0.6), st.floats(1e-5, 0.02))
def test_a_steady_load_settles_within_the_budget(ours: float, inside: float):
    """Costs that fall with the factors, as real ones do, come to rest below the budget."""
    factors: dict[str, int] = {}
    for _ in range(40):
        rates = {q: 1.0 / factors.get(q, 1) for q in QUERIES}
        used = Usage(
            sum((ours + inside) * r for r in rates.values()) / 3,
            1,
            rates,
            {q: inside * r for q, r in rates.items()},
        )
        factors = decide(used, BUDGET, factors)
    assert used.cpu <= BUDGET.cpu or all(factors[q] == RANKS[q].most for q in QUERIES)


def started(meter: Meter, clock: list[float]) -> None:
    """Let the time pass in which the GPUs are found."""
    for clock[0] in (0.0, SETTLE_SECONDS):
        meter.look(1, Pace, 0.0)


def test_what_it_costs_to_find_the_gpus_does_not_count():
    stats, governor, clock = CallStats(), Governor(), [0.0]
    meter = Meter(stats, governor, lambda: clock[0])
    cost = stats.recorder("gpu0").cost("memory")
    meter.look(1, Pace, 0.0)
    for _ in range(1000):
        cost.add(0.002)
    for clock[0] in (1.9, 2.0, 2.0 + PERIOD_SECONDS):
        meter.look(1, Pace, 2.0)
    assert governor.usage == {"cpu": 0.0, "driver": 0.0}
    assert meter.cpu == 2.0


def test_a_call_that_hung_is_no_cost():
    stats, governor, clock = CallStats(), Governor(), [0.0]
    meter = Meter(stats, governor, lambda: clock[0])
    cost = stats.recorder("gpu0").cost("memory")
    started(meter, clock)
    for _ in range(40):
        cost.add(0.000_01)
    cost.add(20.0)
    clock[0] += PERIOD_SECONDS
    meter.look(1, Pace, 0.0)
    assert governor.factors == {}
    assert governor.usage["driver"] < 0.001
    assert cost.seconds > 20.0, "it is shown what it took"


def test_a_rare_call_is_spread_over_the_time_until_it_comes_again():
    """Else the period in which it happens to come would look dear, and the others cheap."""
    stats, governor, clock = CallStats(), Governor(), [0.0]
    meter = Meter(stats, governor, lambda: clock[0])
    often, rare = (stats.recorder("gpu0").cost(q) for q in ("memory", "ecc.locations"))
    shown = []
    cpu = 0.0
    started(meter, clock)
    for period in range(1, 25):
        for _ in range(40):
            often.add(0.001)
        cpu += 0.04
        if period % 4 == 0:
            rare.add(0.4)
            cpu += 0.4
        clock[0] = SETTLE_SECONDS + period * PERIOD_SECONDS
        meter.look(1, Pace, cpu)
        shown.append((governor.usage["cpu"], governor.usage["driver"]))
    assert shown[8:] == [pytest.approx((0.014, 0.014))] * 16
