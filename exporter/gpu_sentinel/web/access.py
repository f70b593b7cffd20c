"""Who may connect, and how: by default everyone, by plain HTTP.

TLS costs memory and time at the start; it is loaded where a web configuration file is given.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import ssl


class WebConfigError(ValueError):
    """One line: the file, which key, what is wrong, what would be right."""


class Access(Protocol):
    """What the server asks about a connection and a request."""

    @property
    def scheme(self) -> str:
        """`https` or `http`."""

    @property
    def headers(self) -> Mapping[str, str]:
        """What every answer carries besides."""

    def context(self) -> ssl.SSLContext | None:
        """The TLS context for a new connection; None for plain HTTP."""

    def accepts_client(self, certificate: Mapping[str, object] | None) -> bool:
        """Whether the verified certificate of a client carries a name that is allowed."""

    def allows(self, authorization: str | None) -> bool:
        """Whether a request with this `Authorization` header may be answered."""

    def reload(self) -> None:
        """Read the file again; where it is bad, everything stays as it was.

        Raises:
            WebConfigError: it cannot be read, or something in it is wrong.
        """


class Everyone:
    """Plain HTTP for everyone."""

    scheme = "http"
    headers: Mapping[str, str] = {}

    def context(self) -> None:
        """See `Access`."""

    def accepts_client(self, certificate: Mapping[str, object] | None) -> bool:  # noqa: ARG002 - see `Access`
        """See `Access`."""
        return True

    def allows(self, authorization: str | None) -> bool:  # noqa: ARG002 - see `Access`
        """See `Access`."""
        return True

    def reload(self) -> None:
        """See `Access`."""


def load_access(path: Path | None) -> Access:
    """What a web configuration file asks for; None for plain HTTP.

    Raises:
        WebConfigError: it cannot be read, or something in it is wrong.
    """
    if path is None:
        return Everyone()
    from gpu_sentinel.web.webconfig import WebConfig  # noqa: PLC0415 - loads TLS

    return WebConfig(path)
