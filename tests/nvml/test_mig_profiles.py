"""The profile of a MIG device whose name does not tell it."""

from __future__ import annotations

from types import SimpleNamespace

import pynvml
import pytest

from gpu_sentinel.nvml import mig
from gpu_sentinel.simulator.mig import PROFILES

MIB = 2**20
TOTAL = {"NVIDIA H100 80GB HBM3": 81559, "NVIDIA A100-SXM4-80GB": 81920}
KNOWN = [
    (TOTAL[board], profile.slices, profile.memory_mib, name)
    for board, profiles in PROFILES.items()
    for name, profile in profiles.items()
]
#: By NVIDIA's MIG user guide; memory is what these parts of the boards are.
OTHERS = [
    (40_960, 1, 4_864, "1g.5gb"),
    (40_960, 7, 40_192, "7g.40gb"),
    (143_771, 1, 17_000, "1g.18gb"),
    (143_771, 2, 35_000, "2g.35gb"),
    (143_771, 3, 71_000, "3g.71gb"),
    (143_771, 7, 142_000, "7g.141gb"),
]


@pytest.mark.parametrize(("total", "slices", "memory", "name"), [*KNOWN, *OTHERS])
def test_memory_is_named_by_its_share_of_the_board(
    monkeypatch: pytest.MonkeyPatch, total: int, slices: int, memory: int, name: str
):
    def profile(parts: int) -> str:
        found = SimpleNamespace(
            gpuInstanceSliceCount=slices, computeInstanceSliceCount=parts, memorySizeMB=memory
        )
        monkeypatch.setattr(pynvml, "nvmlDeviceGetName", lambda _: "NVIDIA H100 MIG")
        monkeypatch.setattr(pynvml, "nvmlDeviceGetAttributes_v2", lambda _: found)
        whole = SimpleNamespace(total=total * MIB)
        monkeypatch.setattr(pynvml, "nvmlDeviceGetMemoryInfo", lambda *_: whole)
        return mig._profile(object(), object())

    assert profile(slices) == name
    if slices > 1:
        assert profile(1) == f"1c.{name}"
