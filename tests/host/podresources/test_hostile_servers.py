"""Servers that are no kubelet, are broken, or mean harm."""

from __future__ import annotations

import contextlib
import os
import random
import socket
import time

import hypothesis
import pytest
import wire
from hypothesis import strategies as st

from gpu_sentinel.host.podresources import http2, messages
from gpu_sentinel.host.podresources.errors import (
    BrokenOffError,
    GarbageError,
    NoSocketError,
    NotPermittedError,
    PodResourcesError,
    RefusedError,
    StatusError,
    TimedOutError,
    TooLargeError,
)
from gpu_sentinel.host.podresources.frames import Connection

MESSAGE = wire.many_pods(3)
ANYTHING = random.Random(1).randbytes(4 * 2**20)


def call(path, timeout: float = 60, **more: object) -> bytes:
    return http2.call(path, wire.LIST, timeout=timeout, **more)


def block(*parts: bytes, last: bool = False) -> bytes:
    """Headers that are cut into frames."""
    kinds = [wire.HEADERS] + [wire.CONTINUATION] * (len(parts) - 1)
    flags = [wire.END_STREAM if last else 0] + [0] * (len(parts) - 1)
    flags[-1] |= wire.END_HEADERS
    return b"".join(
        wire.frame(kind, flag, content=part)
        for kind, flag, part in zip(kinds, flags, parts, strict=True)
    )


GOOD = {
    "plain": wire.answer(MESSAGE),
    "a byte a frame": wire.BEGIN + wire.data(MESSAGE, 1) + wire.END,
    "empty frames": wire.BEGIN + wire.frame(wire.DATA) + wire.data(MESSAGE) + wire.END,
    "padded": wire.HELLO
    + wire.frame(
        wire.HEADERS,
        wire.END_HEADERS | wire.PADDED | wire.PRIORITY,
        content=b"\x03" + bytes(5) + wire.RESPONSE + bytes(3),
    )
    + wire.frame(wire.DATA, wire.PADDED, content=b"\x04" + wire.prefixed(MESSAGE) + bytes(4))
    + wire.frame(wire.DATA, wire.PADDED, content=b"\x02" + bytes(2))
    + wire.END,
    "continued": wire.HELLO
    + block(wire.RESPONSE[:3], b"", wire.RESPONSE[3:])
    + wire.data(MESSAGE)
    + block(wire.TRAILERS[:9], wire.TRAILERS[9:], last=True),
    "settings, windows and pings": wire.BEGIN
    + wire.frame(wire.SETTINGS, stream=0, content=bytes.fromhex("000300000064"))
    + wire.frame(wire.SETTINGS, 1, stream=0)
    + wire.frame(wire.WINDOW, stream=0, content=b"\0\0\1\0")
    + wire.frame(wire.WINDOW, content=b"\0\0\1\0")
    + wire.frame(wire.PING, stream=0, content=b"12345678")
    + wire.frame(wire.PING, 1, stream=0, content=b"12345678")
    + wire.frame(2, content=bytes(5))
    + wire.frame(200, 255, stream=9, content=b"unknown")
    + wire.data(MESSAGE)
    + wire.END,
    "shutting down": wire.BEGIN
    + wire.frame(wire.GOAWAY, stream=0, content=b"\x7f\xff\xff\xff" + bytes(4) + b"graceful_stop")
    + wire.data(MESSAGE)
    + wire.END,
    "packed status": wire.BEGIN
    + wire.data(MESSAGE)
    + wire.frame(
        wire.HEADERS,
        wire.END_HEADERS | wire.END_STREAM,
        content=bytes.fromhex("40889acac8b21234da8f0130"),
    ),
    "more after the end": wire.answer(MESSAGE) + b"whatever",
}


@pytest.mark.parametrize("said", GOOD.values(), ids=GOOD)
def test_good(scripted, said: bytes):
    assert call(scripted(said)) == MESSAGE


