"""`gpu-sentinel metrics`."""

from __future__ import annotations

import json

import click

from gpu_sentinel.catalogue import METRICS
from gpu_sentinel.catalogue.reference import described, markdown


@click.command()
@click.option(
    "--format",
    "fmt",
    type=click.Choice(["table", "json", "markdown", "not-exported"]),
    default="table",
    help="`not-exported` is the page about what is left out, and why.",
)
def metrics(fmt: str) -> None:
    """Print every metric that a GPU can have: name, type, labels and meaning."""
    if fmt == "json":
        click.echo(json.dumps([described(m) for m in METRICS], indent=2))
        return
    if fmt == "markdown":
        from gpu_sentinel.groupcosts import table  # noqa: PLC0415 - it runs the simulator

        click.echo(markdown(table()), nl=False)
        return
    if fmt == "not-exported":
        from gpu_sentinel.nvml import omitted  # noqa: PLC0415 - nothing else here needs pynvml

        click.echo(omitted.markdown(), nl=False)
        return
    for group in dict.fromkeys(m.group for m in METRICS):
        click.secho(f"\n{group}", bold=True)
        for metric in (m for m in METRICS if m.group == group):
            labels = ", ".join(metric.all_labels)
            click.echo(f"  {metric.name}  ({metric.kind.value}; {labels or 'no labels'})")
            click.echo(f"      {metric.help}")
