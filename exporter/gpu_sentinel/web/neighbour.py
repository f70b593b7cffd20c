"""Who answers at a port of this machine: an exporter of this kind, or another program."""

from __future__ import annotations

import contextlib
import http.client
import re
import ssl
import time
from http import HTTPStatus

from gpu_sentinel.web.access import REALM
from gpu_sentinel.web.server import split_address

#: For an answer, and for all of it.
_TIMEOUT_SECONDS, _PATIENCE_SECONDS = 2.0, 5.0
_CHUNK, _MOST_BYTES = 64 * 1024, 16 * 1024 * 1024
_BUILD = re.compile(rb'^gpu_sentinel_build_info\{[^}\n]*\bversion="([\w.+-]{1,50})"', re.MULTILINE)


class UnhealthyError(Exception):
    """Why an exporter is not at work."""


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


def healthy_at(address: str, *, encrypted: bool) -> None:
    """Ask an exporter whether it is at work. That it wants a password is an answer, too.

    Raises:
        UnhealthyError: it does not answer, or something else answers.
    """
    connection = _connection(address, encrypted=encrypted)
    try:
        connection.connect()
        # With TLS 1.3 a server may have refused us, and be gone, before we ask: what it said then
        # is there to be read all the same.
        with contextlib.suppress(ssl.SSLEOFError, BrokenPipeError, ConnectionResetError):
            connection.request("GET", "/-/healthy")
        answer = connection.getresponse()
        if answer.status != HTTPStatus.OK and not _asks_for_password(answer):
            raise UnhealthyError(f"answers {answer.status}")
    except ssl.SSLError as error:
        # An alert comes from a server that is at work, and wants a certificate of the client.
        if "ALERT" not in (error.reason or ""):
            raise UnhealthyError(f"no TLS: {error.reason}") from None
    except (OSError, http.client.HTTPException) as error:
        said = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise UnhealthyError(said) from None
    finally:
        connection.close()


def _connection(address: str, *, encrypted: bool) -> http.client.HTTPConnection:
    host, port = split_address(address)
    host = host or "127.0.0.1"
    if encrypted:
        # No secret is shown, and this machine's own ports are asked alone.
        context = ssl._create_unverified_context()  # noqa: S323, SLF001
        return http.client.HTTPSConnection(host, port, timeout=_TIMEOUT_SECONDS, context=context)
    return http.client.HTTPConnection(host, port, timeout=_TIMEOUT_SECONDS)


def _asks_for_password(answer: http.client.HTTPResponse) -> bool:
    return REALM in (answer.getheader("WWW-Authenticate") or "")


def _ask(address: str, path: str, *, encrypted: bool) -> str | None:
    connection = _connection(address, encrypted=encrypted)
    try:
        connection.request("GET", path, headers={"Accept": "text/plain"})
        answer = connection.getresponse()
        if _asks_for_password(answer):
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
