"""Addresses of servers that people give, and what went wrong with them, for messages."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit, urlunsplit


def is_url(text: str) -> bool:
    """Whether this is the address of an HTTP server."""
    try:
        parts = urlsplit(text)
        return parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        return False


def has_login(url: str) -> bool:
    """Whether the URL holds a user."""
    return "@" in urlsplit(url).netloc


def is_here(url: str) -> bool:
    """Whether a URL names this machine by its loopback."""
    host = urlsplit(url).hostname or ""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def proxies(url: str) -> dict[str, str] | None:
    """What `requests` is told about proxies: to this machine, there is none on the way.

    The environment names one for all addresses that its `no_proxy` leaves out. It would be shown
    the password, and cannot reach this machine's loopback.
    """
    return {"http": "", "https": ""} if is_here(url) else None


def host(url: str) -> str:
    """Scheme, host and port alone: what follows may be a secret, too."""
    parts = urlsplit(without_password(url))
    return f"{parts.scheme}://{parts.netloc}"


def without_password(url: str) -> str:
    """The URL without user and password."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def cause(error: BaseException) -> str:
    """The innermost reason of a failed request, as `Connection refused`."""
    text = str(error).rstrip(")'\"")
    for mark in ("] ", "failed: ", ", '", ": "):
        text = text.rpartition(mark)[2] or text
    return text.partition(" (")[0]
