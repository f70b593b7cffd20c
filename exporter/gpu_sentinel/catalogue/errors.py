"""Memory errors and what was done about them."""

from __future__ import annotations

from gpu_sentinel.catalogue.declare import COUNT, FLAG, gauge
from gpu_sentinel.catalogue.metric import Kind, Metric
from gpu_sentinel.model import Tier

#: Label value -> what NVML calls the part of the GPU, NVML_MEMORY_LOCATION_*.
ECC_LOCATIONS = {
    "l1_cache": "L1_CACHE",
    "l2_cache": "L2_CACHE",
    "dram": "DRAM",
    "register_file": "REGISTER_FILE",
    "texture_memory": "TEXTURE_MEMORY",
    "texture_shm": "TEXTURE_SHM",
    "cbu": "CBU",
    "sram": "SRAM",
}
#: What nvmlEccSramErrorStatus_t tells apart, beside the threshold.
SRAM_KINDS = ("parity", "sec_ded")
SRAM_SOURCES = ("l2", "sm", "pcie", "microcontroller", "other")
ECC_TYPES = ("corrected", "uncorrected")
#: How many spare rows a bank has left.
REMAP_AVAILABILITY = ("max", "high", "partial", "low", "none")


def _located(counter: str, since: str) -> Metric:
    return Metric(
        name=f"gpu_ecc_{counter}_errors_by_location_total",
        kind=Kind.COUNTER,
        group="ecc-locations",
        tier=Tier.SLOW,
        label=("type", "location"),
        series={
            (type_, location): f"ecc.errors.{type_}.{counter}.{location}"
            for type_ in ECC_TYPES
            for location in ECC_LOCATIONS
        },
        valid=COUNT,
        help=f"Memory errors {since}, by the part of the GPU where they were.",
        source="nvmlDeviceGetMemoryErrorCounter",
    )


ERRORS = (
    Metric(
        name="gpu_ecc_volatile_errors_total",
        kind=Kind.COUNTER,
        group="errors",
        tier=Tier.SLOW,
        label="type",
        series={t: f"ecc.errors.{t}.volatile" for t in ("corrected", "uncorrected")},
        valid=COUNT,
        help="Memory errors since the driver was loaded.",
        source="fields 3, 4 (ECC_SBE/DBE_VOL_TOTAL), else nvmlDeviceGetTotalEccErrors",
    ),
    Metric(
        name="gpu_ecc_aggregate_errors_total",
        kind=Kind.COUNTER,
        group="errors",
        tier=Tier.SLOW,
        label="type",
        series={t: f"ecc.errors.{t}.aggregate" for t in ("corrected", "uncorrected")},
        valid=COUNT,
        help="Memory errors over the life of the board.",
        source="fields 5, 6 (ECC_SBE/DBE_AGG_TOTAL), else nvmlDeviceGetTotalEccErrors",
    ),
    Metric(
        name="gpu_remapped_rows",
        kind=Kind.GAUGE,
        group="errors",
        tier=Tier.SLOW,
        label="type",
        series={t: f"remapped_rows.{t}" for t in ("correctable", "uncorrectable")},
        valid=COUNT,
        help="Memory rows that spare rows have replaced, by the kind of error (Ampere and newer).",
        source="fields 142, 143, else nvmlDeviceGetRemappedRows",
    ),
    gauge(
        "gpu_row_remap_pending",
        "remapped_rows.pending",
        "1 while a row waits for the next reset of the GPU to be remapped.",
        FLAG,
        group="errors",
        tier=Tier.SLOW,
        source="field 144, else nvmlDeviceGetRemappedRows",
    ),
    gauge(
        "gpu_row_remap_failure",
        "remapped_rows.failure",
        "1 once a row could not be remapped: the board should be replaced.",
        FLAG,
        group="errors",
        tier=Tier.SLOW,
        source="field 145, else nvmlDeviceGetRemappedRows",
    ),
    Metric(
        name="gpu_row_remapper_banks",
        kind=Kind.GAUGE,
        group="errors",
        tier=Tier.SLOW,
        label="availability",
        series={a: f"remapped_rows.banks.{a}" for a in REMAP_AVAILABILITY},
        valid=(0.0, 1e6),
        help="Memory banks by how many of their spare rows are left; with `none` in a bank, the "
        "next bad row in it cannot be remapped.",
        source="nvmlDeviceGetRowRemapperHistogram",
    ),
    Metric(
        name="gpu_remapped_rows_inactive",
        kind=Kind.GAUGE,
        group="ecc-locations",
        tier=Tier.SLOW,
        label="type",
        series={t: f"remapped_rows.inactive.{t}" for t in ("correctable", "uncorrectable")},
        valid=COUNT,
        help="Remappings that are no longer in use, by the kind of error.",
        source="fields 301, 302 (REMAPPED_ROWS_*_INACTIVE)",
    ),
    _located("volatile", "since the driver was loaded"),
    _located("aggregate", "over the life of the board"),
    *(
        Metric(
            name=f"gpu_ecc_sram_{counter}_uncorrected_errors_total",
            kind=Kind.COUNTER,
            group="ecc-locations",
            tier=Tier.SLOW,
            label="code",
            series={k: f"ecc.sram.{counter}.{k}" for k in SRAM_KINDS},
            valid=COUNT,
            help=f"Uncorrectable errors in on-chip memory {since}, by the code that found them.",
            source="nvmlDeviceGetSramEccErrorStatus",
        )
        for counter, since in (
            ("volatile", "since the driver was loaded"),
            ("aggregate", "over the life of the board"),
        )
    ),
    Metric(
        name="gpu_ecc_sram_aggregate_uncorrected_errors_by_source_total",
        kind=Kind.COUNTER,
        group="ecc-locations",
        tier=Tier.SLOW,
        label="source",
        series={s: f"ecc.sram.source.{s}" for s in SRAM_SOURCES},
        valid=COUNT,
        help="Uncorrectable errors in on-chip memory over the life of the board, by its part.",
        source="nvmlDeviceGetSramEccErrorStatus",
    ),
    Metric(
        name="gpu_retired_pages",
        kind=Kind.GAUGE,
        group="errors",
        tier=Tier.SLOW,
        label="cause",
        series={
            "single_bit_ecc": "retired_pages.single_bit_ecc",
            "double_bit_ecc": "retired_pages.double_bit_ecc",
        },
        valid=(0.0, 1e6),
        help="Memory pages that are used no more, by cause (before Ampere).",
        source="fields 29, 30 (RETIRED_SBE/DBE)",
    ),
    gauge(
        "gpu_retired_pages_pending",
        "retired_pages.pending",
        "1 while a page waits for the next reset of the GPU to be retired.",
        FLAG,
        group="errors",
        tier=Tier.SLOW,
        source="field 31 (RETIRED_PENDING)",
    ),
)
