"""Who a command is before the servers that it asks: found by itself, never in an argument."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click

from gpu_sentinel.addresses import has_login, is_here
from gpu_sentinel.cli.datadir import DEFAULT_DATA, credentials_file_of, data_dir_option
from gpu_sentinel.config import ConfigError
from gpu_sentinel.stack import INSTALLED

#: Where to look where no file is named. Only root reads the first; root may have tried `up` before.
_SEARCHED = (
    INSTALLED / "secrets" / "credentials.yml",
    DEFAULT_DATA / "secrets" / "credentials.yml",
    Path("/etc/gpu-sentinel/credentials.yml"),
)

F = TypeVar("F", bound=Callable[..., Any])


def credentials_options(function: F) -> F:
    """Give a command the options that say who it is; `find` takes them."""
    for option in (
        click.option(
            "--credentials-file",
            type=Path,
            help="Who you are before the parts of another machine. Default: the first that is "
            f"there of {', '.join(map(str, _SEARCHED))}.",
        ),
        data_dir_option(
            "Log in as the data directory of `gpu-sentinel up` says, or a folder of "
            "`gpu-sentinel credentials init`."
        ),
    ):
        function = option(function)
    return function


@dataclass(frozen=True, slots=True)
class Login:
    """User and password, and the CA that certificates are checked with.

    Attributes:
        named: whether somebody named the file. One that was found is shown to this machine alone:
            whoever asks a server elsewhere does not want to tell it the password of this one.
    """

    user: str
    password: str
    ca_file: str | None
    named: bool

    def for_url(self, url: str) -> tuple[str, str] | None:
        """User and password for a server; None for one that is not to see them."""
        return (self.user, self.password) if self._fits(url) else None

    def ca_for(self, url: str) -> str | None:
        """The CA for a server."""
        return self.ca_file if self._fits(url) else None

    def _fits(self, url: str) -> bool:
        return not has_login(url) and (self.named or is_here(url))


def find(file: Path | None, data: Path | None = None) -> Login | None:
    """Who a command is.

    Args:
        file: of the credentials.
        data: a data directory that holds one.

    Returns:
        What the file says that was named, or the first that is there and may be read; None without
        any.

    Raises:
        ConfigError: something in it is wrong, or the one that was named cannot be read.
    """
    if file is not None and data is not None:
        raise ConfigError("--data-dir and --credentials-file exclude each other")
    if data is not None:
        file = credentials_file_of(data)
    if file is not None:
        return _read(file.expanduser(), named=True)
    for path in _SEARCHED:
        try:
            path.expanduser().open("rb").close()
        except OSError:
            continue
        return _read(path.expanduser(), named=False)
    return None


def _read(path: Path, *, named: bool) -> Login:
    from gpu_sentinel.stack import credentialsfile  # noqa: PLC0415 - others start faster

    found = credentialsfile.read(path)
    ca = str(found.ca_file) if found.ca_file else None
    return Login(found.user, found.password(), ca, named)
