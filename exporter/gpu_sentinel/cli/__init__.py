"""The command `gpu-sentinel`."""

from __future__ import annotations

import errno
import os
import sys
from importlib import import_module
from typing import cast

import click

from gpu_sentinel import __version__
from gpu_sentinel.config import ConfigError

#: Exit codes beside 0.
FAILED, WRONG_USAGE, INTERRUPTED = 1, 2, 130

#: What a full or broken disk answers to who writes to a file that is open.
_UNWRITABLE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}

#: In the order of the help; each in the module of its name.
COMMANDS = (
    "serve",
    "up",
    "install",
    "check",
    "status",
    "metrics",
    "xids",
    "alerts",
    "thresholds",
    "maintenance",
    "catcher",
)


class _OnDemand(click.Group):
    """Loads a command when it is called: the exporter starts without what the others need."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in COMMANDS:
            return None
        command = getattr(import_module(f"gpu_sentinel.cli.{cmd_name}"), cmd_name)
        return cast("click.Command", command)


@click.group(cls=_OnDemand, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="%(prog)s %(version)s")
def cli() -> None:
    """Watch NVIDIA GPUs: sample them fast, expose what happened to Prometheus."""


def main(args: list[str] | None = None) -> None:
    """Run a command and exit: 0 fine, 1 failed, 2 wrong usage or configuration."""
    sys.exit(run(args))


def run(args: list[str] | None = None) -> int:
    """Run a command and return its exit code; what is wrong takes one line on stderr."""
    try:
        return int(cli.main(args=args, prog_name="gpu-sentinel", standalone_mode=False) or 0)
    except click.UsageError as error:
        where = error.ctx.command_path if error.ctx else "gpu-sentinel"
        if isinstance(error, click.exceptions.NoArgsIsHelpError):
            click.echo(error.format_message(), err=True)
        else:
            message = " ".join(error.format_message().split()).rstrip(".")
            click.echo(f"{where}: {message}. See {where} --help.", err=True)
        return WRONG_USAGE
    except ConfigError as error:
        click.echo(f"gpu-sentinel: {error}", err=True)
        return WRONG_USAGE
    except click.ClickException as error:
        click.echo(f"gpu-sentinel: {error.format_message()}", err=True)
        return FAILED
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except OSError as error:
        return _unwritten(error)


def _unwritten(error: OSError) -> int:
    """The exit code after output that could not be written; other errors go on."""
    if not isinstance(error, BrokenPipeError):
        if error.errno not in _UNWRITABLE or error.filename is not None:
            raise error
        click.echo(f"gpu-sentinel: the output cannot be written: {error.strerror}", err=True)
    # Else the reader has gone, as with `| head`. What is left must not be tried again on exit.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return FAILED
