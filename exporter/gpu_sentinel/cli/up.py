"""`gpu-sentinel up`."""

from __future__ import annotations

import errno
import os
import signal
import sys
from pathlib import Path
from typing import Any

import click

from gpu_sentinel.cli.datadir import DEFAULT_DATA, data_dir_option
from gpu_sentinel.cli.output import say_text
from gpu_sentinel.cli.stackoptions import plan, stack_options
from gpu_sentinel.settings import DEFAULT_SCENARIO
from gpu_sentinel.signals import caught


@click.command(short_help="Run the whole stack on this machine's loopback.")
@data_dir_option(
    "Where metrics, logs and configuration are kept.", default=DEFAULT_DATA, show_default=True
)
@stack_options
def up(*, data_dir: Path, simulate: str | None, **options: Any) -> None:
    """Run the whole stack on this machine's loopback, until Ctrl-C or TERM.

    The exporter, Prometheus, Alertmanager and Grafana, as far as they are installed. Without
    --email-to, --webhook-url and --receiver, alerts are shown in this terminal; without an NVIDIA
    GPU on this machine, GPUs are simulated. What ends or hangs is started again.
    """
    from gpu_sentinel.stack import up as stack  # noqa: PLC0415 - others start faster
    from gpu_sentinel.stack.process import ComponentError  # noqa: PLC0415

    why = ""
    if simulate is None and not stack.has_gpu():
        simulate, why = DEFAULT_SCENARIO, "no NVIDIA GPU on this machine"
    data = data_dir.expanduser().resolve()
    planned = plan(data, simulate=simulate, why=why, **options)
    try:
        with caught(*_ended_by(), signal.SIGCHLD) as next_signal:
            stack.run(planned, _say, next_signal, private=sys.stdout.isatty())
    except ComponentError as error:
        raise click.ClickException(str(error)) from None
    except OSError as error:
        raise click.ClickException(unwritten(data, error)) from None
    _say("Stopped.")


def _ended_by() -> list[int]:
    numbers = [signal.SIGTERM, signal.SIGINT]
    # The terminal is closed; under nohup that is to be survived.
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        numbers.append(signal.SIGHUP)
    return [int(number) for number in numbers]


def _say(line: str) -> None:
    """Print a line; that nobody reads it is no reason to stop."""
    try:
        say_text(line)
    except OSError as error:
        if error.errno in (errno.EPIPE, errno.EIO):
            # What is left must not be tried again on exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def unwritten(data: Path, error: OSError) -> str:
    """A line for a data directory that cannot be written to."""
    what = f"{error.filename or data}: {error.strerror}"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"{what}: free space, or name a --data-dir on another disk"
    if error.errno in (errno.EROFS, errno.EACCES):
        return f"{what}: name a --data-dir that can be written to"
    return what
