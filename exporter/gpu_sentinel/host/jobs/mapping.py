"""A directory that says which jobs have which GPU, as prolog scripts of batch systems keep it.

A file per GPU, one job a line. The name is that of dcgm-exporter's `--hpc-job-mapping-dir`: the
GPU's index, `<index>.<GPU instance>` under MIG; a UUID of a GPU or a MIG device is taken too. A
line is a job id, or what packaging/slurm/ writes: `job=123 user=alice account=physics`.

Whoever may write there decides what is said about a GPU; all else of it is harmless: links are not
followed, pipes and devices not opened, and there is a bound to everything.
"""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from gpu_sentinel.host.jobs.devices import is_uuid
from gpu_sentinel.host.jobs.words import number, word
from gpu_sentinel.model import Allocation, Owner
from gpu_sentinel.regularfile import TooLongError, read_bytes

#: Seconds between two looks at the directory.
PERIOD = 5.0
#: Entries of the directory that are looked at, files that are read, bytes and jobs of one.
ENTRIES, FILES, BYTES, JOBS = 4096, 1024, 64 << 10, 64
# Seconds after its last change for which a file is read at each look: file systems' clocks are
# coarse, so two changes may bear one time.
_FRESH = 2.0
_WORDS = {b"job": "job", b"user": "user", b"account": "account"}

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _File:
    """A file as it was read last. `open_end`: its last line had no end; `seen` it is its state."""

    seen: tuple[int, ...]
    fresh: bool
    open_end: bool
    owners: tuple[Owner, ...]


class MappingDirectory:
    """Reads such a directory, at most every `PERIOD` seconds.

    Attributes:
        up: it could be listed.
        trouble: why not, for a person; empty while it is.
    """

    def __init__(
        self, directory: Path, clock: Callable[[], float], wall: Callable[[], float]
    ) -> None:
        """Nothing is read yet.

        Args:
            directory: where the files are. It may come later.
            clock: monotonic seconds.
            wall: Unix time.
        """
        self.up = False
        self.trouble = "not read yet"
        self._directory = directory
        self._clock = clock
        self._wall = wall
        self._next = float("-inf")
        self._files: dict[str, _File] = {}
        self._found: tuple[Allocation, ...] = ()
        self._warned: set[str] = set()

    def allocations(self) -> tuple[Allocation, ...]:
        """Who has which GPU, in the order of the files' names; the last answer if it is recent."""
        now = self._clock()
        if now >= self._next:
            self._next = now + PERIOD
            self._look()
        return self._found

    def _look(self) -> None:
        try:
            with os.scandir(self._directory) as entries:
                listed = [entry for entry in islice(entries, ENTRIES) if _is_gpu(entry.name)]
                more = next(entries, None) is not None
        except (OSError, ValueError) as error:
            self.up = False
            self.trouble = str(error)
            self._files, self._found = {}, ()
            return
        self.up, self.trouble = True, ""
        if more or len(listed) > FILES:
            self._warn("too many", f"of {ENTRIES} entries, the first {FILES} files are read")
        listed.sort(key=lambda entry: (len(entry.name), entry.name))
        read = ((entry.name, self._file(entry)) for entry in listed[:FILES])
        self._files = {name: file for name, file in read if file is not None}
        self._found = tuple(
            Allocation(owner, name, "mapping", "mapping")
            for name, file in self._files.items()
            for owner in file.owners
        )

    def _file(self, entry: os.DirEntry[str]) -> _File | None:
        """What a file says; None where it is not one, or is gone already."""
        before = self._files.get(entry.name)
        try:
            status = entry.stat(follow_symlinks=False)
            if not stat.S_ISREG(status.st_mode):
                self._warn("no file", "what is no regular file is not read", entry.name)
                return None
            place = (status.st_dev, status.st_ino, status.st_size)
            seen = (*place, status.st_mtime_ns, status.st_ctime_ns)
            same = before is not None and before.seen == seen
            if before is not None and same and not before.fresh and not before.open_end:
                return before
            content = read_bytes(Path(entry.path), BYTES, links=False)
        except TooLongError:
            self._warn("too long", f"a file of more than {BYTES >> 10} KiB is not read", entry.name)
            return None
        except FileNotFoundError:
            return None  # its job has just ended
        except OSError as error:
            self._warn("unreadable", str(error), entry.name)
            return None
        # A last line without an end may be half of one, "12" of "123": it counts when the file is
        # still the same at the next look.
        lines = content.split(b"\n")
        last = lines.pop()
        if same and last:
            lines.append(last)
        # A time in the future is one that says nothing.
        fresh = self._wall() - max(status.st_mtime, status.st_ctime) < _FRESH
        owners = dict.fromkeys(self._owners(entry.name, lines))
        return _File(seen, fresh, bool(last) and not same, tuple(islice(owners, JOBS)))

    def _owners(self, name: str, lines: list[bytes]) -> Iterator[Owner]:
        for line in lines:
            words = line.split()
            if not words or words[0].startswith(b"#"):
                continue
            told: dict[str, str] = {}
            for position, part in enumerate(words):
                key, equals, value = part.partition(b"=")
                if equals and key in _WORDS:
                    told.setdefault(_WORDS[key], word(value))
                elif position == 0 and not equals:
                    told["job"] = word(part)
                else:
                    self._warn("unknown", "words that mean nothing here are skipped", name)
            if job := told.get("job"):
                yield job_owner(job, told.get("user", ""), told.get("account", ""))
            else:
                self._warn("no job", "a line that names no job is skipped", name)

    def _warn(self, kind: str, message: str, name: str = "") -> None:
        """Once for each kind: what is wrong with a script is wrong with all that it writes."""
        if kind not in self._warned:
            self._warned.add(kind)
            fields = {"directory": str(self._directory), **({"file": name} if name else {})}
            _LOG.warning("job mapping: %s", message, extra={"fields": fields})


def job_owner(job: str, user: str = "", account: str = "") -> Owner:
    """A job as an owner."""
    return Owner("slurm_job", job, slurm_job=job, slurm_account=account, user=user)


def _is_gpu(name: str) -> bool:
    """Whether a file's name is that of a GPU or a GPU instance."""
    if is_uuid(name):
        return True
    index, dot, instance = name.partition(".")
    return number(index, 4) is not None and (not dot or number(instance, 4) is not None)
