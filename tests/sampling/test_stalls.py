"""The exporter that stands still says so, and blames no GPU for it."""

from __future__ import annotations

import logging
import re
import signal
import time
from pathlib import Path

import pytest

from gpu_sentinel.sampling.stalls import LATE_SECONDS, PERIOD_SECONDS, QUIET_SECONDS, Stalls

#: Longer than a GPU may take to answer.
STOPPED_SECONDS = 7.0
ACCUSATIONS = ("does not answer", "hangs", "GPU fails", "is lost", "opened anew", "missing")


class Clocks:
    """A monotonic clock, and one that goes on in suspend."""

    def __init__(self) -> None:
        self.monotonic = self.boot = 100.0

    def go(self, seconds: float, suspended: float = 0.0) -> None:
        self.monotonic += seconds
        self.boot += seconds + suspended


@pytest.fixture
def clocks() -> Clocks:
    return Clocks()


@pytest.fixture
def stalls(clocks: Clocks) -> Stalls:
    found = Stalls(lambda: clocks.monotonic, lambda: clocks.boot)
    found.look()
    return found


class TestStalls:
    def test_a_busy_machine_is_none(self, stalls: Stalls, clocks: Clocks):
        for _ in range(20):
            clocks.go(PERIOD_SECONDS + LATE_SECONDS * 0.9)
            stalls.look()
        assert (stalls.count, stalls.seconds) == (0, 0.0)
        assert stalls.since(100.0) == 0.0

    def test_one_is_counted_and_excuses_what_was_under_way(self, stalls: Stalls, clocks: Clocks):
        began = clocks.monotonic
        clocks.go(PERIOD_SECONDS + 20.0)
        # Whoever looks first after it need not wait until it is noted.
        assert stalls.since(began) == pytest.approx(20.0 + PERIOD_SECONDS)
        stalls.look()
        assert stalls.count == 1
        assert stalls.seconds == pytest.approx(20.0)
        assert stalls.since(began) == pytest.approx(20.0 + PERIOD_SECONDS)
        assert stalls.since(began + 15.0) == pytest.approx(5.0 + PERIOD_SECONDS)
        assert stalls.since(clocks.monotonic) == 0.0, "what begins now has no excuse"

    def test_a_suspended_machine_is_told(
        self, stalls: Stalls, clocks: Clocks, caplog: pytest.LogCaptureFixture
    ):
        clocks.go(PERIOD_SECONDS, suspended=3600.0)
        with caplog.at_level(logging.WARNING):
            stalls.look()
        assert caplog.messages == ["the exporter stood still for 3600.0 s"]
        # By the clock of whoever waits for a GPU, no time has gone by.
        assert stalls.since(100.0) == 0.0

    def test_many_are_told_together(
        self, stalls: Stalls, clocks: Clocks, caplog: pytest.LogCaptureFixture
    ):
        with caplog.at_level(logging.WARNING):
            for _ in range(4):
                clocks.go(PERIOD_SECONDS + 2.0)
                stalls.look()
            clocks.go(PERIOD_SECONDS)
            stalls.look()
            assert caplog.messages == ["the exporter stood still for 2.0 s"]
            for _ in range(int(QUIET_SECONDS / PERIOD_SECONDS)):
                clocks.go(PERIOD_SECONDS)
                stalls.look()
        assert caplog.messages[1:] == ["the exporter stood still for 6.0 s"]
        assert stalls.count == 4


