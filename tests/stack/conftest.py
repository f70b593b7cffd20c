"""`gpu-sentinel up` as a process on free ports; `gpu-sentinel install` below a root."""

from __future__ import annotations

import contextlib
import functools
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests

from gpu_sentinel import cli
from gpu_sentinel.stack import install


class Up:
    """`gpu-sentinel up` on free ports.

    Args:
        output: a file that takes all that it says; without, that can be read once, from pipes.
    """

    def __init__(
        self, data: Path, ports: list[int], *arguments: str, output: Path | None = None
    ) -> None:
        self.data = data
        self.tls = "--tls" in arguments
        self.ports = dict(zip(("exporter", "prometheus", "alertmanager"), ports, strict=True))
        options = [f"--{name}-port={port}" for name, port in self.ports.items()]
        with contextlib.ExitStack() as stack:
            file = stack.enter_context(output.open("wb")) if output else None
            self.process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "gpu_sentinel", "up", "--simulate", "steady"),
                    *("--data-dir", str(data), *options, *arguments),
                ],
                stdout=file or subprocess.PIPE,
                stderr=subprocess.STDOUT if file else subprocess.PIPE,
                text=True,
                env=os.environ | {"PYTHONUNBUFFERED": "1"},
            )

    def lines(self) -> list[str]:
        """One a component, and where the data is."""
        assert self.process.stdout is not None
        return [self.process.stdout.readline() for _ in range(5)]

    def shown(self, name: str) -> str:
        """As it is printed."""
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.ports[name]}"

    def password(self, user: str) -> str:
        return (self.data / "secrets" / "passwords" / user).read_text().strip()

    def url(self, name: str) -> str:
        """With a password for everything; once it has started."""
        return self.shown(name).replace("://", f"://admin:{self.password('admin')}@")

    def until(self, said: str) -> list[str]:
        """Its lines up to the one that holds these words."""
        assert self.process.stdout is not None
        lines = []
        while line := self.process.stdout.readline():
            lines.append(line)
            if said in line:
                return lines
        raise AssertionError(f"{said!r} was not said: {lines}")

    def pids(self) -> dict[str, int]:
        """The process of each part that runs as the program that it is to be."""
        pid = self.process.pid
        found = {}
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            try:
                command = Path(f"/proc/{child}/cmdline").read_text().split("\0")
            except (FileNotFoundError, ProcessLookupError):
                continue
            if command[1:4] == ["-m", "gpu_sentinel", "serve"]:
                found["exporter"] = int(child)
            elif (name := Path(command[0]).name.replace("prometheus-alert", "alert")) in self.ports:
                found[name] = int(child)
        return found

    def refuses(self) -> bool:
        return all(refuses(port) for port in self.ports.values())


@contextlib.contextmanager
def _starting(tool, free_port) -> Iterator[Callable[..., Up]]:
    tool("prometheus")
    tool("alertmanager", "prometheus-alertmanager")
    started: list[Up] = []

    def start(data: Path, *arguments: str, output: Path | None = None, **ports: int) -> Up:
        chosen = [ports.get(n) or free_port() for n in ("exporter", "prometheus", "alertmanager")]
        started.append(Up(data, chosen, *arguments, output=output))
        return started[-1]

    yield start
    for running in started:
        if running.process.poll() is None:
            running.process.terminate()
            running.process.wait(60)
        running.process.communicate()


@pytest.fixture
def up(tool, free_port, tmp_path: Path) -> Iterator[Callable[..., Up]]:
    with _starting(tool, free_port) as start:
        yield functools.partial(start, tmp_path / "data")


@pytest.fixture(scope="module")
def shared_up(tool, free_port) -> Iterator[Callable[..., Up]]:
    """Starts what all tests of a file use, in a data directory that is named."""
    with _starting(tool, free_port) as start:
        yield start


def refuses(port: int) -> bool:
    try:
        requests.get(f"http://127.0.0.1:{port}/", timeout=5)
    except requests.ConnectionError:
        return True
    return False


@pytest.fixture
def root(tool, tmp_path: Path, monkeypatch) -> Path:
    if os.geteuid() != 0:
        pytest.skip("services are installed by root alone")
    for program in ("systemctl", "systemd-sysusers", "prometheus"):
        tool(program)
    tool("alertmanager", "prometheus-alertmanager")
    # This checkout may be where no service would find it.
    monkeypatch.setattr(install, "_HIDDEN", ())
    (tmp_path / "root").mkdir()
    return tmp_path / "root"


@pytest.fixture
def told(capsys) -> Callable[..., tuple[int, str]]:
    """Runs `install` here: its exit code, and what it says."""

    def run(*arguments: str) -> tuple[int, str]:
        code = cli.run(["install", *arguments])
        said = capsys.readouterr()
        return code, said.out + said.err

    return run


@pytest.fixture
def recorded(tmp_path: Path, monkeypatch) -> Path:
    """A systemctl that writes down what it is asked for."""
    folder, record = tmp_path / "bin", tmp_path / "asked"
    folder.mkdir()
    (folder / "systemctl").write_text(f'#!/bin/sh\necho "$*" >> "{record}"\n')
    (folder / "systemctl").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return record
