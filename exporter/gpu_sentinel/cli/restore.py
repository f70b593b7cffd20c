"""`gpu-sentinel restore`."""

from __future__ import annotations

from pathlib import Path

import click

from gpu_sentinel.cli.backup import given_parts, one_line, part_options, progress_bar, verified
from gpu_sentinel.cli.datadir import data_dir_option
from gpu_sentinel.cli.output import say

_FOLDER = click.Path(path_type=Path, file_okay=False)


@click.command()
@click.argument("copy", type=_FOLDER)
@data_dir_option("Data directory for `gpu-sentinel up`.")
@part_options
@click.option("--configuration-dir", type=_FOLDER, help="For what --config had named.")
@click.option("--check", is_flag=True, help="Only compare the copy with its checksums.")
@click.option("--force", is_flag=True, help="Move what is in the folders aside.")
def restore(
    copy: Path,
    data_dir: Path | None,
    configuration_dir: Path | None,
    *,
    check: bool,
    force: bool,
    **parts: Path | None,
) -> int:
    """Put a copy of `gpu-sentinel backup` into empty folders.

    COPY is the folder of one copy. All is compared with the checksums before anything changes.
    """
    if check:
        return verified(copy)
    from gpu_sentinel.backup import restore as back  # noqa: PLC0415 - others start faster

    folders = given_parts(parts)
    if configuration_dir is not None:
        folders["configuration"] = configuration_dir
    if data_dir is None and not folders:
        raise click.UsageError("name the folder to restore into with --data-dir DIR")
    data = data_dir.expanduser() if data_dir else None
    with one_line(), progress_bar("Restoring") as progress:
        done = back.restore(copy, back.places(data, folders), force=force, progress=progress)
    for path in done.aside:
        say(f"moved aside: {path}")
    for part in done.left:
        say(f"left out: {part}: no folder was named for it")
    say(f"restored {done.files} files from {copy}")
    if data is not None and "secrets" not in done.parts:
        say(
            "no passwords are in the copy: `gpu-sentinel up` makes new ones when it starts",
            _old_ones(done.aside),
        )
        if "grafana" in done.parts:
            say(
                "Grafana's admin keeps the old password: set another with "
                "`grafana cli admin reset-admin-password`"
            )
    return 0


def _old_ones(aside: tuple[Path, ...]) -> str:
    """Where passwords are that were moved aside, as part of the data directory."""
    found = [folder / "secrets" for folder in aside if (folder / "secrets").is_dir()]
    return f"; the old ones are in {found[0]}" if found else ""
