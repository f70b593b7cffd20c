"""`gpu-sentinel top`."""

from __future__ import annotations

import shutil
import sys
from dataclasses import asdict
from pathlib import Path

import click

from gpu_sentinel.cli.output import complain, say, say_json
from gpu_sentinel.cli.page import Page, page_options
from gpu_sentinel.cli.usage import gpu_lines, headline, read_twice, usage_lines
from gpu_sentinel.cli.usagetable import SORTS


@click.command(short_help="Show who uses and who holds the GPUs, as it changes.")
@page_options
@click.option(
    "--interval",
    type=click.FloatRange(0.25, 3600.0),
    default=1.0,
    show_default=True,
    help="Seconds between two readings of the page.",
)
@click.option(
    "--sort",
    type=click.Choice(SORTS),
    default="gpu",
    show_default=True,
    help="What to sort by at first.",
)
@click.option("--once", is_flag=True, help="Show it once, and not on a screen.")
@click.option("--json", "as_json", is_flag=True, help="Once, for a program.")
@click.pass_context
def top(
    ctx: click.Context,
    url: str,
    ca_file: str | None,
    timeout: float,
    *,
    credentials_file: Path | None,
    data_dir: Path | None,
    interval: float,
    sort: str,
    once: bool,
    as_json: bool,
) -> None:
    """Show who uses and who holds the GPUs of a running exporter, as it changes.

    Needs a terminal; without one it shows everything once. What owners draw is their share of
    what the GPU draws, by the counters of energy of two readings.
    """
    page = Page.named(url, ca_file, timeout, credentials_file, data_dir)
    if as_json:
        found = read_twice(page)
        say_json(asdict(found) | {"problems": found.problems})
    elif once or not (sys.stdin.isatty() and sys.stdout.isatty()):
        _once(page, sort)
    else:
        from gpu_sentinel.cli import terminal  # noqa: PLC0415 - curses may not be there

        try:
            terminal.run(page, interval, sort)
        except terminal.NoTerminalError as error:
            complain(f"{error}: everything once", "gpu-sentinel top")
            _once(page, sort)
    ctx.exit(0)


def _once(page: Page, sort: str) -> None:
    found = read_twice(page)
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    say(headline(found))
    say()
    for line in (*gpu_lines(found, width), *usage_lines(found, sort, width)):
        say(line)
    for problem in found.problems:
        say(f"! {problem}")
