"""Who may connect, and how: by default everyone, by plain HTTP.

TLS costs memory and time at the start; it is loaded where a web configuration file is given.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import ssl


#: By which a client can tell whose password is asked for.
REALM = 'realm="gpu-sentinel"'


class WebConfigError(ValueError):
    """One line: the file, which key, what is wrong, what would be right."""


class Role(Enum):
    """What somebody may do."""

    READER = "reader"  # see
    USER = "user"  # see; acknowledge, where that is offered
    ADMIN = "admin"  # everything
    API = "api"  # see, by a program that has a token


class Guard(Protocol):
    """Tells from an `Authorization` header who asks."""

    @property
    def challenge(self) -> str:
        """What `WWW-Authenticate` says to who has not said who he is."""

    def known(self, authorization: str) -> Role | None:
        """At once: the role of a token, or of a password that was right before."""

    def takes_time(self, authorization: str) -> bool:
        """Whether `check` may find what `known` does not."""

    def check(self, authorization: str) -> Role | None:
        """The role of somebody; takes up to seconds of computing, alike for all who are refused."""


class Access(Protocol):
    """What the server asks about a connection and a request."""

    @property
    def scheme(self) -> str:
        """`https` or `http`."""

    @property
    def headers(self) -> Mapping[str, str]:
        """What every answer carries besides."""

    @property
    def guard(self) -> Guard | None:
        """Who tells users apart; None where nobody has to say who he is."""

    def context(self) -> ssl.SSLContext | None:
        """The TLS context for a new connection; None for plain HTTP."""

    def accepts_client(self, certificate: Mapping[str, object] | None) -> bool:
        """Whether the verified certificate of a client carries a name that is allowed."""

    def reload(self) -> None:
        """Read the files again; where one is bad, everything stays as it was.

        Raises:
            WebConfigError: one cannot be read, or something in it is wrong.
        """


class Everyone:
    """Plain HTTP for everyone."""

    scheme = "http"
    headers: Mapping[str, str] = {}
    guard = None

    def context(self) -> None:
        """See `Access`."""

    def accepts_client(self, certificate: Mapping[str, object] | None) -> bool:  # noqa: ARG002 - see `Access`
        """See `Access`."""
        return True

    def reload(self) -> None:
        """See `Access`."""


def load_access(web_config: Path | None, roles: Path | None = None) -> Access:
    """What a web configuration file and a roles file ask for; without both plain HTTP for everyone.

    Raises:
        WebConfigError: one cannot be read, or something in it is wrong.
    """
    if web_config is None and roles is None:
        return Everyone()
    from gpu_sentinel.web.webconfig import WebConfig  # noqa: PLC0415 - loads TLS

    return WebConfig(web_config, roles)
