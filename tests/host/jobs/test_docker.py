"""Docker's containers by a real HTTP server on a Unix socket, and by answers that are none."""

from __future__ import annotations

import json
import os
import socket
import socketserver
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpu_sentinel import printable
from gpu_sentinel.host.jobs import docker
from gpu_sentinel.host.jobs.docker import Docker
from gpu_sentinel.model import Allocation, Owner

UUID = "GPU-11111111-2222-3333-4444-555555555555"
#: `docker run --gpus all`, as docker 20.10 and newer tell it.
ALL_GPUS = {"Driver": "", "Count": -1, "DeviceIDs": None, "Capabilities": [["gpu"]], "Options": {}}


def key(number: int) -> str:
    return f"{number:064x}"


class Engine(socketserver.ThreadingUnixStreamServer):
    """Answers what Docker would of its containers; counts the questions."""

    daemon_threads = True

    def __init__(self, path: Path) -> None:
        self.containers: dict[str, dict[str, Any]] = {}
        self.listed: list[dict[str, Any]] = []
        self.asked: list[str] = []
        super().__init__(str(path), Handler)

    def run(self, number: int, name: str = "train", **host: Any) -> None:
        labels = host.pop("labels", {})
        env = host.pop("env", [])
        self.listed.append({"Id": key(number), "Names": [f"/{name}"], "Labels": labels})
        config = {"Env": ["PATH=/bin", *env]}
        self.containers[key(number)] = {"HostConfig": {"Runtime": "runc", **host}, "Config": config}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        engine = self.server
        assert isinstance(engine, Engine)
        engine.asked.append(self.path)
        found: Any = engine.listed
        if self.path != "/containers/json":
            found = engine.containers.get(self.path.split("/")[2])
        body = json.dumps(found if found is not None else {"message": "No such container"}).encode()
        self.send_response(200 if found is not None else 404)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def address_string(self) -> str:
        return "unix"

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def path(tmp_path: Path) -> Iterator[Path]:
    """A short one: sockets have no room for a long one."""
    os.chdir(tmp_path)
    yield Path("docker.sock")
    os.chdir("/")


@pytest.fixture
def engine(path: Path) -> Iterator[Engine]:
    server = Engine(path)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


