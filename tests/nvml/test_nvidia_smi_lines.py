"""The table of nvidia-smi's lines names metrics, labels and label values that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gpu_sentinel.catalogue import METRICS
from gpu_sentinel.nvml.omitted import LINES, OMITTED_LINES, RENAMED

BY_NAME = {metric.name: metric for metric in METRICS}


def labels(selector: str) -> dict[str, str]:
    return dict(re.findall(r'(\w+)="([^"]*)"', selector))


@pytest.mark.parametrize(("line", "selector"), LINES.items())
def test_selector_has_a_series(line: str, selector: str):
    metric = BY_NAME[selector.partition("{")[0]]
    given = labels(selector)
    assert set(given) <= set(metric.all_labels), line
    own = {name: value for name, value in given.items() if name in metric.own_labels}
    assert set(own) in ({*metric.own_labels}, set()), f"{line}: a label is missing"
    if own:
        values = tuple(own[name] for name in metric.own_labels)
        series = {(v,) if isinstance(v, str) else v for v in metric.series}
        assert values in series, line
    if metric.own_labels and not own:
        pytest.fail(f"{line}: which series of {metric.name}?")


def test_a_line_is_shown_or_left_out():
    for line in LINES:
        assert not [o.reason for o in OMITTED_LINES if o.covers(line)], line


def test_no_two_lines_are_shown_by_one_series():
    lines = [line for line in LINES if line not in RENAMED]
    assert len({LINES[line] for line in lines}) == len(lines)


def driver_610() -> list[str]:
    """What `nvidia-smi -q` of driver 610 has lines for, on a Turing and on a Hopper GPU."""
    text = (Path(__file__).parent / "lines610.txt").read_text(encoding="ascii")
    return text.splitlines()


@pytest.mark.parametrize("line", driver_610())
def test_a_line_of_driver_610_is_shown_or_left_out(line: str):
    shown, left_out = line in LINES, [o.reason for o in OMITTED_LINES if o.covers(line)]
    assert shown != bool(left_out)


def test_what_was_renamed_is_not_called_so_by_driver_610():
    lines = driver_610()
    assert set(RENAMED) <= set(lines)
    assert {old for old in RENAMED.values() if old in lines} == {"Driver Version", "CUDA Version"}
