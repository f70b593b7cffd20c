"""Puts a copy back: all is read and compared before anything has its name."""

from __future__ import annotations

import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path, PurePosixPath

from gpu_sentinel import filelock, printable
from gpu_sentinel.backup import inuse, manifest, verify
from gpu_sentinel.backup.copier import Progress, sync, unwritable, write_all, written
from gpu_sentinel.backup.errors import BackupError
from gpu_sentinel.backup.manifest import PARTS, Entry

#: Where each part goes under a data directory of `gpu-sentinel up`.
_UNDER_DATA = {part: part for part in PARTS} | {"settings": ".", "secrets": "."}
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_STAGE = ".gpu-sentinel-restore-"
#: Hexadecimal digits at the end of its name.
_RANDOM = 8

#: What may be in a folder that counts as empty.
_NOTHING = {filelock.UP_LOCK, "lost+found"}


@dataclass(frozen=True, slots=True)
class Place:
    """A folder that takes parts of a copy.

    Attributes:
        parts: which parts, and where each goes in the folder.
    """

    folder: Path
    parts: dict[str, str]

    @property
    def is_data(self) -> bool:
        """Whether `gpu-sentinel up` may run in it."""
        return "settings" in self.parts


def places(data: Path | None, folders: dict[str, Path]) -> list[Place]:
    """Where the parts go.

    Args:
        data: takes all parts that have no folder of their own; None leaves them out.
        folders: by part.
    """
    found = [Place(folder, {part: "."}) for part, folder in folders.items()]
    if data is not None:
        rest = {part: at for part, at in _UNDER_DATA.items() if part not in folders}
        found.append(Place(data, rest))
    return found


@dataclass(frozen=True, slots=True)
class Restored:
    """What was put back.

    Attributes:
        files: how many.
        aside: where older content of the folders is now.
        left: parts of the copy that no folder was named for.
        parts: those of which a file was put back.
    """

    files: int
    aside: tuple[Path, ...]
    left: tuple[str, ...]
    parts: frozenset[str]


def restore(copy: Path, where: list[Place], *, force: bool, progress: Progress) -> Restored:
    """Put a copy back.

    Args:
        copy: folder of one copy.
        where: folders that are missing or empty; nobody may be using them.
        force: move what is in them aside.
        progress: is told of every file.

    Raises:
        BackupError: the copy is damaged, or a folder cannot take it: nothing has changed, but for
            what the message names.
    """
    content = manifest.read(copy)
    wanted = {part for place in where for part in place.parts}
    files = [entry for entry in content.files if entry.path.split("/")[0] in wanted]
    held = {entry.path.split("/")[0] for entry in content.files}
    if not files:
        raise BackupError(
            f"{printable.line(copy)}: it holds nothing for the folders that were named"
        )
    where = [place for place in where if held & place.parts.keys()]
    _check_apart([place.folder.resolve() for place in where])
    stamp = f"{datetime.now(timezone.utc):%Y%m%dT%H%M%SZ}"
    total, done = sum(entry.size for entry in files), 0
    with ExitStack() as undo:
        stages = [_Stage(place, force=force, undo=undo) for place in where]
        for stage in stages:
            for entry in files:
                if entry.path.split("/")[0] in stage.place.parts:
                    stage.put(copy, entry)
                    done += entry.size
                    progress(done, total)
            stage.finish()
        _swap(stages, stamp)
    aside = tuple(stage.aside for stage in stages if stage.aside)
    return Restored(len(files), aside, tuple(sorted(held - wanted)), frozenset(held & wanted))


def _check_apart(folders: list[Path]) -> None:
    for index, folder in enumerate(folders):
        for other in folders[:index]:
            if folder.is_relative_to(other) or other.is_relative_to(folder):
                raise BackupError(
                    f"{printable.line(folder)} and {printable.line(other)}: one is inside of the "
                    "other: leave out the inner one, or name folders apart"
                )


def _swap(stages: list[_Stage], stamp: str) -> None:
    """Give everything its name, or nothing."""
    try:
        for stage in stages:
            with written(stage.place.folder):
                stage.set_aside(stamp)
        for stage in stages:
            with written(stage.place.folder):
                stage.move_in()
    except BaseException as error:
        left = [line for undone in reversed(stages) for line in undone.roll_back()]
        if not left:
            raise
        raise BackupError("; ".join([str(error) or type(error).__name__, *left])) from error


