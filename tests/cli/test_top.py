"""`gpu-sentinel top`: what is on the screen, and the command on a terminal and without one."""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpu_sentinel.cli.screen import Line, Style, View
from gpu_sentinel.cli.table import cut, lines, places
from gpu_sentinel.cli.usage import usage_lines
from gpu_sentinel.exposition.ownersreader import OwnerStatus, ProcessStatus
from gpu_sentinel.exposition.reader import GpuStatus, Status

GIB = 2.0**30


def owner(name: str, gpu: int = 0, **more) -> OwnerStatus:
    return OwnerStatus(
        gpu=gpu, uuid=f"GPU-{gpu}", owner_kind="user", owner=name, **{"processes": 1} | more
    )


def process(pid: int, gpu: int = 0, **more) -> ProcessStatus:
    return ProcessStatus(gpu=gpu, uuid=f"GPU-{gpu}", pid=pid, process="python3", **more)


def status(**more) -> Status:
    gpus = [
        GpuStatus(
            n, f"GPU-{n}", name="NVIDIA H100 80GB HBM3", power_watts=300.0, power_limit_watts=700.0
        )
        for n in range(2)
    ]
    return Status(exporter_version="1", nvml_up=True, driver_version="590", gpus=gpus, **more)


BUSY = status(
    owners=[
        owner("bob", memory_used_bytes=8 * GIB, sm_ratio=0.2, power_watts=90.0),
        owner("alice", 1, memory_used_bytes=2 * GIB, sm_ratio=0.9, power_watts=20.0),
        owner("gone", processes=0, power_watts=0.0, memory_used_bytes=None),
        owner("carol", holds=True, sm_ratio=0.0, power_watts=80.0, processes=0),
    ],
    processes=[process(71, memory_used_bytes=8 * GIB, sm_ratio=0.2, busy_seconds=3725.0)],
)


def view(page: Status | None, **more) -> View:
    found = View(**more)
    found.page, found.read = page, 1.8e9
    return found


def texts(shown: list[Line]) -> list[str]:
    return [line.text for line in shown]


def order(page: Status, sort: str) -> list[str]:
    """The owners from top to bottom."""
    rows = [line.split() for line in usage_lines(page, sort)]
    return [row[2] for row in rows if row[1:2] == ["user"]]


@pytest.mark.parametrize(
    ("sort", "expected"),
    [
        ("gpu", ["bob", "carol", "alice"]),
        ("memory", ["bob", "alice", "carol"]),
        ("sm", ["alice", "bob", "carol"]),
        ("power", ["bob", "carol", "alice"]),
        ("owner", ["alice", "bob", "carol"]),
    ],
)
def test_sorted_by(sort: str, expected: list[str]):
    assert order(BUSY, sort) == expected


def test_who_is_gone_is_shown_while_energy_is_still_his():
    assert "gone" not in order(BUSY, "owner")
    late = status(owners=[owner("gone", processes=0, power_watts=4.0), owner("here", 1)])
    assert order(late, "gpu") == ["here", "gone"]


def test_what_is_not_shown_is_said():
    shown = list(usage_lines(status()))
    assert any("owners" in line for line in shown)
    assert any("--metrics.enable processes" in line for line in shown)


def test_all_that_is_known_of_owners_and_processes():
    shown = list(usage_lines(BUSY))
    assert "0    user  carol  idle       0        -   0 %   80 W" in shown
    assert "0     71  python3         8.0 GiB  20 %    62:05" in shown


def test_everything_is_there_in_80_columns():
    pod = "a-namespace-with-a-long-name/a-pod-with-an-even-longer-name-0123456789"
    page = status(owners=[owner(pod, holds=True)], processes=[process(4194304, owner=pod)])
    shown = texts(view(page).draw(24, 80))
    assert len(shown) == 24
    assert max(map(len, shown)) <= 80
    assert any("OWNER" in line and line.endswith("POWER") for line in shown)
    assert any("a-namespace-with" in line and "~" in line for line in shown)
    assert shown[-1].startswith("q quit")


