"""`gpu-sentinel thresholds`."""

from __future__ import annotations

from pathlib import Path

import click

from gpu_sentinel.cli.output import say
from gpu_sentinel.cli.table import lines
from gpu_sentinel.rules import thresholds as settings
from gpu_sentinel.rules.files import stale, write
from gpu_sentinel.rules.settings import SETTINGS

_FOLDER = click.Path(path_type=Path, file_okay=False, exists=True)


@click.command(short_help="Show the thresholds of alerts, or make the rules anew.")
@click.option(
    "--directory",
    type=_FOLDER,
    default=Path("prometheus"),
    show_default=True,
    help="Prometheus' folder, with thresholds.yml, rules/ and alerts/.",
)
@click.option(
    "--check", is_flag=True, help="Only say whether the rules are made of thresholds.yml."
)
@click.option("--write", "make", is_flag=True, help="Make the rules anew from thresholds.yml.")
def thresholds(directory: Path, check: bool, make: bool) -> int:
    """Show the thresholds of alerts, or make Prometheus' rules from them."""
    if check and make:
        raise click.UsageError("--check and --write exclude each other")
    limits = settings.read(directory / "thresholds.yml")
    if make:
        changed = write(limits, directory)
        for path in changed:
            say(f"written: {directory / path}")
        say(f"{len(changed)} files changed; reload Prometheus" if changed else "up to date")
        return 0
    if check:
        old = stale(limits, directory)
        for path in old:
            say(f"not made of thresholds.yml: {directory / path}")
        say("run: gpu-sentinel thresholds --write" if old else "up to date")
        return 1 if old else 0
    rows = [("threshold", "value", "exceptions", "meaning")]
    rows += [
        (key, limits.number(key), str(len(limits.overridden(key)) or ""), setting.about)
        for key, setting in SETTINGS.items()
    ]
    for line in lines(rows, left={0, 3}):
        say(line)
    return 0