class Clock:
    """The real one, which may be set ahead."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self.ahead


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def reader(path: Path, clock: Clock) -> Docker:
    return Docker(path, clock)


def held(reader: Docker) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for allocation in reader.allocations():
        found.setdefault(allocation.owner.name, []).append(allocation.device)
    return found


def test_container_with_all_gpus(engine: Engine, reader: Docker):
    engine.run(1, DeviceRequests=[ALL_GPUS])
    engine.run(2, name="web")
    owner = Owner("container", "train")
    assert reader.allocations() == (Allocation(owner, "all", "docker", "docker"),)
    assert (reader.up, reader.trouble) == (True, "")
    assert reader.names == {key(1): "train", key(2): "web"}


NVIDIA = {"Runtime": "nvidia"}
EVERY = "NVIDIA_VISIBLE_DEVICES=all"


def cdi(*names: str) -> dict[str, Any]:
    return {"DeviceRequests": [{"Driver": "cdi", "DeviceIDs": list(names)}]}


def given_devices(*paths: str) -> dict[str, Any]:
    return {"Devices": [{"PathOnHost": path} for path in paths]}


@pytest.mark.parametrize(
    ("host", "env", "devices"),
    [
        ({"DeviceRequests": [ALL_GPUS | {"Count": 2}]}, [], ["0", "1"]),
        ({"DeviceRequests": [ALL_GPUS | {"Count": 0, "DeviceIDs": ["2", UUID]}]}, [], ["2", UUID]),
        ({"DeviceRequests": [ALL_GPUS | {"Driver": "nvidia", "Capabilities": []}]}, [], ["all"]),
        ({"DeviceRequests": [ALL_GPUS | {"Driver": "amd"}]}, [], []),
        ({"DeviceRequests": [ALL_GPUS | {"Capabilities": [["nic"]]}]}, [], []),
        (cdi("nvidia.com/gpu=0", "x.y/z=1"), [], ["0"]),
        (cdi("nvidia.com/gpu=all"), [], ["all"]),
        (cdi("x.y/z=1"), [], []),
        # MIG by two places, which only NVIDIA's runtime counts.
        ({"DeviceRequests": [ALL_GPUS | {"Count": 0, "DeviceIDs": ["0:1"]}]}, [], []),
        (NVIDIA, [EVERY], ["all"]),
        (NVIDIA, [EVERY, f"NVIDIA_VISIBLE_DEVICES=1,{UUID}"], ["1", UUID]),
        (NVIDIA, ["NVIDIA_VISIBLE_DEVICES=none"], []),
        (NVIDIA, ["NVIDIA_VISIBLE_DEVICES=void"], []),
        (NVIDIA, ["NVIDIA_VISIBLE_DEVICES="], []),
        (NVIDIA, [], []),
        # An image of CUDA in a container without a GPU.
        ({}, [EVERY], []),
        # The request is what counts, not what the image says.
        (NVIDIA | {"DeviceRequests": [ALL_GPUS | {"Count": 1}]}, [EVERY], ["0"]),
        (given_devices("/dev/nvidia3", "/dev/nvidiactl"), [], ["minor:3"]),
        (given_devices("/dev/sda", "/dev/nvidia-caps/nvidia-cap1"), [], []),
        ({"DeviceRequests": None, "Devices": None}, [], []),
    ],
)  # fmt: skip
def test_what_a_container_has(
    engine: Engine, reader: Docker, host: dict[str, Any], env: list[str], devices: list[str]
):
    engine.run(1, env=env, **host)
    assert held(reader) == ({"train": devices} if devices else {})
    assert reader.up


def test_asks_for_each_container_once(engine: Engine, reader: Docker, clock: Clock):
    engine.run(1, DeviceRequests=[ALL_GPUS])
    for _ in range(3):
        held(reader)
    assert engine.asked == ["/containers/json", f"/containers/{key(1)}/json"]
    clock.ahead += docker.PERIOD
    engine.run(2, name="other", DeviceRequests=[ALL_GPUS])
    assert held(reader) == {"train": ["all"], "other": ["all"]}
    assert engine.asked[2:] == ["/containers/json", f"/containers/{key(2)}/json"]
    clock.ahead += docker.PERIOD
    del engine.listed[0]
    assert held(reader) == {"other": ["all"]}


def test_names(engine: Engine, reader: Docker):
    engine.run(1, name="a/train", DeviceRequests=[ALL_GPUS])
    engine.listed[0]["Names"] += ["/main"]  # linked to by another
    engine.run(2, name="x" * 200, DeviceRequests=[ALL_GPUS])
    engine.run(3, name='a\n"b\udcff\x1b', DeviceRequests=[ALL_GPUS])
    engine.listed.append({"Id": "../../version", "Names": ["/evil"]})
    engine.run(5, labels={"io.kubernetes.pod.name": "p"}, DeviceRequests=[ALL_GPUS])
    assert list(held(reader)) == ["main", key(2)[:12], 'a\ufffd"b?\ufffd']
    assert len(engine.asked) == 4


def test_container_that_ends_in_between(engine: Engine, reader: Docker):
    engine.run(1, DeviceRequests=[ALL_GPUS])
    engine.run(2, name="other", DeviceRequests=[ALL_GPUS])
    del engine.containers[key(1)]
    assert held(reader) == {"other": ["all"]}
    assert reader.up


def test_container_without_a_good_answer_costs_itself_alone(
    engine: Engine, reader: Docker, clock: Clock, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(docker, "BYTES", 20_000)
    monkeypatch.setattr(docker, "ASKED", 2)
    for number in range(3):
        engine.run(number, f"odd-{number}", env=["A=" + "a" * docker.BYTES])
    engine.run(7, "train", DeviceRequests=[ALL_GPUS])
    for _ in range(2):
        found = reader.allocations()
        assert not reader.up
        assert reader.trouble.startswith("container 000")
        clock.ahead += docker.PERIOD
    assert [a.owner.name for a in found] == ["train"]
    del engine.listed[:3]
    assert [a.owner.name for a in reader.allocations()] == ["train"]
    assert reader.up


def test_slow_answers_do_not_keep_other_sources_waiting(
    engine: Engine, reader: Docker, clock: Clock, monkeypatch: pytest.MonkeyPatch
):
    real = docker.get

    def slow(path: Path, target: str, now: Callable[[], float]) -> Any:
        clock.ahead += 1.9
        return real(path, target, now)

    monkeypatch.setattr(docker, "get", slow)
    for number in range(6):
        engine.run(number, f"train-{number}", DeviceRequests=[ALL_GPUS])
    for _ in range(6):
        start = clock()
        reader.allocations()
        assert clock() - start <= docker.LOOK + docker.PATIENCE
        clock.ahead += docker.PERIOD
    assert len(reader.allocations()) == 6


def test_thousands_of_containers(
    engine: Engine, reader: Docker, clock: Clock, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(docker, "ASKED", 3)
    monkeypatch.setattr(docker, "CONTAINERS", 8)
    for number in range(1, 20):
        engine.run(number, name=f"c{number}", DeviceRequests=[ALL_GPUS])
    counts = []
    for _ in range(4):
        counts.append(len(held(reader)))
        clock.ahead += docker.PERIOD
    assert counts == [3, 6, 8, 8]


def test_old_answer_is_believed_for_a_while(
    engine: Engine, reader: Docker, clock: Clock, path: Path
):
    engine.run(1, DeviceRequests=[ALL_GPUS])
    assert held(reader) == {"train": ["all"]}
    path.rename("gone")
    clock.ahead += docker.PERIOD
    assert held(reader) == {"train": ["all"]}
    assert (reader.up, reader.trouble) == (False, "docker.sock: No such file or directory")
    clock.ahead += docker.BELIEVED
    assert held(reader) == {}
    Path("gone").rename(path)
    clock.ahead += docker.PERIOD
    assert held(reader) == {"train": ["all"]}


def test_nobody_listens(reader: Docker, path: Path):
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
    assert held(reader) == {}
    assert reader.trouble == "docker.sock: Connection refused"


def answering(path: Path, answer: Callable[[socket.socket], None]) -> threading.Thread:
    """A server of one connection."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()

    def serve() -> None:
        with listener:
            connection, _ = listener.accept()
            with connection:
                connection.recv(4096)
                with suppress(OSError):  # who asked has had enough
                    answer(connection)

    thread = threading.Thread(target=serve)
    thread.start()
    return thread