def test_a_call_is_excused_by_a_stall_and_by_nothing_else(
    run, eventually, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    # The log of the package goes to a handler of its own once it was configured.
    monkeypatch.setattr(logging.getLogger("gpu_sentinel"), "propagate", True)
    running = run("training")
    eventually(lambda: running.fresh(0, 1, 2, 3), 5, "all GPUs are fresh")
    stalls = running.inventory.stalls
    monkeypatch.setattr(stalls, "since", lambda moment: time.monotonic() - moment)
    running.simulation.hang(1)
    eventually(lambda: running.age(1) > 7.0, 15, "it hangs for longer than is told")
    assert "GPU does not answer" not in caplog.messages
    monkeypatch.undo()
    monkeypatch.setattr(logging.getLogger("gpu_sentinel"), "propagate", True)
    eventually(lambda: "GPU does not answer" in caplog.messages, 5, "it is told")


def test_stopped_process_says_so_and_goes_on(serve, eventually):
    exporter = serve("training")
    eventually(lambda: len(exporter.page().gpus("gpu_power_watts")) == 4, 10, "all have readings")

    def samples() -> float:
        return exporter.page().value("gpu_sentinel_samples_total", gpu="3") or 0.0

    before = samples()
    exporter.process.send_signal(signal.SIGSTOP)
    time.sleep(STOPPED_SECONDS)
    exporter.process.send_signal(signal.SIGCONT)
    assert exporter.page().value("gpu_sentinel_nvml_up") == 1, "the driver is not to blame"
    eventually(lambda: samples() > before + 4, 10, "readings go on")
    page = exporter.page()
    # On a busy machine it may stand still more often.
    stood_still = page.value("gpu_sentinel_stalls_total")
    assert stood_still is not None
    assert stood_still >= 1
    assert (page.value("gpu_sentinel_stalled_seconds_total") or 0.0) > STOPPED_SECONDS - 1.0
    assert not any(value for _, value in page["gpu_lost"])
    _, log = exporter.stop()
    assert re.search(r"the exporter stood still for [6789]\.\d s", log)
    assert [word for word in ACCUSATIONS if word in log] == []


def test_a_gpu_that_hangs_is_told_after_a_stall(serve, eventually):
    exporter = serve(
        "description: One hangs.\n"
        "gpus: [{model: h100-sxm, count: 2}]\n"
        "events: [{at: 3s, gpu: 1, do: hang}]\n"
    )
    eventually(lambda: exporter.page().gpus("gpu_power_watts") == {"0", "1"}, 10, "both are read")
    exporter.process.send_signal(signal.SIGSTOP)
    time.sleep(STOPPED_SECONDS)
    exporter.process.send_signal(signal.SIGCONT)
    # Until it is too old to be shown; the other one is read.
    eventually(lambda: exporter.page().gpus("gpu_power_watts") == {"0"}, 20, "one hangs")
    time.sleep(7)  # until the exporter is sure of it: five seconds of its own time
    _, log = exporter.stop()
    assert "the exporter stood still" in log
    assert log.count("GPU does not answer") == 1, log
    assert "gpu=1" in log.partition("GPU does not answer")[2].splitlines()[0]


#: Loaded by Python before everything else: the time of day is off by what a file says.
JUMPING = """
import os, time
real, path = time.time, os.environ["OFFSET"]
time.time = lambda: real() + float(open(path).read())
"""
JUMPS = (86_400.0, -86_400.0, -5.0, 0.0)
COUNTERS = ("gpu_energy_joules_total", "gpu_busy_seconds_total", "gpu_sentinel_samples_total")


def test_time_of_day_that_jumps_breaks_nothing(serve, eventually, tmp_path: Path):
    offset_file, other = tmp_path / "offset", tmp_path / "offset.new"

    def jump(seconds: float) -> None:
        other.write_text(str(seconds))
        other.replace(offset_file)  # a reader never sees half of it

    jump(0.0)
    (tmp_path / "sitecustomize.py").write_text(JUMPING)
    env = {"PYTHONPATH": str(tmp_path), "OFFSET": str(offset_file)}
    exporter = serve("training", env=env)
    eventually(lambda: len(exporter.page().gpus(COUNTERS[1])) == 4, 15, "all GPUs are read")
    before = exporter.page()
    for offset in JUMPS:
        jump(offset)
        stamp = "gpu_sentinel_last_sample_timestamp_seconds"

        def follows(offset: float = offset, stamp: str = stamp) -> bool:
            taken = exporter.page().value(stamp, gpu="0", tier="fast") or 0.0
            return abs(taken - time.time() - offset) < 3.0

        eventually(follows, 10, "times of readings follow the clock")
        after = exporter.page()
        for name in COUNTERS:
            for labels, value in before[name]:
                now = after.value(name, **labels)
                assert now is not None, (name, labels, offset)
                # Nothing falls, and nothing grows by a day.
                assert 0 <= now - value < 60 * 1000, (name, labels, offset)
        assert after.value("gpu_sentinel_nvml_up") == 1
        assert len(after.gpus("gpu_power_watts")) == 4
        before = after
    _, log = exporter.stop()
    assert [line for line in log.splitlines() if "level=info" not in line] == []
