"""`gpu-sentinel credentials`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gpu_sentinel.addresses import is_url
from gpu_sentinel.cli.datadir import credentials_folder_option
from gpu_sentinel.cli.output import say
from gpu_sentinel.cli.servers import TIMEOUT

if TYPE_CHECKING:
    from gpu_sentinel.stack.credentials import Credentials

GRAFANA = "http://127.0.0.1:3000"
# Not of click.Path, which fails at a NUL: see `_one_line`.
_FOLDER = Path


@click.group()
def credentials() -> None:
    """Make, show and change the passwords of the stack's parts."""


@credentials.command()
@click.argument("folder", type=_FOLDER, metavar="DIR")
@click.option("--tls", is_flag=True, help="With a CA and a certificate for all parts.")
@click.option(
    "--containers",
    is_flag=True,
    help="With what docker-compose.yml needs. As root: in files of the users of its containers.",
)
def init(folder: Path, *, tls: bool, containers: bool) -> None:
    """Make what is missing in DIR: passwords, web configurations, roles; renew the certificate."""
    from gpu_sentinel.stack.credentials import (  # noqa: PLC0415 - others start faster
        Credentials,
        existing,
        told,
    )

    with _one_line():
        folder = folder.expanduser().resolve()
        before = existing(folder)
        found = Credentials(folder, tls or before.tls, containers or before.containers)
        made = found.prepare()
        for line in told(found, made, private=sys.stdout.isatty()):
            say(line)
    if found.containers:
        say("Into the file .env beside docker-compose.yml belongs:")
        say(f"SENTINEL_SECRETS={found.folder}")
        say(f"SENTINEL_SCHEME={found.scheme}")


@credentials.command()
@credentials_folder_option
@click.argument("user")
def show(folder: Path, user: str) -> None:
    """Print the password of USER."""
    with _one_line():
        found = _existing(folder, (user,))
        say(found.login(user)[1])


@credentials.command()
@credentials_folder_option
@click.argument("users", nargs=-1, required=True)
def rotate(folder: Path, users: tuple[str, ...]) -> None:
    """Give USERS new passwords.

    Services of `gpu-sentinel install` are restarted. The parts of `up` know them at once, but for
    Grafana.
    """
    with _one_line():
        found = _existing(folder, users)
        found.rotate(users)
        restarted = _restart(found)
    if restarted:
        say(f"New passwords are in {found.password_file('USER')}. Restarted: {restarted}.")
        return
    say(
        f"New passwords are in {found.password_file('USER')}. The parts know them at once, but for "
        "Grafana, which has to be restarted with `gpu-sentinel up`."
    )


@credentials.command()
@credentials_folder_option
@click.option("--url", default=GRAFANA, show_default=True, help="Where Grafana is.")
@click.option(
    "--admin-password-file",
    type=Path,
    help="Password of Grafana's user admin. Default: that of `up`, else passwords/admin there.",
)
@click.option("--timeout", type=TIMEOUT, default=10, show_default=True, help="Seconds to wait.")
def grafana(folder: Path, url: str, admin_password_file: Path | None, timeout: float) -> None:
    """Make Grafana's users `reader` and `user`, a team of each, and a token for programs.

    What is there is put right; so this can be done again, and is, after `rotate`.
    """
    from gpu_sentinel.alerting.api import ApiError  # noqa: PLC0415 - as above
    from gpu_sentinel.stack.grafanausers import Grafana, set_up  # noqa: PLC0415
    from gpu_sentinel.stack.privatefile import read_password  # noqa: PLC0415

    if not is_url(url):
        raise click.BadParameter("is no URL of http or https", param_hint="--url")
    with _one_line():
        found = _existing(folder, ())
        file = admin_password_file or _of_admin(found)
        login = ("admin", read_password(file.expanduser()))
        ca = str(found.ca_file) if found.ca_file else None
        try:
            for line in set_up(Grafana(url, timeout, ca, login), found):
                say(line)
        except ApiError as error:
            raise click.ClickException(str(error)) from None


def _of_admin(credentials: Credentials) -> Path:
    """`up` gives its Grafana a password of its own, beside the folder."""
    own = credentials.folder.parent / "grafana-password"
    return own if own.is_file() else credentials.password_file("admin")


@credentials.command()
@credentials_folder_option
def renew(folder: Path) -> None:
    """Replace the certificate if it has less than 30 days left, or is for another host.

    Services of `gpu-sentinel install` are restarted then; they look every day by themselves.
    """
    with _one_line():
        found = _existing(folder, ())
        if not found.tls:
            raise click.ClickException(f"{folder}: holds no certificate: it was made without --tls")
        renewed = found.renew()
        restarted = _restart(found) if renewed else ""
    say("The certificate is a new one." if renewed else "The certificate lasts.")
    if restarted:
        say(f"Restarted: {restarted}.")


def _restart(found: Credentials) -> str:
    """The services to which these belong, if there are any; their names."""
    from gpu_sentinel.stack import install  # noqa: PLC0415 - as above

    return ", ".join(install.restart(found.folder))


def _existing(folder: Path, users: tuple[str, ...]) -> Credentials:
    from gpu_sentinel.stack.credentials import PEOPLE, SERVICES, existing  # noqa: PLC0415 - as above

    for user in users:
        if user not in (*PEOPLE, *SERVICES):
            raise click.BadParameter(
                f"{user!r} is no user: {', '.join((*PEOPLE, *SERVICES))}", param_hint="USER"
            )
    found = existing(folder.expanduser().resolve())
    if not found.file.is_file():
        raise click.ClickException(
            f"{folder}: holds no credentials: make them with `gpu-sentinel credentials init`"
        )
    return found


@contextmanager
def _one_line() -> Iterator[None]:
    from gpu_sentinel.stack.process import ComponentError  # noqa: PLC0415 - as above

    try:
        yield
    except ComponentError as error:
        raise click.ClickException(str(error)) from None
    except OSError as error:
        raise click.ClickException(f"{error.filename}: {error.strerror}") from None
    except ValueError as error:  # a NUL in the path
        raise click.ClickException(f"the folder cannot be used: {error}") from None
    except RuntimeError:  # of `expanduser`
        raise click.ClickException("the path begins with a user who is not known here") from None
