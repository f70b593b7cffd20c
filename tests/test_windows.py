"""Windows against a brute-force model, over late, repeated, reordered and missing samples."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpu_sentinel.windows import (
    Accumulated,
    FlagSeconds,
    Integral,
    Levels,
    SlidingExtremes,
    Unwrapped,
)

# Binary fractions: their sums and products are exact, so results can be compared for equality.
times = st.integers(0, 4000).map(lambda n: n / 16)
values = st.integers(-1000, 1000).map(lambda n: n / 4)
samples = st.lists(st.tuples(times, values), max_size=80)
gaps = st.integers(1, 160).map(lambda n: n / 16)


def newest_only(taken: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """What is left of a sequence when samples that are not newer than all before are dropped."""
    kept: list[tuple[float, float]] = []
    for t, value in taken:
        if not kept or t > kept[-1][0]:
            kept.append((t, value))
    return kept


@given(samples, gaps)
def test_integral_equals_brute_force(taken: list[tuple[float, float]], max_gap: float) -> None:
    integral = Integral()
    for t, value in taken:
        integral.add(t, value, max_gap)
    kept = newest_only(taken)
    steps = [
        (t - before, value)
        for (before, _), (t, value) in itertools.pairwise(kept)
        if t - before <= max_gap
    ]
    assert integral.total == sum(elapsed * value for elapsed, value in steps)
    assert integral.observed == sum(elapsed for elapsed, _ in steps)


@given(samples, gaps)
def test_integral_of_what_is_never_negative_never_falls(
    taken: list[tuple[float, float]], max_gap: float
) -> None:
    integral = Integral()
    before = 0.0
    for t, value in taken:
        integral.add(t, abs(value), max_gap)
        assert integral.total >= before
        before = integral.total


@given(samples)
def test_mean_of_a_constant_is_the_constant(taken: list[tuple[float, float]]) -> None:
    integral = Integral()
    for t, _ in taken:
        integral.add(t, 12.5, 1e9)
    if integral.observed:
        assert integral.total / integral.observed == 12.5


def test_a_gap_is_not_bridged() -> None:
    integral = Integral()
    for t in (0.0, 0.25, 0.5, 10.0, 10.25):
        integral.add(t, 100.0, max_gap=0.5)
    assert integral.observed == 0.75
    assert integral.total == 75.0


@given(samples, st.integers(1, 64).map(float))
def test_extremes_equal_brute_force(taken: list[tuple[float, float]], width: float) -> None:
    window = SlidingExtremes(width)
    seen: list[tuple[float, float]] = []
    for t, value in taken:
        window.add(t, value)
        if not seen or t >= seen[-1][0]:
            seen.append((t, value))
        now = seen[-1][0]
        inside = [v for at, v in seen if now - width < at <= now]
        assert window.at(now) == (min(inside), max(inside))


@given(samples, times, st.integers(1, 64).map(float))
def test_extremes_leave_the_window(
    taken: list[tuple[float, float]], later: float, width: float
) -> None:
    window = SlidingExtremes(width)
    seen: list[tuple[float, float]] = []
    for t, value in taken:
        window.add(t, value)
        if not seen or t >= seen[-1][0]:
            seen.append((t, value))
    now = (seen[-1][0] if seen else 0.0) + later
    inside = [v for at, v in seen if at > now - width]
    assert window.at(now) == ((min(inside), max(inside)) if inside else None)


@pytest.mark.parametrize("rising", [True, False])
def test_extremes_keep_no_more_than_the_window(rising: bool) -> None:
    window = SlidingExtremes(60.0)
    for i in range(10_000):
        window.add(i * 0.25, float(i if rising else -i))
        window.at(i * 0.25)
    assert len(window._low) + len(window._high) <= 60 * 4 + 1


flags = st.lists(st.tuples(times, st.sets(st.sampled_from(["idle", "power", "heat"]))), max_size=80)


@given(flags, gaps)
def test_flags_equal_an_integral_each(taken, max_gap: float) -> None:
    together = FlagSeconds(["idle", "power", "heat"])
    each = {name: Integral() for name in together.seconds}
    for t, active in taken:
        together.add(t, tuple(active), max_gap)
        for name, integral in each.items():
            integral.add(t, float(name in active), max_gap)
    assert together.seconds == {name: integral.total for name, integral in each.items()}
    assert together.observed == each["idle"].observed


@given(st.lists(st.tuples(gaps, values), max_size=60))
def test_levels_equal_brute_force(taken: list[tuple[float, float]]) -> None:
    bounds = (-100.0, 0.0, 12.5, 200.0)
    levels = Levels(bounds)
    for seconds, value in taken:
        levels.add(seconds, value)
    expected = [sum(s for s, v in taken if v <= bound) for bound in (*bounds, float("inf"))]
    assert levels.cumulative() == tuple(expected)


def test_a_restart_is_a_gap() -> None:
    integral = Integral()
    for t in (0.0, 1.0):
        integral.add(t, 10.0, 5.0)
    integral.restart()
    for t in (0.5, 1.5):  # of another clock
        integral.add(t, 10.0, 5.0)
    assert (integral.total, integral.observed) == (20.0, 2.0)


RATE = 100.0


@given(
    st.lists(st.integers(0, 400).map(lambda n: n / 4), min_size=1, max_size=40),
    st.sets(st.integers(0, 39), max_size=6),
)
def test_accumulated_counts_over_restarts(steps: list[float], restarts: set[int]) -> None:
    """What it adds up is what the hardware counted, wherever it began anew."""
    counter = Accumulated()
    raw = true = 0.0
    counter.add(0.0, raw, RATE)
    shown = [0.0]
    previous_restart = -5
    for i, step in enumerate(steps):
        if i in restarts and i - previous_restart > 2:
            raw, previous_restart = 0.0, i
        raw += step
        true += step
        counter.add(float(i + 1), raw, RATE)
        assert counter.total is not None
        shown.append(counter.total)
    assert shown == sorted(shown)
    for t in range(2):  # the last restart may wait for its second reading
        counter.add(len(steps) + 1.0 + t, raw, RATE)
    assert counter.total is not None
    # A restart that fell to no less than before cannot be told from counting on.
    assert counter.total <= true
    assert true - counter.total <= sum(step for step in steps) * (len(restarts) > 0)


@given(st.integers(1, 30), st.sampled_from([-1.0, 0.0, 1e12]))
def test_accumulated_leaves_a_glitch_out(when: int, glitch: float) -> None:
    counter = Accumulated()
    for t in range(40):
        believed = counter.add(float(t), glitch if t == when else 50.0 * t + 500.0, RATE)
        assert believed == (t != when)
    assert counter.total == 50.0 * 39 + 500.0


def test_accumulated_believes_much_after_a_long_silence() -> None:
    counter = Accumulated()
    counter.add(0.0, 0.0, RATE)
    assert counter.add(3600.0, 300_000.0, RATE)
    assert not counter.add(3601.0, 600_000.0, RATE)


@given(
    st.lists(st.tuples(st.floats(0.05, 0.9), st.floats(0.0, 1.0)), min_size=1, max_size=60),
    st.integers(0, 2**32 - 1),
)
def test_unwrapped_counts_over_wraps(steps: list[tuple[float, float]], start: int) -> None:
    counter = Unwrapped(2.0**32, 2.0**32 / 4)  # wraps after 4 s at the soonest
    t, exact = 0.0, float(start)
    counter.add(t, exact % 2**32)
    for elapsed, share in steps:
        t += elapsed
        exact += int(share * elapsed * 0.99 * counter.max_rate)
        assert counter.add(t, exact % 2**32)
    assert counter.total == exact - start


def test_unwrapped_does_not_guess() -> None:
    counter = Unwrapped(2.0**32, 2.0**32 / 4)
    assert counter.add(0.0, 100.0), "the first reading is where it begins"
    assert not counter.add(1.1, 200.0), "it may have wrapped unseen, had all gone on at full speed"
    assert counter.add(1.2, 300.0)
    assert counter.total == 100.0
    assert not counter.add(1.3, 50.0), "back to the start: more than the link can carry"
    assert counter.add(1.4, 60.0)
    assert counter.add(1.4, 60.0), "asked twice at one time"
    assert counter.total == 110.0
    assert not counter.add(1.4, 61.0)
