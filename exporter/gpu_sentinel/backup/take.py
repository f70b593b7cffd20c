"""Takes a copy: under another name until it is complete, one at a time."""

from __future__ import annotations

import re
import shutil
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from gpu_sentinel import __version__, filelock, printable
from gpu_sentinel.backup import manifest
from gpu_sentinel.backup.copier import Copier, Progress, sync, written
from gpu_sentinel.backup.errors import BackupError
from gpu_sentinel.backup.manifest import Entry, Manifest
from gpu_sentinel.backup.sources import Sources

_NAME = re.compile(r"gpu-sentinel-\d{8}T\d{6}\.\d{3}Z")
_UNFINISHED = ".gpu-sentinel-unfinished-"
_LOCK = ".gpu-sentinel-backup.lock"
_SHOWN_UNREADABLE = 3


@dataclass(frozen=True, slots=True)
class Taken:
    """A copy that is complete.

    Attributes:
        linked: bytes of it that it shares with the copy before.
        removed: older copies that are no longer kept.
    """

    folder: Path
    manifest: Manifest
    linked: int
    removed: tuple[Path, ...]


def copies(target: Path) -> list[Path]:
    """The complete copies in a folder, the oldest first.

    Raises:
        BackupError: the folder cannot be read.
    """
    try:
        found = sorted(path for path in target.iterdir() if _NAME.fullmatch(path.name))
    except OSError as error:
        raise BackupError(f"{printable.line(target)}: cannot be read: {error.strerror}") from None
    return [path for path in found if (path / manifest.NAME).is_file() and not path.is_symlink()]


def take(
    sources: Sources, target: Path, *, keep: int | None, link: bool, progress: Progress
) -> Taken:
    """Copy everything into a new folder of the target, which is made if need be.

    Args:
        sources: what to copy.
        target: folder of all copies.
        keep: how many copies to keep, this one included; None keeps all.
        link: whether blocks that the copy before has, too, are hard links to it.
        progress: is told of every chunk.

    Raises:
        BackupError: no copy was taken, and nothing of it is left; or it is complete, but may not
            outlast a power cut, or an older one cannot be removed.
    """
    for folder in sources.folders():
        if target.resolve().is_relative_to(folder.resolve()):
            raise BackupError(
                f"{printable.line(target)}: it is inside of {printable.line(folder)}, which is to "
                "be copied: choose a folder elsewhere"
            )
    with _locked(target):
        before = _before(target) if link else None
        began = datetime.now(timezone.utc)
        name = f"gpu-sentinel-{began:%Y%m%dT%H%M%S}.{began.microsecond // 1000:03}Z"
        folder = target / f"{_UNFINISHED}{name}"
        try:
            with written(folder):
                folder.mkdir(mode=0o700)
            copier = Copier(folder, progress, before)
            _copy(sources, copier)
            _check(copier, sources)
            content = Manifest(
                began.isoformat(timespec="milliseconds"),
                __version__,
                socket.gethostname(),
                copier.entries,
            )
            with written(folder):
                manifest.write(folder, content)
                copier.sync_folders()
                folder.rename(target / name)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        with written(target):
            sync(target)
        return Taken(target / name, content, copier.linked, _retire(target, keep, name))


def _copy(sources: Sources, copier: Copier) -> None:
    """What goes wrong in writing, the copier tells: what is left went wrong in reading."""
    try:
        sources.copy(copier)
    except OSError as error:
        where = error.filename or ", ".join(map(str, sources.folders()))
        raise BackupError(f"{printable.line(where)}: cannot be read: {error.strerror}") from None


def _check(copier: Copier, sources: Sources) -> None:
    if copier.unreadable:
        named = ", ".join(printable.line(path) for path in copier.unreadable[:_SHOWN_UNREADABLE])
        more = len(copier.unreadable) - _SHOWN_UNREADABLE
        rest = f" and {more} more" if more > 0 else ""
        raise BackupError(
            f"{named}{rest}: permission denied: run this as the user of the stack, or as root"
        )
    if not copier.entries:
        named = ", ".join(printable.line(folder) for folder in sources.folders())
        raise BackupError(f"{named}: there is nothing of the stack to copy: name other folders")


@contextmanager
def _locked(target: Path) -> Iterator[None]:
    """Keep other backups out, and remove what one that was killed has left."""
    with ExitStack() as stack:
        with written(target):
            target.mkdir(parents=True, exist_ok=True, mode=0o700)
            try:
                stack.enter_context(filelock.held(target / _LOCK))
            except filelock.HeldError:
                raise BackupError(
                    f"{printable.line(target)}: another backup is being taken there"
                ) from None
        for path in target.glob(f"{_UNFINISHED}*"):
            shutil.rmtree(path, ignore_errors=True)
        yield


def _before(target: Path) -> tuple[Path, dict[str, Entry]] | None:
    """The newest copy whose manifest can be read."""
    for folder in reversed(copies(target)):
        try:
            return folder, {entry.path: entry for entry in manifest.read(folder).files}
        except BackupError:
            continue
    return None


def _retire(target: Path, keep: int | None, newest: str) -> tuple[Path, ...]:
    """Remove the oldest copies; whatever the clock says, never the one just taken."""
    if keep is None:
        return ()
    old = [path for path in copies(target) if path.name != newest]
    removed = old[: max(len(old) - (keep - 1), 0)]
    for path in removed:
        # Half a copy is never to be taken for one.
        gone = path.with_name(f"{_UNFINISHED}{path.name}")
        try:
            path.rename(gone)
            shutil.rmtree(gone)
        except OSError as error:
            raise BackupError(
                f"{printable.line(path)}: the new copy is complete, but this old one cannot "
                f"be removed: {error.strerror}"
            ) from None
    return tuple(removed)
