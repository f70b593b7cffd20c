"""The command `gpu-sentinel`."""

from __future__ import annotations

import os
import sys

import click

from gpu_sentinel import __version__
from gpu_sentinel.cli.alerts import alerts
from gpu_sentinel.cli.catcher import catcher
from gpu_sentinel.cli.check import check
from gpu_sentinel.cli.metrics import metrics
from gpu_sentinel.cli.serve import serve
from gpu_sentinel.cli.status import status
from gpu_sentinel.cli.up import up
from gpu_sentinel.config import ConfigError

#: Exit codes beside 0.
FAILED, WRONG_USAGE, INTERRUPTED = 1, 2, 130


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="%(prog)s %(version)s")
def cli() -> None:
    """Watch NVIDIA GPUs: sample them fast, expose what happened to Prometheus."""


for _command in (serve, up, check, status, metrics, alerts, catcher):
    cli.add_command(_command)


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
    except BrokenPipeError:
        # The reader has gone, as with `| head`; nothing is left to be written on exit either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
