"""Alertmanager and Prometheus as options of the commands that ask them."""

from __future__ import annotations

import getpass
import math
import os
import reprlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import click

from gpu_sentinel import durations
from gpu_sentinel.addresses import is_url
from gpu_sentinel.cli.logins import Login, credentials_options, find

if TYPE_CHECKING:
    from gpu_sentinel.alerting import Alertmanager, Prometheus

ALERTMANAGER, PROMETHEUS = "http://127.0.0.1:9093", "http://127.0.0.1:9090"

F = TypeVar("F", bound=Callable[..., Any])


class _Seconds(click.FloatRange):
    """A range that has no room for `nan`, which compares as if it were inside of every range."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        seconds = float(super().convert(value, param, ctx))
        if math.isnan(seconds):
            self.fail(f"{value} is no number of seconds.", param, ctx)
        return seconds


#: Ten years: what is longer is a mistake, and has no date in the end.
_LONGEST = 3650 * 86400.0
#: What is silenced for longer is mostly forgotten.
_LONG = 30 * 86400.0

#: How long to wait for an answer.
TIMEOUT = _Seconds(0.1, 600)


@dataclass(frozen=True, slots=True)
class Servers:
    """Where they are, and which certificates to trust."""

    alertmanager_url: str
    prometheus_url: str
    ca_file: str | None
    timeout: float
    login: Login | None = None

    def alertmanager(self) -> Alertmanager:
        """A client of Alertmanager."""
        from gpu_sentinel.alerting import Alertmanager  # noqa: PLC0415 - other commands start faster

        return Alertmanager(*self._how(self.alertmanager_url, ALERTMANAGER))

    def prometheus(self) -> Prometheus:
        """A client of Prometheus."""
        from gpu_sentinel.alerting import Prometheus  # noqa: PLC0415 - as above

        return Prometheus(*self._how(self.prometheus_url, PROMETHEUS))

    def _how(self, url: str, default: str) -> tuple[str, float, str | None, Any]:
        login = self.login
        if login is None:
            return url, self.timeout, self.ca_file, None
        url = with_scheme(url, default, login)
        return url, self.timeout, self.ca_file or login.ca_for(url), login.for_url(url)


def with_scheme(url: str, default: str, login: Login) -> str:
    """Nobody named an address: a stack with a CA serves HTTPS."""
    return url.replace("http:", "https:", 1) if login.ca_file and url == default else url


def server_options(function: F) -> F:
    """Give a group the options that say where the servers are."""
    for option in (
        click.option(
            "--timeout",
            type=TIMEOUT,
            default=10.0,
            show_default=True,
            help="Seconds to wait for an answer.",
        ),
        click.option(
            "--ca-file",
            type=click.Path(exists=True, dir_okay=False),
            help="Certificates to trust for https.",
        ),
        credentials_options,
        _url_option("--prometheus", PROMETHEUS, "Prometheus."),
        _url_option("--url", ALERTMANAGER, "Alertmanager."),
    ):
        function = option(function)
    return function


def servers_of(options: dict[str, Any]) -> Servers:
    """What the options say of the servers."""
    return Servers(
        options["url"],
        options["prometheus"],
        options["ca_file"],
        options["timeout"],
        find(options["credentials_file"], options["data_dir"]),
    )


def _url_option(name: str, default: str, help_: str) -> Callable[[F], F]:
    def check(_ctx: click.Context, _option: click.Parameter, url: str) -> str:
        if not is_url(url):
            raise click.BadParameter(f"{url!r} is no URL: write as {default}")
        return url

    return click.option(name, default=default, show_default=True, callback=check, help=help_)


def author(given: str | None) -> str:
    """Who does it: as given, or else the user who runs this, who need not have a name."""
    if given:
        return given
    try:
        return getpass.getuser()
    except (ImportError, KeyError, OSError):
        return f"user {os.getuid()}"


@contextmanager
def one_line() -> Iterator[None]:
    """What a server does not do ends the command in one line."""
    from gpu_sentinel.alerting import ApiError, SelectionError  # noqa: PLC0415 - as above

    try:
        yield
    except (ApiError, SelectionError) as error:
        raise click.ClickException(str(error)) from None


def duration(_ctx: click.Context, _option: click.Parameter, text: str | None) -> float | None:
    """An option's duration in seconds; it must be longer than nothing."""
    if text is None:
        return None
    try:
        seconds = durations.seconds(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None
    if not seconds:
        raise click.BadParameter(f"{text}: a time longer than nothing is needed")
    if seconds > _LONGEST:
        raise click.BadParameter(
            f"{reprlib.repr(text)} is too long: at most {durations.pretty(_LONGEST)}"
        )
    return seconds


yes_option = click.option("--yes", is_flag=True, help="Do not ask before more than 30 days.")


def long_enough_to_ask(seconds: float, *, yes: bool) -> None:
    """Ask once more before something is silenced for so long that it will be forgotten."""
    if seconds <= _LONG or yes:
        return
    how_long = f"{durations.pretty(seconds)} is longer than {durations.pretty(_LONG)}"
    if not sys.stdin.isatty():
        raise click.UsageError(f"{how_long}: confirm with --yes")
    click.confirm(f"{how_long}. Really for so long?", abort=True, err=True)
