"""Connections to an exporter that mean no good, for a while: `soakhostile.py KIND PORT [...]`.

A process of its own, so that what it costs is not taken from the client that is measured. It ends
by itself after `--seconds`, and talks to loopback only, from an address of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import random
from base64 import b64encode
from collections.abc import Awaitable, Callable

GET = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n"

Reader = asyncio.StreamReader
Writer = asyncio.StreamWriter


async def silent(reader: Reader, _writer: Writer) -> None:
    """Says nothing."""
    await reader.read()


async def dripping(_reader: Reader, writer: Writer) -> None:
    """A head that never ends, a byte a second."""
    writer.write(GET + b"X: ")
    while True:
        writer.write(b"a")
        await writer.drain()
        await asyncio.sleep(1)


async def half_body(reader: Reader, writer: Writer) -> None:
    """Tells of a body, and sends half of it."""
    writer.write(b"POST /-/reload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n")
    writer.write(bytes(50))
    await reader.read()


async def not_reading(_reader: Reader, writer: Writer) -> None:
    """Asks for pages, and takes none of them."""
    writer.transport.pause_reading()  # type: ignore[attr-defined]
    writer.write((GET + b"\r\n") * 50)
    await asyncio.sleep(3600)


async def pipelining(reader: Reader, writer: Writer) -> None:
    """Many requests at once, again and again, with the answers read."""
    while True:
        writer.write((GET + b"\r\n") * 20)
        await writer.drain()
        if not await reader.read(1 << 20):
            return
        await asyncio.sleep(0.2)


async def large_heads(reader: Reader, writer: Writer) -> None:
    """A head that is as large as it gets, of blanks."""
    writer.write(GET + b"X: a" + b" " * 60_000 + b"b\r\n\r\n")
    await writer.drain()
    await reader.read()


async def guessing(reader: Reader, writer: Writer) -> None:
    """A password a request."""
    while True:
        guess = b64encode(f"admin:{random.getrandbits(64)}".encode())
        writer.write(GET + b"Authorization: Basic " + guess + b"\r\n\r\n")
        await writer.drain()
        if not await reader.read(1 << 16):
            return
        await asyncio.sleep(0.1)


async def half_tls(reader: Reader, writer: Writer) -> None:
    """The beginning of a TLS handshake: a record of 512 bytes, of which 64 come."""
    writer.write(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64))
    await reader.read()


KINDS: dict[str, Callable[[Reader, Writer], Awaitable[None]]] = {
    "silent": silent,
    "dripping": dripping,
    "half-body": half_body,
    "not-reading": not_reading,
    "pipelining": pipelining,
    "large-heads": large_heads,
    "guessing": guessing,
    "half-tls": half_tls,
}


async def keep(kind: str, port: int, source: str) -> None:
    """One connection of a kind; another one when it is closed."""
    while True:
        try:
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", port, local_addr=(source, 0)
            )
        except OSError:
            await asyncio.sleep(0.5)
            continue
        try:
            await KINDS[kind](reader, writer)
        except OSError:
            pass
        finally:
            writer.transport.abort()
        await asyncio.sleep(0.1)


async def attack(kind: str, port: int, count: int, seconds: float, source: str) -> None:
    tasks = [asyncio.create_task(keep(kind, port, source)) for _ in range(count)]
    await asyncio.wait(tasks, timeout=seconds)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("port", type=int)
    parser.add_argument("--connections", type=int, default=200, help="at a time (%(default)s)")
    parser.add_argument("--seconds", type=float, default=20.0, help="(%(default)s)")
    parser.add_argument("--source", default="127.0.0.2", help="address (%(default)s)")
    chosen = parser.parse_args()
    asyncio.run(attack(chosen.kind, chosen.port, chosen.connections, chosen.seconds, chosen.source))


if __name__ == "__main__":
    main()
