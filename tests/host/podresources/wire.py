"""Messages of the pod-resources API and frames of HTTP/2, made by hand for the tests."""

from __future__ import annotations

import struct
from collections.abc import Iterable

LIST = "/v1.PodResourcesLister/List"


def varint(number: int) -> bytes:
    out = b""
    while number > 127:
        out += bytes((number & 127 | 128,))
        number >>= 7
    return out + bytes((number,))


def field(number: int, value: bytes | str | int) -> bytes:
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    raw = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(raw)) + raw


def devices(resource: str, *ids: str) -> bytes:
    """A field of a container, as the kubelet writes it: an entry for each id, with NUMA node."""
    topology = field(3, field(1, field(1, 0)))
    return b"".join(field(2, field(1, resource) + field(2, id_) + topology) for id_ in ids)


def claim(device: str, name: str = "claim", driver: str = "gpu.nvidia.com") -> bytes:
    cdi = field(1, field(1, f"k8s.{driver}/claim=0-{device}"))
    resource = field(4, cdi + field(2, driver) + field(3, "node-1") + field(4, device))
    return field(5, field(2, name) + field(3, "team") + resource)


def container(name: str, *held: bytes) -> bytes:
    cpus = field(3, b"\x00\x01\x80\x01")
    memory = field(4, field(1, "memory") + field(2, 2**33))
    return field(3, field(1, name) + b"".join(held) + cpus + memory)


def pod(namespace: str, name: str, *containers: bytes) -> bytes:
    return field(1, field(1, name) + field(2, namespace) + b"".join(containers))


def many_pods(count: int) -> bytes:
    return b"".join(
        pod(
            f"team-{n % 5}",
            f"train-{n}",
            container(
                "main", devices("nvidia.com/gpu", f"GPU-{n:08x}-1111-2222-3333-444455556666")
            ),
            container("side"),
        )
        for n in range(count)
    )


# --- HTTP/2 -----------------------------------------------------------------------------------

DATA, HEADERS, RST, SETTINGS, PUSH, PING, GOAWAY, WINDOW, CONTINUATION = 0, 1, 3, 4, 5, 6, 7, 8, 9
END_STREAM, END_HEADERS, PADDED, PRIORITY = 1, 4, 8, 32


def frame(kind: int, flags: int = 0, stream: int = 1, content: bytes = b"") -> bytes:
    return len(content).to_bytes(3, "big") + struct.pack(">BBI", kind, flags, stream) + content


def fields(*pairs: tuple[str, str]) -> bytes:
    """A block of headers, nothing packed."""
    return b"".join(
        b"\0" + bytes((len(name),)) + name.encode() + bytes((len(value),)) + value.encode()
        for name, value in pairs
    )


HELLO = frame(SETTINGS, stream=0)
RESPONSE = b"\x88" + fields(("content-type", "application/grpc"))
BEGIN = HELLO + frame(HEADERS, END_HEADERS, content=RESPONSE)
TRAILERS = fields(("grpc-status", "0"))
END = frame(HEADERS, END_HEADERS | END_STREAM, content=TRAILERS)


def prefixed(message: bytes, mark: int = 0) -> bytes:
    return struct.pack(">BI", mark, len(message)) + message


def chunks(body: bytes, size: int = 2**14) -> Iterable[bytes]:
    return (body[at : at + size] for at in range(0, len(body), size))


def data(message: bytes, size: int = 2**14) -> bytes:
    return b"".join(frame(DATA, content=piece) for piece in chunks(prefixed(message), size))


def answer(message: bytes) -> bytes:
    return BEGIN + data(message) + END


def refusal(code: int, message: str) -> bytes:
    """An error as trailers only, as a server sends it that has nothing else to say."""
    block = RESPONSE + fields(("grpc-status", str(code)), ("grpc-message", message))
    return HELLO + frame(HEADERS, END_HEADERS | END_STREAM, content=block)
