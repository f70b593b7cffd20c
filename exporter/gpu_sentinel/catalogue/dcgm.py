"""The names of NVIDIA's dcgm-exporter, for `--compat dcgm`: what each is made of, in which unit.

Names, types, units and labels are those of dcgm-exporter 4.5 (etc/default-counters.csv); what is
commented out in that file is here too.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

from gpu_sentinel.catalogue.clocks import VIOLATION_POLICIES
from gpu_sentinel.catalogue.metric import Kind

_RATE = re.compile(r"rate\((.+)\)")


def rate_key(key: str) -> str:
    """Where the growth of a counter per second is kept among the readings."""
    return f"rate({key})"


#: Counters whose growth DCGM shows as a gauge.
RATED = ("pcie.tx.bytes", "pcie.rx.bytes", "nvlink.tx.bytes", "nvlink.rx.bytes")


@dataclass(frozen=True, slots=True)
class Unit:
    """How DCGM writes a quantity.

    Attributes:
        name: as a person reads it.
        promql: what makes DCGM's value of ours in PromQL, `{}` being ours.
        convert: the same in Python; whole where DCGM has whole numbers.
    """

    name: str
    promql: str
    convert: Callable[[float], float]


def _whole(factor: float) -> Callable[[float], float]:
    return lambda value: float(round(value * factor))


COUNT = Unit("", "{}", _whole(1.0))
CELSIUS = Unit("°C", "{}", _whole(1.0))
MEGAHERTZ = Unit("MHz", "{} / 1e6", lambda value: float(round(value / 1e6)))
# To the milliwatt, as NVML has it.
WATTS = Unit("W", "{}", lambda value: round(value, 3))
MILLIJOULES = Unit("mJ", "{} * 1000", _whole(1e3))
PERCENT = Unit("%", "{} * 100", _whole(100.0))
NANOSECONDS = Unit("ns", "{} * 1e9", _whole(1e9))
# DCGM divides whole numbers, which rounds down.
MEBIBYTES = Unit("MiB", "{} / 2^20", lambda value: value // 2**20)
RATIO = Unit("0 to 1", "{}", lambda value: round(value, 6))
BYTES_PER_SECOND = Unit("B/s", "{}", _whole(1.0))
# It takes KiB per second and divides by 1000.
NVLINK_BANDWIDTH = Unit("1024 kB/s", "{} / 1024e3", lambda value: float(round(value / 1024e3)))

#: Readings of which the sum is shown.
Sum: TypeAlias = tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DcgmMetric:
    """One family under DCGM's name.

    Attributes:
        kind: the type that dcgm-exporter documents.
        readings: what it is made of; the first that is there is shown. Empty for the XID, which
            is no reading.
        native: our metric in PromQL where it does not follow from the reading.
    """

    name: str
    kind: Kind
    help: str
    unit: Unit
    readings: tuple[Sum, ...]
    native: str | None = None

    @property
    def needs(self) -> Iterator[str]:
        """The keys that the driver has to be asked for."""
        for summands in self.readings:
            for key in summands:
                rated = _RATE.fullmatch(key)
                yield rated[1] if rated else key


def _one(kind: Kind, unit: Unit, help_: str, name: str, *keys: str) -> DcgmMetric:
    return DcgmMetric(
        name=f"DCGM_FI_{name}",
        kind=kind,
        help=help_,
        unit=unit,
        readings=tuple((key,) for key in keys),
    )


def _gauge(name: str, unit: Unit, help_: str, *keys: str) -> DcgmMetric:
    return _one(Kind.GAUGE, unit, help_, name, *keys)


def _counter(name: str, unit: Unit, help_: str, *keys: str) -> DcgmMetric:
    return _one(Kind.COUNTER, unit, help_, name, *keys)


def _profiled(name: str, key: str, help_: str) -> DcgmMetric:
    return DcgmMetric(
        name=f"DCGM_FI_PROF_{name}",
        kind=Kind.GAUGE,
        help=help_,
        unit=RATIO,
        readings=((f"profiling.{key}",),),
        native=f"gpu_{key}_ratio",
    )


#: Part of DCGM's name -> the driver's policy.
_VIOLATIONS = {policy.removesuffix("ization").upper(): policy for policy in VIOLATION_POLICIES[:6]}
_NVLINK_ERRORS = {
    "CRC_FLIT": "CRC errors of NVLink flow control",
    "CRC_DATA": "CRC errors of NVLink data",
    "REPLAY": "NVLink packets sent again",
    "RECOVERY": "Recoveries of NVLinks",
}

XID_ERRORS = DcgmMetric(
    name="DCGM_FI_DEV_XID_ERRORS",
    kind=Kind.GAUGE,
    help="Number of the last XID, 0 where there was none; a number, not a count.",
    unit=COUNT,
    readings=(),
    native="gpu_xid_errors_total",
)

DCGM: tuple[DcgmMetric, ...] = (
    _gauge("DEV_SM_CLOCK", MEGAHERTZ, "Clock of the SMs, in MHz.", "clocks.current.sm"),
    _gauge("DEV_MEM_CLOCK", MEGAHERTZ, "Clock of the memory, in MHz.", "clocks.current.memory"),
    _gauge("DEV_MEMORY_TEMP", CELSIUS, "Temperature of the memory, in C.", "temperature.memory"),
    _gauge("DEV_GPU_TEMP", CELSIUS, "Temperature of the GPU, in C.", "temperature.gpu"),
    _gauge(
        "DEV_POWER_USAGE",
        WATTS,
        "Power drawn, in W, as nvidia-smi shows it.",
        "power.draw.average",
        "power.draw.instant",
    ),
    _counter(
        "DEV_TOTAL_ENERGY_CONSUMPTION",
        MILLIJOULES,
        "Energy used since the driver was loaded, in mJ.",
        "energy.total",
    ),
    _counter("DEV_PCIE_REPLAY_COUNTER", COUNT, "PCIe packets sent again.", "pcie.replays"),
    _gauge("DEV_GPU_UTIL", PERCENT, "Utilisation of the GPU, in %.", "utilization.gpu"),
    _gauge("DEV_MEM_COPY_UTIL", PERCENT, "Utilisation of the memory, in %.", "utilization.memory"),
    _gauge("DEV_ENC_UTIL", PERCENT, "Utilisation of the encoder, in %.", "utilization.encoder"),
    _gauge("DEV_DEC_UTIL", PERCENT, "Utilisation of the decoder, in %.", "utilization.decoder"),
    XID_ERRORS,
    *(
        _counter(
            f"DEV_{name}_VIOLATION",
            NANOSECONDS,
            f"Time for which the policy {policy} held the clocks down, in ns.",
            f"violation.{policy}",
        )
        for name, policy in _VIOLATIONS.items()
    ),
    *(
        _gauge(f"DEV_FB_{name.upper()}", MEBIBYTES, help_, f"memory.{name}")
        for name, help_ in (
            ("free", "Device memory that is free, in MiB."),
            ("used", "Device memory in use, in MiB."),
            ("reserved", "Device memory that the driver keeps, in MiB."),
            ("total", "Device memory of the GPU, in MiB."),
        )
    ),
    *(
        _counter(
            f"DEV_ECC_{bits}_{short}_TOTAL",
            COUNT,
            f"{what} memory errors {since}.",
            f"ecc.errors.{type_}.{counter}",
        )
        for short, counter, since in (
            ("VOL", "volatile", "since the driver was loaded"),
            ("AGG", "aggregate", "over the life of the board"),
        )
        for bits, what, type_ in (
            ("SBE", "Corrected", "corrected"),
            ("DBE", "Uncorrected", "uncorrected"),
        )
    ),
    *(
        _counter(f"DEV_RETIRED_{name}", COUNT, help_, f"retired_pages.{key}")
        for name, key, help_ in (
            ("SBE", "single_bit_ecc", "Memory pages retired for single-bit errors."),
            ("DBE", "double_bit_ecc", "Memory pages retired for double-bit errors."),
            ("PENDING", "pending", "Whether memory pages wait to be retired."),
        )
    ),
    *(
        _counter(
            f"DEV_NVLINK_{name}_ERROR_COUNT_TOTAL",
            COUNT,
            f"{what}, all links.",
            f"nvlink.errors.{name.lower()}",
        )
        for name, what in _NVLINK_ERRORS.items()
    ),
    DcgmMetric(
        # dcgm-exporter calls this a counter, but what DCGM gives it is a rate, which goes up and
        # down (dcgm-exporter issue 417).
        name="DCGM_FI_DEV_NVLINK_BANDWIDTH_TOTAL",
        kind=Kind.GAUGE,
        help="Data sent and received over all NVLinks in a second, in units of 1,024,000 bytes.",
        unit=NVLINK_BANDWIDTH,
        readings=((rate_key("nvlink.tx.bytes"), rate_key("nvlink.rx.bytes")),),
        native="(rate(gpu_nvlink_transmit_bytes_total[1m]) + "
        "rate(gpu_nvlink_receive_bytes_total[1m]))",
    ),
    _gauge("DEV_VGPU_LICENSE_STATUS", COUNT, "Whether the vGPU has its licence.", "vgpu.license"),
    *(
        _counter(
            f"DEV_{kind.upper()}_REMAPPED_ROWS",
            COUNT,
            f"Memory rows replaced after {kind} errors.",
            f"remapped_rows.{kind}",
        )
        for kind in ("uncorrectable", "correctable")
    ),
    _gauge(
        "DEV_ROW_REMAP_FAILURE",
        COUNT,
        "Whether a memory row could not be replaced.",
        "remapped_rows.failure",
    ),
    _profiled("GR_ENGINE_ACTIVE", "graphics_active", "Share of time with work on the GPU."),
    _profiled("SM_ACTIVE", "sm_active", "Share of cycles with a warp on an SM, mean of the SMs."),
    _profiled("SM_OCCUPANCY", "sm_occupancy", "Warps on the SMs, as a share of the most."),
    _profiled("PIPE_TENSOR_ACTIVE", "tensor_active", "Share of cycles with tensor work."),
    _profiled("DRAM_ACTIVE", "dram_active", "Share of cycles with memory traffic."),
    _profiled("PIPE_FP64_ACTIVE", "fp64_active", "Share of cycles with FP64 work."),
    _profiled("PIPE_FP32_ACTIVE", "fp32_active", "Share of cycles with FP32 work."),
    _profiled("PIPE_FP16_ACTIVE", "fp16_active", "Share of cycles with FP16 work."),
    *(
        DcgmMetric(
            name=f"DCGM_FI_PROF_PCIE_{short.upper()}_BYTES",
            kind=Kind.GAUGE,
            help=f"Bytes {what} over PCIe in a second.",
            unit=BYTES_PER_SECOND,
            readings=((f"profiling.pcie_{short}",), (rate_key(f"pcie.{short}.bytes"),)),
            native=f"rate(gpu_pcie_{direction}_bytes_total[1m])",
        )
        for short, direction, what in (("tx", "transmit", "sent"), ("rx", "receive", "received"))
    ),
)

#: Fields that dcgm-exporter shows as labels of all the others, and what we call them. Only the
#: first is in its default file.
FIELD_LABELS = {
    "DCGM_FI_DRIVER_VERSION": "driver_version",
    "DCGM_FI_DEV_BRAND": "brand",
    "DCGM_FI_DEV_SERIAL": "serial",
    "DCGM_FI_DEV_VBIOS_VERSION": "vbios_version",
}


def dcgm_keys(metrics: Iterable[DcgmMetric] = DCGM) -> frozenset[str]:
    """What the driver has to be asked for so that these can be shown."""
    return frozenset(key for metric in metrics for key in metric.needs)
