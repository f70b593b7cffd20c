"""Who holds which GPU: asks the kubelet, Slurm and others in a thread of its own."""

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


class Holders:
    """What all sources know, by UUID of the GPU. Read from any thread.

    Attributes:
        up: whether each source answers.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        snapshot: Callable[[], Snapshot],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Ask nothing yet; `snapshot` tells which GPUs and MIG devices there are."""
        self.up: Mapping[str, bool] = {}
        self._sources = tuple(sources)
        self._snapshot = snapshot
        self._clock = clock
        self._held = _NONE
        self._told: dict[str, str] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="allocations", daemon=True)

    def start(self) -> None:
        """Start the thread, where there is anything to ask."""
        if self._sources:
            self._thread.start()

    def stop(self, timeout: float) -> None:
        """End it; a source that does not answer is not waited for."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join(timeout)

    def of(self, uuid: str) -> tuple[Held, ...]:
        """Who holds a GPU, or a part of it."""
        return self._held.get(uuid, ())

    def look(self) -> None:
        """One round."""
        now = self._clock()
        found: list[Allocation] = []
        up = {}
        for source in self._sources:
            trouble = ""
            try:
                found += source.allocations(now)
                up[source.name] = source.up()
                trouble = "" if source.up() else source.trouble()
            except Exception as error:  # noqa: BLE001 - a defect of ours in one costs no other
                up[source.name] = False
                trouble = f"{type(error).__name__}: {error}"
            self._tell(source, trouble)
        self.up = up
        self._held = _by_gpu(found, self._snapshot())

    def _tell(self, source: Source, trouble: str) -> None:
        """One line whenever what is wrong with a source changes."""
        if trouble == self._told.get(source.name, ""):
            return
        self._told[source.name] = trouble
        fields = {"source": source.name} | ({"reason": trouble} if trouble else {})
        if trouble:
            log.warning("allocations cannot be read", extra={"fields": fields})
        else:
            log.info("allocations are read again", extra={"fields": fields})

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self.look()
            except Exception:
                # A defect of ours must not end the one thread that knows who holds what.
                log.exception("allocations failed")
            self._stop.wait(ROUND_SECONDS)


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
