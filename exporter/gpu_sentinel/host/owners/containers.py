"""Names of containers and pods, by files that stand on the machine: no daemon is asked.

The kubelet makes a link for each container, `/var/log/containers/POD_NAMESPACE_CONTAINER-ID.log`,
and the runtime a folder for each pod, `/var/log/pods/NAMESPACE_POD_UID`. Both may be listed by
anybody, and stay for a while when the container is gone: whoever asks begins with one that lives.
"""

from __future__ import annotations

import os
import re
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Generic, TypeVar

_T = TypeVar("_T")

LOGS = Path("/var/log")

#: The folders are listed so often at most, and earlier for what was never looked for.
PERIOD, AT_ONCE = 10.0, 1.0
#: So many ids that are new are looked for without such a pause, as when the exporter starts.
BURST = 10
#: Entries of a folder that are looked at, and ids that are remembered, known and unknown.
MOST_ENTRIES, MOST = 100_000, 10_000
#: Names of Kubernetes: DNS subdomains and labels; the id may be cut, see `_LONGEST`.
_LINK = re.compile(r"([a-z0-9.-]{1,253})_([a-z0-9-]{1,63})_([a-z0-9.-]{1,255})\.log")
_POD = re.compile(r"([a-z0-9-]{1,63})_([a-z0-9.-]{1,253})_([0-9a-f-]{32,36})")
_HEX = re.compile(r"[0-9a-f]{12,64}")
_ID_CHARACTERS, _SUFFIX = 64, ".log"
#: The kubelet cuts the name of a link, id included, to what ext4 takes (logSymlink, legacy.go).
_LONGEST = 255


class Finder(Generic[_T]):
    """Names by ids that do not change: what was found is kept, what was not is looked for again."""

    def __init__(
        self,
        look: Callable[[Collection[str]], Mapping[str, _T]],
        clock: Callable[[], float],
    ) -> None:
        """Look for nothing yet.

        Args:
            look: finds some of the ids that it is given; raises OSError where it cannot look.
            clock: monotonic seconds.
        """
        self._look = look
        self._clock = clock
        self._looked: float | None = None
        self._free, self._refilled = float(BURST), clock()
        self._found: OrderedDict[str, _T] = OrderedDict()
        #: And whether it was looked for already.
        self._unknown: OrderedDict[str, bool] = OrderedDict()
        #: Whether it could look; None where it had no reason to.
        self.up: bool | None = None

    def find(self, key: str) -> _T | None:
        """What an id stands for; None where that is not known now."""
        found = self._found.get(key)
        if found is not None:
            self._found.move_to_end(key)
            return found
        before = self._unknown.setdefault(key, False)
        while len(self._unknown) > MOST:
            self._unknown.popitem(last=False)
        now = self._clock()
        if not self._may_look(now, again=before):
            return None
        self._looked = now
        try:
            new = self._look(self._unknown)
        except OSError:
            self.up = False
            return None
        self.up = True
        self._unknown = OrderedDict.fromkeys((k for k in self._unknown if k not in new), True)
        self._found.update(new)
        while len(self._found) > MOST:
            self._found.popitem(last=False)
        return new.get(key)

    def _may_look(self, now: float, *, again: bool) -> bool:
        """Whether to look now: for an id that is new, at once, but not for thousands of them."""
        if again:
            return self._looked is None or now - self._looked >= PERIOD
        self._free = min(self._free + (now - self._refilled) / AT_ONCE, float(BURST))
        self._refilled = now
        if self._free < 1.0:
            return False
        self._free -= 1.0
        return True


class Containers:
    """Containers and pods of Kubernetes."""

    def __init__(self, logs: Path = LOGS, clock: Callable[[], float] = time.monotonic) -> None:
        """Look for nothing yet.

        Args:
            logs: where `containers` and `pods` are.
            clock: monotonic seconds.
        """
        self._links = Finder(lambda ids: _links(logs / "containers", ids), clock)
        self._pods = Finder(lambda ids: _pods(logs / "pods", ids), clock)

    @property
    def up(self) -> bool | None:
        """Whether the links could be listed; None where nobody has asked for one."""
        return self._links.up

    def container(self, number: str) -> tuple[str, str, str] | None:
        """Namespace, pod and container of an id of 64 hex digits."""
        return self._links.find(number)

    def pod(self, uid: str) -> tuple[str, str] | None:
        """Namespace and name of a pod."""
        return self._pods.find(uid)


def _links(folder: Path, ids: Collection[str]) -> dict[str, tuple[str, str, str]]:
    found: dict[str, tuple[str, str, str]] = {}
    # Where a name is cut, who chose the names in it may have made it end like another's id.
    cut: dict[str, set[tuple[str, str, str]]] = {}
    for name in _names(folder):
        if name[-_ID_CHARACTERS - len(_SUFFIX) : -len(_SUFFIX)] in ids or len(name) == _LONGEST:
            link = parse_link(name)
            if link is None:
                continue
            number, namespace, pod, container = link
            if number in ids:
                found[number] = namespace, pod, container
            elif len(number) < _ID_CHARACTERS:
                for whole in _beginning(number, ids):
                    cut.setdefault(whole, set()).add((namespace, pod, container))
    sure = {whole: named.pop() for whole, named in cut.items() if len(named) == 1}
    return sure | found


def _beginning(start: str, ids: Collection[str]) -> list[str]:
    """The one id that begins so."""
    found = [number for number in ids if number.startswith(start)]
    return found if len(found) == 1 else []


def _pods(folder: Path, uids: Collection[str]) -> dict[str, tuple[str, str]]:
    found = {}
    for name in _names(folder):
        if name.rpartition("_")[2] in uids and (pod := parse_pod(name)) is not None:
            uid, *names = pod
            found[uid] = names[0], names[1]
    return found


def parse_link(name: str) -> tuple[str, str, str, str] | None:
    """Id, namespace, pod and container of a link; None where it is none."""
    match = _LINK.fullmatch(name)
    if match is None:
        return None
    container, _, number = match[3].rpartition("-")
    if not container or _HEX.fullmatch(number) is None:
        return None
    if len(number) < _ID_CHARACTERS and len(name) < _LONGEST:
        return None
    return number, match[2], match[1], container


def parse_pod(name: str) -> tuple[str, str, str] | None:
    """Uid, namespace and name of the folder of a pod; None where it is none."""
    match = _POD.fullmatch(name)
    return (match[3], match[1], match[2]) if match else None


def _names(folder: Path) -> Iterator[str]:
    with os.scandir(folder) as entries:
        for count, entry in enumerate(entries):
            if count >= MOST_ENTRIES:
                return
            yield entry.name