class _Stage:
    """A folder under another name, into which the files of a place go first.

    Attributes:
        aside: where the older content is; None where there was none.
    """

    def __init__(self, place: Place, *, force: bool, undo: ExitStack) -> None:
        self.place = place
        self.aside: Path | None = None
        self._moved: list[str] = []
        self._undo = undo
        folder = place.folder
        try:
            if not folder.is_dir():
                folder.mkdir(parents=True)
                undo.callback(_remove_if_empty, folder)
            undo.enter_context(_locked(folder))
            if place.is_data:
                undo.enter_context(inuse.locked(folder))
            parent = folder.resolve().parent
            stage = f"{_STAGE}{folder.resolve().name}-"
            for left in (*folder.glob(f"{_STAGE}*"), *_left_beside(parent, stage)):
                shutil.rmtree(left, ignore_errors=True)
            self._full = any(path.name not in _NOTHING for path in folder.iterdir())
            self._owner = folder.stat()
        except OSError as error:
            raise unwritable(folder, error) from None
        if self._full and not force:
            raise BackupError(
                f"{printable.line(folder)}: it is not empty: name another folder, or move what is "
                "in it aside with --force"
            )
        if self._full:
            inuse.check_unused(folder)
        # What is moved aside takes all of its folder along, and so cannot hold the new files.
        self._stage = (
            parent if self._full else folder
        ) / f"{stage}{secrets.token_hex(_RANDOM // 2)}"
        with written(self._stage):
            self._stage.mkdir(mode=0o700)
            undo.callback(shutil.rmtree, self._stage, ignore_errors=True)
            # The folder may belong to a service. Whatever its user does to names in it meanwhile,
            # root writes below this open folder alone, into which nobody else can look.
            self._opened = os.open(self._stage, _FOLDER)
            undo.callback(os.close, self._opened)
            if os.fstat(self._opened).st_uid != os.geteuid():
                raise BackupError(
                    f"{printable.line(self._stage)}: somebody has put another folder there"
                )

    def put(self, copy: Path, entry: Entry) -> None:
        """Copy a file, and compare it with the manifest.

        Raises:
            BackupError: it is another, or cannot be written.
        """
        part, _, rest = entry.path.partition("/")
        inside = PurePosixPath(self.place.parts[part], rest)
        target = self.place.folder / inside
        with verify.opened(copy, entry) as source:
            with written(target):
                out = self._create(inside, 0o700 if part == "secrets" else 0o755)
            try:

                def write(chunk: memoryview) -> None:
                    with written(target):
                        write_all(out, chunk)

                verify.read(copy, entry, source, write)
                with written(target):
                    self._own(out)
                    os.fchmod(out, entry.mode)
                    os.utime(out, ns=(entry.modified, entry.modified))
                    os.fsync(out)
            finally:
                os.close(out)

    def _create(self, inside: PurePosixPath, mode: int) -> int:
        """A new file, open, and the folders that lead to it."""
        at = os.dup(self._opened)
        try:
            for name in inside.parent.parts:
                with suppress(FileExistsError):
                    os.mkdir(name, mode, dir_fd=at)
                below = os.open(name, _FOLDER, dir_fd=at)
                os.close(at)
                at = below
                self._own(at)
            new = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            return os.open(inside.name, new, 0o600, dir_fd=at)
        finally:
            os.close(at)

    def _own(self, number: int) -> None:
        """Restored by root, a file belongs to whom the folder belongs: the service's user."""
        if os.geteuid() == 0:
            os.chown(number, self._owner.st_uid, self._owner.st_gid)

    def finish(self) -> None:
        """Have all on the disk.

        Raises:
            BackupError: it cannot be written.
        """
        with written(self._stage):
            for _, _, _, number in os.fwalk(dir_fd=self._opened):
                os.fsync(number)

    def set_aside(self, stamp: str) -> None:
        """Give the older content another name, and make an empty folder like it.

        Raises:
            OSError: it cannot be renamed, as when another file system is mounted there.
        """
        if not self._full:
            return
        folder = self.place.folder.resolve()
        aside = folder.with_name(f"{folder.name}.before-restore-{stamp}")
        folder.rename(aside)
        self.aside = aside
        folder.mkdir()
        number = os.open(folder, _FOLDER)
        try:
            self._own(number)
            os.fchmod(number, stat.S_IMODE(self._owner.st_mode))
        finally:
            os.close(number)
        if self.place.is_data:
            self._undo.enter_context(inuse.locked(folder))

    def move_in(self) -> None:
        """Give the new files their names.

        Raises:
            OSError: they cannot be renamed.
        """
        for name in sorted(os.listdir(self._opened)):  # noqa: PTH208 - an open folder
            os.rename(name, self.place.folder / name, src_dir_fd=self._opened)
            self._moved.append(name)
        sync(self.place.folder)

    def roll_back(self) -> list[str]:
        """Have it as it was before; a line for each that could not be put back."""
        if self.aside is not None:
            folder = self.place.folder.resolve()
            shutil.rmtree(folder, ignore_errors=True)
            try:
                self.aside.rename(folder)
            except OSError as error:
                where = printable.line(f"what was in {folder} is in {self.aside}")
                return [f"{where}: {error.strerror}"]
            return []
        left = []
        for name in self._moved:
            path = self.place.folder / name
            try:
                os.rename(path, name, dst_dir_fd=self._opened)
            except OSError as error:
                left.append(
                    f"{printable.line(path)} is new and cannot be removed: {error.strerror}"
                )
        return left


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Keep other restores out; so what a restore that was killed has left can be removed.

    Raises:
        BackupError: there is another.
        OSError: it is no folder.
    """
    try:
        with filelock.held(folder):
            yield
    except filelock.HeldError:
        raise BackupError(f"{printable.line(folder)}: another restore writes to it") from None


def _left_beside(parent: Path, stage: str) -> list[Path]:
    """What a restore that was killed has left beside its folder, whose name may be a pattern."""
    try:
        found = list(parent.iterdir())
    except PermissionError:
        return []
    return [p for p in found if p.name.startswith(stage) and len(p.name) == len(stage) + _RANDOM]


def _remove_if_empty(folder: Path) -> None:
    """Remove a folder that we made, where nothing was put into it."""
    with suppress(OSError):
        if [path.name for path in folder.iterdir()] == [filelock.UP_LOCK]:
            (folder / filelock.UP_LOCK).unlink()
        folder.rmdir()