HEAD = b"HTTP/1.0 200 OK\r\n\r\n"


@pytest.mark.parametrize(
    ("answer", "trouble"),
    [
        (b"", "not an answer of HTTP: RemoteDisconnected"),
        (b"\x00\xff" * 1000, "not an answer of HTTP: BadStatusLine"),
        (b"HTTP/1.0 200 OK\r\n" + b"A: b\r\n" * 1000, "not an answer of HTTP: HTTPException"),
        (
            b"HTTP/1.0 200 OK\r\nContent-Length: 9\r\n\r\n[]",
            "not an answer of HTTP: IncompleteRead",
        ),
        (b"HTTP/1.0 403 No\r\n\r\n", "HTTP status 403"),
        (HEAD, "not JSON: JSONDecodeError"),
        (HEAD + b"[" * 1_000_000, "not JSON: RecursionError"),
        (HEAD + b"\xff", "not JSON: UnicodeDecodeError"),
        (HEAD + b"{}", "the list of containers is none"),
        (HEAD + b" " * (docker.BYTES + 1), "the answer is longer than 8 MiB"),
    ],
)
def test_answers_that_are_none(reader: Docker, path: Path, answer: bytes, trouble: str):
    thread = answering(path, lambda connection: connection.sendall(answer))
    assert held(reader) == {}
    assert (reader.up, reader.trouble) == (False, trouble)
    thread.join()


def test_answer_that_drips(reader: Docker, path: Path, clock: Clock):
    """A byte for each of which one would have waited: the clock goes on by itself."""

    def drip(connection: socket.socket) -> None:
        while True:
            connection.sendall(b"H")
            clock.ahead += docker.PATIENCE / 4

    thread = answering(path, drip)
    assert held(reader) == {}
    assert reader.trouble == "no answer within 2 s"
    thread.join()


KEYS = (
    *("Id", "Names", "Labels", "HostConfig", "DeviceRequests", "Driver", "Count", "DeviceIDs"),
    *("Capabilities", "Devices", "PathOnHost", "Runtime", "Config", "Env"),
)
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=8)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(KEYS),
            inner,
            max_size=4,
        ),
    ),
    max_leaves=20,
)  # fmt: skip


@given(JSON)
def test_any_answer(told: Any):
    for device in docker._devices(told):
        assert printable.line(device) == device
    for _, name in docker._named(told if isinstance(told, list) else [told]):
        assert printable.line(name) == name
