"""The commands: what they print, and one line for whatever is wrong."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from gpu_sentinel import __version__
from gpu_sentinel.catalogue import METRICS
from gpu_sentinel.cli import COMMANDS


def run(*arguments: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "gpu_sentinel", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={"PATH": "/usr/bin:/bin", **(env or {})},
    )


WRONG = {
    "unknown-command": (["srve"], "No such command 'srve'"),
    "unknown-option": (["serve", "--simulat"], "No such option"),
    "unknown-scenario": (["serve", "--simulate", "trainig"], "did you mean 'training'?"),
    "no-unit": (["serve", "--sampler.interval", "3"], "--sampler.interval: '3' is no duration"),
    "out-of-range": (["serve", "--sampler.interval", "1h"], "from 50ms to 10s"),
    "no-port": (["serve", "--web.listen-address", "localhost"], "has no port from 0 to 65535"),
    "port-too-high": (["serve", "--web.listen-address", ":70000"], "has no port"),
    "bad-path": (["serve", "--web.telemetry-path", "metrics"], "is no path for metrics"),
    "bad-level": (["serve", "--log.level", "loud"], "is none of debug, info, warning, error"),
    "no-config": (["serve", "--config.file", "/nowhere.yml"], "/nowhere.yml: cannot be read"),
    "no-web-config": (["serve", "--web.config.file", "/nowhere.yml"], "cannot be read"),
    "no-url": (["status", "--url", "localhost:9836"], "'localhost:9836' is no URL"),
    "half-url": (["status", "--url", "http://[::1"], "is no URL"),
    "timeout": (["status", "--timeout", "-1"], "is not in the range"),
    "no-timeout": (["status", "--timeout", "nan"], "nan is no number of seconds"),
    "no-timeout-of-alerts": (["alerts", "--timeout", "nan", "list"], "nan is no number"),
    "up-scenario": (["up", "--simulate", "nowhere"], "no scenario 'nowhere'"),
    "no-mapping": (["serve", "--simulate", "/etc/passwd"], "expected keys with values, not 'root:"),
    "scenario-file": (["check", "--simulate", "/nowhere.yml"], "cannot be read"),
}


@pytest.mark.parametrize("fault", WRONG)
def test_wrong_usage_is_one_line(fault: str):
    arguments, said = WRONG[fault]
    result = run(*arguments)
    assert result.returncode == 2
    assert said in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert result.stdout == ""


def test_wrong_environment_is_one_line():
    result = run("serve", env={"GPU_SENTINEL_SAMPLER_INTERVL": "1s"})
    assert result.returncode == 2
    assert result.stderr == (
        "gpu-sentinel: GPU_SENTINEL_SAMPLER_INTERVL: no such setting: "
        "did you mean 'GPU_SENTINEL_SAMPLER_INTERVAL'?\n"
    )


def test_what_kubernetes_sets_is_no_setting():
    env = {"GPU_SENTINEL_SERVICE_HOST": "10.0.0.1", "GPU_SENTINEL_PORT": "tcp://10.0.0.1:9836"}
    assert (
        run("check", "--simulate", "--web.listen-address", "127.0.0.1:0", env=env).returncode == 0
    )


@pytest.mark.parametrize(
    "command", ["serve", "up", "check", "status", "metrics", "alerts", "maintenance"]
)
def test_help(command: str):
    result = run(command, "--help")
    assert result.returncode == 0
    assert result.stdout.startswith("Usage: gpu-sentinel")


def test_each_command_is_told_in_one_whole_line():
    lines = run("--help", env={"COLUMNS": "80"}).stdout.partition("Commands:\n")[2].splitlines()
    assert len(lines) == len(COMMANDS)
    assert [line for line in lines if not line.endswith(".") or line.endswith("...")] == []


@pytest.mark.parametrize(
    "command", [["--help"], ["metrics"], ["metrics", "--format", "json"], ["xids", "79"]]
)
def test_output_that_cannot_be_written_is_one_line(command: list[str]):
    with Path("/dev/full").open("w") as full:
        result = subprocess.run(
            [sys.executable, "-m", "gpu_sentinel", *command],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
        )
    assert result.returncode == 1
    assert result.stderr == (
        "gpu-sentinel: the output cannot be written: No space left on device\n"
    )


def test_version():
    result = run("--version")
    assert result.stdout.startswith("gpu-sentinel ")


class TestMetrics:
    def test_table_has_every_metric(self):
        out = run("metrics").stdout
        for metric in METRICS:
            assert f"  {metric.name}  (" in out

    def test_json_is_for_programs(self):
        found = json.loads(run("metrics", "--format", "json").stdout)
        assert [m["name"] for m in found] == [m.name for m in METRICS]

    def test_reader_that_leaves_is_no_error_for_a_person(self):
        shell = f"{sys.executable} -m gpu_sentinel metrics --format json | head -1"
        result = subprocess.run(
            shell, shell=True, capture_output=True, text=True, timeout=60, check=False
        )
        assert result.stderr == ""


class TestCheck:
    def test_all_is_well(self):
        result = run("check", "--simulate", "--web.listen-address", "127.0.0.1:0")
        assert result.returncode == 0, result.stdout
        assert "GPU 3: NVIDIA H100 80GB HBM3" in result.stdout
        assert "FAIL" not in result.stdout

    def test_every_fault_has_a_remedy(self, tmp_path: Path):
        scenario = tmp_path / "broken.yml"
        scenario.write_text(
            "description: One is lost, one hangs.\n"
            "gpus: [{model: l40s, count: 3}]\n"
            "events:\n"
            "  - {at: 0s, gpu: 1, do: lose}\n"
            "  - {at: 0s, gpu: 2, do: hang}\n"
        )
        result = run(
            *("check", "--simulate", str(scenario), "--web.listen-address", "127.0.0.1:0"),
            *("--inventory.expected-gpus", "4"),
        )
        assert result.returncode == 1
        lines = result.stdout.splitlines()
        failed = [i for i, line in enumerate(lines) if line.startswith("FAIL")]
        assert [lines[i].split(":")[0] for i in failed] == [
            "FAIL  GPU 1",
            "FAIL  GPU 2",
            "FAIL  GPUs",
        ]
        assert all(lines[i + 1].startswith("      -> ") for i in failed)
        assert lines[-1] == "3 of these need attention"

    def test_port_of_an_exporter_that_runs(self, serve):
        exporter = serve("steady")
        result = run("check", "--simulate", "--web.listen-address", f"127.0.0.1:{exporter.port}")
        assert result.returncode == 0, result.stdout
        said = f"port: 127.0.0.1:{exporter.port} is in use by gpu-sentinel {__version__}: it runs"
        assert said in result.stdout

    def test_port_of_another_program(self, page_server):
        address = page_server("no metrics\n").split("/")[2]
        result = run("check", "--simulate", "--web.listen-address", address)
        assert result.returncode == 1
        assert "address already in use" in result.stdout
        assert "-> choose another with --web.listen-address" in result.stdout

    def test_only_the_cards_of_the_driver_are_expected(self, tmp_path: Path):
        scenario = tmp_path / "shared.yml"
        scenario.write_text(
            "description: One is shared, one is passed through, one has no driver.\n"
            "gpus: [{model: l40s, count: 3}]\n"
            "events:\n"
            "  - {at: 0s, gpu: 0, do: virtual-functions, count: 16}\n"
            "  - {at: 0s, gpu: 1, do: bind, driver: vfio-pci}\n"
            "  - {at: 0s, gpu: 2, do: bind, driver: none}\n"
        )
        result = run("check", "--simulate", str(scenario), "--web.listen-address", "127.0.0.1:0")
        assert "GPUs: 1, as expected" in result.stdout
        # Nobody knows whether the third is too old for the driver, or broken: it is told.
        assert result.returncode == 1, result.stdout
        assert result.stdout.count("no driver") == 1

    def test_without_a_driver(self, tmp_path: Path):
        scenario = tmp_path / "none.yml"
        scenario.write_text(
            "description: No driver.\n"
            "gpus: [{model: l40s}]\n"
            "events: [{at: 0s, do: uninstall-driver}]\n"
        )
        result = run("check", "--simulate", str(scenario), "--web.listen-address", "127.0.0.1:0")
        assert result.returncode == 1
        assert "install the NVIDIA driver" in result.stdout


def _strict_json(text: str) -> dict[str, Any]:
    def refuse(constant: str) -> None:
        pytest.fail(f"{constant} is no JSON")

    found: dict[str, Any] = json.loads(text, parse_constant=refuse)
    return found


@pytest.fixture
def page_server() -> Iterator[Callable[[str], str]]:
    """Serves a page that is given, at the URL that it returns."""
    servers: list[ThreadingHTTPServer] = []

    def start(page: str) -> str:
        class Answer(BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(200)
                self.end_headers()
                self.wfile.write(page.encode())

            def log_message(self, *_: object):
                pass

        servers.append(ThreadingHTTPServer(("127.0.0.1", 0), Answer))
        threading.Thread(target=servers[-1].serve_forever).start()
        return f"http://127.0.0.1:{servers[-1].server_port}/metrics"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


class TestStatus:
    @pytest.mark.parametrize(
        "flags",
        [("--metrics.disable", "identity"), ("--compat", "dcgm", "--metrics.exclude", "gpu_.*")],
    )
    def test_whatever_is_selected(self, serve, eventually, flags: tuple[str, ...]):
        exporter = serve("steady", *flags)

        def both_there() -> bool:
            result = run("status", "--url", exporter.url + "/metrics")
            assert result.stderr == ""
            return "2 GPUs" in result.stdout

        eventually(both_there, 10, "both are there")

    def test_table_and_json(self, serve, eventually):
        exporter = serve("one-of-each")
        eventually(lambda: len(exporter.page().gpus("gpu_power_watts")) == 4, 3, "all are there")
        url = exporter.url + "/metrics"
        table = run("status", "--url", url)
        assert table.returncode == 0
        assert "driver 590.48.01, CUDA 13.1, 4 GPUs" in table.stdout
        assert "NVIDIA GeForce RTX 4080 SUPER" in table.stdout
        found = json.loads(run("status", "--url", url, "--json").stdout)
        assert found["problems"] == []
        assert [gpu["state"] for gpu in found["gpus"]] == ["ok"] * 4
        assert found["gpus"][0]["memory_total_bytes"] == 81559 * 2**20

    def test_lost_gpu_is_a_problem(self, serve, eventually):
        scenario = (
            "description: One will be lost.\n"
            "gpus: [{model: l40s, count: 2}]\n"
            "events:\n  - {at: 2s, gpu: 1, do: lose}\n"
        )
        exporter = serve(scenario)
        eventually(lambda: exporter.page().value("gpu_lost", gpu="1") == 1, 5, "it is lost")
        result = run("status", "--url", exporter.url + "/metrics")
        assert result.returncode == 1
        assert "! GPU 1 is lost: " in result.stdout

    def test_nobody_answers(self, free_port):
        result = run("status", "--url", f"http://127.0.0.1:{free_port()}/metrics")
        assert result.returncode == 1
        assert "Connection refused" in result.stderr
        assert "gpu-sentinel serve" in result.stderr
        assert len(result.stderr.splitlines()) == 1

    def test_a_password_is_never_shown(self, free_port):
        url = f"http://bob:secret@127.0.0.1:{free_port()}/metrics"
        assert "secret" not in run("status", "--url", url).stderr

    def test_values_that_no_exporter_shows(self, page_server):
        gpu = 'gpu="0",uuid="GPU-0"'
        url = page_server(
            'gpu_sentinel_build_info{version="1"} 1\n'
            "gpu_sentinel_nvml_up 1\n"
            "gpu_devices NaN\n"
            f"gpu_lost{{{gpu}}} 0\n"
            f"gpu_power_watts{{{gpu}}} +Inf\n"
            f"gpu_temperature_celsius{{{gpu}}} NaN\n"
            f'gpu_xid_last_timestamp_seconds{{{gpu},xid="79"}} 1e30\n'
            f'gpu_xid_last_timestamp_seconds{{{gpu},xid="31"}} +Inf\n'
        )
        table = run("status", "--url", url)
        assert table.stderr == ""
        assert "GPU has fallen off the bus" in table.stdout
        (gpu_found,) = _strict_json(run("status", "--url", url, "--json").stdout)["gpus"]
        assert gpu_found["power_watts"] is None

    @pytest.mark.parametrize("path", ["/", "/-/healthy", "/nowhere"])
    def test_another_page(self, serve, path: str):
        exporter = serve("steady")
        result = run("status", "--url", exporter.url + path)
        assert result.returncode == 1
        assert len(result.stderr.splitlines()) == 1