@given(
    st.lists(st.text(max_size=40), max_size=6), st.text(max_size=200), st.integers(-1, 60),
    st.integers(-1, 120), st.integers(0, 50),
)  # fmt: skip
def test_a_screen_of_any_size_holds_any_names(
    names: list[str], trouble: str, height: int, width: int, top: int
):
    page = status(owners=[owner(name) for name in names])
    shown = view(page, top=top, trouble=trouble).draw(height, width)
    assert len(shown) == (height if width >= 1 and height >= 1 else 0)
    assert all(places(line.text) <= width for line in shown)
    assert not re.search("[\x00-\x1f\x7f-\x9f\u202e]", "".join(texts(shown)))


def test_keys():
    page = status(owners=[owner(f"user-{n:02}") for n in range(40)])
    found = view(page)
    found.draw(12, 80)
    assert found.press("m", 12)
    assert found.sort == "memory"
    for key in ("down", "down", "up"):
        assert found.press(key, 12)
    assert found.top == 1
    for _ in range(100):
        found.press("page-down", 12)
    assert "user-39" in "".join(texts(found.draw(12, 80)))
    for _ in range(100):
        found.press("page-up", 12)
    assert found.top == 0
    assert found.press("", 12)
    assert not found.press("q", 12)


def test_the_last_page_stays_when_there_is_no_newer_one():
    shown = view(BUSY, trouble="no exporter answers at http://x:1/metrics").draw(24, 79)
    assert Line("! no exporter answers at http://x:1/metrics", Style.BAD) in shown
    assert any("alice" in line.text for line in shown)


def test_before_the_first_page():
    assert texts(view(None).draw(3, 40))[0] == "waiting for the exporter"


def test_problems_take_three_lines_at_most():
    many = status()
    for gpu in many.gpus:
        gpu.reason = "lost"
    many.expected_devices = 8
    bad = [line for line in view(many).draw(24, 40) if line.style is Style.BAD]
    assert len(bad) == 3
    assert bad[-1].text.endswith("~") or bad[-1].text.endswith("...")


def test_wide_characters_take_two_places():
    rows = [("NAME", "N"), ("機械学習", "1"), ("e\u0301", "2")]
    shown = list(lines(rows, {0}))
    assert [places(line) for line in shown] == [11, 11, 11]
    assert cut("機械学習", 5) == "機械~"


@dataclass
class Terminal:
    """The command on a terminal of its own."""

    process: subprocess.Popen[bytes]
    number: int
    said: bytes = b""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def listen(self) -> None:
        """Take in what was written, without waiting for more."""
        while select.select([self.number], [], [], 0.0)[0]:
            try:
                part = os.read(self.number, 65536)
            except OSError:  # nobody has the other end open any more
                return
            if not part:
                return
            self.said += part

    def shows(self, *words: str) -> bool:
        self.listen()
        return all(word.encode() in self.said for word in words)

    def resize(self, height: int, width: int) -> None:
        size = struct.pack("HHHH", height, width, 0, 0)
        fcntl.ioctl(self.number, termios.TIOCSWINSZ, size)
        self.process.send_signal(signal.SIGWINCH)

    def press(self, keys: bytes) -> None:
        self.said = b""
        os.write(self.number, keys)

    def ended(self) -> bool:
        self.listen()
        return self.process.poll() is not None


@pytest.fixture
def terminal() -> Iterator[Callable[..., Terminal]]:
    """Starts `gpu-sentinel top` on a terminal of 80 columns."""
    running: list[Terminal] = []

    def start(*arguments: str, **env: str) -> Terminal:
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        child = subprocess.Popen(
            [sys.executable, "-m", "gpu_sentinel", "top", *arguments],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            # The size is of the shell that started a program, and of no use when it changes.
            env={
                **os.environ,
                "TERM": "xterm-256color",
                "LC_ALL": "C.UTF-8",
                "LINES": "24",
                "COLUMNS": "80",
                **env,
            },
            start_new_session=True,
        )
        os.close(theirs)
        running.append(Terminal(child, ours))
        return running[-1]

    yield start
    for one in running:
        one.process.kill()
        one.process.wait()
        with contextlib.suppress(OSError):
            os.close(one.number)


def run_top(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "gpu_sentinel", "top", *arguments],
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )


@pytest.fixture
def shared(serve, eventually):
    """The address of an exporter that knows owners and processes."""
    exporter = serve("shared-gpu", "--metrics.enable", "processes")
    eventually(lambda: exporter.page().get("gpu_owner_busy_seconds_total"), 10, "owners are there")
    return exporter.url + "/metrics"


