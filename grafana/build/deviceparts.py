"""Of the page of one GPU: links, errors, MIG instances."""

from __future__ import annotations

from core import Panel
from facts import fact
from panels import lines, stat
from promql import DEVICE, GPU, per_minute
from tables import Column, table
from xidtable import xid_table


def _sum(metric: str) -> str:
    return f"sum({DEVICE.rate(metric)})"


def transfers() -> list[Panel]:
    """PCIe and NVLink."""
    width_ratio = f"{DEVICE.gpu('gpu_pcie_link_width')} / {DEVICE.gpu('gpu_pcie_link_width_max')}"
    return [
        lines(
            "PCIe",
            "Bytes over PCIe, of all chosen GPUs together; only where the GPU counts them.",
            {
                "sent": _sum("gpu_pcie_transmit_bytes_total"),
                "received": _sum("gpu_pcie_receive_bytes_total"),
            },
            unit="binBps",
            width=9,
        ),
        lines(
            "NVLink",
            "Bytes over all NVLinks, of all chosen GPUs together.",
            {
                "sent": _sum("gpu_nvlink_transmit_bytes_total"),
                "received": _sum("gpu_nvlink_receive_bytes_total"),
            },
            unit="binBps",
            width=9,
        ),
        stat(
            "PCIe lanes",
            "Lanes in use, of those that GPU and slot can use together.",
            f"min({DEVICE.model(width_ratio)})",
            unit="percentunit",
            steps=((0, "red"), (1, "green")),
            height=8,
        ),
        stat(
            "NVLinks down",
            "NVLinks that the GPU has and that are not up.",
            f"sum({DEVICE.gpu('gpu_nvlink_links')} - "
            + DEVICE.model(DEVICE.gpu("gpu_nvlink_links_active"))
            + ")",
            steps=((0, "green"), (1, "red")),
            height=8,
        ),
        lines(
            "Errors on links",
            "Per minute: packets that PCIe had to send again, and errors on NVLinks by kind.",
            {
                "PCIe replay": per_minute(_sum("gpu_pcie_replays_total")),
                "NVLink {{type}}": per_minute(
                    f"sum by (type) ({DEVICE.rate('gpu_nvlink_errors_total')})"
                ),
            },
            unit="none",
            width=24,
            height=6,
        ),
    ]


def errors() -> list[Panel]:
    """Memory errors, and what was done about them; XIDs."""
    volatile = DEVICE.rate("gpu_ecc_volatile_errors_total")
    rows = DEVICE.read("gpu_remapped_rows")
    return [
        lines(
            "ECC errors",
            "Memory errors per minute.",
            {"{{type}}": per_minute(f"sum by (type) ({volatile})")},
            unit="none",
            width=9,
        ),
        lines(
            fact("gpu_remapped_rows").title,
            fact("gpu_remapped_rows").description,
            {"{{type}}": f"sum by (type) ({rows})"},
            unit="none",
            width=9,
        ),
        stat(
            "Waits for a reset",
            fact("gpu_row_remap_pending").description,
            f"sum({DEVICE.read('gpu_row_remap_pending')})",
            steps=((0, "green"), (1, "orange")),
            height=8,
        ),
        stat(
            "Could not be remapped",
            fact("gpu_row_remap_failure").description,
            f"sum({DEVICE.read('gpu_row_remap_failure')})",
            steps=((0, "green"), (1, "red")),
            height=8,
        ),
        xid_table(DEVICE, height=6),
    ]


def _of_instance(expr: str) -> str:
    """An instance's series with the profile of a device that it holds; it may hold several."""
    profile = (
        "topk by (instance, uuid, gpu_instance) "
        f"(1, {DEVICE.gpu('gpu_mig_info')}) and on (instance, uuid) {DEVICE.info()}"
    )
    return (
        f"max by ({GPU}, gpu_instance, profile) ({expr} "
        f"* on (instance, uuid, gpu_instance) group_left (profile) ({profile}))"
    )


def instances() -> list[Panel]:
    """The parts of a GPU that MIG splits up."""
    memory = (
        f"{DEVICE.gpu('gpu_mig_instance_memory_used_bytes')}"
        f" / {DEVICE.gpu('gpu_mig_instance_memory_total_bytes')}"
    )
    legend = "{{host}} GPU {{gpu}} instance {{gpu_instance}}"
    active = DEVICE.rate("gpu_mig_instance_sm_active_seconds_total")
    return [
        table(
            "Instances",
            "GPU instances with the profile of their devices, and how full their memory is.",
            [
                Column("Memory", f"{_of_instance(memory)}", "percentunit", cell="gauge", high=1),
                Column(
                    "Of",
                    _of_instance(DEVICE.gpu("gpu_mig_instance_memory_total_bytes")),
                    "bytes",
                ),
            ],
            labels=("host", "gpu"),
            more={"gpu_instance": "Instance", "profile": "Profile"},
            sort="Instance",
            descending=False,
            width=8,
        ),
        lines(
            "SM activity of instances",
            fact("gpu_mig_instance_sm_active_ratio").description,
            {legend: active},
            unit="percentunit",
            high=1,
            width=8,
        ),
        lines(
            "Memory of instances",
            fact("gpu_mig_instance_memory_used_bytes").description,
            {legend: DEVICE.read("gpu_mig_instance_memory_used_bytes")},
            unit="bytes",
            width=8,
        ),
    ]