@pytest.mark.parametrize("said", GOOD.values(), ids=GOOD)
def test_good_a_byte_at_a_time(scripted, said: bytes):
    def drip(connection: socket.socket) -> None:
        for byte in said:
            connection.sendall(bytes((byte,)))

    assert call(scripted(drip)) == MESSAGE


def test_settings_and_pings_are_answered(scripted):
    def talk(connection: socket.socket) -> None:
        connection.sendall(wire.HELLO + wire.frame(wire.PING, stream=0, content=b"12345678"))
        heard = b""
        wanted = wire.frame(wire.SETTINGS, 1, 0) + wire.frame(wire.PING, 1, 0, b"12345678")
        while len(heard) < len(wanted):
            heard += connection.recv(100)
        if heard == wanted:
            connection.sendall(wire.answer(MESSAGE))

    assert call(scripted(talk)) == MESSAGE


BAD: dict[str, tuple[bytes, type[PodResourcesError], str]] = {
    "nothing": (b"", BrokenOffError, "closed the connection before its answer was complete"),
    "another protocol": (
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        GarbageError,
        "expected HTTP/2, got b'HTTP/1.1 400 Bad Request",
    ),
    "a greeting": (b"+OK\n", GarbageError, r"expected HTTP/2, got b'\+OK\\n'"),
    "zeros": (bytes(1000), GarbageError, "expected HTTP/2"),
    "4 MiB of anything": (ANYTHING, GarbageError, "expected HTTP/2, got b"),
    "4 MiB of anything in HTTP/2": (
        wire.BEGIN + b"".join(wire.frame(wire.DATA, content=p) for p in wire.chunks(ANYTHING)),
        TooLargeError,
        "bytes or more; at most 8388608 are taken",
    ),
    "4 MiB of anything in a message": (
        wire.answer(b"\xff" * (4 * 2**20)),
        GarbageError,
        "expected a number of 64 bits",
    ),
    "no answer to settings": (wire.frame(wire.SETTINGS, 1, 0), GarbageError, "expected HTTP/2"),
    "cut off within a frame": (wire.answer(MESSAGE)[:-3], BrokenOffError, "closed"),
    "cut off within the message": (wire.answer(MESSAGE)[:90], BrokenOffError, "closed"),
    "no message": (wire.BEGIN + wire.END, GarbageError, "expected a message, got none"),
    "half a prefix": (
        wire.BEGIN + wire.frame(wire.DATA, content=b"\0\0") + wire.END,
        GarbageError,
        r"expected a message, got b'\\x00\\x00'",
    ),
    "half a message": (
        wire.BEGIN + wire.frame(wire.DATA, content=b"\0\0\0\0\x09abc") + wire.END,
        GarbageError,
        "expected one message of 9 bytes, got 3 bytes",
    ),
    "two messages": (
        wire.BEGIN + wire.data(b"abc") + wire.data(b"d") + wire.END,
        GarbageError,
        "expected one message of 3 bytes, got 9 bytes",
    ),
    "compressed": (
        wire.BEGIN + wire.frame(wire.DATA, content=wire.prefixed(b"abc", 1)) + wire.END,
        GarbageError,
        "a message that is not compressed",
    ),
    "data before headers": (wire.HELLO + wire.data(MESSAGE), GarbageError, "expected headers"),
    "no trailers": (
        wire.BEGIN + wire.frame(wire.DATA, wire.END_STREAM, content=wire.prefixed(MESSAGE)),
        GarbageError,
        "the status of the call behind the answer",
    ),
    "no status": (
        wire.BEGIN + wire.data(MESSAGE) + block(wire.fields(("grpc-message", "x")), last=True),
        GarbageError,
        "expected a status of gRPC, got none",
    ),
    "a status that is none": (
        wire.BEGIN + wire.data(MESSAGE) + block(wire.fields(("grpc-status", "²")), last=True),
        GarbageError,
        "expected a status of gRPC, got ",
    ),
    "headers twice": (
        wire.BEGIN + block(wire.TRAILERS) + wire.END,
        GarbageError,
        "expected trailers, got headers again",
    ),
    "a web page": (
        wire.HELLO + block(b"\x8d" + wire.fields(("content-type", "text/html"))),
        GarbageError,
        "expected HTTP's status 200, got 404",
    ),
    "another type": (
        wire.HELLO + block(b"\x88" + wire.fields(("content-type", "text/html"))),
        GarbageError,
        "expected the content type application/grpc, got text/html",
    ),
    "another stream": (
        wire.HELLO + wire.frame(wire.HEADERS, wire.END_HEADERS, 3, wire.RESPONSE),
        GarbageError,
        "one on stream 3",
    ),
    "a promise": (
        wire.BEGIN + wire.frame(wire.PUSH, wire.END_HEADERS, content=bytes(4)),
        GarbageError,
        "a promise of another one",
    ),
    "a large frame": (
        wire.BEGIN + wire.frame(wire.DATA, content=bytes(2**14 + 1)),
        GarbageError,
        "expected frames of at most 16384 bytes, got one of 16385",
    ),
    "padding only": (
        wire.BEGIN + wire.frame(wire.DATA, wire.PADDED, content=b"\x04abc"),
        GarbageError,
        "padding within its frame",
    ),
    "padding that is not there": (
        wire.BEGIN + wire.frame(wire.DATA, wire.PADDED),
        GarbageError,
        "padding within its frame",
    ),
    "something between headers": (
        wire.HELLO + wire.frame(wire.HEADERS, content=wire.RESPONSE) + wire.data(MESSAGE),
        GarbageError,
        "expected the rest of the headers, got a frame of type 0",
    ),
    "a continuation of nothing": (
        wire.HELLO + wire.frame(wire.CONTINUATION, wire.END_HEADERS),
        GarbageError,
        "the rest of some that did not begin",
    ),
    "headers without end": (
        wire.HELLO
        + wire.frame(wire.HEADERS, content=wire.RESPONSE)
        + 3 * wire.frame(wire.CONTINUATION, content=bytes(2**13)),
        TooLargeError,
        "headers have more than 16384 bytes",
    ),
    "reset": (
        wire.BEGIN + wire.frame(wire.RST, content=b"\0\0\0\x07"),
        BrokenOffError,
        "reset the call: error 7",
    ),
    "half a reset": (wire.BEGIN + wire.frame(wire.RST), GarbageError, "a whole frame"),
    "goes away": (
        wire.HELLO + wire.frame(wire.GOAWAY, 0, 0, bytes(4) + b"\0\0\0\x0bENHANCE\nYOUR CALM"),
        BrokenOffError,
        r"went away: error 11 ENHANCE\\nYOUR CALM",
    ),
    "goes away before the request": (
        wire.HELLO + wire.frame(wire.GOAWAY, 0, 0, bytes(8)),
        BrokenOffError,
        "went away: error 0$",
    ),
    "too large, says the prefix": (
        wire.BEGIN + wire.frame(wire.DATA, content=b"\0\xff\xff\xff\xff"),
        TooLargeError,
        "the answer has 4294967295 bytes or more",
    ),
    "frames without end": (
        wire.BEGIN + 20_000 * wire.frame(wire.DATA),
        TooLargeError,
        "more than 20000 frames",
    ),
    "refused": (wire.refusal(8, "rejected by rate limit"), RefusedError, "rejected by rate limit$"),
    "its deadline first": (wire.refusal(4, "x"), TimedOutError, "did not answer in time$"),
    "a code of the future": (wire.refusal(99, ""), StatusError, "the kubelet answered status 99$"),
    "a message in percents": (
        wire.refusal(2, "%C3%A9%0A%FF%2"),
        StatusError,
        "answered UNKNOWN: é\\\\n\ufffd%2",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad(scripted, case: str):
    said, kind, line = BAD[case]
    path = scripted(said)
    with pytest.raises(kind, match=line) as caught:
        messages.allocations(call(path))
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


def test_an_answer_that_never_ends(scripted):
    """Small pieces keep every read short; only the whole is too long."""

    def drip(connection: socket.socket) -> None:
        connection.sendall(wire.BEGIN)
        while True:
            connection.sendall(wire.frame(wire.PING, 1, 0, bytes(8)))
            time.sleep(0.02)

    path = scripted(drip)
    start = time.monotonic()
    with pytest.raises(TimedOutError):
        call(path, timeout=0.5)
    assert time.monotonic() - start >= 0.5


def test_a_server_that_does_not_read(scripted):
    """Each ping has to be answered, and answers fill the socket."""

    def talk(connection: socket.socket) -> None:
        connection.sendall(wire.HELLO)
        while True:
            connection.sendall(500 * wire.frame(wire.PING, stream=0, content=bytes(8)))

    with pytest.raises((TimedOutError, TooLargeError)):
        call(scripted(talk), timeout=2)


def test_more_than_the_window(scripted):
    """What is sent beyond the window is counted all the same."""
    endless = wire.BEGIN + 4 * wire.frame(wire.DATA, content=b"\0\0\0\x10\0" + bytes(2**14 - 5))
    with pytest.raises(TooLargeError, match="at most 4096 are taken"):
        call(scripted(endless + wire.END), longest=4096)


# --- Sockets ----------------------------------------------------------------------------------


def test_no_socket(folder):
    with pytest.raises(NoSocketError, match=r"no such socket: no kubelet runs here"):
        call(folder / "none" / "kubelet.sock")


def test_a_socket_of_nobody(folder):
    with socket.socket(socket.AF_UNIX) as gone:
        gone.bind(str(folder / "kubelet.sock"))
    with pytest.raises(NoSocketError, match="nobody listens: the kubelet is not running"):
        call(folder / "kubelet.sock")


def test_a_file(folder):
    (folder / "kubelet.sock").write_text("no socket")
    with pytest.raises(NoSocketError):
        call(folder / "kubelet.sock")


@pytest.mark.parametrize("name", ["x" * 200, "nul\0", "\ud800"], ids=["long", "nul", "surrogate"])
def test_a_path_that_none_can_have(folder, name: str):
    with pytest.raises(NoSocketError):
        call(folder / name)


def test_a_queue_that_is_full(folder):
    path = folder / "kubelet.sock"
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as first:
        listener.bind(str(path))
        listener.listen(0)
        first.connect(str(path))
        with pytest.raises(TimedOutError, match="accepts no connection"):
            call(path, timeout=0.5)


def test_not_permitted(folder, scripted):
    path = scripted(wire.answer(MESSAGE))
    # As a user that the directory is not for; root may do anything.
    root = os.geteuid() == 0
    folder.chmod(0o700 if root else 0)
    if root:
        os.seteuid(65534)
    try:
        with pytest.raises(NotPermittedError, match="it needs uid 0, and in a container the"):
            call(path)
    finally:
        if root:
            os.seteuid(0)
        folder.chmod(0o700)


# --- Anything ---------------------------------------------------------------------------------


@hypothesis.given(data=st.data())
def test_mutated_answers_fail_in_one_way(data: st.DataObject):
    """Whatever a server says, there is a message or one kind of error, and no wait."""
    said = bytearray(data.draw(st.sampled_from(sorted(GOOD.values()))))
    for _ in range(data.draw(st.integers(1, 8))):
        at = data.draw(st.integers(0, len(said) - 1))
        if data.draw(st.booleans()):
            said[at] = data.draw(st.integers(0, 255))
        else:
            del said[at : at + data.draw(st.integers(1, 9))]
        hypothesis.assume(said)
    here, there = socket.socketpair()
    with here, there:
        there.sendall(said)
        there.shutdown(socket.SHUT_WR)
        connection = Connection(here, time.monotonic() + 60, time.monotonic)
        with contextlib.suppress(PodResourcesError):
            assert isinstance(http2.converse(connection, wire.LIST, b"", timeout=60), bytes)
