"""`gpu-sentinel healthcheck`."""

from __future__ import annotations

import itertools
from pathlib import Path

import click

from gpu_sentinel.cli.options import given, loader, settings_options
from gpu_sentinel.cli.output import say
from gpu_sentinel.cli.serve import serve
from gpu_sentinel.settings import Settings

#: In a container, what was started there, or an `init` that has started it.
_FIRST_PROCESS = Path("/proc/1/cmdline")


@click.command(short_help="Ask the exporter of this container whether it is at work.")
@settings_options
@click.pass_context
def healthcheck(ctx: click.Context, /, **arguments: object) -> None:
    """Ask the exporter of this container whether it is at work; exit code 1 if not.

    It needs no password, with passwords and TLS on, either. Takes the options of `serve`; without
    any, those with which process 1 was called.
    """
    from gpu_sentinel.web.neighbour import UnhealthyError, healthy_at  # noqa: PLC0415 - others start faster

    settings = loader(arguments)() if given(arguments) else _of_first_process()
    address = settings.web_listen_address[0]
    problems = []
    for scheme in _schemes(settings):
        try:
            healthy_at(address, encrypted=scheme == "https")
        except UnhealthyError as error:
            problems.append(f"{scheme}://{address}: {error}")
        else:
            say("healthy")
            ctx.exit(0)
    raise click.ClickException("; ".join(problems))


def _schemes(settings: Settings) -> tuple[str, ...]:
    from gpu_sentinel.web.access import WebConfigError, load_access  # noqa: PLC0415 - as above

    try:
        return (load_access(settings.web_config_file).scheme,)
    except WebConfigError:
        # The exporter goes on with the file as it was before.
        return ("http", "https")


def _of_first_process() -> Settings:
    """Its settings, as far as its arguments say; environment and file are ours, too."""
    try:
        command = _FIRST_PROCESS.read_bytes()
    except OSError:
        command = b""
    context = serve.make_context("serve", serve_arguments(command))
    return loader(context.params)()


def serve_arguments(command: bytes) -> list[str]:
    """What follows `gpu-sentinel serve` in a command line of /proc.

    It may be called by Python, and by an `init` before that.
    """
    words = command.decode(errors="surrogateescape").removesuffix("\0").split("\0")
    for at, (program, word) in enumerate(itertools.pairwise(words)):
        if word == "serve" and Path(program).name in ("gpu-sentinel", "gpu_sentinel"):
            return words[at + 2 :]
    return []
