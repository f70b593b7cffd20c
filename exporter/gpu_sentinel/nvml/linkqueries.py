"""PCIe and NVLink: counters of bytes and errors, all links together and each by itself."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import pynvml

from gpu_sentinel.catalogue.nvlink import NVLINK_ERRORS, NVLINK_LINK_ERRORS
from gpu_sentinel.catalogue.pcie import PCIE_ERRORS
from gpu_sentinel.model import Tier
from gpu_sentinel.nvml import raw
from gpu_sentinel.nvml.errors import UNSUPPORTED
from gpu_sentinel.nvml.query import Call, Field, Query, Reader, attempt_number, unsupported
from gpu_sentinel.nvml.raw import Answer, FieldBuffer, Handle, Read
from gpu_sentinel.nvml.units import kibi, mega
from gpu_sentinel.windows import Unwrapped

#: Scope of fields 138 and 139 for all links together (nvml.h, NVML_FI_DEV_NVLINK_THROUGHPUT_*).
ALL_LINKS = 0xFFFFFFFF
#: Bytes per second and lane, by PCIe generation; what is unknown counts as the last.
_LANE = (0.25e9, 0.5e9, 0.985e9, 1.969e9, 3.938e9, 7.563e9)
#: Lanes of the widest slot.
_WIDEST = 16
#: Seconds between two readings of these counters, as they are made; see sampling.pace.
_READ_SECONDS = 1.0
#: As fast a link must not be taken for a counter that began anew.
_TOLERANCE = 1.25


def field(name: str) -> int:
    """The number of a field, NVML_FI_DEV_<name>."""
    return int(getattr(pynvml, f"NVML_FI_DEV_{name}"))


class PcieBytes:
    """Bytes over PCIe, from counters that may be 32 bits wide.

    Such a counter wraps after 67 ms at 64 GB/s, and is of use only where the link is so slow that
    four readings fit into the time in which it can wrap. Elsewhere the keys stay unanswered.
    """

    name = "fields.pcie"
    tier = Tier.FAST
    keys = ("pcie.tx.bytes", "pcie.rx.bytes")

    def bind(self, handle: Handle, wanted: frozenset[str]) -> Reader:
        """See `Query.bind`."""
        asked = [
            (field(f"PCIE_COUNT_{direction}_BYTES"), key)
            for direction, key in zip(("TX", "RX"), self.keys, strict=True)
            if key in wanted
        ]
        rate = _TOLERANCE * _link_rate(handle)
        found = pynvml.nvmlDeviceGetFieldValues(handle, [number for number, _ in asked])
        kept, counters, why = [], [], pynvml.NVML_ERROR_NOT_SUPPORTED
        for (number, key), value in zip(asked, found, strict=True):
            if value.nvmlReturn:
                if value.nvmlReturn not in UNSUPPORTED:
                    why = value.nvmlReturn
                continue
            wide = value.valueType != pynvml.NVML_VALUE_TYPE_UNSIGNED_INT
            counter = Unwrapped(2.0**64 if wide else 2.0**32, rate)
            if counter.period > 4 * _READ_SECONDS:
                kept.append((number, key))
                counters.append(counter)
        if not kept:
            raise pynvml.NVMLError(why)
        buffer = FieldBuffer(handle, [(number, 0) for number, _ in kept])
        read_fields = raw.timed_fields(buffer)

        def read() -> Sequence[Answer]:
            return [
                _counted(counter, answer)
                for counter, answer in zip(counters, read_fields(), strict=True)
            ]

        return Reader(self.name, self.tier, tuple(key for _, key in kept), read, buffer)


def _counted(counter: Unwrapped, answer: tuple[float, float] | Exception) -> Answer:
    if isinstance(answer, Exception):
        return answer
    at, reading = answer
    # A counter that may have wrapped unseen has nothing to tell this time.
    return counter.total if counter.add(at or time.monotonic(), reading) else None


def _link_rate(handle: Handle) -> float:
    """The most bytes that the link can carry in a second in one direction."""
    try:
        generation = int(pynvml.nvmlDeviceGetMaxPcieLinkGeneration(handle))
        width = int(pynvml.nvmlDeviceGetMaxPcieLinkWidth(handle))
    except pynvml.NVMLError as error:
        if error.value not in UNSUPPORTED:
            raise
        generation, width = len(_LANE), _WIDEST
    return max(width, 1) * _LANE[min(max(generation, 1), len(_LANE)) - 1]


def _links(handle: Handle, field_name: str = "NVLINK_LINK_COUNT") -> int:
    """How many links the GPU has, as this field says.

    Raises:
        pynvml.NVMLError: none, or the driver does not tell (MIG).
    """
    (value,) = pynvml.nvmlDeviceGetFieldValues(handle, [field(field_name)])
    if value.nvmlReturn:
        raise pynvml.NVMLError(value.nvmlReturn)
    count = int(value.value.uiVal)
    if not 0 < count <= pynvml.NVML_NVLINK_MAX_LINKS:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)
    return count


def _link_states(handle: Handle) -> tuple[tuple[str, ...], Read]:
    links = range(_links(handle))
    get = pynvml.nvmlDeviceGetNvLinkState

    def read() -> Sequence[Answer]:
        states = [attempt_number(partial(get, handle, link)) for link in links]
        known = [state for state in states if isinstance(state, float)]
        return tuple(states), float(sum(known)) if known else None

    return ("nvlink.link.active", "nvlink.links.active"), read


@dataclass(frozen=True, slots=True)
class LinkFields:
    """Fields that each link has; a key has one value a link.

    Attributes:
        count: the field that says how many links a device has.
    """

    name: str
    tier: Tier
    fields: tuple[Field, ...]
    count: str

    @property
    def keys(self) -> tuple[str, ...]:
        """One key a field."""
        return tuple(f.key for f in self.fields)

    def bind(self, handle: Handle, wanted: frozenset[str]) -> Reader:
        """See `Query.bind`: keeps the fields that at least one link has."""
        links = range(_links(handle, self.count))
        asked = [(f, link) for f in self.fields if f.key in wanted for link in links]
        answers = _fields(handle, asked)()
        have = [pair for pair, a in zip(asked, answers, strict=True) if not unsupported(a)]
        if not have:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)
        keys = tuple(dict.fromkeys(f.key for f, _ in have))
        places = [(keys.index(f.key), link) for f, link in have]
        flat = _fields(handle, have)
        told: Sequence[Answer] = ()
        grouped: Sequence[Answer] = ()

        def read() -> Sequence[Answer]:
            nonlocal told, grouped
            answers = flat()
            if answers is not told:
                told = answers
                rows: list[list[float | Exception]] = [[math.nan] * len(links) for _ in keys]
                for (row, link), answer in zip(places, answers, strict=True):
                    if isinstance(answer, float | Exception):
                        rows[row][link] = answer
                grouped = [tuple(row) for row in rows]
            return grouped

        return Reader(self.name, self.tier, keys, read)


def _fields(handle: Handle, wanted: Sequence[tuple[Field, int]]) -> Read:
    """What reads these fields of these links."""
    buffer = FieldBuffer(handle, [(f.id, link) for f, link in wanted])
    return raw.fields(buffer, [(f.convert, f.value_type) for f, _ in wanted])


NVLINK_TOTALS = (
    Field(field("NVLINK_THROUGHPUT_DATA_TX"), "nvlink.tx.bytes", kibi, scope=ALL_LINKS),
    Field(field("NVLINK_THROUGHPUT_DATA_RX"), "nvlink.rx.bytes", kibi, scope=ALL_LINKS),
)
NVLINK_ERROR_TOTALS = tuple(
    Field(field(f"NVLINK_{name}_COUNT_TOTAL"), f"nvlink.errors.{kind}")
    for kind, name in NVLINK_ERRORS.items()
)
PCIE_ERROR_COUNTS = (
    *(
        Field(field(f"PCIE_COUNT_{name}"), f"pcie.errors.{kind}")
        for kind, name in PCIE_ERRORS.items()
    ),
    Field(field("PCIE_L0_TO_RECOVERY_COUNTER"), "pcie.recoveries"),
    Field(field("PCIE_REPLAY_ROLLOVER_COUNTER"), "pcie.replay_rollovers"),
)

LINKS: tuple[Query, ...] = (
    PcieBytes(),
    Call(
        "nvlink.state",
        Tier.SLOW,
        ("nvlink.link.active", "nvlink.links.active"),
        _link_states,
    ),
    LinkFields(
        "fields.nvlink",
        Tier.SLOW,
        (
            Field(field("NVLINK_GET_SPEED"), "nvlink.link.speed", mega),
            Field(field("NVLINK_THROUGHPUT_DATA_TX"), "nvlink.link.tx.bytes", kibi),
            Field(field("NVLINK_THROUGHPUT_DATA_RX"), "nvlink.link.rx.bytes", kibi),
            *(
                Field(field(f"NVLINK_{name}"), f"nvlink.link.errors.{kind}")
                for kind, name in NVLINK_LINK_ERRORS.items()
            ),
        ),
        "NVLINK_LINK_COUNT",
    ),
    LinkFields(
        "fields.c2c",
        Tier.SLOW,
        (
            Field(field("C2C_LINK_GET_STATUS"), "c2c.link.active"),
            Field(field("C2C_LINK_GET_MAX_BW"), "c2c.link.speed", mega),
            Field(field("C2C_LINK_ERROR_INTR"), "c2c.link.errors"),
            Field(field("C2C_LINK_ERROR_REPLAY"), "c2c.link.replays"),
        ),
        "C2C_LINK_COUNT",
    ),
)
