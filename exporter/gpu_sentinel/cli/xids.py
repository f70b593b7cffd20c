"""`gpu-sentinel xids`."""

from __future__ import annotations

import textwrap

import click

from gpu_sentinel.catalogue.kernel import KERNEL_EVENTS
from gpu_sentinel.catalogue.xids import MOST, XIDS, Severity, explain
from gpu_sentinel.catalogue.xids.reference import described, markdown
from gpu_sentinel.cli.output import say, say_json, say_text, styled

_COLOURS = {Severity.FATAL: "red", Severity.RESET: "red", Severity.WARNING: "yellow"}
_WRAP = textwrap.TextWrapper(
    width=100,
    initial_indent=" " * 6,
    subsequent_indent=" " * 6,
    break_long_words=False,
    break_on_hyphens=False,
)


@click.command(short_help="Explain XIDs, the driver's error reports.")
@click.argument("numbers", metavar="[NUMBER]...", nargs=-1, type=click.IntRange(1, MOST))
@click.option("--format", "fmt", type=click.Choice(["table", "json", "markdown"]), default="table")
def xids(numbers: tuple[int, ...], fmt: str) -> None:
    """Explain XIDs, the driver's error reports: what each means, and what to do. All by default."""
    found = [explain(number) for number in numbers or XIDS]
    if fmt == "json":
        say_json([described(xid) for xid in found])
        return
    if fmt == "markdown":
        say_text(markdown(found, KERNEL_EVENTS.values()), end="")
        return
    for xid in found:
        severity = styled(xid.severity.value, fg=_COLOURS.get(xid.severity))
        say(styled(f"XID {xid.number}", bold=True), f"  {xid.name}  (", severity, ")")
        for line in (xid.meaning, f"-> {xid.action}"):
            say_text(_WRAP.fill(line))
        if xid.source.value:
            say(f"      {xid.source.value}")
