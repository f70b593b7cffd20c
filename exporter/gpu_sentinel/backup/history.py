"""Copies Prometheus' data directory while Prometheus writes to it.

Why this is consistent without Prometheus' help (its snapshots need the admin API, by which whoever
can log in may delete series):

- A block is a folder that never changes once it has its name. It appears by a rename, and goes by
  a rename; a larger block that takes the place of others is there before they go.
- The newest samples are in the write-ahead log: numbered segments, of which only the last grows,
  and a checkpoint that stands for the segments before it. Prometheus first stores the oldest hours
  of the log as a block, then makes a new checkpoint, and only then deletes what that stands for.

So the log is copied first, and again if there is another checkpoint afterwards, for then files
may have gone in between; the blocks follow. What moves from the log into a block meanwhile is in
both, and Prometheus skips it in the log when it starts. The last record may be cut off in the
middle: Prometheus repairs that when it starts, as after a power cut. `chunks_head` is left out:
it is made anew from the log.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from pathlib import Path

from gpu_sentinel import printable
from gpu_sentinel.backup.copier import Copier, check_link
from gpu_sentinel.backup.errors import BackupError

_BLOCK = re.compile(r"[0-9A-HJKMNP-TV-Z]{26}")
_CHUNKS = re.compile(r"\d{6}")
_SEGMENT = re.compile(r"\d{8}")
_CHECKPOINT = re.compile(r"checkpoint\.(\d{8,})")

#: How often something may change under the copy before it is given up.
_TRIES = 20
_PAUSE_SECONDS = 0.1

#: Folder of Prometheus' part in a copy.
PART = "prometheus"


def copy(folder: Path, copier: Copier) -> None:
    """Copy the blocks and the write-ahead log of a Prometheus, running or not.

    Raises:
        BackupError: it cannot be read, its log has a gap, or it changes all the time.
    """
    # The log of late samples names series that the other log describes: so that is copied later.
    _log(folder, "wbl", copier)
    _log(folder, "wal", copier)
    _blocks(folder, copier)


@dataclass(frozen=True, slots=True)
class _Log:
    checkpoint: str
    segments: tuple[str, ...]
    gap: str = ""


def _names(folder: Path) -> list[str]:
    try:
        check_link(folder)
        return sorted(path.name for path in folder.iterdir())
    except FileNotFoundError:
        return []
    except OSError as error:
        raise BackupError(f"{printable.line(folder)}: cannot be read: {error.strerror}") from None


def _look(folder: Path) -> _Log:
    names = _names(folder)
    checkpoints = [(int(found[1]), n) for n in names if (found := _CHECKPOINT.fullmatch(n))]
    covered, checkpoint = max(checkpoints, default=(-1, ""))
    # What the checkpoint covers is skipped at the start of Prometheus, and may go at any time.
    numbers = [int(name) for name in names if _SEGMENT.fullmatch(name) and int(name) > covered]
    first = covered + 1 if checkpoint else min(numbers, default=0)
    missing = next((n for at, n in enumerate(numbers, first) if n != at), None)
    gap = "" if missing is None else f"there is {missing:08}, but not the segment before it"
    return _Log(checkpoint, tuple(f"{n:08}" for n in numbers), gap)


def _log(folder: Path, name: str, copier: Copier) -> None:
    log = _look(folder / name)
    for _ in range(_TRIES):
        if not log.gap:
            try:
                _copy_log(folder / name, log, copier, f"{PART}/{name}")
            except FileNotFoundError:
                pass
            else:
                after = _look(folder / name)
                if after.checkpoint == log.checkpoint:
                    return
            copier.discard(f"{PART}/{name}")
        time.sleep(_PAUSE_SECONDS)
        log = _look(folder / name)
    why = log.gap or "it changes faster than it can be copied: copy again later"
    raise BackupError(f"{printable.line(folder / name)}: {why}")


def _copy_log(folder: Path, log: _Log, copier: Copier, path: str) -> None:
    files = list(log.segments)
    if log.checkpoint:
        inside = _names(folder / log.checkpoint)
        files += [f"{log.checkpoint}/{name}" for name in inside if _SEGMENT.fullmatch(name)]
    # In their order: all but the last are complete.
    copier.expect(sum((folder / name).stat().st_size for name in files))
    for name in files:
        copier.copy(folder / name, f"{path}/{name}")


def _blocks(folder: Path, copier: Copier) -> None:
    """Copy all blocks that are there at one moment.

    One look at a folder may miss a block that appears and still miss those that go for it; two
    looks that see the same, with nothing to copy in between, saw what was there.
    """
    listed, copied = _look_for_blocks(folder), set[str]()
    for _ in range(_TRIES):
        copier.expect(sum(_size(folder / name) for name in listed - copied))
        for name in sorted(listed - copied):
            try:
                _copy_block(folder, name, copier)
                copied.add(name)
            except FileNotFoundError:
                copier.discard(f"{PART}/{name}")
        again = _look_for_blocks(folder)
        for name in copied - again:
            copier.discard(f"{PART}/{name}")
        copied &= again
        if copied == again == listed:
            return
        listed = again
    raise BackupError(f"{printable.line(folder)}: its blocks change all the time: copy again later")


def _look_for_blocks(folder: Path) -> set[str]:
    return {
        name
        for name in _names(folder)
        if _BLOCK.fullmatch(name) and (folder / name / "meta.json").is_file()
    }


def _size(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_size if path.is_file() else 0
        except FileNotFoundError:
            continue
    return total


def _copy_block(folder: Path, name: str, copier: Copier) -> None:
    names = _names(folder / name)
    for file in names:
        if file == "chunks":
            for chunk in filter(_CHUNKS.fullmatch, _names(folder / name / file)):
                path = f"{name}/{file}/{chunk}"
                copier.copy(folder / path, f"{PART}/{path}", fixed=True)
        elif file in {"index", "meta.json", "tombstones"}:
            # Deletions are written to a file of their own, which takes the place of the old one.
            copier.copy(folder / name / file, f"{PART}/{name}/{file}", fixed=file == "index")
