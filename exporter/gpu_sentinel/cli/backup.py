"""`gpu-sentinel backup`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click

from gpu_sentinel.cli.datadir import DEFAULT_DATA, data_dir_option
from gpu_sentinel.cli.output import complain, say

F = TypeVar("F", bound=Callable[..., Any])

_FOLDER = click.Path(path_type=Path, file_okay=False)

#: Parts that may be elsewhere than under a data directory of `up`, as with packages of a system.
_PARTS = {
    "prometheus": "Prometheus' data directory (--storage.tsdb.path).",
    "alertmanager": "Alertmanager's data directory (--storage.path).",
    "grafana": "The folder with grafana.db.",
    "dashboards": "The folder with own dashboards.",
}


def part_options(function: F) -> F:
    """Give a command one option a part."""
    for name, help_ in reversed(_PARTS.items()):
        function = click.option(f"--{name}-dir", type=_FOLDER, help=help_)(function)
    return function


def given_parts(options: dict[str, Path | None]) -> dict[str, Path]:
    """The folders that were named, by part."""
    return {name: path for name in _PARTS if (path := options[f"{name}_dir"])}


@contextmanager
def one_line() -> Iterator[None]:
    """What is wrong with a copy takes one line."""
    from gpu_sentinel.backup.errors import BackupError  # noqa: PLC0415 - others start faster

    try:
        yield
    except BackupError as error:
        raise click.ClickException(str(error)) from None


@contextmanager
def progress_bar(label: str) -> Iterator[Callable[[int, int], None]]:
    """Takes what is done and what there is to do; shows it on a terminal alone."""
    if not sys.stderr.isatty():
        yield lambda _done, _total: None
        return
    with click.progressbar(length=1, label=label, file=sys.stderr) as bar:

        def show(done: int, total: int) -> None:
            bar.length = max(total, 1)
            bar.update(done - bar.pos)

        yield show


def size(count: int) -> str:
    """`1.4 GB`."""
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= factor:
            return f"{count / factor:.1f} {unit}"
    return f"{count} B"


def target_of(to: Path | None, data_dir: Path | None) -> Path:
    """The folder of copies: as named, or beside the data directory."""
    if to is not None:
        return to.expanduser()
    data = (data_dir or DEFAULT_DATA).expanduser()
    return data.with_name(f"{data.name}-backups")


@click.group(
    invoke_without_command=True, short_help="Copy history, silences, dashboards and configuration."
)
@data_dir_option(
    f"Data directory of `gpu-sentinel up`. Default: {DEFAULT_DATA}, unless folders are named."
)
@part_options
@click.option(
    "--config",
    "configuration",
    type=click.Path(path_type=Path, exists=True),
    multiple=True,
    help="A file or folder of configuration to copy, too; repeatable.",
)
@click.option(
    "--to",
    type=_FOLDER,
    help="Folder of all copies. Default: the data directory's name with -backups.",
)
@click.option(
    "--keep",
    type=click.IntRange(min=1),
    help="Remove the oldest copies beyond so many. Default: all are kept.",
)
@click.option(
    "--with-secrets", is_flag=True, help="Copy passwords and keys of the data directory, too."
)
@click.option(
    "--full",
    is_flag=True,
    help="Copy every file; by default, unchanged blocks are hard links to the previous copy.",
)
@click.pass_context
def backup(
    context: click.Context,
    /,
    data_dir: Path | None,
    configuration: tuple[Path, ...],
    to: Path | None,
    keep: int | None,
    *,
    with_secrets: bool,
    full: bool,
    **parts: Path | None,
) -> None:
    """Copy history, silences, own dashboards and configuration, while everything runs."""
    if context.invoked_subcommand is not None:
        return
    from gpu_sentinel.backup.take import take  # noqa: PLC0415 - others start faster

    target = target_of(to, data_dir)
    sources = _sources(data_dir, given_parts(parts), configuration, secrets=with_secrets)
    with one_line(), progress_bar("Copying") as progress:
        taken = take(sources, target, keep=keep, link=not full, progress=progress)
    shared = f", {size(taken.linked)} of them shared with the copy before" if taken.linked else ""
    content = taken.manifest
    say(f"{taken.folder}: {len(content.files)} files, {size(content.size)}{shared}")
    for old in taken.removed:
        say(f"removed: {old}")


def _sources(
    data_dir: Path | None,
    parts: dict[str, Path],
    configuration: tuple[Path, ...],
    *,
    secrets: bool,
) -> Any:
    from gpu_sentinel.backup.sources import Sources  # noqa: PLC0415 - as above

    names = [path.resolve().name for path in configuration]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise click.UsageError(f"--config: two are named {twice!r}: name the folder of one")
    for name, path in parts.items():
        if not path.is_dir():
            raise click.UsageError(f"--{name}-dir: {path} is no folder")
    data = None
    if data_dir is not None or not parts:
        data = (data_dir or DEFAULT_DATA).expanduser()
        if not data.is_dir():
            raise click.UsageError(f"--data-dir: {data} is no folder: nothing has run there yet")
        parts = {name: data / name for name in _PARTS if (data / name).is_dir()} | parts
    elif secrets:
        raise click.UsageError("--with-secrets needs --data-dir")
    return Sources(
        prometheus=parts.get("prometheus"),
        alertmanager=parts.get("alertmanager"),
        grafana=parts.get("grafana"),
        dashboards=parts.get("dashboards"),
        data=data,
        secrets=secrets,
        configuration=configuration,
    )


@backup.command()
@click.argument("copy", type=_FOLDER)
def verify(copy: Path) -> int:
    """Read a copy, and compare it with its checksums."""
    return verified(copy)


def verified(copy: Path) -> int:
    """Say what is wrong with a copy; 0 if nothing is."""
    from gpu_sentinel.backup import manifest  # noqa: PLC0415 - as above
    from gpu_sentinel.backup.verify import faults  # noqa: PLC0415

    with one_line():
        content = manifest.read(copy)
        with progress_bar("Reading") as progress:
            found = faults(copy, content, progress)
    for fault in found:
        complain(fault)
    if not found:
        say(
            f"{copy}: complete: {len(content.files)} files, {size(content.size)}, "
            f"taken {content.created} on {content.host}"
        )
    return 1 if found else 0


@backup.command(name="list")
@click.option("--to", type=_FOLDER, help="Folder of all copies.")
def list_(to: Path | None) -> None:
    """List the copies, the oldest first."""
    from gpu_sentinel.backup import manifest  # noqa: PLC0415 - as above
    from gpu_sentinel.backup.errors import BackupError  # noqa: PLC0415
    from gpu_sentinel.backup.take import copies  # noqa: PLC0415

    with one_line():
        found = copies(target_of(to, None))
    for folder in found:
        try:
            content = manifest.read(folder)
        except BackupError as error:
            complain(error)
        else:
            say(f"{folder}: {len(content.files)} files, {size(content.size)}")
