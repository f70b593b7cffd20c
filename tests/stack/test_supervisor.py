"""The supervisor with programs that end and hang as they are told, at a quick pace."""

from __future__ import annotations

import http.server
import os
import random
import signal
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
import requests
from hypothesis import given, settings
from hypothesis import strategies as st

from gpu_sentinel.signals import caught
from gpu_sentinel.stack import corrupt, process
from gpu_sentinel.stack.process import Component, ComponentError
from gpu_sentinel.stack.supervisor import Pace, Supervisor

QUICK = Pace(
    ready=20, probe=0.2, failures=3, grace=10, delay=0.05, longest=0.2, stable=60, attempts=4
)
SERVER = """
import http.server, sys
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), type("Handler", (
    http.server.BaseHTTPRequestHandler,), {"do_GET": lambda self: self.send_response(200) or
    self.end_headers(), "log_message": lambda *_: None})).serve_forever()
"""


def answers(url: str) -> bool:
    try:
        return requests.get(url, timeout=1).ok
    except requests.RequestException:
        return False


class Running:
    """A supervisor in this thread; what has to happen meanwhile does so in another."""

    def __init__(self, folder: Path, pace: Pace = QUICK) -> None:
        self.folder = folder
        self.pace = pace
        self.lines: list[str] = []
        self.error: BaseException | None = None

    def part(self, name: str, port: int, code: str = SERVER, **more) -> Component:
        command = [sys.executable, "-c", code, str(port)]
        url = f"http://127.0.0.1:{port}/"
        return Component(name, command, self.folder / f"{name}.log", url, **more)

    def run(
        self,
        *parts: Component,
        then=lambda: None,
        essential: bool = True,
        over: threading.Event | None = None,
    ) -> None:
        def act() -> None:
            try:
                then()
            except BaseException as error:  # noqa: BLE001 - raised below, in the test's own thread
                self.error = error
            os.kill(os.getpid(), signal.SIGUSR1)

        with caught(signal.SIGUSR1, signal.SIGCHLD) as next_signal:
            supervisor = Supervisor(answers, self.lines.append, next_signal, self.pace)
            acting = threading.Thread(target=act)
            try:
                for part in parts:
                    supervisor.start(part, essential=essential)
                acting.start()
                supervisor.run()
            finally:
                supervisor.stop()
                if over is not None:
                    over.set()
                if acting.ident is not None:
                    acting.join(60)
        if self.error is not None:
            raise self.error

    def said(self, words: str) -> bool:
        return any(words in line for line in self.lines)


@pytest.fixture
def running(tmp_path: Path) -> Running:
    return Running(tmp_path)


def test_end_and_return_are_told(running: Running, free_port, eventually):
    part = running.part("Part", free_port())

    def then() -> None:
        os.kill(part._process.pid, signal.SIGTERM)
        eventually(lambda: running.said("answers again"), 20, "it is back")

    running.run(part, then=then)
    assert running.lines[0] == "Part has ended with SIGTERM. It is started again in 0.05 s."
    assert running.lines[1].startswith("Part answers again after ")


def test_part_that_hangs_is_ended_and_started_again(running: Running, free_port, eventually):
    part, other = (running.part(name, free_port()) for name in ("Part", "Other"))

    def then() -> None:
        os.kill(part._process.pid, signal.SIGSTOP)
        eventually(lambda: running.said("answers again"), 30, "it is back")

    running.run(part, other, then=then)
    assert running.lines[0].startswith("Part does not answer for ")
    assert not running.said("Other")


class Unkillable(Component):
    """As a program that waits in a driver that hangs: SIGKILL ends it later."""

    __slots__ = ()

    def kill(self, seconds: float = 0.0) -> bool:  # noqa: ARG002
        return False


def test_part_that_cannot_be_ended_is_told_once_and_holds_nobody_up(
    running: Running, free_port, eventually
):
    port = free_port()
    command = [sys.executable, "-c", SERVER, str(port)]
    url = f"http://127.0.0.1:{port}/"
    part = Unkillable("Part", command, running.folder / "part.log", url)
    other = running.part("Other", free_port())

    def then() -> None:
        os.kill(part._process.pid, signal.SIGSTOP)
        eventually(lambda: running.said("cannot be ended"), 30, "it is told")
        os.kill(other._process.pid, signal.SIGTERM)
        eventually(lambda: running.said("Other answers again"), 30, "the other is looked after")
        os.kill(part._process.pid, signal.SIGKILL)  # the driver has let go of it
        eventually(lambda: running.said("Part answers again"), 30, "it is back")

    running.run(part, other, then=then)
    assert sum("cannot be ended" in line for line in running.lines) == 1


CRASH = """
import pathlib, sys
marker = pathlib.Path(sys.argv[2])
if marker.exists():
    print('level=error err="the disk is on fire"')
    print("some more words")
    sys.exit(3)
marker.touch()
"""


