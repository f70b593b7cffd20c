"""`gpu-sentinel metrics`."""

from __future__ import annotations

import click

from gpu_sentinel.catalogue import METRICS
from gpu_sentinel.catalogue.reference import described, markdown
from gpu_sentinel.cli.output import say, say_json, say_text, styled


@click.command(short_help="Print every metric that a GPU can have.")
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
        say_json([described(m) for m in METRICS])
        return
    if fmt == "markdown":
        from gpu_sentinel.groupcosts import table  # noqa: PLC0415 - it runs the simulator

        say_text(markdown(table()), end="")
        return
    if fmt == "not-exported":
        from gpu_sentinel.nvml import omitted  # noqa: PLC0415 - nothing else here needs pynvml

        say_text(omitted.markdown(), end="")
        return
    for group in dict.fromkeys(m.group for m in METRICS):
        say()
        say(styled(group, bold=True))
        for metric in (m for m in METRICS if m.group == group):
            labels = ", ".join(metric.all_labels)
            say(f"  {metric.name}  ({metric.kind.value}; {labels or 'no labels'})")
            say(f"      {metric.help}")
