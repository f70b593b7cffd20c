"""Copies files into a new copy: hashed while they are read, and on the disk when done."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from gpu_sentinel import printable
from gpu_sentinel.backup.errors import BackupError
from gpu_sentinel.backup.manifest import Entry, safe

_CHUNK = 1 << 20
_FULL = {errno.ENOSPC, errno.EDQUOT}

#: Bytes that are done, and bytes to do as far as known.
Progress = Callable[[int, int], None]


def chunks(number: int, length: int) -> Iterator[memoryview]:
    """The next bytes of an open file, at most so many.

    Raises:
        OSError: it cannot be read.
    """
    buffer = memoryview(bytearray(min(_CHUNK, max(length, 1))))
    while length > 0:
        read = os.readv(number, [buffer[: min(length, _CHUNK)]])
        if not read:
            return
        length -= read
        yield buffer[:read]


def write_all(number: int, chunk: memoryview) -> None:
    """Write everything: a disk that is nearly full takes a part."""
    while chunk:
        chunk = chunk[os.write(number, chunk) :]


def sync(folder: Path) -> None:
    """Have the names in a folder on the disk."""
    number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def _open(source: Path) -> int:
    """Open a file; a link is followed where it leads to a file of the link's owner.

    Root copies folders of services: a link that one of them has made must not bring a file into
    the copy that only root may read.
    """
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        return os.open(source, flags | os.O_NOFOLLOW)
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
    owner = source.lstat().st_uid
    number = os.open(source, flags)
    if os.fstat(number).st_uid != owner:
        os.close(number)
        raise BackupError(
            f"{printable.line(source)}: a link to a file of another user: "
            "name that file with --config"
        )
    return number


def check_link(folder: Path) -> None:
    """Refuse a folder that is a link to one of another user, for the same reason as with files.

    Raises:
        BackupError: it is.
        OSError: it cannot be looked at.
    """
    if folder.is_symlink() and folder.lstat().st_uid != folder.stat().st_uid:
        raise BackupError(
            f"{printable.line(folder)}: a link to a folder or file of another user: "
            "name that one itself"
        )


class Copier:
    """Files under one folder, and what the manifest says of them.

    Attributes:
        folder: of the copy that is being made.
        unreadable: sources that this user may not read.
        linked: bytes that were taken over from the copy before.
    """

    def __init__(
        self, folder: Path, progress: Progress, before: tuple[Path, dict[str, Entry]] | None = None
    ) -> None:
        """Start with nothing.

        Args:
            folder: exists, and is empty.
            progress: is told of every chunk.
            before: an earlier copy and its files by path, from which what never changes is linked.
        """
        self.folder = folder
        self.unreadable: list[Path] = []
        self.linked = 0
        self._entries: dict[str, Entry] = {}
        self._before = before
        self._progress = progress
        self._done = self._total = 0

    @property
    def entries(self) -> tuple[Entry, ...]:
        """All files so far, by path."""
        return tuple(self._entries[path] for path in sorted(self._entries))

    def expect(self, size: int) -> None:
        """Tell how many bytes are to come."""
        self._total += size
        self._progress(self._done, self._total)

    def copy(self, source: Path, path: str, *, fixed: bool = False) -> None:
        """Copy a file as long as it is now.

        Args:
            source: what to copy.
            path: where it goes, inside of the copy.
            fixed: whether its content never changes under this path.

        Raises:
            FileNotFoundError: the source is gone.
            BackupError: it is no file, cannot be read, or the target cannot be written.
        """
        if not safe(path):
            raise BackupError(
                f"{printable.line(source)}: such a name cannot be in a copy: rename it"
            )
        try:
            number = _open(source)
        except FileNotFoundError:
            raise
        except PermissionError:
            self.unreadable.append(source)
            return
        except OSError as error:
            raise BackupError(
                f"{printable.line(source)}: cannot be read: {error.strerror}"
            ) from None
        try:
            found = os.fstat(number)
            if not stat.S_ISREG(found.st_mode):
                raise BackupError(
                    f"{printable.line(source)}: it is no regular file: move it elsewhere"
                )
            if not (fixed and self._link(path, found)):
                self._copy(number, found, source, path)
        finally:
            os.close(number)

    def _link(self, path: str, found: os.stat_result) -> bool:
        if self._before is None:
            return False
        folder, entries = self._before
        entry = entries.get(path)
        if entry is None or (entry.size, entry.modified) != (found.st_size, found.st_mtime_ns):
            return False
        old, new = folder / path, self.folder / path
        try:
            if old.stat(follow_symlinks=False).st_size != entry.size:
                return False
            new.parent.mkdir(parents=True, exist_ok=True)
            os.link(old, new, follow_symlinks=False)
        except OSError:
            # A file system without links, or a copy that lacks the file: then it is copied.
            return False
        self._entries[path] = entry
        self.linked += entry.size
        self._advance(entry.size)
        return True

    def _copy(self, number: int, found: os.stat_result, source: Path, path: str) -> None:
        digest, size = hashlib.sha256(), 0
        target = self.folder / path
        with written(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            out = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            parts = chunks(number, found.st_size)
            while True:
                try:
                    chunk = next(parts, None)
                except OSError as error:
                    raise BackupError(
                        f"{printable.line(source)}: cannot be read: {error.strerror}"
                    ) from None
                if chunk is None:
                    break
                digest.update(chunk)
                size += len(chunk)
                with written(target):
                    write_all(out, chunk)
                self._advance(len(chunk))
            mode = found.st_mode & 0o777
            with written(target):
                os.fchmod(out, mode)
                os.utime(out, ns=(found.st_atime_ns, found.st_mtime_ns))
                os.fsync(out)
        finally:
            os.close(out)
        self._entries[path] = Entry(path, size, mode, max(found.st_mtime_ns, 0), digest.hexdigest())

    def adopt(self, path: str, mode: int, modified: int) -> None:
        """Take a file into account that somebody else has written into the copy.

        Raises:
            BackupError: it cannot be read again.
        """
        target = self.folder / path
        with written(target):
            number = os.open(target, os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fchmod(number, mode)
                digest = hashlib.sha256()
                size = os.fstat(number).st_size
                for chunk in chunks(number, size):
                    digest.update(chunk)
                os.fsync(number)
            finally:
                os.close(number)
        self._entries[path] = Entry(path, size, mode, modified, digest.hexdigest())
        self._advance(size)

    def discard(self, path: str) -> None:
        """Take back a folder that has changed meanwhile."""
        for known in [known for known in self._entries if known.startswith(f"{path}/")]:
            del self._entries[known]
        shutil.rmtree(self.folder / path, ignore_errors=True)

    def sync_folders(self) -> None:
        """Have the names of all files on the disk.

        Raises:
            BackupError: they cannot be written.
        """
        with written(self.folder):
            for folder, _, _ in os.walk(self.folder):
                sync(Path(folder))

    def _advance(self, size: int) -> None:
        self._done += size
        self._total = max(self._total, self._done)
        self._progress(self._done, self._total)


@contextmanager
def written(target: Path) -> Iterator[None]:
    """Turn what goes wrong in writing into one line.

    Raises:
        BackupError: the target cannot be written.
    """
    try:
        yield
    except OSError as error:
        raise unwritable(target, error) from None


def unwritable(target: Path, error: OSError) -> BackupError:
    """The line for a target that cannot be written."""
    hint = ": make room, or choose another disk" if error.errno in _FULL else ""
    return BackupError(f"{printable.line(target)}: cannot be written: {error.strerror}{hint}")
