"""Which GPUs there are: what the driver lists, what the PCI bus shows, and what was seen before."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence

from gpu_sentinel.catalogue.availability import NOT_LISTED, UNCLAIMED
from gpu_sentinel.host import PciGpu, bus_address, pci_address
from gpu_sentinel.host.pci import NVIDIA, expected, listable, unclaimed
from gpu_sentinel.model import UNLISTED, DeviceId, DeviceSnapshot, stand_in
from gpu_sentinel.sampling.registry import Known, Registry
from gpu_sentinel.sampling.sampler import DeviceSampler
from gpu_sentinel.sampling.store import SnapshotStore

log = logging.getLogger(__name__)

#: A GPU that is neither on the PCI bus nor listed is missed for so long, then forgotten.
FORGET_SECONDS = 3600.0
#: One that was never listed is lost only after so long: drivers list their GPUs one by one.
SETTLE_SECONDS = 30.0

PciGpus = tuple[PciGpu, ...]


class Roster:
    """Puts GPUs onto the page that no sampler can read.

    One thread uses it, but for `guess`, `stranger` and `behind`.
    """

    def __init__(
        self,
        store: SnapshotStore,
        registry: Registry,
        pci_gpus: Callable[[], PciGpus | None],
        expected_gpus: Callable[[], int | None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare.

        Args:
            store: where everything that is known goes.
            registry: the GPUs that were seen.
            pci_gpus: NVIDIA display devices on the PCI bus; None where nobody knows.
            expected_gpus: as set; None for as many as the driver should have.
            clock: monotonic seconds.
        """
        self._store = store
        self._registry = registry
        self._pci_gpus = pci_gpus
        self._expected_gpus = expected_gpus
        self._clock = clock
        self._pci: PciGpus | None = None
        #: By `bus_address`: the GPU that has it, or is behind it; "" where several are. None is
        #: forgotten, since what is told of a GPU that was taken out comes later.
        self._behind: dict[str, str] | None = None
        self._listed = 0
        #: By UUID: what stands on the page although the driver does not list it.
        self._shown: set[str] = set()
        self._gone_since: dict[str, float] = {}
        #: By PCI address: since when the driver has not listed it although it should.
        self._unlisted_since: dict[str, float] = {}
        self._excused: set[str] = set()

    @property
    def bound(self) -> PciGpus:
        """The GPUs that the PCI bus shows and the driver should list, by address."""
        return listable(self._pci or ())

    def count(self) -> None:
        """Look at the PCI bus."""
        self._pci = self._pci_gpus()
        self._behind = _behind(self._pci or (), self._behind or {})
        wanted = self._expected_gpus()
        if wanted is None and self._pci is not None:
            wanted = expected(self._pci)
        cards = None if self._pci is None else sum(not gpu.virtual for gpu in self._pci)
        self._store.put_counts(cards, wanted)

    def excuse(self) -> None:
        """Who takes away a GPU that is known now does so on purpose."""
        self._excused = set(self._registry.gpus)

    def opened(self, listed: int) -> None:
        """The driver was opened, and lists so many GPUs."""
        self._listed = listed
        self._registry.opened()

    def guess(self, index: int) -> tuple[str, str]:
        """UUID and PCI address of a GPU that does not tell them; empty where nobody knows.

        The driver lists GPUs in the order of their addresses (nvml.h, nvmlDeviceGetHandleByIndex:
        it need not, so this holds only where the numbers agree), and GPUs that were seen before
        most often have the index that they had.
        """
        bound, gpus = self.bound, self._registry.gpus.copy().values()
        if len(bound) == self._listed and index < len(bound):
            address = bound[index].address
            here = (k.id.uuid for k in gpus if bus_address(k.address) == bus_address(address))
            return next(here, bound[index].uuid), address
        before = next((k for k in gpus if k.id.index == index), None)
        return (before.id.uuid, before.address) if before else ("", "")

    def stranger(self, bus: str) -> DeviceId | None:
        """What a GPU is called that the driver does not list, by its `bus_address`.

        None where another driver has it, as one that is passed through to a virtual machine.
        """
        on_bus = next((g for g in self._pci or () if bus_address(g.address) == bus), None)
        if on_bus is not None:
            if on_bus.driver not in (NVIDIA, ""):
                return None
            return _unlisted_id(on_bus.address, on_bus.uuid)
        return _unlisted_id(pci_address(bus))

    def behind(self, bus: str) -> str | None:
        """The `bus_address` of the GPU that has this one, or that has this bridge for itself.

        Empty where no GPU has it, or several have; None while nobody has looked at the PCI bus.
        """
        return None if self._behind is None else self._behind.get(bus, "")

    def settle(self, samplers: Sequence[DeviceSampler]) -> None:
        """Show the GPUs that are missed, and those that only the PCI bus knows; hide the others."""
        here = [sampler.known for sampler in samplers if sampler.known]
        if len(here) < len(samplers):
            return  # one that has not told who it is may be the missing one
        now = self._clock()
        shown = {d.id.uuid: d for d in (*self._missed(here, now), *self._unlisted(here, now))}
        for uuid, device in shown.items():
            if uuid not in self._shown:
                log.warning(
                    "GPU is not listed by the driver",
                    extra={"fields": {"uuid": uuid, "reason": device.failure}},
                )
            self._store.put_device(device)
        for uuid in self._shown - shown.keys() - {known.id.uuid for known in here}:
            self._store.forget_device(uuid)
        self._shown = set(shown)

    def _missed(self, here: Sequence[Known], now: float) -> list[DeviceSnapshot]:
        """GPUs that were here before and are not listed any more: they are lost."""
        found = []
        listed = {known.id.uuid for known in here}
        for uuid, known in self._registry.gpus.copy().items():
            if uuid in listed:
                self._gone_since.pop(uuid, None)
                self._excused.discard(uuid)
                continue
            if reason := self._left(uuid, known, now):
                log.info(
                    "GPU is not missed any more", extra={"fields": {"uuid": uuid, "reason": reason}}
                )
                self._registry.forget(uuid)
                self._store.forget_device(uuid)
                self._gone_since.pop(uuid, None)
                continue
            known.stops()
            known.lost = True
            found.append(
                DeviceSnapshot(
                    id=known.id,
                    identity=known.identity,
                    lost=True,
                    failure=NOT_LISTED,
                    outages=known.outages,
                    answered=now,
                )
            )
        return found

    def _left(self, uuid: str, known: Known, now: float) -> str:
        """Why a GPU that is not listed is not missed; empty where it is."""
        if uuid in self._excused:
            return "it was taken away while the driver was let go of"
        address = bus_address(known.address)
        if self._pci is None or not address:
            return ""
        on_bus = next((gpu for gpu in self._pci if bus_address(gpu.address) == address), None)
        if on_bus is None:
            since = self._gone_since.setdefault(uuid, now)
            return "it left the PCI bus long ago" if now - since > FORGET_SECONDS else ""
        self._gone_since.pop(uuid, None)
        if on_bus.driver not in (NVIDIA, ""):
            return f"the driver {on_bus.driver} has it"
        return ""

    def _unlisted(self, here: Sequence[Known], now: float) -> list[DeviceSnapshot]:
        """GPUs on the PCI bus that were never listed."""
        known = {bus_address(k.address) for k in (*here, *self._registry.gpus.copy().values())}
        found = []
        if len(self.bound) > len(here) and all(k.address for k in here):
            found = [(gpu, NOT_LISTED) for gpu in self.bound]
        self._unlisted_since = {
            gpu.address: self._unlisted_since.get(gpu.address, now) for gpu, _ in found
        }
        found += [(gpu, UNCLAIMED) for gpu in unclaimed(self._pci or ())]
        return [
            DeviceSnapshot(
                id=_unlisted_id(gpu.address, gpu.uuid),
                identity={"pci_bus_id": gpu.address},
                lost=reason == NOT_LISTED
                and now - self._unlisted_since[gpu.address] >= SETTLE_SECONDS,
                failure=reason,
                outages=1,
                answered=now,
            )
            for gpu, reason in found
            if bus_address(gpu.address) not in known
        ]


def _unlisted_id(address: str, uuid: str = "") -> DeviceId:
    """What a GPU is called that the driver does not list; the UUID may not be known."""
    return DeviceId(UNLISTED, uuid or stand_in(UNLISTED, address), address)


def _behind(gpus: PciGpus, before: Mapping[str, str]) -> dict[str, str]:
    """By `bus_address`: each GPU by its own, and by that of its bridge, "" if others share it."""
    cards = [gpu for gpu in gpus if not gpu.virtual]
    found: dict[str, str] = {}
    for gpu in cards:
        own, bridge = bus_address(gpu.address), bus_address(gpu.bridge)
        if own and bridge:
            found[bridge] = "" if bridge in found else own
    owns = filter(None, (bus_address(gpu.address) for gpu in cards))
    return {**before, **found, **{own: own for own in owns}}
