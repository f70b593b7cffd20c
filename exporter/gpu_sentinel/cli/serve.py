"""`gpu-sentinel serve`."""

from __future__ import annotations

import click

from gpu_sentinel.cli.options import loader, settings_options


@click.command(short_help="Sample the GPUs and serve their metrics.")
@settings_options
@click.pass_context
def serve(ctx: click.Context, /, **arguments: object) -> None:
    """Sample the GPUs and serve their metrics until TERM or Ctrl-C; HUP reloads the settings."""
    from gpu_sentinel.daemon import Daemon, StartError  # noqa: PLC0415 - the other commands start faster

    daemon = Daemon(loader(arguments))
    try:
        daemon.run()
    except StartError as error:
        raise click.ClickException(str(error)) from None
    ctx.exit(0)
