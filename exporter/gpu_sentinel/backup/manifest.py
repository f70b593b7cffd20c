"""The list of a copy's files, with their sizes, modes and checksums."""

from __future__ import annotations

import hashlib
import json
import os
import re
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from gpu_sentinel import printable, regularfile
from gpu_sentinel.backup.errors import BackupError

NAME, SUM_NAME = "manifest.json", "manifest.json.sha256"
FORMAT = 1

#: The folders of a copy.
PARTS = (
    "prometheus",
    "alertmanager",
    "grafana",
    "dashboards",
    "settings",
    "configuration",
    "secrets",
)

#: What `gpu-sentinel up` keeps at the top of its data directory: ends of names, and names.
SETTINGS = (".yml", ".yaml")
SECRETS = ("secrets", "grafana-password")

_LONGEST = 64 * 2**20
_SHA256 = re.compile(r"[0-9a-f]{64}")
_LONGEST_PATH = 4096


@dataclass(frozen=True, slots=True)
class Entry:
    """One file.

    Attributes:
        path: inside of the copy, with `/` between folders.
        size: bytes.
        mode: permission bits, at most 0o777.
        modified: when the source was written last, nanoseconds since 1970.
        sha256: of the content, in hexadecimal digits.
    """

    path: str
    size: int
    mode: int
    modified: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a copy holds.

    Attributes:
        created: when copying began, ISO 8601 in UTC.
        program: version of the program that took it.
        host: name of the machine that it was taken on.
    """

    created: str
    program: str
    host: str
    files: tuple[Entry, ...]

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(entry.size for entry in self.files)


def write(folder: Path, manifest: Manifest) -> None:
    """Write the manifest and its own checksum, in the format of `sha256sum`.

    Raises:
        OSError: the disk is full, or cannot be written.
    """
    content = {"format": FORMAT, **asdict(manifest)}
    text = json.dumps(content, indent=1).encode() + b"\n"
    _store(folder / NAME, text)
    _store(folder / SUM_NAME, f"{hashlib.sha256(text).hexdigest()}  {NAME}\n".encode())


def _store(path: Path, content: bytes) -> None:
    number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(number, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(number)


def read(folder: Path) -> Manifest:
    """The manifest of a copy, every value of which was checked.

    Raises:
        BackupError: there is none, it is damaged, or it names what no copy may hold.
    """
    path = folder / NAME
    text = _content(path)
    expected = _content(folder / SUM_NAME)
    if expected.split() != [hashlib.sha256(text).hexdigest().encode(), NAME.encode()]:
        raise BackupError(
            f"{printable.line(path)}: its checksum is not that of {SUM_NAME}: it is damaged"
        )
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        raise BackupError(f"{printable.line(path)}: this is no JSON") from None
    try:
        return _manifest(content)
    except _WrongError as wrong:
        raise BackupError(f"{printable.line(path)}: {wrong}") from None


def _content(path: Path) -> bytes:
    try:
        if path.stat().st_size > _LONGEST:
            raise BackupError(
                f"{printable.line(path)}: longer than {_LONGEST} bytes: this is no manifest"
            )
        return regularfile.read_bytes(path)
    except FileNotFoundError:
        raise BackupError(
            f"{printable.line(path)}: there is no such file: name the folder of one copy"
        ) from None
    except OSError as error:
        raise BackupError(f"{printable.line(path)}: cannot be read: {error.strerror}") from None


class _WrongError(Exception):
    """What is wrong with a value."""


def _manifest(content: Any) -> Manifest:
    if not isinstance(content, dict):
        raise _WrongError("expected an object")
    if content.get("format") != FORMAT:
        raise _WrongError(
            f"format {content.get('format')!r:.40}: this version reads format {FORMAT}"
        )
    created, program, host = (_text(content, key) for key in ("created", "program", "host"))
    files = content.get("files")
    if not isinstance(files, list):
        raise _WrongError("files: expected a list")
    entries = tuple(_entry(value, f"files[{index}]") for index, value in enumerate(files))
    _check_tree(entries)
    return Manifest(created, program, host, entries)


def _text(content: dict[Any, Any], key: str) -> str:
    value = content.get(key)
    if not isinstance(value, str) or not value.isprintable() or len(value) > 256:
        raise _WrongError(f"{key}: expected a short text")
    return value


def _entry(value: Any, where: str) -> Entry:
    names = {field.name for field in fields(Entry)}
    if not isinstance(value, dict) or value.keys() != names:
        raise _WrongError(f"{where}: expected an object with {', '.join(sorted(names))}")
    path, sha256 = value["path"], value["sha256"]
    if not isinstance(path, str) or not safe(path):
        raise _WrongError(f"{where}: {path!r:.200} is no path inside of a copy")
    for key, highest in (("size", 2**60), ("mode", 0o777), ("modified", 2**63)):
        number = value[key]
        if type(number) is not int or not 0 <= number <= highest:
            raise _WrongError(f"{where}: {key}: expected a whole number from 0 to {highest}")
    if not isinstance(sha256, str) or not _SHA256.fullmatch(sha256):
        raise _WrongError(f"{where}: sha256: expected 64 hexadecimal digits")
    return Entry(**value)


def safe(path: str) -> bool:
    """Whether a path stays inside of a part of a copy, and can be shown."""
    part, *rest = path.split("/")
    if part == "settings" and (len(rest) != 1 or not rest[0].endswith(SETTINGS)):
        return False
    if part == "secrets" and rest[:1] not in [[name] for name in SECRETS]:
        return False
    return (
        part in PARTS
        and bool(rest)
        and all(name not in {"", ".", ".."} for name in rest)
        and len(path) <= _LONGEST_PATH
        and path.isprintable()
        and "\\" not in path
    )


def _check_tree(entries: tuple[Entry, ...]) -> None:
    """No file twice, and none that is the folder of another."""
    paths: set[str] = set()
    for entry in entries:
        if entry.path in paths:
            raise _WrongError(f"{entry.path}: named twice")
        paths.add(entry.path)
    for path in paths:
        at = path.rfind("/")
        while at > 0:
            if path[:at] in paths:
                raise _WrongError(f"{path[:at]}: named as a file and as a folder")
            at = path.rfind("/", 0, at)
