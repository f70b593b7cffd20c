"""Names of containers and pods, by files that stand on the machine: no daemon is asked.

The kubelet makes a link for each container, `/var/log/containers/POD_NAMESPACE_CONTAINER-ID.log`,
and the runtime a folder for each pod, `/var/log/pods/NAMESPACE_POD_UID`. Both may be listed by
anybody, and stay for a while when the container is gone: whoever asks begins with one that lives.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

_T = TypeVar("_T")

LOGS = Path("/var/log")

#: The folders are listed so often at most, and again at once for what was never asked before.
PERIOD, AT_ONCE = 10.0, 1.0
#: Links of a folder that are read, and unknown ids that are remembered.
MOST_LINKS, MOST_UNKNOWN = 50_000, 1000
#: Names of Kubernetes: DNS subdomains and labels; the id may be cut, see `_LONGEST`.
_LINK = re.compile(r"([a-z0-9.-]{1,253})_([a-z0-9-]{1,63})_([a-z0-9.-]{1,255})\.log")
_POD = re.compile(r"([a-z0-9-]{1,63})_([a-z0-9.-]{1,253})_([0-9a-f-]{32,36})")
_HEX = re.compile(r"[0-9a-f]{12,64}")
#: The kubelet cuts the name of a link, id included, to what ext4 takes (logSymlink, legacy.go).
_LONGEST = 255


class Containers:
    """What the folders said when they were listed last."""

    def __init__(self, logs: Path = LOGS, clock: Callable[[], float] = time.monotonic) -> None:
        """List nothing yet.

        Args:
            logs: where `containers` and `pods` are.
            clock: monotonic seconds.
        """
        self._logs = logs
        self._clock = clock
        self._listed: float | None = None
        self._containers: dict[str, tuple[str, str, str]] = {}
        self._cut: dict[str, tuple[str, str, str]] = {}
        self._pods: dict[str, tuple[str, str]] = {}
        self._unknown: dict[str, None] = {}
        #: Whether the links could be listed; None where nobody has asked for one.
        self.up: bool | None = None

    def container(self, number: str) -> tuple[str, str, str] | None:
        """Namespace, pod and container of an id of 64 hex digits."""
        return self._found(number, lambda: self._containers.get(number) or self._of_cut(number))

    def pod(self, uid: str) -> tuple[str, str] | None:
        """Namespace and name of a pod."""
        return self._found(uid, lambda: self._pods.get(uid))

    def _found(self, key: str, look: Callable[[], _T | None]) -> _T | None:
        found = look()
        if found is None and self._may_list(key):
            self._list()
            found = look()
        if found is not None:
            self._unknown.pop(key, None)
        return found

    def _may_list(self, key: str) -> bool:
        new = key not in self._unknown
        if new:
            if len(self._unknown) >= MOST_UNKNOWN:
                self._unknown.clear()
            self._unknown[key] = None
        if self._listed is None:
            return True
        return self._clock() - self._listed >= (AT_ONCE if new else PERIOD)

    def _list(self) -> None:
        self._listed = self._clock()
        whole, cut = {}, {}
        try:
            for name in _names(self._logs / "containers"):
                if (link := parse_link(name)) is not None:
                    number, *names = link
                    (whole if len(number) == 64 else cut)[number] = tuple(names)
            self.up = True
        except OSError:
            self.up = False
        self._containers, self._cut = whole, cut
        try:
            pods = filter(None, map(parse_pod, _names(self._logs / "pods")))
            self._pods = {uid: (namespace, pod) for uid, namespace, pod in pods}
        except OSError:
            self._pods = {}

    def _of_cut(self, number: str) -> tuple[str, str, str] | None:
        found = {names for part, names in self._cut.items() if number.startswith(part)}
        return found.pop() if len(found) == 1 else None


def parse_link(name: str) -> tuple[str, str, str, str] | None:
    """Id, namespace, pod and container of a link; None where it is none."""
    match = _LINK.fullmatch(name)
    if match is None:
        return None
    container, _, number = match[3].rpartition("-")
    if not container or _HEX.fullmatch(number) is None:
        return None
    if len(number) < 64 and len(name) < _LONGEST:
        return None
    return number, match[2], match[1], container


def parse_pod(name: str) -> tuple[str, str, str] | None:
    """Uid, namespace and name of the folder of a pod; None where it is none."""
    match = _POD.fullmatch(name)
    return (match[3], match[1], match[2]) if match else None


def _names(folder: Path) -> Iterator[str]:
    with os.scandir(folder) as entries:
        for count, entry in enumerate(entries):
            if count >= MOST_LINKS:
                return
            yield entry.name
