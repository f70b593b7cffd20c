"""Servers that the client is put to: by grpcio, and scripted ones that do anything."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

#: The first bytes of a client, up to the end of its request; all of it comes in one go.
REQUEST = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
Script = Callable[[socket.socket], None]


@pytest.fixture
def folder() -> Iterator[Path]:
    """Short, because the path of a Unix socket may have 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="kubelet-") as name:
        yield Path(name)


@dataclass
class GrpcServer:
    """A real server of gRPC."""

    folder: Path
    process: subprocess.Popen[str] | None = None

    @property
    def socket(self) -> Path:
        return self.folder / "kubelet.sock"

    @property
    def asked(self) -> list[str]:
        """The requests, in hex."""
        path = self.folder / "asked"
        return path.read_text().splitlines() if path.exists() else []

    def answers(self, message: bytes, seconds: float = 0) -> None:
        self._tell({"message": message.hex(), "seconds": seconds})

    def fails(self, code: str, details: str) -> None:
        self._tell({"code": code, "details": details})

    def start(self) -> None:
        script = str(Path(__file__).with_name("grpcserver.py"))
        self.process = subprocess.Popen(
            [sys.executable, script, str(self.folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"GRPC_VERBOSITY": "ERROR"},
        )
        assert self.process.stdout is not None
        if self.process.stdout.readline() != "up\n":
            pytest.fail(self.process.communicate()[1])

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.communicate()
        self.process = None
        self.socket.unlink(missing_ok=True)

    def _tell(self, what: dict[str, object]) -> None:
        new = self.folder / "new"
        new.write_text(json.dumps(what))
        new.rename(self.folder / "answer")


@pytest.fixture
def grpc_server(folder: Path) -> Iterator[GrpcServer]:
    server = GrpcServer(folder)
    server.answers(b"")
    server.start()
    yield server
    server.stop()


@dataclass
class ScriptedServer:
    """Does with each connection what the script says, and then closes it."""

    path: Path
    script: Script
    heard: list[bytes] = field(default_factory=list)
    errors: list[Exception] = field(default_factory=list)
    closing: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self.path))
        self._listener.listen()
        self._thread = threading.Thread(target=self._run, name="scripted server")
        self._thread.start()

    def close(self) -> None:
        self.closing.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()
        assert self.errors == []

    def _run(self) -> None:
        while not self.closing.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                try:
                    self.heard.append(connection.recv(65536))
                    self.script(connection)
                except (BrokenPipeError, ConnectionResetError):
                    pass  # the client had enough
                except Exception as error:  # noqa: BLE001 - shown when the test ends
                    self.errors.append(error)


@pytest.fixture
def scripted(folder: Path) -> Iterator[Callable[[bytes | Script], Path]]:
    """Starts a server that says some bytes, or does what a function does; returns its socket."""
    running: list[ScriptedServer] = []

    def start(script: bytes | Script) -> Path:
        said = script
        path = folder / f"{len(running)}.sock"
        act = (lambda c: c.sendall(said)) if isinstance(said, bytes) else said
        running.append(ScriptedServer(path, act))
        return path

    yield start
    for server in running:
        server.close()
