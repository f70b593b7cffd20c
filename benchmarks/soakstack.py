"""The stack of the soak: `gpu-sentinel up` with its parts, as a stranger to it sees them."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import requests
from measure import free_port

PARTS = ("exporter", "prometheus", "alertmanager")
#: Within so many seconds a part is back, whatever ended or stopped it.
BACK = 30.0
SETTINGS = "sampler:\n  interval: 250ms\n"
#: Something goes wrong with the simulated GPUs at any time, but for the last minute of four.
SCENARIO = """\
description: Four H100, one of which is lost, one hangs; then the driver is replaced.
repeat: 4m
gpus:
  - {model: h100-sxm, count: 4, load: {kind: training, utilization: 0.9, memory: 0.8}}
events:
  - {at: 20s, gpu: 1, do: xid, xid: 79}
  - {at: 20s, gpu: 1, do: lose}
  - {at: 50s, gpu: 1, do: restore}
  - {at: 70s, gpu: 2, do: hang}
  - {at: 100s, gpu: 2, do: unhang}
  - {at: 120s, gpu: all, do: hang}
  - {at: 130s, gpu: all, do: unhang}
  - {at: 150s, do: unload-driver}
  - {at: 160s, do: load-driver, version: "595.80"}
  - {at: 165s, do: unload-driver}
  - {at: 170s, do: load-driver, version: 590.48.01}
"""


class StackError(Exception):
    """One line: the stack cannot be started."""


@dataclass(frozen=True, slots=True)
class Access:
    """How the parts are reached.

    Attributes:
        auth: user and password of somebody who may do everything; None where none is asked for.
        verify: the authority that signed their certificates, or True.
    """

    scheme: str = "http"
    auth: tuple[str, str] | None = None
    verify: str | bool = True


def access(data: Path) -> Access:
    """How the parts of a stack are reached whose data is in this directory."""
    password = data / "secrets" / "passwords" / "admin"
    if not password.exists():
        return Access()  # its first start has not come so far
    return Access(auth=("admin", password.read_text(encoding="utf-8").strip()))


def eventually(condition: Callable[[], object], seconds: float) -> bool:
    """Wait for a condition; whether it came true in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


@dataclass(slots=True)
class Stack:
    """One `gpu-sentinel up` on free ports, with its data in a directory of its own."""

    folder: Path
    scenario: str = ""
    data: Path = field(init=False)
    ports: dict[str, int] = field(init=False)
    access: Access = field(default_factory=Access, init=False)
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False)
    _log: IO[bytes] | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self.data = self.folder / "data"
        self.data.mkdir(exist_ok=True)
        self.ports = {part: free_port() for part in (*PARTS, "grafana")}
        if not self.scenario:
            self.scenario = str(self.folder / "scenario.yml")
            Path(self.scenario).write_text(SCENARIO)
        self.settings.write_text(SETTINGS)

    @property
    def settings(self) -> Path:
        """The exporter's own file of settings."""
        return self.folder / "exporter.yml"

    @property
    def log(self) -> Path:
        return self.folder / "up.log"

    def start(self) -> None:
        """Start everything, and wait until it answers.

        Raises:
            StackError: it does not.
        """
        self.close()
        self._log = self.log.open("ab")
        ports = [f"--{part}-port={port}" for part, port in self.ports.items()]
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-m", "gpu_sentinel", "up", *ports),
                *("--simulate", self.scenario),
                *("--data-dir", str(self.data)),
            ],
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env=os.environ | {"GPU_SENTINEL_CONFIG_FILE": str(self.settings)},
        )
        eventually(lambda: self._all_ready() or not self.runs(), 60)
        if not self._all_ready():
            raise StackError(f"the stack does not start: {self.last_words()}")

    def start_anew(self) -> None:
        """Start without what was stored, which keeps the stack from starting.

        Raises:
            StackError: it does not start all the same.
        """
        self.close()
        for path in self.data.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        self.start()

    def _all_ready(self) -> bool:
        if not self.runs():
            return False
        self.access = access(self.data)
        return all(self.ready(part) for part in PARTS)

    def stop(self) -> int:
        """Ask it to end; its exit code."""
        assert self._process is not None
        self._process.terminate()
        try:
            return self._process.wait(60)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()

    def close(self) -> None:
        """End all that is left of it."""
        for pid in self.pids().values():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
        if self._process is not None:
            self._process.wait()
        if self._log is not None:
            self._log.close()
            self._log = None

    def runs(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def last_words(self) -> str:
        lines = self.log.read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else "it said nothing"

    @property
    def up(self) -> int:
        """Process id of `up` itself."""
        assert self._process is not None
        return self._process.pid

    def pids(self) -> dict[str, int]:
        """Process ids of the parts that there are, whoever their parents are."""
        found = {}
        for pid, argv in _processes():
            for part in PARTS:
                # An address that no other stack on this machine has.
                if any(f"127.0.0.1:{self.ports[part]}" in word for word in argv):
                    listens = any("listen-address" in word for word in argv)
                    if listens and (part not in found or pid > found[part]):
                        found[part] = pid
        return found

    def url(self, part: str) -> str:
        return f"{self.access.scheme}://127.0.0.1:{self.ports[part]}"

    def ask(self, part: str, path: str, **more: Any) -> requests.Response:
        """An answer of a part.

        Raises:
            requests.RequestException: none, or one that says that something is wrong.
        """
        method = "POST" if "json" in more else "GET"
        known = {"auth": self.access.auth, "verify": self.access.verify, "timeout": 3}
        answer = requests.request(method, self.url(part) + path, **(known | more))
        answer.raise_for_status()
        return answer

    def ready(self, part: str) -> bool:
        try:
            return self.ask(part, "/-/ready").ok
        except requests.RequestException:
            return False

    def value(self, part: str, metric: str) -> float | None:
        """A metric without labels, as a part tells it about itself; None where it does not."""
        try:
            text = self.ask(part, "/metrics").text
        except requests.RequestException:
            return None
        lines = [line.split() for line in text.splitlines() if line.startswith(f"{metric} ")]
        return float(lines[0][1]) if lines else None

    def stored(self, since: float) -> bool:
        """Whether Prometheus has stored a sample of the exporter that is younger (Unix time)."""
        query = {"query": 'max(timestamp(up{job="gpu-sentinel"}))'}
        try:
            found = self.ask("prometheus", "/api/v1/query", params=query).json()["data"]["result"]
        except requests.RequestException:
            return False
        return bool(found) and float(found[0]["value"][1]) > since


def _processes() -> Iterator[tuple[int, list[str]]]:
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            try:
                argv = (folder / "cmdline").read_bytes().decode(errors="replace").split("\0")
            except OSError:
                continue
            yield int(folder.name), argv


@dataclass(frozen=True, slots=True)
class Held:
    """What a process holds: threads, descriptors, and resident memory in MiB."""

    threads: int
    descriptors: int
    memory: float

    @classmethod
    def of(cls, pid: int) -> Held:
        """As /proc tells it.

        Raises:
            OSError: there is no such process.
        """
        process = Path("/proc") / str(pid)
        status = dict(
            line.split(":", 1) for line in (process / "status").read_text().splitlines() if line
        )
        return cls(
            int(status["Threads"]),
            len(list((process / "fd").iterdir())),
            int(status["VmRSS"].split()[0]) / 1024,
        )
