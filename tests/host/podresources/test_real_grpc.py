"""The client against a real server of gRPC."""

from __future__ import annotations

import subprocess
import sys

import pytest
import wire

from gpu_sentinel.host.podresources import http2, messages
from gpu_sentinel.host.podresources.errors import (
    NoSocketError,
    RefusedError,
    StatusError,
    TimedOutError,
    TooLargeError,
)


def test_250_pods(grpc_server):
    answer = wire.many_pods(250)
    grpc_server.answers(answer)
    assert http2.call(grpc_server.socket, wire.LIST, b"\x0a\x00") == answer
    assert grpc_server.asked == ["0a00"]
    held = messages.allocations(answer)
    assert len(held) == 250
    assert {one.owner.name for one in held} == {f"team-{n % 5}/train-{n}" for n in range(250)}


def test_an_empty_message_is_an_answer(grpc_server):
    assert http2.call(grpc_server.socket, wire.LIST) == b""
    assert grpc_server.asked == [""]


@pytest.mark.parametrize("size", [1, 2**14 - 5, 2**14 - 4, 2**16, 2**22, 8 * 2**20])
def test_messages_of_any_size(grpc_server, size: int):
    answer = wire.field(7, bytes(size))[-size:]
    grpc_server.answers(answer)
    assert http2.call(grpc_server.socket, wire.LIST, timeout=60) == answer


def test_too_large(grpc_server):
    grpc_server.answers(bytes(http2.LONGEST + 1))
    with pytest.raises(
        TooLargeError, match=r"^the answer has 8388609 bytes or more; at most 8388608"
    ):
        http2.call(grpc_server.socket, wire.LIST, timeout=60)


def test_refused_by_the_rate_limit(grpc_server):
    grpc_server.fails("RESOURCE_EXHAUSTED", "rejected by rate limit")
    with pytest.raises(RefusedError) as caught:
        http2.call(grpc_server.socket, wire.LIST)
    assert str(caught.value) == "the kubelet answered RESOURCE_EXHAUSTED: rejected by rate limit"


def test_a_failure_is_told_in_one_line(grpc_server):
    grpc_server.fails("INTERNAL", "no é\n\x1b[31mred 100% " + "x" * 1000)
    with pytest.raises(StatusError) as caught:
        http2.call(grpc_server.socket, wire.LIST)
    line = str(caught.value)
    assert line.startswith("the kubelet answered INTERNAL: no é\\n\\x1b[31mred 100% xxx")
    assert len(line) < 420
    assert caught.value.code == 13


def test_a_call_that_there_is_not(grpc_server):
    with pytest.raises(StatusError, match=r"UNIMPLEMENTED.*it does not have this call"):
        http2.call(grpc_server.socket, "/v1.PodResourcesLister/Other")


def test_slow(grpc_server):
    grpc_server.answers(b"", seconds=3600)
    with pytest.raises(TimedOutError, match="did not answer in time"):
        http2.call(grpc_server.socket, wire.LIST, timeout=0.2)


def test_the_deadline_is_of_the_whole_call(grpc_server):
    grpc_server.answers(b"")
    ticks = iter([0.0, 0.1, 1.9, 2.0, 2.0])
    with pytest.raises(TimedOutError):
        http2.call(grpc_server.socket, wire.LIST, timeout=2.0, clock=lambda: next(ticks))


def test_stopped(grpc_server):
    grpc_server.stop()
    with pytest.raises(NoSocketError, match="no such socket"):
        http2.call(grpc_server.socket, wire.LIST)


def test_it_needs_no_package_and_no_thread(grpc_server):
    """Its whole point."""
    grpc_server.answers(wire.many_pods(250))
    script = f"""
import sys, threading
from pathlib import Path
from gpu_sentinel.host.podresources.source import KubeletSource
source = KubeletSource(Path({str(grpc_server.socket)!r}), timeout=60)
assert len(source.allocations(0)) == 250, source.error
assert threading.active_count() == 1
foreign = {{name.partition('.')[0] for name in sys.modules}} - sys.stdlib_module_names
foreign -= {{'gpu_sentinel', '__main__', 'sitecustomize'}}
print(sorted(name for name in foreign if not name.startswith(('_', 'distutils'))))
"""
    told = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert (told.stdout, told.stderr, told.returncode) == ("[]\n", "", 0)
