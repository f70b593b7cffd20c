"""`gpu-sentinel up`."""

from __future__ import annotations

import errno
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from gpu_sentinel.cli.output import say_text
from gpu_sentinel.config import DEFAULT_SCENARIO, ConfigError
from gpu_sentinel.signals import caught

DEFAULT_DATA = Path("~/.local/share/gpu-sentinel")

F = TypeVar("F", bound=Callable[..., Any])


def _port(name: str, default: int) -> Callable[[F], F]:
    return click.option(
        f"--{name}-port", type=click.IntRange(1, 65535), default=default, show_default=True
    )


def _notification_options(function: F) -> F:
    from gpu_sentinel.stack.plan import NOTIFICATION_HELP  # noqa: PLC0415 - see below

    for name, help_ in reversed(NOTIFICATION_HELP.items()):
        function = click.option(f"--{name}", help=help_)(function)
    return function


@click.command()
@click.option(
    "--simulate",
    is_flag=False,
    flag_value=DEFAULT_SCENARIO,
    metavar="[SCENARIO]",
    help="Simulate GPUs, as is done anyway on a machine without one.",
)
@click.option(
    "--data-dir",
    type=click.Path(file_okay=False, path_type=Path),
    default=DEFAULT_DATA,
    show_default=True,
    help="Where metrics, logs and configuration are kept.",
)
@click.option(
    "--targets",
    type=click.Path(path_type=Path),
    help="Discovery file of Prometheus with exporters on other machines.",
)
@_port("exporter", 9836)
@_port("prometheus", 9090)
@_port("alertmanager", 9093)
@_port("grafana", 3000)
@click.option(
    "--notifications",
    "notifications_file",
    type=click.Path(path_type=Path),
    help="YAML file with the following options as keys.",
)
@_notification_options
@click.option(
    "--receiver",
    "receiver_files",
    type=click.Path(path_type=Path),
    multiple=True,
    help="YAML file with a receiver and its routes, as in alertmanager/receivers; repeatable.",
)
def up(
    *,
    simulate: str | None,
    data_dir: Path,
    targets: Path | None,
    notifications_file: Path | None,
    receiver_files: tuple[Path, ...],
    exporter_port: int,
    prometheus_port: int,
    alertmanager_port: int,
    grafana_port: int,
    **addresses: str | None,
) -> None:
    """Run the whole stack on this machine's loopback, until Ctrl-C or TERM.

    The exporter, Prometheus, Alertmanager and Grafana, as far as they are installed. Without
    --email-to, --webhook-url and --receiver, alerts are shown in this terminal. What ends or hangs
    is started again.
    """
    from gpu_sentinel.stack import receivers  # noqa: PLC0415 - others start faster
    from gpu_sentinel.stack import targets as discovery  # noqa: PLC0415
    from gpu_sentinel.stack import up as stack  # noqa: PLC0415
    from gpu_sentinel.stack.plan import Plan, notifications  # noqa: PLC0415
    from gpu_sentinel.stack.process import ComponentError  # noqa: PLC0415

    why = ""
    if simulate is None and not stack.has_gpu():
        simulate, why = DEFAULT_SCENARIO, "no NVIDIA GPU on this machine"
    if simulate is not None:
        _check_scenario(simulate)
    plan = Plan(
        data=data_dir.expanduser().resolve(),
        simulate=simulate,
        why=why,
        exporter_port=exporter_port,
        prometheus_port=prometheus_port,
        alertmanager_port=alertmanager_port,
        grafana_port=grafana_port,
        targets=discovery.check(targets) if targets else None,
        notifications=notifications(
            {name.replace("_", "-"): value for name, value in addresses.items()},
            notifications_file,
        ),
        receivers=tuple(map(receivers.read, receiver_files)),
    )
    try:
        with caught(*_ended_by(), signal.SIGCHLD) as next_signal:
            stack.run(plan, _say, next_signal)
    except ComponentError as error:
        raise click.ClickException(str(error)) from None
    except OSError as error:
        raise click.ClickException(_unwritten(plan.data, error)) from None
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


def _unwritten(data: Path, error: OSError) -> str:
    what = f"{error.filename or data}: {error.strerror}"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"{what}: free space, or name a --data-dir on another disk"
    if error.errno in (errno.EROFS, errno.EACCES):
        return f"{what}: name a --data-dir that can be written to"
    return what


def _check_scenario(name: str) -> None:
    from gpu_sentinel.simulator import ScenarioError, load_scenario  # noqa: PLC0415 - as above

    try:
        load_scenario(name)
    except ScenarioError as error:
        raise ConfigError(f"--simulate: {error}") from None
