"""Letting go of the driver on request, with the real threads."""

from __future__ import annotations

import time

ALL = (0, 1)
SCENARIO = "driver-reload"


def held() -> bool:
    """Whether anybody still has NVML initialised."""
    import pynvml  # noqa: PLC0415 - the library that is attached at this moment

    library = pynvml.nvmlLib
    return library is not None and bool(library.initialized)


def started(run, eventually):
    running = run(SCENARIO)
    eventually(lambda: running.fresh(*ALL), 2, "all GPUs are fresh")
    assert held()
    return running


def test_released_driver_is_held_by_nobody(run, eventually):
    running = started(run, eventually)
    busy = running.integral(0, "integral(utilization.gpu)")
    running.inventory.release(60.0)
    assert running.inventory.lending.wait(60.0) is None
    assert not held()
    assert running.current.driver.released
    assert not running.current.devices
    time.sleep(1.5)
    assert not held(), "it stays so"
    assert running.inventory.acquire()
    eventually(lambda: running.fresh(*ALL), 5, "all are back")
    assert not running.current.driver.released
    assert running.integral(0, "integral(utilization.gpu)") >= busy, "counters go on"
    assert not running.inventory.acquire(), "there is nothing to take"


def test_it_is_taken_again_when_time_is_over(run, eventually):
    running = started(run, eventually)
    running.inventory.release(1.5)
    assert running.inventory.lending.wait(60.0) is None
    eventually(lambda: running.fresh(*ALL), 6, "all are back")


def test_it_is_taken_again_when_the_driver_was_reloaded(run, eventually):
    running = started(run, eventually)
    running.inventory.release(600.0)
    assert running.inventory.lending.wait(60.0) is None
    running.simulation.unload_driver()
    time.sleep(1.5)
    assert running.current.driver.released
    running.simulation.load_driver("595.80")
    eventually(lambda: running.fresh(*ALL), 8, "all are back")
    info = running.current.driver.info
    assert info is not None
    assert info.driver_version == "595.80"


def test_a_call_that_hangs_is_told(run, eventually):
    running = started(run, eventually)
    running.simulation.hang(1)
    eventually(lambda: running.age(1) > 1.0, 5, "a call hangs")
    running.inventory.release(60.0)
    reason = running.inventory.lending.wait(4.0)
    assert reason is not None
    assert "a call still hangs (GPU 1: " in reason
    running.simulation.unhang(1)
    eventually(lambda: running.inventory.lending.free, 5, "free at last")
    assert not held()


def test_release_before_there_is_a_driver(run, eventually):
    running = run(SCENARIO, before=lambda r: r.simulation.unload_driver())
    eventually(lambda: running.current.driver.error, 2, "the reason is known")
    running.inventory.release(600.0)
    assert running.inventory.lending.wait(60.0) is None
    running.simulation.load_driver()
    eventually(lambda: running.fresh(*ALL), 8, "it is taken when it is there")
