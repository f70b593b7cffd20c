"""What Docker and Podman call their containers, by files of theirs that root may read."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gpu_sentinel.regularfile import read_bytes

DOCKER = Path("/var/lib/docker")
PODMAN = Path("/var/lib/containers/storage")

#: A container's own file has its environment and labels; the list of all has a few hundred bytes of
#: each.
_CONTAINER_BYTES, _LIST_BYTES = 1 << 20, 8 << 20
#: Podman's list is read so often at most, in seconds.
_PERIOD = 10.0
_ID = re.compile(r"[0-9a-f]{64}")
#: What both allow (Docker's RestrictedNamePattern).
_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}")


class Engines:
    """Names by id."""

    def __init__(
        self,
        docker: Path = DOCKER,
        podman: Path = PODMAN,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Read nothing yet.

        Args:
            docker: Docker's folder.
            podman: where Podman run by root stores containers.
            clock: monotonic seconds.
        """
        self._docker = docker
        self._list = podman / "overlay-containers" / "containers.json"
        self._clock = clock
        self._read: float | None = None
        self._podman: dict[str, str] = {}

    def name(self, number: str, runtime: str) -> str:
        """The name of a container; empty where it cannot be known."""
        if _ID.fullmatch(number) is None:
            return ""
        if runtime in ("docker", "") and (name := self._of_docker(number)):
            return name
        return self._of_podman(number) if runtime == "podman" else ""

    def _of_docker(self, number: str) -> str:
        found = _json(self._docker / "containers" / number / "config.v2.json", _CONTAINER_BYTES)
        name = found.get("Name") if isinstance(found, dict) else None
        return _valid(name.removeprefix("/")) if isinstance(name, str) else ""

    def _of_podman(self, number: str) -> str:
        now = self._clock()
        if number not in self._podman and (self._read is None or now - self._read >= _PERIOD):
            self._read = now
            self._podman = _podman_names(_json(self._list, _LIST_BYTES))
        return self._podman.get(number, "")


def _podman_names(found: Any) -> dict[str, str]:
    names = {}
    for entry in found if isinstance(found, list) else ():
        if not isinstance(entry, dict):
            continue
        number, own = entry.get("id"), entry.get("names")
        if not isinstance(number, str) or not isinstance(own, list) or not own:
            continue
        if isinstance(own[0], str) and (name := _valid(own[0])):
            names[number] = name
    return names


def _valid(name: str) -> str:
    return name if _NAME.fullmatch(name) else ""


def _json(path: Path, most: int) -> Any:
    try:
        return json.loads(read_bytes(path, most))
    # Half written, too deep, or not to be read.
    except (OSError, ValueError, RecursionError):
        return None
