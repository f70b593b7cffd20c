"""What `top` and `status --processes` show, as lines."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from gpu_sentinel.cli import usagetable as tables
from gpu_sentinel.cli.page import Page
from gpu_sentinel.cli.table import lines
from gpu_sentinel.exposition.reader import Status
from gpu_sentinel.exposition.usagerates import Rates

#: Between two readings that tell what owners draw; their counters grow once a second.
APART_SECONDS = 2.0


def read_twice(page: Page, wait: Callable[[float], None] = time.sleep) -> Status:
    """A page with what its owners draw and use at the moment.

    Raises:
        ClickException: as `Page.read`.
    """
    rates = Rates()
    rates.add(page.read(), time.monotonic())
    wait(APART_SECONDS)
    found = page.read()
    rates.add(found, time.monotonic())
    return found


def headline(found: Status) -> str:
    """The exporter, the driver and the number of GPUs."""
    driver = (
        f"driver {found.driver_version}, CUDA {found.cuda_version}"
        if found.driver_version
        else "driver released"
        if found.released
        else "no driver"
    )
    return f"gpu-sentinel {found.exporter_version}, {driver}, {len(found.gpus)} GPUs"


def gpu_lines(found: Status, width: int | None = None) -> Iterator[str]:
    """The GPUs."""
    rows = tables.gpu_rows(found)
    return lines(rows, tables.GPU_LEFT, flexible=tables.GPU_FLEXIBLE, width=width)


def usage_lines(found: Status, sort: str = "gpu", width: int | None = None) -> Iterator[str]:
    """Owners and processes, each table with an empty line before it."""
    yield ""
    if not (found.nvml_up or found.owners or found.processes):
        yield tables.NOT_ANSWERING
        return
    if found.owners:
        rows = tables.owner_rows(found, sort)
        yield from lines(rows, tables.OWNER_LEFT, flexible=tables.OWNER_FLEXIBLE, width=width)
    else:
        yield tables.NO_OWNERS
    yield ""
    if found.processes:
        rows = tables.process_rows(found, sort)
        yield from lines(rows, tables.PROCESS_LEFT, flexible=tables.PROCESS_FLEXIBLE, width=width)
    else:
        yield tables.NO_PROCESSES
