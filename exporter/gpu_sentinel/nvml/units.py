"""From the driver's units to base units."""

from __future__ import annotations


def milli(value: float) -> float:
    """From thousandths of the base unit."""
    return value / 1e3


def nano(value: float) -> float:
    """From thousand-millionths of the base unit."""
    return value / 1e9


def percent(value: float) -> float:
    """From hundredths to a ratio."""
    return value / 100.0


def signed(value: float) -> float:
    """From a number of 32 bits that was taken for unsigned, and has a sign."""
    return value - 2.0**32 if value >= 2.0**31 else float(value)


def kibi(value: float) -> float:
    """From units of 1024."""
    return value * 1024.0


def mega(value: float) -> float:
    """From millions of the base unit."""
    return value * 1e6