@pytest.mark.parametrize("essential", [True, False])
def test_crash_loop_gives_up_with_last_words(
    *, running: Running, free_port, eventually, tmp_path: Path, essential: bool
):
    """A part that is not essential is told, and the rest goes on."""
    part = running.part("Part", free_port(), CRASH + SERVER)
    part.command.append(str(tmp_path / "ran"))
    ended = threading.Event()

    def then() -> None:
        part._process.kill()
        eventually(lambda: ended.is_set() or running.said("is given up"), 30, "it is given up")

    if essential:
        with pytest.raises(ComponentError) as caught_error:
            running.run(part, then=then, over=ended)
        line = str(caught_error.value)
    else:
        running.run(part, then=then, essential=False)
        line = running.lines[-1]
    assert line.startswith(
        "Part has ended 4 times in a row and is given up; the last time it has ended with "
        'exit code 3: level=error err="the disk is on fire" (log: '
    )
    ends = [line for line in running.lines if "It is started again" in line]
    assert [end.rpartition(" in ")[2] for end in ends] == ["0.05 s.", "0.1 s.", "0.2 s."]


def test_port_of_another_program_is_told(running: Running, free_port):
    port = free_port()
    server = http.server.HTTPServer(("127.0.0.1", port), Quiet)
    thread = threading.Thread(target=server.serve_forever, args=(0.1,))
    thread.start()
    try:
        with pytest.raises(ComponentError, match=r"Part: another program answers at .*in use"):
            running.run(running.part("Part", port))
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class Quiet(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_) -> None:
        pass


SLOW = SERVER.replace(
    "self.send_response(200)", 'self.send_response(503 if "ready" in self.path else 200)'
)


def test_part_that_reads_a_long_log_is_waited_for(running: Running, free_port):
    """Healthy, not ready: as Prometheus for minutes after a crash."""
    running.pace = replace(QUICK, ready=1)
    port = free_port()
    part = running.part("Part", port, SLOW, healthy=f"http://127.0.0.1:{port}/")
    part.ready += "ready"
    running.run(part, then=lambda: time.sleep(2))
    assert running.lines == ["Part reads what it has stored and will answer later."]


def test_log_is_kept_and_limited(running: Running, free_port, monkeypatch):
    part = running.part("Part", free_port(), "print('x' * 100)")
    for _ in range(2):
        part.start()
        part._process.wait()
    assert part.log.read_text().count("\n") == 2, "the words of the one before are kept"
    monkeypatch.setattr(process, "LOG_BYTES", 150)
    part.start()
    part._process.wait()
    assert part.log.read_text().count("\n") == 1
    assert part.log.with_name("Part.log.1").read_text().count("\n") == 2


def test_log_of_a_running_part_is_limited(running: Running, free_port, eventually, monkeypatch):
    monkeypatch.setattr(process, "LOG_BYTES", 10_000)
    talks = "import threading\nthreading.Thread(target=lambda: [print('x' * 1000, flush=True) or "
    written = running.folder / "written"
    talks += f"time.sleep(.01) for _ in range(200)] and open({str(written)!r}, 'w')).start()"
    part = running.part("Part", free_port(), talks + SERVER)
    part.command[2] = "import time\n" + part.command[2]

    def limited() -> bool:
        return written.exists() and part.log.stat().st_size <= 10_000

    running.run(part, then=lambda: eventually(limited, 20, "the log is short after all lines"))
    assert part.log.with_name("Part.log.1").stat().st_size > 10_000
    assert running.lines == []


def test_start_that_fails_for_a_moment_is_tried_again(running: Running, free_port, eventually):
    part = running.part("Part", free_port())
    start, left = process.Component.start, [OSError(11, "Resource temporarily unavailable")]

    def sometimes(component: Component) -> None:
        if left and component._process is not None:
            raise left.pop()
        start(component)

    def then() -> None:
        part._process.kill()
        eventually(lambda: running.said("answers again"), 20, "it is back")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(process.Component, "start", sometimes)
        running.run(part, then=then)
    assert running.said(
        "Part cannot be started: [Errno 11] Resource temporarily unavailable. It is"
    )


def test_program_that_is_gone_is_one_line(running: Running, free_port):
    part = running.part("Part", free_port())
    part.command[0] = "/nowhere/program"
    with pytest.raises(ComponentError, match="/nowhere/program: No such file or directory"):
        running.run(part)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "prometheus"


@pytest.mark.parametrize(
    ("words", "broken"),
    [
        ("corrupted block 01M8GHHY9CNVK9YGM7FMSSR0WW: invalid magic", "01M8GHHY9CNVK9YGM7FMSSR0WW"),
        ("opening storage failed: /a/chunks_head/000001: invalid magic", "chunks_head/000001"),
    ],
)
def test_what_prometheus_names_is_moved_aside(store: Path, words: str, broken: str):
    (store / broken).parent.mkdir(parents=True)
    (store / broken).write_text("content")
    (line,) = corrupt.prometheus(store, words)
    (moved,) = store.glob("*.corrupt-*")
    assert moved.read_text() == "content"
    assert str(store / broken) in line
    assert moved.name in line
    assert corrupt.prometheus(store, words) == [], "it is not there any more"
    assert corrupt.prometheus(store, "opening storage failed: no space left on device") == []


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_no_bytes_fail_the_check(content: bytes):
    assert corrupt.readable(content) in (True, False)


def test_check_of_alertmanagers_files():
    entry = b"\x0a\x02\x0a\x00"
    good = bytes([len(entry)]) + entry
    assert corrupt.readable(b"")
    assert corrupt.readable(good * 3)
    assert not corrupt.readable(good * 3 + b"\x05")
    assert not corrupt.readable(good[:-1])
    assert not corrupt.readable(bytes(500)), "zeros, as a power cut leaves them"
    assert not corrupt.readable(random.Random(1).randbytes(500))
