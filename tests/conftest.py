"""What many tests use: programs that must be there, free ports, a running exporter."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import hypothesis
import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from ports import Ports

pytest_plugins = ("prometheusfixtures", "simulatedtime", "slurmfixtures", "stackfixtures")

REPOSITORY = Path(__file__).parents[1]

# No deadline, and no complaint that examples are made slowly: that says more about what else runs
# than about the code.
for _profile, _examples in (("short", 100), ("long", 500)):
    hypothesis.settings.register_profile(
        _profile,
        deadline=None,
        suppress_health_check=[hypothesis.HealthCheck.too_slow],
        max_examples=_examples,
    )
hypothesis.settings.load_profile("short")


def pytest_configure() -> None:
    """Tests send these signals; who has started pytest may ignore them, as nohup does."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--write-golden", action="store_true", help="write the golden files anew, then compare"
    )


class Scheduling(LoadScopeScheduling):
    """The next test to the next free worker; those of a folder that shares a server stay together.

    Marks of the kind `xdist_group` are without effect in pytest-xdist 3.8 with pytest 9.
    """

    TOGETHER = ("tests/dashboards/",)

    def _split_scope(self, nodeid: str) -> str:
        return next((folder for folder in self.TOGETHER if nodeid.startswith(folder)), nodeid)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Scheduling | None:
    return Scheduling(config, log) if config.getoption("dist") == "load" else None


@pytest.fixture
def repository() -> Path:
    return REPOSITORY


@pytest.fixture(scope="session")
def tool() -> Callable[..., str]:
    """The path of a program; skips the test without it, and fails in continuous integration."""

    def find(*names: str) -> str:
        for name in names:
            if path := shutil.which(name):
                return path
        missing = f"{names[0]} is not installed"
        if os.environ.get("SENTINEL_REQUIRE_TOOLS"):
            pytest.fail(missing)
        pytest.skip(missing)

    return find


@pytest.fixture(scope="session")
def free_port() -> Iterator[Callable[[], int]]:
    ports = Ports()
    yield ports.take
    ports.close()


#: Seconds for which a condition is waited for at least: on a busy machine all takes longer.
PATIENCE = 60.0


def eventually(condition: Callable[[], object], timeout: float, what: str) -> float:
    """Wait for a condition; returns the seconds that it took.

    Args:
        condition: asked until it is true.
        timeout: what is waited for at most, in seconds, where it is more than `PATIENCE`. What is
            quick is shown in simulated time and by benchmarks/, which no other program disturbs.
        what: what has not happened, for the message.
    """
    start = time.monotonic()
    timeout = max(timeout, PATIENCE)
    asked = start
    while not condition():
        now = time.monotonic()
        assert now - start < timeout, f"{what}: not within {timeout} s"
        # Who waits leaves most of the time to what is waited for.
        time.sleep(min(0.5, max(0.02, 3 * (now - asked))))
        asked = time.monotonic()
    return time.monotonic() - start


@pytest.fixture(scope="session", name="eventually")
def _eventually() -> Callable[..., float]:
    return eventually


class Page(dict[str, list[tuple[dict[str, str], float]]]):
    """A /metrics body: samples by name, each with labels and value."""

    @classmethod
    def parse(cls, body: str) -> Page:
        page = cls()
        for family in text_string_to_metric_families(body):
            for sample in family.samples:
                page.setdefault(sample.name, []).append((sample.labels, sample.value))
        return page

    def value(self, name: str, **labels: str) -> float | None:
        """The one value with these labels, None where there is none."""
        found = [v for have, v in self.get(name, []) if labels.items() <= have.items()]
        assert len(found) <= 1, f"{name}{labels} is there {len(found)} times"
        return found[0] if found else None

    def gpus(self, name: str) -> set[str]:
        """Indices of the GPUs that have such a series."""
        return {labels["gpu"] for labels, _ in self.get(name, [])}


@pytest.fixture
def new_page() -> Callable[[str], Page]:
    """Reads a body in the text format."""
    return Page.parse


@dataclass
class Exporter:
    """`gpu-sentinel serve` as a process of its own."""

    port: int
    process: subprocess.Popen[str]
    started: float = field(default_factory=time.monotonic)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def get(self, path: str = "/metrics", **more: object) -> requests.Response:
        return requests.get(self.url + path, timeout=PATIENCE, **more)  # type: ignore[arg-type]

    def page(self) -> Page:
        return Page.parse(self.get().text)

    def answers(self, path: str = "/metrics") -> bool:
        try:
            return self.get(path).ok
        except requests.ConnectionError:
            assert self.process.poll() is None, self.process.communicate()[1]
            return False

    def stop(self, number: int = signal.SIGTERM) -> tuple[int, str]:
        """Exit code and log, after a signal."""
        self.process.send_signal(number)
        _, log = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode, log


Serve = Callable[..., Exporter]


@pytest.fixture
def serve(tmp_path: Path, free_port: Callable[[], int]) -> Iterator[Serve]:
    """Starts exporters: `serve(scenario, *flags, env={})`; YAML text makes a scenario file."""
    running: list[Exporter] = []

    def start(scenario: str, *flags: str, env: dict[str, str] | None = None) -> Exporter:
        if "\n" in scenario:
            path = tmp_path / f"scenario-{len(running)}.yml"
            path.write_text(scenario)
            scenario = str(path)
        port = free_port()
        address = f"127.0.0.1:{port}"
        command = ["serve", "--simulate", scenario, "--web.listen-address", address, *flags]
        process = subprocess.Popen(
            [sys.executable, "-m", "gpu_sentinel", *command],
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | (env or {}),
        )
        running.append(Exporter(port, process))
        eventually(running[-1].answers, 10, "the exporter answers")
        return running[-1]

    yield start
    for exporter in running:
        if exporter.process.poll() is None:
            exporter.process.kill()
        exporter.process.communicate()
