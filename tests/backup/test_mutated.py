"""Manifests that were changed at random: refused in one line, or restored into the folder alone."""

from __future__ import annotations

import copy as copying
import hashlib
import json
import random
import shutil
from pathlib import Path
from typing import Any

import pytest

from gpu_sentinel.backup import manifest
from gpu_sentinel.backup.errors import BackupError
from gpu_sentinel.backup.manifest import Entry, Manifest
from gpu_sentinel.backup.restore import places, restore
from gpu_sentinel.backup.verify import faults

FILES = {"prometheus/wal/00000000": b"y" * 50, "settings/thresholds.yml": b"x"}
VALUES = [
    *(None, True, False, 0, -1, 1.5, 1e308, float("nan"), 10**30, [], {}, [[]], [None]),
    *("", "x", "../..", "/etc/passwd", "a/../../b", "\0", "\x1b[2J", "\ud800", "settings/../x"),
    *("settings/x.yml/", "prometheus/wal", "prometheus/wal/00000000/x", "secrets/secrets/x"),
]


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    folder = tmp_path / "copy"
    entries = []
    for path, content in FILES.items():
        (folder / path).parent.mkdir(parents=True)
        (folder / path).write_bytes(content)
        digest = hashlib.sha256(content).hexdigest()
        entries.append(Entry(path, len(content), 0o644, 5, digest))
    manifest.write(folder, Manifest("2026-11-28T07:43:57.458+00:00", "1", "a", tuple(entries)))
    return folder


def places_in(value: Any) -> list[tuple[Any, Any]]:
    keys = value if isinstance(value, dict) else range(len(value)) if type(value) is list else ()
    return [found for key in keys for found in ((value, key), *places_in(value[key]))]


def values_changed(text: bytes, chance: random.Random) -> bytes:
    content = json.loads(text)
    for _ in range(chance.choice([1, 1, 2, 5])):
        if found := places_in(content):
            where, key = chance.choice(found)
            if chance.random() < 0.15:
                del where[key]
            else:
                where[key] = copying.deepcopy(chance.choice(VALUES))
    return json.dumps(content).encode()


def bytes_changed(text: bytes, chance: random.Random) -> bytes:
    content = bytearray(text)
    for _ in range(chance.randint(1, 6)):
        at = chance.randrange(len(content))
        content[at : at + chance.randrange(3)] = chance.randbytes(chance.randrange(3))
    return bytes(content)


def mutate(copy: Path, rounds: int) -> None:
    text = (copy / manifest.NAME).read_bytes()
    chance = random.Random(rounds)
    new = copy.parent / "new"
    there = sorted(copy.parent.rglob("*"))
    said: list[str] = []
    for number in range(rounds):
        changed = (values_changed if number % 2 else bytes_changed)(text, chance)
        (copy / manifest.NAME).write_bytes(changed)
        digest = hashlib.sha256(changed).hexdigest()
        (copy / manifest.SUM_NAME).write_text(f"{digest}  {manifest.NAME}\n")
        try:
            faults(copy, manifest.read(copy), lambda _done, _total: None)
            restore(copy, places(new, {}), force=False, progress=lambda _done, _total: None)
            shutil.rmtree(new)
        except BackupError as error:
            said.append(str(error))
    assert sorted(copy.parent.rglob("*")) == there
    assert all(map(str.isprintable, said))
    assert 0 < len(said) < rounds


def test_mutated_manifests(copy: Path):
    mutate(copy, 200)


@pytest.mark.long
@pytest.mark.timeout(600)
def test_many_mutated_manifests(copy: Path):
    mutate(copy, 10_000)
