"""How often an address may be wrong about who it is."""

from __future__ import annotations

import hashlib
import os
import socket
import time
from collections.abc import Callable

#: Wrong answers in a row before an address has to wait, and how long for each more.
BURST = 10
EACH_SECONDS = 2.0
#: Addresses that are remembered; the one that was wrong longest ago is forgotten first.
_REMEMBERED = 4096


def neighbourhood(host: str) -> str:
    """What counts as one address: of IPv6 a network, since a client has as many as it likes."""
    if ":" not in host:
        return host
    packed = socket.inet_pton(socket.AF_INET6, host.partition("%")[0])
    if packed.startswith(b"\0" * 10 + b"\xff\xff"):
        return socket.inet_ntop(socket.AF_INET, packed[12:])
    return packed[:8].hex()


def is_local(host: str) -> bool:
    """Whether this is an address of this machine's loopback."""
    return host == "::1" or host.removeprefix("::ffff:").startswith("127.")


class Throttle:
    """Counts the attempts of each address that were not right."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._full: dict[str, float] = {}  # when all attempts are there again

    def take(self, address: str) -> float:
        """Use an attempt; returns 0, or how many seconds there is to wait for one."""
        now = self._clock()
        full = max(self._full.pop(address, now), now)
        wait = full - now - (BURST - 1) * EACH_SECONDS
        self._full[address] = full + (EACH_SECONDS if wait <= 0 else 0.0)
        if len(self._full) > _REMEMBERED:
            self._full.pop(next(iter(self._full)))
        return max(wait, 0.0)

    def give_back(self, address: str) -> None:
        """The attempt was right."""
        if address in self._full:
            self._full[address] -= EACH_SECONDS


class Familiar:
    """Which address was right with which header, as digests under a key of this process."""

    def __init__(self) -> None:
        self._key = os.urandom(32)
        self._digests: dict[bytes, None] = {}

    def has(self, address: str, authorization: str) -> bool:
        """Whether this was right before."""
        return self._digest(address, authorization) in self._digests

    def add(self, address: str, authorization: str) -> None:
        """It is right."""
        self._digests[self._digest(address, authorization)] = None
        if len(self._digests) > _REMEMBERED:
            self._digests.pop(next(iter(self._digests)))

    def _digest(self, address: str, authorization: str) -> bytes:
        said = f"{address}\n{authorization}".encode()
        return hashlib.blake2b(said, key=self._key, digest_size=16).digest()
