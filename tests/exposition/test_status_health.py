"""What `status` makes of the driver's verdicts on a page."""

from __future__ import annotations

import pytest

from gpu_sentinel.catalogue.health import complaints, word
from gpu_sentinel.exposition.reader import Status, parse_status

NOW = 1_800_000_000.0
GPU = 'gpu="0",uuid="GPU-0"'


def status(*more: str) -> Status:
    """Of a page with these lines about a GPU."""
    lines = [
        'gpu_sentinel_build_info{version="1"} 1',
        "gpu_sentinel_nvml_up 1",
        f"gpu_lost{{{GPU}}} 0",
        f'gpu_sentinel_last_sample_timestamp_seconds{{{GPU},tier="fast"}} {NOW}',
        *more,
    ]
    return parse_status("\n".join(lines) + "\n", NOW)


def verdict(check: str, value: int) -> str:
    return f'gpu_health_status{{{GPU},check="{check}"}} {value}'


@pytest.mark.parametrize(
    ("lines", "state"),
    [
        ([], "ok"),
        ([verdict("lost", 0), verdict("row_remap_pending", 0)], "ok"),
        ([verdict("row_remap_pending", 1)], "degraded"),
        ([verdict("row_remap_pending", 1), verdict("row_remap_failure", 2)], "failed"),
        ([verdict("row_remap_pending", 99)], "failed"),
        ([f'gpu_xid_last_timestamp_seconds{{{GPU},xid="79"}} {NOW}'], "failed"),
        ([f'gpu_xid_last_timestamp_seconds{{{GPU},xid="79"}} {NOW - 4000}'], "ok"),
        ([f'gpu_xid_last_timestamp_seconds{{{GPU},xid="31"}} {NOW}'], "ok"),
    ],
)
def test_state_is_that_of_the_worst(lines: list[str], state: str):
    found = status(*lines)
    assert [gpu.state for gpu in found.gpus] == [state]
    assert bool(found.problems) == (state != "ok")


def test_recovery_action_is_named():
    found = status(verdict("recovery_action", 2), f"gpu_recovery_action{{{GPU}}} 1")
    assert found.problems == ["GPU 0: the driver asks for an action: reset the GPU"]


@pytest.mark.parametrize("action", [None, 0.0, 1.5, 8.0, -1.0])
def test_recovery_action_that_nobody_knows(action: float | None):
    (said,) = complaints({"recovery_action": 2.0}, action)
    assert said == "the driver asks for an action: see gpu_recovery_action"


def test_word_of_nothing():
    assert word({}) == "ok"
    assert word({}, urgent=True) == "failed"


def test_released_driver_is_told_from_a_dead_one():
    page = 'gpu_sentinel_build_info{version="1"} 1\ngpu_sentinel_nvml_up 0\n'
    (said,) = parse_status(page + "gpu_sentinel_nvml_released 0\n", NOW).problems
    assert "does not answer" in said
    (said,) = parse_status(page + "gpu_sentinel_nvml_released 1\n", NOW).problems
    assert "is released on request" in said
