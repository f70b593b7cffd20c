"""The device part of /metrics for every simulated model, as it was reviewed.

`make docs` writes the golden files anew; look at the difference before you commit it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from gpu_sentinel.exposition.formats import TEXT
from gpu_sentinel.exposition.render import DeviceRenderer
from gpu_sentinel.model import Snapshot

GOLDEN = Path(__file__).parent / "golden"
MODELS = {
    "h100-sxm": ("one-of-each", 0),
    "a100-sxm": ("one-of-each", 1),
    "l40s": ("one-of-each", 2),
    "rtx-4080-super": ("one-of-each", 3),
    "t4": ("old-driver", 0),
    "gb200": ("superchip", 0),
    "vgpu-guest": ("vgpu-guest", 0),
    "wsl2": ("wsl2", 0),
    "gb10": ("gb10", 0),
    "jetson-thor": ("jetson-thor", 0),
    "h100-mig": ("mig", 0),
    "a100-mig": ("mig", 1),
}


def one_gpu(snapshot: Snapshot, index: int) -> Snapshot:
    """A snapshot with nothing but this GPU and its MIG instances."""
    device = snapshot.devices[index]
    instances = tuple(i for i in snapshot.instances if i.device == device.id)
    return replace(snapshot, devices=(device,), instances=instances)


@pytest.mark.parametrize("model", MODELS)
def test_golden(sampled: Callable[[str], Snapshot], model: str, request: pytest.FixtureRequest):
    scenario, index = MODELS[model]
    snapshot = sampled(scenario)
    only = one_gpu(snapshot, index)
    body, _ = DeviceRenderer().render(only, 60.0, TEXT)
    path = GOLDEN / f"{model}.prom"
    if request.config.getoption("--write-golden"):
        path.write_text(body)
    assert body.splitlines() == path.read_text().splitlines()
