"""Fixtures of the tests of owners."""

from __future__ import annotations

from pathlib import Path

import pytest
from filesworld import World

from gpu_sentinel.host.owners import procfs


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files of /proc that were read."""
    found: list[str] = []
    real = procfs.read

    def read(path: str, most: int) -> bytes:
        found.append("/".join(path.rsplit("/", 2)[1:]))
        return real(path, most)

    monkeypatch.setattr(procfs, "read", read)
    return found
