"""Every file of rules, and writing them."""

from __future__ import annotations

import contextlib
from pathlib import Path

from gpu_sentinel.config import ConfigError
from gpu_sentinel.rules.alerts import availability, hardware, heat, owners, stack, work
from gpu_sentinel.rules.declare import File
from gpu_sentinel.rules.limits import Limits
from gpu_sentinel.rules.records import exporters, fleet, gpu, peers, thresholds
from gpu_sentinel.rules.records import owners as owner_records
from gpu_sentinel.rules.write import text

FILES: tuple[File, ...] = (
    File("rules/thresholds.yml", thresholds.ABOUT, thresholds.groups),
    File("rules/gpu.yml", gpu.ABOUT, gpu.groups),
    File("rules/fleet.yml", fleet.ABOUT, fleet.groups),
    File("rules/peers.yml", peers.ABOUT, peers.groups),
    File("rules/owners.yml", owner_records.ABOUT, owner_records.groups),
    File("rules/exporters.yml", exporters.ABOUT, exporters.groups),
    File("alerts/availability.yml", availability.ABOUT, availability.groups),
    File("alerts/hardware.yml", hardware.ABOUT, hardware.groups),
    File("alerts/heat.yml", heat.ABOUT, heat.groups),
    File("alerts/work.yml", work.ABOUT, work.groups),
    File("alerts/owners.yml", owners.ABOUT, owners.groups),
    File("alerts/stack.yml", stack.ABOUT, stack.groups),
)


def rendered(limits: Limits) -> dict[str, str]:
    """Path below `prometheus/` -> content."""
    return {file.path: text(file, limits) for file in FILES}


def stale(limits: Limits, folder: Path) -> dict[str, str]:
    """Path -> content of those files of a folder, laid out as `prometheus/`, that differ.

    Raises:
        ConfigError: one of them cannot be read.
    """
    return {path: said for path, said in rendered(limits).items() if _differs(folder / path, said)}


def _differs(path: Path, content: str) -> bool:
    try:
        return not path.is_file() or path.read_bytes() != content.encode()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None


def write(limits: Limits, folder: Path) -> list[str]:
    """Write what differs, each file as a whole or not at all; the paths of those.

    Raises:
        ConfigError: one of them cannot be written; those before it are.
    """
    changed = stale(limits, folder)
    for path, content in changed.items():
        target = folder / path
        new = target.with_name(f".{target.name}.new")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            new.write_text(content, encoding="utf-8")
            new.replace(target)
        except OSError as error:
            with contextlib.suppress(OSError):
                new.unlink(missing_ok=True)
            raise ConfigError(f"{target}: cannot be written: {error.strerror}") from None
    return list(changed)