class TestOnATerminal:
    def test_it_is_drawn_sorted_resized_and_left(self, terminal, shared, eventually):
        screen = terminal("--url", shared, "--interval", "0.5")
        eventually(lambda: screen.shows("OWNER", "4711", "SM TIME", "tritonserver"), 10, "shown")
        eventually(lambda: screen.shows(" W"), 10, "what owners draw is shown")
        screen.press(b"m")
        eventually(lambda: screen.shows("[memory]"), 10, "it is sorted")
        screen.said = b""
        widths = itertools.cycle((50, 51))

        def told() -> bool:
            # A terminal that is drawn when its size changes gets only what is new to it.
            screen.resize(10, next(widths))
            return screen.shows("more")

        eventually(told, 10, "what does not fit is told of")
        screen.press(b"q")
        eventually(screen.ended, 10, "it ends")
        assert screen.process.returncode == 0

    @pytest.mark.parametrize("no_color", [True, False])
    def test_colours(self, terminal, serve, eventually, no_color: bool):
        scenario = (
            "description: One is lost.\n"
            "gpus: [{model: l40s, count: 2}]\n"
            "events:\n  - {at: 0s, gpu: 1, do: lose}\n"
        )
        exporter = serve(scenario)
        eventually(lambda: exporter.page().value("gpu_lost", gpu="1") == 1, 5, "it is lost")
        env = {"NO_COLOR": "1"} if no_color else {}
        screen = terminal("--url", exporter.url + "/metrics", **env)
        eventually(lambda: screen.shows("! GPU 1 is lost"), 10, "the problem is shown")
        assert (b"\x1b[31m" in screen.said or b";31m" in screen.said) is not no_color

    def test_an_exporter_that_goes_and_comes_back(self, terminal, serve, eventually):
        exporter = serve("shared-gpu")
        screen = terminal("--url", exporter.url + "/metrics", "--interval", "0.25")
        eventually(lambda: screen.shows("OWNER", "4711"), 10, "shown")
        screen.said = b""
        exporter.stop()
        eventually(lambda: screen.shows("! no exporter answers"), 10, "it says so")
        assert screen.process.poll() is None
        screen.press(b"q")
        eventually(screen.ended, 10, "it ends")
        assert screen.process.returncode == 0

    def test_a_terminal_without_a_cursor(self, terminal, shared, eventually):
        screen = terminal("--url", shared, TERM="dumb")
        eventually(screen.ended, 10, "it ends")
        assert screen.shows("everything once", "4711")
        assert b"\x1b[" not in screen.said
        assert screen.process.returncode == 0


class TestWithoutATerminal:
    def test_everything_once(self, shared):
        found = run_top("--url", shared)
        assert found.returncode == 0
        assert found.stderr == ""
        assert "3f0a1f6e-8d5c-4b52-9b6a-6770752d7361" in found.stdout or "triton" in found.stdout
        assert re.search(r"^0 +slurm_job +4711 .* \d+ W$", found.stdout, re.MULTILINE)

    def test_json(self, shared):
        found = json.loads(run_top("--url", shared, "--json").stdout)
        owners = {one["owner"]: one for one in found["owners"]}
        assert owners["4711"]["slurm_account"] == "physics"
        drawn = sum(one["power_watts"] for one in found["owners"] if one["gpu"] == 0)
        assert drawn == pytest.approx(found["gpus"][0]["power_watts"], rel=1e-6)
        assert {one["pid"] for one in found["processes"]} >= {21001, 21050}
        assert found["problems"] == []

    def test_status_has_the_same(self, shared):
        command = [sys.executable, "-m", "gpu_sentinel", "status", "--url", shared]
        with_them, without, dumped = (
            subprocess.run([*command, *more], capture_output=True, text=True, check=True).stdout
            for more in (["--processes"], [], ["--json"])
        )
        assert "tritonserver" in with_them
        assert "tritonserver" not in without
        assert len(json.loads(dumped)["processes"]) >= 4

    @pytest.mark.parametrize("path", ["/", "/nowhere"])
    def test_another_page_is_one_line(self, serve, path: str):
        found = run_top("--url", serve("steady").url + path, "--once")
        assert found.returncode == 1
        assert found.stdout == ""
        assert len(found.stderr.splitlines()) == 1


def test_serve_does_without_curses():
    code = (
        "import sys, gpu_sentinel.cli, gpu_sentinel.cli.serve, gpu_sentinel.daemon; "
        "sys.exit('curses' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
