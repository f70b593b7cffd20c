"""Memory errors and what was done about them."""

from __future__ import annotations

from gpu_sentinel.catalogue.declare import COUNT, FLAG, gauge
from gpu_sentinel.catalogue.metric import Kind, Metric
from gpu_sentinel.model import Tier

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
