"""Who holds which GPU: asks the kubelet, Slurm and others, each in a thread of its own."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from gpu_sentinel.host.gpus import MigPlace, NodeGpu
from gpu_sentinel.host.jobs import devices as jobs
from gpu_sentinel.host.podresources import devices as pods
from gpu_sentinel.model import Allocation, Snapshot

log = logging.getLogger(__name__)

#: Between two rounds; each source decides itself how often it looks.
ROUND_SECONDS = 1.0
#: A source that is asked for so long does not answer; those with a socket give up sooner.
SILENT_SECONDS = 30.0

#: An allocation of a GPU, and the GPU instance that it is about; None for the whole GPU.
Held = tuple[Allocation, int | None]
_NONE: Mapping[str, tuple[Held, ...]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Source:
    """Somebody who knows allocations.

    Attributes:
        name: the label `source` of `gpu_sentinel_owner_source_up`.
        allocations: what it knows at a time (monotonic seconds); may take seconds.
        up: whether it answers.
        trouble: why not, for a person; empty where it does.
        unknown: tells it that somebody uses a GPU of whom it has not told: it may ask sooner.
    """

    name: str
    allocations: Callable[[float], tuple[Allocation, ...]]
    up: Callable[[], bool]
    trouble: Callable[[], str]
    unknown: Callable[[], None] = lambda: None


@dataclass(slots=True)
class _Asked:
    """What is known of a source.

    Attributes:
        found: what it told last.
        up: whether it answers; None before it has.
        trouble: why not, as the log has told it.
        since: since when it is being asked; None while it is not.
    """

    found: tuple[Allocation, ...] = ()
    up: bool | None = None
    trouble: str = ""
    since: float | None = None


class Holders:
    """What all sources know, by UUID of the GPU. Read from any thread.

    Each source is asked by a thread of its own: one that hangs, in a file system that is gone or in
    a process that cannot be read, holds up no other. What it told last is believed meanwhile.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        snapshot: Callable[[], Snapshot],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Ask nothing yet; `snapshot` tells which GPUs and MIG devices there are."""
        self._asked = {source.name: (source, _Asked()) for source in sources}
        self._snapshot = snapshot
        self._clock = clock
        self._lock = threading.Lock()
        self._held = _NONE
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._follow, args=asked, name=f"owners-{name}", daemon=True)
            for name, asked in self._asked.items()
        ]

    def start(self) -> None:
        """Start the threads."""
        for thread in self._threads:
            thread.start()

    def stop(self, timeout: float) -> None:
        """End them; a source that does not answer is not waited for."""
        self._stop.set()
        deadline = time.monotonic() + timeout
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(max(deadline - time.monotonic(), 0.0))

    @property
    def up(self) -> Mapping[str, bool]:
        """Whether each source answers; without those that were never asked."""
        silent = self._clock() - SILENT_SECONDS
        found = {}
        for name, (_, asked) in self._asked.items():
            up, since = asked.up, asked.since
            if since is not None and since < silent:
                up = False
            if up is not None:
                found[name] = up
        return found

    def of(self, uuid: str) -> tuple[Held, ...]:
        """Who holds a GPU, or a part of it."""
        return self._held.get(uuid, ())

    def look(self) -> None:
        """Ask each source once."""
        for source, asked in self._asked.values():
            self._ask(source, asked)

    def _ask(self, source: Source, asked: _Asked) -> None:
        trouble = ""
        now = asked.since = self._clock()
        found: tuple[Allocation, ...] = ()
        try:
            found = source.allocations(now)
            asked.up = source.up()
            trouble = "" if asked.up else source.trouble()
        except Exception as error:  # noqa: BLE001 - a defect of ours is told as the source's
            asked.up = False
            trouble = f"{type(error).__name__}: {error}"
        finally:
            asked.since = None
        if trouble != asked.trouble:
            asked.trouble = trouble
            _tell(source.name, trouble)
        with self._lock:
            asked.found = found
            every = [a for _, one in self._asked.values() for a in one.found]
            self._held = _by_gpu(every, self._snapshot())

    def _follow(self, source: Source, asked: _Asked) -> None:
        while not self._stop.is_set():
            try:
                self._ask(source, asked)
            except Exception:
                # A defect of ours must not end the one thread that asks this source.
                log.exception("allocations failed")
            self._stop.wait(ROUND_SECONDS)


def _tell(name: str, trouble: str) -> None:
    """One line of what is wrong with a source, or that nothing is any more."""
    fields = {"source": name} | ({"reason": trouble} if trouble else {})
    if trouble:
        log.warning("allocations cannot be read", extra={"fields": fields})
    else:
        log.info("allocations are read again", extra={"fields": fields})


def _by_gpu(found: Sequence[Allocation], snapshot: Snapshot) -> Mapping[str, tuple[Held, ...]]:
    gpus = _gpus(snapshot)
    held: dict[str, list[Held]] = {}
    for allocation in found:
        places: Sequence[pods.Held | jobs.Place]
        if allocation.source == "kubelet":
            pod = pods.resolve(allocation.device, gpus)
            places = () if pod is None else (pod,)
        else:
            places = jobs.places(allocation.device, gpus)
        for place in places:
            held.setdefault(place.uuid, []).append((allocation, place.gpu_instance))
    return {uuid: _sure(all_) for uuid, all_ in held.items()}


def _sure(held: Sequence[Held]) -> tuple[Held, ...]:
    """What Slurm's own numbers say is left out where a mapping directory tells of the GPU.

    Slurm counts the GPUs of gres.conf, which need not be all of the node.
    """
    if any(allocation.source == "mapping" for allocation, _ in held):
        held = [one for one in held if one[0].source != "slurm"]
    return tuple(held)


def _minor(identity: Mapping[str, str] | None) -> int | None:
    text = (identity or {}).get("minor_number", "")
    return int(text) if text.isdecimal() else None


def _gpus(snapshot: Snapshot) -> tuple[NodeGpu, ...]:
    parts: dict[str, list[MigPlace]] = {}
    for instance in snapshot.instances:
        labels = instance.labels
        if "mig_uuid" in labels:
            parts.setdefault(instance.device.uuid, []).append(
                MigPlace(
                    labels["mig_uuid"],
                    int(labels["gpu_instance"]),
                    int(labels["compute_instance"]),
                    labels["profile"],
                    instance.profile_id,
                    instance.start,
                )
            )
    return tuple(
        NodeGpu(d.id.index, d.id.uuid, _minor(d.identity), tuple(parts.get(d.id.uuid, ())))
        for d in snapshot.devices
        if not d.id.address
    )
