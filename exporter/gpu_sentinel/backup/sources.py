"""Where the parts of the stack keep what a copy holds."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from gpu_sentinel import printable
from gpu_sentinel.backup import history
from gpu_sentinel.backup.copier import Copier, check_link
from gpu_sentinel.backup.errors import BackupError
from gpu_sentinel.backup.manifest import SECRETS, SETTINGS

_LOCKED_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Sources:
    """Folders of a running or stopped stack; None is not to be copied.

    Attributes:
        prometheus: what `--storage.tsdb.path` names.
        alertmanager: what `--storage.path` names.
        grafana: the folder with grafana.db.
        dashboards: own dashboards as files.
        data: data directory of `gpu-sentinel up`, for the files at its top.
        secrets: whether its credentials are copied, too.
        configuration: more files and folders.
    """

    prometheus: Path | None = None
    alertmanager: Path | None = None
    grafana: Path | None = None
    dashboards: Path | None = None
    data: Path | None = None
    secrets: bool = False
    configuration: tuple[Path, ...] = field(default=())

    def folders(self) -> Iterator[Path]:
        """All that are read; a copy cannot be in one of them."""
        parts = (self.data, self.prometheus, self.alertmanager, self.grafana, self.dashboards)
        yield from filter(None, (*parts, *self.configuration))

    def copy(self, copier: Copier) -> None:
        """Copy everything.

        Raises:
            BackupError: something cannot be read, or the target not be written.
        """
        for folder in self.folders():
            _check(folder, copier)
        # The silences first: they change the least, and history takes the longest.
        if self.alertmanager:
            for name in ("silences", "nflog"):
                _try(copier, self.alertmanager / name, f"alertmanager/{name}")
        if self.grafana:
            _database(self.grafana / "grafana.db", copier, "grafana/grafana.db")
        if self.dashboards:
            _tree(self.dashboards, copier, "dashboards")
        if self.data:
            self._copy_top(self.data, copier)
        for path in self.configuration:
            _tree(path, copier, f"configuration/{path.name}")
        if self.prometheus:
            history.copy(self.prometheus, copier)

    def _copy_top(self, data: Path, copier: Copier) -> None:
        try:
            files = [path for path in sorted(data.iterdir()) if not path.is_dir()]
        except PermissionError:
            copier.unreadable.append(data)
            return
        for path in files:
            if path.name.endswith(SETTINGS):
                _try(copier, path, f"settings/{path.name}")
        for name in SECRETS if self.secrets else ():
            _tree(data / name, copier, f"secrets/{name}")


def _check(folder: Path, copier: Copier) -> None:
    try:
        check_link(folder)
    except FileNotFoundError:
        pass
    except PermissionError:
        copier.unreadable.append(folder)


def _try(copier: Copier, source: Path, path: str) -> None:
    """Copy a file that may be missing, or go at any time."""
    try:
        copier.expect(source.stat().st_size)
        copier.copy(source, path)
    except FileNotFoundError:
        return
    except PermissionError:
        copier.unreadable.append(source)


def _tree(source: Path, copier: Copier, path: str) -> None:
    """Copy a file, or a folder with all that is in it; links are followed to files alone."""
    try:
        if not source.is_dir():
            _try(copier, source, path)
            return
        check_link(source)
        for child in sorted(source.iterdir()):
            if child.is_symlink() and child.is_dir():
                continue
            _tree(child, copier, f"{path}/{child.name}")
    except PermissionError:
        copier.unreadable.append(source)
    except FileNotFoundError:
        return


def _database(source: Path, copier: Copier, path: str) -> None:
    """Copy a SQLite database as it was at one moment, while others write to it."""
    try:
        check_link(source)
        found = source.stat()
        with source.open("rb"):
            pass
    except FileNotFoundError:
        return
    except PermissionError:
        copier.unreadable.append(source)
        return
    target = copier.folder / path
    copier.expect(found.st_size)
    try:
        target.parent.mkdir()
        with (
            closing(
                sqlite3.connect(
                    f"file:{quote(str(source.absolute()))}?mode=ro",
                    uri=True,
                    timeout=_LOCKED_SECONDS,
                )
            ) as read,
            closing(sqlite3.connect(target)) as write,
        ):
            # All pages in one step: others wait a moment, and never see this start anew.
            read.backup(write, pages=-1)
    except sqlite3.Error as error:
        raise BackupError(f"{printable.line(source)}: cannot be copied: {error}") from None
    except OSError as error:
        raise BackupError(
            f"{printable.line(target)}: cannot be written: {error.strerror}"
        ) from None
    copier.adopt(path, found.st_mode & 0o777, max(found.st_mtime_ns, 0))
