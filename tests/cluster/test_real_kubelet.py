"""What a real kubelet tells of who holds which device.

`--write-golden` records its answers anew, for tests/host/podresources/test_recorded.py.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from node import NAME, Node, static_pod

from gpu_sentinel.host.podresources import http2, messages
from gpu_sentinel.host.podresources.devices import Held, MigPlace, NodeGpu, resolve
from gpu_sentinel.host.podresources.errors import (
    NotPermittedError,
    PodResourcesError,
    RefusedError,
    StatusError,
)
from gpu_sentinel.host.podresources.source import KubeletSource

pytestmark = pytest.mark.cluster

REPOSITORY = Path(__file__).parents[2]
RECORDED = REPOSITORY / "tests/host/podresources/recorded"
#: Beside the repository's other downloads; scripts/install-cluster.sh fills it.
PROGRAMS = REPOSITORY / ".cache/cluster"

GPUS = [f"GPU-{n}0000000-1111-2222-3333-444455556666" for n in range(4)]
MIGS = [f"MIG-{n}0000000-1111-2222-3333-444455556666" for n in range(2)]
PLUGINS = {
    "nvidia.com/gpu": GPUS[:2],
    "nvidia.com/gpu.shared": [f"{GPUS[2]}::0", f"{GPUS[2]}::1"],
    "nvidia.com/mig-3g.40gb": MIGS,
    "example.com/other": ["other-0"],
}
PODS = {
    "whole": static_pod("team-a", "whole", ("main", {"nvidia.com/gpu": 2}), ("side", {})),
    "shared-a": static_pod("team-a", "shared-a", ("main", {"nvidia.com/gpu.shared": 1})),
    "shared-b": static_pod("team-b", "shared-b", ("main", {"nvidia.com/gpu.shared": 1})),
    "part": static_pod(
        "team-b",
        "part",
        ("one", {"nvidia.com/mig-3g.40gb": 1}),
        ("two", {"nvidia.com/mig-3g.40gb": 1, "example.com/other": 1}),
    ),
    "none": static_pod("team-b", "none", ("main", {})),
}
#: Who holds how many of what; which of several that are alike is the kubelet's choice.
HELD = {
    ("team-a/whole", "main", "nvidia.com/gpu"): 2,
    ("team-a/shared-a", "main", "nvidia.com/gpu.shared"): 1,
    ("team-b/shared-b", "main", "nvidia.com/gpu.shared"): 1,
    ("team-b/part", "one", "nvidia.com/mig-3g.40gb"): 1,
    ("team-b/part", "two", "nvidia.com/mig-3g.40gb"): 1,
}


def held(source: KubeletSource, now: float = 0.0) -> dict[tuple[str, str, str], int]:
    """By pod as its manifest calls it: the kubelet adds the node's name to that of a static pod."""
    found: dict[tuple[str, str, str], int] = {}
    for one in source.allocations(now):
        assert one.owner.kind == "pod"
        assert one.owner.name == f"{one.owner.k8s_namespace}/{one.owner.k8s_pod}"
        key = (one.owner.name.removesuffix(f"-{NAME}"), one.owner.k8s_container, one.resource)
        found[key] = found.get(key, 0) + 1
    return found


@pytest.fixture(scope="module")
def node(free_port: Callable[[], int], eventually: Callable[..., float]) -> Iterator[Node]:
    missing = "root" if os.geteuid() != 0 else ""
    if not (PROGRAMS / "debian/complete").exists():
        missing = f"what `make test-cluster` puts into {PROGRAMS}"
    if missing and os.environ.get("SENTINEL_REQUIRE_TOOLS"):
        pytest.fail(f"needed: {missing}")
    if missing:
        pytest.skip(f"needed: {missing}")
    # Short, because of the sockets in it.
    folder = Path(tempfile.mkdtemp(prefix="node-"))
    running = Node(folder, PROGRAMS, free_port(), eventually)
    try:
        running.start()
        for resource, ids in PLUGINS.items():
            running.start_plugin(resource, *ids)
        for manifest in PODS.values():
            running.run_pod(manifest)
        tell(running, eventually, HELD)
        yield running
    except BaseException:
        print(running.logs)
        raise
    finally:
        running.stop()
        shutil.rmtree(folder)


def tell(node: Node, eventually: Callable[..., float], wanted: object) -> None:
    """Wait until the kubelet tells this."""
    said: list[object] = [None]

    def same() -> bool:
        source = KubeletSource(node.socket)
        said[0] = held(source), source.error
        return said[0] == (wanted, "")

    eventually(same, 60, "the kubelet tells who holds what")


def test_all_devices_are_told_once(node):
    found = KubeletSource(node.socket).allocations(0.0)
    assert sorted(one.device for one in found) == sorted(
        id_ for resource, ids in PLUGINS.items() if resource != "example.com/other" for id_ in ids
    )


def test_devices_are_found_among_the_gpus(node):
    gpus = [NodeGpu(n, uuid, n) for n, uuid in enumerate(GPUS[:3])]
    parts = tuple(MigPlace(uuid, n + 1, 0, "3g.40gb", 9, 4 * n) for n, uuid in enumerate(MIGS))
    gpus.append(NodeGpu(3, GPUS[3], 3, parts))
    found = [resolve(one.device, gpus) for one in KubeletSource(node.socket).allocations(0.0)]
    assert sorted(found, key=str) == sorted(
        [
            *(Held(uuid) for uuid in GPUS[:2]),
            *(Held(GPUS[2], replica=str(n)) for n in range(2)),
            *(Held(GPUS[3], n + 1, 0) for n in range(2)),
        ],
        key=str,
    )


