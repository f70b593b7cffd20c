"""Loss, hangs, late and replaced drivers: what fails costs itself alone, and comes back."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from gpu_sentinel.model import Tier
from gpu_sentinel.sampling.health import driver_due, hangs
from gpu_sentinel.sampling.sampler import DeviceSampler

Run = Callable[..., object]
RECOVERY = 10.0
#: Seconds between two passes; see conftest.py.
INTERVAL = 0.25
SCENARIO = "training"
ALL = (0, 1, 2, 3)


@pytest.fixture
def stays_fresh(eventually):
    """`stays_fresh(running, seconds, *indices)`: the GPUs are read on and on.

    On a busy machine a reading comes late; one that waits for a GPU that hangs never comes.
    """

    def look(running, seconds: float, *indices: int) -> None:
        before = [running.gpu(i).samples for i in indices]
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            eventually(lambda: running.fresh(*indices), 10, "the GPUs are fresh")
            time.sleep(0.02)

        def read_on() -> bool:
            samples = [running.gpu(i).samples for i in indices]
            passes = seconds / INTERVAL / 2
            return all(a - b >= passes for a, b in zip(samples, before, strict=True))

        eventually(read_on, 10, "all are read")

    return look


def test_every_gpu_is_sampled(run: Run, eventually):
    running = run(SCENARIO)
    eventually(lambda: running.fresh(*ALL), 2, "all GPUs are fresh")
    gpu = running.gpu(2)
    assert gpu.identity is not None
    assert gpu.identity["name"] == "NVIDIA H100 80GB HBM3"
    eventually(lambda: set(running.gpu(2).tiers) == set(Tier), 4, "all tiers have readings")
    assert running.current.driver.listed == 4
    assert running.current.expected_devices == 4


def test_lost_gpu_costs_itself_and_comes_back(run: Run, eventually, stays_fresh):
    running = run(SCENARIO)
    eventually(lambda: running.fresh(*ALL), 2, "all GPUs are fresh")
    energy = running.integral(1, "integral(utilization.gpu)")
    running.simulation.lose(1)
    eventually(lambda: running.gpu(1).lost, 2, "the loss is seen")
    assert running.gpu(1).identity
    assert not running.gpu(1).tiers
    stays_fresh(running, 1.5, 0, 2, 3)
    running.simulation.restore(1)
    eventually(lambda: running.fresh(*ALL), RECOVERY, "the GPU is back")
    assert not running.gpu(1).lost
    assert running.integral(1, "integral(utilization.gpu)") >= energy, "counters go on"


def test_gpu_lost_from_the_start_does_not_hide_the_others(run: Run, eventually):
    running = run(SCENARIO, before=lambda r: r.simulation.lose(1))
    eventually(lambda: running.fresh(0, 2, 3), 2, "the others are fresh")
    eventually(lambda: len(running.current.devices) == 4, 2, "it is shown")
    lost = running.gpu(1)
    assert lost.lost
    assert not lost.tiers
    # The kernel module tells who it is, without NVML.
    assert lost.id.uuid == running.simulation.gpus[1].uuid
    assert running.current.expected_devices == 4
    running.simulation.restore(1)
    eventually(lambda: running.fresh(*ALL), RECOVERY, "it is there")


def test_hung_gpu_costs_itself_and_comes_back(
    run: Run, eventually, stays_fresh, caplog: pytest.LogCaptureFixture
):
    running = run(SCENARIO)
    eventually(lambda: running.fresh(*ALL), 2, "all GPUs are fresh")
    running.simulation.hang(1)
    # The others wait until the keeper has moved them away from it.
    time.sleep(1.0)
    stays_fresh(running, 5.5, 0, 2, 3)
    assert hangs(running.gpu(1), time.monotonic())
    assert running.age(1) > 5
    eventually(lambda: time.monotonic() <= driver_due(running.current), 5, "the driver is up")
    eventually(lambda: "GPU does not answer" in caplog.messages, 10, "it is told")
    running.simulation.unhang(1)
    eventually(lambda: running.fresh(*ALL), RECOVERY, "the GPU is back")
    outages = [running.gpu(index).outages for index in range(4)]
    assert outages == [0, 1, 0, 0], "a hang that is over by the next scrape is counted"


def test_gpu_that_hangs_from_the_start(run: Run, eventually, stays_fresh):
    running = run(SCENARIO, before=lambda r: r.simulation.hang(3))
    eventually(lambda: running.fresh(0, 1, 2), 2, "the others are fresh")
    stays_fresh(running, 1.0, 0, 1, 2)
    running.simulation.unhang(3)
    eventually(lambda: running.fresh(*ALL), RECOVERY, "it is there")


def test_driver_that_hangs_as_a_whole(run: Run, eventually, caplog: pytest.LogCaptureFixture):
    running = run(SCENARIO)
    eventually(lambda: running.fresh(*ALL), 2, "all GPUs are fresh")
    running.simulation.hang()
    eventually(lambda: time.monotonic() > driver_due(running.current), 7, "it counts as down")
    assert all(running.age(i) > 4 for i in ALL)
    # Until the inventory, which asks every other second, has waited for as long as a hang takes.
    eventually(lambda: running.age(0) > 10, 10, "it hangs for long")
    running.simulation.unhang()
    eventually(lambda: running.fresh(*ALL), RECOVERY, "all are back")
    eventually(lambda: time.monotonic() <= driver_due(running.current), 5, "the driver is up")
    eventually(lambda: "driver did not answer" in caplog.messages, 5, "it is told")


def test_driver_that_hangs_from_the_start(run: Run, eventually):
    running = run(SCENARIO, before=lambda r: r.simulation.hang())
    time.sleep(0.5)
    assert running.current.driver.info is None
    running.simulation.unhang()
    eventually(lambda: running.fresh(*ALL), RECOVERY, "all are there")


@pytest.mark.parametrize("away", ["unload_driver", "uninstall_driver"])
def test_late_driver_is_found(run: Run, eventually, away: str):
    def take_away(running) -> None:
        getattr(running.simulation, away)()

    running = run(SCENARIO, before=take_away)
    eventually(lambda: running.current.driver.error, 2, "the reason is known")
    assert running.current.driver.info is None
    assert running.inventory.tried.is_set()
    running.simulation.load_driver("590.48.01")
    eventually(lambda: running.fresh(*ALL), RECOVERY, "all are there")
    assert running.current.driver.error is None


@pytest.mark.parametrize("version", ["595.80", "595.71.05"])
def test_reloaded_driver_is_taken_up(run: Run, eventually, version: str):
    running = run("driver-reload")
    eventually(lambda: running.fresh(0, 1), 2, "both are fresh")
    uuids = [d.id.uuid for d in running.current.devices]
    seconds = running.integral(0, "observed(power.draw.instant)")
    running.simulation.unload_driver()
    eventually(lambda: not running.current.driver.info, RECOVERY, "the driver is gone")
    assert [(d.failure, d.tiers, d.lost) for d in running.current.devices] == [
        ("driver_gone", {}, False)
    ] * 2, "the GPUs stay where they are seen"
    assert "driver not loaded" in (running.current.driver.error or "")
    running.simulation.load_driver(version)
    eventually(lambda: running.fresh(0, 1), RECOVERY, "both are back")
    info = running.current.driver.info
    assert info is not None
    assert info.driver_version == version
    assert [d.id.uuid for d in running.current.devices] == uuids
    after = running.integral(0, "observed(power.draw.instant)")
    assert after >= seconds, "counters go on"


def test_driver_replaced_in_one_stroke(run: Run, eventually):
    running = run("driver-reload")
    eventually(lambda: running.fresh(0, 1), 2, "both are fresh")
    running.simulation.load_driver("595.71.05")

    def other_version() -> bool:
        info = running.current.driver.info
        return info is not None and info.driver_version == "595.71.05" and running.fresh(0, 1)

    eventually(other_version, RECOVERY, "both are back with the other version")


def test_gpu_that_fails_in_every_call_is_looked_up_again(run: Run, eventually, stays_fresh):
    running = run("old-driver")
    eventually(lambda: running.fresh(0, 1), 2, "both are fresh")
    for function in ("all", "lookup"):
        running.simulation.fail(0, function, "UNKNOWN")
    eventually(lambda: not running.fresh(0), 3, "it is fresh no more")
    stays_fresh(running, 1.0, 1)
    assert not running.fresh(0)
    running.simulation.heal(0)
    eventually(lambda: running.fresh(0, 1), RECOVERY, "it is back")


def test_clean_stop_is_quick(run: Run, eventually):
    running = run(SCENARIO)
    eventually(lambda: running.fresh(*ALL), 2, "all GPUs are fresh")
    start = time.monotonic()
    assert running.inventory.stop(40.0)
    assert time.monotonic() - start < 20.0, "it waits for nothing"


@pytest.mark.parametrize("gpu", [1, None])
def test_stop_does_not_wait_for_a_call_that_hangs(run: Run, eventually, gpu: int | None):
    running = run(SCENARIO)
    eventually(lambda: running.fresh(*ALL), 2, "all GPUs are fresh")
    running.simulation.hang(gpu)
    time.sleep(2.5)
    start = time.monotonic()
    assert not running.inventory.stop(2.0)
    assert time.monotonic() - start < 20.0, "the call hangs on and on"


def test_other_interval_is_taken_up_while_running(run: Run, eventually):
    running = run(SCENARIO)
    eventually(lambda: running.fresh(*ALL), 2, "all GPUs are fresh")
    running.pace = type(running.pace)(0.5, 1.0)
    eventually(lambda: running.gpu(0).interval == 0.5, 2, "the interval is shown")
    before, begun = running.gpu(0).samples, time.monotonic()
    eventually(lambda: running.gpu(0).samples - before >= 5, 10, "passes go on")
    # The first may be due at once.
    assert time.monotonic() - begun > 1.5, "they are half a second apart"


def test_expected_gpus_are_as_set(run: Run, eventually):
    def expect(running) -> None:
        running.expected = 8

    running = run(SCENARIO, before=expect)
    eventually(lambda: running.current.expected_devices == 8, 2, "the setting is shown")
    assert running.current.pci_devices == 4


def test_virtual_functions_are_no_gpus(run: Run, eventually):
    def share(running) -> None:
        running.simulation.virtual_functions(0, 16)
        running.simulation.virtual_functions(1, 4, "vfio-pci")

    running = run(SCENARIO, before=share)
    eventually(lambda: running.current.expected_devices == 4, 2, "the bus is counted")
    assert running.current.pci_devices == 4


def test_nothing_is_left_of_drivers_that_are_gone(run: Run, eventually):
    """Whatever was made for one driver can be freed once the next one is there."""
    import gc  # noqa: PLC0415 - of this test alone

    running = run("driver-reload")
    for _ in range(3):
        eventually(lambda: running.fresh(0, 1), RECOVERY, "both are fresh")
        running.simulation.unload_driver()
        eventually(lambda: not running.current.driver.info, RECOVERY, "the driver is gone")
        running.simulation.load_driver()
    eventually(lambda: running.fresh(0, 1), RECOVERY, "both are fresh")
    gc.collect()
    alive = [o for o in gc.get_objects() if isinstance(o, DeviceSampler)]
    assert len([s for s in alive if s._around.driver is running.inventory._watched._driver]) == 2


def test_gpu_that_was_taken_away_while_the_driver_was_let_go_of(run: Run, eventually):
    running = run(SCENARIO)
    eventually(lambda: running.fresh(*ALL), 2, "all GPUs are fresh")
    running.inventory.release(600.0)
    eventually(lambda: running.inventory.lending.free, 5, "the driver is let go of")
    running.simulation.unplug(1)
    running.inventory.acquire()
    eventually(lambda: running.fresh(0, 1, 2), RECOVERY, "the others are back")
    assert running.current.driver.listed == 3
    assert [device.lost for device in running.current.devices] == [False] * 3


def test_gpu_that_begins_to_hang_as_the_driver_lists_others_blinds_nobody(
    run: Run, eventually, stays_fresh
):
    """The driver is to be opened anew, and a call hangs that is too young to be known to."""
    running = run(SCENARIO)
    eventually(lambda: running.fresh(*ALL), 2, "all GPUs are fresh")
    running.simulation.hang(1)
    running.simulation.list_gpu(3, listed=False)
    running.simulation.relist()
    eventually(lambda: hangs(running.gpu(1), time.monotonic()), 10, "it is known to hang")
    stays_fresh(running, 6.0, 0, 2)
    running.simulation.unhang(1)
    eventually(lambda: running.current.driver.listed == 3, 15, "the driver is opened anew")
    eventually(lambda: running.fresh(0, 1, 2), 10, "all are read")
