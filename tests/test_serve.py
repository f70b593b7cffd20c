"""The exporter as its user runs it: one process, real HTTP, real signals."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import requests

INTERVAL = 0.25

#: Three GPUs; what happens is added by the test.
SCENARIO = """
description: Three H100 to test with.
gpus:
  - {model: h100-sxm, count: 3, load: {kind: training, utilization: 0.98, memory: 0.8}}
events:
"""


def fast_age(page, gpu: str) -> float:
    taken = page.value("gpu_sentinel_last_sample_timestamp_seconds", gpu=gpu, tier="fast")
    return float("inf") if taken is None else time.time() - taken


@pytest.fixture
def others_stay_fresh(eventually):
    """`others_stay_fresh(exporter, seconds, *gpus)`: they are read on and on, and shown.

    On a busy machine a reading comes late; one that waits for a GPU that hangs does not come.
    """

    def look(exporter, seconds: float, *gpus: str) -> None:
        def fresh() -> bool:
            page = exporter.page()
            return all(fast_age(page, gpu) <= 2 * INTERVAL + 0.1 for gpu in gpus)

        end = time.monotonic() + seconds
        while time.monotonic() < end:
            eventually(fresh, 10, "the others are fresh")
            time.sleep(0.1)

    return look


def powered(exporter) -> set[str]:
    return exporter.page().gpus("gpu_power_watts")


def test_serves_and_stops(serve, eventually):
    exporter = serve("training")
    eventually(lambda: len(powered(exporter)) == 4, 3, "all GPUs are there")
    page = exporter.page()
    assert page.value("gpu_sentinel_nvml_up") == 1
    assert page.value("gpu_devices") == page.value("gpu_expected_devices") == 4
    assert exporter.get("/-/healthy").text == "healthy\n"
    assert exporter.get("/-/ready").text == "ready\n"
    start = time.monotonic()
    code, log = exporter.stop()
    assert code == 0
    assert time.monotonic() - start < 20
    assert "Traceback" not in log


def test_gpu_that_hangs_from_the_start_and_comes_back(serve, eventually, others_stay_fresh):
    exporter = serve(
        SCENARIO + "  - {at: 0s, gpu: 1, do: hang}\n" + "  - {at: 15s, gpu: 1, do: unhang}\n"
    )
    eventually(lambda: powered(exporter) == {"0", "2"}, 3, "the others are there")
    others_stay_fresh(exporter, 3, "0", "2")
    assert exporter.page().value("gpu_sentinel_nvml_up") == 1
    eventually(lambda: powered(exporter) == {"0", "1", "2"}, 15, "the GPU is there")


def test_gpu_that_hangs_at_work(serve, eventually, others_stay_fresh):
    exporter = serve(SCENARIO + "  - {at: 8s, gpu: 1, do: hang}\n")
    eventually(lambda: powered(exporter) == {"0", "1", "2"}, 3, "all are there")
    eventually(lambda: powered(exporter) == {"0", "2"}, 7, "the silent one has left")
    others_stay_fresh(exporter, 3, "0", "2")
    start = time.monotonic()
    code, _ = exporter.stop()
    assert code == 0
    assert time.monotonic() - start < 20, "stops although a call hangs"


def test_lost_gpu_and_recovery(serve, eventually, others_stay_fresh):
    exporter = serve(
        SCENARIO + "  - {at: 8s, gpu: 1, do: lose}\n" + "  - {at: 18s, gpu: 1, do: restore}\n"
    )
    eventually(lambda: powered(exporter) == {"0", "1", "2"}, 3, "all are there")
    eventually(lambda: exporter.page().value("gpu_lost", gpu="1") == 1, 5, "the loss is shown")
    page = exporter.page()
    assert powered(exporter) == {"0", "2"}
    assert "1" in page.gpus("gpu_info")
    others_stay_fresh(exporter, 2, "0", "2")
    eventually(lambda: powered(exporter) == {"0", "1", "2"}, 12, "it is back")
    assert exporter.page().value("gpu_lost", gpu="1") == 0


def test_driver_that_hangs_as_a_whole_from_the_start(serve, eventually):
    started = time.monotonic()
    exporter = serve(
        SCENARIO + "  - {at: 0s, gpu: all, do: hang}\n" + "  - {at: 15s, gpu: all, do: unhang}\n"
    )
    # What Python needs to start is not ours to promise; the port must not wait for the driver.
    assert time.monotonic() - started < 12
    assert exporter.page().value("gpu_sentinel_nvml_up") == 0
    eventually(lambda: exporter.answers("/-/ready"), 3, "ready without a driver")
    eventually(lambda: len(powered(exporter)) == 3, 14, "all are there")
    assert exporter.page().value("gpu_sentinel_nvml_up") == 1


def test_late_driver(serve, eventually):
    exporter = serve(
        SCENARIO
        + "  - {at: 0s, do: uninstall-driver}\n"
        + "  - {at: 20s, do: load-driver, version: 590.48.01}\n"
    )
    eventually(lambda: "not installed" in exporter.get("/").text, 5, "it says why")
    page = exporter.page()
    assert page.value("gpu_sentinel_nvml_up") == 0
    assert page.value("gpu_devices") is None
    assert page.value("gpu_expected_devices") == 3
    eventually(lambda: len(powered(exporter)) == 3, 22, "all are there")


def test_driver_reload_with_another_version(serve, eventually):
    exporter = serve(
        SCENARIO
        + "  - {at: 8s, do: unload-driver}\n"
        + "  - {at: 16s, do: load-driver, version: 595.71.05}\n"
    )
    eventually(lambda: len(powered(exporter)) == 3, 3, "all are there")
    eventually(lambda: exporter.page().value("gpu_sentinel_nvml_up") == 0, 6, "down")
    assert powered(exporter) == set()

    def back() -> bool:
        page = exporter.page()
        info = page.get("gpu_driver_info", [])
        return len(powered(exporter)) == 3 and info[0][0]["driver_version"] == "595.71.05"

    eventually(back, 13, "back with the new version")


def test_garbage_is_counted_and_never_shown(serve, eventually):
    exporter = serve(
        SCENARIO + "  - {at: 0s, gpu: 0, do: set, reading: power, value: 4000000000}\n"
    )
    eventually(lambda: powered(exporter) == {"1", "2"}, 3, "the others have power")
    page = exporter.page()
    assert "0" in page.gpus("gpu_temperature_celsius")
    rejected = page.value("gpu_sentinel_rejected_readings_total", query="power.draw.instant")
    assert rejected is not None
    assert rejected > 0


class TestReload:
    CONFIG = "sampler:\n  interval: 500ms\n"

    def test_good_settings_are_taken(self, serve, eventually, tmp_path: Path):
        config = tmp_path / "config.yml"
        config.write_text(self.CONFIG)
        exporter = serve("steady", "--config.file", str(config))
        shown = "gpu_sentinel_sample_interval_seconds"
        eventually(lambda: exporter.page().value(shown, gpu="0") == 0.5, 3, "as in the file")
        config.write_text("sampler:\n  interval: 100ms\n")
        exporter.process.send_signal(signal.SIGHUP)
        eventually(lambda: exporter.page().value(shown, gpu="0") == 0.1, 3, "as in the new file")

    @pytest.mark.parametrize(
        "bad",
        [
            "sampler:\n  interval: 3\n",
            "sampler: {interval: 1h}\n",
            "sampler: [\n",
            "samplr: {interval: 1s}\n",
            'metrics: {include: "a{99999999999}"}\n',
            "? [a]\n: b\n",
        ],
    )
    def test_bad_settings_change_nothing(self, serve, eventually, tmp_path: Path, bad: str):
        config = tmp_path / "config.yml"
        config.write_text(self.CONFIG)
        exporter = serve("steady", "--config.file", str(config))
        eventually(lambda: exporter.page().gpus("gpu_power_watts"), 3, "it samples")
        config.write_text(bad)
        exporter.process.send_signal(signal.SIGHUP)
        successful = "gpu_sentinel_config_last_reload_successful"
        eventually(lambda: exporter.page().value(successful) == 0, 3, "the failure is shown")
        assert exporter.page().value("gpu_sentinel_sample_interval_seconds", gpu="0") == 0.5
        assert "not reloaded" in exporter.get("/").text
        config.write_text(self.CONFIG)
        exporter.process.send_signal(signal.SIGHUP)
        eventually(lambda: exporter.page().value(successful) == 1, 3, "the success is shown")

    def test_a_fifo_does_not_hold_it_up(self, serve, eventually, tmp_path: Path):
        config = tmp_path / "config.yml"
        config.write_text(self.CONFIG)
        exporter = serve("steady", "--config.file", str(config))
        config.unlink()
        os.mkfifo(config)
        exporter.process.send_signal(signal.SIGHUP)
        successful = "gpu_sentinel_config_last_reload_successful"
        eventually(lambda: exporter.page().value(successful) == 0, 3, "the failure is shown")
        code, log = exporter.stop()
        assert code == 0
        assert "it is no regular file" in log

    def test_what_needs_a_restart_says_so(self, serve, eventually, tmp_path: Path):
        config = tmp_path / "config.yml"
        config.write_text(self.CONFIG)
        exporter = serve("steady", "--config.file", str(config))
        config.write_text("web: {telemetry-path: /other}\n")
        exporter.process.send_signal(signal.SIGHUP)
        successful = "gpu_sentinel_config_last_reload_successful"
        eventually(lambda: exporter.page().value(successful) == 0, 3, "the failure is shown")
        _, log = exporter.stop()
        assert "web.telemetry-path: cannot change while running: restart the exporter" in log

    def test_by_http_only_where_it_is_enabled(self, serve):
        closed = serve("steady")
        assert requests.post(closed.url + "/-/reload", timeout=60).status_code == 403
        opened = serve("steady", "--web.enable-lifecycle")
        assert requests.post(opened.url + "/-/reload", timeout=60).status_code == 200
        assert opened.get("/-/reload").status_code == 405


class TestRelease:
    RELEASED = "gpu_sentinel_nvml_released"

    def test_by_http(self, serve, eventually):
        exporter = serve("steady", "--web.enable-lifecycle")
        eventually(lambda: "gpu_power_watts" in exporter.get("/metrics").text, 5, "it samples")
        answer = requests.post(exporter.url + "/-/release", timeout=60)
        assert (answer.status_code, answer.text) == (200, "released\n")
        page = exporter.page()
        assert page.value(self.RELEASED) == 1
        assert page.value("gpu_sentinel_nvml_up") == 0
        assert "gpu_power_watts" not in exporter.get("/metrics").text
        assert exporter.get("/-/ready").status_code == 200
        status = subprocess.run(
            [sys.executable, "-m", "gpu_sentinel", "status", "--url", exporter.url + "/metrics"],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert ", driver released, " in status.stdout
        assert "no driver" not in status.stdout
        landing = exporter.get("/").text
        assert "The driver is let go of on request; POST /-/acquire" in landing
        assert "Trying again" not in landing
        assert requests.post(exporter.url + "/-/acquire", timeout=60).status_code == 200
        eventually(lambda: "gpu_power_watts" in exporter.get("/metrics").text, 5, "it is back")
        again = requests.post(exporter.url + "/-/acquire", timeout=60)
        assert (again.status_code, again.text) == (
            500,
            "not acquired: the driver was not let go of\n",
        )

    def test_by_signal_for_a_while(self, serve, eventually):
        exporter = serve("steady", "--sampler.release-timeout", "2s")
        eventually(lambda: "gpu_power_watts" in exporter.get("/metrics").text, 5, "it samples")
        exporter.process.send_signal(signal.SIGUSR1)
        eventually(lambda: exporter.page().value(self.RELEASED) == 1, 3, "it is let go of")
        eventually(lambda: "gpu_power_watts" in exporter.get("/metrics").text, 6, "it is back")
        exporter.process.send_signal(signal.SIGUSR1)
        eventually(lambda: exporter.page().value(self.RELEASED) == 1, 3, "it is let go of")
        exporter.process.send_signal(signal.SIGUSR2)
        eventually(lambda: exporter.page().value(self.RELEASED) == 0, 3, "it is taken again")


def test_budget_is_kept(serve, eventually):
    """Far too small a budget: queries are stretched, and nothing is lost but their frequency."""
    exporter = serve("steady", "--sampler.budget", "0.01%")
    factor = "gpu_sentinel_query_interval_factor"
    eventually(lambda: factor in exporter.get("/metrics").text, 20, "the governor has acted")

    def interval() -> float:
        return exporter.page().get("gpu_sentinel_sample_interval_seconds")[0][1]

    eventually(lambda: interval() > 0.25, 5, "passes are made less often")
    assert "gpu_power_watts" in exporter.get("/metrics").text
    _, log = exporter.stop()
    assert "query is read less often" in log


def test_interval_that_was_set_is_kept(serve, eventually):
    """However small the budget; what was not set makes room."""
    flags = ("--sampler.interval", "50ms", "--sampler.budget", "0.01%")
    exporter = serve("steady", *flags)
    factor = "gpu_sentinel_query_interval_factor"
    eventually(lambda: factor in exporter.get("/metrics").text, 20, "the governor has acted")
    page = exporter.page()
    stretched = {dict(labels)["query"] for labels, _ in page.get(factor)}
    assert stretched.isdisjoint({"memory", "fields.power", "clocks.current.sm"})
    assert page.value("gpu_sentinel_sample_interval_seconds", gpu="0") == 0.05
    _, log = exporter.stop()
    assert log.count("intervals that were set are kept, though they exceed the budget") == 1
    assert "tiers=fast" in log


def test_port_in_use_is_one_line(serve):
    exporter = serve("steady")
    command = ["serve", "--simulate", "--web.listen-address", f"127.0.0.1:{exporter.port}"]
    second = subprocess.run(
        [sys.executable, "-m", "gpu_sentinel", *command],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert second.returncode == 1
    assert second.stderr == (
        f"gpu-sentinel: 127.0.0.1:{exporter.port}: cannot listen: address already in use: "
        "stop the other program, or choose another port\n"
    )


def test_exporter_without_a_driver_stays_up(eventually, free_port, tmp_path: Path):
    """No simulation: the real loader, on a machine where no such library can be found."""
    port = free_port()
    hidden = (
        "import pynvml, ctypes\n"
        "def missing(name): raise OSError(name)\n"
        "pynvml.CDLL = missing\n"
        "from gpu_sentinel.cli import main\n"
        f"main(['serve', '--web.listen-address', '127.0.0.1:{port}'])\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", hidden], stderr=subprocess.PIPE, text=True, cwd=tmp_path
    )
    url = f"http://127.0.0.1:{port}"

    def answers() -> bool:
        try:
            return requests.get(f"{url}/-/ready", timeout=60).ok
        except requests.ConnectionError:
            return False

    try:
        eventually(answers, 10, "it is up")
        body = requests.get(f"{url}/metrics", timeout=60).text
        assert "gpu_sentinel_nvml_up 0\n" in body
        assert 'gpu_sentinel_nvml_errors_total{query="init",error="library_not_found"}' in body
    finally:
        process.terminate()
        _, log = process.communicate(timeout=60)
    assert process.returncode == 0
    assert log.count("driver not available") == 1, "one line for one change of state"
