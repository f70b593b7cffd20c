"""MIG instances, in families of their own: a sum over GPUs never meets them."""

from __future__ import annotations

from gpu_sentinel.catalogue.declare import BYTES, COUNT
from gpu_sentinel.catalogue.metric import Kind, Metric, Op
from gpu_sentinel.catalogue.profiling import INSTANCE_PROFILING
from gpu_sentinel.model import Tier

#: Labels of a MIG device, which is a compute instance, and of a GPU instance, which may hold
#: several of them and to which memory and counters belong.
_DEVICE = ("gpu", "uuid", "mig_uuid")
_INSTANCE = ("gpu", "uuid", "gpu_instance")

MIG_LISTED = "mig.listed"

MIG = (
    Metric(
        name="gpu_mig_info",
        kind=Kind.INFO,
        group="mig",
        tier=Tier.SLOW,
        op=Op.INVENTORY,
        labels=(*_DEVICE, "gpu_instance", "compute_instance", "profile"),
        needs=(MIG_LISTED,),
        help="1 for every MIG device: the instances to which it belongs, and its profile.",
        source="nvmlDeviceGetMigDeviceHandleByIndex, nvmlDeviceGetGpuInstanceId, "
        "nvmlDeviceGetComputeInstanceId, nvmlDeviceGetName, nvmlDeviceGetAttributes_v2",
    ),
    Metric(
        name="gpu_mig_multiprocessors",
        kind=Kind.GAUGE,
        group="mig",
        tier=Tier.SLOW,
        op=Op.INSTANCE,
        series={"": "mig.multiprocessors"},
        labels=_DEVICE,
        valid=(0.0, 1e4),
        help="SMs of this MIG device.",
        source="nvmlDeviceGetAttributes_v2 (of a MIG device)",
    ),
    Metric(
        name="gpu_mig_ecc_volatile_uncorrected_errors_total",
        kind=Kind.COUNTER,
        group="mig",
        tier=Tier.SLOW,
        op=Op.INSTANCE,
        series={"": "mig.ecc.volatile.uncorrected"},
        labels=_DEVICE,
        valid=COUNT,
        help="Uncorrected errors in the SRAM of this MIG device since the driver was loaded.",
        source="nvmlDeviceGetMemoryErrorCounter (of a MIG device)",
    ),
    *(
        Metric(
            name=f"gpu_mig_instance_memory_{which}_bytes",
            kind=Kind.GAUGE,
            group="mig",
            tier=Tier.PROFILING,
            op=Op.INSTANCE,
            series={"": f"mig.memory.{which}"},
            labels=_INSTANCE,
            valid=BYTES,
            help=f"{what}, which its compute instances share.",
            source="nvmlDeviceGetMemoryInfo_v2 (of a MIG device)",
        )
        for which, what in (
            ("total", "Device memory of this GPU instance"),
            ("used", "Device memory that is allocated in this GPU instance"),
            ("free", "Device memory that is free in this GPU instance"),
            ("reserved", "Device memory that driver and firmware keep of this GPU instance"),
        )
    ),
    *(
        Metric(
            name=f"gpu_mig_instance_bar1_memory_{which}_bytes",
            kind=Kind.GAUGE,
            group="mig",
            tier=Tier.SLOW,
            op=Op.INSTANCE,
            series={"": f"mig.bar1.{which}"},
            labels=_INSTANCE,
            valid=BYTES,
            help=f"{what} of the BAR1 aperture of this GPU instance.",
            source="nvmlDeviceGetBAR1MemoryInfo (of a MIG device)",
        )
        for which, what in (("total", "Size"), ("used", "Used part"))
    ),
    *INSTANCE_PROFILING,
)
