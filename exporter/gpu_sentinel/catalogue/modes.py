"""How the GPU is set up."""

from __future__ import annotations

from gpu_sentinel.catalogue.declare import FLAG, flag, gauge
from gpu_sentinel.catalogue.metric import Kind, Metric
from gpu_sentinel.model import Tier

_STATES = ("current", "pending")


def _mode(name: str, key: str, help_: str, source: str) -> Metric:
    """What is in force now, and what will be after the next reset."""
    return Metric(
        name=name,
        kind=Kind.GAUGE,
        group="modes",
        tier=Tier.SLOW,
        label="state",
        series={state: f"{key}.{state}" for state in _STATES},
        valid=FLAG,
        help=f"{help_} `pending` holds from the next reset of the GPU on.",
        source=source,
    )


MODES = (
    flag(
        "gpu_persistence_mode",
        "persistence_mode",
        "1 where the driver keeps the GPU ready while nobody uses it.",
        group="details",
        source="nvmlDeviceGetPersistenceMode",
    ),
    gauge(
        "gpu_compute_mode",
        "compute_mode",
        "Who may compute: 0 everybody, 1 one thread, 2 nobody, 3 one process.",
        (0.0, 3.0),
        group="details",
        tier=Tier.SLOW,
        source="nvmlDeviceGetComputeMode",
    ),
    _mode(
        "gpu_ecc_mode", "ecc.mode", "1 while memory errors are corrected.", "nvmlDeviceGetEccMode"
    ),
    _mode(
        "gpu_mig_mode", "mig.mode", "1 while the GPU is split up by MIG.", "nvmlDeviceGetMigMode"
    ),
    gauge(
        "gpu_virtualization_mode",
        "virtualization_mode",
        "How the GPU is shared: 0 not at all, 1 passed through to this virtual machine, 2 a vGPU "
        "in a guest, 3 a host of vGPUs, 4 a host of shared graphics.",
        (0.0, 4.0),
        group="details",
        tier=Tier.STATIC,
        source="nvmlDeviceGetVirtualizationMode",
    ),
    flag(
        "gpu_confidential_compute_mode",
        "confidential_compute",
        "1 while confidential computing protects the GPUs of this host.",
        group="details",
        source="nvmlSystemGetConfComputeState",
    ),
    flag(
        "gpu_vgpu_license_status",
        "vgpu.license",
        "1 while this vGPU has its licence; only in guests.",
        group="details",
        source="nvmlDeviceGetGridLicensableFeatures_v4",
    ),
)
