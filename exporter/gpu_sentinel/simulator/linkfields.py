"""Fields about links: PCIe, NVLink, and those to the processor of the same module."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pynvml

from gpu_sentinel.catalogue.nvlink import NVLINK_ERRORS, NVLINK_LINK_ERRORS
from gpu_sentinel.catalogue.pcie import PCIE_ERRORS
from gpu_sentinel.simulator.boards import NvLink
from gpu_sentinel.simulator.fields import U64, UINT, Asked, Get, Kind, add
from gpu_sentinel.simulator.gpu import SimulatedGpu
from gpu_sentinel.simulator.library import NvmlFailure

#: As scope, all links together (nvml.h, NVML_FI_DEV_NVLINK_THROUGHPUT_*).
ALL_LINKS = 0xFFFFFFFF
#: Of 144 bytes on the link, 128 are data: a packet has a header of its own.
_OVERHEAD = 144 / 128
#: The links for which older drivers have fields of their own, and of which kinds.
_NUMBERED_LINKS = 12
_LINK_FAULTS = {
    "replay": ("replay",),
    "recovery": ("recovery",),
    "crc": ("crc_flit", "crc_data"),
}


def _spec(gpu: SimulatedGpu) -> NvLink:
    if gpu.nvlinks.spec is None:
        raise NvmlFailure(pynvml.NVML_ERROR_NOT_SUPPORTED)
    return gpu.nvlinks.spec


def link_of(gpu: SimulatedGpu, link: int) -> int:
    """The number of a link that is there.

    Raises:
        NvmlFailure: the GPU has none, or not this one.
    """
    _spec(gpu)
    if link >= gpu.nvlinks.there:
        raise NvmlFailure(pynvml.NVML_ERROR_INVALID_ARGUMENT)
    return link


def speed(gpu: SimulatedGpu, link: int) -> int:
    """MB/s of a link; 0 while it is down."""
    return _spec(gpu).mb_per_second if gpu.nvlinks.links[link_of(gpu, link)].up else 0


def _common_speed(asked: Asked) -> int:
    _spec(asked.gpu)
    return max((speed(asked.gpu, link) for link in range(asked.gpu.nvlinks.there)), default=0)


def _errors(gpu: SimulatedGpu, names: Iterable[str], links: Iterable[int]) -> int | None:
    """Errors of these kinds on these links; None where this generation does not count them."""
    if not set(names) <= _spec(gpu).errors:
        return None
    return sum(gpu.nvlinks.links[link].errors[name] for name in names for link in links)


def _error_total(name: str) -> Get:
    return lambda a: _errors(a.gpu, (name,), range(a.gpu.nvlinks.there))


def _error_numbered(name: str, link: int) -> Get:
    return lambda a: _errors(a.gpu, (name,), (link_of(a.gpu, link),))


def _speed_numbered(link: int) -> Get:
    return lambda a: speed(a.gpu, link)


def _error_scoped(names: Sequence[str]) -> Get:
    return lambda a: _errors(a.gpu, names, (link_of(a.gpu, a.scope),))


def _kibibytes(direction: int, overhead: float = 1.0) -> Get:
    def get(asked: Asked) -> int:
        gpu = asked.gpu
        _spec(gpu)
        every = asked.scope == ALL_LINKS
        links = range(gpu.nvlinks.there) if every else (link_of(gpu, asked.scope),)
        carried = gpu.link_bytes(links, asked.t)
        return sum(int(each[direction] * overhead) // 1024 for each in carried)

    return get


def _version(asked: Asked) -> int:
    link_of(asked.gpu, asked.scope)
    return _spec(asked.gpu).version


add("NVLINK_LINK_COUNT", UINT, lambda a: len(a.gpu.nvlinks.links) if _spec(a.gpu) else None)
add("NVLINK_SPEED_MBPS_COMMON", UINT, _common_speed)
add("NVLINK_GET_SPEED", UINT, lambda a: speed(a.gpu, a.scope))
add("NVLINK_GET_STATE", UINT, lambda a: int(a.gpu.nvlinks.links[link_of(a.gpu, a.scope)].up))
add("NVLINK_GET_VERSION", UINT, _version)
for _direction, _name in enumerate(("TX", "RX")):
    add(f"NVLINK_THROUGHPUT_DATA_{_name}", U64, _kibibytes(_direction))
    add(f"NVLINK_THROUGHPUT_RAW_{_name}", U64, _kibibytes(_direction, _OVERHEAD))
for _link in range(_NUMBERED_LINKS):
    add(f"NVLINK_SPEED_MBPS_L{_link}", UINT, _speed_numbered(_link))
for _kind, _name in NVLINK_ERRORS.items():
    add(f"NVLINK_{_name}_COUNT_TOTAL", U64, _error_total(_kind))
    for _link in range(_NUMBERED_LINKS):
        add(f"NVLINK_{_name}_COUNT_L{_link}", U64, _error_numbered(_kind, _link))
for _kind, _name in NVLINK_LINK_ERRORS.items():
    add(f"NVLINK_{_name}", U64, _error_scoped(_LINK_FAULTS.get(_kind, (_kind,))))


def _recoveries(asked: Asked, *, succeeded: bool) -> int | None:
    """How often a link went into recovery: successfully only, or at all."""
    errors = asked.gpu.nvlinks.links[link_of(asked.gpu, asked.scope)].errors
    if not _spec(asked.gpu).fifth:
        return None
    return errors["recovered"] + (0 if succeeded else errors["recovery_failed"])


add("NVLINK_COUNT_LINK_RECOVERY_SUCCESSFUL_EVENTS", U64, lambda a: _recoveries(a, succeeded=True))
add("NVLINK_COUNT_LINK_RECOVERY_EVENTS", U64, lambda a: _recoveries(a, succeeded=False))
# A bit error rate of 0 has mantissa and exponent 0 (nvml.h, NVML_NVLINK_ERROR_COUNTER_BER_GET).
add(
    "NVLINK_COUNT_EFFECTIVE_BER",
    U64,
    lambda a: None if _recoveries(a, succeeded=True) is None else 0,
)


def _pcie_kind(gpu: SimulatedGpu) -> Kind:
    return U64 if gpu.model.facts.wide_pcie_counters else UINT


def _pcie_bytes(direction: str) -> Get:
    """Bytes over PCIe; a counter of 32 bits begins anew after 4 GiB."""

    def get(asked: Asked) -> int:
        total, _ = asked.gpu.pcie(direction, asked.t)
        return total if _pcie_kind(asked.gpu) == U64 else total % 2**32

    return get


def _pcie_errors(kind: str) -> Get:
    return lambda a: a.gpu.errors.pcie[kind]


add("PCIE_COUNT_TX_BYTES", _pcie_kind, _pcie_bytes("sent"))
add("PCIE_COUNT_RX_BYTES", _pcie_kind, _pcie_bytes("received"))
add("PCIE_REPLAY_COUNTER", UINT, lambda a: a.gpu.pcie_replays())
add("PCIE_REPLAY_ROLLOVER_COUNTER", UINT, _pcie_errors("rollover"))
add("PCIE_L0_TO_RECOVERY_COUNTER", UINT, _pcie_errors("recovery"))
for _kind, _name in PCIE_ERRORS.items():
    add(f"PCIE_COUNT_{_name}", UINT, _pcie_errors(_kind))


def _c2c(value: int | None = None) -> Get:
    """Something about one of the chip-to-chip links: this, else its speed."""

    def get(asked: Asked) -> int | None:
        if asked.gpu.model.facts.c2c is None:
            return None
        links, mb_per_second = asked.gpu.model.facts.c2c
        if asked.scope >= links:
            raise NvmlFailure(pynvml.NVML_ERROR_INVALID_ARGUMENT)
        return mb_per_second if value is None else value

    return get


add("C2C_LINK_COUNT", UINT, lambda a: a.gpu.model.facts.c2c and a.gpu.model.facts.c2c[0])
add("C2C_LINK_GET_STATUS", UINT, _c2c(1))
add("C2C_LINK_GET_MAX_BW", UINT, _c2c())
for _name in ("INTR", "REPLAY", "REPLAY_B2B"):
    add(f"C2C_LINK_ERROR_{_name}", UINT, _c2c(0))
