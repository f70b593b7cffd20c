"""The data directory of a stack, by one option of every command that needs it."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from gpu_sentinel.config import ConfigError
from gpu_sentinel.stack import INSTALLED

#: Of `gpu-sentinel up`.
DEFAULT_DATA = Path("~/.local/share/gpu-sentinel")

#: What is named holds it, or else its folder `secrets`, as `up` lays it out.
_FILE = "credentials.yml"

F = TypeVar("F", bound=Callable[..., Any])


def data_dir_option(help_: str, **more: Any) -> Callable[[F], F]:
    """`--data-dir`, as every command spells it."""
    return click.option(
        "--data-dir", type=click.Path(file_okay=False, path_type=Path), help=help_, **more
    )


def secrets_of(data: Path) -> Path:
    """The folder of the passwords: in a data directory, or itself, as of `credentials init`."""
    return data if os.access(data / _FILE, os.F_OK) else data / "secrets"


def credentials_file_of(data: Path) -> Path:
    """What a command reads to log in to the parts of a data directory.

    Raises:
        ConfigError: nothing that runs there has passwords.
    """
    file = secrets_of(data.expanduser()) / _FILE
    if not os.access(file, os.F_OK):
        raise ConfigError(
            f"--data-dir: {data}: holds no credentials: `gpu-sentinel up` makes them at its start"
        )
    return file


def credentials_folder_option(function: F) -> F:
    """Give a command its argument `folder`: where the passwords are that it is about.

    `--dir` named the folder of the passwords itself, and still does.
    """

    @data_dir_option(
        "Data directory of `gpu-sentinel up`, or a folder of `gpu-sentinel credentials init`. "
        f"Default: {INSTALLED} where root has installed services, else {DEFAULT_DATA}."
    )
    @click.option("--dir", "secrets_dir", type=Path, hidden=True)
    @functools.wraps(function)
    def command(
        *args: Any, data_dir: Path | None, secrets_dir: Path | None, **options: Any
    ) -> object:
        if data_dir and secrets_dir:
            raise click.UsageError("--data-dir and --dir exclude each other")
        if secrets_dir is None:
            # For root those of the services, if there are any; as `alerts` finds them.
            installed = os.access(INSTALLED / "secrets" / _FILE, os.R_OK)
            data = data_dir or (INSTALLED if installed else DEFAULT_DATA)
            secrets_dir = secrets_of(data.expanduser())
        return function(*args, folder=secrets_dir, **options)

    return command  # type: ignore[return-value]  # `wraps` loses what click makes of it
