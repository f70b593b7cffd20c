"""`gpu-sentinel up`: the stack as local processes, from the same configuration files."""

from __future__ import annotations

import shutil
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import requests
import yaml

from gpu_sentinel.host import count_gpus
from gpu_sentinel.stack.process import Component, ComponentError

RETENTION = "30d"
_READY_SECONDS = 30.0
_GPU_NODES = (Path("/dev/nvidiactl"), Path("/dev/dxg"))


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to run, and where.

    Attributes:
        simulate: scenario for the exporter, None on real GPUs.
        why: why GPUs are simulated, for the person who started it.
    """

    data: Path
    simulate: str | None
    why: str = ""
    exporter_port: int = 9836
    prometheus_port: int = 9090


def has_gpu() -> bool:
    """Whether this machine seems to have an NVIDIA GPU, with or without a working driver."""
    counted = count_gpus()
    return bool(counted and counted[0]) or any(node.exists() for node in _GPU_NODES)


def configuration_source() -> Path:
    """The folder `prometheus/` of the repository, or its copy in an installed package.

    Raises:
        ComponentError: neither is there.
    """
    here = Path(__file__).resolve()
    for folder in (here.parent / "prometheus", here.parents[3] / "prometheus"):
        if (folder / "prometheus.yml").is_file():
            return folder
    raise ComponentError("Prometheus: prometheus/prometheus.yml was not found beside the package")


def write_configuration(plan: Plan) -> Path:
    """Copy Prometheus' configuration under the data directory, with this machine's targets."""
    folder = plan.data / "config" / "prometheus"
    if folder.exists():
        shutil.rmtree(folder)
    shutil.copytree(configuration_source(), folder, ignore=shutil.ignore_patterns("targets"))
    targets = folder / "targets"
    targets.mkdir()
    entry = {
        "targets": [f"127.0.0.1:{plan.exporter_port}"],
        "labels": {"host": socket.gethostname()},
    }
    (targets / "gpu-sentinel.yml").write_text(yaml.safe_dump([entry]), encoding="utf-8")
    return folder / "prometheus.yml"


def exporter(plan: Plan) -> Component:
    """The exporter as a component."""
    address = f"127.0.0.1:{plan.exporter_port}"
    simulate = ["--simulate", plan.simulate] if plan.simulate else []
    serve = ["serve", "--web.listen-address", address, *simulate]
    return Component(
        "exporter",
        [sys.executable, "-m", "gpu_sentinel", *serve],
        plan.data / "logs" / "exporter.log",
        f"http://{address}/-/ready",
    )


def prometheus(plan: Plan) -> Component | None:
    """Prometheus as a component; None where it is not installed."""
    program = shutil.which("prometheus")
    if program is None:
        return None
    address = f"127.0.0.1:{plan.prometheus_port}"
    return Component(
        "Prometheus",
        [
            program,
            f"--config.file={write_configuration(plan)}",
            f"--storage.tsdb.path={plan.data / 'prometheus'}",
            f"--storage.tsdb.retention.time={RETENTION}",
            f"--web.listen-address={address}",
        ],
        plan.data / "logs" / "prometheus.log",
        f"http://{address}/-/ready",
    )


def _answers(url: str) -> bool:
    try:
        return requests.get(url, timeout=2).ok
    except requests.RequestException:
        return False


def run(plan: Plan, say: Callable[[str], None], stop: threading.Event) -> None:
    """Start everything, say where it is, and stop everything once `stop` is set.

    Raises:
        ComponentError: a component did not start, or has ended by itself.
    """
    plan.data.mkdir(parents=True, exist_ok=True)
    running: list[Component] = []
    try:
        for component, line in _components(plan):
            if component is not None:
                running.append(component)
                component.start()
                component.wait_ready(_answers, _READY_SECONDS)
            say(line)
        say(f"Data and logs are in {plan.data}. Stop with Ctrl-C.")
        while not stop.wait(0.5):
            for component in running:
                component.check()
    finally:
        for component in reversed(running):
            component.stop()


def _components(plan: Plan) -> Iterator[tuple[Component | None, str]]:
    gpus = f"simulated GPUs, scenario {plan.simulate}" if plan.simulate else "the GPUs of this host"
    why = f" ({plan.why})" if plan.why else ""
    yield (
        exporter(plan),
        f"exporter    http://127.0.0.1:{plan.exporter_port}/  {gpus}{why}",
    )
    found = prometheus(plan)
    query = "graph?g0.expr=gpu_power_watts&g0.tab=0&g0.range_input=5m"
    yield (
        found,
        f"Prometheus  http://127.0.0.1:{plan.prometheus_port}/{query}"
        if found
        else "Prometheus  not installed: apt-get install -y --no-install-recommends prometheus",
    )
