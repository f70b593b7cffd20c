"""`gpu-sentinel install`."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import click

from gpu_sentinel.cli.output import say
from gpu_sentinel.cli.stackoptions import plan, stack_options

PARTS = ("exporter", "alertmanager", "prometheus", "grafana")


@click.command()
@click.option(
    "--part",
    "parts",
    type=click.Choice(PARTS),
    multiple=True,
    help="Install this part; repeatable. Default: all that are installed here.",
)
@click.option(
    "--root",
    type=click.Path(path_type=Path),
    help="Install into the system below this directory; nothing is started.",
)
@click.option("--dry-run", is_flag=True, help="Show what would be written and run.")
@click.option("--remove", is_flag=True, help="Stop the services and remove them; keep the data.")
@click.option("--purge", is_flag=True, help="With --remove: remove the data, too.")
@stack_options
def install(
    *,
    parts: tuple[str, ...],
    root: Path | None,
    dry_run: bool,
    remove: bool,
    purge: bool,
    **options: Any,
) -> None:
    """Run the stack as services of systemd, each as its own user.

    Data and configuration are in /var/lib/gpu-sentinel, laid out as by `gpu-sentinel up`. Called
    again, it writes the configuration anew and restarts the services.
    """
    from gpu_sentinel.stack import install as services  # noqa: PLC0415 - others start faster
    from gpu_sentinel.stack.process import ComponentError  # noqa: PLC0415

    if purge and not remove:
        raise click.UsageError("--purge goes with --remove")
    try:
        target = services.target(root)
        if remove:
            if dry_run:
                raise click.UsageError("--dry-run does not go with --remove")
            services.remove(target, say, purge=purge)
            return
        planned = plan(target.data, **options)
        chosen = parts or services.there()
        if "alertmanager" in chosen and planned.caught:
            raise click.UsageError(
                "nobody would be told of alerts: name --email-to, --webhook-url or --receiver"
            )
        if dry_run:
            with tempfile.TemporaryDirectory() as folder:
                services.rehearse(Path(folder), target, planned, chosen, say)
        else:
            private = sys.stdout.isatty()
            services.install(target, planned, chosen, say, private=private)
    except ComponentError as error:
        raise click.ClickException(str(error)) from None
    except OSError as error:
        raise click.ClickException(f"{error.filename or target.root}: {error.strerror}") from None
