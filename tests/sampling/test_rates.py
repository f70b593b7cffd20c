"""The growth of counters, seen more often than they are read."""

from __future__ import annotations

import pytest

from gpu_sentinel.sampling.rates import Growth, Rates


def seen(*looks: tuple[float, float]) -> list[float | None]:
    growth = Growth(*looks[0])
    return [growth.add(t, value) for t, value in looks[1:]]


def test_a_counter_that_is_read_every_other_time_has_a_steady_rate():
    rates = seen((0.0, 0.0), (0.5, 0.0), (1.0, 100.0), (1.5, 100.0), (2.0, 200.0), (2.5, 200.0))
    assert rates == [None, 100.0, 100.0, 100.0, 100.0]


def test_what_stands_still_for_long_does_not_grow():
    rates = seen((0.0, 0.0), (1.0, 100.0), (5.5, 100.0), (6.5, 100.0), (7.0, 100.0))
    assert rates == [100.0, 100.0, 0.0, 0.0]


def test_what_grows_again_has_not_done_so_for_long():
    assert seen((0.0, 0.0), (100.0, 0.0), (200.0, 0.0), (200.5, 150.0))[-1] == 100.0


def test_what_begins_anew_has_no_rate_until_it_grows():
    assert seen((0.0, 500.0), (1.0, 600.0), (2.0, 10.0), (3.0, 60.0)) == [100.0, None, 50.0]


@pytest.mark.parametrize("gone", [{}, {"bytes": (1.0, 2.0)}])
def test_a_rate_goes_with_its_counter(gone: dict):
    rates = Rates(["bytes"])
    for t in range(3):
        values = {"bytes": 10.0 * t}
        rates.show(float(t), values)
    assert values["rate(bytes)"] == 10.0
    values = {"rate(bytes)": 10.0, **gone}
    rates.show(3.0, values)
    assert "rate(bytes)" not in values
