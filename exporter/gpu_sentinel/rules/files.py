"""Every file of rules, and writing them."""

from __future__ import annotations

from pathlib import Path

from gpu_sentinel.rules.alerts import availability, hardware, heat, stack, work
from gpu_sentinel.rules.declare import File
from gpu_sentinel.rules.limits import Limits
from gpu_sentinel.rules.records import exporters, fleet, gpu, peers, thresholds
from gpu_sentinel.rules.write import text

FILES: tuple[File, ...] = (
    File("rules/thresholds.yml", thresholds.ABOUT, thresholds.groups),
    File("rules/gpu.yml", gpu.ABOUT, gpu.groups),
    File("rules/fleet.yml", fleet.ABOUT, fleet.groups),
    File("rules/peers.yml", peers.ABOUT, peers.groups),
    File("rules/exporters.yml", exporters.ABOUT, exporters.groups),
    File("alerts/availability.yml", availability.ABOUT, availability.groups),
    File("alerts/hardware.yml", hardware.ABOUT, hardware.groups),
    File("alerts/heat.yml", heat.ABOUT, heat.groups),
    File("alerts/work.yml", work.ABOUT, work.groups),
    File("alerts/stack.yml", stack.ABOUT, stack.groups),
)


def rendered(limits: Limits) -> dict[str, str]:
    """Path below `prometheus/` -> content."""
    return {file.path: text(file, limits) for file in FILES}


def write(limits: Limits, folder: Path) -> list[str]:
    """Write what differs into a folder that is laid out as `prometheus/`; the paths of those."""
    changed = []
    for path, content in rendered(limits).items():
        target = folder / path
        if not target.is_file() or target.read_text(encoding="utf-8") != content:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(content, encoding="utf-8")
            changed.append(path)
    return changed
