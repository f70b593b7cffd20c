"""The GPUs that were seen since the exporter started, and what the samplers of a driver share."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from gpu_sentinel.model import DeviceId, stand_in
from gpu_sentinel.nvml import Driver
from gpu_sentinel.sampling.governor import Governor
from gpu_sentinel.sampling.pace import Lateness, Pace
from gpu_sentinel.sampling.profiling import Activities
from gpu_sentinel.sampling.signals import History
from gpu_sentinel.sampling.store import Session, SnapshotStore

#: Of the labels that say who a GPU is, those of a membership that it may give up.
MAY_CEASE = frozenset({"fabric_cluster_uuid", "fabric_clique"})


@dataclass(slots=True)
class Known:
    """A GPU that was seen since the exporter started.

    Attributes:
        down: it has stopped answering, and has not begun again.
        lost: the driver has said so, or lists it no more.
        outages: how often it has stopped answering.
        told: it has had readings.
    """

    id: DeviceId
    history: History = field(default_factory=History)
    identity: dict[str, str] | None = None
    down: bool = False
    lost: bool = False
    outages: int = 0
    told: bool = False

    def describe(self, identity: dict[str, str]) -> None:
        """Take in who it says it is; what it does not tell any more is what it told before."""
        before = self.identity or {}
        self.identity = {
            label: text or (before.get(label, "") if label not in MAY_CEASE else "")
            for label, text in identity.items()
        }

    @property
    def address(self) -> str:
        """On the PCI bus, as NVML writes it; empty where that was never told."""
        return (self.identity or {}).get("pci_bus_id", "")

    def stops(self) -> None:
        """It answers no more."""
        self.outages += not self.down
        self.down = True

    def answers(self) -> None:
        """It answers."""
        self.down = self.lost = False


class Registry:
    """Every GPU that was seen since the exporter started, by UUID; asked from any thread."""

    def __init__(self) -> None:
        self.gpus: dict[str, Known] = {}
        #: By UUID of the GPU and number of the GPU instance: the MIG devices in it, and integrals.
        self.instances: dict[str, dict[int, tuple[frozenset[str], Activities]]] = {}
        self.lateness = Lateness()
        self._lock = threading.Lock()
        #: By UUID: the index that has it, of the driver that is open.
        self._taken: dict[str, int] = {}

    def opened(self) -> None:
        """Another driver was opened: GPUs may have other indices."""
        with self._lock:
            self._taken.clear()

    def meet(self, index: int, uuid: str, address: str) -> Known:
        """What is remembered of a GPU.

        Args:
            index: NVML's.
            uuid: as the driver tells it, which may be empty, or that of another GPU.
            address: on the PCI bus; may be empty.
        """
        place = stand_in(index, address)
        with self._lock:
            if not uuid:
                uuid = place
            elif self._taken.get(uuid, index) != index:
                uuid = f"{uuid}@{place}"
            for other in [u for u, i in self._taken.items() if i == index and u != uuid]:
                # It is called otherwise now, as when it told no UUID at first.
                del self._taken[other]
            self._taken[uuid] = index
            known = self.gpus.setdefault(uuid, Known(DeviceId(index, uuid)))
            known.id = DeviceId(index, uuid)
            return known

    def forget(self, uuid: str) -> None:
        """A GPU is here no more, and is not missed."""
        with self._lock:
            self.gpus.pop(uuid, None)
            self.instances.pop(uuid, None)


def _nothing(_index: int) -> tuple[str, str]:
    return "", ""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the samplers of one driver share.

    Attributes:
        on_gone: called where a GPU says that the driver is gone.
        guess: UUID and PCI address of a GPU that tells neither, by index; may be empty.
    """

    driver: Driver
    store: SnapshotStore
    session: Session
    registry: Registry
    governor: Governor
    pace: Callable[[], Pace]
    on_gone: Callable[[], None]
    clock: Callable[[], float] = time.monotonic
    wall: Callable[[], float] = time.time
    guess: Callable[[int], tuple[str, str]] = _nothing
