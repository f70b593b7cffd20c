"""Who answers at a port that is taken: an exporter of this kind, or another program."""

from __future__ import annotations

import http.client
import re
import ssl
import time

from gpu_sentinel.web.access import REALM
from gpu_sentinel.web.server import split_address

#: For an answer, and for all of it.
_TIMEOUT_SECONDS, _PATIENCE_SECONDS = 2.0, 5.0
_CHUNK, _MOST_BYTES = 64 * 1024, 16 * 1024 * 1024
_BUILD = re.compile(rb'^gpu_sentinel_build_info\{[^}\n]*\bversion="([\w.+-]{1,50})"', re.MULTILINE)


def exporter_at(address: str, path: str) -> str | None:
    """What is to be said of the exporter that answers there; None where none does.

    Args:
        address: as this exporter would listen at.
        path: where its metrics would be.
    """
    for encrypted in (False, True):
        try:
            found = _ask(address, path, encrypted=encrypted)
        except (OSError, http.client.HTTPException, ValueError):
            continue
        if found is not None:
            return found
    return None


def _ask(address: str, path: str, *, encrypted: bool) -> str | None:
    host, port = split_address(address)
    host = host or "127.0.0.1"
    if encrypted:
        # Only the name of a program is asked for, on this machine.
        context = ssl._create_unverified_context()  # noqa: S323, SLF001
        connection: http.client.HTTPConnection = http.client.HTTPSConnection(
            host, port, timeout=_TIMEOUT_SECONDS, context=context
        )
    else:
        connection = http.client.HTTPConnection(host, port, timeout=_TIMEOUT_SECONDS)
    try:
        connection.request("GET", path, headers={"Accept": "text/plain"})
        answer = connection.getresponse()
        if REALM in (answer.getheader("WWW-Authenticate") or ""):
            return "gpu-sentinel, which asks for a password"
        body, deadline = bytearray(), time.monotonic() + _PATIENCE_SECONDS
        while len(body) < _MOST_BYTES and time.monotonic() < deadline:
            chunk = answer.read(_CHUNK)
            if not chunk:
                break
            body += chunk
        match = _BUILD.search(body)
        return f"gpu-sentinel {match[1].decode()}" if match else None
    finally:
        connection.close()
