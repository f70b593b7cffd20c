"""The page of a running exporter, for the commands that show it: the options that name it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click

from gpu_sentinel.addresses import cause, is_url, without_password
from gpu_sentinel.cli.logins import Login, credentials_options, find
from gpu_sentinel.cli.servers import TIMEOUT, with_scheme
from gpu_sentinel.exposition.reader import Status, parse_status

DEFAULT_URL = "http://127.0.0.1:9836/metrics"
#: Bytes; 64 GPUs with all groups and hundreds of processes are 4 MiB.
_LONGEST_PAGE = 16 * 2**20

F = TypeVar("F", bound=Callable[..., Any])


def _checked_url(_ctx: click.Context, _option: click.Parameter, url: str) -> str:
    if not is_url(url):
        raise click.BadParameter(f"{url!r} is no URL: write as {DEFAULT_URL}")
    return url


def page_options(function: F) -> F:
    """Give a command the options that say whose page; `Page.named` takes them."""
    for option in (
        credentials_options,
        click.option(
            "--timeout",
            type=TIMEOUT,
            default=5.0,
            show_default=True,
            help="Seconds to wait for the answer.",
        ),
        click.option(
            "--ca-file",
            type=click.Path(exists=True, dir_okay=False),
            help="Certificates to trust for https.",
        ),
        click.option(
            "--url",
            default=DEFAULT_URL,
            show_default=True,
            callback=_checked_url,
            help="Metrics page of the exporter.",
        ),
    ):
        function = option(function)
    return function


@dataclass(frozen=True, slots=True)
class Page:
    """A page, and who we are before whoever serves it."""

    url: str
    ca_file: str | None
    timeout: float
    login: Login | None

    @classmethod
    def named(
        cls,
        url: str,
        ca_file: str | None,
        timeout: float,
        credentials_file: Path | None,
        data_dir: Path | None,
    ) -> Page:
        """As the options of `page_options` say.

        Raises:
            ConfigError: the credentials cannot be read.
        """
        login = find(credentials_file, data_dir)
        if login is not None:
            url = with_scheme(url, DEFAULT_URL, login)
        return cls(url, ca_file, timeout, login)

    def read(self) -> Status:
        """What it says now.

        Raises:
            ClickException: it cannot be read; one line, for a person.
        """
        return _ask(self.url, self.ca_file, self.timeout, self.login)


def _ask(url: str, ca_file: str | None, timeout: float, login: Login | None) -> Status:
    import requests  # noqa: PLC0415 - 19 MiB that the exporter itself does without

    from gpu_sentinel.alerting.fetch import TooLongError, fetch  # noqa: PLC0415 - as above

    shown = without_password(url)
    try:
        answer = fetch(
            "GET",
            url,
            timeout=timeout,
            longest=_LONGEST_PAGE,
            verify=ca_file or (login and login.ca_for(url)) or True,
            auth=login.for_url(url) if login else None,
            headers={"Accept": "text/plain"},
        )
    except requests.exceptions.SSLError as error:
        raise click.ClickException(
            f"{shown}: no trusted TLS ({cause(error)}): name the CA with --ca-file"
        ) from None
    except requests.Timeout:
        raise click.ClickException(f"{shown}: no answer within {timeout:g} s") from None
    except TooLongError:
        raise click.ClickException(
            f"{shown} is no page of gpu-sentinel: it is longer than {_LONGEST_PAGE >> 20} MiB"
        ) from None
    except requests.TooManyRedirects:
        raise click.ClickException(f"{shown}: it redirects without an end") from None
    except (requests.RequestException, ValueError, OSError) as error:
        raise click.ClickException(
            f"no exporter answers at {shown} ({cause(error)}): "
            "start one with `gpu-sentinel serve`, or name another with --url, with https if it "
            "was started with TLS"
        ) from None
    if not answer.ok:
        unauthorized = answer.status == requests.codes.unauthorized
        hint = (
            ": these are not its passwords: name its own with --data-dir or --credentials-file"
            if unauthorized
            else ""
        )
        raise click.ClickException(f"{shown} answers {answer.status}{hint}")
    try:
        return parse_status(answer.text, time.time())
    except ValueError as error:
        raise click.ClickException(f"{shown} is no page of gpu-sentinel: {error}") from None
