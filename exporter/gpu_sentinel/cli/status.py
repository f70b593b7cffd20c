"""`gpu-sentinel status`."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path

import click

from gpu_sentinel.cli.output import date, say, say_json, styled
from gpu_sentinel.cli.page import Page, page_options
from gpu_sentinel.cli.table import lines
from gpu_sentinel.cli.usage import headline, read_twice, usage_lines
from gpu_sentinel.cli.usagetable import gpu_cells, instance_cells, show
from gpu_sentinel.exposition.reader import GpuStatus, MigStatus, Status, XidStatus


@click.command(short_help="Show the GPUs of a running exporter.")
@page_options
@click.option(
    "--processes",
    is_flag=True,
    help="Show who uses and holds the GPUs, too. Takes two seconds, for what they draw.",
)
@click.option("--json", "as_json", is_flag=True, help="For a program.")
@click.pass_context
def status(
    ctx: click.Context,
    url: str,
    ca_file: str | None,
    timeout: float,
    *,
    credentials_file: Path | None,
    data_dir: Path | None,
    processes: bool,
    as_json: bool,
) -> None:
    """Show the GPUs of a running exporter; exit code 1 where something is wrong.

    User, password and CA are those that `gpu-sentinel up` has written, on the same machine.
    """
    page = Page.named(url, ca_file, timeout, credentials_file, data_dir)
    found = read_twice(page) if processes else page.read()
    if as_json:
        say_json(asdict(found) | {"problems": found.problems})
    else:
        _print(found, processes=processes)
    ctx.exit(1 if found.problems else 0)


def _print(found: Status, *, processes: bool) -> None:
    say(headline(found))
    say()
    header = ("GPU", "NAME", "UTIL", "MEMORY", "POWER", "TEMP", "MARGIN", "SM CLOCK", "STATE")
    left = {1, len(header) - 1}  # the name and the state; numbers stand to the right
    rows = [row for gpu in found.gpus for row in (_row(gpu), *map(_instance_row, gpu.instances))]
    for line in lines([header, *rows], left):
        say(line)
    if processes:
        for line in usage_lines(found):
            say(line)
    if found.xids:
        say()
        say("XIDs of the last 24 hours")
        say()
        rows = [_XID_HEADER, *map(_xid_row, found.xids)]
        for line in lines(rows, left={0, 3, 5, 6, 7}):
            say(line)
    for problem in found.problems:
        say(styled(f"! {problem}", fg="red"))


_XID_HEADER = ("TIME (UTC)", "GPU", "XID", "SEVERITY", "REPORTS", "OWNER", "NAME", "WHAT TO DO")


def _xid_row(xid: XidStatus) -> tuple[str, ...]:
    return (
        _time(xid.last_timestamp_seconds),
        str(xid.gpu),
        str(xid.xid),
        xid.severity,
        str(xid.reports) if xid.reports else "-",
        xid.owner or "-",
        xid.name,
        xid.action,
    )


def _time(seconds: float) -> str:
    """Of a page that anybody can have written: there need not be such a day in the calendar."""
    try:
        return date(datetime.fromtimestamp(seconds, timezone.utc), seconds=True)
    except (ValueError, OverflowError, OSError):
        return "-"


def _instance_row(instance: MigStatus) -> tuple[str, ...]:
    """Below its GPU."""
    return (*instance_cells(instance), *[""] * 5)


def _row(gpu: GpuStatus) -> tuple[str, ...]:
    return (
        *gpu_cells(gpu),
        show(gpu.temperature_margin_celsius, 1, "°C"),
        show(gpu.clock_sm_hertz, 1e-6, "MHz"),
        gpu.state,
    )
