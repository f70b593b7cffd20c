"""What a simulated board has counted of its errors, and what it waits for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from gpu_sentinel.catalogue.errors import SRAM_KINDS, SRAM_SOURCES

#: A memory error: its type, and the part of the GPU (NVML_MEMORY_LOCATION_* without the prefix).
_Kind = tuple[str, str]


def _zero(*names: str) -> dict[str, int]:
    return dict.fromkeys(names, 0)


@dataclass(slots=True)
class Errors:
    """ECC, row remapper, page retirement, repairs, and what the driver asks for.

    Attributes:
        volatile: memory errors since the driver was loaded.
        before: those in the board's life before that.
        sram: uncorrectable ones of on-chip memory since the driver was loaded, by their code.
        sram_before: likewise, before that.
        sram_sources: all of these, by the part of the chip.
        sram_exceeded: they are more than a good board has.
        waiting: causes for which a page waits to be retired.
        repairs: units that wait for the next reset to be repaired.
        unrepairable: memory is broken that cannot be replaced.
        recovery: number of the recovery action (nvml.h, nvmlDeviceGpuRecoveryAction_t).
        pcie: errors on the PCIe link, under the catalogue's names.
    """

    volatile: Counter[_Kind] = field(default_factory=Counter)
    before: Counter[_Kind] = field(default_factory=Counter)
    sram: dict[str, int] = field(default_factory=lambda: _zero(*SRAM_KINDS))
    sram_before: dict[str, int] = field(default_factory=lambda: _zero(*SRAM_KINDS))
    sram_sources: dict[str, int] = field(default_factory=lambda: _zero(*SRAM_SOURCES))
    sram_exceeded: bool = False
    remapped: dict[str, int] = field(default_factory=lambda: _zero("correctable", "uncorrectable"))
    remap_pending: bool = False
    remap_failure: bool = False
    retired: dict[str, int] = field(default_factory=lambda: _zero("single_bit", "double_bit"))
    waiting: set[str] = field(default_factory=set)
    repairs: set[str] = field(default_factory=set)
    unrepairable: bool = False
    recovery: int = 0
    pcie: Counter[str] = field(default_factory=Counter)

    def count(self, type_: str, *, aggregate: bool, location: str | None = None) -> int:
        """Memory errors of a type, all of them or those of one part of the GPU."""
        return sum(
            number
            for counters in self._counters(aggregate=aggregate)
            for (kind, where), number in counters.items()
            if kind == type_ and location in (None, where)
        )

    def sram_count(self, code: str, *, aggregate: bool) -> int:
        """Uncorrectable errors of on-chip memory that this code found."""
        return self.sram[code] + (self.sram_before[code] if aggregate else 0)

    def sram_error(self, code: str, source: str, count: int) -> None:
        """Uncorrectable errors in on-chip memory."""
        self.volatile["uncorrected", "SRAM"] += count
        self.sram[code] += count
        self.sram_sources[source] += count

    def driver_loaded(self) -> None:
        """What is counted since the driver was loaded begins anew, and what waited is done."""
        self.before.update(self.volatile)
        self.volatile.clear()
        for code, number in self.sram.items():
            self.sram_before[code] += number
            self.sram[code] = 0
        self.remap_pending = False
        self.recovery = 0
        self.waiting.clear()
        self.repairs.clear()
        self.pcie.clear()

    def _counters(self, *, aggregate: bool) -> Iterator[Mapping[_Kind, int]]:
        yield self.volatile
        if aggregate:
            yield self.before
