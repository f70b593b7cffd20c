"""What `up` and `install` have in common: ports, targets, and where alerts go."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from gpu_sentinel.config import ConfigError
from gpu_sentinel.settings import DEFAULT_SCENARIO

if TYPE_CHECKING:
    from gpu_sentinel.stack.plan import Plan

F = TypeVar("F", bound=Callable[..., Any])

_PORTS = {"exporter": 9836, "prometheus": 9090, "alertmanager": 9093, "grafana": 3000}


def stack_options(function: F) -> F:
    """The options of a stack, which `plan` takes."""
    from gpu_sentinel.stack.plan import NOTIFICATION_HELP  # noqa: PLC0415 - others start faster

    options = [
        click.option(
            "--simulate",
            is_flag=False,
            flag_value=DEFAULT_SCENARIO,
            metavar="[SCENARIO]",
            help="Simulate GPUs.",
        ),
        click.option(
            "--targets",
            type=click.Path(path_type=Path),
            help="Discovery file of Prometheus with exporters on other machines.",
        ),
        click.option(
            "--targets-credentials",
            type=click.Path(path_type=Path),
            help="YAML file with the user, password_file and ca_file by which Prometheus gets in "
            "at those.",
        ),
        click.option(
            "--tls", is_flag=True, help="HTTPS for all parts, by a CA made for this machine."
        ),
        *(
            click.option(
                f"--{name}-port",
                type=click.IntRange(1, 65535),
                default=default,
                show_default=True,
            )
            for name, default in _PORTS.items()
        ),
        click.option(
            "--notifications",
            "notifications_file",
            type=click.Path(path_type=Path),
            help="YAML file with the following options as keys.",
        ),
        *(click.option(f"--{name}", help=help_) for name, help_ in NOTIFICATION_HELP.items()),
        click.option(
            "--receiver",
            "receiver_files",
            type=click.Path(path_type=Path),
            multiple=True,
            help="YAML file with a receiver and its routes, as in alertmanager/receivers; "
            "repeatable.",
        ),
    ]
    for option in reversed(options):
        function = option(function)
    return function


def plan(
    data: Path,
    *,
    simulate: str | None,
    why: str = "",
    targets: Path | None,
    targets_credentials: Path | None,
    notifications_file: Path | None,
    receiver_files: tuple[Path, ...],
    tls: bool,
    exporter_port: int,
    prometheus_port: int,
    alertmanager_port: int,
    grafana_port: int,
    **addresses: str | None,
) -> Plan:
    """A plan from the options, checked.

    Raises:
        ConfigError: one of them is wrong.
    """
    from gpu_sentinel.stack import credentials, receivers  # noqa: PLC0415 - see above
    from gpu_sentinel.stack import targets as discovery  # noqa: PLC0415
    from gpu_sentinel.stack.plan import Plan, notifications  # noqa: PLC0415

    if simulate is not None:
        _check_scenario(simulate)
    if targets_credentials and not targets:
        raise ConfigError("--targets-credentials needs --targets: they are for exporters elsewhere")
    return Plan(
        data=data,
        simulate=simulate,
        why=why,
        exporter_port=exporter_port,
        prometheus_port=prometheus_port,
        alertmanager_port=alertmanager_port,
        grafana_port=grafana_port,
        targets=discovery.check(targets) if targets else None,
        targets_login=discovery.login(targets_credentials) if targets_credentials else None,
        notifications=notifications(
            {name.replace("_", "-"): value for name, value in addresses.items()},
            notifications_file,
        ),
        receivers=tuple(map(receivers.read, receiver_files)),
        credentials=credentials.of_data(data, tls=tls),
    )


def _check_scenario(name: str) -> None:
    from gpu_sentinel.simulator import ScenarioError, load_scenario  # noqa: PLC0415 - as above

    try:
        load_scenario(name)
    except ScenarioError as error:
        raise ConfigError(f"--simulate: {error}") from None