def test_a_resource_of_ones_own(node):
    source = KubeletSource(node.socket, is_gpu="example.com/other".__eq__)
    assert held(source) == {("team-b/part", "two", "example.com/other"): 1}


def test_the_rate_limit(node):
    refused: list[str] = []
    for _ in range(60):
        with contextlib.suppress(RefusedError):
            http2.call(node.socket, messages.LIST)
            continue
        refused.append("")
    assert refused


def test_a_call_that_it_does_not_have(node):
    with pytest.raises(StatusError, match=r"UNIMPLEMENTED.*unknown method Other"):
        http2.call(node.socket, "/v1.PodResourcesLister/Other")


def test_another_user_may_not_ask(node):
    node.folder.chmod(0o755)  # what is in the way is the kubelet's own folder
    os.seteuid(65534)
    try:
        with pytest.raises(NotPermittedError, match="permission denied: it needs uid 0"):
            http2.call(node.socket, messages.LIST)
    finally:
        os.seteuid(0)


def test_a_pod_that_ends_holds_nothing(node, eventually):
    node.delete_pod("shared-a")
    tell(node, eventually, {k: n for k, n in HELD.items() if k[0] != "team-a/shared-a"})
    node.run_pod(PODS["shared-a"])
    tell(node, eventually, HELD)


def test_a_plugin_that_is_killed(node, eventually):
    """Who holds what it gave still holds it."""
    node.kill_plugin("nvidia.com/gpu")
    tell(node, eventually, HELD)
    node.start_plugin("nvidia.com/gpu", *PLUGINS["nvidia.com/gpu"])
    tell(node, eventually, HELD)


def test_a_kubelet_that_restarts(node, eventually):
    source = KubeletSource(node.socket)
    assert held(source, 0.0) == HELD
    node.stop_kubelet()
    # Its answer is good for a while, and it is known that it is old.
    assert held(source, 10.0) == HELD
    assert not source.up
    assert source.error.endswith("nobody listens: the kubelet is not running")
    assert held(source, 61.0) == {}
    # A new one tells the same, before any plugin has registered with it.
    node.start_kubelet()
    tell(node, eventually, HELD)
    assert held(source, 91.0) == HELD
    assert source.up
    for resource in list(node.plugins):
        node.kill_plugin(resource)
    tell(node, eventually, HELD)
    for resource, ids in PLUGINS.items():
        node.start_plugin(resource, *ids)
    tell(node, eventually, HELD)


class Recorder:
    """Stands between client and server, and keeps what the server says."""

    def __init__(self, path: Path, server: Path) -> None:
        self.said = b""
        self._server = server
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        client, _ = self._listener.accept()
        with client, socket.socket(socket.AF_UNIX) as server:
            server.connect(str(self._server))
            back = threading.Thread(target=self._forward, args=(client, server))
            back.start()
            with contextlib.suppress(OSError):
                while came := server.recv(65536):
                    self.said += came
                    client.sendall(came)
            back.join()

    @staticmethod
    def _forward(client: socket.socket, server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while came := client.recv(65536):
                server.sendall(came)
            server.shutdown(socket.SHUT_RDWR)

    def close(self) -> bytes:
        self._thread.join()
        self._listener.close()
        return self.said


def record(node: Node, method: str, path: Path) -> tuple[bytes, PodResourcesError | None]:
    """What the kubelet says to a call, and what the client makes of it."""
    recorder = Recorder(path, node.socket)
    failure = None
    try:
        http2.call(path, method)
    except PodResourcesError as error:
        failure = error
    finally:
        path.unlink()
        said = recorder.close()
    return said, failure


def test_recorded_answers_are_up_to_date(node, request, eventually):
    """The same calls are answered in the same way as when they were recorded."""
    path = node.folder / "recorder.sock"
    kinds: dict[str, tuple[str, type[PodResourcesError] | None]] = {
        "list": (messages.LIST, None),
        "unimplemented": ("/v1.PodResourcesLister/Other", StatusError),
        "refused": (messages.LIST, RefusedError),
    }
    for name, (method, wanted) in kinds.items():
        said: list[bytes] = []

        def as_wanted(method=method, wanted=wanted, said=said) -> bool:
            if wanted is RefusedError:
                with contextlib.suppress(RefusedError):
                    for _ in range(100):
                        http2.call(node.socket, messages.LIST)
            answer, failure = record(node, method, path)
            said[:] = [answer]
            return wanted is None if failure is None else type(failure) is wanted

        eventually(as_wanted, 60, f"an answer that is {name}")
        file = RECORDED / f"{name}.hex"
        if request.config.getoption("write_golden"):
            RECORDED.mkdir(exist_ok=True)
            pieces = (said[0][at : at + 48].hex() for at in range(0, len(said[0]), 48))
            file.write_text("".join(f"{piece}\n" for piece in pieces))
        # Order and addresses differ from run to run; lengths and frames do not.
        assert abs(len(bytes.fromhex(file.read_text())) - len(said[0])) < 100
