"""`gpu-sentinel up`."""

from __future__ import annotations

import signal
import threading
from pathlib import Path

import click

from gpu_sentinel.config import DEFAULT_SCENARIO, ConfigError

DEFAULT_DATA = Path("~/.local/share/gpu-sentinel")


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
@click.option("--exporter-port", type=click.IntRange(1, 65535), default=9836, show_default=True)
@click.option("--prometheus-port", type=click.IntRange(1, 65535), default=9090, show_default=True)
def up(simulate: str | None, data_dir: Path, exporter_port: int, prometheus_port: int) -> None:
    """Run exporter and Prometheus on this machine's loopback, until Ctrl-C or TERM."""
    from gpu_sentinel.stack import up as stack  # noqa: PLC0415 - the other commands start faster
    from gpu_sentinel.stack.process import ComponentError  # noqa: PLC0415

    why = ""
    if simulate is None and not stack.has_gpu():
        simulate, why = DEFAULT_SCENARIO, "no NVIDIA GPU on this machine"
    plan = stack.Plan(
        data_dir.expanduser().resolve(), simulate, why, exporter_port, prometheus_port
    )
    if simulate is not None:
        _check_scenario(simulate)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    try:
        stack.run(plan, click.echo, stop)
    except ComponentError as error:
        raise click.ClickException(str(error)) from None
    except OSError as error:
        raise click.ClickException(f"{error.filename or data_dir}: {error.strerror}") from None
    click.echo("Stopped.")


def _check_scenario(name: str) -> None:
    from gpu_sentinel.simulator import ScenarioError, load_scenario  # noqa: PLC0415 - as above

    try:
        load_scenario(name)
    except ScenarioError as error:
        raise ConfigError(f"--simulate: {error}") from None
