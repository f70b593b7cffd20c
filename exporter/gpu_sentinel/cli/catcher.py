"""`gpu-sentinel catcher`."""

from __future__ import annotations

import signal

import click

from gpu_sentinel.cli.output import say, say_text
from gpu_sentinel.signals import caught


@click.command(short_help="Print mails and webhooks that reach this machine.")
@click.option("--smtp-port", type=click.IntRange(1, 65535), default=1025, show_default=True)
@click.option("--http-port", type=click.IntRange(1, 65535), default=1080, show_default=True)
def catcher(smtp_port: int, http_port: int) -> None:
    """Print the mails and webhooks that reach this machine's loopback, until Ctrl-C or TERM.

    These are the addresses that alertmanager/alertmanager.yml has until you change them.
    """
    from gpu_sentinel.stack.catcher import Catcher  # noqa: PLC0415 - the other commands start faster
    from gpu_sentinel.stack.process import ComponentError  # noqa: PLC0415

    local = Catcher(say_text)
    try:
        with caught(signal.SIGTERM, signal.SIGINT) as next_signal:
            smarthost, url = local.start(smtp_port, http_port)
            say(f"Taking mail at {smarthost} and webhooks at {url}. Stop with Ctrl-C.")
            next_signal()
    except ComponentError as error:
        raise click.ClickException(str(error)) from None
    finally:
        local.stop()
