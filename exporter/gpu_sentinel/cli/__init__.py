"""The command `gpu-sentinel`."""

from __future__ import annotations

import errno
import io
import os
import reprlib
import sys
import traceback
from importlib import import_module
from typing import cast

import click

from gpu_sentinel import __version__, printable
from gpu_sentinel.cli.output import complain
from gpu_sentinel.config import ConfigError
from gpu_sentinel.shortage import shortage

#: Exit codes beside 0.
FAILED, WRONG_USAGE, INTERRUPTED = 1, 2, 130

#: What a full or broken disk answers to who writes to a file that is open.
_UNWRITABLE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}

#: Begins the line about a defect; tests look for it.
DEFECT = "a defect of gpu-sentinel"

#: In the order of the help; each in the module of its name.
COMMANDS = (
    "serve",
    "up",
    "install",
    "check",
    "status",
    "top",
    "metrics",
    "xids",
    "alerts",
    "thresholds",
    "maintenance",
    "backup",
    "restore",
    "credentials",
    "catcher",
    "healthcheck",
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
@click.option("--debug", is_flag=True, help="Show where in the program a defect of it is.")
@click.version_option(__version__, message="%(prog)s %(version)s")
@click.pass_context
def cli(ctx: click.Context, *, debug: bool) -> None:
    """Watch NVIDIA GPUs: sample them fast, expose what happened to Prometheus."""
    ctx.ensure_object(dict)["debug"] = debug


def main(args: list[str] | None = None) -> None:
    """Run a command and exit: 0 fine, 1 failed, 2 wrong usage or configuration."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A terminal that has no degree sign shows it as an escape, and all the rest.
        sys.stdout.reconfigure(errors="backslashreplace")
    sys.exit(run(args))


def run(args: list[str] | None = None) -> int:
    """Run a command and return its exit code; what is wrong takes one line on stderr.

    Raises:
        Exception: the machine is short of memory or threads; see `shortage`.
    """
    switches: dict[str, bool] = {}
    try:
        _check_arguments(sys.argv[1:] if args is None else args)
        return int(
            cli.main(args=args, prog_name="gpu-sentinel", standalone_mode=False, obj=switches) or 0
        )
    except click.UsageError as error:
        _wrong_usage(error)
        return WRONG_USAGE
    except ConfigError as error:
        complain(error)
        return WRONG_USAGE
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except Exception as error:  # noqa: BLE001 - a person is to get one line, whatever it was
        _failed(error, debug=switches.get("debug", False))
        return FAILED


def _check_arguments(arguments: list[str]) -> None:
    """Refuse what no shell can give, and no file can be called."""
    for argument in arguments:
        try:
            impossible = b"\0" in os.fsencode(argument)
        except UnicodeEncodeError:
            impossible = True
        if impossible:
            raise click.UsageError(f"{reprlib.repr(argument)} holds what no argument can hold")


def _failed(error: Exception, *, debug: bool) -> None:
    if isinstance(error, click.ClickException):
        complain(error.format_message())
    elif isinstance(error, OSError) and _is_of_output(error):
        _unwritten(error)
    elif isinstance(error, RuntimeError) and "home directory" in str(error):  # of `expanduser`
        complain("a path begins with ~ and the name of a user that does not exist")
    elif shortage(error):
        raise error  # to whoever can leave without an orderly exit, for which there may be no room
    else:
        _defect(error, show=debug)


def _wrong_usage(error: click.UsageError) -> None:
    where = error.ctx.command_path if error.ctx else "gpu-sentinel"
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        click.echo(error.format_message(), err=True)
        return
    message = " ".join(error.format_message().split()).rstrip(".")
    complain(f"{message}. See {where} --help.", where)


def _defect(error: Exception, *, show: bool) -> None:
    """What nobody thought of: one line, which says how to get at the rest."""
    complain(
        f"{DEFECT}: {type(error).__name__}: {error}: please report it with what "
        "`gpu-sentinel --debug ...` prints"
    )
    if show:
        click.echo(printable.text("".join(traceback.format_exception(error))), err=True)


def _is_of_output(error: OSError) -> bool:
    broken = isinstance(error, BrokenPipeError)
    return broken or (error.errno in _UNWRITABLE and error.filename is None)


def _unwritten(error: OSError) -> None:
    if not isinstance(error, BrokenPipeError):
        complain(f"the output cannot be written: {error.strerror}")
    # Else the reader has gone, as with `| head`. What is left must not be tried again on exit.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
