"""The governor's decisions, as a function of what was used."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpu_sentinel.nvml import CallStats
from gpu_sentinel.sampling.governor import (
    MOST,
    PERIOD_SECONDS,
    Budget,
    Governor,
    Usage,
    decide,
)
from gpu_sentinel.sampling.meter import Meter
from gpu_sentinel.sampling.pace import Pace

BUDGET = Budget(cpu=0.01, driver=0.05)
QUERIES = ("power", "memory", "processes")


def usage(cpu: float, seconds: dict[str, float], calls: float = 4.0, gpus: int = 1) -> Usage:
    return Usage(cpu, gpus, dict.fromkeys(seconds, calls), seconds)


def test_within_the_budget_nothing_is_stretched():
    assert decide(usage(0.009, dict.fromkeys(QUERIES, 0.001)), BUDGET, {}) == {}


def test_the_dearest_is_stretched_first_and_no_more_than_needed():
    seconds = {"power": 0.001, "memory": 0.002, "processes": 0.08}
    assert decide(usage(0.005, seconds), BUDGET, {}) == {"processes": 2}


def test_processor_time_outside_of_calls_counts_by_call():
    """Where no call is dear, all are stretched until it fits."""
    wanted = decide(usage(0.03, dict.fromkeys(QUERIES, 1e-5)), BUDGET, {})
    assert wanted == {"power": 4, "memory": 2, "processes": 4}


def test_time_in_the_driver_is_of_each_gpu():
    seconds = {"power": 0.08}
    assert decide(usage(0.0, seconds, gpus=8), BUDGET, {}) == {}
    assert decide(usage(0.0, seconds, gpus=1), BUDGET, {}) == {"power": 2}


def test_relaxes_one_a_period_when_there_is_room():
    factors = {"power": 2, "processes": 4}
    seconds = {"power": 0.001, "processes": 0.002}
    assert decide(usage(0.002, seconds), BUDGET, factors) == {"power": 1, "processes": 4}
    assert decide(usage(0.009, seconds), BUDGET, factors) == factors, "it would not fit"


def test_off_takes_everything_back():
    governor = Governor()
    governor.period(usage(0.5, {"power": 0.4}), BUDGET)
    assert governor.factors
    governor.period(usage(0.5, {"power": 0.4}), Budget(None, None))
    assert governor.factors == {}
    assert governor.version == 2
    assert governor.changes["shortened"] == 1


def test_one_log_line_a_change(caplog: pytest.LogCaptureFixture):
    governor = Governor()
    with caplog.at_level("INFO"):
        governor.period(usage(0.0, {"power": 0.08}), BUDGET)
        governor.period(usage(0.0, {"power": 0.04}), BUDGET)
    assert [r.message for r in caplog.records] == ["query is read less often"]


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
        assert 1 <= after <= MOST
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
    assert used.cpu <= BUDGET.cpu or all(f == MOST for f in factors.values())


def test_a_call_that_hung_is_no_cost():
    stats, governor, clock = CallStats(), Governor(), [0.0]
    meter = Meter(stats, governor, lambda: clock[0])
    cost = stats.recorder("gpu0").cost("memory")
    meter.look(1, Pace, 0.0)
    for _ in range(40):
        cost.add(0.000_01)
    cost.add(20.0)
    clock[0] = PERIOD_SECONDS
    meter.look(1, Pace, 0.0)
    assert governor.factors == {}
    assert governor.usage["driver"] < 0.001
    assert cost.seconds > 20.0, "it is shown what it took"
