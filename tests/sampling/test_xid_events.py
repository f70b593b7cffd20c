"""XIDs from NVML's events, with the real threads."""

from __future__ import annotations

import time

import pynvml
import pytest
from xidtools import (
    ALL,
    SCENARIO,
    count,
    reports,
    watching,
)

from gpu_sentinel.sampling.xidevents import WAIT_SECONDS


def test_events_are_counted(run, eventually):
    running = run(SCENARIO)
    eventually(lambda: watching(running), 3, "events are waited for")
    before = time.time()
    for _ in range(3):
        running.simulation.xid(1, 31)
    running.simulation.xid(0, 79)
    eventually(lambda: count(running, 31, 1) == 3, 2, "all are counted")
    eventually(lambda: count(running, 79) == 1, 2, "the other GPU's too")
    assert before <= reports(running)[79].last <= time.time()


def test_driver_that_is_let_go_of_holds_no_event_set(run, eventually):
    running = run(SCENARIO)
    eventually(lambda: watching(running), 3, "events are waited for")
    library = pynvml.nvmlLib
    start = time.monotonic()
    running.inventory.release(600.0)
    assert running.inventory.lending.wait(60.0) is None
    assert time.monotonic() - start < 20 + WAIT_SECONDS
    assert not library.event_sets
    assert running.inventory.xids.source == "none"
    assert running.inventory.acquire()
    eventually(lambda: watching(running), 5, "events are waited for again")
    running.simulation.xid(0, 31)
    eventually(lambda: count(running, 31) == 1, 2, "it is counted")


def test_counts_outlive_another_driver(run, eventually):
    running = run(SCENARIO)
    eventually(lambda: watching(running), 3, "events are waited for")
    running.simulation.xid(0, 31)
    eventually(lambda: count(running, 31) == 1, 2, "it is counted")
    running.simulation.unload_driver()
    eventually(lambda: not running.current.driver.info, 10, "the driver is gone")
    assert count(running, 31) == 1, "it is shown still"
    running.simulation.load_driver("595.80")
    eventually(lambda: pynvml.nvmlLib is not None and watching(running), 10, "another driver")
    running.simulation.xid(0, 31)
    eventually(lambda: count(running, 31) == 2, 2, "it goes on")


def test_one_lost_gpu_does_not_spoil_the_rest(run, eventually):
    running = run(SCENARIO, before=lambda r: r.simulation.lose(0))
    eventually(lambda: running.inventory.xids.source == "nvml", 5, "the other one is watched")
    running.simulation.xid(1, 31)
    eventually(lambda: count(running, 31, 1) == 1, 2, "it is counted")


def test_xids_of_a_lost_gpu_stay(run, eventually):
    running = run(SCENARIO)
    eventually(lambda: watching(running), 3, "events are waited for")
    running.simulation.xid(0, 79)
    running.simulation.lose(0)
    eventually(lambda: running.gpu(0).lost, 5, "the loss is seen")
    eventually(lambda: count(running, 79) == 1, 2, "it is counted")


@pytest.mark.parametrize("function", ["nvmlEventSetWait_v2", "nvmlEventSetCreate"])
def test_driver_without_events(run, eventually, function: str, monkeypatch):
    def failing(*_: object) -> None:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_FUNCTION_NOT_FOUND)

    monkeypatch.setattr(pynvml, function, failing)
    running = run(SCENARIO)
    eventually(lambda: running.fresh(*ALL), 3, "all GPUs are fresh")
    time.sleep(0.5)
    assert running.inventory.xids.source == "none"


def test_clock_events_are_no_xids(run, eventually):
    running = run(SCENARIO)
    eventually(lambda: watching(running), 3, "events are waited for")
    running.simulation.xid(0, 0)  # as no scenario may say
    running.simulation.xid(0, 31)
    eventually(lambda: count(running, 31) == 1, 2, "it is counted")
    assert set(reports(running)) == {31}


def test_wait_that_hangs_hangs_alone(run, eventually, monkeypatch):
    hanging = []
    wait = pynvml.nvmlEventSetWait_v2

    def hang(*arguments: object) -> object:
        while hanging:
            time.sleep(0.05)
        return wait(*arguments)

    monkeypatch.setattr(pynvml, "nvmlEventSetWait_v2", hang)
    running = run(SCENARIO)
    eventually(lambda: watching(running), 3, "events are waited for")
    hanging.append(True)
    time.sleep(1.5)
    before = [running.gpu(i).samples for i in ALL]
    eventually(
        lambda: all(running.gpu(i).samples > b for i, b in zip(ALL, before, strict=True)),
        3,
        "the GPUs are read as ever",
    )
    running.inventory.release(60.0)
    reason = running.inventory.lending.wait(5.0)
    assert reason is not None
    assert "(events)" in reason
    hanging.clear()
    eventually(lambda: running.inventory.lending.free, 5, "free at last")
