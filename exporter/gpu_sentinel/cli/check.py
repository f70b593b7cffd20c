"""`gpu-sentinel check`."""

from __future__ import annotations

import os
import sys

import click

from gpu_sentinel.cli.options import loader, settings_options
from gpu_sentinel.cli.output import say, styled


@click.command(short_help="Say what is wrong with driver, GPUs, settings and what to do.")
@settings_options
@click.pass_context
def check(ctx: click.Context, /, **arguments: object) -> None:
    """Look at driver, permissions, GPUs, ports and configuration; say what to do about each.

    Takes the options of `serve`. Exit code 1 where something is wrong.
    """
    from gpu_sentinel.diagnosis import diagnose  # noqa: PLC0415 - the other commands start faster
    from gpu_sentinel.machine import machine  # noqa: PLC0415

    settings = loader(arguments)()
    failed = 0
    for finding in diagnose(settings, machine(settings)):
        mark = styled("ok  ", fg="green") if finding.ok else styled("FAIL", fg="red")
        say(mark, f"  {finding.subject}: {finding.detail}")
        if not finding.ok:
            failed += 1
            say(f"      -> {finding.remedy}")
    if failed:
        say(f"{failed} of these need attention")
        sys.stdout.flush()
        # A thread may still be inside the driver, and an orderly exit would wait for it.
        os._exit(1)
    ctx.exit(0)
