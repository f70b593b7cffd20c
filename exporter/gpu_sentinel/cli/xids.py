"""`gpu-sentinel xids`."""

from __future__ import annotations

import json
import textwrap

import click

from gpu_sentinel.catalogue.xids import MOST, XIDS, Severity, explain
from gpu_sentinel.catalogue.xids.reference import described, markdown

_COLOURS = {Severity.FATAL: "red", Severity.RESET: "red", Severity.WARNING: "yellow"}
_WRAP = textwrap.TextWrapper(
    width=100,
    initial_indent=" " * 6,
    subsequent_indent=" " * 6,
    break_long_words=False,
    break_on_hyphens=False,
)


@click.command()
@click.argument("numbers", metavar="[NUMBER]...", nargs=-1, type=click.IntRange(1, MOST))
@click.option("--format", "fmt", type=click.Choice(["table", "json", "markdown"]), default="table")
def xids(numbers: tuple[int, ...], fmt: str) -> None:
    """Explain XIDs, the driver's error reports: what each means, and what to do. All by default."""
    found = [explain(number) for number in numbers or XIDS]
    if fmt == "json":
        click.echo(json.dumps([described(xid) for xid in found], indent=2))
        return
    if fmt == "markdown":
        click.echo(markdown(found), nl=False)
        return
    for xid in found:
        severity = click.style(xid.severity.value, fg=_COLOURS.get(xid.severity))
        click.echo(f"{click.style(f'XID {xid.number}', bold=True)}  {xid.name}  ({severity})")
        for line in (xid.meaning, f"-> {xid.action}"):
            click.echo(_WRAP.fill(line))
        if xid.source.value:
            click.echo(f"      {xid.source.value}")
