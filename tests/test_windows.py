"""Windows against a brute-force model, over late, repeated, reordered and missing samples."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpu_sentinel.windows import Integral, SlidingExtremes

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
